"""Which ready tasks start next, in waves of chunks. Pure but for the budget, which it uses up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from s4c_hpc.execute.board import Board
from s4c_hpc.execute.limits import Most
from s4c_hpc.execute.manifest import Chunk, attempt_name
from s4c_hpc.plan.graph import Rows

MAX_CHUNK_TASKS = 10_000
"""Tasks of a chunk, however short they are: its manifest must stay readable."""


class Room(Enum):
    """What a budget says of one more chunk."""

    YES = "yes"
    NOT_HERE = "not here"
    """Not of this stage and size; of others perhaps."""
    NO = "no"


class Budget(Protocol):
    """What an executor takes now: asked for each chunk in the order of their importance, and used up by each."""

    def take(self, stage: str, cpus: int, mem_bytes: int, seconds: float) -> Room:
        """Set aside what a chunk needs, if there is room for it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How an executor wants ready tasks cut into chunks, and how much one chunk may ask for."""

    cores: int
    """That run at the same time."""
    longest_s: float
    """Predicted seconds of a chunk, at most: short beside a person's patience, and what a kill can cost."""
    shortest_s: float
    """No shorter as long as there are tasks to fill it: long beside the cost of starting one."""
    most: Most
    most_of: Mapping[str, Most] = field(default_factory=dict)
    """Of stages that run elsewhere: in a partition of their own."""
    longest_s_of: Mapping[str, float] = field(default_factory=dict)
    """``longest_s`` of stages that have one of their own."""
    most_spread: Most | None = None
    """Of stages whose ranks may be spread over nodes, all ranks together; ``None``: they stay on one."""
    is_spread: Callable[[str], bool] = lambda _: False
    """Whether the ranks of a stage may."""
    memory_classes: tuple[int, ...] = ()
    """Amounts to ask for, ascending, in bytes: tasks of about one size then share an array. Empty: any amount."""

    def most_for(self, stage: str) -> Most:
        """What a chunk of a stage may ask for."""
        if stage in self.most_of:
            return self.most_of[stage]
        return self.most_spread if self.most_spread is not None and self.is_spread(stage) else self.most


def choose_chunks(board: Board, budget: Budget, cut: Cut, *, now: float, first_wave: str) -> list[list[Chunk]]:
    """Chunks to submit now, those of one stage that ask for the same together in a wave.

    Later stages come first, so that tiles are finished one by one; within a stage the longest tasks do.

    Parameters
    ----------
    now : seconds since 1970
    first_wave : name of the first wave; those after it are numbered on
    """
    waves: list[list[Chunk]] = []
    for rows, cpus, mem_bytes in _groups(board, board.ready(now), cut):
        wave: list[Chunk] = []
        name = f"{int(first_wave) + len(waves):0{len(first_wave)}d}"
        room = Room.YES
        stage = board.stage_names[board.stage_code[rows[0]]]
        longest_walltime_s = cut.most_for(stage).walltime_s or np.iinfo(np.int64).max
        walltime_s = board.walltime_s[rows]
        if cut.is_spread(stage):  # it was reckoned for all ranks that were planned
            walltime_s = np.ceil(walltime_s * (board.cpus[rows] / cpus)).astype(np.int64)
        walltime_s = np.minimum(walltime_s, longest_walltime_s)
        longest_s = cut.longest_s_of.get(stage, cut.longest_s)
        for part in _parts(board.seconds[rows], walltime_s, cut, longest_s, longest_walltime_s):
            room = budget.take(stage, cpus, mem_bytes, float(board.seconds[rows[part]].sum()))
            if room is not Room.YES:
                break
            attempt = attempt_name(name, len(wave))
            wave.append(_chunk(board, rows[part], walltime_s[part], attempt, cpus, mem_bytes))
        if wave:
            waves.append(wave)
        if room is Room.NO:
            break
    return waves


