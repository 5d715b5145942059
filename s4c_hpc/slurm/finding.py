"""What ``s4c slurm check`` knows and says: the survey of a cluster, and a line of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from s4c_hpc.core.errors import S4cError
from s4c_hpc.slurm.partitions import Partition
from s4c_hpc.slurm.rows import AssociationRow, ClusterLimits, NodeRow, QosRow


class Verdict(StrEnum):
    """Of one item."""

    OK = "ok"
    UNTRIED = "not tried"
    WARNING = "warning"
    """It works, but not as well or not as safely as it could."""
    WRONG = "wrong"
    """Jobs would be refused, wait for ever, or be killed: profile or cluster has to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A line of the table."""

    item: str
    profile: str
    cluster: str
    verdict: Verdict
    hint: str
    """What to do about it; empty where nothing is to be done."""


def finding(item: str, profile: str, cluster: str, *, wrong: str = "", warning: str = "") -> Finding:
    """A line whose verdict follows from the hints that are given; ``wrong`` outweighs ``warning``."""
    verdict = Verdict.WRONG if wrong else Verdict.WARNING if warning else Verdict.OK
    return Finding(item=item, profile=profile, cluster=cluster, verdict=verdict, hint=wrong or warning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a cluster says of itself and of the user who asks."""

    user: str
    versions: Mapping[str, str | None]
    """Of each Slurm program; ``None``: not installed here."""
    limits: ClusterLimits
    partitions: Sequence[Partition]
    nodes: Sequence[NodeRow]
    associations: Sequence[AssociationRow] | None
    """Of the user on this cluster; ``None``: accounting is off or does not answer."""
    qos: Mapping[str, QosRow] | None
    accounting_trouble: str
    """Why these two are unknown though there is accounting; empty if they are known."""
    mpi: frozenset[str] | None
    """Plugins of srun; ``None``: it does not tell."""
    trials: Mapping[str, S4cError | None]
    """Why sbatch would refuse the largest job of a stage; ``None``: it would take it."""
