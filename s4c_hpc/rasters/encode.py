"""From values to the 16-bit integers of a raster: rounded, negative ones kept, nothing wrapped around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NODATA: Final = -32768
"""Stored integer that means no data. It is no value of any step: values reach to 32767 on either side of zero."""

LARGEST: Final = 32767
"""Largest stored integer, and the negative of the smallest."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Stored integers."""

    values: NDArray[np.int16]
    n_beyond: int
    """Values that the integers cannot hold; they are no data."""


def pack(values: NDArray[np.float64], scale: float) -> Packed:
    """Store values as multiples of a step.

    Parameters
    ----------
    values : float64 of any shape, NaN for no data
    scale : the step: value = stored * scale

    Returns
    -------
    int16 of the same shape, each the nearest multiple (of two equally near ones the even); ``NODATA`` for NaN and for
    values beyond ``LARGEST`` steps, which are counted
    """
    with np.errstate(over="ignore"):  # infinite is too large as well
        steps = np.rint(values / scale)
    is_beyond = np.abs(steps) > LARGEST
    steps[is_beyond | np.isnan(steps)] = NODATA
    return Packed(steps.astype(np.int16), int(np.count_nonzero(is_beyond)))
