"""A schema of ours in a database: found or made, told from those of others, and errors of the server in our words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from s4c_hpc.config.secrets import without_password
from s4c_hpc.core.errors import ExternalToolError, InputError, S4cError, TemporaryError, listing
from s4c_hpc.export.contract import EXPORTS, MARK, Column, Table, tables
from s4c_hpc.export.views import database_views
from s4c_hpc.markers.relations import PARCEL_VERSIONS
from s4c_hpc.parcels.postgres import connected, quoted

_AGAIN: Final = ("08", "40", "53", "55", "57")
"""Classes of SQLSTATE that may pass: connection lost, rolled back, no room, in use, shut down."""

_LOST: Final = ("server closed the connection", "no connection to the server", "terminating connection")
"""What is said of a lost connection where no state is."""

_LONG_NAMES: Final = {"timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone"}
"""Types as PostgreSQL writes them."""


class Server:
    """A connection, and the schema that tables are in; names in statements are those of the schema first."""

    def __init__(self, connection: Any, failure: type[Exception], schema: str, where: str) -> None:
        self.connection, self.failure, self.schema, self.where = connection, failure, schema, where

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """A statement without result."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, tuple(parameters))

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, tuple(parameters))
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def copy(self, table: str, schema: Any, batches: Iterator[Any]) -> int:
        """Append record batches to a table by COPY; returns the number of rows."""
        import pyarrow as pa  # noqa: PLC0415 - beside the driver

        n_rows = 0

        def counted() -> Iterator[Any]:
            nonlocal n_rows
            for batch in batches:
                n_rows += batch.num_rows
                yield batch

        with self.connection.cursor() as cursor:
            reader = pa.RecordBatchReader.from_batches(schema, counted())
            cursor.adbc_ingest(table, reader, mode="append", db_schema_name=self.schema)
        return n_rows

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        try:
            yield
            self.connection.commit()
        except BaseException:
            with suppress(self.failure):  # a server that is gone has rolled back, and why it went is what matters
                self.connection.rollback()
            raise


@contextmanager
def open_server(dsn: str, schema: str) -> Iterator[Server]:
    """A server on which nobody else exports into the same schema at the same time.

    Raises
    ------
    ExternalToolError
        If it does not answer, or does not let us.
    TemporaryError
        If another export is at work, or the server goes away.
    """
    where = f"{without_password(dsn)}, schema {schema}"
    with connected(dsn, "export a GeoPackage") as (connection, failure):
        try:
            server = Server(connection, failure, schema, where)
            with server.transaction():
                ((free,),) = server.rows("SELECT pg_try_advisory_lock(hashtext($1), 954)", [f"s4c {schema}"])
                if not free:
                    raise TemporaryError("another export is at work", where=where, hint="run again when it is done")
            yield server
        except failure as error:
            raise _told(error, where) from error


def _told(error: Exception, where: str) -> S4cError:
    """What a server says, in three parts."""
    state = str(getattr(error, "sqlstate", "") or "")
    # What stands before it is the driver's: its own name, and the whole of the statement.
    said = str(error).rpartition("ERROR:")[2].strip().splitlines()[0]
    if state == "42501":
        hint = "ask the owner of the database for the privileges that s4c_hpc/export/SCHEMA.md lists"
        return ExternalToolError(f"the server does not allow it ({said})", where=where, hint=hint)
    if state[:2] in _AGAIN or any(words in str(error) for words in _LOST):
        hint = "run again: files that were exported before stay, the others are as they were"
        return TemporaryError(f"the server gave up ({said})", where=where, hint=hint)
    hint = "check what depends on these tables" if state == "2BP01" else "see s4c_hpc/export/SCHEMA.md"
    return ExternalToolError(f"the server refused ({said})", where=where, hint=hint)


def prepare(server: Server, srid: int, *, drop: bool) -> None:
    """Make what is missing of our tables and views, in one transaction.

    Raises
    ------
    InputError
        If the schema holds tables of others, or ours of another release, or not all of ours, and these are not to be
        dropped.
    ExternalToolError
        If PostGIS is not there.
    """
    with server.transaction():
        # Nothing of other schemas is taken for ours, be it that ours is not there.
        server.run(f"SET search_path = {quoted(server.schema)}, {quoted(_schema_of_postgis(server))}")
        there = _relations(server)
        mark = _mark(server) if EXPORTS.name in there else None
        if there and mark is None:
            raise InputError(
                f"the schema holds tables that are not ours: {listing(sorted(there))}",
                where=server.where,
                hint="choose another with --schema",
            )
        if mark is not None and drop:
            _drop(server, there)
            there = {}
        elif mark is not None and not mark.startswith(f"{MARK}."):
            raise InputError(
                f"the tables are of another release ({mark.partition('.')[0]})",
                where=server.where,
                hint="export them anew with --drop",
            )
        elif mark is not None and (missing := {t.name for t in tables()} - set(there)):
            raise InputError(
                f"tables are missing: {listing(sorted(missing))}", where=server.where, hint="export anew with --drop"
            )
        if not there:
            _create(server, srid)
        _create_views(server, there)


