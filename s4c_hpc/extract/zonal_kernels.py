"""The compiled loops of ``zonal``: from the pixels of a window to what its parcels' pieces come to."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import helper, kernel

_TABLE: Final = 8
"""A table of all whole numbers between a piece's least and greatest value is used up to so many of them a pixel."""

_RUN: Final = 16
"""Length up to which insertion sorts faster than merging."""

_CROWD: Final = 64
"""Values in one bucket above which insertion would be too slow."""

Index = tuple[
    NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]
]
"""``run_offsets, run_place, run_length, edge_offsets, edge_place, edge_fraction`` of ``Pixels``."""


@helper
def _gather(
    index: Index,
    piece: int,
    image: NDArray[Any],
    usable: NDArray[np.bool_],
    nodata: float,
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> tuple[int, int]:
    """Copy the values and weights of a piece's pixels that count; returns how many are whole, and how many in all."""
    run_offsets, run_place, run_length, edge_offsets, edge_place, edge_fraction = index
    is_masked = usable.size > 0
    n = 0  # a pixel that does not count is written and then overwritten by the next one
    for run in range(run_offsets[piece], run_offsets[piece + 1]):
        for place in range(run_place[run], run_place[run] + run_length[run]):
            v = float(image[place])
            value[n], weight[n] = v, 1.0
            n += (v != nodata) & (abs(v) < np.inf) & (not is_masked or usable[place])
    whole = n
    for edge in range(edge_offsets[piece], edge_offsets[piece + 1]):
        place = edge_place[edge]
        v = float(image[place])
        value[n], weight[n] = v, edge_fraction[edge]
        n += (v != nodata) & (abs(v) < np.inf) & (not is_masked or usable[place])
    return whole, n


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
    """Sort values from ``low`` to ``high``, and the weights with them: by buckets of equal width, then insertion."""
    scale = (n - 1) / (high - low)
    if not 0.0 < scale < np.inf:  # a spread too small or too large to be divided
        _merge_sort(value, weight, n, spare)
        return
    crowded = 0
    for i in range(n + 1):
        ends[i] = 0
    for i in range(n):
        ends[min(int((value[i] - low) * scale), n - 1) + 1] += 1
    for i in range(n):
        crowded = max(crowded, ends[i + 1])
        ends[i + 1] += ends[i]
    if crowded > _CROWD:
        _merge_sort(value, weight, n, spare)
        return
    for i in range(n):
        bucket = min(int((value[i] - low) * scale), n - 1)
        spare[0, ends[bucket]], spare[1, ends[bucket]] = value[i], weight[i]
        ends[bucket] += 1
    for i in range(n):
        v, w, j = spare[0, i], spare[1, i], i - 1
        while j >= 0 and value[j] > v:
            value[j + 1], weight[j + 1] = value[j], weight[j]
            j -= 1
        value[j + 1], weight[j + 1] = v, w


@helper
def _distinct(
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    n: int,
    low: float,
    high: float,
    is_whole: bool,
    table: NDArray[np.float64],
    spare: NDArray[np.float64],
    ends: NDArray[np.int32],
) -> int:
    """Ascending distinct values and the weight of each, in place; returns how many. ``table`` is zero, and stays so."""
    if low == high:
        for i in range(1, n):
            weight[0] += weight[i]
        return 1
    m = 0
    if is_whole and high - low < min(table.size, _TABLE * n):
        for i in range(n):
            table[int(value[i] - low)] += weight[i]
        for i in range(int(high - low) + 1):
            if table[i] > 0.0:
                value[m], weight[m] = low + i, table[i]
                table[i] = 0.0
                m += 1
        return m
    _sort(value, weight, n, low, high, spare, ends)
    for i in range(n):
        if m > 0 and value[m - 1] == value[i]:
            weight[m - 1] += weight[i]
        else:
            value[m], weight[m] = value[i], weight[i]
            m += 1
    return m


@helper
def _coverage_quantile(
    value: NDArray[np.float64], weight: NDArray[np.float64], m: int, total: float, share: float
) -> float:
    """Weighted quantile of ``m`` ascending values.

    Value j of weight w stands at j * w + (m - 1) * (weight of those before it); the quantile is interpolated at
    share * total * (m - 1). Source: exactextract's documentation (Apache-2.0, method only).
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
def _centre_quantile(
    value: NDArray[np.float64], weight: NDArray[np.float64], m: int, total: float, share: float
) -> float:
    """Quantile of counted ascending values, by NumPy's ``linear`` method (type 7 of Hyndman and Fan 1996)."""
    place = share * (total - 1.0)
    low = np.floor(place)
    t, before = place - low, 0.0
    for j in range(m):
        before += weight[j]
        if before > low:
            a = value[j]
            b = a if before > low + 1.0 or j + 1 == m else value[j + 1]
            return float(a + (b - a) * t) if t < 0.5 else float(b - (b - a) * (1.0 - t))
    return float(value[m - 1])


@helper
def _quantiles(
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    m: int,
    is_centre: bool,
    shares: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    total = 0.0
    for j in range(m):
        total += weight[j]
    for i in range(shares.size):
        if is_centre:
            out[i] = _centre_quantile(value, weight, m, total, shares[i])
        else:
            out[i] = _coverage_quantile(value, weight, m, total, shares[i])


@kernel
def pieces(
    index: Index,
    image: NDArray[Any],
    usable: NDArray[np.bool_],
    nodata: float,
    is_whole: bool,
    is_centre: bool,
    shares: NDArray[np.float64],
    is_cut: NDArray[np.bool_],
    room: int,
    kept: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Moments of every piece of a window, quantiles of those that are whole parcels, and the pixels of the others.

    Parameters
    ----------
    index : pixels by piece, as places in ``image``
    image : (n_places,)
    usable : (n_places,), or empty where every pixel is
    nodata : value that does not count, NaN if there is none
    is_whole : whether values are whole numbers
    shares : (n_quantiles,) in [0, 1]
    is_cut : (n,) whether a piece is only part of its parcel
    room : pixels of the largest piece
    kept : pixels of all pieces that are cut

    Returns
    -------
    (5, n) weight, mean, sum of squared deviations, least, greatest value; (n_quantiles, n) NaN where a piece is cut or
    empty; (n + 1,) offsets of the distinct values of cut pieces, these values and their weights
    """
    n_pieces = is_cut.size
    moments = np.zeros((5, n_pieces))
    quantiles = np.full((shares.size, n_pieces), np.nan)
    offsets, kept_value, kept_weight = np.zeros(n_pieces + 1, np.int64), np.empty(kept), np.empty(kept)
    value, weight, spare = np.empty(room), np.empty(room), np.empty((2, room))
    ends, table, found = np.empty(room + 1, np.int32), np.zeros(65536), np.empty(shares.size)
    for piece in range(n_pieces):
        offsets[piece + 1] = offsets[piece]
        whole, n = _gather(index, piece, image, usable, nodata, value, weight)
        moments[3, piece], moments[4, piece] = np.inf, -np.inf
        if n == 0:
            continue
        total, first, second, low, high = float(whole), 0.0, 0.0, value[0], value[0]
        for i in range(whole):
            first += value[i]
            low, high = min(low, value[i]), max(high, value[i])
        for i in range(whole, n):
            total += weight[i]
            first += weight[i] * value[i]
            low, high = min(low, value[i]), max(high, value[i])
        mean = first / total
        for i in range(n):
            second += weight[i] * (value[i] - mean) ** 2
        moments[0, piece], moments[1, piece], moments[2, piece] = total, mean, second
        moments[3, piece], moments[4, piece] = low, high
        if shares.size == 0:
            continue
        m = _distinct(value, weight, n, low, high, is_whole, table, spare, ends)
        if is_cut[piece]:
            for i in range(m):
                kept_value[offsets[piece] + i], kept_weight[offsets[piece] + i] = value[i], weight[i]
            offsets[piece + 1] += m
        else:
            _quantiles(value, weight, m, is_centre, shares, found)
            for i in range(shares.size):
                quantiles[i, piece] = found[i]
    return moments, quantiles, offsets, kept_value[: offsets[n_pieces]], kept_weight[: offsets[n_pieces]]


@kernel
def joined(
    offsets: NDArray[np.int64],
    value: NDArray[np.float64],
    weight: NDArray[np.float64],
    is_whole: bool,
    is_centre: bool,
    shares: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Quantiles (n_quantiles, n) of weighted values by parcel, and the number (n,) of its distinct values.

    ``value`` and ``weight`` hold the distinct ones of each parcel from its offset on, afterwards.
    """
    n = offsets.size - 1
    room = 0
    for i in range(n):
        room = max(room, offsets[i + 1] - offsets[i])
    spare, ends, table = np.empty((2, room)), np.empty(room + 1, np.int32), np.zeros(65536)
    quantiles, n_distinct, found = np.full((shares.size, n), np.nan), np.zeros(n, np.int64), np.empty(shares.size)
    for i in range(n):
        values, weights = value[offsets[i] : offsets[i + 1]], weight[offsets[i] : offsets[i + 1]]
        if values.size:
            low = high = values[0]
            for v in values:
                low, high = min(low, v), max(high, v)
            m = _distinct(values, weights, values.size, low, high, is_whole, table, spare, ends)
            n_distinct[i] = m
            _quantiles(values, weights, m, is_centre, shares, found)
            for j in range(shares.size):
                quantiles[j, i] = found[j]
    return quantiles, n_distinct
