"""Which stack rows belong to which parcel, and with what weight."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config.model import Weighting
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import open_ipc, read_metadata, write_ipc
from s4c_hpc.extract.cells import Cells
from s4c_hpc.extract.coverage import coverage
from s4c_hpc.extract.polygons import clipped, rings_on, usable_polygons
from s4c_hpc.extract.ranges import RowRanges
from s4c_hpc.extract.scanline import centre_runs

Bounds = tuple[float, float, float, float]
"""``(xmin, ymin, xmax, ymax)`` in CRS units."""

_FIELDS: Final = (
    pa.field("new_id", pa.int32(), nullable=False),
    pa.field("block", pa.int32(), nullable=False),
    pa.field("run_start", pa.large_list(pa.field("item", pa.uint32(), nullable=False)), nullable=False),
    pa.field("run_length", pa.large_list(pa.field("item", pa.int32(), nullable=False)), nullable=False),
    pa.field("edge_row", pa.large_list(pa.field("item", pa.uint32(), nullable=False)), nullable=False),
    pa.field("edge_fraction", pa.large_list(pa.field("item", pa.float32(), nullable=False)), nullable=False),
)


@dataclass(frozen=True, eq=False)
class IndexBlock:
    """The pixels of one block of parcels."""

    new_id: NDArray[np.int32]
    """(n,) NewID of each parcel, in row order."""
    block: int
    """Number of the block within its tile."""
    run_offsets: NDArray[np.int64]
    """(n + 1,) first run of each parcel."""
    run_start: NDArray[np.uint32]
    """(n_runs,) stack row of the first pixel of each run of whole pixels, ascending within a parcel."""
    run_length: NDArray[np.int32]
    """(n_runs,) number of pixels."""
    edge_offsets: NDArray[np.int64]
    """(n + 1,) first edge pixel of each parcel."""
    edge_row: NDArray[np.uint32]
    """(n_edges,) stack row of each partly covered pixel, ascending within a parcel; none with centre weighting."""
    edge_fraction: NDArray[np.float32]
    """(n_edges,) covered share of it, dimensionless."""

    @property
    def n_parcels(self) -> int:
        """Number of parcels."""
        return int(self.new_id.size)

    @property
    def n_pixels(self) -> NDArray[np.int64]:
        """(n,) pixels of each parcel, whole and edge ones."""
        ends = np.r_[0, np.cumsum(self.run_length, dtype=np.int64)]
        found: NDArray[np.int64] = np.diff(ends[self.run_offsets]) + np.diff(self.edge_offsets)
        return found

    def ranges(self) -> RowRanges:
        """Stack rows that hold every pixel of this block."""
        if not self.edge_row.size:
            return RowRanges.covering(self.run_start, self.run_length)
        rows = np.concatenate([self.run_start, self.edge_row])
        lengths = np.concatenate([self.run_length, np.ones(self.edge_row.size, dtype=np.int32)])
        return RowRanges.covering(rows, lengths)


@dataclass(frozen=True, eq=False)
class ParcelIndex:
    """The pixels of all parcels of a tile on one grid, one record batch per parcel block."""

    batches: Sequence[pa.RecordBatch]
    metadata: Mapping[str, str]
    """``tile``, ``grid``, ``weighting``, ``buffer_m`` and whatever the writer added."""

    @property
    def n_blocks(self) -> int:
        """Number of parcel blocks."""
        return len(self.batches)

    @property
    def n_parcels(self) -> int:
        """Number of parcels."""
        return sum(batch.num_rows for batch in self.batches)

    @property
    def weighting(self) -> Weighting:
        """How pixels at a parcel's edge count."""
        return Weighting(self.metadata["weighting"])

    @property
    def new_id(self) -> NDArray[np.int32]:
        """(n_parcels,) NewID in row order."""
        return np.concatenate([np.empty(0, np.int32), *(_numpy(batch.column("new_id")) for batch in self.batches)])

    def block(self, i: int) -> IndexBlock:
        """The ``i``-th block; its arrays share the pages of the file where the index was read from one."""
        batch = self.batches[i]
        return IndexBlock(
            new_id=_numpy(batch.column("new_id")),
            block=batch.column("block")[0].as_py(),
            run_offsets=_numpy(batch.column("run_start").offsets),
            run_start=_numpy(batch.column("run_start").values),
            run_length=_numpy(batch.column("run_length").values),
            edge_offsets=_numpy(batch.column("edge_row").offsets),
            edge_row=_numpy(batch.column("edge_row").values),
            edge_fraction=_numpy(batch.column("edge_fraction").values),
        )

    def __iter__(self) -> Iterator[IndexBlock]:
        return (self.block(i) for i in range(self.n_blocks))


