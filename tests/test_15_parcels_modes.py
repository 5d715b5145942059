"""Import modes: replace, update, incremental; numbers, deleted parcels, changed outlines, reference systems."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from support.parcels import make_config, squares, write_layer

from s4c_hpc.config import ImportMode
from s4c_hpc.core.errors import NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import ImportReport, all_layers, diff, import_parcels, read_attributes, read_tiles
from s4c_hpc.parcels.modes import previous_version

TILE = {"id": "T", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_320_000, "width_m": 20_000, "height_m": 20_000}
FIELDS = dict(zip("abcdefghij", squares(10), strict=True))
UPDATE, INCREMENTAL = ImportMode.UPDATE, ImportMode.INCREMENTAL


class Site:
    """A workspace that takes one declaration after the other."""

    def __init__(self, root: Path, **keys: Any) -> None:
        self.root, self.workspace = root, Workspace(root / "workspace")
        self.config = make_config(tiles=[TILE], layer_share_max=1, **keys)

    def take(
        self,
        fields: Mapping[str, Any],
        mode: ImportMode = ImportMode.REPLACE,
        *,
        crs: str = "EPSG:32632",
        name: str = "a.gpkg",
        **columns: Any,
    ) -> ImportReport:
        file = self.root / name
        file.unlink(missing_ok=True)
        frame = gpd.GeoDataFrame({"id": list(fields), **columns}, geometry=list(fields.values()), crs="EPSG:32632")
        frame.to_crs(crs).to_file(file, engine="pyogrio")
        return import_parcels(file, self.workspace, self.config, mode=mode)

    def rows(self, version: str | None = None) -> dict[str, dict[str, Any]]:
        newest = previous_version(self.workspace)
        name = version or (newest.name if newest else "")
        return {r["ori_id"]: r for r in read_attributes(self.workspace, name).to_pylist()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def some(*names: str) -> dict[str, Any]:
    return {name: FIELDS[name] for name in names}


def shifted(name: str, by: float) -> dict[str, Any]:
    return {name: shapely.affinity.translate(FIELDS[name], by, 0)}


def test_what_each_mode_makes_of_missing_parcels(tmp_path: Path) -> None:
    for mode, there, deleted in (
        (ImportMode.REPLACE, "ab", ""),
        (UPDATE, "abcd", "cd"),
        (INCREMENTAL, "abcd", ""),
    ):
        (tmp_path / mode).mkdir()
        site = Site(tmp_path / mode)
        site.take(some("a", "b", "c", "d"))
        report = site.take(some("a") | shifted("b", 50), mode)
        rows = site.rows()
        assert sorted(rows) == list(there)
        assert [i for i in rows if rows[i]["is_deleted"]] == list(deleted)
        assert report.n_parcels == len(there) - len(deleted)
        assert report.counts["parcels"] == report.n_parcels
        for name in deleted:
            assert (rows[name]["tile"], rows[name]["block"], rows[name]["reason"]) == ("", -1, "deleted")
        assert report.mode is mode
        assert json.loads((report.path / "report.json").read_text())["mode"] == mode.value
        assert read_tiles(site.workspace, report.version)[0].n_parcels == report.n_parcels


def test_deleted_parcels_stay_deleted_until_they_are_declared_again(site: Site) -> None:
    site.take(some("a", "b", "c"))
    site.take(some("a"), UPDATE)
    report = site.take(some("d"), INCREMENTAL)
    assert report.diff == {"added": 1, "deleted": 0, "outline_changed": 0, "attributes_only": 0, "unchanged": 1}
    assert [i for i, r in site.rows().items() if r["is_deleted"]] == ["b", "c"]
    report = site.take(some("b"), INCREMENTAL)
    assert report.diff["added"] == 1
    rows = site.rows()
    assert (rows["b"]["NewID"], rows["b"]["tile"], rows["b"]["is_deleted"]) == (2, "T", False)
    assert np.isnan(rows["b"]["geom_change_ratio"])
    # A replacement knows nothing of what was deleted.
    site.take(some("a", "d"))
    assert sorted(site.rows()) == ["a", "d"]


def test_numbers_stay_through_all_modes(site: Site) -> None:
    site.take(some("b", "d"))
    site.take(some("c"), INCREMENTAL)
    site.take(some("a", "d"), UPDATE)
    site.take(some("e", "b"))
    site.take(some("c", "f"), INCREMENTAL)
    assert {i: r["NewID"] for i, r in site.rows().items()} == {"b": 1, "c": 3, "e": 5, "f": 6}


def test_a_name_that_was_the_users_and_is_ours_now(site: Site, tmp_path: Path) -> None:
    table = tmp_path / "lut.csv"
    table.write_text("ori_crop,CTnum,CT\n1,7,wheat\n")
    site.take(some("a", "b"), crop=["1", "1"], CT=["x", "y"])
    site.config = make_config(tiles=[TILE], crop_column="crop", crop_table=table)
    site.take(some("a"), UPDATE, crop=["1"], CT=["x"])
    assert {i: (r["CT"], r["src_CT"]) for i, r in site.rows().items()} == {"a": ("wheat", "x"), "b": (None, "y")}


def test_texts_of_more_than_an_array_can_hold(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.take(some("a", "b", "c"), note=["x", "y", "z"])
    # As if the texts were as long as 10 million parcels make them.
    monkeypatch.setattr("s4c_hpc.parcels.columns._LARGE_BYTES", 0)
    report = site.take(some("a", "b"), INCREMENTAL, note=["x", "Y"])
    assert pq.read_schema(report.path / "parcels.parquet").field("note").type == pa.large_string()
    assert {i: r["note"] for i, r in site.rows().items()} == {"a": "x", "b": "Y", "c": "z"}
    assert (report.diff["unchanged"], report.diff["attributes_only"]) == (2, 1)
    assert diff(site.workspace, "v0001", "v0002").counts == report.diff
    monkeypatch.undo()
    assert site.take(some("a", "b", "c"), UPDATE, note=["x", "Y", "z"]).diff["unchanged"] == 3


def test_how_much_an_outline_changed(site: Site) -> None:
    assert np.isnan([r["geom_change_ratio"] for r in site.rows(site.take(some("a", "b")).version).values()]).all()
    # Half of each is common: a third of the union is.
    site.take(some("a") | shifted("b", 50) | some("c"), UPDATE)
    ratio = {i: r["geom_change_ratio"] for i, r in site.rows().items()}
    assert (ratio["a"], ratio["b"]) == (0, pytest.approx(2 / 3))
    assert np.isnan(ratio["c"])
    site.take(shifted("a", 200), INCREMENTAL)
    ratio = {i: r["geom_change_ratio"] for i, r in site.rows().items()}
    assert ratio == {"a": 1, "b": 0, "c": 0}


def test_the_same_file_again_is_no_version(site: Site) -> None:
    site.take(some("a", "b"))
    for mode in (UPDATE, INCREMENTAL, ImportMode.REPLACE):
        first = site.take(shifted("a", 30) | some("b"), mode)
        # The outline of a had changed in the first place, and has not now: that is not another content.
        again = site.take(shifted("a", 30) | some("b"), mode)
        assert (again.version, again.new_version) == (first.version, False)


def test_flags_of_unchanged_neighbours_are_renewed(site: Site) -> None:
    site.take(some("a", "b", "c"))
    site.take({"d": shapely.affinity.translate(FIELDS["a"], 30, 0), "e": FIELDS["b"]}, INCREMENTAL)
    rows = site.rows()
    assert {i for i, r in rows.items() if r["Overlap"]} == {"a", "b", "d", "e"}
    assert {i for i, r in rows.items() if r["Duplic"]} == {"b", "e"}
    assert rows["a"]["overlap_share"] == pytest.approx(0.7)
    # What was deleted overlaps nobody.
    site.take(some("a", "b", "c"), UPDATE)
    assert not any(r["Overlap"] or r["Duplic"] or r["n_overlap"] for r in site.rows().values())


def test_facts_of_delivery_stay_with_parcels_that_are_not_delivered_again(site: Site) -> None:
    bowtie = shapely.Polygon([(600_000, 5_301_000), (600_100, 5_301_100), (600_100, 5_301_000), (600_000, 5_301_100)])
    site.take({"bow": bowtie, "null": None, "a": FIELDS["a"]})
    before = site.rows()
    site.take(some("b"), INCREMENTAL)
    after = site.rows()
    for name in ("bow", "null"):
        for column in ("GeomValid", "repair", "reason", "Area_meters", "tile"):
            assert after[name][column] == before[name][column]
    assert (after["bow"]["GeomValid"], after["null"]["reason"]) == (False, "no geometry")


def test_attributes_of_both_are_kept(site: Site) -> None:
    site.take(some("a", "b"), crop=["x", "y"], old=[1, 2], kind=[1, 2])
    report = site.take(some("b", "c"), INCREMENTAL, crop=["z", "w"], new=["p", "q"], kind=["k", "l"])
    rows = site.rows()
    assert {i: r["crop"] for i, r in rows.items()} == {"a": "x", "b": "z", "c": "w"}
    assert {i: r["new"] for i, r in rows.items()} == {"a": None, "b": "p", "c": "q"}
    assert {i: r["old"] for i, r in rows.items()} == {"a": 1, "b": None, "c": None}
    assert {i: r["kind"] for i, r in rows.items()} == {"a": "1", "b": "k", "c": "l"}  # numbers and texts become texts
    assert report.diff == {"added": 1, "deleted": 0, "outline_changed": 0, "attributes_only": 1, "unchanged": 1}
    told = json.loads((report.path / "report.json").read_text())["diff"]
    assert (told["before"], told["columns_added"], told["columns_removed"]) == ("v0001", ["new"], [])


def test_a_file_in_another_system_is_moved_to_that_of_the_version(tmp_path: Path) -> None:
    site = Site(tmp_path, geometry_tolerance_m=0.01)
    site.take(some("a", "b"))
    (before,) = read_tiles(site.workspace, "v0001")
    report = site.take(some("a", "b", "c"), UPDATE, crs="EPSG:4326", name="degrees.gpkg")
    assert report.diff == {"added": 1, "deleted": 0, "outline_changed": 0, "attributes_only": 0, "unchanged": 2}
    assert any("moved from WGS 84 to WGS 84 / UTM zone 32N" in note for note in report.notes)
    assert gpd.read_parquet(report.path / "parcels.parquet").crs.to_epsg() == 32632
    # The key of a tile has the system in it, and must not change by being read back.
    site.take(some("a", "b"), UPDATE)
    assert read_tiles(site.workspace, "v0003")[0].key == before.key


def test_an_outline_within_the_tolerance_is_the_old_one(tmp_path: Path) -> None:
    outlines = {}
    for tolerance in (0.0, 0.5):
        (tmp_path / str(tolerance)).mkdir()
        site = Site(tmp_path / str(tolerance), geometry_tolerance_m=tolerance)
        site.take(some("a", "b"))
        report = site.take(shifted("a", 0.4) | shifted("b", 0.6), UPDATE)
        frame = gpd.read_parquet(report.path / "parcels.parquet").set_index("ori_id").geometry
        outlines[tolerance] = (report.diff["outline_changed"], frame["a"].bounds[0], frame["b"].bounds[0])
    x = FIELDS["b"].bounds[0] + 0.6
    assert outlines == {0.0: (2, 600_000.4, pytest.approx(x)), 0.5: (1, 600_000, pytest.approx(x))}


def test_tolerance_is_metres_in_degrees_as_well(tmp_path: Path) -> None:
    for tolerance, n_changed in ((0.9, 2), (1.1, 0)):
        (tmp_path / str(tolerance)).mkdir()
        site = Site(tmp_path / str(tolerance), geometry_tolerance_m=tolerance)
        site.take(some("a", "b"), crs="EPSG:4326")
        north = shapely.affinity.translate(FIELDS["b"], 0, 1)
        report = site.take(shifted("a", 1) | {"b": north}, UPDATE, crs="EPSG:4326")
        assert report.diff["outline_changed"] == n_changed


def test_a_version_of_an_earlier_release_can_be_updated(site: Site) -> None:
    path = site.take(some("a", "b")).path / "parcels.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["is_deleted", "geom_change_ratio"]), path)
    told = json.loads((path.parent / "report.json").read_text())
    for key in ("mode", "diff", "crs"):
        del told[key]
    (path.parent / "report.json").write_text(json.dumps(told))
    report = site.take(some("a", "c"), UPDATE)
    assert report.diff == {"added": 1, "deleted": 1, "outline_changed": 0, "attributes_only": 0, "unchanged": 1}
    assert [(layer.version, layer.n_parcels) for layer in all_layers(site.workspace)["T"]] == [
        ("v0001", 2),
        ("v0002", 1),
    ]


def test_the_first_import_may_have_any_mode(tmp_path: Path) -> None:
    files = []
    for mode in ImportMode:
        (tmp_path / mode).mkdir()
        path = Site(tmp_path / mode).take(some("a", "b"), mode).path
        files.append((path / "parcels.parquet").read_bytes())
    assert files[0] == files[1] == files[2]


def test_the_mode_of_the_configuration_counts_and_same_sequence_is_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        site = Site(tmp_path / name, mode="update")
        for fields in (some("a", "b", "c"), shifted("b", 1) | some("c", "d"), some("a", "d")):
            file = write_layer(tmp_path / name / "a.fgb", list(fields.values()), columns={"id": list(fields)})
            import_parcels(file, site.workspace, site.config)
        folder = site.workspace.parcels
        contents.append({str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
        assert {i: r["is_deleted"] for i, r in site.rows().items()} == {"a": False, "b": True, "c": True, "d": False}
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3 + 4 + 4


def test_diff_of_any_two_versions(site: Site) -> None:
    site.take(some("a", "b", "c", "e"), crop=["x"] * 4)
    site.take(some("a", "b", "c", "e"), UPDATE, crop=["y", "x", "x", "x"])
    site.take(shifted("b", 50) | some("a", "d", "e"), UPDATE, crop=["x", "y", "x", "x"])
    found = diff(site.workspace, "v0001", "v0003")
    ids = {kind: found.ids[kind].tolist() for kind in found.ids}
    assert ids == {"added": [5], "deleted": [3], "outline_changed": [2], "attributes_only": [1], "unchanged": [4]}
    assert found.ratio.tolist() == [pytest.approx(2 / 3)]
    back = diff(site.workspace, "v0003", "v0001")
    assert {k: v.tolist() for k, v in back.ids.items()} == ids | {"added": [3], "deleted": [5]}
    assert diff(site.workspace, "v0002", "v0002").is_empty
    assert not found.is_empty


def test_an_update_that_deletes_much_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path)
    fields = {f"F{i:02d}": field for i, field in enumerate(squares(36))}
    site.take(fields, UPDATE)
    few = dict(list(fields.items())[:1])
    report = site.take(few, UPDATE, name="one.gpkg")
    (note,) = report.notes
    assert note == (
        "35 of 36 parcels are missing from one.gpkg and count as deleted; if it holds changes only, import it with "
        "--mode incremental (to go back, import the earlier declaration again first)"
    )
    assert note in json.loads((report.path / "report.json").read_text())["notes"]
    # As it says: back, and again.
    assert site.take(fields, UPDATE).notes == ()
    assert site.take(few, INCREMENTAL).notes == ()
    assert site.take(dict(list(fields.items())[:29]), UPDATE).notes == ()  # 7 of 36 are less than a fifth
    assert site.take(few).notes == ()


def test_few_parcels_may_all_be_deleted(site: Site) -> None:
    site.take(FIELDS)
    assert site.take({"a": FIELDS["a"]}, UPDATE).notes == ()


def test_a_wrong_file_is_told_of_by_its_own_parcels(site: Site) -> None:
    site.take(FIELDS)
    away = dict(zip("xy", squares(2, x0=100_000), strict=True))
    with pytest.raises(NoInputsError, match=r"none of 2 parcels lies in a tile: bounds \[100000\.0, .*, 100210\.0,"):
        site.take(away, UPDATE)
