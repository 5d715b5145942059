"""The compiled loops behind ``statistics``."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.extract.jit import helper, kernel

_RUN: Final = 16
"""Length up to which insertion sorts faster than merging."""

_CROWD: Final = 64
"""Values in one bucket above which insertion would be too slow."""

_NARROWEST: Final = 1e-290
"""Spread of values below which their places in buckets would no longer be reckoned exactly."""

Spans = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""Offsets by parcel, then local row and length of each run of whole pixels."""

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""Offsets by parcel, then local row and covered share of each edge pixel."""


@helper
def _merge_sort(value: NDArray[np.float64], weight: NDArray[np.float64], n: int, spare: NDArray[np.float64]) -> None:
    """Sort from the bottom up: never quadratic, and stable."""
    for first in range(0, n, _RUN):
        for i in range(first + 1, min(first + _RUN, n)):
            v, w, j = value[i], weight[i], i - 1
            while j >= first and value[j] > v:
                value[j + 1], weight[j + 1] = value[j], weight[j]
                j -= 1
            value[j + 1], weight[j + 1] = v, w
    width = _RUN
    while width < n:
        for first in range(0, n - width, 2 * width):
            # Only the left half moves out: merging forwards never overtakes what is still to be read on the right.
            a, n_left = 0, width
            for i in range(width):
                spare[0, i], spare[1, i] = value[first + i], weight[first + i]
            b, end, out = first + width, min(first + 2 * width, n), first
            while a < n_left and b < end:
                if value[b] < spare[0, a]:
                    value[out], weight[out] = value[b], weight[b]
                    b += 1
                else:
                    value[out], weight[out] = spare[0, a], spare[1, a]
                    a += 1
                out += 1
            while a < n_left:
                value[out], weight[out] = spare[0, a], spare[1, a]
                a += 1
                out += 1
        width *= 2


@helper
def _sort(
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    n: int,
    low: float,
    high: float,
    spare: NDArray[np.float64],
    ends: NDArray[np.int32],
) -> None:
    """Sort the first ``n`` values, from ``low`` to ``high``, and the weights with them, in place.

    Equal values keep their order, so that their weights are always added in the same one. Values go into ``n`` buckets
    of equal width first, which leaves little to do; a parcel whose values crowd in a few of them is merge-sorted, with
    the same result. ``spare`` (2, n) and ``ends`` (n + 1) are scratch.
    """
    if low == high:
        return
    span = high - low
    if not _NARROWEST < span < np.inf:  # the width of a bucket would be nothing, or infinite
        _merge_sort(value, weight, n, spare)
        return
    scale, crowded = (n - 1) / span, 0
    for i in range(n + 1):
        ends[i] = 0
    for i in range(n):
        ends[int((value[i] - low) * scale) + 1] += 1
    for i in range(n):
        crowded = max(crowded, ends[i + 1])
        ends[i + 1] += ends[i]
    if crowded > _CROWD:
        _merge_sort(value, weight, n, spare)
        return
    for i in range(n):
        bucket = int((value[i] - low) * scale)
        spare[0, ends[bucket]], spare[1, ends[bucket]] = value[i], weight[i]
        ends[bucket] += 1
    for i in range(n):
        v, w, j = spare[0, i], spare[1, i], i - 1
        while j >= 0 and value[j] > v:
            value[j + 1], weight[j + 1] = value[j], weight[j]
            j -= 1
        value[j + 1], weight[j + 1] = v, w


@helper
def _linear(value: NDArray[np.float64], n: int, share: float) -> float:
    """Quantile of sorted values, rounding as NumPy's ``linear`` method does (``numpy/lib/_function_base_impl.py``)."""
    place = share * (n - 1)
    low = int(place)
    if low >= n - 1:
        return float(value[n - 1])
    a, b, t = value[low], value[low + 1], place - low
    return float(a + (b - a) * t) if t < 0.5 else float(b - (b - a) * (1.0 - t))


@helper
def _merged(value: NDArray[np.float64], weight: NDArray[np.float64], n: int) -> int:
    """Add up the weights of equal sorted values, in place; returns the number of distinct values."""
    m = 0
    for i in range(n):
        if m > 0 and value[m - 1] == value[i]:
            weight[m - 1] += weight[i]
        else:
            value[m], weight[m] = value[i], weight[i]
            m += 1
    return m


@helper
def _weighted(value: NDArray[np.float64], weight: NDArray[np.float64], m: int, total: float, share: float) -> float:
    """Weighted quantile of ``m`` distinct ascending values.

    Value j of weight w stands at j * w + (m - 1) * (weight of those before it); the quantile is interpolated at
    share * total * (m - 1). With equal weights this is ``_linear``. Source: exactextract's documentation (Apache-2.0,
    method only).
    """
    target = share * total * (m - 1)
    before = position = 0.0
    for j in range(m):
        here = j * weight[j] + (m - 1) * before
        if here > target:
            return float(value[j - 1] + (target - position) * (value[j] - value[j - 1]) / (here - position))
        position = here
        before += weight[j]
    return float(value[m - 1])


