"""Edges of a plan, and the order of runs."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.plan_schema import PLAN_SCHEMA, tasks_to_batch
from s4c_hpc.core.task import Resources, Task
from s4c_hpc.plan.graph import Graph
from s4c_hpc.plan.run_folder import new_run_id


def chain(needs: list[list[int]]) -> pa.Table:
    """A plan whose row i depends on the rows ``needs[i]``."""
    rows = [
        Task(
            id=f"t{i}",
            stage="s",
            tile="x",
            subject=str(i),
            input_keys=(),
            params="{}",
            depends_on=tuple(f"t{n}" for n in needed),
            outputs=(f"o/{i}",),
            work=1.0,
            bytes_out=1,
            opens_imagery=0,
            resources=Resources(cpus=1, mem_bytes=1, walltime_s=1),
        )
        for i, needed in enumerate(needs)
    ]
    return pa.Table.from_batches([tasks_to_batch(rows)], PLAN_SCHEMA)


graphs = st.integers(0, 12).flatmap(
    lambda n: st.tuples(
        *(st.lists(st.integers(0, max(i - 1, 0)), unique=True, max_size=3 if i else 0) for i in range(n))
    )
)


@given(graphs)
def test_levels_put_every_row_after_what_it_needs(needs: tuple[list[int], ...]) -> None:
    graph = Graph.of(chain(list(needs)))
    seen: set[int] = set()
    for level in graph.levels():
        assert all(set(needs[row]) <= seen for row in level)
        seen.update(level.tolist())
    assert seen == set(range(len(needs)))


@given(graphs, st.randoms(use_true_random=False))
def test_any_needed_and_ancestors_are_what_a_walk_finds(needs: tuple[list[int], ...], random: object) -> None:
    mask = np.asarray([hash((random, i)) % 3 == 0 for i in range(len(needs))], dtype=bool)
    graph = Graph.of(chain(list(needs)))
    assert graph.any_needed(mask).tolist() == [any(mask[n] for n in needed) for needed in needs]
    walked = set(np.flatnonzero(mask).tolist())
    for row in reversed(range(len(needs))):
        if row in walked:
            walked.update(needs[row])
    assert set(np.flatnonzero(graph.ancestors(mask)).tolist()) == walked
    for row, needed in enumerate(needs):
        assert graph.needed_by(row).tolist() == needed


def test_tasks_that_wait_for_each_other_are_a_bug() -> None:
    with pytest.raises(InternalError, match="wait for each other"):
        Graph.of(chain([[1], [0]])).levels()


def test_a_dependency_that_is_not_planned_is_a_bug() -> None:
    with pytest.raises(InternalError, match="not planned: t7") as caught:
        Graph.of(chain([[], [7]]))
    assert caught.value.where == "stage s, x 1"


def test_run_ids_are_uuids_that_sort_by_time_even_if_the_clock_goes_back() -> None:
    ids = [new_run_id()]
    for _ in range(200):
        ids.append(new_run_id(after=ids[-1]))  # far ahead of the clock: 200 in less than 200 ms
    assert ids == sorted(set(ids))
    assert {uuid.UUID(i).version for i in ids} == {7}
    assert {uuid.UUID(i).variant for i in ids} == {uuid.RFC_4122}
