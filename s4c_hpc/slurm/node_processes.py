"""The processes of a development cluster's nodes: slurmd, steps, jobs, and whatever those have started."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil


def node_processes(root: Path, node: str | None = None) -> list[psutil.Process]:
    """Live processes of one node, or of all.

    Parameters
    ----------
    root : folder of the cluster
    node : name of the node; all nodes when not given

    Notes
    -----
    Slurm's own processes hold the log of their node open; what their environment was is gone, for slurmstepd writes
    its title over it. Jobs have in their environment which configuration and node they belong to, even after they
    have left their process group. Descendants of either count too, whatever environment they have.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _belongs(process, root, node):
                found |= {p.pid: p for p in (process, *process.children(recursive=True))}
    return list(found.values())


def _belongs(process: psutil.Process, root: Path, node: str | None) -> bool:
    if process.name() in {"slurmd", "slurmstepd"}:
        logs = [Path(file.path) for file in process.open_files()]
        return any(log.parent == root / "log" and node in {None, log.stem.removeprefix("slurmd-")} for log in logs)
    environment = process.environ()
    return (
        environment.get("SLURM_CONF") == str(root / "etc" / "slurm.conf")
        and "SLURMD_NODENAME" in environment
        and node in {None, environment["SLURMD_NODENAME"]}
    )
