"""How many jobs of each kind fit at once on the nodes at hand, and the site profile that follows from them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from s4c_hpc.config.slurm import Demand, MemoryMode, Slurm
from s4c_hpc.core.atomic import publish_new
from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError, listing
from s4c_hpc.core.text import human_bytes
from s4c_hpc.slurm.partitions import Partition
from s4c_hpc.slurm.rows import ClusterLimits, NodeRow

MEMORY_SHARE = 0.8
"""Of a machine's memory that jobs may have where no scheduler has set the system's share aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine that jobs can be put on."""

    name: str
    cpus: int
    mem_bytes: int
    """What jobs may have of its memory, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How many jobs of one kind fit at once when nothing else runs."""

    kind: str
    cpus: int
    mem_bytes: int
    """Of a job, at most."""
    jobs: int
    """That fit if each needs all of ``mem_bytes``."""
    jobs_low: int
    """That fit if each is of the smallest of its kind; equal to ``jobs`` where memory does not vary."""
    limit: str
    """What ends first: ``cores``, ``memory``, or ``size of a node`` where the largest of the kind fits on none."""
    source: str
    """Where the figures of a job come from."""


def size(nodes: Sequence[Node], demands: Mapping[str, Demand]) -> list[Fit]:
    """How many jobs of each kind fit at once, each kind alone on all nodes.

    Parameters
    ----------
    nodes : (n_nodes,) machines; a job runs on one of them
    demands : what a job of each kind needs
    """
    return [_fit(nodes, kind, demand) for kind, demand in demands.items()]


def _fit(nodes: Sequence[Node], kind: str, demand: Demand) -> Fit:
    by_cores = sum(node.cpus // demand.cpus for node in nodes)

    def at_once(mem_bytes: int) -> int:
        return sum(min(node.cpus // demand.cpus, node.mem_bytes // mem_bytes) for node in nodes)

    jobs = at_once(int(demand.memory))
    limit = "cores" if jobs == by_cores else "memory"
    return Fit(
        kind=kind,
        cpus=demand.cpus,
        mem_bytes=int(demand.memory),
        jobs=jobs,
        jobs_low=at_once(int(demand.memory_low or demand.memory)),
        limit=limit if jobs else "size of a node",
        source=demand.source,
    )


def usable_nodes(rows: Iterable[NodeRow], partition: str | None) -> list[Node]:
    """Nodes of a partition that get work.

    Parameters
    ----------
    rows : of sinfo
    partition : ``None``: every node that gets work in any partition

    Raises
    ------
    NoInputsError
        If there is none.
    """
    listed = [row for row in rows if partition in {None, row.partition}]
    found = {row.name: Node(name=row.name, cpus=row.cpus, mem_bytes=row.mem_bytes) for row in listed if row.is_usable}
    if not found:
        raise NoInputsError(
            f"none of {len(listed)} nodes gets work",
            where="sinfo" if partition is None else f"partition {partition}",
            hint="'sinfo -R' tells why nodes are down; slurm.partition names another partition",
        )
    return list(found.values())


def this_machine(root: Path = Path("/")) -> Node:
    """This machine as a node: its cores and the share of its memory that jobs may have, within limits of cgroups.

    Parameters
    ----------
    root : where ``proc`` and ``sys`` are
    """
    cpus, mem_bytes = len(os.sched_getaffinity(0)), psutil.virtual_memory().total
    quota, limit = _cpu_quota(root), _memory_limit(root)
    return Node(
        name=os.uname().nodename.partition(".")[0],
        cpus=cpus if quota is None else max(1, min(cpus, int(quota))),
        mem_bytes=int(MEMORY_SHARE * (mem_bytes if limit is None else min(mem_bytes, limit))),
    )


def _memory_limit(root: Path) -> int | None:
    """Smallest limit of the control groups that this process is in, in bytes."""
    texts = _limits(root, "memory", "memory.max") + _limits(root, "memory", "memory.limit_in_bytes")
    return min((int(text) for text in texts if text.isdigit()), default=None)


def _cpu_quota(root: Path) -> float | None:
    """Smallest share of cores that the control groups of this process allow; ``None`` without one."""
    pairs = [text.split() for text in _limits(root, "cpu", "cpu.max")]
    quotas, periods = (_limits(root, "cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    pairs += [list(pair) for pair in zip(quotas, periods, strict=False)]
    return min((int(p[0]) / int(p[1]) for p in pairs if p[0].isdigit()), default=None)  # "max" and -1: no limit


def _limits(root: Path, controller: str, file: str) -> list[str]:
    """Contents of ``file`` in the groups of this process and all above, innermost first.

    Inside a container the path in ``/proc/self/cgroup`` may be the host's and not be there: then only what is visible
    at the mount point counts.
    """
    found: list[str] = []
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return found  # no control groups in this system
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":  # version 2
            mounts = ["", "unified"]
        elif controller in controllers.split(","):
            mounts = [controller, controllers]
        else:
            continue
        parts = [part for part in path.split("/") if part not in {"", ".."}]
        for mount in dict.fromkeys(mounts):
            base = root / "sys/fs/cgroup" / mount
            for depth in range(len(parts), -1, -1):
                limit = base.joinpath(*parts[:depth], file)
                if limit.is_file():
                    found.append(limit.read_text(encoding="utf-8").strip())
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What a profile says of a Slurm cluster."""

    partition: str
    max_array: int
    max_minutes: int | None
    memory: MemoryMode


