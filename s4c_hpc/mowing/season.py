"""A season of a block of parcels: from values by day to mowings and what is said of each parcel."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config.mowing import Mowing, MowingMode
from s4c_hpc.confounders.doubts import reasons
from s4c_hpc.mowing.compliance import compliance, day_of, days_since_1970
from s4c_hpc.mowing.contract import dates
from s4c_hpc.mowing.detector import EVIDENCE, detected
from s4c_hpc.mowing.reference import Orbit, reference_windows
from s4c_hpc.mowing.windows import SOURCES, Windows
from s4c_hpc.series.looks import Floats

_RADAR_PIXEL_M2: Final = 400.0
"""Coherence has a grid of 20 m."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the mowings of a tile: parameters of a task, as values."""

    mowing: Mowing
    start: dt.date
    end: dt.date

    @classmethod
    def from_params(cls, values: Mapping[str, Any]) -> Recipe:
        """From the parameters of a task."""
        start, end = (dt.date.fromisoformat(values[name]) for name in ("start", "end"))
        return cls(mowing=Mowing.model_validate(values["mowing"]), start=start, end=end)

    @property
    def season(self) -> tuple[float, float]:
        """First and last day of events, since 1970; of the year in which most of the series lie."""
        middle = self.start + (self.end - self.start) / 2
        first, last = (day_of(text, middle.year) for text in self.mowing.season)
        return first, last if last >= first else day_of(self.mowing.season[1], middle.year + 1)


