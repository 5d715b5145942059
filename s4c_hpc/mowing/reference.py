"""The reference's detectors (Sen4CAP L4B): falls of NDVI, jumps of coherence, and their fusion.

Source of rules and constants: Sen4CAP 6ab92556, sen2agri-processors/Sen4CAP/GrasslandMowing, src_s2/S2_main.py,
src_s1/S1_gmd.py and fusion.py; the constants are in ``config.mowing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.mowing import OpticalRules, RadarRules, ReferenceRules
from s4c_hpc.mowing.windows import FUSED, S1, S2, Windows, beside, chosen, ends_within, spans_less, squeezed, windows_of
from s4c_hpc.series.looks import Flags, Floats, looks_of

_MOST_S1 = 0.5
"""Confidence that coherence alone can reach."""


@dataclass(frozen=True, slots=True)
class Orbit:
    """Coherences of one relative orbit."""

    days: Floats
    """(t,) of the later image of each pair, since 1970, ascending."""
    values: NDArray[np.floating]
    """(n, t) means of parcels; NaN where there is none."""
    doubts: NDArray[np.uint8] | None = None
    """(n, t) bits of ``confounders.doubts.Doubt`` of the change since the pair before; ``None``: none is known."""
    rain_mm: NDArray[np.float32] | None = None
    """(n, t) rain of the pair, where there are doubts; NaN where it is not known."""


def optical_windows(ndvi: NDArray[np.floating], days: Floats, rules: OpticalRules) -> Windows:
    """Falls of NDVI between two looks that a third one confirms.

    Parameters
    ----------
    ndvi : (n, t) means of parcels; NaN where there is none
    days : (t,) since 1970, ascending

    Returns
    -------
    (n, m) windows from the look before to the look after the fall, no longer than ``no_mowing_after_det``; confidence
    ``1 - 0.5 exp(-x)`` with x = (fall - decreasing_abs_th) / NDVI after it, at most .999. All limits are strict.
    """
    looks = looks_of(ndvi, days, rules.corrupted_th)
    before, after, later = looks.values[:, :-2], looks.values[:, 1:-1], looks.values[:, 2:]
    t0, t1, t2 = looks.days[:, :-2], looks.days[:, 1:-1], looks.days[:, 2:]
    with np.errstate(invalid="ignore"):
        excess = (before - after - rules.decreasing_abs_th) / after
        found = (
            (excess > 0)
            & ((after - before) / (t1 - t0) < rules.decreasing_rate_th)
            & ((later - after) / (t2 - t1) < rules.increasing_rate_th)
            & (after < rules.high_abs_th)
            & (before > rules.low_abs_th)
        )
        confidence = np.minimum(1 - 0.5 * np.exp(-excess), 0.999)
    start = np.maximum(t0, t1 - rules.no_mowing_after_det)
    return windows_of(start, t1, np.where(found, confidence, np.nan), S2)


def radar_windows(orbit: Orbit, pixels: NDArray[np.floating], rules: RadarRules) -> Windows:
    """Jumps of coherence above the line through the pairs before.

    Parameters
    ----------
    pixels : (n,) of the parcels

    Returns
    -------
    (n, t) windows: a jump at a pair reports the pair before it, as the reference does; its length is that of
    ``s1_time_interval`` whatever the pair really is. Confidence ``0.5 - 0.5 exp(-e)``, e the excess in standard
    deviations.
    """
    values, days = orbit.values.astype(np.float64), orbit.days
    n, t = values.shape
    confidence = np.full((n, t), np.nan)
    start, end = np.full((n, t), np.nan), np.full((n, t), np.nan)
    limit = -NormalDist().inv_cdf(rules.pfa)
    floor = np.sqrt(rules.min_cohe_var / np.maximum(pixels, 1)) if rules.saturate_sigma else np.zeros(n)
    size = rules.stat_smpl_n
    for i in range(size, t):
        line = _fit(days[i - size : i])
        window = values[:, i - size : i]
        fitted = window @ line.T
        sigma = np.maximum(np.sqrt(np.mean((window - fitted) ** 2, axis=1)), floor)
        # The line is read at the last day of the window, not at the day that is judged.
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = (values[:, i] - fitted[:, -1]) / sigma - limit
            confidence[:, i] = np.where(excess > 0, _MOST_S1 - 0.5 * np.exp(-excess), np.nan)
        end[:, i] = days[i - 1]
        start[:, i] = days[i - 1] - rules.s1_time_interval
    return windows_of(start, end, confidence, S1)


def _fit(days: Floats) -> Floats:
    """(k, k) matrix that takes k values at ``days`` to those of the line through them."""
    design = np.stack([np.ones(days.size), days - days.mean()], axis=1)
    hat: Floats = design @ np.linalg.pinv(design)
    return hat


def joint_confidence(first: Floats, second: Floats) -> Floats:
    """Confidence of two windows that overlap: ``1 - 1 / (1/(1-a) + 1/(1-b))``; two that know nothing give .5."""
    return 1 - 1 / (1 / (1 - first) + 1 / (1 - second))


def fused(first: Windows, second: Windows) -> Windows:
    """Windows of two detectors: those that overlap as one, once for each pair, and those that do not.

    One that ends when the other starts does not overlap it. A pair has the window of the more confident one, of equals
    that of ``first``.
    """
    n = first.confidence.shape[0]
    a = [matrix[:, :, None] for matrix in (first.start, first.end, first.confidence)]
    b = [matrix[:, None, :] for matrix in (second.start, second.end, second.confidence)]
    with np.errstate(invalid="ignore"):
        overlap: Flags = np.minimum(a[1], b[1]) > np.maximum(a[0], b[0])
        leads = a[2] >= b[2]
        confidence = joint_confidence(a[2], b[2])
    both_s1 = (first.source[:, :, None] == S1) & (second.source[:, None, :] == S1)
    confidence = np.where(both_s1, np.minimum(confidence, _MOST_S1), confidence)
    pairs = Windows(
        np.where(overlap, np.where(leads, a[0], b[0]), np.nan).reshape(n, -1),
        np.where(overlap, np.where(leads, a[1], b[1]), np.nan).reshape(n, -1),
        np.where(overlap, confidence, np.nan).reshape(n, -1),
        np.where(overlap, np.where(both_s1, S1, FUSED), 0).astype(np.uint8).reshape(n, -1),
    )
    alone = beside(
        _without(first, np.logical_or.reduce(overlap, axis=2)), _without(second, np.logical_or.reduce(overlap, axis=1))
    )
    return squeezed(beside(pairs, alone))


def _without(windows: Windows, out: NDArray[np.bool_]) -> Windows:
    columns = np.broadcast_to(np.arange(out.shape[1]), out.shape)
    return windows.taken(np.where(out | ~windows.there, -1, columns))


def reference_windows(
    ndvi: NDArray[np.floating],
    days: Floats,
    orbits: Sequence[Orbit],
    pixels: NDArray[np.floating],
    season: tuple[float, float],
    rules: ReferenceRules,
) -> Windows:
    """Events of parcels as the reference finds them: S2 first, then each orbit fused with what there is.

    Parameters
    ----------
    ndvi, days : (n, t) and (t,)
    pixels : (n,) of the parcels, on the grid of coherence
    season : first and last day of the end of a window, since 1970

    Returns
    -------
    (n, at most max_events) windows by time
    """
    found = squeezed(_within(optical_windows(ndvi, days, rules.optical), season))
    found = found.taken(chosen(found, spans_less(rules.optical.non_overlap_interval_days), rules.max_events))
    for orbit in orbits:
        own = squeezed(_within(radar_windows(orbit, pixels, rules.radar), season))
        together = fused(found, own)
        keep = chosen(together, ends_within(rules.radar.non_overlap_interval_days), rules.max_events)
        found = together.taken(keep)
    return squeezed(found)


def _within(windows: Windows, season: tuple[float, float]) -> Windows:
    with np.errstate(invalid="ignore"):
        out: Flags = ~((windows.end >= season[0]) & (windows.end <= season[1]))
    return _without(windows, out)
