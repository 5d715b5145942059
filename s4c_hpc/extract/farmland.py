"""The farmland mask: every 20 m cell that a parcel touches, and a ring around."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.core.ipc import open_ipc, read_metadata, write_ipc
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.extract.cells import BASE_RES_M, Mask
from s4c_hpc.extract.polygons import polygon_parts, rings_on, usable_polygons
from s4c_hpc.extract.scanline import centre_runs

_CHUNK: Final = 1024
"""Geometries burnt at a time: bounds the memory of their flat copy."""

_TOLERANCE_PX: Final = 1e-6
"""An edge this close to a cell touches it, so that rounding never keeps a cell out that an index asks for."""

_NEAR_PX: Final = 1e-5
"""An outline this close to a cell may touch it: more than burning says, so that it finds every cell that is held."""

_CELLS: Final = 65_536
"""Cells that are made into boxes at a time."""

_STRIP: Final = 256
"""Rows turned into runs at a time."""


def farmland_mask(geometries: NDArray[np.object_], tile: Tile, ring_m: float, *, parcels_key: str = "") -> Mask:
    """Cells of 20 m that any geometry touches, grown by a ring.

    Parameters
    ----------
    geometries : (n,) shapely geometries or None, in ``tile.crs``
    tile : its cells beyond its border are not kept
    ring_m : width of the ring, in metres; rounded up to whole cells. The *cells* are grown, in a square (a cell at
        distance d in both axes is kept), so the ring is at least this wide everywhere.
    parcels_key : input key of the parcels, kept for the record

    Notes
    -----
    Memory: three bytes a cell of the tile (90 MB for an MGRS tile), beside the geometries.
    """
    base = tile.grid(BASE_RES_M)
    kept = np.zeros((base.height, base.width), dtype=np.uint8)
    for first in range(0, len(geometries), _CHUNK):
        rings = rings_on(usable_polygons(geometries[first : first + _CHUNK]), base)
        _burn_edges(rings.x, rings.y, rings.ring_offsets, kept)
        _, row, c0, c1 = centre_runs(rings, base.height, base.width)
        _burn_runs(row, c0, c1, kept)
    row, c0, c1 = _runs(_grown(kept, math.ceil(ring_m / base.res_m - 1e-9)))
    return Mask(tile=tile.id, base=base, row=row, c0=c0, c1=c1, ring_m=ring_m, parcels_key=parcels_key)


def holds(mask: Mask, geometries: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Whether a mask keeps every cell of the tile that a geometry touches; (n,).

    Parameters
    ----------
    geometries : (n,) shapely geometries or None, in the tile's CRS; nothing is held by any mask

    Notes
    -----
    Plans ask this, in a process that does without compiled code: loading it takes longer than looking at some thousand
    outlines. Memory: three bytes a cell of the rows that outlines and mask have in common, and 450 for each of
    ``_CELLS`` cells that are looked at.
    """
    base, polygons = mask.base, usable_polygons(geometries, compiled=False)
    found = np.ones(len(geometries), dtype=np.bool_)
    parts, owner = polygon_parts(polygons)
    x0, y0, x1, y1 = shapely.bounds(parts).T
    r0, r1 = _cells_within((base.uly - y1) / base.res_m, (base.uly - y0) / base.res_m, base.height)
    c0, c1 = _cells_within((x0 - base.ulx) / base.res_m, (x1 - base.ulx) / base.res_m, base.width)
    on_tile = (r0 < r1) & (c0 < c1)
    # An outline that lies on the tile touches all sides of its bounds: none of them is beyond a mask that holds it.
    whole = (x0 > base.ulx) & (x1 < base.ulx + base.width * base.res_m) & (y1 < base.uly)
    whole &= y0 > base.uly - base.height * base.res_m
    if mask.row.size:
        beyond = (r0 < mask.row[0]) | (r1 > mask.row[-1] + 1) | (c0 < mask.c0.min()) | (c1 > mask.c1.max())
    else:
        beyond = np.ones(len(parts), dtype=np.bool_)
    found[owner[whole & beyond]] = False
    asked = np.flatnonzero(on_tile & found[owner])
    if not asked.size:
        return found
    north = int(r0[asked].min())
    kept = _kept(mask, north, int(r1[asked].max()))
    for part in asked.tolist():
        window = kept[r0[part] - north : r1[part] - north, c0[part] : c1[part]]
        row, column = np.nonzero(~window)
        if row.size and found[owner[part]]:
            left, top = base.ulx + (c0[part] + column) * base.res_m, base.uly - (r0[part] + row) * base.res_m
            found[owner[part]] = not _touches_any(parts[part], left, top, base.res_m)
    return found


def _kept(mask: Mask, north: int, south: int) -> NDArray[np.bool_]:
    """(south - north, width) which cells of some rows a mask keeps."""
    runs = slice(*np.searchsorted(mask.row, [north, south]).tolist())
    turns = np.zeros((south - north, mask.base.width + 1), dtype=np.int8)
    turns[mask.row[runs] - north, mask.c0[runs]] = 1
    turns[mask.row[runs] - north, mask.c1[runs]] = -1  # a run ends where the next one does not begin
    kept: NDArray[np.bool_] = np.cumsum(turns, axis=1, dtype=np.int8)[:, :-1] > 0
    return kept


