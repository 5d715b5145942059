"""Flags of a source become one class a pixel, in the published meaning of their bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from s4c_hpc.config.model import Category, MaskChoice, Validity
from s4c_hpc.core.errors import InternalError
from s4c_hpc.optical import CATEGORY_ORDER, CODE, class_lut, external_rule, own_lut, to_classes

REFERENCE = Validity(
    maja={2: Category.CLOUD, 6: Category.VALID, 7: Category.VALID},
)
"""What the reference system makes of MAJA's flags."""


def maja(mg2: int, edg: int = 0, sat: int = 0) -> int:
    layers = {"MG2_R1": mg2, "EDG_R1": edg, "SAT_R1": sat}
    return int(to_classes("maja", {name: np.array([flags], np.uint8) for name, flags in layers.items()})[0])


def landsat(pixel: int, radsat: int = 0) -> int:
    layers = {"QA_PIXEL": np.array([pixel], np.uint16), "QA_RADSAT": np.array([radsat], np.uint16)}
    return int(to_classes("landsat", layers)[0])


def category(kind: str, value: int, validity: Validity | None = None) -> Category:
    return CATEGORY_ORDER[class_lut(kind, validity or Validity())[value]]


@pytest.mark.parametrize(
    ("bit", "expected"),
    [
        (0, Category.WATER),
        (1, Category.CLOUD),
        (2, Category.SNOW),
        (3, Category.SHADOW),
        (4, Category.SHADOW),
        (5, Category.NODATA),
        (6, Category.VALID),
        (7, Category.VALID),
    ],
)
def test_each_bit_of_maja_s_mg2(bit: int, expected: Category) -> None:
    assert category("maja", maja(1 << bit)) is expected
    assert category("maja", maja(0)) is Category.VALID


def test_saturation_of_any_band_counts() -> None:
    """SAT has a bit for each band: B2, B3, B4, B8 at 10 m and six at 20 m."""
    assert {category("maja", maja(0, sat=1 << bit)) for bit in range(6)} == {Category.SATURATED}
    assert {category("landsat", landsat(0, 1 << bit)) for bit in range(7)} == {Category.SATURATED}
    assert category("landsat", landsat(0, 1 << 8)) is Category.VALID  # the cirrus band, which level 2 does not have


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_the_reference_s_order_of_maja_s_flags(mg2: int, edg: int, sat: int) -> None:
    """No data, cloud or its shadow, water, snow, saturation; it does not look at the other bits."""
    if edg:
        expected = Category.NODATA
    elif mg2 & 0b1010:
        expected = Category.CLOUD
    elif mg2 & 0b1:
        expected = Category.WATER
    elif mg2 & 0b100:
        expected = Category.SNOW
    else:
        expected = Category.SATURATED if sat else Category.VALID
    assert category("maja", maja(mg2, edg, sat), REFERENCE) is expected


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        (1, Category.NODATA),
        (1 << 1, Category.CLOUD),
        (1 << 2, Category.CLOUD),
        (1 << 3, Category.CLOUD),
        (1 << 4, Category.SHADOW),
        (1 << 5, Category.SNOW),
        (1 << 7, Category.WATER),
        (21824, Category.VALID),  # clear land with low confidences, the commonest value of all
        (21952, Category.WATER),
        (22280, Category.CLOUD),
        (23888, Category.SHADOW),
        (30048, Category.SNOW),
        (54596, Category.CLOUD),  # cirrus
    ],
)
def test_landsat_s_quality_band(pixel: int, expected: Category) -> None:
    assert category("landsat", landsat(pixel)) is expected


def test_what_terrain_hides_from_landsat_is_no_data() -> None:
    assert category("landsat", landsat(21824, 1 << 11)) is Category.NODATA


@given(hnp.arrays(np.uint8, 7))
def test_a_single_layer_stays_as_it_is(layer: np.ndarray) -> None:
    for kind in ("scl", "declared", "fmask"):
        assert np.array_equal(to_classes(kind, {"any": layer}), layer)


def test_what_cannot_be_a_class_is_none() -> None:
    layer = np.array([0, 4, 254, 255, 300, -1], np.int16)
    assert to_classes("declared", {"MASK": layer}).tolist() == [0, 4, 254, 255, 255, 255]
    assert to_classes("declared", {"MASK": np.array([np.nan, 3.0], np.float32)}).tolist() == [255, 3]


def test_classes_of_one_layer_are_not_made_of_two() -> None:
    with pytest.raises(InternalError, match="one layer"):
        to_classes("scl", {"a": np.zeros(1, np.uint8), "b": np.zeros(1, np.uint8)})


def test_fmask_s_values() -> None:
    assert [category("fmask", value).value for value in range(5)] == ["valid", "water", "shadow", "snow", "cloud"]


def test_a_table_of_any_kind_need_only_list_what_differs() -> None:
    validity = Validity(maja={1: Category.CLOUD}, landsat={7: Category.VALID}, fmask={3: Category.VALID})
    assert category("maja", 1, validity) is Category.CLOUD
    assert category("maja", 4, validity) is Category.CLOUD
    assert category("landsat", 7, validity) is Category.VALID
    assert category("fmask", 4, validity) is Category.CLOUD


class TestExternalMask:
    OWN = ("nodata", "valid", "water", "cloud", "snow")

    def over(self, validity: Validity, own: str, external: str) -> str:
        rule = external_rule(validity, has_mask=True)
        assert rule is not None
        codes = [np.array([CODE[Category(name)]], np.uint8) for name in (own, external)]
        return CATEGORY_ORDER[rule.over(*codes)[0]].value

    def test_the_product_alone_is_the_default(self) -> None:
        assert external_rule(Validity(), has_mask=True) is None

    def test_both_leave_out_what_either_does(self) -> None:
        both = Validity(mask=MaskChoice.BOTH)
        assert self.over(both, "valid", "cloud") == "cloud"
        assert self.over(both, "cloud", "valid") == "cloud"
        assert self.over(both, "snow", "cloud") == "snow"
        assert self.over(both, "water", "valid") == "water"
        assert self.over(both, "water", "cloud") == "cloud"
        assert self.over(both, "valid", "water") == "water"
        assert self.over(both, "nodata", "valid") == "nodata"
        assert self.over(both, "valid", "nodata") == "nodata"

    def test_both_without_a_mask_is_the_product(self) -> None:
        assert external_rule(Validity(mask=MaskChoice.BOTH), has_mask=False) is None

    def test_fmask_alone_does_not_ask_the_product(self) -> None:
        alone = Validity(mask=MaskChoice.FMASK)
        own = CATEGORY_ORDER[own_lut("scl", alone)[9]].value
        assert own == "valid"
        assert [self.over(alone, own, name) for name in self.OWN] == list(self.OWN)
        rule = external_rule(alone, has_mask=False)
        assert rule is not None
        assert rule.lut is None
