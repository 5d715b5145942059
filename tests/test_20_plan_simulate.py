"""Schedules: small ones by hand, what holds for all of them, and the makespan with its interval."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.plan import (
    Machine,
    NodeGroup,
    Queue,
    QueueLimits,
    Schedule,
    Workload,
    makespan,
    paced,
    remaining,
    simulate,
)
from s4c_hpc.plan.bundles import bundled

GIB = 1 << 30


def workload(tasks: Sequence[tuple[str, float]], edges: tuple[tuple[int, int], ...] = (), **columns: Any) -> Workload:
    """Tasks as (stage, seconds), stages in the order of their names; edges as (waiting row, needed row)."""
    n = len(tasks)
    stages = tuple(sorted({stage for stage, _ in tasks}))
    seconds = np.asarray([s for _, s in tasks], dtype=np.float64)
    pairs = np.asarray(sorted(edges), dtype=np.int64).reshape(-1, 2)
    return Workload(
        stages=stages,
        stage=np.asarray([stages.index(stage) for stage, _ in tasks], dtype=np.int32),
        cpus=np.asarray(columns.get("cpus", [1] * n), dtype=np.int64),
        mem_bytes=np.asarray(columns.get("mem_bytes", [GIB] * n), dtype=np.int64),
        seconds=seconds,
        predicted_s=np.asarray(columns.get("predicted_s", seconds), dtype=np.float64),
        waiting=pairs[:, 0],
        needed=pairs[:, 1],
        tile=np.asarray(columns.get("tile", [0] * n), dtype=np.int32),
        common=np.full(n, columns.get("common", 0.0)),
        noise=np.full(n, columns.get("noise", 0.0)),
    )


def machine(cpus: int = 2, mem_bytes: int = 100 * GIB, nodes: int = 1, **values: Any) -> Machine:
    """Chunks are single tasks and start at once, unless ``values`` say otherwise."""
    group = NodeGroup(count=nodes, cpus=cpus, mem_bytes=mem_bytes)
    return Machine(nodes=(group,), **{"chunk_s": 0.0, "start_overhead_s": 0.0, **values})


def starts(schedule: Schedule) -> list[float]:
    times: list[float] = schedule.start.tolist()
    return times


def test_the_longest_tasks_start_first() -> None:
    schedule = simulate(workload([("a", 1), ("a", 3), ("a", 2), ("a", 2)]), machine(2))
    assert starts(schedule) == [3, 0, 0, 2]
    assert schedule.finish_s == 4
    assert schedule.utilisation == 1.0
    assert schedule.stages == {"a": (0, 4)}


def test_later_stages_come_first_and_wait_for_what_they_need() -> None:
    tasks = [("a", 2), ("a", 2), ("a", 2), ("b", 1), ("c", 1)]
    schedule = simulate(workload(tasks, ((3, 0), (4, 3))), machine(1))
    assert starts(schedule) == [0, 4, 6, 2, 3]
    assert schedule.queues["default"].longest_wait_s == 6


def test_on_one_machine_nothing_overtakes_a_chunk_that_waits_for_memory() -> None:
    tasks = workload([("a", 5), ("b", 4), ("a", 1)], mem_bytes=[6 * GIB, 6 * GIB, GIB])
    assert starts(simulate(tasks, machine(3, 10 * GIB))) == [4, 0, 0]  # less memory first, within a stage
    tasks = workload([("a", 5), ("b", 4), ("a", 1)], mem_bytes=[6 * GIB, 6 * GIB, 7 * GIB])
    assert starts(simulate(tasks, machine(3, 10 * GIB))) == [4, 0, 9]


def test_in_a_queue_smaller_chunks_overtake_and_the_order_is_that_of_submission() -> None:
    tasks = workload([("a", 5), ("b", 4), ("a", 1)], mem_bytes=[6 * GIB, 6 * GIB, 7 * GIB])
    tasks = replace(tasks, mem_bytes=np.asarray([6, 6, 7]) * GIB, cpus=np.asarray([1, 1, 1]))
    assert starts(simulate(tasks, machine(3, 13 * GIB, window=9))) == [0, 0, 4]
    # The window holds one: the later stage is submitted, the others wait outside.
    assert starts(simulate(tasks, machine(3, 100 * GIB, window=1))) == [4, 0, 9]


def test_tasks_are_cut_into_chunks_by_predicted_time_and_a_chunk_runs_in_order() -> None:
    tasks = workload([("a", 4.0)] * 6, predicted_s=[2.0] * 6)
    there = machine(1, chunk_s=6.0, start_overhead_s=1.0)
    schedule = simulate(tasks, there)
    # 12 s predicted on one core: chunks of 6 s, then of 3 s (6 s are left), then of 2 s.
    assert schedule.chunk.tolist() == [0, 0, 0, 1, 2, 3]
    assert starts(schedule) == [1, 5, 9, 14, 19, 24]
    assert schedule.chunk_start.tolist() == [0, 13, 18, 23]
    assert schedule.utilisation == 1.0


def test_short_tasks_share_a_chunk_that_is_worth_starting() -> None:
    schedule = simulate(workload([("a", 1.0)] * 8), machine(8, chunk_s=300.0, min_chunk_s=4.0))
    assert sorted(np.bincount(schedule.chunk).tolist()) == [4, 4]
    assert schedule.finish_s == 4


def test_what_depends_on_a_part_of_a_chunk_need_not_wait_for_the_rest() -> None:
    tasks = workload([("a", 3.0), ("a", 2.0), ("b", 1.0)], ((2, 0),))
    schedule = simulate(tasks, machine(2, chunk_s=300.0, min_chunk_s=60.0))
    assert starts(schedule) == [0, 3, 3]
    assert schedule.finish_s == 5


@pytest.mark.parametrize(
    ("limits", "finish_s"),
    [
        (QueueLimits(), 2),
        (QueueLimits(grp_jobs=1), 8),
        (QueueLimits(max_jobs=2), 4),
        (QueueLimits(grp_cpus=4), 4),
        (QueueLimits(grp_mem_bytes=7 * GIB), 4),
        (QueueLimits(max_submitted=1), 8),
    ],
)
def test_each_limit_of_a_queue_holds_back_its_own_stage_only(limits: QueueLimits, finish_s: float) -> None:
    tasks = workload([("a", 2)] * 4 + [("b", 1)] * 2, cpus=[2] * 4 + [1] * 2, mem_bytes=[3 * GIB] * 6)
    there = machine(10, window=100, queues={"a": (Queue(name="heavy", limits=limits),)})
    schedule = simulate(tasks, there)
    assert schedule.stages == {"a": (0, finish_s), "b": (0, 1)}
    assert schedule.queues["heavy"].chunks == 4
    assert schedule.queues["heavy"].core_s == 16


def test_stages_in_one_queue_share_its_limits_and_size_chooses_among_several() -> None:
    serial = Queue(name="serial", limits=QueueLimits(grp_jobs=1))
    tasks = workload([("a", 2), ("b", 1)])
    assert simulate(tasks, machine(9, window=9, default_queues=(serial,))).finish_s == 3
    small = Queue(name="small", max_mem_bytes=2 * GIB)
    large = Queue(name="large", limits=QueueLimits(grp_jobs=1))
    tasks = workload([("a", 1)] * 4, mem_bytes=[GIB, 2 * GIB, 3 * GIB, 4 * GIB])
    schedule = simulate(tasks, machine(9, window=9, queues={"a": (small, large)}))
    assert sorted(starts(schedule)) == [0, 0, 0, 1]
    assert {name: use.chunks for name, use in schedule.queues.items()} == {"small": 2, "large": 2}


def test_a_throttle_is_that_of_its_stage() -> None:
    tasks = workload([("a", 1)] * 4 + [("b", 1)] * 4)
    assert simulate(tasks, machine(99, window=99, throttle={"a": 2})).stages == {"a": (0, 2), "b": (0, 1)}


def test_a_chunk_needs_room_on_one_node() -> None:
    tasks = workload([("a", 1)] * 4, cpus=[3] * 4)
    assert simulate(tasks, machine(4, nodes=3, window=9)).finish_s == 2  # a core of each node is of no use
    assert simulate(tasks, machine(12, nodes=1, window=9)).finish_s == 1
    assert simulate(workload([("a", 1)], cpus=[99], mem_bytes=[999 * GIB]), machine(4, nodes=3)).finish_s == 1


def test_memory_is_asked_for_in_classes_and_with_what_is_added() -> None:
    tasks = workload([("a", 1)] * 4, mem_bytes=[3 * GIB] * 4)
    assert simulate(tasks, machine(4, 12 * GIB)).finish_s == 1
    assert simulate(tasks, machine(4, 12 * GIB, memory_overhead_bytes=1)).finish_s == 2
    assert simulate(tasks, machine(4, 12 * GIB, memory_classes=(2 * GIB, 6 * GIB))).finish_s == 2


def test_limits_that_admit_nothing_are_told() -> None:
    tight = {"gather": (Queue(name="tiny", limits=QueueLimits(grp_mem_bytes=GIB)),)}
    with pytest.raises(ConfigError, match=r"stage gather ask for 1 cores and 2\.0 GiB.*queue tiny.*wait for ever"):
        simulate(workload([("gather", 1)], mem_bytes=[2 * GIB]), machine(4, window=9, queues=tight))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Workload, Machine]:
    """Up to 40 tasks of three stages, each waiting for some of earlier stages, on some nodes under some limits."""
    n = draw(st.integers(1, 40))
    stages = sorted(draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n)))
    tasks = [(stage, draw(st.sampled_from([0.0, 0.5, 1.0, 2.5, 7.0]))) for stage in stages]
    edges = {
        (i, j)
        for i, j in draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=60))
        if stages[j] < stages[i]
    }
    load = workload(
        tasks,
        tuple(edges),
        cpus=[{"a": 1, "b": 2, "c": 1}[s] for s in stages],
        mem_bytes=[draw(st.integers(1, 4)) * GIB for _ in stages],
        predicted_s=[draw(st.sampled_from([0.5, 2.0])) for _ in stages],
        tile=[i % 3 for i in range(n)],
    )
    some = st.one_of(st.none(), st.integers(2, 6))
    limits = QueueLimits(
        grp_cpus=draw(some),
        grp_mem_bytes=draw(st.sampled_from([None, 4 * GIB, 9 * GIB])),
        grp_jobs=draw(some),
        max_submitted=draw(some),
    )
    there = Machine(
        nodes=(
            NodeGroup(count=draw(st.integers(1, 3)), cpus=4, mem_bytes=8 * GIB),
            NodeGroup(count=1, cpus=2, mem_bytes=5 * GIB),
        ),
        queues={"b": (Queue(name="q", limits=limits),), "c": (Queue(name="q", limits=limits),)},
        throttle={"a": draw(st.integers(1, 5))},
        window=draw(st.sampled_from([None, 1, 3, 50])),
        chunk_s=draw(st.sampled_from([0.0, 3.0, 50.0])),
        start_overhead_s=draw(st.sampled_from([0.0, 0.25])),
    )
    return load, there


def replay(load: Workload, there: Machine, schedule: Schedule) -> None:
    """Hold a schedule against everything that it must respect, at every moment at which a chunk starts."""
    chunks = range(len(schedule.chunk_start))
    rows = [np.flatnonzero(schedule.chunk == c) for c in chunks]
    begin = schedule.chunk_start
    over = np.asarray([schedule.end[r].max() for r in rows])
    cpus = np.asarray([load.cpus[r[0]] for r in rows])
    mem_bytes = np.asarray([load.mem_bytes[r[0]] for r in rows])
    stage = [load.stages[load.stage[r[0]]] for r in rows]
    capacity = [(g.cpus, g.mem_bytes) for g in there.nodes for _ in range(g.count)]
    for r in rows:  # one kind, one after the other
        assert len({(load.stage[i], load.cpus[i], load.mem_bytes[i]) for i in r}) == 1
        own = r[np.lexsort((schedule.end[r], schedule.start[r]))]
        assert (schedule.start[own][1:] >= schedule.end[own][:-1] - 1e-9).all()
    for moment in set(begin):
        now = (begin <= moment) & (over > moment)
        for node, (node_cpus, node_bytes) in enumerate(capacity):
            here = now & (schedule.node == node)
            assert cpus[here].sum() <= node_cpus
            assert mem_bytes[here].sum() <= node_bytes
        in_queue = now & np.isin(stage, ["b", "c"])
        limits = there.queues["b"][0].limits
        assert in_queue.sum() <= min(limits.grp_jobs or 99, limits.max_submitted or 99)
        assert cpus[in_queue].sum() <= (limits.grp_cpus or 99)
        assert mem_bytes[in_queue].sum() <= (limits.grp_mem_bytes or 999 * GIB)
        assert (now & (np.asarray(stage) == "a")).sum() <= there.throttle["a"]
        assert now.sum() <= (there.window or 99)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_every_schedule_respects_dependencies_and_limits_and_the_bounds_of_any_schedule(
    problem: tuple[Workload, Machine],
) -> None:
    load, there = problem
    schedule = simulate(load, there)
    assert schedule.end == pytest.approx(schedule.start + load.seconds)
    assert (schedule.start[load.waiting] >= schedule.end[load.needed] - 1e-9).all()
    replay(load, there, schedule)
    path = np.zeros(len(load))
    for row in range(len(load)):  # rows come after those that they depend on
        needed = load.needed[load.waiting == row]
        path[row] = load.seconds[row] + there.start_overhead_s + path[needed].max(initial=0.0)
    core_s = (load.seconds * load.cpus).sum()
    assert schedule.finish_s >= path.max() - 1e-9
    assert schedule.finish_s >= core_s / there.n_cpus - 1e-9
    # At any moment something runs: no schedule is longer than one task after the other.
    assert schedule.finish_s <= load.seconds.sum() + len(load) * there.start_overhead_s + 1e-9
    assert 0 <= schedule.utilisation <= 1 + 1e-9
    assert simulate(load, there).start.tolist() == starts(schedule)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.1, 50.0), min_size=1, max_size=30), st.integers(1, 6))
def test_independent_tasks_finish_within_four_thirds_of_the_bound(seconds: list[float], cpus: int) -> None:
    """Longest first on equal machines: Graham's bound (1969), with the bound on the optimum in its place."""
    schedule = simulate(workload([("a", s) for s in seconds]), machine(cpus))
    longest_first = sorted(seconds, reverse=True)
    overlap = longest_first[cpus - 1] + longest_first[cpus] if len(seconds) > cpus else 0.0
    optimum = max(sum(seconds) / cpus, longest_first[0], overlap)
    assert schedule.finish_s <= sum(seconds) / cpus + (1 - 1 / cpus) * max(seconds) + 1e-9
    assert schedule.finish_s >= max(sum(seconds) / cpus, longest_first[0]) - 1e-9
    assert optimum <= schedule.finish_s * (1 + 1e-9)


