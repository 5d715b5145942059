"""Which parcels teach, which are judged, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.classify import Classify
from s4c_hpc.core.errors import ConfigError, InputError, listing

Texts = NDArray[np.object_]
Bools = NDArray[np.bool_]


class Reason(StrEnum):
    """Why a parcel is not among those that teach or validate; the first that holds counts."""

    NONE = ""
    NO_FEATURES = "no-features"
    DUPLICATE = "duplicate"
    OVERLAPPING = "overlapping"
    INVALID = "invalid"
    NO_CLASS = "no-class"
    LAND_COVER = "other-land-cover"
    FEW_S2 = "few-s2-pixels"
    FEW_S1 = "few-s1-pixels"
    SMALL_CLASS = "small-class"
    UNKNOWN_CLASS = "unknown-class"
    NO_MODEL = "no-model"


WORDS: Final = {
    Reason.NO_FEATURES: "no value of any feature",
    Reason.OVERLAPPING: "overlaps other parcels: which of them a pixel shows is not known, so it is not classified",
    Reason.DUPLICATE: "the same outline is declared again: which crop it has is not known, so it is not classified",
    Reason.INVALID: "outline was not valid as delivered: classified, but neither teaches nor validates",
    Reason.NO_CLASS: "no crop code, or one that the table of crop codes does not have: classified, nothing to compare",
    Reason.LAND_COVER: "land cover class is not among classify.lc: classified, but neither teaches nor validates",
    Reason.FEW_S2: "too few Sentinel-2 pixels (classify.min_s2_pixels): classified, but neither teaches nor validates",
    Reason.FEW_S1: "too few Sentinel-1 pixels (classify.min_s1_pixels): classified, but neither teaches nor validates",
    Reason.SMALL_CLASS: "too few parcels of this class can teach (classify.class_min_parcels): classified as another",
    Reason.UNKNOWN_CLASS: "the saved model does not know this class: classified as another",
    Reason.NO_MODEL: "the stratum has too few classes to teach a model: not classified",
}
"""What each reason means and does."""

NEVER_CLASSIFIED: Final = frozenset({Reason.NO_FEATURES, Reason.OVERLAPPING, Reason.DUPLICATE, Reason.NO_MODEL})
"""Reasons that leave a parcel without a prediction."""


@dataclass(frozen=True, eq=False)
class Declared:
    """What is known of parcels besides their features; rows by NewID, ascending."""

    new_id: NDArray[np.int32]
    tile: Texts
    ori_id: Texts
    """The user's own id: rows with the same one are one field."""
    label: Texts
    """Declared class as text; empty where there is none."""
    land_cover: NDArray[np.int64] | None
    """Class LC of the crop, -1 where it is not known; ``None`` where the table of crop codes has no such column."""
    stratum: Texts
    """Empty where there is none."""
    is_valid: Bools
    is_duplicate: Bools
    is_overlapping: Bools
    area_m2: NDArray[np.float64]

    def __len__(self) -> int:
        return self.new_id.size

    def taken(self, rows: NDArray[np.intp]) -> Declared:
        """Some rows."""
        every: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        some: dict[str, Any] = {name: None if values is None else values[rows] for name, values in every.items()}
        return Declared(**some)


@dataclass(frozen=True, eq=False)
class Selection:
    """What becomes of each parcel of a stratum."""

    label: Texts
    """(n,) declared class."""
    reason: Texts
    """(n,) ``Reason`` of each parcel."""
    is_best: Bools
    """(n,) whether a parcel may teach."""
    classes: tuple[str, ...]
    """Those that are told apart, in order."""
    small: dict[str, int]
    """Classes that are too small -> parcels of them that could teach."""

    @property
    def is_chosen(self) -> Bools:
        """(n,) whether a parcel teaches or validates."""
        return np.asarray(self.reason == Reason.NONE.value, np.bool_)

    @property
    def is_classified(self) -> Bools:
        """(n,) whether a parcel gets a prediction."""
        return ~np.isin(self.reason.astype(str), sorted(r.value for r in NEVER_CLASSIFIED))


