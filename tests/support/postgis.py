"""A PostgreSQL server with PostGIS of a test's own: its own folder, its own socket, no port of the machine."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adbc_driver_postgresql import dbapi

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))


@contextmanager
def postgis() -> Iterator[str]:
    """A running server with an empty database ``lpis``; gives how libpq finds it."""
    assert _PROGRAMS, "PostgreSQL is not installed; 'make test' does it (postgresql-postgis)"
    bin_ = _PROGRAMS[-1].parent
    # A socket's path has to be short. The server refuses to run as root.
    home = Path(tempfile.mkdtemp(prefix="s4c-pg-", dir="/tmp"))
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    os.chown(home, user.pw_uid, user.pw_gid)

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, capture_output=True, user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"},
        )  # fmt: skip

    try:
        run(str(bin_ / "initdb"), "-D", str(home / "data"), "-U", "s4c", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {home} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
        run(
            str(bin_ / "pg_ctl"),
            "-D", str(home / "data"), "-l", str(home / "log"), "-w", "-t", "120", "-o", options, "start",
        )  # fmt: skip
        try:
            run(str(bin_ / "createdb"), "-h", str(home), "-U", "s4c", "lpis")
            yield f"host={home} user=s4c dbname=lpis"
        finally:
            run(str(bin_ / "pg_ctl"), "-D", str(home / "data"), "-m", "immediate", "-w", "-t", "120", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def run(address: str, *statements: str) -> None:
    """Statements in one transaction."""
    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def rows(address: str, sql: str) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with dbapi.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