def country(n_tiles: int, n_dates: int, spread: float = 0.2) -> Workload:
    """Of each tile: an index, then for each date an image and its statistics, then a file of all of them."""
    rng = np.random.default_rng(5)
    each = n_tiles * n_dates
    stage = np.repeat([0, 1, 2, 3], [n_tiles, each, each, n_tiles]).astype(np.int32)
    tiles = np.arange(n_tiles)
    index, image = tiles, n_tiles + np.arange(each)
    statistics, file = n_tiles + each + np.arange(each), n_tiles + 2 * each + tiles
    tile = np.r_[tiles, np.repeat(tiles, n_dates), np.repeat(tiles, n_dates), tiles].astype(np.int32)
    waiting = np.r_[image, statistics, np.repeat(file, n_dates)]
    needed = np.r_[np.repeat(index, n_dates), image, statistics]
    order = np.argsort(waiting, kind="stable")
    n = len(stage)
    seconds = np.asarray([5.0, 60.0, 20.0, 10.0])[stage] * np.exp(spread * rng.standard_normal(n))
    return Workload(
        stages=("index", "image", "statistics", "file"),
        stage=stage,
        cpus=np.ones(n, dtype=np.int64),
        mem_bytes=np.full(n, GIB),
        seconds=seconds,
        predicted_s=seconds,
        waiting=waiting[order],
        needed=needed[order],
        tile=tile,
        common=np.full(n, 0.2),
        noise=np.full(n, 0.3),
    )


