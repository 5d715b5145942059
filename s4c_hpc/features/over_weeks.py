"""The compiled loops over weekly composites of radar: moments in time and a low quantile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import kernel


@kernel
def mean_and_variation(
    values: NDArray[np.float32], mean: NDArray[np.float32], variation: NDArray[np.float32], relative: bool
) -> None:
    """Mean over weeks and population standard deviation, as a share of the mean or as it is; NaN without a value.

    Parameters
    ----------
    values : (n_weeks, n) NaN where a pixel was not seen
    mean, variation : (n,) to be filled
    relative : coefficient of variation
    """
    for i in range(values.shape[1]):
        count, total = 0, 0.0
        for k in range(values.shape[0]):
            if not np.isnan(values[k, i]):
                count += 1
                total += values[k, i]
        if count == 0:
            mean[i] = variation[i] = np.nan
            continue
        average = total / count
        square = 0.0
        for k in range(values.shape[0]):
            if not np.isnan(values[k, i]):
                square += (values[k, i] - average) ** 2
        spread = np.sqrt(square / count)
        mean[i] = average
        variation[i] = spread / average if relative else spread


@kernel
def low_quantile(values: NDArray[np.float32], share: float, out: NDArray[np.float32]) -> None:
    """Quantile over weeks by linear interpolation of the empirical distribution function (R's type 4).

    Of n values in order x_1 ... x_n it is x_j + (n share - j) (x_{j+1} - x_j) with j = floor(n share), and x_1 where
    j is 0. Source: Hyndman and Fan 1996, doi:10.1080/00031305.1996.10473566, definition 4.

    Parameters
    ----------
    values : (n_weeks, n) NaN where a pixel was not seen
    share : 0 to 1
    out : (n,) to be filled; NaN without a value
    """
    n_weeks = values.shape[0]
    known = np.empty(n_weeks, np.float32)
    for i in range(values.shape[1]):
        n = 0
        for k in range(n_weeks):
            value = values[k, i]
            if np.isnan(value):
                continue
            j = n
            while j > 0 and known[j - 1] > value:
                known[j] = known[j - 1]
                j -= 1
            known[j] = value
            n += 1
        if n == 0:
            out[i] = np.nan
            continue
        place = n * share
        below = min(int(np.floor(place)), n)
        low = known[max(below, 1) - 1]
        high = known[min(max(below, 1), n - 1)] if below > 0 else low
        out[i] = low + (place - below) * (high - low)
