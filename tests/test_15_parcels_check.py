"""``s4c parcels check``: every kind of finding on parcels made for it, and what is written of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS
from support.cli import s4c
from support.html import parse, text_of
from support.parcels import squares, write_layer

from s4c_hpc.config import OwnTile
from s4c_hpc.config.model import Parcels
from s4c_hpc.core.errors import ExitCode, NoInputsError
from s4c_hpc.extract.pixel_counts import pixel_counts
from s4c_hpc.parcels.assign import assign
from s4c_hpc.parcels.check import Check, check
from s4c_hpc.parcels.findings import Weight
from s4c_hpc.parcels.outlines import Outlines
from s4c_hpc.parcels.read import read_layer

X, Y = 600_000.0, 5_300_000.0
HOSTILE = '"><script>alert(1)</script>'


def checked(tmp_path: Path, geometry: list[Any], *, columns: dict[str, Any] | None = None, **options: Any) -> Check:
    file = write_layer(tmp_path / "a.gpkg", geometry, columns=columns)
    return check(read_layer(file), Parcels(), **options)


def offenders(found: Check) -> dict[str, list[int]]:
    """Rows of each finding that has any."""
    return {f.name: f.rows.tolist() for f in found.findings if f.n}


def test_clean_parcels_have_no_finding(tmp_path: Path) -> None:
    found = checked(tmp_path, list(squares(20)), id_columns=["id"], pixel_counts=pixel_counts)
    assert (offenders(found), found.is_clean, found.n_usable) == ({}, True, 20)


def test_every_kind_of_offender_is_found(tmp_path: Path) -> None:
    square = shapely.box(X, Y, X + 100, Y + 100)
    far = shapely.box(X + 500, Y, X + 600, Y + 100)
    geometry = [
        square,
        shapely.box(X + 80, Y, X + 180, Y + 100),  # takes a fifth of the first
        far,
        shapely.Polygon([*far.exterior.coords[1:], far.exterior.coords[1]]),  # the same, begun elsewhere
        shapely.Polygon([(X, Y + 900), (X + 90, Y + 990), (X + 90, Y + 900), (X, Y + 990)]),  # a bow tie
        shapely.box(X, Y + 2000, X + 400, Y + 2001),  # a metre wide
        None,
        shapely.box(X + 2000, Y, X + 2030, Y + 30),  # 2 pixels of 10 m across, none of 20 m on this lattice
    ]
    columns = {"id": ["a", "b", "c", "c", None, "f", "g", "h"], "crop": [1, 2, 3, 4, 5, 6, 7, None]}
    found = checked(
        tmp_path, geometry, columns=columns, id_columns=["id"], crop_column="crop", pixel_counts=pixel_counts
    )
    assert offenders(found) == {
        "no_id": [4],
        "id_repeated": [2, 3],
        "unusable": [6],
        "repaired": [4],
        "duplicate": [2, 3],
        "overlap": [0, 1, 2, 3],
        "sliver": [5],
        "too_small_s2": [5],
        "too_small_s1": [5, 7],
        "no_crop": [7],
    }
    assert found.ids.tolist() == ["a", "b", "c", "c", "5", "f", "g", "h"]
    assert found.overlaps.pairs.tolist() == [[0, 1], [2, 3]]
    assert found.overlaps.pair_area_m2.tolist() == [2000, 10_000]
    assert (found.n, found.n_usable, found.is_clean) == (8, 7, False)


def test_borders_of_tiles_and_zones_are_notes(tmp_path: Path) -> None:
    tile = OwnTile(id="mine", crs="EPSG:32632", ulx=X, uly=Y + 1000, width_m=1000, height_m=1000)
    inside, across, outside = (shapely.box(X + dx, Y + 100, X + dx + 100, Y + 200) for dx in (100, 950, 3000))
    file = write_layer(tmp_path / "a.gpkg", [inside, across, outside])
    found = check(read_layer(file), Parcels(), [tile])
    assert offenders(found) == {"without_tile": [2], "crosses_tile": [1]}
    degrees = write_layer(tmp_path / "b.gpkg", [shapely.box(11.999, 48, 12.001, 48.001)], crs="EPSG:4326")
    found = check(read_layer(degrees), Parcels())
    assert offenders(found) == {"crosses_zone": [0]}
    assert found.is_clean
    assert {f.weight for f in found.findings if f.n} == {Weight.NOTE}


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        ({}, []),
        ({"sliver_min_area_m2": 20_000}, [0]),
        ({"sliver_min_width_m": 60}, [0]),
        ({"sliver_max_shape_index": 1.1}, [0]),
        ({"sliver_min_area_m2": 0, "sliver_min_width_m": 0, "sliver_max_shape_index": 0}, []),
    ],
)
def test_limits_of_slivers(tmp_path: Path, limits: dict[str, float], rows: list[int]) -> None:
    file = write_layer(tmp_path / "a.gpkg", squares(1))
    found = check(read_layer(file), Parcels.model_validate(limits))
    assert offenders(found).get("sliver", []) == rows


def test_pixels_are_those_whose_centres_lie_in_the_shrunk_outline() -> None:
    geometry = np.array([shapely.box(X + 1, Y + 1, X + 99, Y + 99), shapely.box(X + 1, Y + 1, X + 24, Y + 24), None])
    crs = CRS.from_epsg(32632)
    counts = pixel_counts(Outlines.of(geometry), crs, assign(geometry, crs))
    # Shrunk by 5 m the first reaches from 6 to 94 m, with centres at 15, 25 ... 85; by 10 m from 11 to 89, with centres
    # at 30, 50 and 70. Of the second 6 to 19 is left, then 11 to 14.
    assert counts.tolist() == [[64, 9], [1, 0], [0, 0]]


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    file = write_layer(tmp_path / "a.gpkg", [shapely.Point(X, Y)])
    with pytest.raises(NoInputsError, match="a Point, not a polygon"):
        check(read_layer(file), Parcels())


def test_the_command_writes_a_page_json_and_layers(tmp_path: Path) -> None:
    geometry = [*squares(3), shapely.box(X + 50, Y, X + 150, Y + 100), None]
    file = write_layer(tmp_path / "a.gpkg", geometry, columns={"id": ["1", "2", HOSTILE, "4", "5"]})
    done = s4c("parcels", "check", str(file), "-o", str(tmp_path / "out"), "--id-column", "id")
    assert done.returncode == ExitCode.PARTIAL
    assert done.stdout.startswith("finding")
    report = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert (report["verdict"], report["parcels"], report["usable"]) == ("findings", 5, 4)
    assert report["counts"]["overlap_pairs"] == 2
    layer = tmp_path / "out" / "offenders.gpkg"
    assert sorted(name for name, _ in pyogrio.list_layers(layer)) == ["offenders", "overlaps"]
    rows = pyogrio.read_dataframe(layer, layer="offenders")
    assert rows["row"].tolist() == [1, 2, 4, 5]
    assert rows["findings"].tolist()[-1] == "unusable"
    pairs = pyogrio.read_dataframe(layer, layer="overlaps")
    assert np.allclose(pairs.geometry.area, pairs["area_m2"])
    html = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert "Overlaps others by more than the limit" in text_of(parse(html))
    assert "<script" not in html
    assert not re.search(r"https?:|//[a-z]|@import|<link|<img|<iframe|\bsrc\s*=", html)


def test_exit_codes(tmp_path: Path) -> None:
    clean = write_layer(tmp_path / "clean.gpkg", squares(3))
    assert s4c("parcels", "check", str(clean), "--id-column", "id").returncode == ExitCode.OK
    assert s4c("parcels", "check", str(tmp_path / "absent.gpkg")).returncode == ExitCode.INPUT
    points = write_layer(tmp_path / "points.gpkg", [shapely.Point(X, Y)])
    assert s4c("parcels", "check", str(points)).returncode == ExitCode.NO_INPUTS
    strict = s4c("parcels", "check", str(clean), "--set", "parcels.sliver_min_area_m2=20000", "--json")
    assert strict.returncode == ExitCode.PARTIAL
    assert json.loads(strict.stdout)["counts"]["sliver"] == 3


def test_what_an_import_refuses_is_unusable(tmp_path: Path) -> None:
    twice = write_layer(tmp_path / "twice.gpkg", squares(3), columns={"id": ["a", "a", "b"]})
    done = s4c("parcels", "check", twice, "--id-column", "id", "--no-pixels", "-o", tmp_path / "out", "--json")
    assert done.returncode == ExitCode.INPUT
    assert json.loads(done.stdout)["verdict"] == "unusable"
    assert "\ncannot be imported: 2 parcels share an id (first: a)\n" in done.stderr
    page = text_of(parse((tmp_path / "out" / "check.html").read_text(encoding="utf-8")))
    assert "an import would refuse it: Id occurs more than once" in page
    tile = 'grid.tiles=[{id="T", crs="EPSG:32632", ulx=0.0, uly=1e3, width_m=1e3, height_m=1e3}]'
    away = s4c("parcels", "check", twice, "--no-pixels", "--json", "--set", tile)
    assert away.returncode == ExitCode.NO_INPUTS, away.stderr
    assert json.loads(away.stdout)["verdict"] == "unusable"
    assert away.stderr.endswith("cannot be imported: no parcel lies on a tile\n")
    gaps = write_layer(tmp_path / "gaps.gpkg", squares(3), columns={"id": ["a", None, "b"]})
    assert (
        "cannot be imported: 1 parcel has no id (first: row 2)"
        in s4c("parcels", "check", gaps, "--id-column", "id", "--no-pixels").stderr
    )


def test_the_site_of_a_configuration(tmp_path: Path) -> None:
    file = write_layer(tmp_path / "a.gpkg", squares(3))
    site = write_layer(tmp_path / "site.gpkg", squares(2))
    tile = OwnTile(id="mine", crs="EPSG:32632", ulx=X, uly=Y + 1000, width_m=200, height_m=1000)
    found = check(read_layer(file), Parcels(within=site), [tile], pixel_counts=pixel_counts)
    assert offenders(found) == {"crosses_tile": [1], "off_site": [2]}
    assert (found.is_clean, found.n_usable) == (True, 2)
    assert offenders(check(read_layer(file), Parcels(), [tile])) == {"without_tile": [2], "crosses_tile": [1]}