@dataclass(frozen=True, slots=True)
class Seen:
    """A variable on a day."""

    day: dt.date
    strand: str
    """Orbit and variable of coherence; empty for NDVI."""
    values: NDArray[np.float32]
    """(n,); NaN where there is none."""
    doubts: NDArray[np.uint8] | None = None
    """(n,) bits of ``confounders.doubts.Doubt``; ``None``: none is known."""
    rain_mm: NDArray[np.float32] | None = None
    """(n,) beside doubts; NaN where it is not known."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """Mowings of a block of n parcels."""

    ids: NDArray[np.int32]
    windows: Windows
    evidence: Mapping[str, Floats]
    """By the names of ``EVIDENCE``, as the windows."""
    doubts: NDArray[np.uint8]
    """As the windows: bits of ``confounders.doubts.Doubt``."""
    rain_mm: Floats
    """As the windows; NaN where it is not known."""
    reason: NDArray[np.str_]
    """(n,) why a parcel was not assessed; empty if it was."""
    looks: NDArray[np.intp]
    pairs: NDArray[np.intp]
    compl: NDArray[np.int8]

    @property
    def enough(self) -> NDArray[np.bool_]:
        """(n,) whether a parcel was assessed."""
        enough: NDArray[np.bool_] = self.reason == ""
        return enough

    def events(self, schema: pa.Schema) -> pa.RecordBatch:
        """A row an event."""
        there = self.windows.there
        rows, columns = np.nonzero(there)
        numbers = there.cumsum(axis=1)[rows, columns]
        start, end = self.windows.start[rows, columns], self.windows.end[rows, columns]
        names = [SOURCES[int(code)] for code in self.windows.source[rows, columns]]
        values = [
            pa.array(self.ids[rows]),
            pa.array(numbers.astype(np.int32)),
            dates(start),
            dates(end),
            dates(np.floor((start + end) / 2)),
            pa.array(self.windows.confidence[rows, columns].astype(np.float32)),
            pa.array(names, pa.string()),
            *(pa.array(self.evidence[name][rows, columns].astype(np.float32)) for name in EVIDENCE),
            pa.array(self.doubts[rows, columns]),
            pa.array([", ".join(reasons(*pair)) for pair in self._doubted(rows, columns)], pa.string()),
        ]
        return pa.RecordBatch.from_arrays(values, schema=schema)

    def _doubted(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Iterator[tuple[int, float]]:
        return zip(self.doubts[rows, columns].tolist(), self.rain_mm[rows, columns].tolist(), strict=True)

    def parcels(self, schema: pa.Schema) -> pa.RecordBatch:
        """A row a parcel."""
        values = [
            pa.array(self.ids),
            pa.array(self.enough),
            pa.array(self.reason.tolist(), pa.string()),
            pa.array(self.windows.there.sum(axis=1).astype(np.int32)),
            pa.array(self.looks.astype(np.int32)),
            pa.array(self.pairs.astype(np.int32)),
            pa.array(self.compl),
        ]
        return pa.RecordBatch.from_arrays(values, schema=schema)


def assess(
    recipe: Recipe,
    ids: NDArray[np.int32],
    seen: Sequence[Seen],
    crops: NDArray[np.str_],
    areas: NDArray[np.float64],
) -> Assessed:
    """Mowings of a block.

    Parameters
    ----------
    ids : (n,) parcels
    seen : by day
    crops : (n,) codes of the declaration
    areas : (n,) in m2, for the least variance of coherence in reference mode
    """
    mowing, season = recipe.mowing, recipe.season
    others = ~np.isin(crops, mowing.crops) if mowing.crops else np.zeros(ids.size, bool)
    seen = [replace(one, values=np.where(others, np.float32(np.nan), one.values)) for one in seen]
    strands: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        strands[one.strand].append(one)
    days, ndvi = _matrix(strands.pop("", []), ids.size)
    orbits = [_orbit(own, ids.size) for _, own in sorted(strands.items())]
    pairs = sum(
        (_within(orbit.values.astype(np.float64), orbit.days, season) for orbit in orbits), np.zeros(ids.size, np.intp)
    )
    if mowing.mode is MowingMode.REFERENCE:
        pixels = np.maximum(np.nan_to_num(areas / _RADAR_PIXEL_M2), 1.0)
        vh = [Orbit(*_matrix(own, ids.size)) for name, own in sorted(strands.items()) if "vh" in name]
        windows = reference_windows(ndvi, days, vh, pixels, season, mowing.reference)
        looks = _within(ndvi, days, season)
        evidence: Mapping[str, Floats] = {name: np.full(windows.start.shape, np.nan) for name in EVIDENCE}
        doubts, rain = np.zeros(windows.start.shape, np.uint8), np.full(windows.start.shape, np.nan)
        none = (looks < 3) & (pairs <= mowing.reference.radar.stat_smpl_n)
        reason = np.where(none, "fewer than 3 NDVI looks, and too few coherences for a line", "")
    else:
        made = detected(ndvi, days, orbits, season, mowing.improved)
        windows, evidence, looks = made.windows, made.evidence, made.looks
        doubts, rain = made.doubts, made.rain_mm
        least = mowing.improved.min_looks
        reason = np.where(looks < least, f"fewer than {least} NDVI looks in the season", "")
    reason = np.where(others, "of a crop that is not asked for", reason)
    year = (recipe.start + (recipe.end - recipe.start) / 2).year
    codes = compliance(windows, reason == "", crops.tolist(), mowing.compliance, year)
    return Assessed(ids, windows, evidence, doubts, rain, reason.astype(np.str_), looks, pairs, codes)


def _orbit(seen: Sequence[Seen], n: int) -> Orbit:
    doubts = [one.doubts for one in seen if one.doubts is not None]
    rain = [one.rain_mm for one in seen if one.rain_mm is not None]
    if len(doubts) < len(seen) or len(rain) < len(seen):
        return Orbit(*_matrix(seen, n))
    return Orbit(*_matrix(seen, n), doubts=np.stack(doubts, axis=1), rain_mm=np.stack(rain, axis=1))


def _matrix(seen: Sequence[Seen], n: int) -> tuple[Floats, Floats]:
    """(t,) days since 1970 and (n, t) values."""
    values = np.stack([one.values for one in seen], axis=1).astype(np.float64) if seen else np.empty((n, 0))
    return days_since_1970([one.day for one in seen]), values


def _within(values: Floats, days: Floats, season: tuple[float, float]) -> NDArray[np.intp]:
    """(n,) values in the season."""
    inside = (days >= season[0]) & (days <= season[1])
    n: NDArray[np.intp] = np.isfinite(values[:, inside]).sum(axis=1)
    return n
