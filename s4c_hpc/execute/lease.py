"""One driver a workspace: a lock that dies with its owner, and the owner's name for people.

The lock is the kernel's (``F_OFD_SETLK``), so that a killed driver never blocks the next one, nor does a restarted
machine; NFS and Lustre (mounted with ``flock``) honour it between nodes. It can be looked at without taking it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import json
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from s4c_hpc.core.errors import ConfigError, TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.slurm.jobs import own_job

_FLOCK = struct.Struct("hhqqi4x")
"""``struct flock`` on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid."""


class DriverAtWork(TemporaryError):  # noqa: N818 - names the fact
    """Another process drives the workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that drives a workspace."""

    pid: int
    host: str
    process_started: float
    """Start of the process, seconds since 1970: tells it from a later one with the same number."""
    since: str
    """When it took the workspace, ISO 8601 UTC."""
    job: int | None = None
    """Slurm's number of the job that it is part of."""

    @property
    def is_here(self) -> bool:
        """Whether it is a live process of this machine."""
        if self.host != platform.node():
            return False
        try:
            started: float = psutil.Process(self.pid).create_time()
            return abs(started - self.process_started) < 1.0
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        job = "" if self.job is None else f" (job {self.job})"
        return f"process {self.pid} on {self.host}{job}, since {self.since}"


def lease_path(workspace: Workspace) -> Path:
    """The lock file of a workspace."""
    return workspace.state / "driver.lock"


@contextlib.contextmanager
def lease(workspace: Workspace) -> Iterator[Owner]:
    """Be the only driver of ``workspace`` while the context lasts.

    Raises
    ------
    DriverAtWork
        If there is another driver; it is named.
    ConfigError
        If the file system has no locks.
    """
    path = lease_path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except (BlockingIOError, PermissionError) as error:
            raise DriverAtWork(
                f"another driver is at work: {_read(path) or 'it has not said who it is yet'}",
                where=str(workspace.root),
                hint="wait for it ('s4c status') or stop it ('s4c cancel')",
            ) from error
        except OSError as error:
            if error.errno not in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}:
                raise
            raise ConfigError(
                f"its file system has no locks ({error.strerror}): two drivers could not be told apart",
                where=str(path),
                hint="mount it with locks (NFS: lockd or version 4; Lustre: -o flock), or move the workspace",
            ) from error
        owner = Owner(
            pid=os.getpid(),
            host=platform.node(),
            process_started=psutil.Process().create_time(),
            since=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            job=own_job(),
        )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(owner)).encode(), 0)
        yield owner
    finally:
        os.close(descriptor)  # the lock goes with it


def current_owner(workspace: Workspace) -> Owner | None:
    """Who drives ``workspace`` now, or ``None``; looks without disturbing."""
    path = lease_path(workspace)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else _read(path)


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
