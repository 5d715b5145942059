"""Tasks of a run counted by stage, tile and state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from s4c_hpc.execute.board import Board, State
from s4c_hpc.plan.graph import coded


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """Tasks of one stage on one tile, by state; those done by earlier runs are in ``done``."""

    stage: str
    tile: str
    done: int
    running: int
    waiting: int
    """Handed out or not; see ``RunStatus.waiting``."""
    failed: int
    quarantined: int
    blocked: int


def status_lines(board: Board) -> list[StatusLine]:
    """Tasks by stage in their order, then by tile."""
    tile, tiles = coded(board.tasks["tile"])
    keys = board.stage_code.astype(np.int64) * len(tiles) + tile
    n_keys = len(board.stage_names) * len(tiles)
    table = np.bincount(keys * len(State) + board.state, minlength=n_keys * len(State)).reshape(n_keys, len(State))
    lines = []
    for stage, stage_name in enumerate(board.stage_names):
        for i, name in sorted(enumerate(tiles.to_pylist()), key=lambda pair: str(pair[1])):
            counts = table[stage * len(tiles) + i]
            if counts.any():
                lines.append(
                    StatusLine(
                        stage=stage_name,
                        tile=name,
                        done=int(counts[State.DONE]),
                        running=int(counts[State.RUNNING]),
                        waiting=int(counts[State.WAITING] + counts[State.SUBMITTED]),
                        failed=int(counts[State.FAILED]),
                        quarantined=int(counts[State.QUARANTINED]),
                        blocked=int(counts[State.BLOCKED]),
                    )
                )
    return lines


def stage_lines(lines: Iterable[StatusLine]) -> tuple[StatusLine, ...]:
    """Totals of each stage, in their order; the tile is empty."""
    columns = ("done", "running", "waiting", "failed", "quarantined", "blocked")
    totals: dict[str, dict[str, int]] = {}
    for line in lines:
        total = totals.setdefault(line.stage, dict.fromkeys(columns, 0))
        for name in columns:
            total[name] += getattr(line, name)
    return tuple(StatusLine(stage=stage, tile="", **total) for stage, total in totals.items())