@helper
def _moments(
    value: NDArray[np.float64], weight: NDArray[np.float64], n: int, is_centre: bool
) -> tuple[float, float, float, float, float]:
    """Sum of weights, mean, stdev, min, max of ``n`` values, at least one; two passes, in order."""
    total = first = second = 0.0
    low = high = value[0]
    for i in range(n):
        total += weight[i]
        first += weight[i] * value[i]
        low, high = min(low, value[i]), max(high, value[i])
    mean = first / total
    for i in range(n):
        second += weight[i] * (value[i] - mean) ** 2
    if is_centre:
        return total, mean, np.sqrt(second / (n - 1)) if n > 1 else np.nan, low, high
    return total, mean, np.sqrt(second / total), low, high


@helper
def _pixels(
    spans: Spans,
    edges: Edges,
    parcel: int,
    categories: NDArray[np.uint8],
    usable: NDArray[np.bool_],
    place: NDArray[np.int64],
    share: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> int:
    """List the usable pixels of a parcel and their weights, and count all of them by category; returns how many."""
    run_offsets, run_start, run_length = spans
    edge_offsets, edge_row, edge_fraction = edges
    n = 0  # a pixel that is not usable is written and then overwritten by the next one
    for run in range(run_offsets[parcel], run_offsets[parcel + 1]):
        for row in range(run_start[run], run_start[run] + run_length[run]):
            category = categories[row]
            counts[category] += 1.0
            place[n], share[n] = row, 1.0
            n += usable[category]
    for edge in range(edge_offsets[parcel], edge_offsets[parcel + 1]):
        category = categories[edge_row[edge]]
        counts[category] += edge_fraction[edge]
        place[n], share[n] = edge_row[edge], edge_fraction[edge]
        n += usable[category]
    return n


@helper
def _finite(
    values: NDArray[np.float64],
    place: NDArray[np.int64],
    share: NDArray[np.float64],
    n_pixels: int,
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> int:
    """Copy the finite values of the listed pixels, and their weights; returns how many."""
    n = 0
    for i in range(n_pixels):
        found = values[place[i]]
        if np.isfinite(found):
            value[n], weight[n] = found, share[i]
            n += 1
    return n


@helper
def _quantiles(
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    n: int,
    is_centre: bool,
    moments: tuple[float, float, float, float, float],
    quantiles: NDArray[np.float64],
    slots: NDArray[np.int64],
    target: NDArray[np.float64],
    spare: NDArray[np.float64],
    ends: NDArray[np.int32],
) -> None:
    """Put all quantiles of ``n`` values into their slots; sorts the values in place."""
    if quantiles.size == 0:
        return
    _sort(value, weight, n, moments[3], moments[4], spare, ends)
    if is_centre:
        for i in range(quantiles.size):
            target[slots[i]] = _linear(value, n, quantiles[i])
        return
    m = _merged(value, weight, n)
    for i in range(quantiles.size):
        target[slots[i]] = _weighted(value, weight, m, moments[0], quantiles[i])


@kernel
def all_statistics(
    spans: Spans,
    edges: Edges,
    values: NDArray[np.float64],
    categories: NDArray[np.uint8],
    usable: NDArray[np.bool_],
    is_centre: bool,
    moment_slots: NDArray[np.int64],
    quantiles: NDArray[np.float64],
    quantile_slots: NDArray[np.int64],
    room: int,
    out: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Fill in the statistics of a block, and return its class counts (n_parcels, n_categories).

    Parameters
    ----------
    spans, edges : pixels by parcel, as columns of ``values``
    values : (n_variables, n_rows)
    categories : (n_rows,) codes; usable : (n_categories,)
    moment_slots : (5,) where count, mean, stdev, min, max go among the statistics, -1 for nowhere
    quantiles, quantile_slots : (n_quantiles,) share in [0, 1] of each quantile, and where it goes
    room : pixels of the largest parcel
    out : (n_variables, n_statistics, n_parcels) of NaN
    """
    n_parcels = spans[0].size - 1
    counts = np.zeros((n_parcels, usable.size))
    place, share = np.empty(room, np.int64), np.empty(room, np.float64)
    value, weight, spare = np.empty(room), np.empty(room), np.empty((2, room))
    ends = np.empty(room + 1, np.int32)
    for parcel in range(n_parcels):
        n_pixels = _pixels(spans, edges, parcel, categories, usable, place, share, counts[parcel])
        for variable in range(values.shape[0]):
            n = _finite(values[variable], place, share, n_pixels, value, weight)
            target = out[variable, :, parcel]
            if n == 0:
                if moment_slots[0] >= 0:
                    target[moment_slots[0]] = 0.0
                continue
            moments = _moments(value, weight, n, is_centre)
            for i in range(5):
                if moment_slots[i] >= 0:
                    target[moment_slots[i]] = moments[i]
            _quantiles(value, weight, n, is_centre, moments, quantiles, quantile_slots, target, spare, ends)
    return counts
