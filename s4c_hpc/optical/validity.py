"""From a source's own pixel classes to our categories: decided when statistics are made, never when imagery is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import (
    FMASK_DEFAULT,
    LANDSAT_DEFAULT,
    MAJA_DEFAULT,
    SCL_DEFAULT,
    Category,
    MaskChoice,
    Validity,
)
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
    kind : ``scl`` (Sen2Cor scene classification), ``maja``, ``landsat``, ``fmask``, or ``declared`` (a product's own
        table); what the values mean is said in ``optical.classes``
    validity : section ``[validity]``; its tables need only list the classes that differ from the default
    declared : the product's own table, value -> category
    """
    if kind == "declared":
        return {int(value): Category(category) for value, category in (declared or {}).items()}
    tables = {
        "scl": (SCL_DEFAULT, validity.scl),
        "maja": (MAJA_DEFAULT, validity.maja),
        "landsat": (LANDSAT_DEFAULT, validity.landsat),
        "fmask": (FMASK_DEFAULT, validity.fmask),
    }
    if kind not in tables:
        raise InternalError(f"no table is known for pixel classes of kind {kind!r}")
    default, chosen = tables[kind]
    return {**default, **chosen}


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


@dataclass(frozen=True, slots=True, eq=False)
class ExternalRule:
    """How a mask that was made apart from a product (FMask) is laid over the product's own classes."""

    lut: NDArray[np.uint8] | None
    """(256,) category code of each value of the external mask; ``None`` where the product has no such mask."""
    stands: NDArray[np.bool_]
    """(n categories,) own categories, by code, that the external mask cannot change."""

    def over(self, own: NDArray[np.uint8], external: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Category code of each pixel.

        Parameters
        ----------
        own : (n,) codes by the product's own classes
        external : (n,) codes by the external mask

        Notes
        -----
        A pixel that both call usable keeps the product's word, water say, unless that is plain ``valid``.
        """
        return np.where(self.stands[own] | (external == CODE[Category.VALID]), own, external)


def external_rule(validity: Validity, *, has_mask: bool) -> ExternalRule | None:
    """The rule for a product with or without an external mask; ``None`` where its own classes are all that counts."""
    if validity.mask is MaskChoice.PRODUCT or (validity.mask is MaskChoice.BOTH and not has_mask):
        return None
    stands = ~usable_codes(validity)
    if validity.mask is MaskChoice.FMASK:
        stands[:] = False
    stands[CODE[Category.NODATA]] = True
    return ExternalRule(lut=class_lut("fmask", validity) if has_mask else None, stands=stands)


def own_lut(kind: str, validity: Validity, declared: Mapping[int, str] | None = None) -> NDArray[np.uint8]:
    """Category code of each own class value: ``class_lut``, or all valid where FMask alone is asked."""
    if validity.mask is MaskChoice.FMASK:
        return np.full(256, CODE[Category.VALID], dtype=np.uint8)
    return class_lut(kind, validity, declared)