CLUSTER = machine(32, 192 * GIB, nodes=10, window=2000, chunk_s=300.0, min_chunk_s=30.0, start_overhead_s=5.0)


@pytest.mark.parametrize("n_pieces", [500, 2000])
def test_pieces_hold_the_same_work_and_take_about_as_long(n_pieces: int) -> None:
    load = country(60, 60)
    pieces = load.in_pieces(
        n_pieces, chunk_s=np.full(4, 300.0), overhead_s=0.0, most_at_once=np.full(4, 10, dtype=np.int64)
    )
    assert len(pieces) < 1.5 * n_pieces + 4 * 60
    width = pieces.width
    assert (pieces.seconds * width).sum() == pytest.approx(load.seconds.sum())
    for i in range(4):
        mine = (pieces.seconds * width)[pieces.stage == i].sum()
        assert mine == pytest.approx(load.seconds[load.stage == i].sum())
    exact = simulate(load, CLUSTER).finish_s
    assert makespan(replace(load, common=load.common * 0, noise=load.noise * 0), CLUSTER).seconds == exact
    rough = makespan(replace(load, common=load.common * 0, noise=load.noise * 0), CLUSTER, n_exact=n_pieces)
    assert rough.seconds == pytest.approx(exact, rel=0.2)


def test_a_piece_never_holds_more_than_its_queue_allows() -> None:
    load = country(20, 40)
    serial = Queue(name="serial", limits=QueueLimits(grp_jobs=1))
    there = replace(CLUSTER, default_queues=(serial,))
    exact = simulate(load, there).finish_s
    assert exact >= load.seconds.sum()
    certain = replace(load, common=load.common * 0, noise=load.noise * 0)
    assert makespan(certain, there, n_exact=200).seconds == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("n_tasks", [1000, 5000, 20_000])
