"""Rows for tables of a database, a record batch at a time: parcels, facts, and values of markers in long form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.export.contract import EXPORT_ID, PARCEL_FIELDS, column_of
from s4c_hpc.export.sources import Source
from s4c_hpc.markers.naming import is_marker_name, parse_name
from s4c_hpc.markers.part import ID_COLUMN
from s4c_hpc.markers.sql_views import DICTIONARY, described
from s4c_hpc.parcels.geoparquet import BBOX, GEOMETRY, crs_of
from s4c_hpc.parcels.projection import Geometries, reproject

Batches = Iterator[pa.RecordBatch]

VALUES_AT_ONCE: Final = 1 << 20
"""Values of markers that are held in memory at a time; some 30 bytes each."""

VALUES: Final = pa.schema(
    [
        ("export_id", pa.int32()),
        ("position", pa.int32()),
        ("newid", pa.int32()),
        ("date", pa.date32()),
        ("value", pa.float32()),
    ]
)

_PLAIN: Final = {pa.int8(): pa.int16(), pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}
"""Types that PostgreSQL does not have, and what holds them."""


def parcel_rows(source: Source, export_id: int, srid: int) -> tuple[pa.Schema, Batches]:
    """Parcels of a version, with valid outlines in a reference system and what else is declared as JSON."""
    file, crs = pq.ParquetFile(source.path), crs_of(source.path)
    ours = {f.name for f in PARCEL_FIELDS}
    names = {n.lower(): n for n in file.schema_arrow.names if n in ours}
    others = [n for n in file.schema_arrow.names if n not in {*ours, GEOMETRY, BBOX}]
    fields = [pa.field(n, _plain(file.schema_arrow.field(own).type)) for n, own in names.items()]
    before = [(EXPORT_ID.name, pa.int32()), ("version", pa.string())]
    schema = pa.schema([*before, *fields, ("attributes", pa.binary()), (GEOMETRY, pa.binary())])

    def batches() -> Batches:
        for batch in file.iter_batches(1 << 14, columns=[*names.values(), *others, GEOMETRY]):
            n = batch.num_rows
            mine = [_known(batch.column(own)).cast(schema.field(name).type) for name, own in names.items()]
            outlines = _outlines(np.asarray(batch.column(GEOMETRY).to_pylist(), dtype=object), crs, srid)
            first = [pa.array(np.full(n, export_id, np.int32)), pa.array([source.path.parent.name] * n)]
            columns = [*first, *mine, _as_jsonb(batch.select(others), n), outlines]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return schema, batches()


def fact_rows(source: Source, export_id: int) -> tuple[pa.Schema, Batches]:
    """Facts of a file."""
    reader = open_ipc(source.path)
    fields = [pa.field(column_of(f).name, _plain(f.type)) for f in reader.schema]
    before = [(EXPORT_ID.name, pa.int32()), ("period", pa.string()), ("tile", pa.string())]
    schema = pa.schema([*before, *fields])

    def batches() -> Batches:
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            n = batch.num_rows
            first = [
                pa.array(np.full(n, export_id, np.int32)),
                pa.array([source.period] * n),
                pa.array([source.tile] * n),
            ]
            mine = [_known(c).cast(f.type) for c, f in zip(batch.columns, fields, strict=True)]
            yield pa.RecordBatch.from_arrays([*first, *mine], schema=schema)

    return schema, batches()


def table_rows(table: pa.Table, export_id: int) -> tuple[pa.Schema, Batches]:
    """A small table as it is."""
    numbered = table.add_column(0, EXPORT_ID.name, pa.array(np.full(table.num_rows, export_id, np.int32)))
    return numbered.schema, iter(numbered.to_batches())


def column_rows(source: Source, export_id: int, columns: Sequence[str] | None) -> tuple[pa.Schema, Batches]:
    """What the chosen columns of a marker file hold, a row each."""
    file_schema = open_ipc(source.path).schema
    places = chosen_places(file_schema, columns)
    rows = [
        {EXPORT_ID.name: export_id, "position": place, "marker_set": source.folder, **row}
        for place in places
        for row in described(source.tile, pa.schema([file_schema.field(place)]))
    ]
    first = [(EXPORT_ID.name, pa.int32()), ("position", pa.int32()), ("marker_set", pa.string())]
    schema = pa.schema([*first, *DICTIONARY])
    return schema, iter(pa.Table.from_pylist(rows, schema).to_batches())


def value_rows(source: Source, export_id: int, columns: Sequence[str] | None) -> tuple[pa.Schema, Batches]:
    """Values of a marker file, a row each that is known: by block of parcels, column and parcel."""
    reader = open_ipc(source.path)
    places = chosen_places(reader.schema, columns)
    days = np.array([parse_name(reader.schema.field(p).name).day for p in places], "datetime64[D]").astype(np.int32)

    def batches() -> Batches:
        waiting: list[pa.RecordBatch] = []
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            ids = batch.column(0).to_numpy()
            step = max(1, VALUES_AT_ONCE // max(1, ids.size))
            for start in range(0, len(places), step):
                some = slice(start, start + step)
                matrix = np.array([batch.column(p).to_numpy() for p in places[some]], np.float32)
                waiting.append(_long(matrix, ids, np.array(places[some], np.int32), days[some], export_id))
                if sum(b.num_rows for b in waiting) >= VALUES_AT_ONCE:
                    yield pa.concat_batches(waiting)
                    waiting = []
        if waiting:
            yield pa.concat_batches(waiting)

    return VALUES, batches()


def chosen_places(schema: pa.Schema, columns: Sequence[str] | None) -> list[int]:
    """Places of the columns of a marker file that match a pattern; none is fine."""
    names = [n for n in schema.names if n != ID_COLUMN and is_marker_name(n)]
    if columns is not None:
        names = [n for n in names if any(fnmatchcase(n, pattern) for pattern in columns)]
    return [schema.get_field_index(n) for n in names]


def _long(
    matrix: NDArray[np.float32],
    ids: NDArray[np.int32],
    places: NDArray[np.int32],
    days: NDArray[np.int32],
    export_id: int,
) -> pa.RecordBatch:
    """Rows of the known values of a matrix (columns, parcels)."""
    known = ~np.isnan(matrix)
    column, parcel = np.nonzero(known)
    values = [
        pa.array(np.full(column.size, export_id, np.int32)),
        pa.array(places[column]),
        pa.array(ids[parcel]),
        pa.array(days[column]).cast(pa.date32()),
        pa.array(matrix[known]),
    ]
    return pa.RecordBatch.from_arrays(values, schema=VALUES)


def _outlines(wkb: NDArray[np.object_], crs: CRS, srid: int) -> pa.Array:
    """Multipolygons as EWKB; null where there is no area."""
    shapes: Geometries = reproject(shapely.from_wkb(wkb), crs, f"EPSG:{srid}")
    broken = ~(shapely.is_valid(shapes) | shapely.is_missing(shapes))
    shapes[broken] = shapely.make_valid(shapes[broken], method="structure")
    parts, of = shapely.get_parts(shapes, return_index=True)
    areal = np.isin(shapely.get_type_id(parts), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    parts, of = parts[areal], of[areal]
    inner, owner = shapely.get_parts(parts, return_index=True)
    whole = np.full(shapes.size, None, dtype=object)
    if inner.size:
        numbers, rows = np.unique(of[owner], return_inverse=True)
        whole[numbers] = shapely.multipolygons(inner, indices=rows)
    return pa.array(shapely.to_wkb(shapely.set_srid(whole, srid), include_srid=True), pa.binary())


def _as_jsonb(rows: pa.RecordBatch, n: int) -> pa.Array:
    """Rows as PostgreSQL receives JSON: its version, then the text."""
    listed: list[dict[str, Any]] = rows.to_pylist() if rows.num_columns else [{}] * n
    texts = (json.dumps({k: _for_jsonb(v) for k, v in row.items()}, default=str, ensure_ascii=False) for row in listed)
    return pa.array([b"\x01" + text.encode() for text in texts], pa.binary())


def _for_jsonb(value: Any) -> Any:
    """What JSON and PostgreSQL do not know is left out: infinities, NaN, and the character NUL."""
    if isinstance(value, str):
        return value.replace("\0", "")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(kind: pa.DataType) -> pa.DataType:
    own = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _PLAIN.get(own, own)


def _known(column: pa.Array) -> pa.Array:
    """The same with null for NaN, which a database takes for the largest of numbers."""
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
