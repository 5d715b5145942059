"""From a source's own pixel classes to our categories: decided when statistics are made, never when imagery is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import SCL_DEFAULT, Category, Validity
from s4c_hpc.core.errors import InternalError

CATEGORY_ORDER: Final = (
    Category.NODATA,
    Category.VALID,
    Category.CLOUD,
    Category.SHADOW,
    Category.SNOW,
    Category.WATER,
    Category.SATURATED,
)
"""A category's code is its place here."""

CODE: Final[Mapping[Category, int]] = {category: code for code, category in enumerate(CATEGORY_ORDER)}
"""Code of each category."""


def class_table(kind: str, validity: Validity, declared: Mapping[int, str] | None = None) -> dict[int, Category]:
    """Category of each class value that is listed for this kind of source.

    Parameters
    ----------
    kind : ``scl`` (Sen2Cor scene classification) or ``declared`` (a product's own table)
    validity : section ``[validity]``; its ``scl`` need only list the classes that differ from the default
    declared : the product's own table, value -> category
    """
    if kind == "scl":
        return {**SCL_DEFAULT, **validity.scl}
    if kind == "declared":
        return {int(value): Category(category) for value, category in (declared or {}).items()}
    raise InternalError(f"no table is known for pixel classes of kind {kind!r}")


def class_lut(kind: str, validity: Validity, declared: Mapping[int, str] | None = None) -> NDArray[np.uint8]:
    """Category code of every possible class value.

    Returns
    -------
    (256,) uint8 codes into ``CATEGORY_ORDER``. A value that nobody listed is cloud: what is not known to be good
    does not enter statistics, and is seen in the counts.
    """
    lut = np.full(256, CODE[Category.CLOUD], dtype=np.uint8)
    for value, category in class_table(kind, validity, declared).items():
        lut[value] = CODE[category]
    return lut


def usable_codes(validity: Validity) -> NDArray[np.bool_]:
    """Whether pixels of each category enter statistics; (n categories,) bool, indexed by code."""
    return np.array([category in validity.use for category in CATEGORY_ORDER], dtype=np.bool_)
