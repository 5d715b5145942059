"""SQL over marker files: DuckDB reads the memory-mapped columns that a query touches, and nothing else.

In SQL a value that is not known is NULL, so that ``avg`` and ``count`` do what one expects; in the files it is NaN.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.markers.files import MarkerFile, choose_columns
from s4c_hpc.markers.merge import native_order
from s4c_hpc.markers.naming import is_marker_name, parse_name
from s4c_hpc.markers.part import ID_COLUMN, Ids
from s4c_hpc.markers.season import check_ids, wide_season
from s4c_hpc.markers.tables import joined

_DICTIONARY = pa.schema(
    [(n, pa.string()) for n in ("column", "tile", "sensor", "orbit", "grid")]
    + [("date", pa.date32()), ("datetime", pa.timestamp("us"))]
    + [(n, pa.string()) for n in ("variable", "statistic", "unit", "formula", "product", "long_name", "codes", "rule")]
)


_KIND = ("tile", "sensor", "orbit", "grid", "variable", "statistic", "unit")


def run_sql(
    files: Sequence[MarkerFile],
    sql: str,
    parcels: pa.Table,
    *,
    columns: Sequence[str] | None = None,
    ids: Ids | None = None,
) -> pa.Table:
    """The result of a query as a table.

    The query sees these tables and no file, network or Python object:

    - ``markers``: a row a parcel; ``NewID``, ``tile``, then every chosen column
    - ``observations``: the same in long form, ``NewID, tile, sensor, orbit, grid, date, datetime, variable,
      statistic, unit, value``; a row for each known value, times in UTC; class counts are variables ``n_valid`` ...
    - ``dictionary``: a row a column and tile; what the column means
    - ``parcels``: attributes of the parcels

    Parameters
    ----------
    files : of one set
    sql : one query; a semicolon after it does no harm
    parcels : attributes, by ``NewID``
    columns : patterns of column names that ``markers`` and ``observations`` have
    ids : (n,) NewIDs that ``markers`` and ``observations`` have

    Raises
    ------
    InputError
        With DuckDB's own words if the query cannot be run.
    """
    connection = duckdb.connect()
    try:
        tables = _wide_tables(files, columns, ids)
        for tile, table in tables.items():
            connection.register(f"markers_{tile}", table)
        connection.register("parcels", parcels)
        connection.register("dictionary", _dictionary(tables))
        connection.execute(_markers_view(tables))
        if "observations" in sql.lower():
            # A season has thousands of columns, and binding them takes seconds.
            connection.execute(_observations_view(connection, tables))
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        relation = connection.sql(sql)
        if relation is None:
            raise InputError("the statement has no result", where="SQL", hint="write a SELECT")
        return relation.to_arrow_table()
    except duckdb.Error as error:
        raise InputError(
            f"cannot be run: {error}", where="SQL", hint="tables are markers, observations, dictionary and parcels"
        ) from error
    finally:
        connection.close()


def _wide_tables(files: Sequence[MarkerFile], columns: Sequence[str] | None, ids: Ids | None) -> dict[str, pa.Table]:
    """One table a tile with the columns of all its months; mapped where the months have the same parcels."""
    if files[0].is_table:
        by_tile = {f.tile: [f] for f in sorted(files, key=lambda f: f.tile)}
        joined(files)  # refuses several seasons
        found = {tile: joined(group, columns).table() for tile, group in by_tile.items()}
        return _chosen(found, ids, all_there=not files[0].is_of_events)
    names = {name for f in files for name in open_ipc(f.path).schema.names if name != ID_COLUMN}
    chosen = set(choose_columns(sorted(names, key=native_order), columns))
    tables: dict[str, pa.Table] = {}
    for tile, group in groupby(sorted(files, key=lambda f: (f.tile, f.period)), key=lambda f: f.tile):
        months = [(f, open_ipc(f.path).read_all()) for f in group]
        first = months[0][1].column(ID_COLUMN).to_numpy()
        if all(np.array_equal(first, table.column(ID_COLUMN).to_numpy()) for _, table in months[1:]):
            kept = [(table, f) for _, table in months for f in table.schema if f.name in chosen]
            ids_field, ids_column = months[0][1].schema.field(ID_COLUMN), months[0][1].column(ID_COLUMN)
            wide = pa.Table.from_arrays(
                [ids_column, *(table.column(f.name) for table, f in kept)],
                schema=pa.schema([ids_field, *(f for _, f in kept)]),
            )
        else:
            wide = wide_season([f for f, _ in months], columns=columns).merged.table()
        tables[tile] = wide
    return _chosen(tables, ids)


def _chosen(tables: dict[str, pa.Table], ids: Ids | None, *, all_there: bool = True) -> dict[str, pa.Table]:
    """Only some parcels, all of which must be there, unless some may have no row."""
    if ids is None:
        return tables
    if all_there:
        check_ids(np.concatenate([t.column(ID_COLUMN).to_numpy() for t in tables.values()]), ids)
    return {tile: t.filter(pc.is_in(t[ID_COLUMN], value_set=pa.array(ids))) for tile, t in tables.items()}


def _dictionary(tables: dict[str, pa.Table]) -> pa.Table:
    rows = []
    for tile, table in tables.items():
        for field in table.schema:
            if field.name == ID_COLUMN:
                continue
            name, time = parse_name(field.name) if is_marker_name(field.name) else None, _time(field)
            rows.append(
                {n: _said(field).get(n) for n in _DICTIONARY.names}
                | {"column": field.name, "tile": tile}
                | ({} if name is None else {"date": name.day, "orbit": name.orbit})
                | {"datetime": None if time is None else dt.datetime.fromisoformat(time)}
            )
    return pa.Table.from_pylist(rows, _DICTIONARY)


def _markers_view(tables: dict[str, pa.Table]) -> str:
    selects = []
    for tile, table in tables.items():
        columns = [
            f"nullif({_quoted(f.name)}, 'NaN'::FLOAT) AS {_quoted(f.name)}"
            if pa.types.is_floating(f.type)
            else _quoted(f.name)
            for f in _markers(table)
        ]
        selects.append(_select([ID_COLUMN, f"'{tile}' AS tile", *columns], _quoted(f"markers_{tile}")))
    return "CREATE VIEW markers AS " + " UNION ALL BY NAME ".join(selects)


def _observations_view(connection: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]) -> str:
    """Long form: one branch a tile, variable and statistic, with its acquisitions as lists.

    A branch's names are constants, so DuckDB drops branches that a condition excludes before it reads a column.
    Each has a narrow table of its own, because binding one with thousands of columns again and again (or an
    UNPIVOT over them) takes minutes.
    """
    branches: list[str] = []
    for tile, table in tables.items():
        by_kind = defaultdict[tuple[str | None, ...], list[pa.Field]](list)
        for field in _markers(table):
            if not is_marker_name(field.name):
                continue
            name, said = parse_name(field.name), _said(field)
            described = (said.get("grid"), said["variable"], said["statistic"], said.get("unit"))
            by_kind[(name.sensor, name.orbit, *described)].append(field)
        for kind, fields in by_kind.items():
            source = f"observations_{len(branches)}"
            connection.register(source, table.select([ID_COLUMN, *(f.name for f in fields)]))
            dates = ", ".join(f"DATE '{parse_name(f.name).day}'" for f in fields)
            times = ", ".join(f"{_text(_time(f))}::TIMESTAMP" for f in fields)
            values = ", ".join(f"{_quoted(f.name)}::DOUBLE" for f in fields)
            constants = [f"{_text(v)} AS {n}" for n, v in zip(_KIND, (tile, *kind), strict=True)]
            lists = [f"unnest([{dates}]) AS date", f"unnest([{times}]) AS datetime", f"unnest([{values}]) AS value"]
            branches.append(_select([ID_COLUMN, *constants, *lists], source))
    if not branches:
        raise InputError(
            "columns of this marker set are no values of dates", where="SQL", hint="ask the table markers instead"
        )
    names = [ID_COLUMN, "tile", "sensor", "orbit", "grid", "date", "datetime", "variable", "statistic", "unit", "value"]
    every = " UNION ALL ".join(branches)
    return f"CREATE VIEW observations AS {_select(names, f'({every})')} WHERE NOT isnan(value)"


def _select(columns: Sequence[str], source: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - names from our own files, and quoted


def _said(field: pa.Field) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}


def _time(field: pa.Field) -> str | None:
    """Acquisition time without its zone, which is UTC."""
    said = _said(field).get("datetime")
    return None if said is None else dt.datetime.fromisoformat(said).astimezone(dt.UTC).replace(tzinfo=None).isoformat()


def _text(value: str | None) -> str:
    return "NULL::VARCHAR" if value is None else "'" + value.replace("'", "''") + "'"


def _markers(table: pa.Table) -> list[pa.Field]:
    return [f for f in table.schema if f.name != ID_COLUMN]


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