def select(
    declared: Declared,
    has_features: Bools,
    s2_pixels: NDArray[np.float32] | None,
    s1_pixels: NDArray[np.float32] | None,
    config: Classify,
    known: tuple[str, ...] | None = None,
) -> Selection:
    """Choose the parcels of a stratum that teach and validate, and its classes.

    Parameters
    ----------
    declared : (n,) parcels
    has_features : (n,) whether any feature is known
    s2_pixels, s1_pixels : (n,) pixels of each parcel, NaN for none; ``None`` where nobody counted any: the rule is not
        applied then
    known : classes of a saved model, which are not chosen here

    Notes
    -----
    Rules and their order: Sen4CAP, crop_type.R and crop-type-parcels.py (land cover, pixels, classes by the number of
    their best parcels); overlapping and duplicate parcels are left out as its parcel lists do.
    """
    reason = np.full(len(declared), Reason.NONE.value, object)

    def rule(out: Bools, why: Reason) -> None:
        reason[out & (reason == Reason.NONE.value)] = why.value

    rule(~has_features, Reason.NO_FEATURES)
    rule(declared.is_duplicate, Reason.DUPLICATE)
    rule(declared.is_overlapping, Reason.OVERLAPPING)
    rule(~declared.is_valid, Reason.INVALID)
    rule(np.asarray(declared.label == "", np.bool_), Reason.NO_CLASS)
    if config.lc and declared.land_cover is not None:
        rule(~np.isin(declared.land_cover, config.lc), Reason.LAND_COVER)
    if s2_pixels is not None:
        rule(~(s2_pixels >= config.min_s2_pixels), Reason.FEW_S2)
    if s1_pixels is not None:
        rule(~(s1_pixels >= config.min_s1_pixels), Reason.FEW_S1)
    chosen = reason == Reason.NONE.value
    is_best = chosen if s2_pixels is None else chosen & (s2_pixels >= config.best_s2_pixels)
    names, counts = np.unique(declared.label[is_best].astype(str), return_counts=True)
    able = dict(zip(names.tolist(), counts.tolist(), strict=True))
    if known is not None:
        rule(~np.isin(declared.label.astype(str), known), Reason.UNKNOWN_CLASS)
        return Selection(declared.label, reason, np.zeros(len(declared), np.bool_), known, {})
    every = sorted(set(declared.label[chosen].tolist()), key=class_order)
    classes = tuple(name for name in every if able.get(name, 0) >= config.class_min_parcels)
    small = {name: able.get(name, 0) for name in every if name not in classes}
    if small:
        rule(np.isin(declared.label.astype(str), list(small)), Reason.SMALL_CLASS)
    chosen = reason == Reason.NONE.value
    return Selection(declared.label, reason, np.asarray(is_best & chosen, np.bool_), classes, small)


def class_order(name: str) -> tuple[bool, int, str]:
    """Sort key of classes: numbers by size, then texts."""
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def require_classes(selection: Selection, where: str, config: Classify) -> None:
    """Refuse a stratum that cannot teach.

    Raises
    ------
    InputError
        If there are not two classes, with the sizes of all and what left parcels out.
    """
    if len(selection.classes) >= 2:
        return
    sizes = [f"{name or 'none'} ({n})" for name, n in sorted(selection.small.items(), key=lambda one: -one[1])]
    reasons, counts = np.unique(selection.reason.astype(str), return_counts=True)
    out = [f"{n} {WORDS[Reason(r)].split(':')[0]}" for r, n in zip(reasons, counts, strict=True) if r]
    if selection.classes:
        what = f"only one class, {selection.classes[0]}, has {config.class_min_parcels} parcels that can teach"
    elif selection.small:
        what = f"no class has {config.class_min_parcels} parcels that can teach"
    else:
        what = f"not one of {selection.reason.size} parcels can teach"
    details = (f"; smaller ones are {listing(sizes)}" if sizes else "") + (f"; left out: {listing(out)}" if out else "")
    raise InputError(
        f"{what}{details}",
        where=where,
        hint="lower classify.class_min_parcels (3 at least), or group crop codes in parcels.crop_table",
    )


def check_classes(declared: Declared, config: Classify) -> None:
    """Refuse what cannot teach whatever its features are, before anything of an earlier run is replaced.

    Raises
    ------
    ConfigError
        If no stratum has two classes.
    """
    refused: InputError | None = None
    for name in sorted(set(declared.stratum.tolist())):
        mine = declared.taken(np.flatnonzero(declared.stratum == name))
        selection = select(mine, np.ones(len(mine), np.bool_), None, None, config, None)
        try:
            require_classes(selection, f"stratum {name}" if name else "classify.class_min_parcels", config)
        except InputError as error:
            refused = refused or error
        else:
            return
    if refused is not None:
        raise ConfigError(refused.what, where=refused.where, hint=refused.hint) from refused