@pytest.mark.parametrize("limit", [128 * GIB, None])
def test_pieces_of_large_jobs_fit_as_the_jobs_do(n_tasks: int, limit: int | None) -> None:
    """A piece that is wider than memory allows would wait for ever, and the forecast would refuse what runs."""
    load = workload([("s1", 60.0)] * n_tasks, mem_bytes=np.full(n_tasks, 20 * GIB))
    queue = Queue(name="s1", limits=QueueLimits(grp_mem_bytes=limit))
    there = machine(32, 64 * GIB, nodes=4, default_queues=(queue,), window=2000, chunk_s=300.0, min_chunk_s=60.0)
    expected_s = 60.0 * n_tasks / (12 if limit is None else 6)
    assert makespan(load, there, n_exact=500).seconds == pytest.approx(expected_s, rel=0.1)
    few = bundled(load, there, 100)
    assert makespan(few, there, n_exact=len(few), n_pieces=len(few)).seconds == pytest.approx(expected_s, rel=0.1)


def test_the_interval_holds_the_middle_and_grows_with_doubt() -> None:
    load = country(20, 30)
    certain = replace(load, common=load.common * 0, noise=load.noise * 0)
    doubtful = replace(load, common=np.full(len(load), 0.6))
    spans = [makespan(each, CLUSTER) for each in (certain, load, doubtful)]
    for span in spans:
        assert span.low_s <= span.seconds <= span.high_s
    assert spans[0].low_s == spans[0].high_s == simulate(load, CLUSTER).finish_s
    widths = [span.high_s / span.low_s for span in spans]
    assert widths[0] == 1.0 < widths[1] < widths[2]
    assert 1.2 < widths[1] < 2.0  # stages 0.2 apart; the noise of single tasks averages out
    assert makespan(load, CLUSTER) == spans[1]
    nothing = load.only(np.zeros(len(load), dtype=bool))
    assert makespan(nothing, CLUSTER).high_s == 0.0


