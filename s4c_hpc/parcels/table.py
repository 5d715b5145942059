"""The table of a parcel version: columns, order of rows, blocks, tiles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.parcels.assign import Assignment, assign
from s4c_hpc.parcels.checks import Overlaps, duplicates, overlaps, repair, shape_index
from s4c_hpc.parcels.columns import plain, without_clashes
from s4c_hpc.parcels.geoparquet import BBOX, GEOMETRY
from s4c_hpc.parcels.projection import Floats, Geometries, measure, outside_area_of_use

if TYPE_CHECKING:
    from s4c_hpc.parcels.read import Layer

BLOCK = 1024
"""Parcels per block. Blocks are the unit of work of everything after: record batches, MPI ranks, memory."""
_ROW_GROUP_BLOCKS = 16
"""Blocks per row group of the file; a row group never holds two tiles."""

COLUMNS = pa.schema(
    [
        pa.field("NewID", pa.int32()),
        pa.field("ori_id", pa.string()),
        pa.field("ori_crop", pa.string()),
        pa.field("tile", pa.string()),
        pa.field("block", pa.int32()),
        pa.field("crosses", pa.bool_()),
        pa.field("GeomValid", pa.bool_()),
        pa.field("Duplic", pa.bool_()),
        pa.field("Overlap", pa.bool_()),
        pa.field("overlap_share", pa.float32()),
        pa.field("n_overlap", pa.int32()),
        pa.field("Area_meters", pa.float64()),
        pa.field("ShapeInd", pa.float32()),
        pa.field("repair", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
"""Our columns, before the user's.

``block`` is -1 without a tile; ``crosses``: part of the parcel lies outside of its tile; ``GeomValid``: as delivered;
``Duplic``: the same geometry occurs again; ``Overlap``: ``overlap_share`` (intersections with others / own area)
exceeds the limit; ``n_overlap``: others with which more than 1 m2 is shared; ``ShapeInd``: perimeter /
(2 sqrt(pi area)); ``repair``: what was wrong and done; ``reason``: why the parcel has no pixels.
"""


@dataclass(frozen=True)
class Built:
    """A parcel version before it is written; rows in final order."""

    table: pa.Table
    """All columns but geometry."""
    geometry: Geometries
    """(n,) in the CRS of the file."""
    perimeter_m: Floats
    reason: NDArray[np.object_]
    row_groups: list[tuple[int, int]]
    assignment: Assignment
    """Of the rows in the order of ``NewID``'s ids, not in final order; only its tiles are of use here."""
    pairs: list[tuple[int, int, float]]
    """``NewID`` of both parcels and shared area in m2, largest first."""
    notes: tuple[str, ...]


def build(
    source: Layer,
    ori_id: NDArray[np.object_],
    ori_crop: NDArray[np.object_],
    new_id: NDArray[np.int32],
    config: Config,
) -> Built:
    """Check, repair, assign and order the parcels of a layer."""
    # First of all by id: sums over neighbours are then taken in the same order whatever the order in the file.
    order = np.argsort(new_id, kind="stable")
    new_id, ori_id, ori_crop = new_id[order], ori_id[order], ori_crop[order]
    repaired = repair(source.geometry[order], source.unreadable[order])
    geometry = repaired.geometry
    area, perimeter = measure(geometry, source.crs)
    overlap = overlaps(geometry, area)
    assignment = assign(geometry, source.crs, config.grid.tiles)
    reason = np.where(repaired.reason != "", repaired.reason, assignment.reason)
    final, block, row_groups = _row_order(assignment, new_id)
    values: dict[str, Any] = {
        "NewID": new_id,
        "ori_id": ori_id,
        "ori_crop": np.where(ori_crop == None, "", ori_crop),  # noqa: E711 - elementwise comparison with None
        "tile": assignment.tile,
        "block": block,
        "crosses": assignment.crosses,
        "GeomValid": repaired.valid,
        "Duplic": duplicates(geometry),
        "Overlap": overlap.share > config.parcels.overlap_limit,
        "overlap_share": overlap.share,
        "n_overlap": overlap.n_others,
        "Area_meters": area,
        "ShapeInd": shape_index(area, perimeter),
        "repair": repaired.repair,
        "reason": reason,
    }
    ours = [pa.array(values[f.name][final], f.type) for f in COLUMNS]
    theirs, renamed = without_clashes(plain(source.attributes), [*COLUMNS.names, BBOX, GEOMETRY])
    theirs = theirs.take(pa.array(order[final])).combine_chunks()
    table = pa.table([*ours, *theirs.columns], schema=pa.schema([*COLUMNS, *theirs.schema]))
    notes = [f"column {old!r} of the file is kept as {new!r}: its name is taken" for new, old in renamed.items()]
    misplaced = None if shapely.is_missing(geometry).all() else outside_area_of_use(geometry, source.crs)
    return Built(
        table,
        geometry[final],
        perimeter[final],
        reason[final],
        row_groups,
        assignment,
        _largest_pairs(overlap, new_id),
        (*notes, *([misplaced] if misplaced else [])),
    )


