"""From changes of coherence, fields around and rain to doubts; pure, a block of parcels at a time.

Source of the rules: our own proposal, after Voormansik et al. 2020 (RS 12(22) 3784: rain lowers coherence, and its
recovery looks like a rise) and JRC's comparison with peers (parcelPeers). No constant of theirs is published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.confounders import Confounders
from s4c_hpc.confounders.doubts import Doubt, Doubts
from s4c_hpc.confounders.neighbours import neighbour_medians, season_deviations
from s4c_hpc.weather import Rain

Steps = NDArray[np.float32]

USUAL_PAIR_DAYS: Final = 6
"""Days between the images of a pair on an orbit with one acquisition only."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Acquisitions of coherence, c in all, by orbit and day."""

    orbit: NDArray[np.int64]
    """(c,) number of the orbit, ascending from 0"""
    day: NDArray[np.int64]
    """(c,) of the later image of the pair, since 1970, ascending within an orbit"""

    @property
    def n_orbits(self) -> int:
        """How many orbits there are."""
        return int(self.orbit.max(initial=-1)) + 1

    @property
    def before(self) -> NDArray[np.int64]:
        """(c,) column of the acquisition before on the same orbit; -1 for the first one."""
        column = np.arange(self.orbit.size)
        return np.where(self.orbit == self.orbit[column - 1], column - 1, -1)

    @property
    def earlier_day(self) -> NDArray[np.int64]:
        """(c,) of the earlier image of each pair, which no series says: pairs are as long as days usually are apart."""
        out = self.day.copy()
        for number in range(self.n_orbits):
            own = self.orbit == number
            gaps = np.diff(self.day[own])
            out[own] -= int(np.median(gaps)) if gaps.size else USUAL_PAIR_DAYS
        return out


def steps_of(values: NDArray[np.floating], passes: Passes) -> Steps:
    """(n, c) change since the acquisition before on the same orbit; NaN where either has no value."""
    out = np.full(values.shape, np.nan, np.float32)
    for column, before in enumerate(passes.before.tolist()):  # all at once would take three times the memory
        if before >= 0:
            out[:, column] = values[:, column] - values[:, before]
    return out


def rain_at(rain: Rain | None, n: int, passes: Passes, wet_mm: float) -> Steps:
    """(n, c) most rain of the days of both images of a pair and of the days before these.

    Daily totals do not say the hour. A satellite passes in the early morning or in the late afternoon: the 24 hours
    before lie in both days, and the larger total stands for them.

    Returns
    -------
    NaN where it is not known: a day is missing, and no other one was wet (a wet day is enough to know).
    """
    if rain is None:
        return np.full((n, passes.day.size), np.nan, np.float32)
    days = np.stack([passes.day, passes.day - 1, passes.earlier_day, passes.earlier_day - 1])
    at = np.clip(days - rain.day[0], 0, rain.day.size - 1)
    inside = (days >= rain.day[0]) & (days <= rain.day[-1])
    every = np.where(inside[:, None, :], rain.mm[:, at].transpose(1, 0, 2), np.float32(np.nan))
    most = np.fmax.reduce(every, axis=0)
    unknown = np.isnan(every).any(axis=0) & ~(most >= wet_mm)
    found: Steps = np.where(unknown, np.float32(np.nan), most)
    return found


def doubts_of_block(
    steps: Steps, rows: slice, peers: NDArray[np.int64], rain_mm: Steps, passes: Passes, rules: Confounders
) -> Doubts:
    """Doubts about the changes of a block of parcels.

    Parameters
    ----------
    steps : (n, c) changes of all parcels of the tile
    rows : of the block, b in all
    peers : (b, k) rows of the fields around
    rain_mm : (b, c) see ``rain_at``
    """
    own = steps[rows]
    common, spread = np.empty(own.shape, np.float32), np.empty(own.shape, np.float32)
    neighbour_medians(steps, peers, rules.min_peers, common, spread)
    deviation = np.empty((own.shape[0], passes.n_orbits), np.float32)
    season_deviations(common, passes.orbit, passes.n_orbits, rules.min_season, deviation)
    with np.errstate(invalid="ignore"):
        usual = np.maximum(np.float32(rules.wet_mads) * deviation, np.float32(rules.min_spread))
        wet = (rain_mm >= rules.wet_mm) | (np.abs(common) > usual[:, passes.orbit])
        before = passes.before
        recovery = wet[:, before] & (before >= 0) & (own > 0)
        alike = (own >= rules.rise) & (standing_out(own, common, spread, rules.min_spread) < rules.min_z)
    flags = wet * np.uint8(Doubt.WET) | recovery * np.uint8(Doubt.RECOVERY) | alike * np.uint8(Doubt.COMMON)
    return Doubts(flags=flags.astype(np.uint8), rain_mm=rain_mm, common=common, spread=spread)


def standing_out(own: Steps, common: Steps, spread: Steps, min_spread: float) -> NDArray[np.float64]:
    """By how many robust standard deviations changes exceed those around (z); NaN where either is not known."""
    scale = np.maximum(spread.astype(np.float64), min_spread)
    z: NDArray[np.float64] = (own.astype(np.float64) - common) / scale
    return z
