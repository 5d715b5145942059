"""Where tasks run, as values: nodes, queues with their limits, and the way in which chunks are cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from s4c_hpc.config.slurm import QosChoice, Slurm

LOCAL_CHUNK_S = 10.0
"""Predicted seconds of a chunk on this machine."""
LOCAL_START_S = 0.03
"""From the choice of a chunk to its first task: manifest, hand-over, reading the plan."""
JOB_START_S = 5.0
"""From the start of a job to its first task: Python and its libraries from a shared file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """What the jobs of one queue may have together; ``None`` is no limit."""

    grp_cpus: int | None = None
    """GrpTRES=cpu"""
    grp_mem_bytes: int | None = None
    """GrpTRES=mem"""
    grp_jobs: int | None = None
    """GrpJobs: running at a time."""
    max_jobs: int | None = None
    """MaxJobsPerUser: the same for one user."""
    max_submitted: int | None = None
    """MaxSubmitJobsPerUser: waiting or running."""

    @property
    def running(self) -> int | None:
        """Jobs that may run at a time."""
        return min((n for n in (self.grp_jobs, self.max_jobs) if n is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue (a QoS of Slurm); stages that name the same one share its limits."""

    name: str
    limits: QueueLimits = QueueLimits()
    max_mem_bytes: int | None = None
    """Larger jobs go to the next queue of their stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeGroup:
    """Equal nodes."""

    count: int
    cpus: int
    """Cores of each."""
    mem_bytes: int
    """Memory of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What chunks run on."""

    nodes: tuple[NodeGroup, ...]
    queues: Mapping[str, tuple[Queue, ...]] = field(default_factory=dict)
    """By stage, smallest first."""
    default_queues: tuple[Queue, ...] = (Queue(name="default"),)
    """Of stages that are not in ``queues``."""
    throttle: Mapping[str, int] = field(default_factory=dict)
    """By stage, chunks that run at a time: ``--array=...%N``, as if a stage were one array at a time."""
    window: int | None = None
    """Chunks that may be submitted together; they start in the order in which they were submitted, smaller ones
    overtake (backfill). ``None``: chunks are cut when they start, and nothing overtakes, as on one machine."""
    cores: int | None = None
    """Cores that work is cut for; all by default."""
    chunk_s: float = LOCAL_CHUNK_S
    """Predicted seconds of a chunk, at most (unless one task takes more)."""
    min_chunk_s: float = 0.0
    """Shorter chunks are not cut while there is more work of a kind."""
    memory_classes: tuple[int, ...] = ()
    """Amounts that chunks ask for, ascending, in bytes; empty for any."""
    memory_overhead_bytes: int = 0
    """Asked for above the bound of a task."""
    start_overhead_s: float = LOCAL_START_S
    """From the start of a chunk to its first task."""

    @property
    def n_cpus(self) -> int:
        """Cores of all nodes."""
        return sum(group.count * group.cpus for group in self.nodes)

    def chunk_length_s(self, ready_s: float) -> float:
        """Predicted seconds of a chunk where there is so much work of a kind.

        All cores have two chunks or more, unless chunks were shorter than is worth starting, or too long.
        """
        each = ready_s / (2 * (self.cores or self.n_cpus))
        return min(max(each, self.min_chunk_s), self.chunk_s) * (1 + 1e-9)

    def most_at_once(self, stage: str, cpus: int, mem_bytes: int) -> int:
        """Chunks of a stage that can run side by side where each asks for so much."""
        limits = [self.throttle.get(stage), self.window]
        for queue in self.queues.get(stage, self.default_queues):
            own = queue.limits
            limits += [own.running, own.max_submitted]
            limits += [None if own.grp_cpus is None else own.grp_cpus // max(cpus, 1)]
            limits += [None if own.grp_mem_bytes is None else own.grp_mem_bytes // max(mem_bytes, 1)]
        on_nodes = sum(g.count * min(g.cpus // max(cpus, 1), g.mem_bytes // max(mem_bytes, 1)) for g in self.nodes)
        return min(n for n in (*limits, on_nodes) if n is not None)

    def asked_bytes(self, mem_bytes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What chunks ask for whose tasks have these bounds; (n,) bytes."""
        asked = mem_bytes + self.memory_overhead_bytes
        classes = np.asarray(self.memory_classes, dtype=np.int64)
        above = np.searchsorted(classes, asked)
        return np.where(above < len(classes), np.append(classes, 0)[above], asked)

    @classmethod
    def local(cls, n_workers: int, mem_bytes: int | None = None) -> Machine:
        """This machine with so many workers; memory is no limit by default."""
        return cls(nodes=(NodeGroup(count=1, cpus=max(n_workers, 1), mem_bytes=mem_bytes or 1 << 62),))

    @classmethod
    def cluster(
        cls,
        slurm: Slurm,
        nodes: tuple[NodeGroup, ...],
        limits: Mapping[str, QueueLimits],
        stages: tuple[str, ...],
        memory_classes: tuple[int, ...] = (),
    ) -> Machine:
        """A cluster as a site profile describes it.

        Parameters
        ----------
        nodes : of the partition
        limits : of each QoS that has some, by name
        stages : all that are planned
        memory_classes : see there, the overhead included
        """

        def queue(choice: QosChoice) -> Queue:
            most = None if choice.max_memory is None else int(choice.max_memory)
            return Queue(name=choice.qos, limits=limits.get(choice.qos, QueueLimits()), max_mem_bytes=most)

        default = (queue(QosChoice(qos=slurm.qos or "default")),)
        queues, throttle = {}, {}
        for stage in stages:
            there = slurm.stages.get(stage)
            if there is not None and there.qos is not None:
                choices = (QosChoice(qos=there.qos),) if isinstance(there.qos, str) else there.qos
                queues[stage] = tuple(queue(choice) for choice in choices)
            most = (there and there.throttle) or slurm.throttle
            if most is not None:
                throttle[stage] = most
        return cls(
            nodes=nodes,
            queues=queues,
            default_queues=default,
            throttle=throttle,
            window=slurm.max_submitted,
            cores=slurm.cores,
            chunk_s=slurm.chunk_s,
            min_chunk_s=slurm.min_chunk_s,
            memory_classes=memory_classes,
            memory_overhead_bytes=int(slurm.memory_overhead),
            start_overhead_s=JOB_START_S,
        )
