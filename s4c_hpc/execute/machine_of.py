"""The machine that a run's end is predicted for: this one, or the cluster as it is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from s4c_hpc.config import Config
from s4c_hpc.execute.cluster_facts import usable_nodes
from s4c_hpc.plan import Machine, NodeGroup, QueueLimits, worker_count
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.errors import SlurmFailed, SlurmUnreachable
from s4c_hpc.slurm.rows import NodeRow, QosRow


def machine_of(config: Config, stages: Sequence[str]) -> tuple[Machine, str]:
    """The machine that ``execute.executor`` runs on, and what to call it.

    Parameters
    ----------
    stages : names of all that are planned

    Raises
    ------
    SlurmMissing, SlurmUnreachable
        If it is a cluster that cannot be asked.
    """
    if config.execute.executor == "local":
        workers = worker_count(config)
        return Machine.local(workers, config.execute.memory), f"{workers} workers"
    client = SlurmClient(timeout_s=config.slurm.command_timeout_s)
    nodes = usable_nodes(client.nodes(config.slurm.partition), config.slurm.partition)
    try:
        limits = {row.name: queue_limits(row) for row in client.qos()}
    except (SlurmFailed, SlurmUnreachable):  # no accounts, no limits that could be told
        limits = {}
    machine = Machine.cluster(config.slurm, node_groups(nodes), limits, tuple(stages))
    return machine, f"{len(nodes)} nodes with {machine.n_cpus} cores"


def node_groups(nodes: Sequence[NodeRow]) -> tuple[NodeGroup, ...]:
    """Equal nodes together, the largest first."""
    counts = Counter((node.mem_bytes, node.cpus) for node in nodes)
    return tuple(
        NodeGroup(count=count, cpus=cpus, mem_bytes=mem_bytes)
        for (mem_bytes, cpus), count in sorted(counts.items(), reverse=True)
    )


def queue_limits(row: QosRow) -> QueueLimits:
    """Limits of a QoS that bind this user's jobs together."""
    per_user = row.max_tres_per_user
    return QueueLimits(
        grp_cpus=_least(row.grp_tres.get("cpu"), per_user.get("cpu")),
        grp_mem_bytes=_least(row.grp_tres.get("mem"), per_user.get("mem")),
        grp_jobs=row.grp_jobs,
        max_jobs=row.max_jobs_per_user,
        max_submitted=_least(row.grp_submit, row.max_submit_per_user),
    )


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
