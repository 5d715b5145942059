"""What Slurm says, as values: a row of each of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from s4c_hpc.slurm.ending import Ending, ending_of


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """squeue's line of a job or of an array element."""

    name: str
    index: int | None
    """Index in the array; None for a job that is none, and for an array that ended before it began."""
    state: str
    """In Slurm's long word, e.g. ``PENDING``."""
    reason: str
    """Why it waits or how it failed, in Slurm's word, e.g. ``QOSGrpMemLimit``; "" when there is none."""
    job_id: int
    """Of this element; that of the array while the element waits. Slurm gives ids out again: no identity."""
    array_id: int
    comment: str
    qos: str
    partition: str
    account: str
    nodes: str
    submit: float | None
    """Seconds since 1970, as the next."""
    start: float | None
    """When it began, or is expected to begin."""

    @property
    def ending(self) -> Ending | None:
        """None while it is there."""
        return ending_of(self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountingRow:
    """sacct's line of a job, of an array element, or of a step of these."""

    name: str
    """Of the job, also for a step."""
    index: int | None
    job_id_raw: int
    step: str
    """"" for the job itself; "batch" for its script, "0", "1", ... for what srun started."""
    state: str
    """Without " by <user id>"."""
    state_by: int | None
    """User id of who cancelled it."""
    exit_code: tuple[int, int]
    """Return code and signal."""
    submit: float | None
    """Seconds since 1970, as the next two."""
    start: float | None
    end: float | None
    elapsed_s: int
    max_rss_bytes: int | None
    """Largest sample of resident memory, on lines of steps; not a high-water mark, and none for short steps."""
    req_mem_bytes: int | None
    """Asked for, all nodes together; on the job's line."""
    node_list: str

    @property
    def is_step(self) -> bool:
        """Whether this is a part of a job."""
        return self.step != ""

    @property
    def ending(self) -> Ending | None:
        """None while it is there, as far as the accounts know."""
        return ending_of(self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLimits:
    """Settings of the cluster that a plan has to respect."""

    version: str
    cluster: str
    max_array: int
    """Largest index of an array plus one."""
    max_jobs: int
    """Jobs and array elements that the controller holds, of all users."""
    kill_wait_s: int
    """Between SIGTERM and SIGKILL at the time limit or after scancel."""
    min_job_age_s: int
    """How long squeue remembers ended jobs."""
    has_accounting: bool
    """Whether sacct, QoS and associations work."""
    enforced: frozenset[str]
    """Of associations, limits, qos, ...: what is required of a job at submission."""
    preempt_mode: str
    def_mem_per_cpu_bytes: int | None
    """Given to a job that asks for no memory; None: all of the node."""
    max_mem_per_cpu_bytes: int | None
    """More memory than this a core makes Slurm charge more cores."""
    max_mem_per_node_bytes: int | None
    mpi_default: str
    settings: Mapping[str, str]
    """Everything, as ``scontrol show config`` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node as a member of one partition; a node of two partitions has two rows."""

    name: str
    partition: str
    is_default_partition: bool
    max_time_s: int | None
    """Of the partition; None: no limit."""
    cpus: int
    mem_bytes: int
    state: str
    """E.g. "idle", "mixed", "down*" (the star: does not answer)."""

    @property
    def is_usable(self) -> bool:
        """Whether jobs are sent there: also busy and powered-down nodes, not those that are down or being emptied."""
        state = self.state.rstrip("~#!%$@^-+").lower()
        return state in {"idle", "mixed", "allocated", "completing", "planned", "reserved", "powering_up"}


Tres = Mapping[str, int]
"""Trackable resources: cpu, node, gres/gpu, ... as counts, mem in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QosUse:
    """What runs and waits in a QoS at the moment, of all users."""

    jobs: int
    """Running."""
    submitted: int
    """Running and waiting."""
    tres: Tres


@dataclass(frozen=True, slots=True, kw_only=True)
class QosRow:
    """A QoS: its limits (None or absent: none) and its use (None when the controller does not tell)."""

    name: str
    priority: int
    preempts: tuple[str, ...]
    flags: frozenset[str]
    """With ``DenyOnLimit`` a job over a limit is refused at submission; without, it waits for ever."""
    grp_tres: Tres
    """All running jobs together."""
    grp_jobs: int | None
    grp_submit: int | None
    max_tres_per_job: Tres
    max_wall_s: int | None
    max_tres_per_user: Tres
    max_jobs_per_user: int | None
    max_submit_per_user: int | None
    use: QosUse | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRow:
    """A right of a user to submit: with an account, perhaps in one partition only, in these QoS."""

    cluster: str
    account: str
    partition: str
    """"" for all."""
    qos: tuple[str, ...]
    default_qos: str
    max_jobs: int | None
    max_submit: int | None
    max_wall_s: int | None
