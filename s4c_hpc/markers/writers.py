"""One function a format: a stream of record batches into one file."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import shapely

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.markers.attributes import GEOMETRY, Geometry
from s4c_hpc.markers.part import ID_COLUMN

ROW_GROUP_BYTES = 64 * 2**20
"""Size of a Parquet row group before compression."""


class ExportFormat(StrEnum):
    """What a marker file can be exported as."""

    CSV = "csv"
    PARQUET = "parquet"
    GEOPARQUET = "geoparquet"
    GPKG = "gpkg"
    ARROW = "arrow"

    @property
    def has_geometry(self) -> bool:
        """Whether parcels get their outlines."""
        return self in {ExportFormat.GEOPARQUET, ExportFormat.GPKG}


MAX_COLUMNS = {ExportFormat.GPKG: 1999}
"""Columns that a format can hold. SQLite tables have at most 2000, one of which is GeoPackage's feature id."""

Batches = Iterator[pa.RecordBatch]
Writer = Callable[[Path, pa.Schema, Batches, Geometry | None], None]


def write_csv(path: Path, schema: pa.Schema, batches: Batches, geometry: Geometry | None) -> None:
    """Comma-separated, one header row, unknown values empty (as in the reference), numbers as short as exact."""
    del geometry
    options = pa_csv.WriteOptions(include_header=True, quoting_style="needed")
    nullable = _nullable(schema)
    with pa.OSFile(str(path), "wb") as sink, pa_csv.CSVWriter(sink, nullable, write_options=options) as writer:
        for batch in batches:
            writer.write_batch(_nan_to_null(batch, nullable))


def write_parquet(path: Path, schema: pa.Schema, batches: Batches, geometry: Geometry | None) -> None:
    """Parquet with zstd; GeoParquet 1.1 if there is a geometry. Unknown values stay NaN."""
    if geometry is not None:
        schema = schema.with_metadata({**(schema.metadata or {}), "geo": geometry.geoparquet_metadata()})
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeating(schema)) as writer:
        group: list[pa.RecordBatch] = []
        for batch in batches:
            group.append(batch.cast(schema) if batch.schema.metadata != schema.metadata else batch)
            if sum(b.nbytes for b in group) >= ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group, schema))
                group = []
        if group:
            writer.write_table(pa.Table.from_batches(group, schema))


def repeating(schema: pa.Schema) -> list[str] | bool:
    """Columns that repeat enough for a dictionary of Parquet to pay: of texts and days, no values."""
    return [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_temporal(f.type)] or False


def write_gpkg(path: Path, schema: pa.Schema, batches: Batches, geometry: Geometry | None) -> None:
    """GeoPackage with a layer ``markers``; unknown values are NULL."""
    if geometry is None:
        raise InputError("a GeoPackage needs geometries", where=str(path))
    write_layer(path, "markers", schema, batches, geometry)


def write_layer(path: Path, layer: str, schema: pa.Schema, batches: Batches, geometry: Geometry) -> None:
    """A layer of a GeoPackage, which is made if it is not there."""
    import pyogrio.errors  # noqa: PLC0415 - loads GDAL, which the other formats do without
    import pyogrio.raw  # noqa: PLC0415 - as above
    from pyproj import CRS  # noqa: PLC0415 - as above

    nullable = _nullable(schema).remove_metadata()
    stream = pa.RecordBatchReader.from_batches(nullable, (_multi(_nan_to_null(b, nullable)) for b in batches))
    crs = "OGC:CRS84" if geometry.crs is None else CRS.from_json_dict(geometry.crs).to_wkt()
    try:
        pyogrio.raw.write_arrow(
            stream,
            path,
            layer=layer,
            driver="GPKG",
            geometry_name=GEOMETRY,
            geometry_type="MultiPolygon",
            crs=crs,
            append=path.exists(),
        )
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyogrio.errors.FeatureError) as error:
        # SQLite says "database or disk is full"; callers tell a full disk from others by its number.
        raise OSError(errno.ENOSPC if "full" in str(error) else errno.EIO, str(error)) from error


def write_arrow(path: Path, schema: pa.Schema, batches: Batches, geometry: Geometry | None) -> None:
    """One Arrow IPC file, uncompressed: maps without a copy as marker files do."""
    del geometry
    write_ipc(path, schema, batches)


WRITERS: Mapping[ExportFormat, Writer] = {
    ExportFormat.CSV: write_csv,
    ExportFormat.PARQUET: write_parquet,
    ExportFormat.GEOPARQUET: write_parquet,
    ExportFormat.GPKG: write_gpkg,
    ExportFormat.ARROW: write_arrow,
}


def unknown_to_null(table: pa.Table) -> pa.Table:
    """The same table with null instead of NaN: for writers of text, which else print ``nan``."""
    nullable = _nullable(table.schema)
    return pa.Table.from_batches([_nan_to_null(batch, nullable) for batch in table.to_batches()], nullable)


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([f.with_nullable(f.name != ID_COLUMN) for f in schema], schema.metadata)


def _nan_to_null(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        if pa.types.is_floating(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _multi(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Every polygon as a multipolygon: a GeoPackage layer has one geometry type."""
    place = batch.schema.get_field_index(GEOMETRY)
    shapes: Any = shapely.from_wkb(np.asarray(batch.column(place).to_pylist(), dtype=object))
    single = shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON
    shapes[single] = shapely.multipolygons(shapely.get_parts(shapes[single]), indices=np.arange(single.sum()))
    return batch.set_column(place, batch.schema.field(place), pa.array(shapely.to_wkb(shapes), pa.binary()))
