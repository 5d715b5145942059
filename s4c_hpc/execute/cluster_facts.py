"""What a run needs to know of its cluster: asked now and then, and kept beside its plan."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.errors import ConfigError, S4cError, SchedulerError
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.log import get_logger
from s4c_hpc.execute.limits import Most
from s4c_hpc.execute.slurm_job import memory_classes
from s4c_hpc.plan import Machine, NodeGroup, QueueLimits, RunFolder
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.errors import SlurmFailed, SlurmUnreachable
from s4c_hpc.slurm.queues import queues
from s4c_hpc.slurm.rows import NodeRow, QosRow

ASK_AGAIN_S = 3600.0
"""Age of what is known at which the cluster is asked again: nodes come and go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster, within what the site profile allows."""

    nodes: tuple[NodeGroup, ...]
    """Of the partition that stages use as a rule."""
    most: Most
    """What a job can have there."""
    most_in: Mapping[str, Most] = field(default_factory=dict)
    """The same of partitions that single stages name."""
    limits: Mapping[str, QueueLimits] = field(default_factory=dict)
    """By QoS, of those that have some."""
    cores: int
    """That work is cut for."""
    max_array: int

    @property
    def most_spread(self) -> Most:
        """What ranks that are spread over all nodes may ask for together."""
        most = self.most
        nodes = tuple((group.count, group.cpus, min(group.mem_bytes, most.mem_bytes)) for group in self.nodes)
        return replace(
            most,
            cpus=max(most.cpus, sum(n * cpus for n, cpus, _ in nodes)),
            mem_bytes=max(most.mem_bytes, sum(n * mem_bytes for n, _, mem_bytes in nodes)),
            nodes=nodes,
        )

    def most_of(self, site: Slurm) -> dict[str, Most]:
        """What a job can have, of stages that are sent to a partition of their own."""
        return {
            stage: self.most_in[own.partition]
            for stage, own in site.stages.items()
            if own.partition is not None and own.partition in self.most_in
        }

    def most_for(self, site: Slurm, stage: str) -> Most:
        """What a job of a stage can have."""
        return self.most_of(site).get(stage, self.most)

    def machine(self, site: Slurm, stages: Sequence[str]) -> Machine:
        """What schedules are simulated on.

        Parameters
        ----------
        stages : names of all that are planned
        """
        classes = tuple(size + int(site.memory_overhead) for size in memory_classes(site))
        return Machine.cluster(site, self.nodes, self.limits, tuple(stages), classes)


def known_cluster(run: RunFolder) -> Cluster | None:
    """What was found last, or ``None`` if nobody has asked yet."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return _adapter().validate_json(_path(run).read_bytes())
    return None


def cluster_of(run: RunFolder, client: SlurmClient, site: Slurm) -> Cluster:
    """What is known of the cluster; it is asked if need be. Errors as of ``ask_cluster``, if nothing is known yet."""
    known = known_cluster(run)
    if known is None:
        found = ask_cluster(client, site)
    elif abs(time.time() - _path(run).stat().st_mtime) < ASK_AGAIN_S:  # clocks of file servers differ
        return known
    else:
        found = _asked_again(known, client, site)
    keep_cluster(run, found)
    return found


def keep_cluster(run: RunFolder, found: Cluster) -> None:
    """Keep what was found; it is believed for ``ASK_AGAIN_S``."""
    write_text(_path(run), canonical_json(asdict(found)))


def _asked_again(known: Cluster, client: SlurmClient, site: Slurm) -> Cluster:
    try:
        found = ask_cluster(client, site)
    except S4cError as error:  # jobs that are there go on; the next time in an hour
        get_logger("driver").warning("the cluster as it was is believed", reason=str(error))
        return known
    # A large node that is drained may come back: jobs for it wait, rather than that their tasks are refused for good.
    in_others = {name: _larger(most, known.most_in.get(name, most), site) for name, most in found.most_in.items()}
    return replace(found, most=_larger(found.most, known.most, site), most_in=in_others)


def _larger(now: Most, before: Most, site: Slurm) -> Most:
    mem_bytes = max(now.mem_bytes, before.mem_bytes)
    return replace(now, cpus=max(now.cpus, before.cpus), mem_bytes=min(mem_bytes, site.max_memory or mem_bytes))


def ask_cluster(client: SlurmClient, site: Slurm) -> Cluster:
    """What the cluster has, within what the site profile allows.

    Raises
    ------
    ConfigError
        If there is no such partition.
    SchedulerError
        If the partition has no node that could take a job.
    SlurmMissing, SlurmUnreachable, SlurmFailed
        If there is no answer.
    """
    nodes = _nodes(client, site.partition, "slurm.partition")
    others = {name: f"slurm.stages.{stage}.partition" for stage, own in site.stages.items() if (name := own.partition)}
    limits = client.limits()
    return Cluster(
        nodes=node_groups(nodes),
        most=_most(nodes, site),
        most_in={name: _most(_nodes(client, name, where), site) for name, where in sorted(others.items())},
        limits=_queue_limits(client, site),
        cores=site.cores or sum(node.cpus for node in nodes),
        max_array=min(limits.max_array, site.max_array or limits.max_array),
    )


def _nodes(client: SlurmClient, partition: str | None, where: str) -> list[NodeRow]:
    rows = client.nodes(partition)
    if not rows and partition is not None:
        there = ", ".join(sorted({row.partition for row in client.nodes()}))
        raise ConfigError(
            f"there is no partition {partition!r} with nodes that you may use",
            where=where,
            hint=f"partitions here: {there or 'none'}",
        )
    nodes = [row for row in rows if row.is_usable and (partition is not None or row.is_default_partition)]
    if not nodes:
        raise SchedulerError(
            f"no node of partition {partition or '(default)'} can take jobs",
            where="sinfo",
            hint="see 'sinfo -R'; 's4c slurm check' compares the site profile with the cluster",
        )
    return nodes


def _most(nodes: Sequence[NodeRow], site: Slurm) -> Most:
    times = [node.max_time_s for node in nodes if node.max_time_s is not None]
    if site.max_minutes is not None:
        times.append(site.max_minutes * 60)
    mem_bytes = max(node.mem_bytes for node in nodes)
    return Most(
        cpus=max(node.cpus for node in nodes),
        mem_bytes=min(mem_bytes, site.max_memory or mem_bytes),
        walltime_s=min(times, default=None),
    )


def node_groups(nodes: Sequence[NodeRow]) -> tuple[NodeGroup, ...]:
    """Equal nodes together, the largest first."""
    counts = Counter((node.mem_bytes, node.cpus) for node in nodes)
    return tuple(
        NodeGroup(count=count, cpus=cpus, mem_bytes=mem_bytes)
        for (mem_bytes, cpus), count in sorted(counts.items(), reverse=True)
    )


def _queue_limits(client: SlurmClient, site: Slurm) -> dict[str, QueueLimits]:
    """Of each QoS as the cluster has them; where it has no accounts, none hold."""
    if not any(queue.qos for queue in queues(site).values()):
        return {}
    try:
        return {row.name: queue_limits(row) for row in client.qos()}
    except (SlurmFailed, SlurmUnreachable):
        return {}


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


@cache
def _adapter() -> TypeAdapter[Cluster]:
    return TypeAdapter(Cluster)


def _path(run: RunFolder) -> Path:
    return run.root / "cluster.json"
