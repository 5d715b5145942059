"""What tasks of a run have noted: nothing that stopped them, and something that a person should know."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.journal import Done, read_events
from s4c_hpc.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note, and the tasks of a stage that made it."""

    stage: str
    text: str
    tiles: int
    """Tasks that say the same."""


def notes_of(workspace: Workspace, plan: Plan, run: str) -> list[Note]:
    """Notes of the tasks that a run has done, by stage in the order of the plan, the most frequent first.

    Parameters
    ----------
    run : its name, a folder below ``run``
    """
    stage_of = dict(zip(plan.tasks["id"].to_pylist(), plan.tasks["stage"].to_pylist(), strict=True))
    counted: dict[str, Counter[str]] = {stage: Counter() for stage in dict.fromkeys(stage_of.values())}
    for path in sorted((workspace.root / "run" / run / "journal").glob("*.jsonl")):
        for event in read_events(path)[0]:
            if isinstance(event, Done) and event.id in stage_of:
                counted[stage_of[event.id]].update(event.notes)
    return [
        Note(stage=stage, text=text, tiles=n) for stage, notes in counted.items() for text, n in notes.most_common()
    ]
