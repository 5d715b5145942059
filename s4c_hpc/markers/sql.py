"""SQL over marker files: DuckDB reads the memory-mapped columns that a query touches, and nothing else.

In SQL a value that is not known is NULL, so that ``avg`` and ``count`` do what one expects; in the files it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from s4c_hpc.core.errors import InputError
from s4c_hpc.markers.files import MarkerFile
from s4c_hpc.markers.part import Ids
from s4c_hpc.markers.sql_views import create_long, create_wide, dictionary, quoted, wide_tables

_Result = TypeVar("_Result")

_PLAIN: Final = {"HUGEINT": "BIGINT", "UHUGEINT": "BIGINT", "BIGNUM": "BIGINT", "INTERVAL": "VARCHAR"}
"""Types of DuckDB, and what they are given out as."""


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
        tables = wide_tables(files, columns, ids)
        connection.register("parcels", parcels)
        connection.register("dictionary", dictionary(tables))
        create_wide(connection, tables, "markers")
        if "observations" in sql.lower():
            # A season has thousands of columns, and binding them takes seconds.
            create_long(connection, tables.items(), "observations")
        lock(connection)
        return interruptible(connection, lambda: result_of(connection, sql).to_arrow_table())
    except duckdb.Error as error:
        raise refused(error, "tables are markers, observations, dictionary and parcels") from error
    finally:
        connection.close()


def lock(connection: Any) -> None:
    """Close every way from SQL to files, the network, extensions and objects of Python, for good."""
    for setting in (
        "enable_external_access",
        "autoinstall_known_extensions",
        "autoload_known_extensions",
        "python_enable_replacements",
    ):
        connection.execute(f"SET {setting} = false")
    connection.execute("SET lock_configuration = true")


def result_of(connection: Any, sql: str) -> Any:
    """The relation that a statement gives, in types that files and other programs know.

    Sums of whole numbers are BIGINT and not HUGEINT, which elsewhere is a decimal or a text; intervals are texts.

    Raises
    ------
    InputError
        If it gives none, or two columns have the same name.
    """
    relation = connection.sql(sql)
    if relation is None:
        raise InputError("the statement has no result", where="SQL", hint="write a SELECT")
    names = relation.columns
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two columns are called {', '.join(twice)}", where="SQL", hint="name them apart with AS")
    kinds = [_PLAIN.get(str(kind)) for kind in relation.types]
    if not any(kinds):
        return relation
    columns = [f"{quoted(n)}::{k} AS {quoted(n)}" if k else quoted(n) for n, k in zip(names, kinds, strict=True)]
    return relation.project(", ".join(columns))


def interruptible(connection: Any, work: Callable[[], _Result]) -> _Result:
    """What a call gives that runs in DuckDB, which does not listen to Ctrl-C by itself."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def refused(error: Exception, hint: str) -> InputError:
    """DuckDB's words as ours."""
    return InputError(f"cannot be run: {error}", where="SQL", hint=hint)
