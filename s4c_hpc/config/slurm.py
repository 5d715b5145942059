"""The site profile: a Slurm cluster as values."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ByteSize, Field, field_validator, model_validator

from s4c_hpc.config.section import Section, Slug


class MemoryMode(StrEnum):
    """How a cluster wants to be told of memory."""

    PER_NODE = "per_node"
    """``--mem``"""
    PER_CPU = "per_cpu"
    """``--mem-per-cpu``, rounded up"""
    NONE = "none"
    """Not at all: whole nodes are given out."""


OneLine = Annotated[str, Field(pattern=r"^[^\r\n\x00]*$")]
"""Text that goes into a batch script: a line break would start a directive or command of its own."""
SlurmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,+@-]+$")]
"""Name of a partition, account or QoS."""


OurQos = Annotated[str, Field(pattern=r"^s4c-[A-Za-z0-9_.-]+$")]
"""Name of a QoS that ``s4c slurm qos`` makes: the prefix keeps it off the site's own."""


class QosChoice(Section):
    """A QoS and the largest job that goes to it."""

    qos: SlurmName = Field(description="Name of the QoS.")
    max_memory: ByteSize | None = Field(None, description="Jobs that ask for more go to the next one listed.")


class StageQueue(Section):
    """Where the jobs of one stage go."""

    qos: SlurmName | tuple[QosChoice, ...] | None = Field(
        None,
        description="QoS, or several by memory, smallest first: [{qos='s1-16g', max_memory='16GiB'}, ...].",
    )
    partition: SlurmName | None = Field(None, description="Instead of slurm.partition.")
    account: SlurmName | None = Field(None, description="Instead of slurm.account.")
    throttle: int | None = Field(
        None, ge=1, description="Most elements of one array that run at a time (--array=...%N)."
    )
    chunk_s: float | None = Field(None, gt=0, description="Instead of slurm.chunk_s.")
    pool: bool = Field(default=False, description="Run its chunks in a pool of dask workers instead of job arrays.")


class SlurmLaunch(Section):
    """How Python is started on a node."""

    python: OneLine | None = Field(None, description="Python with s4c-hpc, as a node sees it; this one when not given.")
    setup: tuple[OneLine, ...] = Field((), description="Shell lines before it, e.g. 'module load python/3.12'.")
    prefix: tuple[OneLine, ...] = Field(
        (), description="Words before it, e.g. ['apptainer', 'exec', '--bind', '/archive:/archive:ro', '/sw/s4c.sif']."
    )


class Mpi(Section):
    """How stages with several ranks are started."""

    launcher: Literal["srun", "mpiexec"] = Field(
        "srun", description="What starts the ranks; mpiexec: the one that PATH of the job finds first."
    )
    plugin: SlurmName | None = Field("pmi2", description="srun --mpi=...; 'srun --mpi=list' shows what the site has.")
    options: tuple[OneLine, ...] = Field((), description="Further words for the launcher.")


class Pool(Section):
    """A pool of dask workers for stages with ``pool = true``."""

    workers: int = Field(4, ge=1, description="Jobs with one worker each.")
    interface: SlurmName | None = Field(
        None, description="Network interface that nodes reach each other by, e.g. 'ib0'."
    )


class QosLimits(Section):
    """Limits of a QoS as ``s4c slurm qos`` sets them; what is not given is not limited."""

    why: OneLine = Field("", description="What it is for: a comment beside its commands.")
    priority: int = Field(0, ge=0, description="Priority of its jobs, weighed by the cluster's PriorityWeightQOS.")
    group_jobs: int | None = Field(None, ge=1, description="Most jobs (array elements) that run at a time.")
    group_cpus: int | None = Field(None, ge=1, description="Most cores of all running jobs together.")
    group_memory: ByteSize | None = Field(None, description="Most memory of all running jobs together.")
    job_memory: ByteSize | None = Field(None, description="Largest job; others are refused when they are submitted.")
    preempts: tuple[SlurmName, ...] = Field((), description="QoS whose jobs may be taken off a node for its jobs.")


class Demand(Section):
    """What one job of a kind needs, to tell how many fit at once (``s4c plan --size``)."""

    cpus: int = Field(1, ge=1, description="Cores.")
    memory: ByteSize = Field(description="Memory, at most.")
    memory_low: ByteSize | None = Field(None, description="Memory of the smallest of its kind, where it varies.")
    source: OneLine = Field("", description="Where the figures come from.")

    @model_validator(mode="after")
    def _in_order(self) -> Demand:
        if not 0 < (self.memory_low or self.memory) <= self.memory:
            raise ValueError("memory must be above 0, and memory_low not above memory")
        return self


