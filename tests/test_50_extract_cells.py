"""Cells of several grids and the way from one to the other, against plain boolean rasters."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, InternalError
from s4c_hpc.core.grid import Tile
from s4c_hpc.extract import Cells, Mask, Nearest, RowRanges

TILE = Tile(id="T1", crs="EPSG:32632", ulx=0.0, uly=1000.0, width_m=340.0, height_m=210.0)
BASE = TILE.grid(20)  # 17 x 11: neither is a multiple of the three cells that make one of 60 m

kept_cells = arrays(np.bool_, (BASE.height, BASE.width), elements=st.booleans())


def mask_of(kept: NDArray[np.bool_]) -> Mask:
    turn = np.diff(np.pad(kept.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, c0 = np.nonzero(turn == 1)
    c1 = np.nonzero(turn == -1)[1]
    return Mask(
        tile=TILE.id,
        base=BASE,
        row=row.astype(np.int32),
        c0=c0.astype(np.int32),
        c1=c1.astype(np.int32),
        ring_m=0.0,
        parcels_key="",
    )


def burnt(cells: Cells) -> NDArray[np.bool_]:
    found = np.zeros((cells.grid.height, cells.grid.width), dtype=np.bool_)
    for row, c0, c1 in zip(cells.row, cells.c0, cells.c1, strict=True):
        found[row, c0:c1] = True
    return found


def expected(kept: NDArray[np.bool_], res_m: int) -> NDArray[np.bool_]:
    if res_m == 10:
        return np.repeat(np.repeat(kept, 2, axis=0), 2, axis=1)
    if res_m == 20:
        return kept
    padded = np.pad(kept, ((0, -kept.shape[0] % 3), (0, -kept.shape[1] % 3)))
    return np.asarray(padded.reshape(padded.shape[0] // 3, 3, -1, 3).any(axis=(1, 3)))


@pytest.mark.parametrize("res_m", [10, 20, 60])
@given(kept=kept_cells)
def test_cells_are_children_or_touched_parents_in_row_order(res_m: int, kept: NDArray[np.bool_]) -> None:
    cells = mask_of(kept).cells(TILE.grid(res_m))
    assert np.array_equal(burnt(cells), expected(kept, res_m))
    assert cells.n_cells == expected(kept, res_m).sum()
    row, column = np.nonzero(expected(kept, res_m))
    assert np.array_equal(cells.stack_rows(row, column), np.arange(cells.n_cells))


@pytest.mark.parametrize("res_m", [10, 20, 60])
@given(kept=kept_cells)
def test_cells_that_are_not_kept_have_no_stack_row(res_m: int, kept: NDArray[np.bool_]) -> None:
    cells = mask_of(kept).cells(TILE.grid(res_m))
    row, column = np.nonzero(~burnt(cells))
    assert (cells.stack_rows(row, column) == -1).all()
    outside = np.array([-1, 0, cells.grid.height, 0]), np.array([0, -1, 0, cells.grid.width])
    assert (cells.stack_rows(*outside) == -1).all()


@given(kept=kept_cells)
def test_runs_are_as_long_as_can_be(kept: NDArray[np.bool_]) -> None:
    for res_m in (10, 20, 60):
        cells = mask_of(kept).cells(TILE.grid(res_m))
        touching = (np.diff(cells.row) == 0) & (cells.c0[1:] == cells.c1[:-1])
        assert not touching.any()


@pytest.mark.parametrize("fine", [10, 20, 60])
@pytest.mark.parametrize("coarse", [20, 60])
@given(kept=kept_cells, data=st.data())
def test_nearest_in_a_coarser_grid_is_the_parent(
    fine: int, coarse: int, kept: NDArray[np.bool_], data: st.DataObject
) -> None:
    if coarse < fine:
        return
    mask = mask_of(kept)
    a, b = mask.cells(TILE.grid(fine)), mask.cells(TILE.grid(coarse))
    start = data.draw(st.integers(0, a.n_cells))
    stop = data.draw(st.integers(start, a.n_cells))
    chosen = np.random.default_rng(start).permutation(np.arange(start, stop, dtype=np.uint32))
    row, column = np.nonzero(expected(kept, fine))
    parent = b.stack_rows(row // (coarse // fine), column // (coarse // fine))
    assert np.array_equal(Nearest(a, b).rows(chosen), parent[chosen])


@pytest.mark.parametrize(("coarse", "fine"), [(20, 10), (60, 20), (60, 10)])
@given(kept=kept_cells)
def test_nearest_in_a_finer_grid_is_the_central_child_or_the_closest_kept_one(
    coarse: int, fine: int, kept: NDArray[np.bool_]
) -> None:
    mask = mask_of(kept)
    a, b = mask.cells(TILE.grid(coarse)), mask.cells(TILE.grid(fine))
    factor = coarse // fine
    found = Nearest(a, b).rows(np.arange(a.n_cells, dtype=np.uint32))
    children = burnt(b)
    child_row, child_column = np.nonzero(children)
    for row, column, place in zip(*np.nonzero(burnt(a)), found, strict=True):
        i, j = child_row[place] - row * factor, child_column[place] - column * factor
        assert 0 <= i < factor
        assert 0 <= j < factor
        if children[row * factor + factor // 2, column * factor + factor // 2]:
            assert (i, j) == (factor // 2, factor // 2)
        else:
            square = children[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            kept_i, kept_j = np.nonzero(square)
            middle = (factor - 1) / 2
            assert (i - middle) ** 2 + (j - middle) ** 2 == ((kept_i - middle) ** 2 + (kept_j - middle) ** 2).min()


def test_nearest_of_another_mask_is_a_bug() -> None:
    full = mask_of(np.ones((BASE.height, BASE.width), dtype=np.bool_)).cells(TILE.grid(10))
    corner = np.zeros((BASE.height, BASE.width), dtype=np.bool_)
    corner[0, 0] = True
    everything = np.arange(full.n_cells, dtype=np.uint32)
    with pytest.raises(InternalError, match="have no cell at 20m"):
        Nearest(full, mask_of(corner).cells(TILE.grid(20))).rows(everything)
    with pytest.raises(InternalError, match="not within"):
        Nearest(full, full).rows(everything + np.uint32(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"res_m": 40.0}, "pixels of 40 m do not nest"),
        ({"res_m": 30.0}, "does not fall on the tile's"),
        ({"crs": "EPSG:32633"}, "does not fall on the tile's"),
        ({"ulx": 3.0}, "does not fall on the tile's"),
        ({"uly": 1005.0}, "does not fall on the tile's"),
    ],
)
def test_a_foreign_grid_is_told(change: dict[str, Any], message: str) -> None:
    mask = mask_of(np.ones((BASE.height, BASE.width), dtype=np.bool_))
    with pytest.raises(InputError, match=message) as caught:
        mask.cells(dataclasses.replace(TILE.grid(10), **change))
    assert caught.value.where == "tile T1"
    assert caught.value.hint


def test_rows_of_a_stack_do_not_depend_on_the_extent_of_a_product() -> None:
    mask = mask_of(np.ones((BASE.height, BASE.width), dtype=np.bool_))
    part = dataclasses.replace(TILE.grid(10), width=5, height=3, ulx=TILE.ulx + 70, uly=TILE.uly - 30)
    assert mask.cells(part) is mask.cells(TILE.grid(10))


runs = st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 9_000)), max_size=30)


@given(runs=runs)
def test_ranges_cover_every_run_and_little_else(runs: list[tuple[int, int]]) -> None:
    start = np.array([first for first, _ in runs], dtype=np.uint32)
    length = np.array([n for _, n in runs], dtype=np.int32)
    ranges = RowRanges.covering(start, length)
    rows = np.concatenate([np.arange(0), *(np.arange(a, a + n) for a, n in runs)])
    covered = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in ranges)])
    assert np.isin(rows, covered).all()
    assert covered.size == np.unique(covered).size == ranges.n_rows
    assert (np.diff(covered) > 0).all()
    assert np.isin(covered >> 12, rows >> 12).all()  # no page that holds no row
    assert np.array_equal(covered[ranges.local(rows)], rows)
