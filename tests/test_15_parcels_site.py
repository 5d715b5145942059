"""Site filters and strata: who lies on a tile, who stays beside it with a reason, and in which stratum each lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from support.parcels import make_config, squares, write_layer

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import all_layers, import_parcels, read_attributes, read_tiles
from s4c_hpc.parcels.outlines import Outlines
from s4c_hpc.parcels.site import Areas, largest, locate, read_site

X, Y = 600_000.0, 5_300_000.0
UTM32 = CRS.from_epsg(32632)
TILE: dict[str, Any] = {
    "id": "T", "crs": "EPSG:32632", "ulx": X, "uly": Y + 1000, "width_m": 2000, "height_m": 1000,
}  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def box(x0: float, x1: float, y0: float = 0, y1: float = 100) -> Any:
    return shapely.box(X + x0, Y + y0, X + x1, Y + y1)


def rows(workspace: Workspace, version: str) -> dict[str, dict[str, Any]]:
    return {r["ori_id"]: r for r in read_attributes(workspace, version).to_pylist()}


def test_only_parcels_whose_interior_meets_the_site_lie_on_tiles(tmp_path: Path, workspace: Workspace) -> None:
    fields = {
        "inside": box(10, 90), "across": box(190, 210), "touches": box(200, 300, 100, 200), "beside": box(400, 500),
        "corner": box(200, 300, -100, 0), "null": None,
    }  # fmt: skip
    file = write_layer(tmp_path / "a.gpkg", list(fields.values()), columns={"id": list(fields)})
    # Touched along a border, which has a vertex of its own there, and in a corner.
    site = write_layer(tmp_path / "site.gpkg", [box(0, 100), box(100, 200, 0, 150)], columns={"n": [1, 2]})
    config = make_config(tiles=[TILE | {"uly": Y + 500}], within=site)
    report = import_parcels(file, workspace, config)
    found = rows(workspace, report.version)
    assert {i: (r["tile"], r["block"], r["reason"]) for i, r in found.items()} == {
        "inside": ("T", 0, ""),
        "across": ("T", 0, ""),
        "touches": ("", -1, "outside of the site"),
        "beside": ("", -1, "outside of the site"),
        "corner": ("", -1, "outside of the site"),
        "null": ("", -1, "no geometry"),
    }
    assert report.tiles == {"T": 2}
    assert read_tiles(workspace, report.version)[0].n_parcels == 2
    counts = ("parcels", "usable", "unusable", "without_tile", "off_site")
    assert [report.counts[name] for name in counts] == [6, 2, 1, 0, 3]
    told = json.loads((report.path / "report.json").read_text())
    assert told["site"] == {"within": "site.gpkg", "where": None, "parcels_off_site": 3}
    assert {o["reason"] for o in told["offenders"]["off_site"]} == {"outside of the site"}
    assert str(tmp_path) not in json.dumps(told)


def test_an_expression_filters_too(tmp_path: Path, workspace: Workspace) -> None:
    columns = {"id": list("abcd"), "crop": ["115", "990", None, "115"], "Slope": [1.0, 2.0, 3.0, 40.0]}
    file = write_layer(tmp_path / "a.gpkg", squares(4), columns=columns)
    config = make_config(crop_column="crop", where="ori_crop <> '990' AND Slope < 30 AND Area_meters > 1")
    report = import_parcels(file, workspace, config)
    reasons = {i: r["reason"] for i, r in rows(workspace, report.version).items()}
    # A crop that is not known is "" here: the expression is true of it.
    assert reasons == {"a": "", "b": "not chosen by parcels.where", "c": "", "d": "not chosen by parcels.where"}
    assert (report.n_parcels, report.n_usable, report.counts["off_site"]) == (4, 2, 2)
    for wrong in ("nothing = 1", "(", "read_text('/etc/passwd') IS NULL"):
        with pytest.raises(InputError, match=r"parcels\.where: cannot be evaluated"):
            import_parcels(file, workspace, make_config(where=wrong))
    with pytest.raises(InputError, match=r"parcels\.where: 'Area_meters' is no condition"):
        import_parcels(file, workspace, make_config(where="Area_meters"))


def test_strata_of_a_version(tmp_path: Path, workspace: Workspace) -> None:
    fields = {
        "in_a": box(0, 100), "most_b": box(180, 240), "tie": box(190, 210), "islet": box(520, 540),
        "none": box(900, 950), "touches": box(1000, 1100, -100, 0),
    }  # fmt: skip
    columns = {"id": list(fields), "stratum": ["mine"] * len(fields)}
    file = write_layer(tmp_path / "a.gpkg", list(fields.values()), columns=columns)
    areas = [box(0, 200, -50, 150), box(200, 400, -50, 150), box(500, 600, -50, 150), box(1000, 1100)]
    strata = write_layer(tmp_path / "strata.gpkg", areas, columns={"zone": ["A", "B", "A", "C"]})
    config = make_config(strata={"file": strata, "column": "zone"})
    report = import_parcels(file, workspace, config)
    found = rows(workspace, report.version)
    assert {i: r["stratum"] for i, r in found.items()} == {
        "in_a": "A", "most_b": "B", "tie": "A", "islet": "A", "none": "", "touches": "",
    }  # fmt: skip
    assert {r["src_stratum"] for r in found.values()} == {"mine"}
    assert all(r["tile"] for r in found.values())
    told = json.loads((report.path / "report.json").read_text())
    assert told["strata"] == {
        "file": "strata.gpkg", "column": "zone", "parcels": {"A": 3, "B": 1, "C": 0}, "parcels_without": 2,
    }  # fmt: skip
    assert report.notes[-1] == "2 of 6 parcels lie in no stratum of strata.gpkg"
    assert report.notes[-1] in told["notes"]
    assert "off_site" not in report.counts


def test_strata_through_versions(tmp_path: Path, workspace: Workspace) -> None:
    strata = [write_layer(tmp_path / f"{n}.gpkg", [box(0, 500)], columns={"zone": [n]}) for n in ("east", "west")]
    both = write_layer(tmp_path / "a.gpkg", squares(2), columns={"id": ["a", "b"], "stratum": ["x", "y"]})
    one = write_layer(tmp_path / "b.gpkg", squares(1), columns={"id": ["a"], "stratum": ["x"]})
    keys = {"tiles": [TILE]}
    import_parcels(both, workspace, make_config(**keys))
    for file in strata:
        config = make_config(strata={"file": file, "column": "zone"}, mode="incremental", **keys)
        report = import_parcels(one, workspace, config)
        # Also of the parcel that the file does not have; and the user's column of this name is kept.
        found = rows(workspace, report.version)
        assert {i: (r["stratum"], r["src_stratum"]) for i, r in found.items()} == {
            "a": (file.stem, "x"),
            "b": (file.stem, "y"),
        }
        assert report.diff["attributes_only"] == 2
    # Nothing is computed again.
    assert len(all_layers(workspace)["T"]) == 1
    assert import_parcels(one, workspace, config).new_version is False


def test_the_site_grows_and_shrinks(tmp_path: Path, workspace: Workspace) -> None:
    file = write_layer(tmp_path / "a.gpkg", squares(3), columns={"id": list("abc")})
    sites = {n: write_layer(tmp_path / f"{n}.gpkg", [box(0, 110 * n - 5)]) for n in (1, 2, 3)}
    tiles = [TILE]

    def on_tile(n: int) -> list[str]:
        config = make_config(tiles=tiles, within=sites[n], layer_share_max=1)
        report = import_parcels(file, workspace, config, mode=config.parcels.mode)
        assert sum(report.diff[kind] for kind in ("added", "deleted", "outline_changed")) in {0, 3}
        return sorted(i for i, r in rows(workspace, report.version).items() if r["tile"])

    assert [on_tile(n) for n in (2, 3, 1, 2)] == [["a", "b"], ["a", "b", "c"], ["a"], ["a", "b"]]
    # What came back is computed again as a layer of its own; what stayed is not.
    assert [layer.n_parcels for layer in all_layers(workspace)["T"]][:2] == [2, 1]


def test_areas_in_another_reference_system(tmp_path: Path) -> None:
    degrees = write_layer(tmp_path / "site.geojson", [shapely.box(10.34, 47.84, 10.36, 47.86)], crs="EPSG:4326")
    site = read_site(make_config(within=degrees).parcels)
    # 10.35 E, 47.85 N is some 601 km east, 5300.2 km north in zone 32.
    near, far = shapely.box(601_000, 5_300_200, 601_100, 5_300_300), shapely.box(650_000, 5_300_000, 650_100, 5_300_100)
    beyond = shapely.box(9e9, 9e9, 9e9 + 100, 9e9 + 100)
    found = locate(site, Outlines.of(np.array([near, far, beyond, None])), UTM32)
    assert found.off_site.tolist() == [False, True, True, False]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_largest_share_is_that_of_shapely(data: st.DataObject) -> None:
    def some(n: int) -> list[Any]:
        edges = st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(1, 4)] * 2)
        return [shapely.box(x, y, x + w, y + h) for x, y, w, h in data.draw(st.lists(edges, min_size=n, max_size=n))]

    shapes, fields = np.array(some(3)), np.array(some(6))
    areas = Areas("a", UTM32, ("a", "b", "c"), shapes.copy())
    shapely.prepare(areas.shapes)
    for field, number in zip(fields, largest(areas, fields, UTM32).tolist(), strict=True):
        common = [s.intersection(field).area if shapely.relate_pattern(s, field, "2********") else 0 for s in shapes]
        assert number == (common.index(max(common)) if max(common) else -1)


def test_what_cannot_be_used_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    file = write_layer(tmp_path / "a.gpkg", squares(2))
    areas = write_layer(tmp_path / "areas.gpkg", [box(0, 50), box(50, 99)], columns={"zone": ["A", None]})
    points = write_layer(tmp_path / "points.gpkg", [shapely.Point(X, Y)])
    elsewhere = write_layer(tmp_path / "elsewhere.gpkg", [box(5000, 6000)])

    def refused(kind: type[Exception], match: str, **keys: Any) -> None:
        with pytest.raises(kind, match=match) as caught:
            import_parcels(file, workspace, make_config(**keys))
        assert "--layer" not in str(caught.value)
        assert "parcels.file" not in str(caught.value)

    refused(MissingDataError, r"no such parcel file|parcels\.within", within=tmp_path / "none.gpkg")
    refused(NoInputsError, r"parcels\.within\): there is no polygon: a Point", within=points)
    refused(InputError, "no column 'name'; did you mean|no column 'name'", strata={"file": areas, "column": "name"})
    refused(InputError, "'zone' has no value in 1 rows: 2", strata={"file": areas, "column": "zone"})
    refused(NoInputsError, "none of 2 parcels belongs to the site: outside of the site", within=elsewhere)
    with pytest.raises((ConfigError, ValueError), match="column"):
        make_config(strata={"file": areas})
    assert not workspace.parcels.exists()


def test_areas_that_are_not_used_are_told(tmp_path: Path, workspace: Workspace) -> None:
    file = write_layer(tmp_path / "a.gpkg", squares(2))
    site = write_layer(tmp_path / "site.gpkg", [box(0, 500), None])
    report = import_parcels(file, workspace, make_config(within=site))
    assert "1 of 2 areas of site.gpkg are not used: no geometry" in report.notes
