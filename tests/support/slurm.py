"""A development cluster for tests, taken down whatever becomes of the tests."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support.runs import wait_until

from s4c_hpc.slurm.cluster import Cluster

MPICH_BY_PMI = "MPIR_CVAR_CH4_NETMOD=ofi"
"""For MPICH under ``srun --mpi=pmi2``, whose ranks ask in PMI-1: slurmstepd cuts a question after 1024 bytes. Over UCX
(the default) an address fills 4 KiB, whatever lies in memory behind it included, and how long the questions are is a
matter of chance; over libfabric there is one, of some 60 bytes."""

_UNDERTAKER = """
import sys
from pathlib import Path
from s4c_hpc.slurm.cluster import Cluster
sys.stdin.read()
if Path(sys.argv[1]).exists():
    Cluster(Path(sys.argv[1])).down()
"""
"""Waits until its input closes, which the kernel does for a test process that is killed, and takes the cluster down."""


@contextlib.contextmanager
def running_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, up; down after the context, or after the death of this process."""
    cluster.up()
    with taken_down(cluster.root):
        yield cluster


@contextlib.contextmanager
def taken_down(root: Path) -> Iterator[None]:
    """Whatever cluster is in this folder is down after the context, or after the death of this process."""
    words = [sys.executable, "-c", _UNDERTAKER, str(root)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as undertaker:
        try:
            yield
        finally:
            undertaker.communicate()
    assert undertaker.returncode == 0, f"the cluster in {root} was not taken down"


@contextlib.contextmanager
def cgroup_turn() -> Iterator[None]:
    """One cluster with cgroups at a time: the kernel's groups are named after nodes, and tests run side by side."""
    with (Path(tempfile.gettempdir()) / "s4c-cgroup-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def submit(cluster: Cluster, script: str, *options: str, folder: Path | None = None) -> str:
    """Submit a shell script with sbatch; the number of the job. Its output goes to ``folder/JOBID.out``."""
    output = "/dev/null" if folder is None else str(folder / "%j.out")
    return cluster.run("sbatch", "--parsable", f"--output={output}", *options, "--wrap", script).strip()


def job_state(cluster: Cluster, job: str) -> str:
    """State of a job as sacct has it, without who cancelled it; empty while it is not known."""
    lines = cluster.run("sacct", "-X", "-n", "-P", "-j", job, "--format=State").splitlines()
    return lines[0].split()[0] if lines else ""


def wait_for_state(cluster: Cluster, job: str, *states: str) -> str:
    """Wait until sacct has the job in one of ``states``; that state."""
    wait_until(lambda: job_state(cluster, job) in states, f"job {job} is {' or '.join(states)}")
    return job_state(cluster, job)
