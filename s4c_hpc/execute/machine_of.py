"""The machine that a run's end is predicted for: this one, or the cluster as it is now."""

from __future__ import annotations

from collections.abc import Sequence

from s4c_hpc.config import Config
from s4c_hpc.execute.cluster_facts import ask_cluster
from s4c_hpc.plan import Machine, worker_count
from s4c_hpc.slurm.client import SlurmClient


def machine_of(config: Config, stages: Sequence[str]) -> tuple[Machine, str]:
    """The machine that ``execute.executor`` runs on, and what to call it.

    Parameters
    ----------
    stages : names of all that are planned

    Raises
    ------
    S4cError
        As ``ask_cluster``, if it is a cluster.
    """
    if config.execute.executor == "local":
        workers = worker_count(config)
        return Machine.local(workers, config.execute.memory), f"{workers} workers"
    cluster = ask_cluster(SlurmClient.of(config.slurm), config.slurm)
    machine = cluster.machine(config.slurm, stages)
    return machine, f"{sum(group.count for group in cluster.nodes)} nodes with {machine.n_cpus} cores"
