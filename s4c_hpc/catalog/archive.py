"""The way to folders and files of an archive: read only, in order, and with patience.

An archive may be an object store or a tape system behind a mount. Then a read fails now and then for no fault of the
data (EIO, ESTALE, ETIMEDOUT ...), and the same read succeeds some seconds later. Such errors are tried again here,
after pauses that double; when that does not help, a ``TemporaryError`` says that nothing is known of the data. Any
other ``OSError`` (no such file, no permission) is the caller's, at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from s4c_hpc.config import Archive
from s4c_hpc.core.errors import TemporaryError

Result = TypeVar("Result")

TRANSIENT: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOTCONN,  # the process behind a FUSE mount has died: its keeper may start it again
        errno.EPIPE,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""Numbers of errors that say something of the way to the data and nothing of the data."""

_CHUNK_BYTES: Final = 8 << 20
"""Read at a time where the bytes themselves are not wanted."""


@dataclass(slots=True)
class _State:
    """Of this process, threads included: rasters are read by several at once."""

    policy: Archive
    n_listed: int = 0


_state = _State(Archive())


@contextlib.contextmanager
def patience(policy: Archive) -> Iterator[None]:
    """Within the block this process is as patient as ``policy`` says, in all of its threads."""
    before, _state.policy = _state.policy, policy
    try:
        yield
    finally:
        _state.policy = before


def patiently(action: Callable[[], Result], path: str | Path) -> Result:
    """What ``action`` returns; called again after a pause, which doubles, if it fails with a transient error.

    Parameters
    ----------
    action : reads from ``path``; must be able to start over
    path : named in the message

    Raises
    ------
    TemporaryError
        If the last try has failed like the others.
    OSError
        Any that is not transient, from the first try on.
    """
    policy = _state.policy
    for number in range(policy.retries + 1):
        try:
            return action()
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
            if number == policy.retries:
                raise TemporaryError(
                    f"cannot be read just now ({error.strerror}, tried {number + 1} times)",
                    where=str(path),
                    hint="look after the mount of the archive; nothing is wrong with the work, run again later",
                ) from error
            _pause(policy.backoff_s * 2**number)
    raise AssertionError  # pragma: no cover - the last number returns or raises


def list_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder, by name; a ``TemporaryError`` or an ``OSError`` if it cannot be listed. Counted."""
    _state.n_listed += 1

    def entries() -> list[os.DirEntry[str]]:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)

    return patiently(entries, folder)


def listed() -> int:
    """Number of folders that this process has listed so far; one that had to be tried again counts once."""
    return _state.n_listed


def status(path: Path | os.DirEntry[str]) -> os.stat_result:
    """What the file system knows of a file or folder, links followed."""
    return patiently(path.stat, os.fspath(path))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    return patiently(entry.is_dir, entry.path)


def read_bytes(path: Path) -> bytes:
    """The content of a file, read from its beginning to its end."""
    return patiently(path.read_bytes, path)


def check_bytes(path: str | Path) -> None:
    """Read a file from its beginning to its end; an ``OSError`` if that does not give as many bytes as it has.

    Whether what cannot be decoded is damaged, or cannot be read: only in the first case this comes to a good end.
    Not tried again here.
    """
    with Path(path).open("rb", buffering=0) as stream:
        size, n_read = os.fstat(stream.fileno()).st_size, 0
        while chunk := stream.read(_CHUNK_BYTES):
            n_read += len(chunk)
    if n_read < size:  # mounts of object stores end early when a part could not be fetched
        raise OSError(errno.EIO, f"only {n_read} of {size} bytes came", str(path))


def _pause(seconds: float) -> None:
    time.sleep(seconds)
