"""Outlines as flat arrays: the vertices of their bytes, and which certainly are valid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.parcels import checks
from s4c_hpc.parcels.checks import repair, repair_outlines
from s4c_hpc.parcels.flat import certainly_valid, flat
from s4c_hpc.parcels.outlines import Outlines

RINGS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=9)


def packed(*geometry: Any) -> pa.LargeBinaryArray:
    return pa.array(shapely.to_wkb(np.array(geometry, dtype=object)), pa.large_binary())


def test_vertices_are_those_of_shapely() -> None:
    lake = shapely.box(0, 0, 9, 9).difference(shapely.box(3, 3, 6, 6))
    both = shapely.MultiPolygon([lake, shapely.box(20, 0, 30, 5)])
    found = flat(packed(lake, None, both, shapely.Point(1, 2), shapely.Polygon(), shapely.box(1, 1, 2, 2)))
    xy, owner = shapely.get_coordinates(np.array([lake, both, shapely.box(1, 1, 2, 2)]), return_index=True)
    assert np.array_equal(np.column_stack((found.x, found.y)), xy)
    assert np.diff(found.first).tolist() == [10, 0, 15, 0, 0, 5]
    assert np.bincount(owner).tolist() == [10, 15, 5]
    assert found.is_shell.tolist() == [True, False, True, False, True, True]
    assert np.diff(found.rings).tolist() == [5] * 6


@pytest.mark.parametrize("n", [0, 1, 4, 8, 9, 12, 20, 60, 92])
def test_bytes_that_end_early_have_no_vertices(n: int) -> None:
    whole = shapely.to_wkb(shapely.box(0, 0, 1, 1))
    found = flat(pa.array([whole[:n], whole, whole[:n]], pa.large_binary()))
    assert np.diff(found.first).tolist() == [0, 5, 0]


def test_a_slice_of_an_array() -> None:
    boxes = packed(*(shapely.box(i, 0, i + 1, 1) for i in range(5)))
    assert flat(boxes[2:4]).x.min() == 2
    assert certainly_valid(boxes[2:4]).tolist() == [True, True]


@given(st.lists(RINGS, min_size=1, max_size=8))
def test_it_never_calls_valid_what_is_not(corners: list[list[tuple[int, int]]]) -> None:
    polygons = np.array([shapely.Polygon(c) for c in corners])
    sure = certainly_valid(packed(*polygons))
    assert (shapely.is_valid(polygons) | ~sure).all()
    assert (shapely.area(polygons[sure]) > 0).all()


def test_ordinary_outlines_are_known_to_be_valid() -> None:
    rng = np.random.default_rng(1)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
    star = shapely.Polygon(np.column_stack((np.cos(angle), np.sin(angle))) * rng.uniform(5, 9, (40, 1)) + 5e6)
    along = shapely.Polygon([(0, 0), (1, 0), (2, 0), (2, 2), (0, 2), (0, 1)])
    assert certainly_valid(packed(star, star.reverse(), along, shapely.box(0, 0, 0.1, 1e6))).all()


def test_what_is_not_plain_is_left_to_geos() -> None:
    spike = shapely.Polygon([(0, 0), (4, 0), (4, 4), (4, 8), (4, 4), (0, 4)])
    touching = shapely.Polygon([(0, 0), (4, 0), (2, 2), (4, 4), (0, 4), (2, 2)])
    with np.errstate(invalid="ignore"):
        nan = shapely.Polygon([(0, 0), (1, 0), (np.nan, 1), (0, 1)])
        far = shapely.Polygon([(0, 0), (np.inf, 0), (1, 1), (0, 1)])
    twice = shapely.Polygon([(0, 0), (1, 0), (1, 0), (1, 1)])
    long = shapely.Point(0, 0).buffer(10, quad_segs=100)
    flat_one = shapely.Polygon([(0, 0), (1, 0), (2, 0)])
    hole = shapely.box(0, 0, 9, 9).difference(shapely.box(3, 3, 6, 6))
    odd = [spike, touching, nan, far, twice, long, flat_one, hole, shapely.MultiPolygon([hole]), None]
    assert not certainly_valid(packed(*odd)).any()


def test_repair_is_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    delivered = np.array([shapely.Polygon(rng.integers(0, 9, (4, 2))) for _ in range(300)] + [None] * 3)
    unreadable = np.arange(303) == 301
    monkeypatch.setattr(checks, "WORTH_IT", 0)
    found = repair_outlines(Outlines.of(delivered), unreadable)
    expected = repair(delivered, unreadable)
    assert 50 < expected.valid.sum() < 250
    for name in ("valid", "repair", "reason"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    assert shapely.to_wkb(found.outlines[:]).tolist() == shapely.to_wkb(expected.geometry).tolist()
