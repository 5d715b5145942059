"""Free ports for a development cluster, also when several start at the same moment."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

from s4c_hpc.core.errors import SchedulerError, listing

_PORTS = range(18_000, 32_000, 100)
"""Where free ports are looked for, a hundred to a cluster; outgoing connections take theirs from 32768 up."""


@contextlib.contextmanager
def claim_ports(address: str, n: int, *, asked: int | None, before: int | None) -> Iterator[int]:
    """The first of ``n`` free ports in a row; no other ``up`` looks at them while the context lasts.

    Parameters
    ----------
    address : on which they are to be free
    n : how many
    asked : these and no others
    before : these if they are free, as they were last time

    Raises
    ------
    SchedulerError
        If a port that was asked for is taken, or no free ports are found.
    """
    if asked is not None:
        if taken := [str(port) for port in range(asked, asked + n) if not _is_free(address, port)]:
            raise SchedulerError(
                f"port {listing(taken)} of {asked} to {asked + n - 1} is taken",
                where="--port",
                hint="leave --port out to have free ports looked for; 'ss -ltnp' shows who listens",
            )
        yield asked
        return
    bases = random.sample(_PORTS, len(_PORTS))
    for base in bases if before is None else [before, *bases]:
        # Two clusters that start at the same moment would find the same ports free. A name in the abstract socket
        # namespace is the lock: the kernel gives it to one process and takes it back however that one ends.
        with socket.socket(socket.AF_UNIX) as lock:
            try:
                lock.bind(f"\0s4c-slurm-cluster-{base}")
            except OSError:
                continue
            if all(_is_free(address, port) for port in range(base, base + n)):
                yield base
                return
    raise SchedulerError(
        f"found no {n} free ports in a row between {_PORTS.start} and {_PORTS.stop}", hint="give one with --port"
    )


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
