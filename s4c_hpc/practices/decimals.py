"""Comparing and rounding as the reference does, so that a value on a threshold falls on the same side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-8
"""Numbers that are no further apart are equal. Source: the reference's TimeSeriesAnalysisUtils.h."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def above(values: Floats, limit: Floats | float) -> Flags:
    """Whether values are larger than a limit; NaN is not."""
    found: Flags = values > limit + EPSILON
    return found


def below(values: Floats, limit: Floats | float) -> Flags:
    """Whether values are smaller than a limit; NaN is not."""
    found: Flags = values < limit - EPSILON
    return found


def at_least(values: Floats, limit: Floats | float) -> Flags:
    """Whether values are as large as a limit; NaN is not."""
    found: Flags = values >= limit - EPSILON
    return found


def at_most(values: Floats, limit: Floats | float) -> Flags:
    """Whether values are as small as a limit; NaN is not."""
    found: Flags = values <= limit + EPSILON
    return found


def any_week(flags: Flags) -> Flags:
    """(n,) whether any week of (n, w) is marked."""
    found: Flags = np.asarray(flags.any(axis=1))
    return found


def rounded(values: Floats, decimals: int = 0) -> Floats:
    """Halves away from zero, as C's ``round``."""
    scale = 10.0**decimals
    result: Floats = np.copysign(np.floor(np.abs(values) * scale + 0.5), values) / scale
    return result
