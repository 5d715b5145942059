"""The tiling grid, checked against the corners in the metadata of real products."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.mgrs import SQUARE_M, mgrs_tile, square_of, tile_at, tiles_at, zone_at

REAL_PRODUCTS = [
    # HORIZONTAL_CS_CODE, ULX and ULY of MTD_TL.xml
    ("S2A_MSIL1C_20210908T042701_N0301_R133_T46RER_20210908T070248", "EPSG:32646", 499980, 3100020),
    ("S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157", "EPSG:32601", 300000, 7400040),
    ("S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126", "EPSG:32633", 499980, 8900040),
    ("S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500", "EPSG:32722", 199980, 5900020),
    ("S2B_MSIL1C_20230605T110619_N0509_R137_T30UVU_20230605T131150", "EPSG:32630", 399960, 5400000),
    ("S2B_MSIL1C_20230605T110619_N0509_R137_T30UWU_20230605T131150", "EPSG:32630", 499980, 5400000),
]


@pytest.mark.parametrize(("product", "crs", "ulx", "uly"), REAL_PRODUCTS)
def test_corner_is_that_of_the_real_product(product: str, crs: str, ulx: float, uly: float) -> None:
    tile = mgrs_tile(product.split("_")[5].removeprefix("T"))
    assert (tile.crs, tile.ulx, tile.uly) == (crs, ulx, uly)
    assert (tile.width_m, tile.height_m) == (109_800, 109_800)
    assert (tile.grid(10).width, tile.grid(20).width, tile.grid(60).width) == (10980, 5490, 1830)


@pytest.mark.parametrize(
    ("name", "crs", "ulx", "uly"),
    [
        ("32UPU", "EPSG:32632", 600_000, 5_400_000),
        ("31TCJ", "EPSG:32631", 300_000, 4_900_020),
        ("30TYN", "EPSG:32630", 699_960, 4_800_000),
        ("33XVP", "EPSG:32633", 399_960, 9_400_020),  # beyond 84 degrees at its centre, in ESA's list all the same
        ("43MDV", "EPSG:32743", 399_960, 10_000_000),
        ("32VKM", "EPSG:32632", 199_980, 6_700_020),  # Bergen: zone 32 is wider there
    ],
)
def test_known_tiles(name: str, crs: str, ulx: float, uly: float) -> None:
    tile = mgrs_tile(name)
    assert (tile.crs, tile.ulx, tile.uly) == (crs, ulx, uly)


@pytest.mark.parametrize(
    ("name", "other"),
    [("13RFR", "13SFR"), ("50SMK", "50TMK"), ("32TPU", "32UPU")],
)
def test_band_of_a_square_is_that_of_its_centre(name: str, other: str) -> None:
    # The first is the MGRS name of the square's southern part, which ESA does not use.
    with pytest.raises(InputError, match=other):
        mgrs_tile(name)
    assert mgrs_tile(other).id == other


@pytest.mark.parametrize("name", ["", "UPU", "T32UPU", "32upu", "32UPX", "61UPU", "00UPU", "32IPU", "32USU", "32XMG"])
def test_what_is_no_tile_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        mgrs_tile(name)


@pytest.mark.parametrize(
    ("longitude", "latitude", "name"),
    [
        (11.7, 48.4, "32UPU"),
        (-103.004715, 31.96212, "13SFR"),
        (1.44, 43.6, "31TCJ"),
        (5.3, 60.2, "32VKM"),
        (15.0, -0.001, "33MWV"),
        (15.0, 0.001, "33NWA"),
        (179.999, 65.0, "60WXT"),
        (-180.0, 65.0, "01WCN"),
        (-179.0, 65.0, "01WDN"),
    ],
)
def test_tile_at_a_position(longitude: float, latitude: float, name: str) -> None:
    assert tile_at(longitude, latitude) == name


def test_no_tile_beyond_the_grid() -> None:
    assert tile_at(10.0, 84.5) is None
    assert tile_at(10.0, -80.5) is None


def test_zones_around_norway_and_svalbard() -> None:
    assert [zone_at(lon, 60.0) for lon in (2.0, 4.0, 11.0)] == [31, 32, 32]
    assert [zone_at(lon, 78.0) for lon in (8.0, 10.0, 20.0, 22.0, 32.0, 34.0, 43.0)] == [31, 33, 33, 35, 35, 37, 38]
    assert zone_at(4.0, 48.0) == 31


POSITION = st.tuples(st.floats(-180, 179.999), st.floats(-79.5, 83.0))


@given(POSITION)
def test_every_position_has_a_tile_that_holds_it(position: tuple[float, float]) -> None:
    name = tile_at(*position)
    assert name is not None
    tile = mgrs_tile(name)
    x, y = Transformer.from_crs("EPSG:4326", tile.crs, always_xy=True).transform(*position)
    xmin, ymin, xmax, ymax = tile.bounds
    assert xmin <= x <= xmax
    assert ymin <= y <= ymax
    assert name in [t.id for t in tiles_at(position[0], position[1], position[0], position[1])]


@given(POSITION)
def test_name_and_square_are_inverse(position: tuple[float, float]) -> None:
    name = tile_at(*position)
    assert name is not None
    square = square_of(name)
    tile = mgrs_tile(name)
    assert 0 <= square.column * SQUARE_M - tile.ulx < 60
    assert 0 <= tile.uly - (square.row + 1) * SQUARE_M < 60
    origin = 10_000_000 if square.south else 0
    assert tile.ulx % 60 == 0
    assert (tile.uly - origin) % 60 == 0


def test_tiles_of_a_box() -> None:
    assert [t.id for t in tiles_at(11.6, 48.3, 11.7, 48.5)] == ["32UPU", "32UQU", "33UTP"]
    # Neither the equator nor the antimeridian is an end of the world.
    assert {t.id for t in tiles_at(14.9, -0.2, 15.1, 0.2)} == {"33MVV", "33MWV", "33NVA", "33NWA"}
    assert {t.id for t in tiles_at(179.9, 65.0, -179.9, 65.1)} == {"01WCN", "60WXT"}
