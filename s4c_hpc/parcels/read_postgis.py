"""Tables of PostGIS: ``PG:...`` as GDAL writes it, read through ADBC, which hands over Arrow.

GDAL as it comes with pyogrio has no PostgreSQL driver; a site installs the extra ``postgis`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config.secrets import without_password
from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.parcels.geoparquet import Delivered
from s4c_hpc.parcels.postgres import PREFIX, connected, first_line, quoted

_SUPPORTED: Final = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "date", "timestamp", "timestamptz"}
)
"""Types of columns that come as they are; others come as text, values of enumerations among them."""
_SPATIAL: Final = frozenset({"geometry", "geography", "raster"})
"""Types of columns that are left out, but for the outline."""
_COLUMNS: Final = """
SELECT a.attname::text, coalesce(base.typname, t.typname)::text
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type base ON t.typtype = 'd' AND base.oid = t.typbasetype
WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
"""Columns and types of a table or a view; the standard's ``information_schema`` leaves out materialized views."""


def is_postgis(path: Path) -> bool:
    """Whether a path is a connection and no file."""
    return str(path).startswith(PREFIX)


@contextmanager
def read_postgis(path: Path, layer: str | None) -> Iterator[tuple[str, str, Delivered]]:
    """Name of the table, where it is for messages, and what it holds.

    Parameters
    ----------
    path : ``PG:`` and a connection string of libpq, or a ``postgresql://`` address; what it leaves out comes from the
        environment (``PGPASSWORD``, ``PGSERVICE``, ``~/.pgpass``)
    layer : the table, with its schema where it is not in the search path, and its geometry column in brackets where
        it has several: ``lpis.fields(outline)``

    Raises
    ------
    ExternalToolError
        The driver is not installed, or the server does not answer.
    InputError
        No such table, no geometry column, several and none chosen.
    """
    where = without_password(str(path))
    with connected(str(path), "export the table with ogr2ogr") as (connection, failure), connection.cursor() as cursor:
        try:
            yield _open(cursor, layer, where)
        except failure as error:
            raise InputError(f"cannot be read ({first_line(error)})", where=where) from error


def _open(cursor: Any, layer: str | None, where: str) -> tuple[str, str, Delivered]:
    schema, table, column, srid = _chosen(cursor, layer, where)
    name = table if schema in {"", "public"} else f"{schema}.{table}"
    cursor.execute(_COLUMNS, (schema, table))
    kinds = {str(n): str(k) for n, k in cursor.fetchall()}
    left_out = [n for n in kinds if n != column and kinds[n] in _SPATIAL]
    fields = [n for n in kinds if n != column and n not in left_out]
    shown = [quoted(n) if kinds[n] in _SUPPORTED else f"{quoted(n)}::text AS {quoted(n)}" for n in fields]
    srids = [srid] if srid else _srids(cursor, schema, table, column)
    if len(srids) > 1:
        raise InputError(
            f"outlines in several reference systems: SRID {listing([str(s) for s in srids])}", where=f"{where}, {name}"
        )
    crs = None
    if srids and srids[0]:
        cursor.execute("SELECT auth_name, auth_srid, srtext FROM spatial_ref_sys WHERE srid = $1", (srids[0],))
        rows = cursor.fetchall()
        if not rows:
            raise InputError(
                f"the server does not know SRID {srids[0]}",
                where=f"{where}, {name}",
                hint="add it to the table spatial_ref_sys",
            )
        crs = f"{rows[0][0]}:{rows[0][1]}" if rows[0][0] else rows[0][2]
    # Curves come as short straight lines, as from files.
    geometry = f"ST_AsBinary(ST_Force2D(ST_CurveToLine({quoted(column)})), 'NDR')"
    cursor.execute(f"SELECT {', '.join([*shown, geometry])} FROM {quoted(schema)}.{quoted(table)}")  # noqa: S608 - quoted
    reader = cursor.fetch_record_batch()
    schema_of = pa.schema([pa.field(n, f.type) for n, f in zip(fields, reader.schema, strict=False)])
    return name, f"{where}, table {name}", Delivered(crs, schema_of, _batches(reader, schema_of), tuple(left_out))


def _batches(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch, NDArray[np.object_]]]:
    for batch in reader:
        *columns, outlines = batch.columns
        if columns:
            attributes = pa.RecordBatch.from_arrays(columns, schema=schema)
        else:
            attributes = pa.RecordBatch.from_struct_array(pa.array([{}] * batch.num_rows, pa.struct([])))
        yield attributes, outlines.to_numpy(zero_copy_only=False)


def _chosen(cursor: Any, layer: str | None, where: str) -> tuple[str, str, str, int]:
    """Schema, table, geometry column and its SRID, 0 if its rows may differ."""
    cursor.execute(
        "SELECT f_table_schema, f_table_name, f_geometry_column, srid FROM geometry_columns ORDER BY 1, 2, 3"
    )
    known = [(str(s), str(t), str(c), int(srid)) for s, t, c, srid in cursor.fetchall()]
    wanted = [row for row in known if layer is None or layer in _names(*row[:3])]
    if len(wanted) == 1:
        return wanted[0]
    names = [f"{schema}.{table}({column})" for schema, table, column, _ in wanted or known]
    if layer is not None and not wanted:
        raise InputError(
            f"there is no table {layer!r} with a geometry", where=where, hint=f"there are {listing(names, 40)}"
        )
    what = (
        f"there are {len(names)} tables with a geometry: {listing(names, 40)}" if names else "no table has a geometry"
    )
    raise InputError(what, where=where, hint="name one with parcels.layer or --layer")


def _srids(cursor: Any, schema: str, table: str, column: str) -> list[int]:
    """Reference systems of the rows of a column that does not say which it holds."""
    cursor.execute(f"SELECT DISTINCT ST_SRID({quoted(column)}) FROM {quoted(schema)}.{quoted(table)}")  # noqa: S608 - quoted
    return sorted(int(row[0]) for row in cursor.fetchall() if row[0] is not None)


def _names(schema: str, table: str, column: str) -> set[str]:
    short = {table, f"{table}({column})"} if schema == "public" else set()
    return {f"{schema}.{table}", f"{schema}.{table}({column})", *short}
