"""What the driver last saw in the queue, kept for ``s4c status``, which then need not ask Slurm."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.execute.slurm_budget import Refusal
from s4c_hpc.plan import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLine:
    """Elements of one stage that stand alike."""

    stage: str
    qos: str
    state: str
    """``pending``, ``running`` or ``unknown`` (Slurm does not answer)."""
    reason: str
    """Why they wait, in Slurm's word."""
    elements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """The queue at one moment."""

    lines: tuple[QueueLine, ...] = ()
    trouble: str = ""
    """Why Slurm could not be asked, if so."""
    missing: Mapping[str, float] = field(default_factory=dict)
    """Attempts that neither the queue nor the accounting knows, and since when: seconds since 1970."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By stage, what sbatch has lately not taken."""
    silent_at: float = 0.0
    """When Slurm last gave no answer, in seconds since 1970."""
    interval_s: float = 0.0
    """Pause after which the next view is due."""
    t: float = field(default_factory=time.time)


def write_view(run: RunFolder, view: QueueView) -> None:
    """Keep a view; the one before is replaced."""
    write_text(_path(run), canonical_json(asdict(view)))


def read_view(run: RunFolder) -> QueueView | None:
    """The last view of a run, or ``None`` if there was none."""
    try:
        values = json.loads(_path(run).read_bytes())
        refusals = {stage: Refusal(**refusal) for stage, refusal in values["refusals"].items()}
        lines = tuple(QueueLine(**line) for line in values["lines"])
        return QueueView(**{**values, "lines": lines, "refusals": refusals})
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _path(run: RunFolder) -> Path:
    return run.root / "queue.json"
