"""Our detector of mowing: each fall of NDVI between two looks, judged by a confidence that was fitted to real mowings.

A mowing is a fall from a high local reference that regrows. What tells it from drought and senescence is the regrowth,
from a cloud that was not masked that the look after it is still low. Coherence rises after a cut; by itself it is weak
evidence, so it moves the confidence and finds nothing alone. No rule knows the usual date of a mowing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from s4c_hpc.config.mowing import ImprovedRules
from s4c_hpc.mowing.reference import Orbit
from s4c_hpc.mowing.windows import FUSED, S2, Windows, chosen, middles_within, picked, windows_of
from s4c_hpc.series.looks import Floats, Looks, dips, looks_of, without

EVIDENCE: Final = (
    "ndvi_before",
    "ndvi_after",
    "ndvi_reference",
    "ndvi_low",
    "ndvi_regrowth",
    "coherence_before",
    "coherence_after",
)
"""What a confidence is made of, in the order of the columns."""


@dataclass(frozen=True, slots=True)
class Falls:
    """Falls between a look and the next one: (n, m - 1) each, NaN where there is none."""

    start: Floats
    """Day of the look before, since 1970."""
    end: Floats
    """Day of the look after."""
    evidence: dict[str, Floats]
    """By the names of ``EVIDENCE``; of regrowth and coherence NaN where nothing was seen."""

    @property
    def terms(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Fall, local reference, regrowth and rise of coherence; the latter two NaN if nothing was seen."""
        e = self.evidence
        regrowth = e["ndvi_regrowth"] - e["ndvi_low"]
        rise = e["coherence_after"] - e["coherence_before"]
        return e["ndvi_before"] - e["ndvi_after"], e["ndvi_reference"], regrowth, rise


@dataclass(frozen=True, slots=True)
class Detected:
    """Events of n parcels: windows (n, k), by time, and the evidence of each."""

    windows: Windows
    evidence: dict[str, Floats]
    looks: np.ndarray[tuple[int], np.dtype[np.intp]]
    """(n,) looks in the season."""


def falls(looks: Looks, orbits: Sequence[Orbit], season: tuple[float, float], rules: ImprovedRules) -> Falls:
    """Falls of NDVI whose middle is in the season, and what was seen around them.

    Parameters
    ----------
    looks : NDVI without dips
    orbits : coherences, one entry an orbit and polarisation; may be none
    season : first and last day, since 1970
    """
    days, values = looks.days, looks.values
    start, end = days[:, :-1], days[:, 1:]
    before, after = values[:, :-1], values[:, 1:]
    with np.errstate(invalid="ignore"):
        middle = (start + end) / 2
        there = (before - after >= rules.min_fall) & (middle >= season[0]) & (middle <= season[1])
    evidence = {
        "ndvi_before": before,
        "ndvi_after": after,
        "ndvi_reference": _extreme(looks, 0, -rules.reference_days, 0, np.fmax),
        "ndvi_low": _extreme(looks, 1, 0, rules.low_days, np.fmin),
        "ndvi_regrowth": _extreme(looks, 1, *rules.regrowth_days, np.fmax),
    }
    evidence["coherence_before"], evidence["coherence_after"] = _coherences(orbits, start, end, rules)
    kept = {name: np.where(there, evidence[name], np.nan) for name in EVIDENCE}
    return Falls(np.where(there, start, np.nan), np.where(there, end, np.nan), kept)


def confidences(found: Falls, rules: ImprovedRules) -> Floats:
    """(n, m) probability that a fall is a mowing: logistic in the four terms."""
    fall, reference, regrowth, rise = found.terms
    regrowth = np.where(np.isfinite(regrowth), regrowth, rules.regrowth_usual)
    rise = np.where(np.isfinite(rise), rise, rules.coherence_usual)
    odds = (
        rules.intercept
        + rules.fall_weight * fall
        + rules.reference_weight * reference
        + rules.regrowth_weight * regrowth
        + rules.coherence_weight * (rise - rules.coherence_usual)
    )
    sure: Floats = 1 / (1 + np.exp(-odds))
    return sure


