"""What a run needs to know of its cluster: asked now and then, and kept beside its plan."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.errors import ConfigError, S4cError, SchedulerError
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.log import get_logger
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.rows import NodeRow

ASK_AGAIN_S = 3600.0
"""Age of what is known at which the cluster is asked again: nodes come and go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A cluster, within what the site profile allows."""

    cores: int
    largest_cpus: int
    largest_bytes: int
    max_walltime_s: int | None
    max_array: int


def known_cluster(run: RunFolder) -> Cluster | None:
    """What was found last, or ``None`` if nobody has asked yet."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        return Cluster(**json.loads(_path(run).read_bytes()))
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
    largest_bytes = max(found.largest_bytes, known.largest_bytes)
    return replace(
        found,
        largest_cpus=max(found.largest_cpus, known.largest_cpus),
        largest_bytes=min(largest_bytes, site.max_memory or largest_bytes),
    )


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
    rows = client.nodes(site.partition)
    if not rows and site.partition is not None:
        there = ", ".join(sorted({row.partition for row in client.nodes()}))
        raise ConfigError(
            f"there is no partition {site.partition!r} with nodes that you may use",
            where="slurm.partition",
            hint=f"partitions here: {there or 'none'}",
        )
    nodes = usable_nodes(rows, site.partition)
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


def _path(run: RunFolder) -> Path:
    return run.root / "cluster.json"
