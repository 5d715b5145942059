"""Pixel classes become categories by configuration."""

from __future__ import annotations

import numpy as np
import pytest

from s4c_hpc.config.model import Category, Validity
from s4c_hpc.core.errors import InternalError
from s4c_hpc.optical import CATEGORY_ORDER, CODE, class_lut, usable_codes


def categories(lut: np.ndarray, n: int) -> list[str]:
    return [CATEGORY_ORDER[code].value for code in lut[:n]]


def test_the_default_meaning_of_sen2cor_classes() -> None:
    assert categories(class_lut("scl", Validity()), 13) == [
        "nodata",
        "saturated",
        "shadow",
        "shadow",
        "valid",
        "valid",
        "water",
        "valid",
        "cloud",
        "cloud",
        "cloud",
        "snow",
        "cloud",  # a class that Sen2Cor does not have
    ]


def test_a_table_need_only_list_what_differs() -> None:
    lut = class_lut("scl", Validity(scl={2: Category.CLOUD, 7: Category.CLOUD}))
    assert categories(lut, 8) == ["nodata", "saturated", "cloud", "shadow", "valid", "valid", "water", "cloud"]


def test_a_declared_table_and_what_it_leaves_out() -> None:
    lut = class_lut("declared", Validity(), {0: "nodata", 1: "valid", 255: "snow"})
    assert categories(lut, 3) == ["nodata", "valid", "cloud"]
    assert CATEGORY_ORDER[lut[255]] is Category.SNOW
    assert lut.shape == (256,)
    assert lut.dtype == np.uint8


def test_an_unknown_kind_is_a_bug() -> None:
    with pytest.raises(InternalError, match="magic"):
        class_lut("magic", Validity())


def test_usable_categories_follow_the_configuration() -> None:
    usable = usable_codes(Validity())
    assert [c for c in CATEGORY_ORDER if usable[CODE[c]]] == [Category.VALID, Category.WATER]
    assert not usable_codes(Validity(use=(Category.VALID,)))[CODE[Category.WATER]]


def test_every_category_has_a_code_and_nodata_is_the_lowest() -> None:
    assert set(CATEGORY_ORDER) == set(Category)
    assert CODE[Category.NODATA] == 0