def detected(
    ndvi: Floats, days: Floats, orbits: Sequence[Orbit], season: tuple[float, float], rules: ImprovedRules
) -> Detected:
    """Mowings of parcels.

    Parameters
    ----------
    ndvi : (n, t) means of parcels; NaN where there is none
    days : (t,) since 1970, ascending
    orbits : coherences, one entry an orbit and polarisation; may be none
    season : first and last day, since 1970

    Returns
    -------
    None of a parcel with fewer than ``min_looks`` looks in the season. A window is from the look before to the look
    after; its source is S2/S1 where coherence was seen on both sides.
    """
    looks = looks_of(ndvi, days, rules.corrupted_th)
    looks = without(looks, dips(looks, rules))
    with np.errstate(invalid="ignore"):
        n_looks = ((looks.days >= season[0]) & (looks.days <= season[1])).sum(axis=1)
    found = falls(looks, orbits, season, rules)
    sure = confidences(found, rules)
    with np.errstate(invalid="ignore"):
        sure[~(sure >= rules.min_confidence)] = np.nan
    sure[n_looks < rules.min_looks] = np.nan
    windows = windows_of(found.start, found.end, sure, S2)
    windows.source[windows.there & np.isfinite(found.terms[3])] = FUSED
    columns = chosen(windows, middles_within(rules.min_days), rules.max_events)
    columns = columns[:, : int((columns >= 0).sum(axis=1).max(initial=0))]
    evidence = {name: picked(matrix, columns) for name, matrix in found.evidence.items()}
    return Detected(windows.taken(columns), evidence, n_looks)


def _extreme(looks: Looks, at: int, first: float, last: float, extreme: np.ufunc) -> Floats:
    """(n, m - 1) extreme of the looks that lie ``first`` to ``last`` days from look i + ``at``, for each i."""
    n, m = looks.values.shape
    found = np.full((n, max(m - 1, 0)), np.nan)
    forward = last > 0
    # Looks stand in order of time: each offset is one step for all, until none is near enough.
    for step in range(m):
        offset = step if forward else -step
        own = slice(max(0, -(at + offset)), min(m - 1, m - at - offset))
        other = slice(own.start + at + offset, own.stop + at + offset)
        centre = slice(own.start + at, own.stop + at)
        if own.stop <= own.start:
            break
        with np.errstate(invalid="ignore"):
            days = looks.days[:, other] - looks.days[:, centre]
            near = days <= last if forward else days >= first
            counts = (days >= first) & (days <= last)
        if not near.any():
            break
        found[:, own] = extreme(found[:, own], np.where(counts, looks.values[:, other], np.nan))
    return found


def _coherences(orbits: Sequence[Orbit], start: Floats, end: Floats, rules: ImprovedRules) -> tuple[Floats, Floats]:
    """Mean coherence of the pairs that end before a fall and of those that begin after it; mean over orbits with both.

    A pair that spans the fall tells nothing of it: coherence is lost by the cut itself.
    """
    sums = [np.zeros(start.shape), np.zeros(start.shape)]
    n_orbits = np.zeros(start.shape)
    for orbit in orbits:
        if orbit.days.size < 2:
            continue
        length = float(np.median(np.diff(orbit.days)))
        span = rules.coherence_days
        before = _mean_between(orbit, start - span, start)
        after = _mean_between(orbit, start + length, end + span)
        both = np.isfinite(before) & np.isfinite(after)
        n_orbits += both
        sums[0] += np.where(both, before, 0.0)
        sums[1] += np.where(both, after, 0.0)
    with np.errstate(invalid="ignore"):
        return sums[0] / n_orbits, sums[1] / n_orbits


def _mean_between(orbit: Orbit, first: Floats, last: Floats) -> Floats:
    """Mean of the coherences dated within [first, last] (n, m), from running sums."""
    values = orbit.values.astype(np.float64)
    seen = np.isfinite(values)
    zero = np.zeros((values.shape[0], 1))
    total = np.concatenate([zero, np.cumsum(np.where(seen, values, 0.0), axis=1)], axis=1)
    count = np.concatenate([zero, np.cumsum(seen, axis=1)], axis=1)
    # Unknown days are after all others, so that nothing lies between them.
    low = np.searchsorted(orbit.days, first, side="left")
    high = np.maximum(np.searchsorted(orbit.days, last, side="right"), low)
    with np.errstate(invalid="ignore"):
        mean: Floats = (np.take_along_axis(total, high, axis=1) - np.take_along_axis(total, low, axis=1)) / (
            np.take_along_axis(count, high, axis=1) - np.take_along_axis(count, low, axis=1)
        )
    return mean
