"""A workspace in a PostGIS database: what is new or has changed is copied, a file at a time, whole or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.export.batches import chosen_places, column_rows, fact_rows, parcel_rows, table_rows, value_rows
from s4c_hpc.export.contract import EXPORTS, VALUES, fact_table, tables
from s4c_hpc.export.server import Server, add_columns, create_table, open_server, prepare, srid_of
from s4c_hpc.export.sources import Source, chosen, last_day, parcel_sources, sources_of
from s4c_hpc.markers.naming import parse_name
from s4c_hpc.markers.relations import ACQUISITIONS, FACTS, MARKER_COLUMNS, PARCEL_VERSIONS, relation_of
from s4c_hpc.markers.workspace_sql import acquisitions_table
from s4c_hpc.parcels import latest_version, read_tiles
from s4c_hpc.parcels.geoparquet import crs_of
from s4c_hpc.parcels.postgres import quoted
from s4c_hpc.parcels.store import PARCELS

SCHEMA: Final = "s4c"
"""Where tables are unless another schema is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgisReport:
    """What an export has done."""

    exported: tuple[str, ...]
    """Files of the workspace."""
    unchanged: int
    removed: tuple[str, ...]
    """Files that the workspace has no more."""
    n_rows: int
    """Rows that were copied."""


def export_postgis(
    workspace: Workspace,
    dsn: str,
    *,
    schema: str = SCHEMA,
    sets: Sequence[str] | None = None,
    since: dt.date | None = None,
    columns: Sequence[str] | None = None,
    all_versions: bool = False,
    drop: bool = False,
    tell: Callable[[str], None] | None = None,
) -> PostgisReport:
    """Bring a schema of a database up to date with a workspace.

    Each file is replaced in a transaction of its own, which also notes it in the table ``exports``: an export that is
    killed leaves whole files, and the next one goes on.

    Parameters
    ----------
    dsn : connection string of libpq or ``postgresql://`` address; a password belongs into ``~/.pgpass``
    schema : made if it is not there
    sets : folders of markers and facts, ``mdb1``, ``l4a``; all when not given
    since : files of seasons and months that were over before this day are left as they are
    columns : patterns of columns of marker files; all when not given
    all_versions : older versions of parcels, too; else the newest is the only one
    drop : remove our tables first
    tell : takes a sentence a file

    Raises
    ------
    NoInputsError
        If there is nothing to export.
    InputError
        If the schema is not ours.
    ExternalToolError, TemporaryError
        If the server refuses, or goes away.
    """
    if not schema or schema.startswith("pg_") or len(schema.encode()) > 63:
        raise ConfigError("cannot be the name of a schema", where=f"--schema {schema!r}", hint="choose another")
    everything = sources_of(workspace, all_versions=all_versions, columns=columns)
    wanted = chosen(everything, sets, since)
    _require_columns(wanted, columns)
    with open_server(dsn, schema) as server:
        prepare(server, _srid(workspace), drop=drop)
        known = {name: (int(i), str(d)) for i, name, d in server.rows("SELECT export_id, name, digest FROM exports")}
        _require_same_workspace(server, workspace)
        gone = sorted(set(known) - {s.name for s in everything})
        todo = [s for s in wanted if known.get(s.name, (0, ""))[1] != s.digest]
        if any(s.name not in known for s in todo):
            _remove_nameless(server)
        n_rows = 0
        for source in todo:
            with server.transaction():
                n = _replace(server, source, known.get(source.name, (None, ""))[0], columns, workspace)
            n_rows += n
            if tell is not None:
                tell(f"{source.name}: {n} rows")
        for name in gone:
            with server.transaction():
                _remove(server, known[name][0])
        _analyze(server, {s.relation for s in todo} - {VALUES.name})
        ((total,),) = server.rows("SELECT coalesce(sum(n_rows), 0)::bigint FROM exports")
    if not total:
        raise NoInputsError("nothing has a row", where=str(workspace.root), hint="run 's4c run'")
    return PostgisReport(
        exported=tuple(s.name for s in todo), unchanged=len(wanted) - len(todo), removed=tuple(gone), n_rows=n_rows
    )


def _require_same_workspace(server: Server, workspace: Workspace) -> None:
    """Refuse a schema with parcels of another workspace, all of which would be removed; versions never change."""
    theirs = server.rows("SELECT name, digest FROM exports WHERE relation = $1", [PARCEL_VERSIONS.name])
    mine = {(s.name, s.digest) for s in parcel_sources(workspace, all_versions=True)}
    if theirs and mine.isdisjoint((str(name), str(digest)) for name, digest in theirs):
        raise InputError(
            "the schema holds another workspace",
            where=server.where,
            hint="choose another with --schema, or replace all of it with --drop",
        )


def _require_columns(sources: Sequence[Source], columns: Sequence[str] | None) -> None:
    """Refuse patterns that no marker file has a column of."""
    files = [s for s in sources if s.relation == VALUES.name]
    if columns and files and not any(chosen_places(open_ipc(s.path).schema, columns) for s in files):
        raise NoInputsError(
            f"no marker column matches {', '.join(columns)}",
            where="--columns",
            hint="'s4c markers sql --list' names what there is",
        )


