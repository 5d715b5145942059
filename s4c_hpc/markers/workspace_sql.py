"""A whole workspace as tables of DuckDB: parcels, markers, series, crop types, mowings, practices; read only.

Each view maps the files that it is of; a query touches the columns, months and tiles that it is about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from s4c_hpc.core.errors import InputError, NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.files import MarkerFile
from s4c_hpc.markers.part import ID_COLUMN, Ids
from s4c_hpc.markers.relations import (
    ACQUISITION_COLUMNS,
    ACQUISITIONS,
    MARKER_COLUMNS,
    OBSERVATION_COLUMNS,
    PARCEL_COLUMNS,
    PARCEL_VERSIONS,
    PARCELS,
    PERIOD,
    TILE,
    Meaning,
    as_name,
    files_of,
    name_of,
)
from s4c_hpc.markers.sql import interruptible, lock, refused, result_of
from s4c_hpc.markers.sql_views import (
    DICTIONARY,
    LONG_COLUMNS,
    create_long,
    create_wide,
    described,
    known,
    quoted,
    select,
    text,
    wide_tables,
)
from s4c_hpc.parcels import versions
from s4c_hpc.parcels.columns import PREFIX
from s4c_hpc.series import open_series

_BBOX = "bbox"
_ABOUT_ALL = {"show", "information_schema", "duckdb_views", "duckdb_columns"}
"""Words of queries that are about all views."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view of a workspace."""

    name: str
    about: str
    columns: Callable[[], Mapping[str, tuple[str, Meaning]]]
    """Type and meaning by column; names of markers stand for all days, ``s2_ndvi_mean__*``."""
    create: Callable[[Any], None]
    """Makes it in a connection of DuckDB."""


def open_sql(
    workspace: Workspace | Path | str,
    *,
    tiles: Sequence[str] | None = None,
    periods: Sequence[str] | None = None,
    names: Callable[[str], bool] | None = None,
) -> Any:
    """A connection of DuckDB that sees a workspace, and no other file, network or variable.

    Tables of one's own come in by ``connection.register``. ``views_of`` and ``s4c markers sql --list`` say which views
    there are; unknown values are NULL in them.

    Parameters
    ----------
    workspace : the workspace, or its folder
    tiles, periods : of markers and facts, names or patterns; all when not given
    names : tells which views are wanted; all when not given. Long views of wide seasons take seconds to make.

    Raises
    ------
    NoInputsError
        If there is nothing to see.
    """
    found = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace).resolve())
    views = views_of(found.require(), tiles=tiles, periods=periods)
    return _connected([view for view in views if names is None or names(view.name)])


