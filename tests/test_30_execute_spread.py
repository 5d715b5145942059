"""How many ranks of a task are started where a cluster is smaller than was planned for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.execute.choose import ranks_that_fit
from s4c_hpc.execute.limits import Most

GIB = 1 << 30
TWO_NODES = Most(cpus=8, mem_bytes=8 * GIB, nodes=((2, 4, 4 * GIB),))


@pytest.mark.parametrize(
    ("ranks", "gib_each", "most", "expected"),
    [
        (8, 0.5, TWO_NODES, 8),
        (6, 0.5, TWO_NODES, 6),
        (64, 0.5, TWO_NODES, 8),  # cores
        (8, 1.5, TWO_NODES, 4),  # memory: two on a node of 4 GiB
        (8, 3.0, TWO_NODES, 2),
        (8, 9.0, TWO_NODES, 1),  # fits nowhere: one rank asks, and is refused with its reason
        (8, 1.5, Most(cpus=8, mem_bytes=8 * GIB), 5),  # a partition of its own: one node
    ],
)
def test_ranks_are_as_many_as_nodes_have_room_for(ranks: int, gib_each: float, most: Most, expected: int) -> None:
    each = int(gib_each * GIB)
    assert ranks_that_fit(ranks, ranks * each, most) == (expected, expected * each)


@given(
    ranks=st.integers(1, 64),
    each=st.integers(1 << 20, 8 * GIB),
    nodes=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 16), st.integers(GIB, 64 * GIB)), min_size=1, max_size=3
    ),
    classes=st.lists(st.integers(1 << 24, 256 * GIB), max_size=6, unique=True),
)
def test_no_rank_gets_less_than_its_share(
    ranks: int, each: int, nodes: list[tuple[int, int, int]], classes: list[int]
) -> None:
    most = Most(
        cpus=sum(n * cpus for n, cpus, _ in nodes), mem_bytes=sum(n * mem for n, _, mem in nodes), nodes=tuple(nodes)
    )
    found, asked = ranks_that_fit(ranks, ranks * each, most, tuple(sorted(classes)))
    assert 1 <= found <= ranks
    assert asked >= found * each
    if found > 1:
        assert sum(n * min(cpus, mem // -(-asked // found)) for n, cpus, mem in nodes) >= found