def test_a_million_tasks_take_seconds() -> None:
    load = country(3000, 166)
    began = time.process_time()
    span = makespan(load, replace(CLUSTER, nodes=(NodeGroup(count=100, cpus=32, mem_bytes=192 * GIB),), window=4000))
    assert time.process_time() - began < 15
    mean_s = load.seconds.sum() * np.exp(0.3**2 / 2)
    assert span.seconds == pytest.approx(mean_s / 3200, rel=0.2)
    assert span.low_s < mean_s / 3200 * 1.05


def test_what_remains_is_less_and_running_tasks_have_come_some_way() -> None:
    load = replace(workload([("a", 10.0)] * 4 + [("b", 3.0)], ((4, 0), (4, 1))))
    there = machine(2)
    elapsed = np.full(5, np.nan)

    def left(unsettled: list[bool], **running: float) -> float:
        now = elapsed.copy()
        for name, seconds in running.items():
            now[int(name[1:])] = seconds
        return remaining(load, there, unsettled=np.asarray(unsettled), running_elapsed_s=now).seconds

    assert left([True] * 5) == simulate(load, there).finish_s == 23
    assert left([False, False, True, True, True]) == 13
    # Two run since 6 s: 4 s more, then the later stage and a core each for the others.
    assert left([True] * 5, _0=6.0, _1=6.0) == 4 + 3 + 10
    assert left([False] * 4 + [True], _4=2.0) == 1
    assert left([False] * 4 + [True], _4=30.0) == 3.0  # overdue: a tenth of what it has taken
    assert left([False] * 5) == 0