def _connected(views: Sequence[View]) -> Any:
    connection = duckdb.connect()
    try:
        for view in views:
            view.create(connection)
        lock(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def run_workspace_sql(
    workspace: Workspace,
    sql: str,
    *,
    tiles: Sequence[str] | None = None,
    periods: Sequence[str] | None = None,
    chosen: Ids | None = None,
) -> pa.RecordBatchReader:
    """The result of a query, made while it is read.

    Parameters
    ----------
    tiles, periods : as in ``open_sql``
    chosen : (n,) NewIDs of a table ``chosen`` that the query joins

    Raises
    ------
    InputError
        With DuckDB's own words if the query cannot be run; if it does not join the parcels that are chosen.
    """
    asked = set(re.findall(r"\w+", sql.lower()))
    if chosen is not None and "chosen" not in asked:
        raise InputError(
            "parcels are chosen, but the query is about all", where="SQL", hint="add JOIN chosen USING (NewID)"
        )
    views = views_of(workspace, tiles=tiles, periods=periods)
    hint = f"views are {listing([view.name for view in views], 40)}"
    connection = _connected([view for view in views if asked & _ABOUT_ALL or view.name in asked])
    try:
        if chosen is not None:
            connection.register("chosen", pa.table({ID_COLUMN: pa.array(chosen, pa.int32())}))
        reader = interruptible(connection, lambda: result_of(connection, sql).to_arrow_reader())
        return _told(connection, reader, hint)
    except BaseException as error:
        connection.close()
        if isinstance(error, duckdb.Error):
            raise refused(error, hint) from error
        raise


def _told(connection: Any, reader: pa.RecordBatchReader, hint: str) -> pa.RecordBatchReader:
    """The same batches; what fails half-way is told, and the connection lives as long as they do."""

    def batches() -> Any:
        try:
            while (batch := interruptible(connection, lambda: next(reader, None))) is not None:
                yield batch
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise refused(error, hint) from error
        finally:
            connection.close()

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def views_of(
    workspace: Workspace, *, tiles: Sequence[str] | None = None, periods: Sequence[str] | None = None
) -> list[View]:
    """Views that a workspace has, none of them made.

    Raises
    ------
    NoInputsError
        If there is neither a parcel version nor a marker file.
    """
    views = [*_parcel_views(workspace), *_series_views(workspace)]
    there = files_of(workspace, tiles=tiles, periods=periods)
    for name, files in there.sets.items():
        views += _marker_views(name, files)
    for relation, files in there.facts.items():
        make, say = partial(_create_facts, files=files, view=relation.name), partial(_fact_columns, files)
        views.append(View(name=relation.name, about=relation.about, columns=say, create=make))
    if not views:
        raise NoInputsError("there is nothing to ask", where=str(workspace.root), hint="run 's4c parcels import'")
    return views


def _parcel_views(workspace: Workspace) -> list[View]:
    kept = versions(workspace)

    def said() -> dict[str, tuple[str, Meaning]]:
        schema = _parcel_source(workspace, kept[-1]).schema
        first = {"version": ("string", PARCEL_COLUMNS["version"])}
        return first | {
            _unlike_version(f.name): (str(f.type), PARCEL_COLUMNS.get(f.name) or Meaning(text="As declared"))
            for f in schema
            if f.name != _BBOX
        }

    def create(connection: Any, of: Sequence[str], view: str) -> None:
        branches = []
        for version in of:
            source = f"{view}_{version}"
            dataset = _parcel_source(workspace, version)
            connection.register(source, dataset)
            columns = [known(f, _unlike_version(f.name)) for f in dataset.schema if f.name != _BBOX]
            branches.append(select([f"{text(version)} AS version", *columns], quoted(source)))
        connection.execute(f"CREATE VIEW {view} AS " + " UNION ALL BY NAME ".join(branches))

    wanted = ((PARCELS, kept[-1:]), (PARCEL_VERSIONS, kept)) if kept else ()
    return [
        View(name=r.name, about=r.about, columns=said, create=partial(create, of=of, view=r.name)) for r, of in wanted
    ]


def _unlike_version(name: str) -> str:
    """The name of a column of parcels; one of the declaration that is called like ours gets a prefix, as in imports."""
    return f"{PREFIX}{name}" if name.lower() == "version" else name


def _parcel_source(workspace: Workspace, version: str) -> Any:
    return ds.dataset(workspace.parcels / version / "parcels.parquet", format="parquet")


def _series_views(workspace: Workspace) -> list[View]:
    series = open_series(workspace)
    try:
        acquired = series.acquisitions()
    except NoInputsError:
        return []
    views = [
        View(
            name=ACQUISITIONS.name,
            about=ACQUISITIONS.about,
            columns=lambda: {f.name: (str(f.type), Meaning.of(f)) for f in ACQUISITION_COLUMNS},
            create=lambda c: c.register(ACQUISITIONS.name, acquisitions_table(workspace)) and None,
        )
    ]
    for sensor, grid in sorted({(a.sensor, a.grid) for _, a in acquired}):
        name = as_name(f"series_{sensor}_{grid}")

        def table(sensor: str = sensor, grid: str = grid) -> pa.Table:
            return series.table(sensor=sensor, grid=grid)

        def create(connection: Any, name: str = name, table: Callable[[], pa.Table] = table) -> None:
            rows = table()
            connection.register(f"{name}_files", rows)
            connection.execute(f"CREATE VIEW {name} AS " + select([known(f) for f in rows.schema], f"{name}_files"))

        def say(table: Callable[[], pa.Table] = table) -> dict[str, tuple[str, Meaning]]:
            return {f.name: (_kind(f.type), Meaning.of(f)) for f in table().schema}

        about = f"Series of {sensor} on {grid}: a row a parcel and acquisition"
        views.append(View(name=name, about=about, columns=say, create=create))
    return views


def acquisitions_table(workspace: Workspace) -> pa.Table:
    """Acquisitions that series hold, by tile, sensor, grid and time; empty where there are no series."""
    try:
        acquired = open_series(workspace).acquisitions()
    except NoInputsError:
        acquired = []
    rows = [
        {n: tile if n == "tile" else getattr(a, n) for n in ACQUISITION_COLUMNS.names}
        for tile, a in sorted(acquired, key=lambda one: (one[0], *one[1].sort_key))
    ]
    return pa.Table.from_pylist(rows, ACQUISITION_COLUMNS)


def _marker_views(name: str, files: Sequence[MarkerFile]) -> list[View]:
    wide = name_of(name)
    columns = f"{wide}_columns"

    def say_wide() -> dict[str, tuple[str, Meaning]]:
        said = {ID_COLUMN: ("int32", PARCEL_COLUMNS["NewID"]), "tile": ("string", TILE)}
        for file in files:
            for field in open_ipc(file.path).schema:
                stem, found, _ = field.name.partition("__")
                if found:
                    said.setdefault(f"{stem}__*", (str(field.type), Meaning.of(field)))
        return said

    def say(names: Sequence[str]) -> Mapping[str, tuple[str, Meaning]]:
        kinds = {"value": "double", "date": "date32", "datetime": "timestamp", "NewID": "int32"}
        return {n: (kinds.get(n, "string"), OBSERVATION_COLUMNS[n]) for n in names}

    def create_columns(connection: Any) -> None:
        rows = [row for f in files for row in described(f.tile, open_ipc(f.path).schema)]
        connection.register(columns, pa.Table.from_pylist(rows, DICTIONARY))

    return [
        View(
            name=wide,
            about=f"Markers of set {name} as they are in files: a row a parcel, a column a day",
            columns=say_wide,
            create=lambda connection: create_wide(connection, wide_tables(files, None, None), wide),
        ),
        View(
            name=f"{wide}_long",
            about=f"Markers of set {name}: a row a known value",
            columns=partial(say, LONG_COLUMNS),
            create=lambda connection: create_long(
                connection, [(f.tile, open_ipc(f.path).read_all()) for f in files], f"{wide}_long"
            ),
        ),
        View(
            name=columns,
            about=f"{MARKER_COLUMNS.about}, of set {name}",
            columns=partial(say, DICTIONARY.names),
            create=create_columns,
        ),
    ]


def _create_facts(connection: Any, files: Sequence[MarkerFile], view: str) -> None:
    branches = []
    for number, file in enumerate(files):
        table, source = open_ipc(file.path).read_all(), f"{view}_of_{number}"
        connection.register(source, table)
        first = [f"{text(file.period)} AS period", f"{text(file.tile)} AS tile"]
        branches.append(select([*first, *(known(f) for f in table.schema)], quoted(source)))
    connection.execute(f"CREATE VIEW {quoted(view)} AS " + " UNION ALL BY NAME ".join(branches))


def _fact_columns(files: Sequence[MarkerFile]) -> dict[str, tuple[str, Meaning]]:
    said = {"period": ("string", PERIOD), "tile": ("string", TILE)}
    for file in files:
        said |= {f.name: (str(f.type), Meaning.of(f)) for f in open_ipc(file.path).schema}
    said[ID_COLUMN] = ("int32", PARCEL_COLUMNS["NewID"])
    return said


def _kind(kind: pa.DataType) -> str:
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)
