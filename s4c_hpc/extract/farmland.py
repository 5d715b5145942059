"""The farmland mask: every 20 m cell that a parcel touches, and a ring around."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.core.ipc import open_ipc, read_metadata, write_ipc
from s4c_hpc.extract.cells import BASE_RES_M, Mask
from s4c_hpc.extract.jit import helper, kernel
from s4c_hpc.extract.polygons import rings_on, usable_polygons
from s4c_hpc.extract.scanline import centre_runs

_CHUNK: Final = 1024
"""Geometries burnt at a time: bounds the memory of their flat copy."""

_TOLERANCE_PX: Final = 1e-6
"""An edge this close to a cell touches it, so that rounding never keeps a cell out that an index asks for."""

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