def test_what_remains_is_told_at_once() -> None:
    load = country(600, 83)
    began = time.process_time()
    span = remaining(load, CLUSTER, unsettled=load.stage > 0, running_elapsed_s=np.where(load.tile < 9, 1.0, np.nan))
    assert time.process_time() - began < 3  # a third of a second on a quiet core
    assert 0 < span.low_s < span.high_s


def test_the_pace_measured_so_far_corrects_what_is_left() -> None:
    load = workload([("a", 10.0), ("b", 10.0)], common=0.5)
    measured, expected = np.asarray([3000.0, 0.0]), np.asarray([1000.0, 0.0])
    corrected = paced(load, measured, expected, np.asarray([100.0, 0.0]))
    assert corrected.seconds.tolist() == pytest.approx([30.0, 10.0], rel=0.02)
    assert corrected.common.tolist() == pytest.approx([0.05, 0.5], rel=0.01)
    one = paced(load, np.asarray([9.0, 0.0]), np.asarray([1.0, 0.0]), np.asarray([1.0, 0.0]))
    assert one.seconds.tolist() == pytest.approx([30.0, 10.0])  # one task counts half, in factors


def test_a_site_profile_describes_a_machine() -> None:
    slurm = Slurm.model_validate(
        {
            "qos": "normal",
            "throttle": 50,
            "max_submitted": 700,
            "cores": 640,
            "memory_overhead": "1GiB",
            "stages": {
                "s1": {"qos": [{"qos": "s1-16", "max_memory": "16GiB"}, {"qos": "s1-64"}], "throttle": 4},
                "merge": {"qos": "light"},
            },
        }
    )
    nodes = (NodeGroup(count=20, cpus=32, mem_bytes=192 * GIB),)
    limits = {"s1-64": QueueLimits(grp_mem_bytes=640 * GIB), "normal": QueueLimits(grp_jobs=9)}
    there = Machine.cluster(slurm, nodes, limits, ("s1", "gather", "merge"))
    assert there.n_cpus == there.cores == 640
    assert [(q.name, q.max_mem_bytes) for q in there.queues["s1"]] == [("s1-16", 16 * GIB), ("s1-64", None)]
    assert there.queues["s1"][1].limits == QueueLimits(grp_mem_bytes=640 * GIB)
    assert [q.name for q in there.queues["merge"]] == ["light"]
    assert there.default_queues[0].limits.grp_jobs == 9
    assert (there.throttle, there.window) == ({"s1": 4, "gather": 50, "merge": 50}, 700)
    assert there.asked_bytes(np.asarray([GIB])).tolist() == [2 * GIB]
