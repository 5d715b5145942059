"""Medians over fields around: what changes of coherence have in common. Compiled code, in one file (``core.jit``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from s4c_hpc.core.jit import helper, kernel


@helper
def _selected(values: Any, n: int, k: int) -> float:
    """The k-th least of the first n values, which change places: what is less stands before it."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    found: float = values[k]
    return found


@helper
def _median(values: Any, n: int) -> float:
    """Median of the first n values, at least one, which change places."""
    middle = _selected(values, n, n // 2)
    if n % 2:
        return middle
    below: float = values[0]
    for i in range(1, n // 2):
        below = max(below, values[i])
    return (below + middle) / 2


@kernel
def neighbour_medians(steps: Any, peers: Any, min_peers: int, common: Any, spread: Any) -> None:
    """Median of the changes of fields around, and 1.4826 times their median absolute deviation.

    Parameters
    ----------
    steps : (n, c) float32 changes of all parcels; NaN where there is none
    peers : (b, k) int64 rows of the fields around each of b parcels; -1 for none
    min_peers : with fewer changes there is no result
    common, spread : (b, c) float32, written; NaN where there is no result
    """
    values = np.empty(peers.shape[1], np.float64)
    for i in range(peers.shape[0]):
        for t in range(steps.shape[1]):
            n = 0
            for k in range(peers.shape[1]):
                if peers[i, k] >= 0:
                    step = steps[peers[i, k], t]
                    if step == step:  # not NaN  # noqa: PLR0124
                        values[n] = step
                        n += 1
            common[i, t] = np.nan
            spread[i, t] = np.nan
            if n >= min_peers:
                median = _median(values, n)
                for k in range(n):
                    values[k] = abs(values[k] - median)
                common[i, t] = median
                spread[i, t] = 1.4826 * _median(values, n)


@kernel
def season_deviations(common: Any, orbit: Any, n_orbits: int, least: int, out: Any) -> None:
    """Median absolute deviation of what fields around have in common over the season, by orbit.

    Parameters
    ----------
    common : (b, c) float32
    orbit : (c,) int64 number of the orbit of each column
    least : with fewer values there is no result
    out : (b, n_orbits) float32, written; NaN where there is no result
    """
    values = np.empty(common.shape[1], np.float64)
    for i in range(common.shape[0]):
        for o in range(n_orbits):
            n = 0
            for t in range(common.shape[1]):
                if orbit[t] == o and common[i, t] == common[i, t]:
                    values[n] = common[i, t]
                    n += 1
            out[i, o] = np.nan
            if n >= least:
                median = _median(values, n)
                for k in range(n):
                    values[k] = abs(values[k] - median)
                out[i, o] = _median(values, n)