def _srid(workspace: Workspace) -> int:
    """EPSG number of the declaration's reference system, else of its first tile's."""
    version = latest_version(workspace)
    if version is None:
        raise NoInputsError("there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import'")
    crs = crs_of(workspace.parcels / version / PARCELS)
    of_tiles = (parcels.tile.crs for parcels in read_tiles(workspace, version))
    number = crs.to_epsg() or int(next(of_tiles, "EPSG:4326").removeprefix("EPSG:"))
    return int(number)


def _replace(
    server: Server, source: Source, old: int | None, columns: Sequence[str] | None, workspace: Workspace
) -> int:
    """Put the rows of a file in place of those that it had; returns how many there are."""
    ((export_id,),) = server.rows("SELECT nextval('export_ids')::integer")
    if source.relation == VALUES.name:
        n_rows = _copy_values(server, source, int(export_id), columns)
        if old is not None:
            _remove(server, old)
        server.run(
            f"ALTER TABLE {VALUES.name} ATTACH PARTITION {_partition(export_id)} FOR VALUES IN ({int(export_id)})"
        )
    else:
        if old is not None:
            _remove(server, old)
        n_rows = _copy_rows(server, source, int(export_id), workspace)
    server.run(
        "INSERT INTO exports VALUES ($1::integer, $2, $3, $4, $5, $6, now())",
        [int(export_id), source.name, source.relation, source.period, source.digest, n_rows],
    )
    return n_rows


def _copy_rows(server: Server, source: Source, export_id: int, workspace: Workspace) -> int:
    if source.relation == ACQUISITIONS.name:
        return server.copy(source.relation, *table_rows(acquisitions_table(workspace), export_id))
    if source.relation == PARCEL_VERSIONS.name:
        srid = srid_of(server)
        assert srid is not None  # noqa: S101 - the table was made before
        return server.copy(source.relation, *parcel_rows(source, export_id, srid))
    table = fact_table(relation_of(source.folder), open_ipc(source.path).schema)
    if source.folder not in FACTS and not server.rows(
        "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = $2", (server.schema, table.name)
    ):
        create_table(server, table)
    add_columns(server, table.name, table.columns)
    return server.copy(table.name, *fact_rows(source, export_id))


def _copy_values(server: Server, source: Source, export_id: int, columns: Sequence[str] | None) -> int:
    """A partition of its own, filled before readers see it; its days are told to the planner."""
    server.copy(MARKER_COLUMNS.name, *column_rows(source, export_id, columns))
    schema = open_ipc(source.path).schema
    days = [parse_name(schema.field(p).name).day for p in chosen_places(schema, columns)]
    first, last = min(days, default=last_day(source.period)), max(days, default=last_day(source.period))
    name = _partition(export_id)
    server.run(
        f"CREATE TABLE {name} (LIKE {VALUES.name}, CHECK (export_id IS NOT NULL AND export_id = {export_id}), "
        f"CHECK (date BETWEEN '{first}' AND '{last}'))"
    )
    n_rows = server.copy(name, *value_rows(source, export_id, columns))
    server.run(f"CREATE INDEX ON {name} (newid)")
    server.run(f"ANALYZE {name}")
    return n_rows


def _remove(server: Server, export_id: int) -> None:
    """Take the rows of an export out."""
    ((relation,),) = server.rows("SELECT relation FROM exports WHERE export_id = $1::integer", [export_id])
    if relation == VALUES.name:
        server.run(f"DROP TABLE {_partition(export_id)}")
        server.run(f"DELETE FROM {MARKER_COLUMNS.name} WHERE export_id = {int(export_id)}")
    else:
        server.run(f"DELETE FROM {quoted(relation)} WHERE export_id = {int(export_id)}")
    server.run(f"DELETE FROM exports WHERE export_id = {int(export_id)}")


def _remove_nameless(server: Server) -> None:
    """Take rows out that no row of ``exports`` is about: who removes one there has its file exported again, once."""
    with server.transaction():
        for table in tables():
            if table.name not in {EXPORTS.name, VALUES.name}:
                known = f"SELECT FROM {EXPORTS.name} e WHERE e.export_id = t.export_id"
                server.run(f"DELETE FROM {quoted(table.name)} t WHERE NOT EXISTS ({known})")
        partitions = server.rows(
            "SELECT relname::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = $1::regclass "
            "AND NOT EXISTS (SELECT FROM exports WHERE relname = $2 || export_id)",
            [VALUES.name, _partition("")],
        )
        for (name,) in partitions:
            server.run(f"DROP TABLE {quoted(str(name))}")


def _partition(export_id: int | str) -> str:
    return f"{VALUES.name}_{export_id}"


def _analyze(server: Server, relations: Collection[str]) -> None:
    """Let the planner know what is there; partitions of values are looked at when they are made."""
    with server.transaction():
        for name in sorted(relations):
            server.run(f"ANALYZE {quoted(name)}")
