"""What the driver last saw in the queue of the cluster, explained."""

from __future__ import annotations

from dataclasses import dataclass

from s4c_hpc.execute.pending import explain
from s4c_hpc.execute.queue_view import read_view
from s4c_hpc.plan import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueUse:
    """Array elements of one stage that stand alike."""

    stage: str
    qos: str
    """Empty where jobs ask for none."""
    state: str
    """``pending``, ``running`` or ``unknown`` (Slurm does not answer, or has lost sight of them)."""
    reason: str
    """Why they wait, in Slurm's word."""
    elements: int
    explanation: str
    """The reason in plain words; empty if it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """The queue as it was at ``t``."""

    t: float
    """Seconds since 1970."""
    trouble: str
    """Why Slurm could not be asked then, or what sbatch did not take, if so."""
    uses: tuple[QueueUse, ...]


def queue_status(run: RunFolder) -> QueueStatus | None:
    """The last view of a run's jobs, or ``None`` if there was none."""
    view = read_view(run)
    if view is None:
        return None
    return QueueStatus(
        t=view.t,
        trouble=view.trouble,
        uses=tuple(
            QueueUse(
                stage=line.stage,
                qos=line.qos,
                state=line.state,
                reason=line.reason,
                elements=line.elements,
                explanation=explain(line.reason) if line.state == "pending" else "",
            )
            for line in view.lines
        ),
    )
