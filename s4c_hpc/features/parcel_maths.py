"""Features of values by parcel: composites of periods, and moments of weekly values; no file, no name of a column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def composite(
    values: NDArray[np.float32], weights: NDArray[np.float32] | None, place: NDArray[np.int64], n_periods: int
) -> Floats:
    """Mean of the values of each period.

    Parameters
    ----------
    values : (m, n) of m acquisitions and n parcels; NaN where there is none
    weights : (m, n) pixels that a value stands on; one where that is not known, none where it is 0
    place : (m,) period of each acquisition, -1 for none

    Returns
    -------
    (n, n_periods) NaN where a period has no value
    """
    n = values.shape[1]
    total, mass = np.zeros((n_periods, n)), np.zeros((n_periods, n))
    for row, period in enumerate(place.tolist()):
        if period < 0:
            continue
        seen = np.isfinite(values[row])
        weight = seen.astype(np.float64)
        if weights is not None:
            weight *= np.where(np.isfinite(weights[row]), weights[row], 1.0)
        total[period] += np.where(weight > 0, values[row], 0.0) * weight
        mass[period] += weight
    with np.errstate(invalid="ignore"):
        return np.where(mass > 0, total / np.where(mass > 0, mass, 1.0), np.nan).T


def mean(values: Floats) -> Floats:
    """(n,) mean of the values (n, k) of each row; NaN where there is none."""
    seen = np.isfinite(values)
    n_seen = seen.sum(axis=1)
    return np.where(n_seen > 0, np.where(seen, values, 0.0).sum(axis=1) / np.maximum(n_seen, 1), np.nan)


def deviation(values: Floats) -> Floats:
    """(n,) population standard deviation of the values (n, k) of each row; 0 of a single one, NaN of none."""
    about = mean(values)
    return np.sqrt(mean((values - about[:, None]) ** 2))


def variation(values: Floats) -> Floats:
    """(n,) coefficient of variation of each row: population standard deviation / mean."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result = deviation(values) / mean(values)
    return np.where(np.isfinite(result), result, np.nan)


def low_quantile(values: Floats, share: float) -> Floats:
    """(n,) quantile of the values (n, k) of each row, linear in the empirical distribution; NaN where there is none.

    Notes
    -----
    Estimator R-4 of Hyndman and Fan (1996), as in the reference: with m values x1 <= ... <= xm and h = m * share it is
    ``x[floor(h)] + (h - floor(h)) * (x[floor(h) + 1] - x[floor(h)])``, and the smallest one where h < 1.
    """
    if not values.shape[1]:
        return np.full(values.shape[0], np.nan)
    ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=1)  # NaN goes last
    n_seen = np.isfinite(ordered).sum(axis=1)
    rank = n_seen * share
    low = np.clip(np.floor(rank), 1, np.maximum(n_seen - 1, 1)).astype(np.int64)
    part = np.clip(rank - low, 0.0, 1.0)
    first = np.take_along_axis(ordered, low[:, None] - 1, 1)[:, 0]
    following = np.minimum(low, np.maximum(n_seen - 1, 0))
    second = np.take_along_axis(ordered, following[:, None], 1)[:, 0]
    return np.where(n_seen > 0, first + part * (np.where(part > 0, second, first) - first), np.nan)


def by_group(values: Floats, place: NDArray[np.int64], number: int) -> Floats:
    """(n, j) those columns of ``values`` (n, k) whose group is ``number``; ``place`` (k,) is the group of each."""
    return values[:, place == number]
