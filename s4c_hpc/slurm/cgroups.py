"""Whether this machine lets us limit memory by cgroups, found out by trying."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from s4c_hpc.core.errors import SchedulerError

_MOUNT = Path("/sys/fs/cgroup")


def cgroups_work(mount: Path = _MOUNT) -> str | None:
    """Why cgroups cannot limit memory here; ``None`` if they can.

    Parameters
    ----------
    mount : where cgroups are mounted

    Notes
    -----
    Folders are made and limits are set on trial: in a container the mount may look writable and not be, or hold
    controllers that cannot be handed on.
    """
    if os.getuid() != 0:
        return "only root may make cgroups"
    try:
        if (mount / "cgroup.controllers").exists():
            return _try_v2(mount)
        return _try_v1(mount)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"


def _try_v1(mount: Path) -> str | None:
    """Version 1: memory limits, and the freezer by which Slurm tracks processes."""
    for controller in ("memory", "freezer", "cpuacct"):
        if not (mount / controller).is_dir():
            return f"the kernel or the container has no '{controller}' controller in {mount}"
        trial = mount / controller / f"s4c-trial-{os.getpid()}"
        trial.mkdir()
        try:
            if controller == "memory":
                (trial / "memory.limit_in_bytes").write_text(str(1 << 30))
        finally:
            trial.rmdir()
    return None


def _try_v2(mount: Path) -> str | None:
    """Version 2: the memory controller, handed on to children."""
    if "memory" not in (mount / "cgroup.controllers").read_text(encoding="utf-8").split():
        return f"the kernel or the container has no 'memory' controller in {mount}"
    (mount / "cgroup.subtree_control").write_text("+memory")
    trial = mount / f"s4c-trial-{os.getpid()}"
    trial.mkdir()
    try:
        (trial / "memory.max").write_text(str(1 << 30))
    finally:
        trial.rmdir()
    return None


def require_cgroups(nodes: Iterable[str]) -> None:
    """Make sure that cgroups can limit the memory of these nodes.

    Raises
    ------
    SchedulerError
        If cgroups do not work here, or another cluster has nodes of the same names.
    """
    if reason := cgroups_work():
        raise SchedulerError(f"cgroups cannot limit memory here: {reason}", hint="leave --cgroup out")
    if taken := node_cgroups(nodes):
        raise SchedulerError(
            "another cluster with --cgroup is up, or was killed and not taken down",
            where=str(taken[0]),
            hint="take that one down first: nodes of the same name would share their limits",
        )


def node_cgroups(nodes: Iterable[str], mount: Path = _MOUNT) -> list[Path]:
    """The folders that slurmd makes for these nodes (version 1); two clusters would share them."""
    return [folder for node in nodes for folder in mount.glob(f"*/slurm_{node}")]


def remove_node_cgroups(nodes: Iterable[str], mount: Path = _MOUNT) -> None:
    """Remove those folders, which slurmd leaves behind, as far as no process is in them."""
    for top in node_cgroups(nodes, mount):
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            top.rmdir()
