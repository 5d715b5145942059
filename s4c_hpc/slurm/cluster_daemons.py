"""All daemons of a development cluster: started in order, ended in order, told by name."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal as signals
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from s4c_hpc.core.errors import InputError
from s4c_hpc.slurm.cgroups import remove_node_cgroups
from s4c_hpc.slurm.cluster_boot import PATIENCE_S, locate, make_accounts, make_database
from s4c_hpc.slurm.cluster_config import ClusterSettings
from s4c_hpc.slurm.cluster_host import host_address
from s4c_hpc.slurm.daemons import Daemon, end, processes
from s4c_hpc.slurm.node_processes import node_processes

_PATIENCE_DOWN_S = 5.0
"""A daemon other than slurmctld that has not ended by then is killed."""


class ClusterDaemons:
    """The daemons of the cluster in a folder.

    Parameters
    ----------
    root : folder of the cluster
    settings : what it is made of
    env : what a Slurm command needs in its environment to talk to it
    """

    def __init__(self, root: Path, settings: ClusterSettings, env: Mapping[str, str]) -> None:
        self._root, self._settings, self._env = root, settings, env
        self.by_name = _describe(root, settings, env)

    def named(self, name: str) -> Daemon:
        """One of them.

        Raises
        ------
        InputError
            If there is none of that name.
        """
        if name not in self.by_name:
            names = ", ".join(self.by_name)
            raise InputError(f"there is no daemon '{name}'", where=str(self._root), hint=f"one of {names}")
        return self.by_name[name]

    def start(self, name: str) -> None:
        """Start one unless it runs, and wait until it takes connections."""
        chosen = self.named(name)
        chosen.start()
        _await(chosen, lambda: _accepts(self._address(name)))

    def start_all(self, lock: int) -> None:
        """Start all, each when those it needs are there; the first time, with database and accounts.

        Parameters
        ----------
        lock : as of ``make_database``
        """
        complete, accounts = self._root / "db" / "complete", []
        self.start("munged")
        if not complete.exists():
            shutil.rmtree(self._root / "db" / "data", ignore_errors=True)  # of a start that was interrupted
            make_database(self._root, lock)
            accounts = (self._root / "etc" / "accounts").read_text(encoding="utf-8").split("\n\n")
        self.start("mariadbd")
        self.start("slurmdbd")
        for paragraph in accounts:
            make_accounts(paragraph, self._env)
        complete.touch()
        # Only now: slurmctld would miss accounts that are made between its first question and its registration.
        self.start("slurmctld")
        for daemon in self.by_name.values():
            daemon.start()

    def end_all(self) -> bool:
        """End all of them, with the jobs.

        Returns
        -------
        whether any ran
        """
        ran = bool(node_processes(self._root)) or any(d.pid() is not None for d in self.by_name.values())
        # slurmctld first: it would see its nodes go and write their jobs off.
        self.by_name["slurmctld"].stop()
        nodes = [self.by_name[f"slurmd-{name}"].pid() for name in self._settings.node_names]
        end(processes(nodes), patience_s=_PATIENCE_DOWN_S)
        end(node_processes(self._root), signals.SIGKILL)
        for daemon in reversed(self.by_name.values()):
            # mariadbd hangs when it is asked to end while it starts; what it has written survives being killed.
            daemon.stop(patience_s=_PATIENCE_DOWN_S)
        if self._settings.cgroup:
            remove_node_cgroups(self._settings.node_names)
        return ran

    def kill_node(self, name: str) -> None:
        """End a node as a power cut does: its slurmd, steps and jobs die at once and tell nobody."""
        process_file = self.named(f"slurmd-{name}").process_file
        # All are stopped before any is killed: none may report the death of another or start something new.
        frozen: dict[int, psutil.Process] = {}
        while found := [p for p in node_processes(self._root, name) if p.pid not in frozen]:
            for process in found:
                frozen[process.pid] = process
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
        end(frozen.values(), signals.SIGKILL)
        process_file.unlink(missing_ok=True)

    def _address(self, daemon: str) -> Path | tuple[str, int]:
        """Where a daemon takes connections."""
        if daemon == "munged":
            return self._root / "munge" / "socket"
        if daemon == "mariadbd":
            return self._root / "db" / "socket"
        listeners = ["slurmctld", "slurmdbd", *(f"slurmd-{node}" for node in self._settings.node_names)]
        return host_address(self._settings.wrapper), (self._settings.port or 0) + listeners.index(daemon)


def _describe(root: Path, settings: ClusterSettings, env: Mapping[str, str]) -> dict[str, Daemon]:
    """All daemons of a cluster by name, in the order in which they are started."""
    munged = (
        "munged",
        "--foreground",
        "--force",  # it would refuse a folder that the group may write, such as home under a umask of 002
        f"--key-file={root}/munge/key",
        f"--socket={root}/munge/socket",
        f"--seed-file={root}/munge/seed",
        f"--pid-file={root}/run/munged.pid",
        f"--log-file={root}/log/munged.log",
    )
    programs: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "munged": (munged, {}),
        "mariadbd": (("mariadbd", f"--defaults-file={root}/etc/my.cnf"), {}),
        "slurmdbd": (("slurmdbd", "-D"), {"MYSQL_UNIX_PORT": f"{root}/db/socket"}),
        "slurmctld": (("slurmctld", "-D"), {}),
    }
    for node in settings.node_names:
        programs[f"slurmd-{node}"] = (("slurmd", "-D", "-N", node), {})
    common = {
        "PATH": os.defpath,
        "HOME": str(root),
        "LC_ALL": "C.UTF-8",
        **env,
    }
    return {
        name: Daemon(
            name=name, command=(locate(command[0]) or command[0], *command[1:]), env={**common, **own}, root=root
        )
        for name, (command, own) in programs.items()
    }


def _await(daemon: Daemon, answers: Callable[[], bool]) -> None:
    """Wait until a daemon answers.

    Raises
    ------
    SchedulerError
        If it has ended, or does not answer in time; with the end of its log.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not answers():
        if daemon.pid() is None:
            raise daemon.failure("ended by itself")
        if time.monotonic() > deadline:
            raise daemon.failure(f"did not answer in {PATIENCE_S:.0f} s")
        time.sleep(0.02)


def _accepts(address: Path | tuple[str, int]) -> bool:
    """Whether someone accepts connections on a unix socket or on a port."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family) as probe:
        return probe.connect_ex(str(address) if isinstance(address, Path) else address) == 0