def build_index(
    new_id: NDArray[np.int32],
    block: NDArray[np.int32],
    geometries: NDArray[np.object_],
    cells: Cells,
    weighting: Weighting,
    buffer_m: float,
    extent: Bounds | None = None,
) -> ParcelIndex:
    """Index of parcels on the stacks of one grid, in memory; ``index_batches`` streams the same.

    Parameters
    ----------
    new_id, block : (n,) identity of each parcel and its block; the rows of a block stand together
    geometries : (n,) shapely geometries or None, in the CRS of ``cells.grid``
    cells : kept cells of the grid; must hold every pixel of every parcel
    weighting : pixel centre inside, or exact coverage
    buffer_m : inward buffer, in metres; a parcel that it makes vanish stays, without pixels
    extent : of the tile, where pixels of the grid reach beyond it: land outside is no parcel's, as on other grids

    Raises
    ------
    InputError
        If a parcel reaches cells of the tile that are not kept (the mask was made for other parcels).
    """
    batches = tuple(index_batches(new_id, block, geometries, cells, weighting, buffer_m, extent))
    return ParcelIndex(batches, {"grid": cells.grid.name, "weighting": weighting.value, "buffer_m": repr(buffer_m)})


def index_batches(
    new_id: NDArray[np.int32],
    block: NDArray[np.int32],
    geometries: NDArray[np.object_],
    cells: Cells,
    weighting: Weighting,
    buffer_m: float,
    extent: Bounds | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the record batch of each parcel block in turn; see ``build_index``.

    Notes
    -----
    Memory: the flat copy and the pixels of one block: 8 bytes a run and an edge pixel, 20 while they are found.
    """
    bounds = np.flatnonzero(np.r_[True, block[1:] != block[:-1], True]) if block.size else np.zeros(1, np.int64)
    schema = pa.schema(_FIELDS)
    for first, last in itertools.pairwise(bounds.tolist()):
        polygons = usable_polygons(geometries[first:last], buffer_m)
        if extent is not None:
            polygons = clipped(polygons, extent)
        runs, edges = _pixels(polygons, new_id[first:last], cells, weighting)
        columns = [pa.array(new_id[first:last], pa.int32()), pa.array(block[first:last], pa.int32())]
        for (offsets, *values), fields in ((runs, _FIELDS[2:4]), (edges, _FIELDS[4:6])):
            for array, field in zip(values, fields, strict=True):
                columns.append(pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(array), type=field.type))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


Ragged = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.int32] | NDArray[np.float32]]


def _pixels(
    polygons: NDArray[np.object_], new_id: NDArray[np.int32], cells: Cells, weighting: Weighting
) -> tuple[Ragged, Ragged]:
    grid = cells.grid
    rings = rings_on(polygons, grid)
    if weighting is Weighting.CENTRE:
        run_offsets, row, c0, c1 = centre_runs(rings, grid.height, grid.width)
        edge_offsets = np.zeros(len(polygons) + 1, dtype=np.int64)
        edge_row = edge_column = np.empty(0, dtype=np.int32)
        fraction = np.empty(0, dtype=np.float32)
    else:
        run_offsets, row, c0, c1, edge_offsets, edge_row, edge_column, fraction = coverage(
            rings, grid.height, grid.width
        )
    # Cells that a parcel covers lie side by side in one run of the mask, or else the mask is not theirs.
    start = cells.stack_rows(row, c0, c1 - c0)
    edge_start = cells.stack_rows(edge_row, edge_column)
    if (start < 0).any() or (edge_start < 0).any():
        stray = np.r_[_owners(run_offsets)[start < 0], _owners(edge_offsets)[edge_start < 0]]
        raise InputError(
            f"{np.unique(stray).size} parcels reach beyond the farmland mask",
            where=f"parcel NewID {new_id[stray[0]]}, grid {grid.name}",
            hint="the mask was made for other parcels: plan again",
        )
    return (
        (run_offsets, start.astype(np.uint32), c1 - c0),
        (edge_offsets, edge_start.astype(np.uint32), fraction),
    )


def _owners(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.repeat(np.arange(offsets.size - 1), np.diff(offsets))


def _numpy(array: pa.Array) -> NDArray[Any]:
    found: NDArray[Any] = array.to_numpy(zero_copy_only=True)
    return found


def write_index(path: Path, batches: Iterable[pa.RecordBatch], metadata: Mapping[str, str]) -> int:
    """Write an index as an Arrow file, batch by batch; returns its number of parcels."""
    return write_ipc(path, pa.schema(_FIELDS, metadata=dict(metadata)), batches)


def read_index(path: Path) -> ParcelIndex:
    """Map an index file.

    Raises
    ------
    MissingDataError, InputError
        If there is no such file, or it is not whole.
    """
    reader = open_ipc(path)
    batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    return ParcelIndex(batches, read_metadata(reader.schema))
