"""How the processes of a pool find and trust each other: a folder that nobody but their user can look into.

Neither certificates nor addresses stand on a command line, in a job script or in an environment, which others can read.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from distributed import Security
from distributed.utils import get_ip, get_ip_interface

from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.plan import RunFolder


@dataclass(frozen=True, slots=True)
class PoolDoor:
    """The folder of one pool."""

    folder: Path

    @classmethod
    def of(cls, run: RunFolder, wave: str) -> PoolDoor:
        """The door of a wave's pool."""
        return cls(run.scratch / f"pool-{wave}")

    def build(self) -> Security:
        """Make the folder, with new certificates; one that a dead pool has left is replaced."""
        self.remove()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700)
        fresh = Security.temporary()
        self._write("cert.pem", fresh.tls_ca_file)
        self._write("key.pem", fresh.tls_worker_key)
        return self.security

    def open(self, address: str) -> None:
        """Tell workers where the scheduler is."""
        self._write("address", address)

    def remove(self) -> None:
        """Remove it, if it is there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def address(self) -> str:
        """Where the scheduler listens.

        Raises
        ------
        SchedulerError
            If the pool is gone.
        """
        try:
            return (self.folder / "address").read_text()
        except FileNotFoundError as error:
            raise SchedulerError("the pool is gone", where=str(self.folder), hint="nothing is to be done") from error

    @property
    def security(self) -> Security:
        """One certificate for all: who has its key is let in, nobody else is."""
        cert, key = str(self.folder / "cert.pem"), str(self.folder / "key.pem")
        roles = {
            f"tls_{role}_{part}": path
            for role in ("client", "scheduler", "worker")
            for part, path in (("cert", cert), ("key", key))
        }
        return Security(require_encryption=True, tls_ca_file=cert, **roles)

    def _write(self, name: str, text: str) -> None:
        """Write a file that only its owner can read, whole or not at all."""
        draft = self.folder / f".{name}.tmp"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        draft.rename(self.folder / name)


def listening_address(interface: str | None, towards: str | None = None) -> str:
    """The one address of this node to listen on.

    Parameters
    ----------
    interface : network interface that nodes reach each other by
    towards : without an interface: the address whose packets leave by it; any far one when not given

    Raises
    ------
    SchedulerError
        If this node has no such interface, or it has no address.
    """
    if interface is None:
        return str(get_ip(towards) if towards else get_ip())
    try:
        return str(get_ip_interface(interface))
    except ValueError as error:
        raise SchedulerError(
            f"this node has no address on network interface {interface!r} ({error})",
            where="slurm.pool.interface",
            hint="'ip -brief address' on a node lists what there is",
        ) from error
