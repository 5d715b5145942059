"""Marker files as tables of DuckDB: wide as they are, and long; nothing is read before a query asks for it."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

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

DICTIONARY = pa.schema(
    [(n, pa.string()) for n in ("column", "tile", "sensor", "orbit", "grid")]
    + [("date", pa.date32()), ("datetime", pa.timestamp("us"))]
    + [(n, pa.string()) for n in ("variable", "statistic", "unit", "formula", "product", "long_name", "codes", "rule")]
)
"""A row a column of a tile."""

_KIND = ("tile", "sensor", "orbit", "grid", "variable", "statistic", "unit")
LONG_COLUMNS = (
    ID_COLUMN,
    "tile",
    "sensor",
    "orbit",
    "grid",
    "date",
    "datetime",
    "variable",
    "statistic",
    "unit",
    "value",
)
"""Columns of the long form."""


def wide_tables(files: Sequence[MarkerFile], columns: Sequence[str] | None, ids: Ids | None) -> dict[str, pa.Table]:
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


def dictionary(tables: Mapping[str, pa.Table]) -> pa.Table:
    """What the columns of tables by tile mean."""
    return pa.Table.from_pylist([row for tile, t in tables.items() for row in described(tile, t.schema)], DICTIONARY)


def described(tile: str, schema: pa.Schema) -> list[dict[str, Any]]:
    """The same of one tile as rows of ``DICTIONARY``."""
    rows = []
    for field in schema:
        if field.name == ID_COLUMN:
            continue
        name, time = parse_name(field.name) if is_marker_name(field.name) else None, _time(field)
        rows.append(
            {n: _said(field).get(n) for n in DICTIONARY.names}
            | {"column": field.name, "tile": tile}
            | ({} if name is None else {"date": name.day, "orbit": name.orbit})
            | {"datetime": None if time is None else dt.datetime.fromisoformat(time)}
        )
    return rows


def create_wide(connection: Any, tables: Mapping[str, pa.Table], view: str) -> None:
    """A row a parcel: ``NewID``, ``tile``, then every column, with NULL for NaN.

    Parameters
    ----------
    connection : of DuckDB
    tables : by tile
    """
    selects = []
    for number, (tile, table) in enumerate(tables.items()):
        source = f"{view}_of_{number}"
        connection.register(source, table)
        columns = [known(f) for f in _markers(table)]
        selects.append(select([ID_COLUMN, f"{text(tile)} AS tile", *columns], quoted(source)))
    connection.execute(f"CREATE VIEW {quoted(view)} AS " + " UNION ALL BY NAME ".join(selects))


def create_long(connection: Any, tables: Iterable[tuple[str, pa.Table]], view: str) -> None:
    """A row a known value: one branch a tile, month, variable and statistic, with its acquisitions as lists.

    What a branch is of is constant, and so are its first and last day, so DuckDB drops branches that a condition
    excludes before it reads a column. Each has a narrow table of its own, because binding one with thousands of
    columns again and again (or an UNPIVOT over them) takes minutes; a branch costs about a millisecond a query.

    Parameters
    ----------
    tables : each with its tile; of one tile several, if no column is in two of them
    """
    branches: list[str] = []
    for tile, table in tables:
        by_kind = defaultdict[tuple[str | None, ...], list[pa.Field]](list)
        for field in _markers(table):
            if not is_marker_name(field.name):
                continue
            name, said = parse_name(field.name), _said(field)
            kind = (said.get("grid"), said["variable"], said["statistic"], said.get("unit"))
            by_kind[(name.stamp[:6], name.sensor, name.orbit, *kind)].append(field)
        for (_, *described_by), fields in by_kind.items():
            source = f"{view}_in_{len(branches)}"
            connection.register(source, table.select([ID_COLUMN, *(f.name for f in fields)]))
            days = [f"DATE '{parse_name(f.name).day}'" for f in fields]
            times = ", ".join(f"{text(_time(f))}::TIMESTAMP" for f in fields)
            values = ", ".join(f"{quoted(f.name)}::DOUBLE" for f in fields)
            constants = [f"{text(v)} AS {n}" for n, v in zip(_KIND, (tile, *described_by), strict=True)]
            lists = [
                f"unnest([{', '.join(days)}]) AS date",
                f"unnest([{times}]) AS datetime",
                f"unnest([{values}]) AS value",
            ]
            rows = select([ID_COLUMN, *constants, *lists], quoted(source))
            branches.append(f"{select(['*'], f'({rows})')} WHERE date BETWEEN {min(days)} AND {max(days)}")
    if not branches:
        raise InputError(
            "columns of this marker set are no values of dates", where="SQL", hint="ask the table markers instead"
        )
    connection.execute(
        f"CREATE VIEW {quoted(view)} AS {select(LONG_COLUMNS, f'({_union(branches)})')} WHERE NOT isnan(value)"
    )


def _union(branches: Sequence[str]) -> str:
    """All rows of all branches, as a balanced tree: DuckDB takes the square of the time for a flat list."""
    if len(branches) == 1:
        return branches[0]
    half = len(branches) // 2
    return f"({_union(branches[:half])}) UNION ALL ({_union(branches[half:])})"


def known(field: pa.Field, name: str | None = None) -> str:
    """A column of a query, of its own or another name, with NULL for NaN."""
    own, called = quoted(field.name), quoted(name or field.name)
    if not pa.types.is_floating(field.type):
        return f"{own} AS {called}"
    return f"nullif({own}, 'NaN'::{'FLOAT' if field.type.bit_width == 32 else 'DOUBLE'}) AS {called}"


def select(columns: Sequence[str], source: str) -> str:
    """A query of names from our own files, quoted."""
    return f"SELECT {', '.join(columns)} FROM {source}"  # noqa: S608 - as it says


def text(value: str | None) -> str:
    """A literal of SQL."""
    return "NULL::VARCHAR" if value is None else "'" + value.replace("'", "''") + "'"


def quoted(identifier: str) -> str:
    """A name of SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def _said(field: pa.Field) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}


def _time(field: pa.Field) -> str | None:
    """Acquisition time without its zone, which is UTC."""
    said = _said(field).get("datetime")
    return None if said is None else dt.datetime.fromisoformat(said).astimezone(dt.UTC).replace(tzinfo=None).isoformat()


def _markers(table: pa.Table) -> list[pa.Field]:
    return [f for f in table.schema if f.name != ID_COLUMN]