def _touches_any(polygon: shapely.Geometry, left: NDArray[np.float64], top: NDArray[np.float64], size: float) -> bool:
    """Whether a polygon touches any of some square cells, told by their upper left corners."""
    shapely.prepare(polygon)
    for first in range(0, left.size, _CELLS):
        x, y = left[first : first + _CELLS], top[first : first + _CELLS]
        if shapely.dwithin(polygon, shapely.box(x, y - size, x + size, y), _NEAR_PX * size).any():
            return True
    return False


def _cells_within(begin: NDArray[np.float64], end: NDArray[np.float64], limit: int) -> tuple[NDArray[np.int64], ...]:
    """First cell that lengths touch, and the one after the last; none where there is no length."""
    begin, end = np.nan_to_num(begin - _NEAR_PX), np.nan_to_num(end + _NEAR_PX, nan=-1.0)
    first, last = np.floor(np.clip(begin, 0, limit)), np.floor(np.clip(end, -1, limit - 1)) + 1
    return first.astype(np.int64), np.maximum(first, last).astype(np.int64)


def pieces_of(geometries: NDArray[np.object_], masks: Iterable[Mask]) -> NDArray[np.int32]:
    """Which mask each geometry takes its pixels from: the first that holds it, -1 where none does; (n,).

    Parameters
    ----------
    masks : asked for one after the other, as long as a geometry has found none
    """
    found = np.full(len(geometries), -1, dtype=np.int32)
    for number, mask in enumerate(masks):
        rest = np.flatnonzero(found < 0)
        found[rest[holds(mask, geometries[rest])]] = number
        if (found >= 0).all():
            break
    return found


def write_mask(path: Path, mask: Mask) -> int:
    """Write a mask as an Arrow file; returns its number of runs. The same mask gives the same bytes."""
    described = {
        "tile": mask.tile,
        "grid": json.dumps(asdict(mask.base), sort_keys=True),
        "ring_m": repr(float(mask.ring_m)),
        "parcels": mask.parcels_key,
    }
    schema = pa.schema([("row", pa.int32()), ("c0", pa.int32()), ("c1", pa.int32())], metadata=described)
    columns = [pa.array(column) for column in (mask.row, mask.c0, mask.c1)]
    return write_ipc(path, schema, [pa.RecordBatch.from_arrays(columns, schema=schema)])


def read_mask(path: Path) -> Mask:
    """Map a mask file; its arrays share the file's pages.

    Raises
    ------
    MissingDataError, InputError
        If there is no such file, or it is not whole.
    """
    reader = open_ipc(path)
    described = read_metadata(reader.schema)
    batch = reader.get_batch(0)
    row, c0, c1 = (batch.column(name).to_numpy() for name in ("row", "c0", "c1"))
    return Mask(
        tile=described["tile"],
        base=Grid(**json.loads(described["grid"])),
        row=row,
        c0=c0,
        c1=c1,
        ring_m=float(described["ring_m"]),
        parcels_key=described["parcels"],
    )


@kernel
def _burn_runs(row: NDArray[np.int32], c0: NDArray[np.int32], c1: NDArray[np.int32], kept: NDArray[np.uint8]) -> None:
    for k in range(row.size):
        for c in range(c0[k], c1[k]):
            kept[row[k], c] = 1


@helper
def _cell(value: float, limit: int) -> int:
    """Cell that holds ``value``, within -1 to ``limit``."""
    return math.floor(min(max(value, -1.0), float(limit)))


@kernel
def _burn_edges(
    x: NDArray[np.float64], y: NDArray[np.float64], ring_offsets: NDArray[np.int64], kept: NDArray[np.uint8]
) -> None:
    """Mark every cell that an edge touches, its border and corners included."""
    height, width = kept.shape
    for ring in range(ring_offsets.size - 1):
        for k in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
            north, south = (k, k + 1) if y[k] <= y[k + 1] else (k + 1, k)
            fall = y[south] - y[north]
            slope = (x[south] - x[north]) / fall if fall > 0.0 else 0.0
            r0 = max(_cell(y[north] - _TOLERANCE_PX, height), 0)
            r1 = min(_cell(y[south] + _TOLERANCE_PX, height), height - 1)
            for r in range(r0, r1 + 1):
                xa, xb = x[north], x[south]
                if r > y[north]:
                    xa = x[north] + (min(float(r), y[south]) - y[north]) * slope
                if r + 1.0 < y[south]:
                    xb = x[north] + (max(r + 1.0, y[north]) - y[north]) * slope
                c0 = max(_cell(min(xa, xb) - _TOLERANCE_PX, width), 0)
                c1 = min(_cell(max(xa, xb) + _TOLERANCE_PX, width), width - 1)
                for c in range(c0, c1 + 1):
                    kept[r, c] = 1


def _grown(kept: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    """Every cell within ``n`` rows and ``n`` columns of a kept one."""
    wide = kept.copy()
    for k in range(1, n + 1):
        wide[:, k:] |= kept[:, :-k]
        wide[:, :-k] |= kept[:, k:]
    tall = wide.copy()
    for k in range(1, n + 1):
        tall[k:] |= wide[:-k]
        tall[:-k] |= wide[k:]
    return tall


def _runs(kept: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    found = []
    for first in range(0, kept.shape[0], _STRIP):
        strip = np.pad(kept[first : first + _STRIP].astype(np.int8), ((0, 0), (1, 1)))
        turn = np.diff(strip, axis=1)
        row, c0 = np.nonzero(turn == 1)
        found.append((row + first, c0, np.nonzero(turn == -1)[1]))
    rows, begins, ends = (np.concatenate(part).astype(np.int32) for part in zip(*found, strict=True))
    return rows, begins, ends
