"""A run as it stands, for those who look and change nothing: quick, also where a million tasks are done.

What the history has folded of whole attempts is taken from there, in columns; only the journals of the others are read.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.journal import Closed, Event, Opened, read_events
from s4c_hpc.execute.manifest import Chunk, read_wave, wave_names
from s4c_hpc.execute.state import folded_of
from s4c_hpc.plan import RunFolder
from s4c_hpc.plan.graph import Mask, positions

_COLUMNS = ["id", "attempt", "kind", "wall_s"]
_LAST_LINE = 4096
"""Bytes in which the last event of a journal is found: ``closed`` is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What was seen."""

    board: Board
    open: dict[str, Chunk]
    """Attempts that nobody has closed."""


def look_at(run: RunFolder, max_attempts: int) -> Glance:
    """Read a run; what ``Run.refresh`` would find, without being able to go on.

    Raises
    ------
    pyarrow.ArrowInvalid
        If the plan is damaged.
    """
    folded, ends = folded_of(run, _COLUMNS)
    is_done = np.asarray(pc.equal(folded["kind"], "done"), dtype=bool)
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(_board_with, run, max_attempts, folded, is_done)  # Arrow's work, beside ours on texts
        troubled = set(pc.unique(folded["attempt"].filter(~is_done)).to_pylist())
        events: list[Event] = []
        quiet: set[str] = set()
        for name, path, size in _journals(run):
            if (
                size <= ends.get(name, 0)
                and name not in troubled
                and not name.startswith("driver-")
                and _is_closed(path)
            ):
                quiet.add(name)
            else:
                events += read_events(path)[0]
        chunks = _chunks(run, without=quiet)
        board = opened.result()
    asked = {key for chunk in chunks for key in chunk.ids}
    board.expect(asked.union(event.id for event in events if not isinstance(event, Opened | Closed)))
    board.submitted(chunks)
    board.happened(events)
    closed = {event.attempt for event in events if isinstance(event, Closed)}
    for attempt in closed:
        board.ended(attempt)
    return Glance(board=board, open={chunk.attempt: chunk for chunk in chunks if chunk.attempt not in closed})


def _board_with(run: RunFolder, max_attempts: int, folded: pa.Table, is_done: Mask) -> Board:
    """The board with what the history has of tasks that are done."""
    board = Board.open(run, max_attempts)
    at = positions(folded["id"], board.tasks["id"])
    wanted = is_done & (at >= 0)
    at, first = np.unique(at[wanted], return_index=True)  # a twin may have been done as well
    wall_s = np.asarray(folded["wall_s"])[wanted][first]
    todo = board.planned_todo[at]
    board.were_done(at[todo], wall_s[todo])
    return board


def n_unsettled(board: Board, chunk: Chunk) -> int:
    """Tasks of a chunk that may still be done by it."""
    return sum(board.state_of(key) in {State.SUBMITTED, State.RUNNING} for key in chunk.ids)


def _journals(run: RunFolder) -> list[tuple[str, Path, int]]:
    """Name, path and size of each journal."""
    try:
        with os.scandir(run.journals) as entries:
            found = [(entry.name, Path(entry.path), entry.stat().st_size) for entry in entries]
    except FileNotFoundError:
        return []
    return sorted((name.removesuffix(".jsonl"), path, size) for name, path, size in found if name.endswith(".jsonl"))


def _is_closed(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _LAST_LINE))
        last = stream.read().rstrip(b"\n").rpartition(b"\n")[2]
    return b'"event":"closed"' in last


def _chunks(run: RunFolder, *, without: Collection[str]) -> list[Chunk]:
    """Chunks of all waves in their order, but those of some attempts."""
    return [chunk for name in wave_names(run) for chunk in read_wave(run, name).chunks if chunk.attempt not in without]