def cluster_facts(site: Slurm, limits: ClusterLimits, partitions: Sequence[Partition]) -> ClusterFacts:
    """What a profile would say of a cluster, for the partition of the profile or the default one.

    Raises
    ------
    ConfigError
        If there is no such partition.
    """
    wanted = [p for p in partitions if (p.is_default if site.partition is None else p.name == site.partition)]
    if not wanted:
        raise ConfigError(
            "the cluster has no default partition" if site.partition is None else "the cluster has no such partition",
            where=f"slurm.partition = {site.partition!r}",
            hint=f"it has {listing([p.name for p in partitions])}",
        )
    shares = wanted[0].shares_memory
    if shares is None:
        shares = "MEMORY" in limits.settings.get("SelectTypeParameters", "").upper()
    return ClusterFacts(
        partition=wanted[0].name,
        max_array=limits.max_array,
        max_minutes=wanted[0].max_minutes,
        # A site that asks for memory by core has said so; how it is asked for cannot be seen from here.
        memory=site.memory if shares else MemoryMode.NONE,
    )


def write_profile(path: Path, text: str) -> None:
    """Write a profile.

    Raises
    ------
    InputError
        If the file is there: it may hold what somebody has filled in.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    if not path.exists():
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        if publish_new(temporary, path):
            return
    raise InputError("the file is there", where=str(path), hint="give another name, or remove it first")


def profile_text(nodes: Sequence[Node], fits: Iterable[Fit], cluster: ClusterFacts | None) -> str:
    """A site profile in TOML, commented, for ``profile = "..."`` in a configuration file.

    Parameters
    ----------
    nodes : machines that get work
    fits : what ``size`` says of them
    cluster : the Slurm cluster that they are of; ``None``: the one node is this machine, without a scheduler
    """
    cores, memory = sum(node.cpus for node in nodes), sum(node.mem_bytes for node in nodes)
    largest = max(node.mem_bytes for node in nodes)
    lines = [
        f"# Site profile, written by 's4c plan --size': {len(nodes)} node(s), {cores} cores, {human_bytes(memory)}.",
        '# Name it at the top of s4c.toml: profile = "..."; what stands in s4c.toml itself goes before it.',
        "# At once, each kind alone:",
        *(f"#   {_sentence(fit)}" for fit in fits),
        "",
        "[execute]",
    ]
    if cluster is None:
        lines += [
            'executor = "local"',
            f"workers = {cores}",
            f'memory = "{_mib(memory)}"   # what tasks may ask for together; the rest is the system\'s',
        ]
        return "\n".join(lines) + "\n"
    lines += [
        'executor = "slurm"',
        "",
        "[slurm]",
        f'partition = "{cluster.partition}"',
        f'memory = "{cluster.memory.value}"',
        f'max_memory = "{_mib(largest)}"   # the largest node',
        f"cores = {cores}   # work is cut for as many",
    ]
    if cluster.max_minutes is not None:
        lines.append(f"max_minutes = {cluster.max_minutes}   # the partition's MaxTime")
    lines.append(f"max_array = {cluster.max_array}   # the cluster's MaxArraySize")
    return "\n".join(lines) + "\n"


def _sentence(fit: Fit) -> str:
    jobs = str(fit.jobs) if fit.jobs == fit.jobs_low else f"{fit.jobs} to {fit.jobs_low}"
    what = f"{fit.cpus} core(s), {human_bytes(fit.mem_bytes)} each"
    return f"{fit.kind}: {jobs}, limited by {fit.limit} ({what}; {fit.source})"


def _mib(n_bytes: int) -> str:
    return f"{n_bytes // 2**20}MiB"