def srid_of(server: Server) -> int | None:
    """Reference system of the outlines that are there."""
    rows = server.rows(
        "SELECT srid FROM geometry_columns WHERE f_table_schema = $1 AND f_table_name = $2",
        (server.schema, PARCEL_VERSIONS.name),
    )
    return int(rows[0][0]) if rows else None


def add_columns(server: Server, table: str, columns: Iterable[Column]) -> None:
    """Columns that a file has and its table has not.

    Raises
    ------
    InputError
        If the table has one of another type.
    """
    sql = "SELECT attname::text, atttypid::regtype::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0"
    there = {str(name): str(kind) for name, kind in server.rows(sql, [quoted(table)])}
    for column in columns:
        kind = _LONG_NAMES.get(column.kind, column.kind)
        if there.get(column.name, kind) != kind:
            raise InputError(
                f"column {column.name} is {kind} in the file, and {there[column.name]} in the database",
                where=f"{server.where}, table {table}",
                hint="export anew with --drop",
            )
        if column.name in there:
            continue
        server.run(f"ALTER TABLE {quoted(table)} ADD COLUMN {quoted(column.name)} {column.kind}")
        _comment(server, f"COLUMN {quoted(table)}.{quoted(column.name)}", str(column.meaning))


def create_table(server: Server, table: Table) -> None:
    """A table with its key, indexes and comments."""
    lines = [f"{quoted(c.name)} {c.kind}" for c in table.columns]
    if table.key:
        lines.append(f"PRIMARY KEY ({', '.join(map(quoted, table.key))})")
    partition = f" PARTITION BY {table.partition_by}" if table.partition_by else ""
    server.run(f"CREATE TABLE {quoted(table.name)} ({', '.join(lines)}){partition}")
    for column in table.indexes:
        using = " USING gist" if column == "geometry" else ""
        server.run(f"CREATE INDEX ON {quoted(table.name)}{using} ({quoted(column)})")
    _comment(server, f"TABLE {quoted(table.name)}", table.about)
    for one in table.columns:
        _comment(server, f"COLUMN {quoted(table.name)}.{quoted(one.name)}", str(one.meaning))


def _create(server: Server, srid: int) -> None:
    ((exists,),) = server.rows("SELECT count(*) FROM pg_namespace WHERE nspname = $1", [server.schema])
    if not exists:
        server.run(f"CREATE SCHEMA {quoted(server.schema)}")
    for table in tables():
        create_table(server, table.of_srid(srid))
    server.run("CREATE SEQUENCE export_ids AS integer OWNED BY exports.export_id")
    server.run("CREATE UNIQUE INDEX ON exports (name)")


def _create_views(server: Server, there: Mapping[str, str]) -> None:
    """Views that are not there."""
    for view in database_views():
        if view.name in there:
            continue
        server.run(f"CREATE VIEW {quoted(view.name)} AS {view.query}")
        _comment(server, f"VIEW {quoted(view.name)}", view.about)
        for name, meaning in view.columns.items():
            _comment(server, f"COLUMN {quoted(view.name)}.{quoted(name)}", str(meaning))


def _drop(server: Server, there: Mapping[str, str]) -> None:
    """Everything of ours that is there, and nothing that others have built on it."""
    for view in reversed(database_views()):
        if there.get(view.name) == "v":
            server.run(f"DROP VIEW {quoted(view.name)}")
    made = {str(name) for (name,) in server.rows("SELECT DISTINCT relation FROM exports")}
    for name in sorted((made | {t.name for t in tables()}) & set(there)):
        server.run(f"DROP TABLE {quoted(name)}")


def _relations(server: Server) -> dict[str, str]:
    """Tables, views and the like of the schema by name, each with its kind; partitions aside."""
    rows = server.rows(
        "SELECT c.relname::text, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition",
        [server.schema],
    )
    return {str(name): str(kind) for name, kind in rows}


def _mark(server: Server) -> str | None:
    """The comment by which a schema of ours is known."""
    rows = server.rows(
        "SELECT coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
        (server.schema, EXPORTS.name),
    )
    mark = str(rows[0][0]) if rows else ""
    return mark if mark.startswith(MARK.partition(",")[0]) else None


def _schema_of_postgis(server: Server) -> str:
    found = server.rows(
        "SELECT nspname::text FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'postgis'"
    )
    if not found:
        raise ExternalToolError(
            "the database has no PostGIS",
            where=server.where,
            hint="let its owner run CREATE EXTENSION postgis",
        )
    return str(found[0][0])


def _comment(server: Server, what: str, text: str) -> None:
    literal = "'" + text.replace("'", "''") + "'"
    server.run(f"COMMENT ON {what} IS {literal}")
