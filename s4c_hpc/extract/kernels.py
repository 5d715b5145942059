"""The compiled loops behind ``statistics``."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel

_RUN: Final = 16
"""Length up to which insertion sorts faster than merging."""

_BUCKETS: Final = 2
"""Buckets a value: with more, values in one are rarely out of order; with less, there are fewer to be added up."""

_ONE: Final = np.uint32(1)
"""Unsigned numbers as places spare the compiler a test for negative ones."""

_CROWD: Final = 64
"""Values in one bucket above which insertion would be too slow."""

_NARROWEST: Final = 1e-290
"""Spread of values below which their places in buckets would no longer be reckoned exactly."""

Spans = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]
"""Offsets by parcel, then local row and length of each run of whole pixels."""

Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""Offsets by parcel, then local row and covered share of each edge pixel."""


@helper
def _merge_sort(
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    n: int,
    spare_value: NDArray[np.float64],
    spare_weight: NDArray[np.float64],
) -> None:
    """Sort from the bottom up: never quadratic, and stable. The spare arrays, (n,), are scratch."""
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
                spare_value[i], spare_weight[i] = value[first + i], weight[first + i]
            b, end, out = first + width, min(first + 2 * width, n), first
            while a < n_left and b < end:
                if value[b] < spare_value[a]:
                    value[out], weight[out] = value[b], weight[b]
                    b += 1
                else:
                    value[out], weight[out] = spare_value[a], spare_weight[a]
                    a += 1
                out += 1
            while a < n_left:
                value[out], weight[out] = spare_value[a], spare_weight[a]
                a += 1
                out += 1
        width *= 2


@helper
def _crowded(
    value: NDArray[np.float64],
    n: int,
    low: float,
    span: float,
    bucket: NDArray[np.uint32],
    ends: NDArray[np.uint32],
) -> bool:
    """Give each value a bucket, say at which place each bucket begins, and whether one of them holds too many."""
    n_buckets, most, before = _BUCKETS * n, np.uint32(0), np.uint32(0)
    scale = (n_buckets - 1) / span
    for i in range(n_buckets + 1):
        ends[i] = 0
    for i in range(n):
        bucket[i] = np.uint32((value[i] - low) * scale)
    for i in range(n):
        ends[bucket[i] + _ONE] += _ONE
    for i in range(1, n_buckets + 1):
        most = max(most, ends[i])
        before += ends[i]
        ends[i] = before
    return bool(most > _CROWD)


@helper
def _sort_crowds(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    ends: NDArray[np.uint32],
    n_buckets: int,
    spare_value: NDArray[np.float64],
    spare_weight: NDArray[np.float64],
) -> None:
    """Merge-sort each bucket, told by its end, that holds more than insertion should sort; equal values are sorted."""
    start = 0
    for bucket in range(n_buckets):
        end = int(ends[bucket])
        if end - start > _CROWD:
            low = high = first[start]
            for i in range(start, end):
                low, high = min(low, first[i]), max(high, first[i])
            if low < high:
                _merge_sort(
                    first[start:end], second[start:end], end - start, spare_value[start:end], spare_weight[start:end]
                )
        start = end


@helper
def _sort(
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    n: int,
    low: float,
    high: float,
    spare: NDArray[np.float64],
    bucket: NDArray[np.uint32],
    ends: NDArray[np.uint32],
) -> None:
    """Sort the first ``n`` values, from ``low`` to ``high``, and the weights with them, in place.

    Equal values keep their order, so that their weights are always added in the same one. Values go into buckets
    of equal width first, which leaves little to do; those in which values crowd (one cloud widens all of them) are
    merge-sorted one by one. ``spare`` (2, n), ``bucket`` (n,) and ``ends`` (_BUCKETS * n + 1) are scratch.
    """
    if low == high:
        return
    span = high - low
    if not _NARROWEST < span < np.inf:  # the width of a bucket would be nothing, or infinite
        _merge_sort(value, weight, n, spare[0], spare[1])
        return
    is_crowded = _crowded(value, n, low, span, bucket, ends)
    first, second = spare[0], spare[1]
    for i in range(n):
        place = ends[bucket[i]]
        ends[bucket[i]] = place + _ONE
        first[place], second[place] = value[i], weight[i]
    if is_crowded:
        _sort_crowds(first, second, ends, _BUCKETS * n, value, weight)
    for i in range(n):
        v, w, j = first[i], second[i], i
        while j > 0 and value[j - 1] > v:
            value[j], weight[j] = value[j - 1], weight[j - 1]
            j -= 1
        value[j], weight[j] = v, w


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
    n_equal = 0
    for i in range(1, n):
        n_equal += value[i] == value[i - 1]
    if n_equal == 0:  # the rule, and found faster than the places of those that differ
        return n
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
        v, w = value[i], weight[i]
        total += w
        first += w * v
        low = min(low, v)  # none is NaN: a comparison is enough, and no jump
        high = max(high, v)
    mean = first / total
    for i in range(n):
        second += weight[i] * (value[i] - mean) ** 2
    if is_centre:
        return total, mean, np.sqrt(second / (n - 1)) if n > 1 else np.nan, low, high
    return total, mean, np.sqrt(second / total), low, high


