"""A generated declaration of any size: neighbours share their borders to the last bit, some overlap, some are broken.

Not real land: every parcel is a cell of a lattice whose corners and borders are shaken. Of each 10 000 parcels 200
reach over their neighbours, 10 are bow ties and 5 are the same as the one before. Written row after row of the
lattice, so that memory does not depend on the size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely
from numpy.typing import NDArray

CELL_M = 100.0
BETWEEN = 3
"""Vertices of a border between its two corners: outlines have 16 vertices."""
WEST, SOUTH = 340_000.0, 5_150_000.0
CRS = "EPSG:32632"
_SCHEMA = pa.schema(
    [
        pa.field("parcel_id", pa.string()),
        pa.field("holding", pa.int32()),
        pa.field("crop", pa.int32()),
        pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"}),
    ]
)


def declaration(path: Path, n: int) -> Path:
    """A file of ``n`` parcels, GeoPackage or GeoParquet by its name; made once."""
    if path.exists():
        return path
    unfinished = path.with_name(f"unfinished-{path.name}")
    unfinished.unlink(missing_ok=True)
    if path.suffix == ".parquet":
        column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": pyproj.CRS(CRS).to_json_dict()}
        geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        with pq.ParquetWriter(unfinished, _SCHEMA.with_metadata({"geo": json.dumps(geo)})) as writer:
            for batch in batches(n):
                writer.write_batch(batch)
    else:
        reader = pa.RecordBatchReader.from_batches(_SCHEMA, batches(n))
        pyogrio.raw.write_arrow(
            reader, unfinished, driver="GPKG", geometry_name="geometry", geometry_type="Polygon", crs=CRS
        )
    unfinished.rename(path)
    return path


def batches(n: int) -> Iterator[pa.RecordBatch]:
    """The parcels in record batches, some lines of the lattice each."""
    side = int(np.ceil(np.sqrt(n)))
    for row in range(side):
        first = row * side
        count = min(side, n - first)
        if count <= 0:
            return
        outlines = _line(row, side)[:count]
        number = np.arange(first, first + count)
        rng = np.random.default_rng([7, row])
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([f"P{i:09d}" for i in number.tolist()]),
                pa.array((number // 12).astype(np.int32)),
                pa.array(rng.integers(100, 160, count).astype(np.int32)),
                pa.array(shapely.to_wkb(outlines), pa.binary()),
            ],
            schema=_SCHEMA,
        )


def _line(row: int, side: int) -> NDArray[np.object_]:
    """(side,) parcels of one line of the lattice."""
    south, north = _level(row, side), _level(row + 1, side)
    upright = _upright(row, side)
    along = np.arange(side)[:, None] * (BETWEEN + 1) + np.arange(BETWEEN + 2)
    ring = np.concatenate([south[along], upright[1:], north[along][:, ::-1], upright[:-1][:, ::-1]], axis=1)
    kind = np.random.default_rng([8, row]).integers(0, 10_000, side)
    reaching = kind < 200
    ring[reaching, 2 * BETWEEN + 2] += 20.0  # the north-eastern corner
    bow_tie = (kind >= 200) & (kind < 210)
    ring[bow_tie, 1], ring[bow_tie, 3 * BETWEEN + 4] = ring[bow_tie, 3 * BETWEEN + 4], ring[bow_tie, 1].copy()
    again = np.flatnonzero((kind >= 210) & (kind < 215) & (np.arange(side) > 0))
    ring[again] = ring[again - 1]
    outlines: NDArray[np.object_] = shapely.polygons(np.concatenate([ring, ring[:, :1]], axis=1))
    return outlines


def _level(row: int, side: int) -> NDArray[np.float64]:
    """Vertices of a level line from west to east, corners and those between them."""
    n = side * (BETWEEN + 1) + 1
    shaken = np.random.default_rng([1, row]).uniform(-4.0, 4.0, (n, 2))
    x = WEST + np.arange(n) * CELL_M / (BETWEEN + 1)
    return np.column_stack((x, np.full(n, SOUTH + row * CELL_M))) + shaken


def _upright(row: int, side: int) -> NDArray[np.float64]:
    """(side + 1, BETWEEN, 2) vertices between the corners of the upright borders, from south to north."""
    shaken = np.random.default_rng([2, row]).uniform(-4.0, 4.0, (side + 1, BETWEEN, 2))
    x = np.broadcast_to((WEST + np.arange(side + 1) * CELL_M)[:, None], (side + 1, BETWEEN))
    y = np.broadcast_to(SOUTH + (row + np.arange(1, BETWEEN + 1) / (BETWEEN + 1)) * CELL_M, (side + 1, BETWEEN))
    return np.stack((x, y), axis=-1) + shaken
