"""Mean and standard deviation of parcels over the pixels of a piece, for many rows of values at once.

Not ``extract.statistics``: features want two moments of hundreds of rows of values and no order statistics, and most of
the time would go into copying what is sorted there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel

Members = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Offsets of the whole pixels of each parcel, (n_parcels + 1,), of its edge pixels likewise, and (n_edges,) their
shares; whole pixels of all parcels come first, then edge pixels."""


@helper
def _sum(values: NDArray[Any], first: int, last: int, centre: float) -> tuple[float, float, float]:
    """Number of finite values, sum of their distances to ``centre`` and of the squares of these.

    Four sums side by side, each in the order of the pixels, then added up: a processor does not wait for one addition
    to end before the next begins, and the result depends on nothing but the values.
    """
    d0 = d1 = d2 = d3 = 0.0
    n0 = n1 = n2 = n3 = 0.0
    s0 = s1 = s2 = s3 = 0.0
    q0 = q1 = q2 = q3 = 0.0
    i = first
    while i + 3 < last:
        d0, d1 = np.float64(values[i]) - centre, np.float64(values[i + 1]) - centre
        d2, d3 = np.float64(values[i + 2]) - centre, np.float64(values[i + 3]) - centre
        w0, w1 = (1.0 if np.isfinite(d0) else 0.0), (1.0 if np.isfinite(d1) else 0.0)
        w2, w3 = (1.0 if np.isfinite(d2) else 0.0), (1.0 if np.isfinite(d3) else 0.0)
        d0, d1 = (d0 if w0 > 0.0 else 0.0), (d1 if w1 > 0.0 else 0.0)
        d2, d3 = (d2 if w2 > 0.0 else 0.0), (d3 if w3 > 0.0 else 0.0)
        n0, n1, n2, n3 = n0 + w0, n1 + w1, n2 + w2, n3 + w3
        s0, s1, s2, s3 = s0 + d0, s1 + d1, s2 + d2, s3 + d3
        q0, q1, q2, q3 = q0 + d0 * d0, q1 + d1 * d1, q2 + d2 * d2, q3 + d3 * d3
        i += 4
    while i < last:
        d0 = np.float64(values[i]) - centre
        if np.isfinite(d0):
            n0, s0, q0 = n0 + 1.0, s0 + d0, q0 + d0 * d0
        i += 1
    return (n0 + n1) + (n2 + n3), (s0 + s1) + (s2 + s3), (q0 + q1) + (q2 + q3)


@helper
def _sum_whole(values: NDArray[Any], first: int, last: int, centre: float) -> tuple[float, float]:
    """As ``_sum``, for values that are all finite, as they mostly are; NaN if one is not.

    Eight at a time, so that a processor takes them as vectors.
    """
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    q0 = q1 = q2 = q3 = q4 = q5 = q6 = q7 = 0.0
    i = first
    while i + 7 < last:
        d0, d1 = np.float64(values[i]) - centre, np.float64(values[i + 1]) - centre
        d2, d3 = np.float64(values[i + 2]) - centre, np.float64(values[i + 3]) - centre
        d4, d5 = np.float64(values[i + 4]) - centre, np.float64(values[i + 5]) - centre
        d6, d7 = np.float64(values[i + 6]) - centre, np.float64(values[i + 7]) - centre
        s0, s1, s2, s3, s4, s5, s6, s7 = s0 + d0, s1 + d1, s2 + d2, s3 + d3, s4 + d4, s5 + d5, s6 + d6, s7 + d7
        q0, q1, q2, q3 = q0 + d0 * d0, q1 + d1 * d1, q2 + d2 * d2, q3 + d3 * d3
        q4, q5, q6, q7 = q4 + d4 * d4, q5 + d5 * d5, q6 + d6 * d6, q7 + d7 * d7
        i += 8
    while i < last:
        d0 = np.float64(values[i]) - centre
        s0, q0 = s0 + d0, q0 + d0 * d0
        i += 1
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)), ((q0 + q1) + (q2 + q3)) + ((q4 + q5) + (q6 + q7))


@helper
def _first_finite(values: NDArray[Any], first: int, last: int) -> float:
    for i in range(first, last):
        if np.isfinite(values[i]):
            return np.float64(values[i])
    return np.nan


@kernel
def moments(values: NDArray[Any], members: Members, is_centre: bool, out: NDArray[np.float32]) -> None:
    """Fill in mean and standard deviation of each parcel and row of values; NaN without a finite value.

    Parameters
    ----------
    values : (n_rows, n) NaN where a pixel has no value
    members : which pixels are a parcel's
    is_centre : sample standard deviation (n - 1) of whole pixels, NaN for one; else that of the population, weighted
    out : (n_rows, 2, n_parcels)

    Notes
    -----
    One pass, about the parcel's first value: the distances of neighbours are small, so their squares lose nothing.
    """
    whole, edge, fraction = members
    n_parcels, n_whole = whole.size - 1, whole[-1]
    for row in range(values.shape[0]):
        line = values[row]
        for parcel in range(n_parcels):
            a, b = whole[parcel], whole[parcel + 1]
            c, d = edge[parcel], edge[parcel + 1]
            centre = _first_finite(line, a, b)
            if np.isnan(centre):
                centre = _first_finite(line, n_whole + c, n_whole + d)
            if np.isnan(centre):
                out[row, 0, parcel] = out[row, 1, parcel] = np.nan
                continue
            total = float(b - a)
            first, second = _sum_whole(line, a, b, centre)
            if not np.isfinite(first):
                total, first, second = _sum(line, a, b, centre)
            for i in range(c, d):
                distance = np.float64(line[n_whole + i]) - centre
                if np.isfinite(distance):
                    total += fraction[i]
                    first += fraction[i] * distance
                    second += fraction[i] * distance * distance
            mean = first / total
            spread = max(second - first * mean, 0.0)
            out[row, 0, parcel] = centre + mean
            if is_centre:
                out[row, 1, parcel] = np.sqrt(spread / (total - 1.0)) if total > 1.0 else np.nan
            else:
                out[row, 1, parcel] = np.sqrt(spread / total)


@kernel
def shares(counts: NDArray[np.uint8], members: Members, out: NDArray[np.float32]) -> None:
    """Fill in which share of each parcel's pixels was observed in each period, 0 to 1; NaN for a parcel without pixels.

    Parameters
    ----------
    counts : (n_periods, n) observations
    out : (n_periods, n_parcels)
    """
    whole, edge, fraction = members
    n_parcels, n_whole = whole.size - 1, whole[-1]
    for row in range(counts.shape[0]):
        for parcel in range(n_parcels):
            seen = total = 0.0
            for i in range(whole[parcel], whole[parcel + 1]):
                seen += 1.0 if counts[row, i] > 0 else 0.0
            total = np.float64(whole[parcel + 1] - whole[parcel])
            for i in range(edge[parcel], edge[parcel + 1]):
                total += fraction[i]
                seen += fraction[i] if counts[row, n_whole + i] > 0 else 0.0
            out[row, parcel] = seen / total if total > 0.0 else np.nan
