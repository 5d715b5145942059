"""A real Slurm on one machine: for development, tests and a first look. Needs no root, listens on loopback only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal as signals
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from s4c_hpc.core.errors import InputError, SchedulerError, TemporaryError
from s4c_hpc.slurm.cgroups import cgroups_work, require_cgroups
from s4c_hpc.slurm.cluster_boot import PATIENCE_S, require_programs, run_slurm
from s4c_hpc.slurm.cluster_config import (
    FOLDERS,
    MIB,
    ClusterSettings,
    check_folder,
    load_settings,
    save_settings,
    write_files,
)
from s4c_hpc.slurm.cluster_daemons import ClusterDaemons
from s4c_hpc.slurm.cluster_host import find_wrapper, host_address, wrapper_environment
from s4c_hpc.slurm.cluster_lock import exclusive
from s4c_hpc.slurm.cluster_ports import claim_ports
from s4c_hpc.slurm.daemons import Daemon

_ROOM_BYTES = 256 * MIB
"""Free disk that a start asks for: the database has 40 MiB, the rest is for logs."""


class Cluster:
    """A development cluster in a folder.

    Parameters
    ----------
    root : its folder; everything that it writes is in there
    nodes, cpus, memory_bytes, cgroup : as in ``ClusterSettings``; those of the last start when not given
    port : first of the ports to use; free ones are looked for when not given
    """

    def __init__(
        self,
        root: Path,
        *,
        nodes: int | None = None,
        cpus: int | None = None,
        memory_bytes: int | None = None,
        port: int | None = None,
        cgroup: bool | None = None,
    ) -> None:
        self.root = root.absolute()
        asked = {"nodes": nodes, "cpus": cpus, "memory_bytes": memory_bytes, "port": port, "cgroup": cgroup}
        self._asked: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}

    @property
    def env(self) -> dict[str, str]:
        """What a Slurm command needs in its environment to talk to this cluster, since the last start."""
        return {"SLURM_CONF": str(self.root / "etc" / "slurm.conf"), **wrapper_environment(self.settings.wrapper)}

    @property
    def settings(self) -> ClusterSettings:
        """The settings of the last start.

        Raises
        ------
        SchedulerError
            If there has never been a cluster in this folder.
        """
        return load_settings(self._settings_file)

    @property
    def daemons(self) -> dict[str, Daemon]:
        """All daemons by name, in the order in which they are started."""
        return self._daemons.by_name

    @staticmethod
    def cgroups_work() -> str | None:
        """Why memory cannot be limited by cgroups on this machine; ``None`` if it can."""
        return cgroups_work()

    def up(self) -> bool:
        """Start every daemon that does not run and wait until all nodes serve. A failed start is taken down again.

        Returns
        -------
        whether there was anything to start

        Raises
        ------
        SchedulerError
            If a daemon does not come up; says which, and the end of its log.
        ExternalToolError, ConfigError, TemporaryError
            If programs are missing, the folder or settings cannot be used, the disk is full.
        """
        check_folder(self.root)
        require_programs()
        self._refuse_foreign_folder()
        with exclusive(self.root) as lock:
            known = self._settings_file.exists()
            kept = self.settings if known else ClusterSettings.new()
            settings = replace(kept, **self._asked)
            if known and self.is_up():
                if settings == kept:
                    return False
                raise SchedulerError(
                    "the cluster is up with other settings", where=str(self.root), hint="take it down first"
                )
            if shutil.disk_usage(self.root).free < _ROOM_BYTES:
                raise TemporaryError(
                    f"less than {_ROOM_BYTES // MIB} MiB are free on this disk",
                    where=str(self.root),
                    hint="free some space, or choose a folder on another disk",
                )
            if known:
                self._daemons.end_all()  # what an interrupted start or a crash has left
            if settings.cgroup:
                require_cgroups(settings.node_names)
            settings = replace(settings, wrapper=find_wrapper())
            address = host_address(settings.wrapper)
            try:
                with claim_ports(address, settings.n_ports, asked=self._asked.get("port"), before=kept.port) as port:
                    save_settings(self._settings_file, replace(settings, port=port))
                    write_files(self.root, self.settings)
                    self._daemons.start_all(lock)
                    self.wait_up()
            except BaseException:
                if self._settings_file.exists():
                    self._daemons.end_all()
                raise
        return True

    def down(self) -> bool:
        """End every process of this cluster, jobs included; its state stays for the next start.

        Returns
        -------
        whether there was anything to end

        Raises
        ------
        SchedulerError
            If there has never been a cluster in this folder.
        """
        daemons = self._daemons
        with exclusive(self.root):
            return daemons.end_all()

    def purge(self) -> bool:
        """End the cluster and remove what it has written; the folder too, unless it holds anything else.

        Returns
        -------
        whether there was anything to end
        """
        running = self.down()
        for folder in FOLDERS:
            with contextlib.suppress(FileNotFoundError):  # a start that was interrupted has not made all of them
                shutil.rmtree(self.root / folder)
        self._settings_file.unlink()
        (self.root / "lock").unlink()
        with contextlib.suppress(OSError):
            self.root.rmdir()
        return running

    def stop(self, daemon: str, *, signal: signals.Signals = signals.SIGTERM) -> None:
        """End one daemon (``slurmctld``, ``slurmdbd``, ``slurmd-n1``, ...); running jobs go on."""
        self._daemons.named(daemon).stop(signal)

    def start(self, daemon: str) -> None:
        """Start one daemon unless it runs, and wait until it takes connections."""
        self._daemons.start(daemon)

    def kill_node(self, name: str) -> None:
        """End a node as a power cut does: its slurmd, steps and jobs die at once and tell nobody."""
        self._daemons.kill_node(name)

    def is_up(self) -> bool:
        """Whether all daemons run."""
        return all(daemon.pid() is not None for daemon in self.daemons.values())

    def run(self, *words: str) -> str:
        """Run a command of Slurm on this cluster; its standard output.

        Raises
        ------
        SchedulerError
            If it fails.
        """
        return run_slurm(list(words), self.env)

    def node_states(self) -> dict[str, str]:
        """State of each node as sinfo has it: ``idle``, ``mixed``, ``down*``, ..."""
        lines = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_idle(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until all nodes are idle.

        Raises
        ------
        SchedulerError
            If some are not after ``patience_s`` seconds, or a daemon does not run.
        """
        self._wait_for_nodes({"idle"}, patience_s)

    def wait_up(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until all nodes serve, at work or not; errors as in ``wait_idle``."""
        self._wait_for_nodes({"idle", "mixed", "allocated", "completing"}, patience_s)

    def _wait_for_nodes(self, states: set[str], patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while others := [f"{name} is {state}" for name, state in self.node_states().items() if state not in states]:
            for daemon in self.daemons.values():
                if daemon.pid() is None:
                    raise daemon.failure("does not run")
            if time.monotonic() > deadline:
                raise SchedulerError(f"{'; '.join(others)} after {patience_s:.0f} s", where=str(self.root / "log"))
            time.sleep(0.05)

    def restore(self) -> None:
        """Bring it back to where ``up`` had left it: no jobs, all daemons up, all nodes idle."""
        for name in self.daemons:
            self.start(name)
        self.run("scancel", "--quiet", "--signal=KILL", "--full", "--user", str(os.getuid()))
        self.run("scancel", "--quiet", "--user", str(os.getuid()))
        deadline = time.monotonic() + PATIENCE_S
        while queue := self.run("squeue", "-h", "-o", "%i %T"):
            if time.monotonic() > deadline:
                raise SchedulerError(f"jobs do not end: {queue.strip()}", where=str(self.root / "log"))
            time.sleep(0.1)
        for node, state in self.node_states().items():
            if state.startswith("drain"):  # by Slurm itself, for a job number that was given out again, say
                self.run("scontrol", "update", f"nodename={node}", "state=resume")
        self.wait_idle()

    def _refuse_foreign_folder(self) -> None:
        if self._settings_file.exists() or not self.root.exists():
            return
        # An interrupted first start leaves its lock and perhaps settings under a temporary name.
        if [path for path in self.root.iterdir() if path.name != "lock" and not path.match(".cluster.json.*.tmp")]:
            raise InputError(
                "the folder is not empty and holds no cluster", where=str(self.root), hint="choose a new folder"
            )

    @property
    def _daemons(self) -> ClusterDaemons:
        return ClusterDaemons(self.root, self.settings, self.env)

    @property
    def _settings_file(self) -> Path:
        return self.root / "cluster.json"