def _row_order(
    assignment: Assignment, new_id: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], list[tuple[int, int]]]:
    """Order of rows, block of each (in the old order), and row groups.

    Within a tile from north to south, then from west to east, by the parcel's bounds in whole millimetres: a block
    covers a strip along the rows of the tile's rasters, and so a contiguous range of every stack.
    """
    with np.errstate(invalid="ignore"):
        corner = np.where(np.isfinite(assignment.corner), np.rint(assignment.corner * 1e3), 0).astype(np.int64)
    names, tile = np.unique(assignment.tile.astype(str), return_inverse=True)
    order = np.lexsort((new_id, corner[:, 0], -corner[:, 1], tile))
    block = np.full(len(new_id), -1, dtype=np.int32)
    row_groups: list[tuple[int, int]] = []
    starts = np.concatenate((np.searchsorted(tile[order], np.arange(len(names))), [len(order)]))
    for name, start, stop in zip(names, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if name:
            block[order[start:stop]] = np.arange(stop - start) // BLOCK
        step = BLOCK * _ROW_GROUP_BLOCKS
        row_groups += [(i, min(i + step, stop)) for i in range(start, stop, step)]
    return order, block, row_groups


def tile_table(built: Built, crs: str) -> pa.Table:
    """One row a tile: its rectangle, its parcels in numbers, and the key of its parcels.

    The key covers what pixels depend on: numbers, blocks and geometries of the parcels, the CRS they are in and the
    tile's rectangle. Neither attributes nor the version are part of it, so that another crop code makes no work.

    Parameters
    ----------
    crs : of the parcels, as text
    """
    tile = built.table.column("tile").to_numpy()
    new_id, block = (built.table.column(n).to_numpy() for n in ("NewID", "block"))
    area = built.table.column("Area_meters").to_numpy()
    rows = []
    for t in built.assignment.tiles:
        mine = np.flatnonzero(tile == t.id)
        place = canonical_json([crs, t.crs, *(float(v) for v in (t.ulx, t.uly, t.width_m, t.height_m))])
        digest = hashlib.sha256(place.encode())
        digest.update(new_id[mine].astype("<i4").tobytes() + block[mine].astype("<i4").tobytes())
        for wkb in shapely.to_wkb(built.geometry[mine]):
            digest.update(wkb)
        rows.append(
            {
                "tile": t.id,
                "crs": t.crs,
                "ulx": t.ulx,
                "uly": t.uly,
                "width_m": t.width_m,
                "height_m": t.height_m,
                "n_parcels": len(mine),
                "n_blocks": int(block[mine].max()) + 1,
                "area_m2": float(area[mine].sum()),
                "perimeter_m": float(built.perimeter_m[mine].sum()),
                "key": f"parcels:{digest.hexdigest()[:16]}",
            }
        )
    return pa.Table.from_pylist(rows, schema=_TILES_SCHEMA)


_TILES_SCHEMA = pa.schema(
    [
        pa.field("tile", pa.string()),
        pa.field("crs", pa.string()),
        pa.field("ulx", pa.float64()),
        pa.field("uly", pa.float64()),
        pa.field("width_m", pa.float64()),
        pa.field("height_m", pa.float64()),
        pa.field("n_parcels", pa.int64()),
        pa.field("n_blocks", pa.int32()),
        pa.field("area_m2", pa.float64()),
        pa.field("perimeter_m", pa.float64()),
        pa.field("key", pa.string()),
    ]
)


def _largest_pairs(overlap: Overlaps, new_id: NDArray[np.int32]) -> list[tuple[int, int, float]]:
    order = np.lexsort((overlap.pairs[:, 1], overlap.pairs[:, 0], -overlap.pair_area_m2))
    return [
        (int(new_id[i]), int(new_id[j]), float(area))
        for (i, j), area in zip(overlap.pairs[order].tolist(), overlap.pair_area_m2[order].tolist(), strict=True)
    ]