@helper
def _count(spans: Spans, edges: Edges, parcel: int, categories: NDArray[np.uint8], counts: NDArray[np.float64]) -> None:
    """Count the pixels of a parcel by category; neighbours are mostly alike, so a sum stays at hand while they are."""
    run_offsets, run_start, run_length = spans
    edge_offsets, edge_row, edge_fraction = edges
    last, sum_of_last = np.uint8(0), counts[0]
    for run in range(run_offsets[parcel], run_offsets[parcel + 1]):
        for row in range(run_start[run], run_start[run] + run_length[run]):
            if categories[row] != last:
                counts[last] = sum_of_last
                last = categories[row]
                sum_of_last = counts[last]
            sum_of_last += 1.0
    for edge in range(edge_offsets[parcel], edge_offsets[parcel + 1]):
        category = categories[edge_row[edge]]
        if category != last:
            counts[last] = sum_of_last
            last = category
            sum_of_last = counts[last]
        sum_of_last += edge_fraction[edge]
    counts[last] = sum_of_last


@helper
def _finite(
    spans: Spans,
    edges: Edges,
    parcel: int,
    categories: NDArray[np.uint8],
    usable: NDArray[np.bool_],
    values: NDArray[np.float64],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> int:
    """Copy the finite values of a parcel's usable pixels, and their weights; returns how many."""
    run_offsets, run_start, run_length = spans
    edge_offsets, edge_row, edge_fraction = edges
    n = np.uint64(0)  # a pixel that does not count is written and then overwritten by the next one
    for run in range(run_offsets[parcel], run_offsets[parcel + 1]):
        for row in range(run_start[run], run_start[run] + run_length[run]):
            value[n], weight[n] = values[row], 1.0
            n += np.uint64(usable[categories[row]] & np.isfinite(values[row]))
    for edge in range(edge_offsets[parcel], edge_offsets[parcel + 1]):
        row = edge_row[edge]
        value[n], weight[n] = values[row], edge_fraction[edge]
        n += np.uint64(usable[categories[row]] & np.isfinite(values[row]))
    return int(np.int64(n))


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
    bucket: NDArray[np.uint32],
    ends: NDArray[np.uint32],
) -> None:
    """Put all quantiles of ``n`` values into their slots; sorts the values in place."""
    if quantiles.size == 0:
        return
    _sort(value, weight, n, moments[3], moments[4], spare, bucket, ends)
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
    # A pixel that does not count may be written behind the last one.
    value, weight, spare = np.empty(room + 1), np.empty(room + 1), np.empty((2, room))
    bucket, ends = np.empty(room, np.uint32), np.empty(_BUCKETS * room + 1, np.uint32)
    for parcel in range(n_parcels):
        _count(spans, edges, parcel, categories, counts[parcel])
        for variable in range(values.shape[0]):
            n = _finite(spans, edges, parcel, categories, usable, values[variable], value, weight)
            target = out[variable, :, parcel]
            if n == 0:
                if moment_slots[0] >= 0:
                    target[moment_slots[0]] = 0.0
                continue
            moments = _moments(value, weight, n, is_centre)
            for i in range(5):
                if moment_slots[i] >= 0:
                    target[moment_slots[i]] = moments[i]
            _quantiles(value, weight, n, is_centre, moments, quantiles, quantile_slots, target, spare, bucket, ends)
    return counts
