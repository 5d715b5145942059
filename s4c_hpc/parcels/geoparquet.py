"""GeoParquet 1.1: read what others wrote, write ours with the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.core.errors import InputError
from s4c_hpc.parcels.projection import Geometries

GEOMETRY = "geometry"
BBOX = "bbox"
_BBOX_TYPE = pa.struct([pa.field(k, pa.float64()) for k in ("xmin", "ymin", "xmax", "ymax")])


def read_geoparquet(path: Path) -> tuple[pa.Table, NDArray[np.object_], Any]:
    """Attributes, WKB (n,) and CRS (PROJJSON, ``None`` if declared unknown) of a GeoParquet file.

    Raises
    ------
    InputError
        If it is Parquet without a geometry that is understood.
    """
    table = pq.ParquetFile(path).read()
    metadata = geo_metadata(table.schema)
    if metadata is None:
        raise InputError(
            "a Parquet file without geometry (no 'geo' metadata)",
            where=str(path),
            hint="write it as GeoParquet, e.g. with geopandas or 'ogr2ogr -f Parquet'",
        )
    if len(set(table.column_names)) < table.num_columns:
        raise InputError("two columns have the same name", where=str(path), hint="rename one and write the file again")
    primary = metadata["primary_column"]
    column = metadata["columns"][primary]
    if column.get("encoding") != "WKB":
        raise InputError(
            f"geometry encoding {column.get('encoding')!r} is not supported",
            where=str(path),
            hint="write the geometry as WKB",
        )
    covering = {p[0] for p in column.get("covering", {}).get("bbox", {}).values()}
    others = [name for name in metadata["columns"] if name != primary]
    # GeoParquet says: a key that is absent means degrees, a key that is null means nobody knows.
    crs = column.get("crs", "OGC:CRS84")
    return table.drop_columns([primary, *covering, *others]), table.column(primary).to_numpy(), crs


def geo_metadata(schema: pa.Schema) -> dict[str, Any] | None:
    """The ``geo`` entry of a schema's metadata."""
    text = (schema.metadata or {}).get(b"geo")
    return None if text is None else dict(json.loads(text))


def crs_of(path: Path) -> CRS:
    """CRS of a file that we wrote."""
    metadata = geo_metadata(pq.read_schema(path))
    if metadata is None:
        raise InputError("not a GeoParquet file", where=str(path), hint="import the parcels again")
    return CRS.from_json_dict(metadata["columns"][metadata["primary_column"]]["crs"])


def write_geoparquet(
    path: Path, table: pa.Table, geometry: Geometries, crs: CRS, row_groups: Iterable[tuple[int, int]]
) -> None:
    """Write attributes and geometry (n,) with a bounding box column for each row.

    Parameters
    ----------
    row_groups : ``(start, stop)`` rows of each row group, in order, together all rows
    """
    wkb = pa.array(shapely.to_wkb(geometry), pa.binary())
    bounds = shapely.bounds(geometry)
    present = ~np.isnan(bounds[:, 0])
    boxes = pa.StructArray.from_arrays(
        [pa.array(bounds[:, i], pa.float64(), mask=~present) for i in range(4)],
        fields=list(_BBOX_TYPE),
        mask=pa.array(~present),
    )
    kinds = sorted({str(k) for k in {g.geom_type for g in geometry if g is not None}})
    column: dict[str, Any] = {
        "encoding": "WKB",
        "crs": crs.to_json_dict(),
        "geometry_types": kinds,
        "covering": {"bbox": {k: [BBOX, k] for k in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if present.any():
        low, high = bounds[present, :2].min(axis=0), bounds[present, 2:].max(axis=0)
        column["bbox"] = [float(v) for v in (*low, *high)]
    metadata = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
    table = table.append_column(pa.field(BBOX, _BBOX_TYPE), boxes).append_column(pa.field(GEOMETRY, pa.binary()), wkb)
    table = table.replace_schema_metadata({"geo": json.dumps(metadata, sort_keys=True)})
    with pq.ParquetWriter(path, table.schema, compression="zstd", version="2.6") as writer:
        for start, stop in row_groups:
            writer.write_table(table.slice(start, stop - start), row_group_size=max(1, stop - start))
