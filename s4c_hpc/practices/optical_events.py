"""Harvest and catch crop as optical series alone show them.

What a harvest changes is not greenness: cereals lose that two or three weeks earlier, when they ripen. It takes away a
standing, shading canopy and leaves straw, stubble and soil, which are bright in the short-wave infrared. So each look
is put on the way from the crop at its greenest (0) to bare ground (1), by the mean of two indices: BSI, a ratio, which
light and shadow hardly move, and the reflectance of SWIR1, which ripening moves about half-way only. The crop is gone
at the first look that has gone most of the way.

Without SWIR1 the same rule stands on BSI or NDVI alone. Ripening moves these most of the way, so harvests are often
dated too early, and the confidence is lower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import OpticalEventRules
from s4c_hpc.practices.codes import NO_DAY
from s4c_hpc.practices.days import Days
from s4c_hpc.series.looks import Flags, Floats, dips, looks_of

BSI: Final = "bsi"
SWIR1: Final = "swir1"
NDTI: Final = "ndti"
GROUND: Final = (BSI, SWIR1, NDTI)
"""Names of what tells of the ground: BSI ((SWIR1 + RED) - (NIR + BLUE)) / ((SWIR1 + RED) + (NIR + BLUE)), the
reflectance of SWIR1 (B11), and (SWIR1 - SWIR2) / (SWIR1 + SWIR2), ``ndtilli`` of the catalogue. The last one falls as
straw is buried, so it tells of tillage and dates no harvest: it is evidence only."""

DATING: Final[tuple[str, ...]] = (BSI, SWIR1)

FAR: Final = np.int64(2**40)

Columns = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class OpticalHarvest:
    """Harvest of n parcels."""

    start: Days
    """(n,) day of the last look at the standing crop; ``NO_DAY`` if no harvest was seen."""
    end: Days
    """(n,) day of the first look without it."""
    confidence: Floats
    """(n,) 0 to 1, 0 if none was seen; see ``optical_harvest``."""
    evidence: dict[str, Floats]
    """(n,) each, NaN where there is none: ``ndvi_peak`` and ``ndvi_ground`` at the greenest look and at the ground;
    ``ndvi_before``, ``ndvi_after``, and the same of each index of the ground, at start and end; ``way_before``,
    ``way_after``: the share of the way from crop to ground."""

    @property
    def found(self) -> Flags:
        """(n,) whether one was seen."""
        seen: Flags = self.start != NO_DAY
        return seen


@dataclass(frozen=True, slots=True)
class OpticalCatchCrop:
    """Catch crop of n parcels."""

    found: Flags
    """(n,) whether one came up and stood until the last look of the period."""
    start: Days
    """(n,) day of the last look without it; ``NO_DAY`` if none was found."""
    end: Days
    """(n,) day of the first look at which it was up."""
    confidence: Floats
    """(n,) 0 to 1, 0 if none was found; see ``optical_catch_crop``."""
    evidence: dict[str, Floats]
    """(n,) each, NaN where there is none: ``ndvi_ground``, the lowest since the harvest; ``ndvi_after`` at the end of
    the window; ``ndvi_highest`` and ``ndvi_lowest`` while it stood; ``looks`` at it; ``seen_share`` of the period."""


def optical_harvest(
    day: Days, ndvi: Floats, ground: Mapping[str, Floats], first: Days, last: Days, rules: OpticalEventRules
) -> OpticalHarvest:
    """Harvest of parcels.

    Parameters
    ----------
    day : (d,) since 1970, ascending; where two are one day, the first value of a parcel counts
    ndvi : (n, d) means of parcels, -1 to 1; NaN where there is none
    ground : (n, d) each, by names of ``GROUND``; may be empty
    first, last : (n,) days between which the harvest may be

    Notes
    -----
    An index with fewer than ``min_values`` values of a parcel is left out for it; looks without one that is used are
    no looks. Clouds that were not masked (``series.looks.dips``) and
    looks that are darker in SWIR1 than both neighbours, as ``shade_share`` and ``shade_days`` say, are left out.

    Bare is a look, from ``first`` on and to the first one after ``last``, with NDVI of at most ``bare`` and BSI above
    ``ground_bsi``. The ground is the first of them at which NDVI has fallen below the greenest look before by
    ``bare_share`` of what it falls at most: later ones are ploughed, wet or dry, or come after a catch crop. Of each
    index that rises by ``min_rise`` from the greenest look to the ground, every look between has gone a share of the
    way, from 0 to 1; if none rises, of the fall of NDVI. The end of the window is the first look at which their mean
    is ``ground_share`` or more, the start the look before it. A crop that is gone before ``first`` has no harvest here.

    Confidence is the product of: fall of NDVI from crop to ground over ``full_change``, at most 1; share of the way
    that was made in the window over ``full_step``, at most 1; 1 / (1 + days of the window / ``window_days``); and
    ``without_swir1`` where SWIR1 was not used.
    """
    day, ndvi, values = _filled(day, ndvi, {name: ground[name] for name in GROUND if name in ground})
    dating = [name for name in DATING if name in values]
    seen = _looks(day, ndvi)
    used = {name: (np.isfinite(values[name]) & seen).sum(axis=1) >= rules.min_values for name in dating}
    for name in dating:
        seen &= np.isfinite(values[name]) | ~used[name][:, None]
    seen = _clear(day, ndvi, seen, rules)
    if SWIR1 in dating:
        seen &= ~(_shades(day, values[SWIR1], seen, rules) & used[SWIR1][:, None])
    seen &= day >= (first - rules.crop_days)[:, None]

    is_bare = seen & (ndvi <= rules.bare)
    if BSI in dating:
        is_bare &= (values[BSI] > rules.ground_bsi) | ~used[BSI][:, None]
    before = _day_before(day, seen)
    is_bare &= (day >= first[:, None]) & (before > -FAR) & (before <= last[:, None])
    highest = np.maximum.accumulate(np.where(seen, ndvi, -np.inf), axis=1)
    falls = np.where(is_bare, highest - ndvi, -np.inf)
    bare = (falls >= rules.bare_share * falls.max(axis=1, keepdims=True)).argmax(axis=1)
    peak = (np.where(seen, ndvi, -np.inf) == _at(highest, bare)[:, None]).argmax(axis=1)
    found = is_bare.any(axis=1) & (_at(highest, bare) >= rules.vegetation)

    way, with_swir1 = _way(ndvi, {name: values[name] for name in dating}, used, peak, bare, rules)
    column = np.arange(len(day))
    between = seen & (column > peak[:, None]) & (column <= bare[:, None])
    is_gone = between & (way >= rules.ground_share)
    after = is_gone.argmax(axis=1)
    found &= is_gone.any(axis=1) & (day[after] >= first)
    earlier = _last_column(seen & (column < after[:, None]))

    start, end = np.where(found, day[earlier], NO_DAY), np.where(found, day[after], NO_DAY)
    at = {"peak": peak, "ground": bare, "before": earlier, "after": after}
    evidence = {f"ndvi_{name}": _at(ndvi, columns) for name, columns in at.items()}
    for name, matrix in {**values, "way": way}.items():
        evidence |= {f"{name}_{where}": _at(matrix, at[where]) for where in ("before", "after")}
    evidence = {name: np.where(found, of_parcels, np.nan) for name, of_parcels in evidence.items()}
    fall = np.clip((evidence["ndvi_peak"] - evidence["ndvi_ground"]) / rules.full_change, 0, 1)
    step = np.clip((evidence["way_after"] - evidence["way_before"]) / rules.full_step, 0, 1)
    source = np.where(with_swir1, 1.0, rules.without_swir1)
    sure = fall * step * source / (1 + (end - start) / rules.window_days)
    return OpticalHarvest(start, end, np.where(found, sure, 0.0), evidence)


def optical_catch_crop(
    day: Days, ndvi: Floats, since: Days, first: Days, last: Days, rules: OpticalEventRules
) -> OpticalCatchCrop:
    """Vegetation that comes up after the harvest and stands until the end of a period.

    Parameters
    ----------
    day : (d,) since 1970, ascending; where two are one day, the first value of a parcel counts
    ndvi : (n, d) means of parcels, -1 to 1; NaN where there is none
    since : (n,) day from which the crop was gone: the end of its harvest's window; ``NO_DAY`` where there was none
    first, last : (n,) days between which the catch crop is to stand

    Notes
    -----
    It is up at looks with NDVI of ``vegetation`` or more and ``catch_rise`` above the lowest since the harvest. Found
    is one that is up at the last ``catch_looks`` looks until ``last``, or more. The window is from the look before
    the first of these: so neither volunteers that are turned under nor weeds on stubble that never grows bare count.

    Confidence is the product of: rise of NDVI over ``full_change``, at most 1; share of the period between its first
    and its last look; and 1 / (1 + days of the window / ``window_days``).
    """
    day, ndvi, _ = _filled(day, ndvi, {})
    seen = _clear(day, ndvi, _looks(day, ndvi), rules)
    since = np.where(since == NO_DAY, FAR, since)
    seen &= (day >= since[:, None]) & (day <= last[:, None])
    values = np.where(seen, ndvi, np.inf)
    lowest = np.minimum.accumulate(values, axis=1)
    with np.errstate(invalid="ignore"):
        is_up = seen & (ndvi >= rules.vegetation) & (ndvi - lowest >= rules.catch_rise)
    column = np.arange(len(day))
    is_without = np.logical_and(seen, ~is_up)
    begins: Flags = np.any(is_without, axis=1)
    earlier = _last_column(is_without)
    stands = seen & (column > earlier[:, None]) & begins[:, None]
    looks = stands.sum(axis=1)
    found = looks >= rules.catch_looks
    after, latest = stands.argmax(axis=1), _last_column(stands)

    start, end = np.where(found, day[earlier], NO_DAY), np.where(found, day[after], NO_DAY)
    standing = np.minimum(day[latest], last) - np.maximum(day[after], first)
    evidence = {
        "ndvi_ground": _at(lowest, earlier),
        "ndvi_after": _at(ndvi, after),
        "ndvi_highest": np.where(stands, ndvi, -np.inf).max(axis=1, initial=-np.inf),
        "ndvi_lowest": np.where(stands, ndvi, np.inf).min(axis=1, initial=np.inf),
        "looks": looks.astype(np.float64),
        "seen_share": np.clip(standing / np.maximum(last - first, 1), 0, 1),
    }
    evidence = {name: np.where(found, of_parcels, np.nan) for name, of_parcels in evidence.items()}
    rise = np.clip((evidence["ndvi_highest"] - evidence["ndvi_ground"]) / rules.full_change, 0, 1)
    sure = rise * evidence["seen_share"] / (1 + (end - start) / rules.window_days)
    return OpticalCatchCrop(found, start, end, np.where(found, sure, 0.0), evidence)


def clear_looks(day: Days, ndvi: Floats, rules: OpticalEventRules) -> Flags:
    """(n, d) looks that count: one a day, without dips of NDVI (-1 to 1) that are clouds."""
    if not len(day):
        return np.zeros(ndvi.shape, bool)
    return _clear(day, ndvi, _looks(day, ndvi), rules)


def _filled(day: Days, ndvi: Floats, values: Mapping[str, Floats]) -> tuple[Days, Floats, dict[str, Floats]]:
    """The same with one look at nothing where there is no date at all, so that every row has a column."""
    if len(day):
        return day, ndvi.astype(np.float64), {name: matrix.astype(np.float64) for name, matrix in values.items()}
    nothing = np.full((len(ndvi), 1), np.nan)
    return np.zeros(1, np.int64), nothing, dict.fromkeys(values, nothing)


def _looks(day: Days, ndvi: Floats) -> Flags:
    """(n, d) looks with NDVI; of two on one day the first."""
    seen = np.isfinite(ndvi)
    for j in np.flatnonzero(np.diff(day) == 0) + 1:
        seen[:, j] &= ~seen[:, :j][:, day[:j] == day[j]].any(axis=1)
    return seen


def _clear(day: Days, ndvi: Floats, seen: Flags, rules: OpticalEventRules) -> Flags:
    """(n, d) looks without dips of NDVI."""
    looks = looks_of(np.where(seen, ndvi, np.nan), day.astype(np.float64))
    clear: Flags = seen & ~_unpacked(dips(looks, rules), seen)
    return clear


def _shades(day: Days, swir1: Floats, seen: Flags, rules: OpticalEventRules) -> Flags:
    """(n, d) looks that are darker in SWIR1 than both neighbours: shadows of clouds."""
    looks = looks_of(np.where(seen, swir1, np.nan), day.astype(np.float64))
    seen = seen & np.isfinite(swir1)
    dark = np.zeros(looks.values.shape, bool)
    with np.errstate(invalid="ignore"):
        least = rules.shade_share * np.minimum(looks.values[:, :-2], looks.values[:, 2:])
        near = looks.days[:, 2:] - looks.days[:, :-2] <= rules.shade_days
        dark[:, 1:-1] = (looks.values[:, 1:-1] < least) & near
    return _unpacked(dark, seen)


def _unpacked(of_looks: Flags, seen: Flags) -> Flags:
    """(n, d) flags of looks (n, m), which stand to the left, back where the looks were seen."""
    out = np.zeros(seen.shape, bool)
    if of_looks.any():
        there = np.arange(of_looks.shape[1]) < seen.sum(axis=1)[:, None]
        out[seen] = of_looks[there]
    return out


def _way(
    ndvi: Floats,
    values: Mapping[str, Floats],
    used: Mapping[str, Flags],
    peak: Columns,
    bare: Columns,
    rules: OpticalEventRules,
) -> tuple[Floats, Flags]:
    """(n, d) share of the way from crop to ground, and (n,) whether SWIR1 had a part in it."""
    total, count = np.zeros(ndvi.shape), np.zeros(len(ndvi))
    with_swir1 = np.zeros(len(ndvi), bool)
    for name, matrix in values.items():
        crop, rise = _at(matrix, peak), _at(matrix, bare) - _at(matrix, peak)
        counts = used[name] & (rise >= rules.min_rise)
        way = _share(matrix, crop, np.where(counts, rise, 1.0))
        total += np.where(counts[:, None], way, 0.0)
        count += counts
        if name == SWIR1:
            with_swir1 = counts
    crop, fall = _at(ndvi, peak), _at(ndvi, bare) - _at(ndvi, peak)
    of_ndvi = _share(ndvi, crop, np.where(fall < 0, fall, -1.0))
    return np.where((count > 0)[:, None], total / np.maximum(count, 1)[:, None], of_ndvi), with_swir1


def _share(values: Floats, crop: Floats, change: Floats) -> Floats:
    share: Floats = np.clip((values - crop[:, None]) / change[:, None], 0, 1)
    return share


def _day_before(day: Days, seen: Flags) -> Days:
    """(n, d) day of the look before; -``FAR`` if there is none."""
    latest = np.maximum.accumulate(np.where(seen, day, -FAR), axis=1)
    before = np.full(seen.shape, -FAR)
    before[:, 1:] = latest[:, :-1]
    return before


def _last_column(flags: Flags) -> Columns:
    """(n,) last column that is set; 0 if none is."""
    n_columns = flags.shape[1]
    last: Columns = np.where(flags.any(axis=1), n_columns - 1 - flags[:, ::-1].argmax(axis=1), 0)
    return last


def _at(matrix: Floats, columns: Columns) -> Floats:
    """(n,) values of one column a row."""
    values: Floats = np.take_along_axis(matrix, columns[:, None], axis=1)[:, 0]
    return values
