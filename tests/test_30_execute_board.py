"""The board of a run and the choice of what starts next: pure, so tried with many histories."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.probe_stage import PROBES
from support.runs import GIB, probe_config, probe_workspace
from test_30_execute_fold import end

from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.choose import choose_chunks
from s4c_hpc.execute.journal import Begin, Failed, Kind, TaskEvent
from s4c_hpc.execute.local import local_cut
from s4c_hpc.execute.local_budget import LocalBudget
from s4c_hpc.execute.manifest import Chunk, next_wave, wave_of
from s4c_hpc.plan import Plan, make_plan

MAX_ATTEMPTS = 3


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    workspace = probe_workspace(tmp_path_factory.mktemp("board"), products=["a", "b", "c", "d"])
    return make_plan(workspace, probe_config(), registry=PROBES)


def board_of(plan: Plan) -> Board:
    return Board(plan.tasks, plan.status, plan.estimates, MAX_ATTEMPTS)


def row_of(board: Board, name: str) -> int:
    return next(row for row in range(len(board.state)) if board.name(row) == name)


def choose(
    board: Board,
    in_flight: Sequence[Chunk] = (),
    *,
    slots: int = 2,
    memory_bytes: int = 4 * GIB,
    now: float = 1e12,
    wave: str = "000001",
    **cut: Any,
) -> list[Chunk]:
    """What a machine takes now, all waves in one list."""
    budget = LocalBudget.of(slots, memory_bytes, in_flight)
    wanted = dataclasses.replace(local_cut(slots, memory_bytes), **cut)
    return [chunk for chunks in choose_chunks(board, budget, wanted, now=now, first_wave=wave) for chunk in chunks]


def history(plan: Plan, seed: int) -> tuple[list[Chunk], dict[str, list[TaskEvent]], dict[str, str]]:
    """A run as an executor might have it: chunks, events by journal, and how each task ended."""
    chance = random.Random(seed)
    board = board_of(plan)
    waves: list[Chunk] = []
    journals: dict[str, list[TaskEvent]] = {"driver": []}
    t = 1000.0
    for _ in range(chance.randint(1, 30)):
        chunks = choose(board, wave=next_wave([wave_of(chunk.attempt) for chunk in waves]))
        board.submitted(chunks)
        waves += chunks
        for chunk in chunks:
            events = journals.setdefault(chunk.attempt, [])
            for key, number in zip(chunk.ids, chunk.numbers, strict=True):
                t += 1
                events.append(Begin(id=key, attempt=chunk.attempt, number=number, pid=1, host="h", t=t))
                kind = chance.choice(["done", "done", "input", "internal", "temporary", "resource", "lost"])
                if kind == "lost":
                    lost = Failed(id=key, attempt=chunk.attempt, number=number, kind=Kind.LOST, what="gone", t=t)
                    journals["driver"].append(lost)
                    break
                events.append(end(key, chunk.attempt, kind, number, t))
            board.happened([*events, *journals["driver"]])
            board.ended(chunk.attempt)
    names = {board.name(row): State(board.state[row]).name for row in range(len(board.state))}
    return waves, journals, names


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_a_board_is_the_same_whatever_order_journals_are_read_in(plan: Plan, seed: int, order: random.Random) -> None:
    """Another process that opens the run sees all files at once; some twice, if it looks again."""
    waves, journals, expected = history(plan, seed)
    board = board_of(plan)
    board.submitted(waves)
    names = [*journals, *order.sample(list(journals), k=len(journals) // 2)]
    order.shuffle(names)
    for name in names:
        board.happened(journals[name])
    for chunk in waves:
        board.ended(chunk.attempt)
    assert {board.name(row): State(board.state[row]).name for row in range(len(board.state))} == expected


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_no_task_starts_before_what_it_needs_is_settled_nor_more_often_than_allowed(plan: Plan, seed: int) -> None:
    waves, journals, _ = history(plan, seed)
    settled: set[str] = set()
    begun: dict[str, int] = {}
    needs = {row["id"]: row["depends_on"] for row in plan.tasks.to_pylist()}
    failures: dict[str, int] = {}
    events = [event for name in journals if name != "driver" for event in journals[name]]
    lost = journals["driver"]
    blocked: set[str] = set()
    for event in sorted([*events, *lost], key=lambda e: (e.t, not isinstance(e, Begin))):
        if isinstance(event, Begin):
            begun[event.id] = begun.get(event.id, 0) + 1
            assert event.id not in settled
            unsettled = set(needs[event.id]) - settled - blocked
            assert all(set(needs[key]) & (settled | blocked) for key in unsettled)
        elif not isinstance(event, Failed) or event.kind is Kind.INPUT:
            settled.add(event.id)
        else:
            failures[event.id] = failures.get(event.id, 0) + 1
            if failures[event.id] >= MAX_ATTEMPTS:
                settled.add(event.id)
        blocked = {key for key, needed in needs.items() if set(needed) & (settled | blocked)}
    assert max(begun.values()) <= MAX_ATTEMPTS
    assert len({chunk.attempt for chunk in waves}) == len(waves)


def test_a_failure_of_an_old_attempt_does_not_disturb_the_one_that_runs(plan: Plan) -> None:
    board = board_of(plan)
    (old,) = choose(board)
    key = old.ids[0]
    board.submitted([old, dataclasses.replace(old, attempt="000002-0000", numbers=(2,))])
    board.happened([Begin(id=key, attempt="000002-0000", number=2, pid=1, host="h", t=2.0)])
    board.happened([Failed(id=key, attempt="000001-0000", number=1, kind=Kind.INTERNAL, what="late news", t=1.0)])
    board.ended("000001-0000")
    assert board.state[board.row_of[key]] == State.RUNNING
    board.ended("000002-0000")
    assert board.state[board.row_of[key]] == State.WAITING


def test_too_little_memory_is_asked_for_twice_over_next_time(plan: Plan) -> None:
    board = board_of(plan)
    (chunk,) = choose(board)
    key = chunk.ids[0]
    for number, asked in enumerate([GIB, 2 * GIB], start=1):
        attempt = f"00000{number}-0000"
        failed = Failed(id=key, attempt=attempt, number=number, kind=Kind.RESOURCE, what="MemoryError", t=1.0)
        board.happened([failed, failed])
        assert board.mem_bytes[board.row_of[key]] == asked
        (again,) = choose(board, memory_bytes=3 * GIB // 2)
        assert again.mem_bytes == min(asked, 3 * GIB // 2), "never more than there is"
        assert again.numbers == (number + 1,)


def test_a_temporary_failure_is_tried_again_after_a_pause(plan: Plan) -> None:
    board = board_of(plan)
    key = choose(board)[0].ids[0]
    board.happened([Failed(id=key, attempt="000001-0000", number=2, kind=Kind.TEMPORARY, what="busy", t=100.0)])
    assert choose(board, now=101.9) == []
    assert choose(board, now=102.0)[0].numbers == (3,)


def test_a_cancelled_attempt_is_not_counted(plan: Plan) -> None:
    board = board_of(plan)
    key = choose(board)[0].ids[0]
    for _ in range(5):
        board.happened([Failed(id=key, attempt="000001-0000", number=1, kind=Kind.CANCELLED, what="stopped", t=1.0)])
    assert choose(board)[0].numbers == (1,)


def root_done(plan: Plan) -> Board:
    board = board_of(plan)
    (root,) = choose(board)
    board.happened([end(root.ids[0], "000000-0000", "done", 1, 1.0)])
    return board


@pytest.mark.parametrize(
    ("slots", "memory_bytes", "n_chunks"),
    [(1, 4 * GIB, 1), (2, 4 * GIB, 2), (8, 4 * GIB, 4), (8, GIB, 2), (8, GIB - 1, 1), (8, 1, 1)],
)
def test_no_more_cores_or_memory_than_there_are(plan: Plan, slots: int, memory_bytes: int, n_chunks: int) -> None:
    """Four tasks of 512 MiB and one core are ready; asks above the whole budget are capped to it."""
    chunks = choose(root_done(plan), slots=slots, memory_bytes=memory_bytes)
    assert len(chunks) == n_chunks
    assert sum(chunk.mem_bytes for chunk in chunks) <= memory_bytes


def test_what_is_in_flight_counts(plan: Plan) -> None:
    board = root_done(plan)
    first = choose(board, slots=2)
    board.submitted(first)
    assert choose(board, first, slots=2) == []
    assert len(choose(board, first, slots=3, wave="000002")) == 1
    assert choose(board, first, slots=3, memory_bytes=GIB, wave="000002") == []


def test_short_tasks_share_a_chunk_but_leave_work_for_every_core(plan: Plan) -> None:
    board = root_done(plan)
    board.seconds = np.full(len(board.state), 0.01)
    (chunk,) = choose(board, slots=1)
    assert len(chunk.ids) == 2, "half of what is ready"
    board.seconds = np.full(len(board.state), 6.0)
    assert [len(c.ids) for c in choose(board, slots=1)] == [1]


def test_later_stages_come_first_and_longer_tasks_before_shorter(plan: Plan) -> None:
    board = root_done(plan)
    a = row_of(board, "probe-mid 32UPU a")
    board.happened([end(board.tasks["id"][a].as_py(), "000000-0000", "done", 1, 1.0)])
    board.seconds = board.seconds.copy()
    board.seconds[row_of(board, "probe-mid 32UPU c")] = 50.0
    rows = [board.row_of[chunk.ids[0]] for chunk in choose(board, slots=3)]
    assert [board.name(row) for row in rows] == ["probe-leaf 32UPU a", "probe-mid 32UPU c", "probe-mid 32UPU b"]


def test_nothing_ready_nothing_chosen(plan: Plan) -> None:
    board = board_of(plan)
    board.submitted(choose(board))
    assert choose(board) == []
    assert np.asarray(board.ready(1e12)).size == 0


def test_the_sum_runs_without_what_is_missing_and_is_told_why(plan: Plan, tmp_path: Path) -> None:
    board = root_done(plan)
    for name, kind in (("a", "done"), ("b", "input"), ("c", "done"), ("d", "done")):
        row = row_of(board, f"probe-mid 32UPU {name}")
        board.happened([end(board.tasks["id"][row].as_py(), "000000-0000", kind, 1, 5.0)])
        leaf = row_of(board, f"probe-leaf 32UPU {name}")
        if kind == "done":
            board.happened([end(board.tasks["id"][leaf].as_py(), "000000-0000", "done", 1, 6.0)])
        else:
            assert board.state[leaf] == State.BLOCKED
            missing = board.tasks["id"][leaf].as_py()
    (chunk,) = choose(board)
    assert chunk.stage == "probe-sum"
    assert chunk.settled == {missing: "probe-mid 32UPU b is not there: because 5.0"}
