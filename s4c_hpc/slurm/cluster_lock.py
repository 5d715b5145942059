"""One command at a time works on a development cluster."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from s4c_hpc.core.errors import TemporaryError

_PATIENCE_S = 10.0
"""How long a command waits for another one, or for what a killed one has left at work."""


@contextlib.contextmanager
def exclusive(root: Path) -> Iterator[int]:
    """Keep other ``up`` and ``down`` of the cluster in ``root`` away; makes the folder.

    Yields
    ------
    descriptor of the lock; a child process that inherits it keeps the lock as long as it lives

    Raises
    ------
    TemporaryError
        If others are at work and do not come to an end.
    """
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)  # users of the cluster reach slurm.conf and munge's socket in it
    deadline = time.monotonic() + _PATIENCE_S
    with (root / "lock").open("w") as lock:
        while not _try_lock(lock.fileno()):
            if time.monotonic() > deadline:
                raise TemporaryError(
                    "another 's4c slurm cluster' command is at work here", where=str(root), hint="wait for it"
                )
            time.sleep(0.05)
        yield lock.fileno()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
