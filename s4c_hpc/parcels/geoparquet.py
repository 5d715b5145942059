"""GeoParquet 1.1: read what others wrote, write ours with the same bytes every time."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.core.errors import InputError
from s4c_hpc.parcels.outlines import BATCH, Outlines
from s4c_hpc.parcels.projection import Floats

GEOMETRY = "geometry"
BBOX = "bbox"
_BBOX_TYPE = pa.struct([pa.field(k, pa.float64()) for k in ("xmin", "ymin", "xmax", "ymax")])


@dataclass(frozen=True, eq=False)
class Delivered:
    """A layer that is read batch by batch."""

    crs: Any
    """Anything that pyproj understands; ``None`` if declared unknown."""
    schema: pa.Schema
    """Of the attributes."""
    batches: Iterator[tuple[pa.RecordBatch, NDArray[np.object_]]]
    """Attributes, and WKB (m,) with ``None`` where there is no geometry."""
    left_out: tuple[str, ...] = ()
    """Columns that are not read: further geometries."""


def read_geoparquet(source: pa.NativeFile, where: str) -> Delivered:
    """Attributes and WKB of a GeoParquet file.

    Raises
    ------
    InputError
        If it is Parquet without a geometry that is understood.
    """
    file = pq.ParquetFile(source)
    schema = file.schema_arrow
    if len(set(schema.names)) < len(schema.names):
        raise InputError("two columns have the same name", where=where, hint="rename one and write the file again")
    metadata = geo_metadata(schema)
    if metadata is None:
        raise InputError(
            "a Parquet file without geometry (no 'geo' metadata)",
            where=where,
            hint="write it as GeoParquet, e.g. with geopandas or 'ogr2ogr -f Parquet'",
        )
    primary = metadata["primary_column"]
    column = metadata["columns"][primary]
    if column.get("encoding") != "WKB":
        raise InputError(
            f"geometry encoding {column.get('encoding')!r} is not supported",
            where=where,
            hint="write the geometry as WKB",
        )
    covering = {p[0] for p in column.get("covering", {}).get("bbox", {}).values()}
    others = tuple(name for name in metadata["columns"] if name != primary)
    dropped = [primary, *covering, *others]
    # GeoParquet says: a key that is absent means degrees, a key that is null means nobody knows.
    crs = column.get("crs", "OGC:CRS84")
    attributes = pa.schema([field for field in schema if field.name not in dropped])
    return Delivered(crs, attributes, _attributes_and_wkb(file.iter_batches(BATCH), primary, attributes.names), others)


def _attributes_and_wkb(
    batches: Iterable[pa.RecordBatch], geometry: str, names: list[str]
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.object_]]]:
    for batch in batches:
        yield batch.select(names), batch.column(geometry).to_numpy(zero_copy_only=False)


def geo_metadata(schema: pa.Schema) -> dict[str, Any] | None:
    """The ``geo`` entry of a schema's metadata."""
    text = (schema.metadata or {}).get(b"geo")
    return None if text is None else dict(json.loads(text))


def crs_of(path: Path) -> CRS:
    """CRS of a file that we wrote."""
    metadata = geo_metadata(pq.read_schema(path))
    if metadata is None:
        raise InputError("not a GeoParquet file", where=str(path), hint="import the parcels again")
    return _crs(json.dumps(metadata["columns"][metadata["primary_column"]]["crs"]))


@functools.lru_cache(maxsize=16)
def _crs(text: str) -> CRS:
    # PROJ takes 15 ms for each, and there are few of them.
    return CRS.from_json(text)


def write_geoparquet(
    path: Path,
    table: pa.Table,
    outlines: Outlines,
    bounds: Floats,
    kinds: Sequence[str],
    crs: CRS,
    row_groups: Iterable[tuple[int, int]],
) -> None:
    """Write attributes and outlines (n,) with a bounding box column for each row, a row group at a time.

    Parameters
    ----------
    bounds : (n, 4) of each outline; NaN where there is none
    kinds : kinds of geometry that occur
    row_groups : ``(start, stop)`` rows of each row group, in order, together all rows
    """
    present = ~np.isnan(bounds[:, 0])
    column: dict[str, Any] = {
        "encoding": "WKB",
        "crs": crs.to_json_dict(),
        "geometry_types": sorted(kinds),
        "covering": {"bbox": {k: [BBOX, k] for k in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if present.any():
        low, high = bounds[present, :2].min(axis=0), bounds[present, 2:].max(axis=0)
        column["bbox"] = [float(v) for v in (*low, *high)]
    metadata = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    schema = table.schema.append(pa.field(BBOX, _BBOX_TYPE)).append(pa.field(GEOMETRY, pa.binary()))
    schema = schema.with_metadata({"geo": json.dumps(metadata, sort_keys=True)})
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
        for start, stop in row_groups:
            rows = slice(start, stop)
            boxes = pa.StructArray.from_arrays(
                [pa.array(bounds[rows, i], pa.float64(), mask=~present[rows]) for i in range(4)],
                fields=list(_BBOX_TYPE),
                mask=pa.array(~present[rows]),
            )
            wkb = pa.array(outlines.wkb(rows), pa.binary())
            group = table.slice(start, stop - start)
            whole = pa.table([*group.columns, boxes, wkb], schema=schema)
            writer.write_table(whole, row_group_size=max(1, stop - start))
