"""Series of many parcels as matrices of looks: observations that have a value, moved to the left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.dips import DipRules

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Looks:
    """What was seen of n parcels: (n, m) days since 1970 and values, by time; NaN after the last look of a row."""

    days: Floats
    values: Floats

    @property
    def count(self) -> NDArray[np.intp]:
        """(n,) looks of each parcel."""
        n: NDArray[np.intp] = np.isfinite(self.values).sum(axis=1)
        return n


def looks_of(values: NDArray[np.floating], days: NDArray[np.floating], least: float = -np.inf) -> Looks:
    """Looks of parcels.

    Parameters
    ----------
    values : (n, t); NaN where there is none
    days : (t,) days since 1970, ascending; where two are one day, the first value of a parcel counts
    least : values below are none
    """
    matrix = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        matrix[~(matrix >= least)] = np.nan
    for j in range(1, len(days)):
        if days[j] == days[j - 1]:
            matrix[:, j] = np.where(np.isfinite(matrix[:, j - 1]), matrix[:, j - 1], matrix[:, j])
            matrix[:, j - 1] = np.nan
    return packed(matrix, np.broadcast_to(days.astype(np.float64), matrix.shape))


def packed(values: Floats, days: Floats) -> Looks:
    """Looks of (n, t) values and days, in the same order and without those that have no value."""
    seen = np.isfinite(values)
    order = np.argsort(~seen, axis=1, kind="stable")[:, : int(seen.sum(axis=1).max(initial=0))]
    kept = np.take_along_axis(seen, order, axis=1)
    of_values = np.where(kept, np.take_along_axis(values, order, axis=1), np.nan)
    return Looks(np.where(kept, np.take_along_axis(days, order, axis=1), np.nan), of_values)


def without(looks: Looks, dropped: Flags) -> Looks:
    """The same without some of the looks (n, m)."""
    return packed(np.where(dropped, np.nan, looks.values), looks.days)


def dips(looks: Looks, rules: DipRules) -> Flags:
    """(n, m) looks that are probably clouds: far below both neighbours, and NDVI is back sooner than grass grows."""
    out = np.zeros(looks.values.shape, bool)
    before, value, after = looks.values[:, :-2], looks.values[:, 1:-1], looks.values[:, 2:]
    with np.errstate(invalid="ignore"):
        depth = np.minimum(before, after) - value
        wait = looks.days[:, 2:] - looks.days[:, 1:-1]
        quick = (wait <= rules.dip_days) & ((after - value) / wait > rules.dip_rate)
        out[:, 1:-1] = (depth > rules.dip_depth) & quick & (before - after < rules.dip_share * depth)
    return out
