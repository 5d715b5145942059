"""What a run needs to know of its cluster: asked once and kept beside its plan."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.rows import NodeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster, within what the site profile allows."""

    cores: int
    largest_cpus: int
    largest_bytes: int
    max_walltime_s: int | None
    max_array: int


def known_cluster(run: RunFolder) -> Cluster | None:
    """What was found when the run began, or ``None`` if nobody has asked yet."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Cluster(**json.loads((run.root / "cluster.json").read_bytes()))
    return None


def cluster_of(run: RunFolder, client: SlurmClient, site: Slurm) -> Cluster:
    """What is known of the cluster; it is asked if need be. Errors as of ``ask_cluster``."""
    if (known := known_cluster(run)) is not None:
        return known
    found = ask_cluster(client, site)
    write_text(run.root / "cluster.json", canonical_json(asdict(found)))
    return found


def ask_cluster(client: SlurmClient, site: Slurm) -> Cluster:
    """What the cluster has, within what the site profile allows.

    Raises
    ------
    SchedulerError
        If the partition has no node that could take a job.
    """
    nodes = usable_nodes(client.nodes(site.partition), site.partition)
    if not nodes:
        raise SchedulerError(
            f"no node of partition {site.partition or '(default)'} can take jobs",
            where="sinfo",
            hint="see 'sinfo -R'; 's4c slurm check' compares the site profile with the cluster",
        )
    limits = client.limits()
    times = [node.max_time_s for node in nodes if node.max_time_s is not None]
    if site.max_minutes is not None:
        times.append(site.max_minutes * 60)
    largest_bytes = max(node.mem_bytes for node in nodes)
    return Cluster(
        cores=site.cores or sum(node.cpus for node in nodes),
        largest_cpus=max(node.cpus for node in nodes),
        largest_bytes=min(largest_bytes, site.max_memory or largest_bytes),
        max_walltime_s=min(times, default=None),
        max_array=min(limits.max_array, site.max_array or limits.max_array),
    )


def usable_nodes(rows: Sequence[NodeRow], partition: str | None) -> list[NodeRow]:
    """Nodes that jobs are sent to: of ``partition``, or of the default one."""
    return [row for row in rows if row.is_usable and (partition is not None or row.is_default_partition)]
