"""Neighbours that certainly share no area: never wrong, and right about ordinary borders."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.parcels.apart import certainly_apart

CORNERS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=7)


def decided(*polygons: Any) -> list[bool]:
    """Of each pair in turn."""
    wkb = pa.array(shapely.to_wkb(np.array(polygons, dtype=object)), pa.large_binary())
    pairs = np.array(list(itertools.combinations(range(len(polygons)), 2)))
    found: list[bool] = certainly_apart(wkb, pairs[:, 0], pairs[:, 1], worth_it=0).tolist()
    return found


@given(st.lists(CORNERS, min_size=2, max_size=6))
def test_it_never_calls_apart_what_overlaps(corners: list[list[tuple[int, int]]]) -> None:
    # Whole coordinates make shared corners, shared edges and corners on edges the rule.
    valid = [shapely.make_valid(shapely.Polygon(c), method="structure", keep_collapsed=False) for c in corners]
    polygons = [p for p in valid if p.geom_type in {"Polygon", "MultiPolygon"} and not p.is_empty]
    if len(polygons) < 2:
        return
    for is_apart, (a, b) in zip(decided(*polygons), itertools.combinations(polygons, 2), strict=True):
        assert not (is_apart and a.intersection(b).area > 0)


def test_neighbours_along_a_border_are_apart_however_their_rings_turn() -> None:
    west = shapely.Polygon([(0, 0), (5, 0), (6, 3), (4, 6), (5, 9), (0, 9)])
    east = shapely.Polygon([(5, 0), (9, 0), (9, 9), (5, 9), (4, 6), (6, 3)])
    assert decided(west, east) == [True]
    assert decided(west.reverse(), east) == [True]
    assert decided(west.reverse(), east.reverse()) == [True]


def test_an_island_in_a_hole_is_apart_and_on_the_ground_is_not() -> None:
    island = shapely.box(3, 3, 6, 6)
    lake = shapely.box(0, 0, 9, 9).difference(island)
    assert decided(lake, island) == [True]
    assert decided(lake, shapely.box(4, 4, 5, 5)) == [True]
    assert decided(shapely.box(0, 0, 9, 9), island) == [False]


def test_the_same_outline_is_not_apart() -> None:
    square = shapely.box(0, 0, 4, 4)
    assert decided(square, square, square.reverse()) == [False, False, False]


def test_a_corner_on_the_border_is_left_to_geos() -> None:
    assert decided(shapely.box(0, 0, 4, 4), shapely.box(4, 1, 8, 3)) == [False]


def test_parts_of_one_parcel_count_each() -> None:
    both = shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(6, 0, 8, 2)])
    assert decided(both, shapely.box(2, 0, 6, 2)) == [True]
    assert decided(both, shapely.box(1, 0.5, 7, 1.5)) == [False]
