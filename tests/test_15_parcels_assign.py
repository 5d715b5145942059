"""Which tile owns a parcel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS
from support.parcels import FREISING_TILE

from s4c_hpc.config import OwnTile
from s4c_hpc.core.mgrs import zone_at
from s4c_hpc.parcels import mgrs_tile, tiles_at
from s4c_hpc.parcels.assign import OUTSIDE, Assignment, assign
from s4c_hpc.parcels.projection import reproject

UTM = CRS.from_epsg(32632)
WGS84 = CRS.from_epsg(4326)


def objects(*geometries: Any) -> NDArray[np.object_]:
    array = np.empty(len(geometries), dtype=object)
    array[:] = geometries
    return array


def own(name: str, ulx: float, uly: float, width_m: float = 1000, height_m: float = 1000) -> OwnTile:
    return OwnTile(id=name, crs="EPSG:32632", ulx=ulx, uly=uly, width_m=width_m, height_m=height_m)


def by_brute_force(parcel: shapely.Geometry, crs: CRS, names: list[str]) -> str:
    """The rules of ``assign``, one parcel and one tile at a time."""
    margins, areas = {}, {}
    middle = parcel.envelope.centroid
    own_zone = f"{zone_at(middle.x, middle.y):02d}"
    for name in names:
        tile = mgrs_tile(name)
        moved = reproject(objects(parcel), crs, tile.crs)[0]
        (x0, y0, x1, y1), (px0, py0, px1, py1) = tile.bounds, moved.bounds
        margins[name] = round(min(px0 - x0, py0 - y0, x1 - px1, y1 - py1), 3)
        areas[name] = round(moved.intersection(shapely.box(*tile.bounds)).area, 6)
    at_home = {n: m for n, m in margins.items() if n.startswith(own_zone)}
    if max(at_home.values(), default=-1) >= 0:
        margins = at_home
    best = max(margins.values(), default=-1)
    chosen = {n: m for n, m in (margins if best >= 0 else areas).items() if m >= 0 and (best >= 0 or m > 0)}
    return min((n for n, m in chosen.items() if m == max(chosen.values())), default="")


PLACE = st.tuples(st.floats(-179, 179), st.floats(-70, 71.9), st.sampled_from([1e-3, 0.02, 0.3]))


@given(PLACE)
def test_grid_equals_brute_force(place: tuple[float, float, float]) -> None:
    longitude, latitude, size_deg = place
    parcel = shapely.box(longitude, latitude, longitude + size_deg, latitude + size_deg / 2)
    names = [t.id for t in tiles_at(longitude, latitude, longitude + size_deg, latitude + size_deg / 2)]
    found = assign(objects(parcel), WGS84)
    assert found.tile[0] == by_brute_force(parcel, WGS84, names)
    assert found.tile[0] != ""
    inside = shapely.box(*found.tiles[0].bounds).contains(reproject(objects(parcel), WGS84, found.tiles[0].crs)[0])
    assert found.crosses[0] == (not inside)


def test_middle_of_a_tile_and_the_overlap_of_two() -> None:
    # 32UPU begins at 600000, 32UQU at 699960; their overlap ends at 709800, its middle is 704880.
    west = shapely.box(640_000, 5_350_000, 640_100, 5_350_100)
    overlap_west = shapely.box(704_700, 5_350_000, 704_800, 5_350_100)
    overlap_east = shapely.box(705_000, 5_350_000, 705_100, 5_350_100)
    found = assign(objects(west, overlap_west, overlap_east, None), UTM)
    # 33UTP of the next zone holds the latter two with a larger margin, but the own zone comes first.
    assert found.tile.tolist() == ["32UPU", "32UPU", "32UQU", ""]
    assert not found.crosses.any()
    assert found.reason.tolist() == [""] * 4
    assert [t.id for t in found.tiles] == ["32UPU", "32UQU"]
    np.testing.assert_allclose(found.corner[0], [640_000, 5_350_100])


def test_within_one_zone_the_overlap_is_shared_at_its_middle() -> None:
    # 32UNU ends at 609780 (begins at 499980), 32UPU begins at 600000.
    x = np.array([603_000, 604_700, 604_900, 607_000])
    parcels = shapely.box(x, 5_350_000, x + 100, 5_350_100)
    assert assign(parcels, UTM).tile.tolist() == ["32UNU", "32UNU", "32UPU", "32UPU"]


def test_a_parcel_that_no_tile_holds_goes_to_the_one_with_most_of_it() -> None:
    # Wider than the overlap, centred on the border of two tiles, and far from the next zone.
    long = shapely.box(590_000, 5_350_000, 613_000, 5_350_100)
    found = assign(objects(long), UTM)
    assert found.tile[0] == "32UNU"
    assert found.crosses[0]
    np.testing.assert_allclose(found.corner[0], [590_000, 5_350_100])


def test_equal_margins_and_areas_go_to_the_first_id() -> None:
    tiles = [own("B", 600_000, 5_301_000), own("A", 600_000, 5_301_000), own("C", 601_000, 5_301_000)]
    same_margin = shapely.box(600_400, 5_300_400, 600_500, 5_300_500)
    same_area = shapely.box(600_950, 5_300_400, 601_050, 5_300_500)
    for order in (tiles, tiles[::-1]):
        found = assign(objects(same_margin, same_area), UTM, order)
        assert found.tile.tolist() == ["A", "A"]
        assert found.crosses.tolist() == [False, True]


def test_outside_of_all_tiles_has_a_reason() -> None:
    tile = OwnTile.model_validate(FREISING_TILE)
    half = shapely.box(tile.ulx - 50, tile.uly - 100, tile.ulx + 40, tile.uly)
    beside = shapely.box(tile.ulx - 100, tile.uly - 100, tile.ulx, tile.uly)  # shares an edge only
    far = shapely.box(300_000, 5_000_000, 300_100, 5_000_100)
    found = assign(objects(half, beside, far), UTM, [tile])
    assert found.tile.tolist() == ["FREISING", "", ""]
    assert found.crosses.tolist() == [True, False, False]
    assert found.reason.tolist() == ["", OUTSIDE, OUTSIDE]


def test_no_tile_beyond_the_grid() -> None:
    polar = shapely.box(10, 85.0, 11, 85.1)
    nonsense = shapely.box(600_000, 5_300_000, 600_100, 5_300_100)  # metres in a layer that claims degrees
    found = assign(objects(polar, nonsense), WGS84)
    assert found.tile.tolist() == ["", ""]
    assert found.reason.tolist() == [OUTSIDE, OUTSIDE]


@pytest.mark.parametrize(
    ("bounds", "tile"),
    [
        ((15.5, -0.02, 15.51, 0.01), "33NWA"),  # over the equator: the northern tile reaches 9.8 km south
        ((179.999, 65.3, 180.001, 65.3005), "01WCN"),  # over the antimeridian
        ((4.0, 60.2, 4.001, 60.2005), "32VKM"),  # zone 32 reaches to 3 degrees here
        ((20.5, 78.2, 20.501, 78.2005), "33XXG"),  # zone 33 to 21, and 34 does not exist
    ],
)
def test_places_where_zones_are_odd(bounds: tuple[float, float, float, float], tile: str) -> None:
    found = assign(objects(shapely.box(*bounds)), WGS84)
    assert found.tile[0] == tile
    assert not found.crosses[0]


INSIDE = st.integers(-300, 2300)
PARCELS = st.lists(st.tuples(INSIDE, INSIDE, st.integers(1, 400), st.integers(1, 400)), min_size=1, max_size=8)
SHIFT = st.tuples(st.integers(-100_000, 100_000), st.integers(-100_000, 100_000))


@given(parcels=PARCELS, shift=SHIFT)
def test_own_tiles_exactly_one_and_unmoved_by_translation(
    parcels: list[tuple[int, int, int, int]], shift: tuple[int, int]
) -> None:
    def assigned(dx: int, dy: int) -> Assignment:
        x, y = 600_000 + dx, 5_300_000 + dy
        tiles = [own("A", x, y + 1200, 1200, 1200), own("B", x + 1000, y + 1200, 1200, 1200), own("C", x, y + 2200)]
        boxes = [shapely.box(x + a, y + b, x + a + w, y + b + h) for a, b, w, h in parcels]
        return assign(objects(*boxes), UTM, tiles)

    one, two = assigned(0, 0), assigned(*shift)
    assert one.tile.tolist() == two.tile.tolist()
    assert one.crosses.tolist() == two.crosses.tolist()
    for name, crosses, reason, (a, b, w, h) in zip(one.tile, one.crosses, one.reason, parcels, strict=True):
        bounds = {"A": (0, 0, 1200, 1200), "B": (1000, 0, 2200, 1200), "C": (0, 1200, 1000, 2200)}
        parcel = shapely.box(a, b, a + w, b + h)
        areas = {n: parcel.intersection(shapely.box(*box)).area for n, box in bounds.items()}
        assert (name == "") == (max(areas.values()) == 0) == (reason != "")
        if name:
            assert areas[name] == max(areas.values())
            assert crosses == (areas[name] < parcel.area)


@given(data=st.data())
def test_order_of_rows_does_not_matter(data: st.DataObject) -> None:
    x = np.arange(560_000, 760_000, 7_000)
    parcels = shapely.box(x, 5_395_000, x + 3_000, 5_398_000)
    shuffled = data.draw(st.permutations(range(len(parcels))))
    assert assign(parcels, UTM).tile[shuffled].tolist() == assign(parcels[shuffled], UTM).tile.tolist()