DEMANDS: dict[str, Demand] = {
    "s1-pair": Demand(
        cpus=4,
        memory=ByteSize(20 * 1024**3),
        memory_low=ByteSize(10 * 1024**3),
        source="reports of users of the reference system: 10 to 20 GB a pair (SNAP, heap of 12 GB); cores assumed",
    ),
    "gather": Demand(
        memory=ByteSize(1645 * 1024**2),
        source="bound of stage gather: Sentinel-2, a tile full of parcels of 4 ha",
    ),
    "index": Demand(
        memory=ByteSize(5164 * 1024**2),
        source="bound of stage index: 10 m, a tile full of parcels of 4 ha",
    ),
    "mpi-rank": Demand(
        memory=ByteSize(2 * 1024**3), source="assumed: a core and the memory that comes with it on most clusters"
    ),
}
"""What is known of jobs before any has been measured at the site."""


class Slurm(Section):
    """A cluster: what to ask for, what it allows, how to start things there. The heart of a site profile."""

    partition: SlurmName | None = Field(None, description="Of all jobs; the cluster's default when not given.")
    account: SlurmName | None = Field(None, description="Of all jobs; your default account when not given.")
    qos: SlurmName | None = Field(None, description="QoS of stages that name none.")
    stages: dict[Slug, StageQueue] = Field(default_factory=dict, description="By stage name: [slurm.stages.gather].")
    memory: MemoryMode = Field(
        MemoryMode.PER_NODE, description="per_node: --mem; per_cpu: --mem-per-cpu; none: not asked for."
    )
    memory_overhead: ByteSize = Field(
        ByteSize(256 * 1024**2),
        description="Asked for above the bound of a task: mapped files, which some clusters count.",
    )
    max_memory: ByteSize | None = Field(None, description="Largest job; that of the largest node when not given.")
    max_minutes: int | None = Field(None, ge=1, description="Longest job; the partition's limit when not given.")
    max_array: int | None = Field(None, ge=1, description="Largest array; the cluster's MaxArraySize when not given.")
    max_submitted: int = Field(
        2000,
        ge=1,
        description="Array elements of a run that may be in the queue together; one stage gets at most half of them.",
    )
    throttle: int | None = Field(
        None, ge=1, description="Most elements of one array that run at a time (--array=...%N)."
    )
    cores: int | None = Field(None, ge=1, description="Cores to cut work for; those of the partition when not given.")
    chunk_s: float = Field(300.0, gt=0, description="Predicted seconds of work in an array element, at most.")
    min_chunk_s: float = Field(
        30.0, ge=0, description="Shorter elements are not made while there is more work of a kind."
    )
    start_s: int = Field(
        120, ge=0, description="Asked for above the time of the tasks: Python on a cold shared file system."
    )
    poll_s: float = Field(15.0, gt=0, description="Pause between two looks at the queue.")
    tick_s: int = Field(30, ge=1, description="Pause between two ticks of a detached run.")
    forgotten_after_s: float = Field(
        120.0, ge=0, description="A job that is neither queued nor accounted for is given up after this."
    )
    command_timeout_s: float = Field(60.0, gt=0, description="Longest wait for an answer of Slurm.")
    nodes_may_submit: bool = Field(
        default=True, description="Whether sbatch works on nodes: --detach and pools need it."
    )
    export: Literal["NONE", "NIL", "ALL"] = Field(
        "NIL", description="sbatch --export=...: what of your environment jobs get."
    )
    directives_add: tuple[OneLine, ...] = Field((), description="Further sbatch options, e.g. '--constraint=skylake'.")
    directives_drop: tuple[OneLine, ...] = Field(
        (), description="Options of ours that the site forbids, e.g. '--comment'."
    )
    launch: SlurmLaunch = SlurmLaunch()
    mpi: Mpi = Mpi()
    pool: Pool = Pool()
    qos_limits: dict[OurQos, QosLimits] = Field(
        default_factory=dict, description="Limits of QoS named s4c-..., for 's4c slurm qos'."
    )
    demands: dict[Slug, Demand] = Field(
        default_factory=lambda: dict(DEMANDS),
        description="What jobs need, for 's4c plan --size': [slurm.demands.s1-pair].",
    )

    @field_validator("demands")
    @classmethod
    def _over_defaults(cls, value: dict[str, Demand]) -> dict[str, Demand]:
        """A table that names one kind of job changes that kind only."""
        return {**DEMANDS, **value}
