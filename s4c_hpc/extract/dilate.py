"""Masks widened by a distance: pixels close to a cloud, a shadow or snow become what is next to them.

This is spatial and sees pixels beside farmland, too, so it is done where rasters are read and not where statistics are
made. The class raster is decoded once, whole; distances are between pixel centres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.jit import kernel
from s4c_hpc.optical import NO_CLASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """One mask to be widened."""

    values: tuple[int, ...]
    """Class values that make up the mask, a cloud's say."""
    radius_m: float


def halo_rows(widenings: Sequence[Widening], res_m: float) -> int:
    """Rows above and below that decide what a pixel becomes."""
    return max((math.floor(widening.radius_m / res_m) for widening in widenings), default=0)


def widened(
    classes: NDArray[np.uint8],
    rows: slice,
    widenings: Sequence[Widening],
    protected: Sequence[int],
    res_m: float,
) -> NDArray[np.uint8]:
    """Rows of a class raster after widening.

    Parameters
    ----------
    classes : (height, width) the raster
    rows : of it, which are wanted
    widenings : a pixel within reach of several takes the first
    protected : class values that stay what they are, beside those of ``widenings`` and ``NO_CLASS``
    res_m : pixel size

    Returns
    -------
    (rows, width) uint8: the class of the nearest pixel of a mask within its radius, else what it was. Of equally near
    ones the first counts, row by row.

    Notes
    -----
    Memory: 2 bytes a pixel of the rows and their halo.
    """
    halo = halo_rows(widenings, res_m)
    first, last = max(rows.start - halo, 0), min(rows.stop + halo, classes.shape[0])
    around = classes[first:last]
    out = classes[rows].copy()
    is_open = np.ones(256, dtype=np.bool_)
    is_open[[NO_CLASS, *protected, *(value for widening in widenings for value in widening.values)]] = False
    for widening in widenings:
        is_seed = np.zeros(256, dtype=np.bool_)
        is_seed[list(widening.values)] = True
        offsets = _nearest_in_row(around, is_seed)
        _spread(around, offsets, is_open, rows.start - first, widening.radius_m / res_m, out)
    return out


@kernel
def _nearest_in_row(classes: NDArray[np.uint8], is_seed: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Columns to the nearest seed of the same row, leftwards negative; the largest int16 where there is none."""
    height, width = classes.shape
    none = np.int16(32767)
    out = np.full((height, width), none, dtype=np.int16)
    for r in range(height):
        last = -1
        for c in range(width):
            if is_seed[classes[r, c]]:
                last = c
            if last >= 0 and c - last < none:
                out[r, c] = last - c
        last = -1
        for c in range(width - 1, -1, -1):
            if is_seed[classes[r, c]]:
                last = c
            if last >= 0 and last - c < abs(np.int64(out[r, c])):
                out[r, c] = last - c
    return out


@kernel
def _spread(
    classes: NDArray[np.uint8],
    offsets: NDArray[np.int16],
    is_open: NDArray[np.bool_],
    first: int,
    radius: float,
    out: NDArray[np.uint8],
) -> None:
    """Give open pixels the class of the nearest seed within ``radius`` pixels; ``out`` begins at row ``first``."""
    height, width = classes.shape
    reach = int(np.floor(radius))
    beyond = np.int32(np.floor(radius * radius + 1e-9) + 1)
    distance = np.empty(width, dtype=np.int32)  # squared, in pixels
    source = np.empty(width, dtype=np.int32)
    for r in range(out.shape[0]):
        distance[:] = beyond
        for s in range(max(0, first + r - reach), min(height, first + r + reach + 1)):
            down = np.int32((s - first - r) * (s - first - r))
            for c in range(width):  # no branch: this is where the time goes
                along = np.int32(offsets[s, c])
                found = down + along * along
                is_closer = found < distance[c]
                distance[c] = found if is_closer else distance[c]
                source[c] = s if is_closer else source[c]
        for c in range(width):
            if distance[c] < beyond and is_open[out[r, c]]:
                s = source[c]
                out[r, c] = classes[s, c + offsets[s, c]]
