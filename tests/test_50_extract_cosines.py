"""Cosines of angles per pixel: interpolated as directions, known up to the edge of the swath."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s4c_hpc.catalog.angles import COSINES, Angles
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract import Cells, RowRanges
from s4c_hpc.extract.cosines import CosineReader

N, RES, STEP = 120, 10.0, 500.0
GRID = Grid(crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, res_m=RES, width=N, height=N)
NODES = 4
"""1500 m of nodes for 1200 m of pixels."""


def whole(grid: Grid = GRID) -> Cells:
    """Every pixel of the grid, in two runs a row."""
    row = np.repeat(np.arange(grid.height, dtype=np.int32), 2)
    half = np.tile(np.array([0, grid.width // 3], np.int32), grid.height)
    return Cells(grid, row, half, np.tile(np.array([grid.width // 3, grid.width], np.int32), grid.height))


def angles(**changed: NDArray[np.float64]) -> Angles:
    down, right = np.mgrid[:NODES, :NODES].astype(float)
    nodes = {
        "sun_zenith": 40 + right,
        "sun_azimuth": 150 + 2 * down,
        "view_zenith": 4 + down + right / 2,
        "view_azimuth": 100 + 10 * right,
    }
    return Angles(ulx=GRID.ulx, uly=GRID.uly, step_m=STEP, **{**nodes, **changed})


def cosines(given: Angles, cells: Cells | None = None) -> dict[str, NDArray[np.float64]]:
    cells = whole() if cells is None else cells
    reader, everything = CosineReader(given, cells), RowRanges.single(0, cells.n_cells)
    shape = (cells.grid.height, cells.grid.width)
    return {name: reader.read(name, everything).reshape(shape) for name in COSINES}


def test_between_four_nodes_the_direction_is_the_weighted_mean() -> None:
    given = angles()
    found = cosines(given)
    i, j = 62, 88  # centres at 625 m and 885 m: nodes 1 and 2, shares of 0.25 and 0.77
    corners = given.vectors()[1:3, 1:3]
    share = np.outer([0.75, 0.25], [1 - 0.77, 0.77])[..., None]
    vector = (corners * share).sum(axis=(0, 1))
    sun, view = vector[:3] / np.linalg.norm(vector[:3]), vector[3:] / np.linalg.norm(vector[3:])
    assert found["cosSZA"][i, j] == pytest.approx(sun[2], rel=1e-14)
    assert found["cosVZA"][i, j] == pytest.approx(view[2], rel=1e-14)
    relative = np.dot(sun[:2], view[:2]) / np.linalg.norm(sun[:2]) / np.linalg.norm(view[:2])
    assert found["cosRAA"][i, j] == pytest.approx(relative, rel=1e-13)
    # And close to what the angles themselves, interpolated, would give.
    assert found["cosSZA"][i, j] == pytest.approx(np.cos(np.radians(41.77)), abs=1e-4)
    assert found["cosVZA"][i, j] == pytest.approx(np.cos(np.radians(4 + 1.25 + 1.77 / 2)), abs=1e-4)
    assert found["cosRAA"][i, j] == pytest.approx(np.cos(np.radians(152.5 - 117.7)), abs=2e-3)


def test_north_is_between_350_and_10_degrees() -> None:
    azimuth = np.tile([350.0, 10.0, 350.0, 10.0], (NODES, 1))
    found = cosines(angles(view_azimuth=azimuth, sun_azimuth=np.zeros((NODES, NODES))))
    assert found["cosRAA"].min() > 0.98
    assert found["cosRAA"][0, 24:26] == pytest.approx([1.0, 1.0], abs=1e-4)


def test_pixels_beside_unseen_nodes_take_the_directions_that_were_seen() -> None:
    """The swath ends between nodes 1 and 2: imagery may reach beyond the last node that has a direction."""
    unseen = np.full((NODES, NODES), 6.0)
    unseen[:, 2:] = np.nan
    found = cosines(angles(view_zenith=unseen))
    seen = np.isfinite(found["cosVZA"])
    assert seen[:, :100].all()
    assert not seen[:, 100:].any()  # beyond 1000 m both nodes are unseen
    np.testing.assert_allclose(found["cosVZA"][:, 50:100], np.cos(np.radians(6)), rtol=1e-3)
    assert np.array_equal(np.isnan(found["cosRAA"]), ~seen)
    assert np.isfinite(found["cosSZA"]).all()


def test_one_node_stands_for_all() -> None:
    found = cosines(Angles.constant(40.0, 150.0, 5.0, 100.0))
    for name, angle in (("cosSZA", 40), ("cosVZA", 5), ("cosRAA", 50)):
        np.testing.assert_allclose(found[name], np.cos(np.radians(angle)), rtol=1e-14)


def test_a_sensor_in_the_zenith_has_no_azimuth() -> None:
    found = cosines(Angles.constant(40.0, 150.0, 0.0, 0.0))
    assert np.all(found["cosVZA"] == 1.0)
    assert np.all(found["cosRAA"] == 0.0)


def test_any_ranges_of_any_cells_give_the_same_pixels() -> None:
    cells = Cells(
        GRID,
        np.array([3, 3, 50, 119], np.int32),
        np.array([0, 70, 10, 118], np.int32),
        np.array([20, 71, 110, 120], np.int32),
    )
    rows = np.repeat(cells.row, cells.c1 - cells.c0)
    places = np.concatenate([np.arange(a, b) for a, b in zip(cells.c0, cells.c1, strict=True)])
    everything, reader = cosines(angles()), CosineReader(angles(), cells)
    for ranges in (
        RowRanges.single(0, cells.n_cells),
        RowRanges.single(19, 22),
        RowRanges(np.array([5, 60]), np.array([21, 123])),
        RowRanges.covering(np.empty(0, np.int64)),
    ):
        chosen = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in ranges)])
        for name in COSINES:
            expected = everything[name][rows[chosen], places[chosen]]
            assert reader.read(name, ranges).tobytes() == expected.tobytes()


def test_pixels_of_another_size_lie_in_the_same_place() -> None:
    coarse = Grid(crs=GRID.crs, ulx=GRID.ulx, uly=GRID.uly, res_m=30.0, width=40, height=40)
    fine, large = cosines(angles()), cosines(angles(), whole(coarse))
    for name in COSINES:
        np.testing.assert_allclose(large[name], fine[name][1::3, 1::3], rtol=1e-14)