def _groups(board: Board, ready: Rows, cut: Cut) -> Iterator[tuple[Rows, int, int]]:
    """Ready rows of one stage that ask for the same, the longest first, with the cores and memory asked for."""
    if not len(ready):
        return
    stage_code = board.stage_code[ready]
    here = set(stage_code.tolist())
    # Others are not asked for: a stage that is looked at is imported.
    most = [cut.most_for(stage) if code in here else cut.most for code, stage in enumerate(board.stage_names)]
    cpus = np.minimum(board.cpus[ready], np.asarray([m.cpus for m in most])[stage_code])
    mem_bytes = _in_class(board.mem_bytes[ready], cut.memory_classes)
    for code in here:
        if cut.is_spread(board.stage_names[code]):
            for row in np.flatnonzero(stage_code == code):
                planned = int(board.cpus[ready[row]]), int(board.mem_bytes[ready[row]])
                cpus[row], mem_bytes[row] = ranks_that_fit(*planned, most[code], cut.memory_classes)
    mem_bytes = np.minimum(mem_bytes, np.asarray([m.mem_bytes for m in most])[stage_code])
    order = np.lexsort((ready, -board.seconds[ready], mem_bytes, cpus, -board.depth[ready]))
    keys = np.stack([stage_code, cpus, mem_bytes], axis=1)[order]
    starts = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1
    for group in np.split(order, starts):
        yield ready[group], int(cpus[group[0]]), int(mem_bytes[group[0]])


def ranks_that_fit(ranks: int, mem_bytes: int, most: Most, classes: tuple[int, ...] = ()) -> tuple[int, int]:
    """As many of the ranks of a task as nodes have cores and memory for, and what these ask for together, in bytes.

    Fewer ranks need less, for each has its share; no rank ever gets less than that.

    Parameters
    ----------
    mem_bytes : of all ranks that were planned
    classes : amounts that are asked for, see ``Cut``
    """
    each = -(-mem_bytes // ranks)
    found = min(ranks, most.cpus, most.ranks(each))
    while True:
        asked = int(_in_class(np.asarray([found * each]), classes)[0])
        if found == 1 or most.ranks(-(-asked // found)) >= found:
            return found, asked
        found -= 1


def _in_class(mem_bytes: npt.NDArray[np.int64], classes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Amounts rounded up to those that are asked for; as they are where there are none."""
    if not classes:
        return mem_bytes
    known = np.asarray([*classes, np.iinfo(np.int64).max])
    rounded: npt.NDArray[np.int64] = known[np.searchsorted(known, mem_bytes)]
    return rounded


def _parts(
    seconds: npt.NDArray[np.float64],
    walltime_s: npt.NDArray[np.int64],
    cut: Cut,
    longest_s: float,
    longest_walltime_s: int,
) -> Iterator[slice]:
    """Slices of tasks that make a chunk each.

    So many that all cores have two or more, unless the chunks then were shorter than is worth starting.
    """
    target_s = min(max(float(seconds.sum()) / (2 * cut.cores), cut.shortest_s), longest_s)
    predicted = np.r_[0.0, np.cumsum(seconds)]
    asked = np.r_[0, np.cumsum(walltime_s)]
    start = 0
    while start < len(seconds):
        end = int(np.searchsorted(predicted, predicted[start] + target_s * (1 + 1e-9), side="right")) - 1
        room = min(longest_walltime_s, int(asked[-1]))  # the largest integer would overflow
        fits = int(np.searchsorted(asked, asked[start] + room, side="right")) - 1
        end = min(max(min(end, fits), start + 1), start + MAX_CHUNK_TASKS)
        yield slice(start, end)
        start = end


def _chunk(
    board: Board, rows: Rows, walltime_s: npt.NDArray[np.int64], attempt: str, cpus: int, mem_bytes: int
) -> Chunk:
    settled: dict[str, str] = {}
    for row in rows:
        settled |= board.missing_needs(int(row))
    return Chunk(
        attempt=attempt,
        stage=board.stage_names[board.stage_code[rows[0]]],
        ids=tuple(board.tasks["id"][int(row)].as_py() for row in rows),
        numbers=tuple(int(board.attempts[row]) + 1 for row in rows),
        seconds=tuple(walltime_s.tolist()),
        cpus=cpus,
        mem_bytes=mem_bytes,
        settled=settled,
    )
