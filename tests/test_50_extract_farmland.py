"""The farmland mask, against pixels and parcels intersected one by one."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.polygons import TILE, boxes, random_parcels

from s4c_hpc.config import Weighting
from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.extract import Mask, build_index, farmland_mask, read_mask, write_mask
from s4c_hpc.extract.bounds import farmland_cells
from s4c_hpc.extract.farmland import holds, pieces_of
from s4c_hpc.parcels import TileParcels

BASE = TILE.grid(20)
seeds = st.integers(0, 2**32 - 1)


def burnt(mask: Mask) -> NDArray[np.bool_]:
    found = np.zeros((BASE.height, BASE.width), dtype=np.bool_)
    for row, c0, c1 in zip(mask.row, mask.c0, mask.c1, strict=True):
        found[row, c0:c1] = True
    return found


def touched(parcels: NDArray[np.object_]) -> NDArray[np.bool_]:
    found = np.zeros((BASE.height, BASE.width), dtype=np.bool_)
    cells = boxes(BASE)
    for parcel in parcels:
        if parcel is not None:
            found |= shapely.intersects(cells, parcel)
    return found


def dilated(kept: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    found = kept.copy()
    for row, column in zip(*np.nonzero(kept), strict=True):
        found[max(row - n, 0) : row + n + 1, max(column - n, 0) : column + n + 1] = True
    return found


@settings(max_examples=25)
@given(seed=seeds, ring_m=st.sampled_from([0.0, 20.0, 30.0, 40.0, 10_000.0]))
def test_every_touched_cell_and_the_ring_and_nothing_else(seed: int, ring_m: float) -> None:
    parcels = random_parcels(seed, 8)
    mask = farmland_mask(parcels, TILE, ring_m)
    expected = dilated(touched(parcels), int(np.ceil(ring_m / 20)))
    assert np.array_equal(burnt(mask), expected)
    assert mask.n_cells == expected.sum()


@settings(max_examples=15)
@given(seed=seeds)
def test_the_mask_holds_every_pixel_that_an_index_asks_for(seed: int) -> None:
    parcels = random_parcels(seed, 24)
    mask = farmland_mask(parcels, TILE, 0.0)
    new_id, block = np.arange(24, dtype=np.int32), np.zeros(24, dtype=np.int32)
    for res_m in (10, 20, 60):
        cells = mask.cells(TILE.grid(res_m))
        for weighting in Weighting:
            build_index(new_id, block, parcels, cells, weighting, 0.0)  # raises InputError if one is missing


@settings(max_examples=25)
@given(seed=seeds, ring_m=st.sampled_from([0.0, 30.0, 40.0]), n=st.integers(1, 12))
def test_no_more_cells_than_are_reckoned_with(seed: int, ring_m: float, n: int) -> None:
    found = [p for p in random_parcels(seed, n) if p is not None]
    parts = sum(shapely.get_num_geometries(found)) if found else 0
    parcels = TileParcels(
        tile=TILE,
        n_parcels=int(parts),
        n_blocks=1,
        area_m2=sum(p.area for p in found),
        perimeter_m=sum(p.length for p in found),
        key="parcels:abc",
    )
    mask = farmland_mask(np.array([*found, None], dtype=object), TILE, ring_m)
    for res_m in (10, 20, 60):
        assert mask.cells(TILE.grid(res_m)).n_cells <= farmland_cells(parcels, ring_m, res_m)


@given(seed=seeds)
@settings(max_examples=15)
def test_the_order_of_parcels_does_not_matter(seed: int) -> None:
    parcels = random_parcels(seed, 16)
    a, b = farmland_mask(parcels, TILE, 20.0), farmland_mask(parcels[::-1], TILE, 20.0)
    assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("row", "c0", "c1"))


@settings(max_examples=15)
@given(seed=seeds, ring_m=st.sampled_from([0.0, 20.0]))
def test_a_mask_holds_those_whose_every_cell_it_keeps(seed: int, ring_m: float) -> None:
    parcels = random_parcels(seed, 16)
    first, second = farmland_mask(parcels[::2], TILE, ring_m), farmland_mask(parcels[1::2], TILE, 0.0)
    cells = [touched(parcels[i : i + 1]) for i in range(len(parcels))]
    for mask in (first, second):
        kept = burnt(mask)
        assert holds(mask, parcels).tolist() == [bool(kept[own].all()) for own in cells]
    held = np.array([holds(first, parcels), holds(second, parcels)])
    expected = np.where(held.any(axis=0), held.argmax(axis=0), -1)
    assert pieces_of(parcels, iter([first, second])).tolist() == expected.tolist()
    assert (pieces_of(parcels, iter([])) == -1).all()


def test_parts_far_from_each_other_are_looked_at_one_by_one() -> None:
    x, y = TILE.ulx, TILE.uly
    far = shapely.MultiPolygon(
        [shapely.box(x + 41, y - 59, x + 59, y - 41), shapely.box(x + 441, y - 459, x + 459, y - 441)]
    )
    parcels = np.array([far, far.geoms[0], None], dtype=object)
    assert holds(farmland_mask(parcels[:1], TILE, 0.0), parcels).tolist() == [True, True, True]
    assert holds(farmland_mask(parcels[1:], TILE, 0.0), parcels).tolist() == [False, True, True]


def test_a_plan_asks_a_mask_without_loading_compiled_code() -> None:
    code = """
import sys, numpy as np, shapely
from s4c_hpc.core.grid import Tile
from s4c_hpc.extract.cells import Mask
from s4c_hpc.extract.farmland import holds
tile = Tile(id="T", crs="EPSG:32632", ulx=0.0, uly=60.0, width_m=60.0, height_m=60.0)
row, c0, c1 = (np.array([value], np.int32) for value in (1, 1, 2))
mask = Mask(tile="T", base=tile.grid(20.0), row=row, c0=c0, c1=c1, ring_m=0.0, parcels_key="")
print(holds(mask, np.array([shapely.box(21, 21, 39, 39), shapely.box(21, 21, 41, 39)], dtype=object)).tolist())
print([name for name in ("numba", "llvmlite") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[True, False]", "[]"]


def test_a_file_gives_the_mask_back_and_the_same_bytes_twice(tmp_path: Path) -> None:
    mask = farmland_mask(random_parcels(3, 20), TILE, 40.0, parcels_key="parcels:abc")
    for name in ("a", "b"):
        assert write_mask(tmp_path / name, mask) == mask.row.size
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a", "b")}
    assert len(digests) == 1
    back = read_mask(tmp_path / "a")
    assert (back.tile, back.base, back.ring_m, back.parcels_key) == ("T1", BASE, 40.0, "parcels:abc")
    assert all(np.array_equal(getattr(back, name), getattr(mask, name)) for name in ("row", "c0", "c1"))


def test_no_parcel_makes_an_empty_mask_that_can_be_written_and_used(tmp_path: Path) -> None:
    mask = farmland_mask(np.array([None, shapely.Polygon()], dtype=object), TILE, 40.0)
    write_mask(tmp_path / "m", mask)
    cells = read_mask(tmp_path / "m").cells(TILE.grid(10))
    assert (mask.n_cells, cells.n_cells, read_mask(tmp_path / "m").cells(TILE.grid(60)).n_cells) == (0, 0, 0)
    assert cells.stack_rows(np.array([0]), np.array([0])).tolist() == [-1]


def test_a_missing_and_a_broken_mask_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        read_mask(tmp_path / "absent")
    (tmp_path / "cut").write_bytes(b"ARROW1\0\0")
    with pytest.raises(InputError, match="not a whole Arrow file"):
        read_mask(tmp_path / "cut")
