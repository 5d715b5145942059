"""Connections to PostgreSQL through ADBC, which speaks Arrow and copies in binary; errors without passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from s4c_hpc.config.secrets import without_password
from s4c_hpc.core.errors import ExternalToolError

PREFIX: Final = "PG:"
"""As GDAL writes connections."""


@contextmanager
def connected(text: str, instead: str) -> Iterator[tuple[Any, type[Exception]]]:
    """A connection without autocommit, and the class of its errors.

    Parameters
    ----------
    text : a connection string of libpq or a ``postgresql://`` address, with ``PG:`` in front or not; what it leaves
        out comes from the environment (``PGPASSWORD``, ``PGSERVICE``, ``~/.pgpass``)
    instead : what else can be done without the driver

    Raises
    ------
    ExternalToolError
        The driver is not installed, or the server does not answer.
    """
    where = without_password(text)
    try:
        from adbc_driver_postgresql import dbapi  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ExternalToolError(
            "tables of PostGIS need the driver ADBC",
            where=where,
            hint=f"install it with \"pip install 's4c-hpc[postgis]'\", or {instead}",
        ) from error
    try:
        connection = dbapi.connect(_address(text))
    except dbapi.Error as error:
        # What cannot be understood is quoted, be it the password.
        said = first_line(error)
        said = said if "connection to server" in said else re.sub('"[^"]*"?', '"***"', said)
        raise ExternalToolError(
            f"no connection ({said})", where=where, hint="check host, port, dbname, user and password"
        ) from None
    with connection:
        yield connection, dbapi.Error


def first_line(error: Exception) -> str:
    """What a server says, without where in its code."""
    return str(error).strip().splitlines()[0]


def quoted(name: str) -> str:
    """A name of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _address(text: str) -> str:
    """What libpq takes: keys and values, or an address, whose two slashes a path has made one."""
    rest = text.removeprefix(PREFIX).strip().strip('"')
    return re.sub(r"^(postgres(?:ql)?):/+", r"\1://", rest)
