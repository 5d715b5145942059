"""The map: projection, colours by class, findings about parcels."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import shapely
from support.report_workspace import freising_config, newest_ids, write_markers

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.report.density_map import density_map
from s4c_hpc.report.findings import findings
from s4c_hpc.report.marker_files import marker_files
from s4c_hpc.report.marker_scan import scan_markers
from s4c_hpc.report.parcel_map import MAX_CROPS, ParcelMap, parcel_map, share_class
from s4c_hpc.report.sources import Parcels, read_sources

CORNER = (698_000.0, 5_366_000.0)


def declare(root: Path, geometry: list[shapely.Geometry], crops: list[str], crs: int = 32632) -> Parcels:
    frame = gpd.GeoDataFrame(
        {"parcel_id": [f"p{i}" for i in range(len(geometry))], "crop_code": crops}, geometry=geometry, crs=32632
    )
    frame.to_crs(crs).to_file(root / "parcels.gpkg")
    import_parcels(root / "parcels.gpkg", Workspace(root), freising_config())
    parcels = read_sources(Workspace(root)).parcels
    assert parcels is not None
    return parcels


def square(column: int, row: int, size: float = 100.0) -> shapely.Geometry:
    x, y = CORNER[0] + 150 * column, CORNER[1] + 150 * row
    return shapely.box(x, y, x + size, y + size)


def drawn(parcels: Parcels, n_clear: int = 0, n_dates: int = 0) -> ParcelMap:
    made = parcel_map(parcels, np.full(parcels.n, n_clear), np.full(parcels.n, n_dates), [])
    assert made is not None
    return made


def outlines(made: ParcelMap) -> dict[str, list[tuple[float, float]]]:
    """Parcel id -> drawing coordinates of its outer ring."""
    shapes = (p for p in ET.fromstring(made.drawing).iter("path") if p.get("data-parcel"))  # noqa: S314 - made here
    return {
        (p.findtext("title") or "").split(" ")[0]: [
            (float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", p.get("d", ""))
        ]
        for p in shapes
    }


def test_north_is_up_and_lengths_are_true(tmp_path: Path) -> None:
    rings = outlines(drawn(declare(tmp_path, [square(0, 0), square(0, 3), square(5, 0)], ["a"] * 3)))
    left, top = {k: min(x for x, _ in v) for k, v in rings.items()}, {k: min(y for _, y in v) for k, v in rings.items()}
    assert top["p1"] < top["p0"] == top["p2"]
    assert left["p0"] == left["p1"] < left["p2"]
    per_m = (left["p2"] - left["p0"]) / 750
    np.testing.assert_allclose((top["p0"] - top["p1"]) / 450, per_m, rtol=1e-3)
    np.testing.assert_allclose((max(x for x, _ in rings["p0"]) - left["p0"]) / 100, per_m, rtol=1e-3)


def test_a_declaration_in_degrees_is_drawn_without_distortion(tmp_path: Path) -> None:
    made = drawn(declare(tmp_path, [square(0, 0), square(5, 3)], ["a", "b"], crs=4326))
    for ring in outlines(made).values():
        width, height = (max(v) - min(v) for v in zip(*ring, strict=True))
        # A square stays one, but for the angle between the two grids.
        assert 0.95 < width / height < 1.05


def test_frequent_crops_have_a_colour_and_a_hatching_of_their_own(tmp_path: Path) -> None:
    crops = [f"c{min(i, MAX_CROPS + 1)}" for i in range(MAX_CROPS + 4)]
    made = drawn(declare(tmp_path, [square(i, 0) for i in range(len(crops))], crops))
    assert [c.slot for c in made.crops] == list(range(MAX_CROPS + 1))
    assert made.crops[0].code == f"c{MAX_CROPS + 1}"
    assert made.crops[-1].code == "2 other codes"
    assert sum(c.n for c in made.crops) == len(crops)


def test_classes_of_clear_dates() -> None:
    assert [share_class(n, 10) for n in (0, 2, 4, 6, 8, 10)] == ["0", "1", "2", "3", "4", "4"]
    assert share_class(0, 0) == "none"


def test_holes_and_parts_are_drawn(tmp_path: Path) -> None:
    ring = square(0, 0).difference(square(0, 0, 30))
    both = shapely.union_all([square(2, 0).difference(square(2, 0).centroid.buffer(20)), square(4, 0)])
    made = drawn(declare(tmp_path, [ring, both], ["a", "a"]))
    paths = [p.get("d", "") for p in ET.fromstring(made.drawing).iter("path") if p.get("data-parcel")]  # noqa: S314 - made here
    assert sorted(d.count("M") for d in paths) == [1, 3]


def test_names_do_not_cover_each_other(tmp_path: Path) -> None:
    made = drawn(declare(tmp_path, [square(i % 8, i // 8) for i in range(64)], ["a"] * 64))
    labels = [t for t in ET.fromstring(made.drawing).iter("text") if "name" in t.get("class", "")]  # noqa: S314 - made here
    places = [(float(t.get("x", "")), float(t.get("y", ""))) for t in labels]
    assert places
    assert all(abs(a[0] - b[0]) > 10 or abs(a[1] - b[1]) > 10 for a in places for b in places if a != b)


def test_density_counts_every_parcel(tmp_path: Path) -> None:
    parcels = declare(tmp_path, [square(i % 8, i // 8) for i in range(40)], ["a"] * 40)
    made = density_map(parcels)
    titles = [t.text or "" for t in ET.fromstring(made.drawing).iter("title")]  # noqa: S314 - made here
    counts = [int(t.split()[0]) for t in titles if t.endswith("in this cell")]
    assert sum(counts) == 40
    assert max(counts) == made.fullest


def test_parcels_that_need_a_look_are_found(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon(
        [CORNER, (CORNER[0] + 90, CORNER[1] + 90), (CORNER[0] + 90, CORNER[1]), (CORNER[0], CORNER[1] + 90)]
    )
    geometry = [bow_tie, square(2, 0), square(2, 0), square(4, 0), square(4, 0, 60), square(6, 0, 3)]
    declare(tmp_path, geometry, ["a"] * 6)
    workspace, config = Workspace(tmp_path), freising_config()
    sources = read_sources(workspace)
    assert sources.parcels is not None
    names = dict(zip(sources.parcels.new_id.tolist(), sources.parcels.table["ori_id"].to_pylist(), strict=True))
    ids = np.sort(newest_ids(workspace))
    pixels = np.array([0 if names[int(i)] == "p5" else 25 for i in ids], np.int32)
    counts = {"s2_20m_n_total": pixels, "s2_20m_n_valid": pixels}
    write_markers(workspace, config, "FREISING", ids, {"20180507": counts})
    scan = scan_markers(marker_files(workspace, config), config, [])
    found = {f.title: set(f.names) for f in findings(sources, scan).parcels}
    assert found == {
        "Geometry was not valid as delivered": {"p0"},
        "Declared more than once (same geometry)": {"p1", "p2"},
        "Overlaps others by more than the limit": {"p1", "p2", "p3", "p4"},
        "No pixel on the 20 m grid": {"p5"},
    }
