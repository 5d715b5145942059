"""Statistics of the pixels of a parcel, all of them in one pass over what was gathered.

Two weightings, two definitions; which one was used is written into the schema of every series:

========== ============================================ ====================================================
statistic  centre                                       coverage
========== ============================================ ====================================================
count      number of pixels                             sum of the covered shares
mean       arithmetic                                   weighted by share
stdev      of the sample, n - 1; NaN below two pixels   of the population, weighted; 0 for one pixel
min, max   of pixels whose centre is inside             of pixels with any share
median,    linear between order statistics (NumPy's     linear between the distinct values, each at the middle
p0 - p100  ``linear``, type 7 of Hyndman and Fan 1996)  of its share of the weight (as exactextract defines it)
========== ============================================ ====================================================

A value that is not finite takes no part. Sums run over a parcel's whole pixels and then its edge pixels, in index
order, so the same parcel gives the same bits on any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.model import Weighting
from s4c_hpc.core.errors import InternalError
from s4c_hpc.extract.index import IndexBlock
from s4c_hpc.extract.kernels import all_statistics
from s4c_hpc.extract.quantiles import quantile_of
from s4c_hpc.extract.ranges import RowRanges

MOMENTS: Final = ("count", "mean", "stdev", "min", "max")
"""Statistics that need no sorting, in the order of the kernel's slots."""


@dataclass(frozen=True, eq=False)
class BlockStatistics:
    """Statistics of one block of parcels."""

    values: NDArray[np.float64]
    """(n_variables, n_statistics, n_parcels) in the unit of the variable; ``count`` in pixels. Without a usable pixel
    the count is 0 and the rest NaN."""
    class_counts: NDArray[np.int32] | NDArray[np.float64]
    """(n_parcels, n_categories) pixels of each category, by code; whole with centre weighting."""


def block_statistics(
    block: IndexBlock,
    rows: RowRanges,
    values: NDArray[np.float64],
    categories: NDArray[np.uint8],
    usable: NDArray[np.bool_],
    statistics: tuple[str, ...],
    weighting: Weighting,
) -> BlockStatistics:
    """Statistics of every variable and the class counts, for a block of parcels.

    Parameters
    ----------
    block : the parcels' pixels, as stack rows
    rows : which stack rows the values below belong to; must cover ``block.ranges()``
    values : (n_variables, rows.n_rows) physical values, NaN where there is none
    categories : (rows.n_rows,) category code of each pixel, below ``usable.size``
    usable : (n_categories,) whether pixels of a category enter statistics
    statistics : ``count mean stdev min max median`` and ``p0`` to ``p100``, in the order wanted
    weighting : the one that the index was built with
    """
    if values.ndim != 2 or values.shape[1] != rows.n_rows or categories.shape != (rows.n_rows,):
        raise InternalError(f"values {values.shape} and categories {categories.shape} are not for {rows.n_rows} rows")
    if categories.size and int(categories.max()) >= usable.size:
        raise InternalError(f"category code {categories.max()} is beyond the {usable.size} that are known")
    runs, edges = rows.local(block.run_start), rows.local(block.edge_row)
    lowest = min(runs.min(initial=0), edges.min(initial=0))
    highest = max((runs + block.run_length).max(initial=0), edges.max(initial=-1) + 1)
    if lowest < 0 or highest > rows.n_rows:
        raise InternalError("the stack rows given do not hold all pixels of the block")  # kernels do not check
    slots = np.array([statistics.index(name) if name in statistics else -1 for name in MOMENTS], dtype=np.int64)
    places = [i for i, name in enumerate(statistics) if name not in MOMENTS]
    shares = [quantile_of(statistics[i]) for i in places]
    if None in shares:
        what = statistics[places[shares.index(None)]]
        raise InternalError(f"{what!r} is not a statistic; known are {', '.join(MOMENTS)}, median and p0 to p100")
    is_centre = weighting is Weighting.CENTRE
    out = np.full((values.shape[0], len(statistics), block.n_parcels), np.nan)
    counts = all_statistics(
        (block.run_offsets, runs, block.run_length),
        (block.edge_offsets, edges, block.edge_fraction),
        np.ascontiguousarray(values),
        categories,
        usable,
        is_centre,
        slots,
        np.array(shares, dtype=np.float64),
        np.array(places, dtype=np.int64),
        int(block.n_pixels.max(initial=0)),
        out,
    )
    return BlockStatistics(out, counts.astype(np.int32) if is_centre else counts)
