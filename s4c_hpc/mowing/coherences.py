"""Coherence around a fall of NDVI: how far it rose, and what of that counts where rain or fields around explain it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.mowing import ImprovedRules
from s4c_hpc.mowing.reference import Orbit
from s4c_hpc.series.looks import Floats


@dataclass(frozen=True, slots=True)
class Weighed:
    """Rises of coherence at windows (n, k), as far as they count."""

    rise: Floats
    """Mean over orbits with both sides; an orbit in doubt has no more than the usual."""
    doubts: NDArray[np.uint8]
    """Bits of all orbits whose rise is in doubt; 0 where none is."""
    rain_mm: Floats
    """Most rain of these; NaN where it is not known."""


def coherences(orbits: Sequence[Orbit], start: Floats, end: Floats, rules: ImprovedRules) -> tuple[Floats, Floats]:
    """Mean coherence of the pairs that end before a fall and of those that begin after it; mean over orbits with both.

    A pair that spans the fall tells nothing of it: coherence is lost by the cut itself.
    """
    sums = [np.zeros(start.shape), np.zeros(start.shape)]
    n_orbits = np.zeros(start.shape)
    for orbit in orbits:
        if orbit.days.size < 2:
            continue
        before, after = _sides(orbit, start, end, rules)
        both = np.isfinite(before) & np.isfinite(after)
        n_orbits += both
        sums[0] += np.where(both, before, 0.0)
        sums[1] += np.where(both, after, 0.0)
    with np.errstate(invalid="ignore"):
        return sums[0] / n_orbits, sums[1] / n_orbits


def weigh(start: Floats, end: Floats, orbits: Sequence[Orbit], rules: ImprovedRules) -> Weighed | None:
    """How far coherence rose in truth; ``None`` if no orbit knows of doubts.

    The rise of an orbit is in doubt where its largest step, from the last look before the fall to the last pair that
    counts, is. Such an orbit has the usual rise, which tells nothing; the others keep theirs, so that two orbits that
    agree are worth more than one. A rise that is less than the usual is taken as it is: doubts never add confidence.
    """
    if all(orbit.doubts is None for orbit in orbits):
        return None
    total, n_orbits = np.zeros(start.shape), np.zeros(start.shape)
    doubts, rain = np.zeros(start.shape, np.uint8), np.full(start.shape, np.nan)
    for orbit in orbits:
        if orbit.days.size < 2:
            continue
        before, after = _sides(orbit, start, end, rules)
        rise = after - before
        both = np.isfinite(rise)
        if orbit.doubts is not None and orbit.rain_mm is not None:
            at = _largest_step(orbit, start, end + rules.coherence_days)
            with np.errstate(invalid="ignore"):
                credited = (at >= 0) & (rise > rules.coherence_usual)
            own = np.where(credited, np.take_along_axis(orbit.doubts, np.maximum(at, 0), axis=1), 0).astype(np.uint8)
            fell = np.take_along_axis(orbit.rain_mm, np.maximum(at, 0), axis=1)
            doubts |= own
            rain = np.where(own > 0, np.fmax(rain, fell), rain)
            rise = np.where(own > 0, rules.coherence_usual, rise)
        n_orbits += both
        total += np.where(both, rise, 0.0)
    with np.errstate(invalid="ignore"):
        return Weighed(total / n_orbits, doubts, rain)


def _sides(orbit: Orbit, start: Floats, end: Floats, rules: ImprovedRules) -> tuple[Floats, Floats]:
    """Mean coherence of the pairs before and after windows; NaN where there is none."""
    # Pieces of one pass are of one day.
    gaps = np.diff(np.unique(orbit.days))
    length = float(np.median(gaps)) if gaps.size else 0.0
    span = rules.coherence_days
    return _mean_between(orbit, start - span, start), _mean_between(orbit, start + length, end + span)


def _largest_step(orbit: Orbit, after: Floats, until: Floats) -> NDArray[np.intp]:
    """(n, k) column of the largest rise since the value before, dated within (after, until]; -1 for none."""
    values = orbit.values.astype(np.float64)
    column = np.arange(values.shape[1])
    latest = np.maximum.accumulate(np.where(np.isfinite(values), column, 0), axis=1)
    before = np.take_along_axis(values, latest, axis=1)[:, :-1]
    steps = np.full(values.shape, -np.inf)
    steps[:, 1:] = np.nan_to_num(values[:, 1:] - before, nan=-np.inf)
    with np.errstate(invalid="ignore"):
        inside = (orbit.days > after[:, :, None]) & (orbit.days <= until[:, :, None])
    found = np.where(inside, steps[:, None, :], -np.inf)
    best = found.argmax(axis=2)
    return np.where(np.take_along_axis(found, best[:, :, None], axis=2)[:, :, 0] > 0, best, -1)


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
