"""Our detector of mowing: each fall of NDVI between two looks, judged by a confidence that was fitted to real mowings.

A mowing is a fall from a high local reference that regrows. What tells it from drought and senescence is the regrowth,
from a cloud that was not masked that the look after it is still low. Coherence rises after a cut; by itself it is weak
evidence, so it moves the confidence and finds nothing alone. No rule knows the usual date of a mowing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.mowing import ImprovedRules
from s4c_hpc.mowing.coherences import coherences, weigh
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
    "coherence_rise",
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
        return e["ndvi_before"] - e["ndvi_after"], e["ndvi_reference"], regrowth, e["coherence_rise"]


@dataclass(frozen=True, slots=True)
class Detected:
    """Events of n parcels: windows (n, k), by time, and the evidence of each."""

    windows: Windows
    evidence: dict[str, Floats]
    doubts: NDArray[np.uint8]
    """(n, k) bits of ``confounders.doubts.Doubt`` of the rise of coherence."""
    rain_mm: Floats
    """(n, k) rain that goes with a doubt; NaN where there is none, or it is not known."""
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
    before, after = coherences(orbits, start, end, rules)
    evidence |= {"coherence_before": before, "coherence_after": after, "coherence_rise": after - before}
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
    after; its source is S2/S1 where coherence was seen on both sides. Doubts about coherence lower the confidence of
    events, after these were chosen: none is lost by a doubt, and its confidence may be less than ``min_confidence``.
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
    kept = windows.taken(columns)
    weighed = weigh(kept.start, kept.end, orbits, rules)
    if weighed is None:
        return Detected(kept, evidence, np.zeros(columns.shape, np.uint8), np.full(columns.shape, np.nan), n_looks)
    in_doubt = weighed.doubts > 0
    evidence["coherence_rise"] = np.where(in_doubt, weighed.rise, evidence["coherence_rise"])
    lower = confidences(Falls(kept.start, kept.end, evidence), rules)
    kept = replace(kept, confidence=np.where(in_doubt, lower, kept.confidence))
    return Detected(kept, evidence, weighed.doubts, weighed.rain_mm, n_looks)


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
