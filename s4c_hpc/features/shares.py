"""Which parcel blocks each rank takes: a contiguous range, of nearly the same number of pixels."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

BLOCK_PIXELS = 2000
"""What a block costs beside its pixels, as pixels: files are asked for it, and its values are written."""


def ranges_of(pixels: NDArray[np.int64], n_ranks: int) -> list[range]:
    """Blocks of each rank, in order; all together are all blocks.

    A block goes to the rank in whose share of the work its middle lies: no rank has more than its share and a block.

    Parameters
    ----------
    pixels : (n_blocks,) pixels of each block
    """
    cost = pixels.astype(np.float64) + BLOCK_PIXELS
    middle = np.cumsum(cost) - cost / 2
    total = cost.sum()
    rank = np.minimum((middle * n_ranks / total).astype(np.int64), n_ranks - 1) if pixels.size else pixels
    edges = np.searchsorted(rank, np.arange(n_ranks + 1))
    return [range(int(a), int(b)) for a, b in itertools.pairwise(edges)]
