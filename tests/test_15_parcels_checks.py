"""Geometry checks against brute force and against pyproj's geodesics."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod
from support.parcels import squares

from s4c_hpc.parcels import overlaps as overlaps_module
from s4c_hpc.parcels.checks import duplicates, repair, repair_outlines, shape_index
from s4c_hpc.parcels.outlines import Outlines
from s4c_hpc.parcels.overlaps import Overlaps, overlaps
from s4c_hpc.parcels.projection import is_metric, measure, outside_area_of_use, reproject

UTM = CRS.from_epsg(32632)
WGS84 = CRS.from_epsg(4326)
BOWTIE = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])


def repaired(*geometries: Any) -> Any:
    delivered = np.empty(len(geometries), dtype=object)
    delivered[:] = geometries
    return repair(delivered, np.zeros(len(geometries), dtype=bool))


def overlaps_of(polygons: Any, area_m2: Any) -> Overlaps:
    return overlaps(Outlines.of(polygons), shapely.bounds(polygons), shapely.area(polygons), area_m2)


def broken_polygon(coordinate: str) -> Any:
    with np.errstate(invalid="ignore"):
        return shapely.from_wkt(f"POLYGON ((0 0, 1 0, 1 {coordinate}, 0 0))")


def test_a_bow_tie_becomes_two_triangles() -> None:
    found = repaired(BOWTIE)
    assert (found.geometry[0].geom_type, found.geometry[0].area) == ("MultiPolygon", 50)
    assert (found.valid[0], found.reason[0]) == (False, "")
    assert found.repair[0].startswith("made valid: Self-intersection")


def test_valid_polygons_are_left_alone() -> None:
    polygons = squares(5)
    found = repaired(*polygons)
    assert (found.geometry == polygons).all()
    assert found.valid.all()
    assert not any(found.repair)


def test_parts_that_overlap_become_one() -> None:
    found = repaired(shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2)]))
    assert found.geometry[0].area == 6
    assert not found.valid[0]


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (None, "no geometry"),
        (shapely.Polygon(), "empty geometry"),
        (shapely.Point(1, 1), "a Point, not a polygon"),
        (shapely.LineString([(0, 0), (1, 1)]), "a LineString, not a polygon"),
        (shapely.Polygon([(0, 0), (1, 1), (2, 2)]), "nothing polygonal is left"),
        (broken_polygon("nan"), "not a finite number"),
        (broken_polygon("inf"), "not a finite number"),
        (shapely.GeometryCollection([shapely.Point(0, 0)]), "nothing polygonal is left"),
    ],
)
def test_what_cannot_be_used_has_a_reason(geometry: Any, reason: str) -> None:
    found = repaired(geometry, shapely.box(0, 0, 1, 1))
    assert reason in found.reason[0]
    assert found.geometry[0] is None
    assert found.valid.tolist() == [False, True]
    assert found.reason[1] == ""


def test_polygons_of_a_mixed_collection_are_kept() -> None:
    found = repaired(shapely.GeometryCollection([shapely.box(0, 0, 1, 1), shapely.Point(5, 5)]))
    assert found.geometry[0].area == 1
    assert found.repair[0].startswith("polygons kept")


def test_unreadable_geometry() -> None:
    found = repair(np.array([None], dtype=object), np.array([True]))
    assert found.reason[0] == "geometry cannot be read"


def test_duplicates_whatever_the_start_and_direction() -> None:
    square = shapely.Polygon([(0, 0), (1, 0), (1, 1), (0, 1)])
    turned = shapely.Polygon([(1, 1), (1, 0), (0, 0), (0, 1)])
    polygons = np.array([square, None, turned, shapely.box(0, 0, 2, 1), None], dtype=object)
    found = duplicates(Outlines.of(polygons), shapely.bounds(polygons))
    assert found.tolist() == [True, False, True, False, False]


BOXES = st.lists(st.tuples(*[st.integers(0, 12)] * 2, st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12)


@given(boxes=BOXES, data=st.data())
def test_overlaps_equal_brute_force(boxes: list[tuple[int, ...]], data: st.DataObject) -> None:
    polygons = np.array([shapely.box(x, y, x + w, y + h) for x, y, w, h in boxes], dtype=object)
    polygons = np.append(polygons, [None])
    found = overlaps_of(polygons, np.nan_to_num(shapely.area(polygons)))
    n = len(boxes)
    shared = np.zeros((n + 1, n + 1))
    for i, j in itertools.permutations(range(n), 2):
        shared[i, j] = polygons[i].intersection(polygons[j]).area
    own = np.append(shapely.area(polygons[:n]), 1)
    np.testing.assert_allclose(found.share, shared.sum(axis=1) / own, rtol=1e-12)
    assert found.n_others.tolist() == (shared > 1).sum(axis=1).tolist()
    expected = [(i, j) for i, j in itertools.combinations(range(n), 2) if shared[i, j] > 1]
    assert [tuple(p) for p in found.pairs.tolist()] == expected
    np.testing.assert_allclose(found.pair_area_m2, [shared[p] for p in expected])


def test_strips_do_not_change_overlaps(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    x, y, side = rng.uniform(0, 100, 300), rng.uniform(0, 100, 300), rng.uniform(1, 30, 300)
    polygons = np.append(shapely.box(x, y, x + side, y + side), [None, shapely.box(0, 0, 100, 1)])
    whole = overlaps_of(polygons, np.nan_to_num(shapely.area(polygons)))
    monkeypatch.setattr(overlaps_module, "_STRIP", 20)
    cut = overlaps_of(polygons, np.nan_to_num(shapely.area(polygons)))
    assert cut.share.tobytes() == whole.share.tobytes()
    assert cut.pairs.tolist() == whole.pairs.tolist()
    assert len(whole.pairs) > 1000


def test_repairing_outlines_keeps_what_is_valid() -> None:
    delivered = np.array([*squares(3), BOWTIE, None, shapely.Point(1, 1)], dtype=object)
    found = repair_outlines(Outlines.of(delivered), np.zeros(6, dtype=bool))
    one_by_one = repaired(*delivered)
    assert found.valid.tolist() == one_by_one.valid.tolist() == [True, True, True, False, False, False]
    assert (found.repair == one_by_one.repair).all()
    assert (found.reason == one_by_one.reason).all()
    assert found.outlines.wkb().tolist() == shapely.to_wkb(one_by_one.geometry).tolist()
    assert found.outlines.missing.tolist() == [False, False, False, False, True, True]


def test_overlap_share_in_degrees_is_that_in_metres() -> None:
    polygons = np.array([shapely.box(600_000, 5_300_000, 600_100, 5_300_100)] * 3, dtype=object)
    polygons[1] = shapely.box(600_060, 5_300_000, 600_160, 5_300_100)
    polygons[2] = shapely.box(600_160, 5_300_000, 600_260, 5_300_100)  # touches only
    degrees = reproject(polygons, UTM, "EPSG:4326")
    found = overlaps_of(degrees, measure(degrees, WGS84)[0])
    np.testing.assert_allclose(found.share, [0.4, 0.4, 0.0], atol=1e-4)
    assert found.n_others.tolist() == [1, 1, 0]
    assert found.pair_area_m2[0] == pytest.approx(4000, rel=2e-3)


@pytest.mark.parametrize("latitude", [-45.0, 0.0, 30.0, 48.0, 65.0])
def test_area_and_perimeter_in_degrees_equal_geodesics(latitude: float) -> None:
    rng = np.random.default_rng(7)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius_deg = 0.004 * rng.uniform(0.6, 1, 40)
    longitude = 9 + radius_deg * np.cos(angles) / np.cos(np.radians(latitude))
    field = shapely.Polygon(np.column_stack((longitude, latitude + radius_deg * np.sin(angles))))
    hole = shapely.affinity.scale(field, 0.3, 0.3)
    parcel = shapely.MultiPolygon([field.difference(hole), shapely.affinity.translate(field, 0.1, 0)])
    area, perimeter = measure(np.array([parcel, None], dtype=object), WGS84)
    expected_area, expected_perimeter = Geod(ellps="WGS84").geometry_area_perimeter(shapely.orient_polygons(parcel))
    rings = [r for p in parcel.geoms for r in (p.exterior, *p.interiors)]
    expected_perimeter = sum(Geod(ellps="WGS84").geometry_length(r) for r in rings)
    assert area[0] == pytest.approx(abs(expected_area), rel=1e-5)
    assert perimeter[0] == pytest.approx(expected_perimeter, rel=1e-5)
    assert (area[1], perimeter[1]) == (0, 0)


def test_projected_and_geodesic_area_agree_to_a_permille() -> None:
    polygons = squares(30)
    planar, planar_perimeter = measure(polygons, UTM)
    geodesic, geodesic_perimeter = measure(reproject(polygons, UTM, "EPSG:4326"), WGS84)
    np.testing.assert_allclose(geodesic, planar, rtol=1e-3)
    np.testing.assert_allclose(geodesic_perimeter, planar_perimeter, rtol=1e-3)


@pytest.mark.parametrize(
    ("crs", "metric"),
    [
        ("EPSG:32632", True),
        ("EPSG:3035", True),
        ("EPSG:2154", True),
        ("EPSG:25832", True),
        ("EPSG:5555", True),  # a compound of UTM and heights
        ("EPSG:4326", False),
        ("EPSG:2263", False),  # US survey feet
        ("EPSG:3857", False),  # web maps: metres in name only
    ],
)
def test_where_planar_areas_hold(crs: str, metric: bool) -> None:
    assert is_metric(CRS.from_user_input(crs).to_2d()) is metric


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:2263"])
def test_areas_where_they_do_not_hold_are_geodesic(crs: str) -> None:
    polygons = reproject(np.array([shapely.box(583_000, 4_507_000, 583_200, 4_507_100)]), CRS(32618), crs)
    assert measure(polygons, CRS(crs))[0][0] == pytest.approx(20_000, rel=1e-3)


def test_shape_index() -> None:
    index = shape_index(np.array([np.pi, 1.0, 0.0]), np.array([2 * np.pi, 4.0, 0.0]))
    assert index[0] == pytest.approx(1.0)
    assert index[1] == pytest.approx(2 / np.sqrt(np.pi))
    assert np.isnan(index[2])
    assert index.dtype == np.float32


def test_a_wrong_crs_is_noticed_by_its_area_of_use() -> None:
    assert outside_area_of_use(shapely.bounds(squares(3)), UTM) is None
    # Degrees in a layer that claims metres lie in the Gulf of Guinea.
    degrees = np.array([[11.6, 48.3, 11.7, 48.4], [np.nan] * 4])
    assert "check the file's CRS" in str(outside_area_of_use(degrees, UTM))
    assert outside_area_of_use(degrees, WGS84) is None
