"""Versions: immutable, whole, the same bytes for the same content, and read back tile by tile."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from pyproj import CRS
from support.parcels import FREISING, FREISING_TILE, make_config, squares, write_layer

from s4c_hpc.core.errors import InputError, MissingDataError, TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import (
    BLOCK,
    import_parcels,
    latest_version,
    mgrs_tile,
    read_attributes,
    read_tile_parcels,
    read_tiles,
    version_of,
    versions_by_key,
)

FREISING_CONFIG = make_config(tiles=[FREISING_TILE], id_columns=["parcel_id"], crop_column="crop_code")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def shuffled(source: Path, target: Path, seed: int = 3) -> Path:
    frame = gpd.read_file(source, engine="pyogrio")
    frame.sample(frac=1, random_state=seed).to_file(target, engine="pyogrio")
    return target


def test_freising_with_its_own_tile(workspace: Workspace) -> None:
    report = import_parcels(FREISING, workspace, FREISING_CONFIG)
    assert (report.version, report.new_version, report.n_parcels, report.n_usable) == ("v0001", True, 18, 18)
    assert report.tiles == {"FREISING": 18}
    assert latest_version(workspace) == "v0001"
    (tile,) = read_tiles(workspace, "v0001")
    assert list(tile.tile.bounds) == [697020, 5361480, 702900, 5368660]
    assert (tile.n_parcels, tile.n_blocks) == (18, 1)
    delivered = gpd.read_file(FREISING, engine="pyogrio")
    assert tile.area_m2 == pytest.approx(delivered.area.sum())
    assert tile.perimeter_m == pytest.approx(delivered.length.sum())

    attributes = read_attributes(workspace, "v0001")
    assert attributes.column_names[:5] == ["NewID", "ori_id", "ori_crop", "tile", "block"]
    assert {"flik", "crop_src", "area_ha"} <= set(attributes.column_names)
    by_id = {r["ori_id"]: r for r in attributes.to_pylist()}
    for row in delivered.itertuples():
        ours = by_id[row.parcel_id]
        assert (ours["ori_crop"], ours["flik"], ours["GeomValid"]) == (row.crop_code, row.flik, True)
        assert ours["Area_meters"] == pytest.approx(row.geometry.area)
        assert ours["ShapeInd"] == pytest.approx(row.geometry.length / np.sqrt(4 * np.pi * row.geometry.area))
        assert ours["reason"] == ""
    ids = sorted(by_id)
    assert [by_id[i]["NewID"] for i in ids] == list(range(1, 19))

    parcels = read_tile_parcels(workspace, "v0001", tile.tile)
    assert parcels.new_id.dtype == parcels.block.dtype == np.int32
    assert parcels.new_id.tolist() == attributes.column("NewID").to_pylist()
    assert parcels.usable.all()
    tops = shapely.bounds(parcels.geometry)[:, 3]
    assert (np.diff(tops) <= 1e-3).all()


def test_freising_on_the_sentinel_2_grid(workspace: Workspace) -> None:
    config = make_config(id_columns=["parcel_id"])
    report = import_parcels(FREISING, workspace, config)
    assert sum(report.tiles.values()) == 18
    (tile,) = read_tiles(workspace, report.version)
    assert tile.tile == mgrs_tile(tile.tile.id)
    parcels = read_tile_parcels(workspace, report.version, tile.tile)
    expected = gpd.read_file(FREISING, engine="pyogrio").set_index("parcel_id").to_crs(tile.tile.crs).geometry
    names = read_attributes(workspace, report.version).column("ori_id").to_pylist()
    for name, geometry in zip(names, parcels.geometry, strict=True):
        assert shapely.equals_exact(geometry, expected[name], tolerance=1e-6)


def test_file_is_geoparquet_that_others_read(workspace: Workspace) -> None:
    path = import_parcels(FREISING, workspace, FREISING_CONFIG).path / "parcels.parquet"
    frame = gpd.read_parquet(path)
    assert frame.crs == CRS.from_epsg(32632)
    assert len(frame) == 18
    metadata = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert metadata["version"] == "1.1.0"
    assert metadata["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    x0, y0, x1, y1 = frame.geometry.iloc[0].bounds
    assert 1 <= len(gpd.read_parquet(path, bbox=(x0, y0, x1, y1))) < 18
    # And through GDAL-free SQL, as plain Parquet.
    assert pq.read_table(path, columns=["NewID"]).num_rows == 18


def test_same_file_twice_is_one_version(workspace: Workspace) -> None:
    first = import_parcels(FREISING, workspace, FREISING_CONFIG)
    again = import_parcels(FREISING, workspace, FREISING_CONFIG)
    assert (again.version, again.new_version) == ("v0001", False)
    assert again.counts == first.counts
    assert [p.name for p in workspace.parcels.iterdir()] == ["v0001"]
    assert not any(workspace.temporary.iterdir())


def test_a_gap_is_the_same_as_itself(tmp_path: Path, workspace: Workspace) -> None:
    columns = {"id": list("abcd"), "slope": [1.0, np.nan, 2.0, 3.0]}
    file = write_layer(tmp_path / "a.gpkg", [*squares(3), None], columns=columns)
    assert import_parcels(file, workspace, make_config()).new_version
    assert not import_parcels(file, workspace, make_config()).new_version
    filled = write_layer(tmp_path / "b.gpkg", [*squares(3), None], columns=columns | {"slope": [1.0, 0.0, 2.0, 3.0]})
    assert import_parcels(filled, workspace, make_config()).new_version


def test_same_bytes_whatever_the_order_of_rows(tmp_path: Path) -> None:
    reordered = shuffled(FREISING, tmp_path / "parcels.gpkg")
    contents = []
    for i, file in enumerate((FREISING, FREISING, reordered)):
        path = import_parcels(file, Workspace(tmp_path / str(i)), FREISING_CONFIG).path
        contents.append({p.name: p.read_bytes() for p in path.iterdir()})
    assert set(contents[0]) == {"parcels.parquet", "tiles.parquet", "report.json"}
    assert contents[0] == contents[1] == contents[2]


def test_same_bytes_with_overlaps_in_any_order(tmp_path: Path) -> None:
    # Sums of many overlaps are where the order of rows would show.
    rng = np.random.default_rng(1)
    x, y, w = 600_000 + rng.uniform(0, 500, 80), 5_300_000 + rng.uniform(0, 500, 80), rng.uniform(50, 200, 80)
    file = write_layer(tmp_path / "a.gpkg", shapely.box(x, y, x + w, y + w))
    other = shuffled(file, tmp_path / "b.gpkg")
    paths = [import_parcels(f, Workspace(tmp_path / f.stem), make_config()).path for f in (file, other)]
    one, two = ((p / "parcels.parquet").read_bytes() for p in paths)
    assert one == two


def test_numbers_stay_from_version_to_version(tmp_path: Path, workspace: Workspace) -> None:
    def run(*ids: str) -> dict[str, int]:
        fields = dict(zip("abcdef", squares(6), strict=True))
        file = write_layer(tmp_path / "a.gpkg", [fields[i] for i in ids], columns={"id": list(ids)})
        table = read_attributes(workspace, import_parcels(file, workspace, make_config()).version)
        return dict(zip(table["ori_id"].to_pylist(), table["NewID"].to_pylist(), strict=True))

    assert run("a", "c", "e") == {"a": 1, "c": 2, "e": 3}
    assert run("d", "a", "b") == {"a": 1, "b": 4, "d": 5}
    # c and e come back: they were never anyone else.
    assert run("a", "c", "e", "f") == {"a": 1, "c": 2, "e": 3, "f": 6}
    assert latest_version(workspace) == "v0003"


def test_another_limit_or_tile_is_another_version(workspace: Workspace) -> None:
    import_parcels(FREISING, workspace, FREISING_CONFIG)
    wider = make_config(tiles=[{**FREISING_TILE, "width_m": 6000}], id_columns=["parcel_id"], crop_column="crop_code")
    assert import_parcels(FREISING, workspace, wider).version == "v0002"
    assert import_parcels(FREISING, workspace, FREISING_CONFIG, crop_column="crop_src").version == "v0003"


def test_key_of_a_tile_changes_with_its_parcels_only(tmp_path: Path) -> None:
    tiles: list[dict[str, Any]] = [
        {"id": "W", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_301_000, "width_m": 1000, "height_m": 1000},
        {"id": "E", "crs": "EPSG:32632", "ulx": 601_000, "uly": 5_301_000, "width_m": 1000, "height_m": 1000},
    ]
    west, east = squares(2), squares(2, x0=601_500)
    moved = shapely.transform(east, lambda xy: xy + np.array([0, 5.0]))
    keys = []
    for i, fields in enumerate(([*west, *east], [*west, *moved])):
        workspace = Workspace(tmp_path / f"w{i}")
        file = write_layer(tmp_path / f"{i}.gpkg", fields)
        version = import_parcels(file, workspace, make_config(tiles=tiles)).version
        keys.append({t.tile.id: t.key for t in read_tiles(workspace, version)})
    assert keys[0]["W"] == keys[1]["W"]
    assert keys[0]["E"] != keys[1]["E"]
    assert re.fullmatch("parcels:[0-9a-f]{16}", keys[0]["W"])


@pytest.mark.parametrize(
    ("change", "is_other"),
    [
        ({}, False),
        ({"columns": {"crop": ["x", "z", "y"]}}, False),
        ({"columns": {"crop": ["x", "y", "z"], "note": ["", "", ""]}}, False),
        ({"shift_m": 0.5}, True),
        ({"tile": {"width_m": 4000}}, True),
        ({"tile": {"ulx": 599_900, "width_m": 3100}}, True),
        ({"crs": "EPSG:25832"}, True),
    ],
)
def test_a_key_covers_what_pixels_depend_on(
    tmp_path: Path, workspace: Workspace, change: dict[str, Any], is_other: bool
) -> None:
    keys = []
    for n, how in enumerate(({}, change)):
        tile = {"id": "T", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_301_000, "width_m": 3000, "height_m": 1000}
        fields = [shapely.affinity.translate(field, how.get("shift_m", 0.0)) for field in squares(3)]
        columns = {"id": ["a", "b", "c"], **how.get("columns", {"crop": ["x", "y", "z"]})}
        crs = how.get("crs", "EPSG:32632")
        file = write_layer(tmp_path / f"{n}.gpkg", fields, columns=columns, crs=crs)
        config = make_config(tiles=[{**tile, **how.get("tile", {})}])
        version = import_parcels(file, workspace, config, crop_column="crop").version
        keys.append((version, read_tiles(workspace, version)[0].key))
    (first, before), (second, after) = keys
    assert (before != after) == is_other
    assert first == "v0001"
    assert version_of(workspace, "T", after) == (second if is_other else first)
    assert versions_by_key(workspace)["T", before] == sorted({first, second} if not is_other else {first})


def test_a_key_that_no_version_has_is_told(workspace: Workspace) -> None:
    import_parcels(FREISING, workspace, FREISING_CONFIG)
    with pytest.raises(MissingDataError, match="no parcel version has parcels:0 on tile FREISING"):
        version_of(workspace, "FREISING", "parcels:0")


def test_every_row_stays_and_is_explained(tmp_path: Path, workspace: Workspace) -> None:
    good = list(squares(4))
    bowtie = shapely.Polygon([(601_500, 5_300_000), (601_600, 5_300_100), (601_600, 5_300_000), (601_500, 5_300_100)])
    halves = shapely.box(600_050, 5_300_000, 600_100, 5_300_100)
    outside = shapely.box(300_000, 5_000_000, 300_100, 5_000_100)
    crossing = shapely.box(601_900, 5_300_000, 602_050, 5_300_100)
    rows = {
        "g0": good[0], "g1": good[1], "twin": good[1], "bow": bowtie, "half": halves, "out": outside,
        "cross": crossing, "null": None, "point": shapely.Point(600_000, 5_300_000),
    }  # fmt: skip
    tile = {"id": "T", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_301_000, "width_m": 2000, "height_m": 1000}
    columns = {"id": list(rows), "NewID": range(9), "block": range(9), "geom_note": ["x"] * 9}
    file = write_layer(tmp_path / "a.gpkg", list(rows.values()), columns=columns)
    report = import_parcels(file, workspace, make_config(tiles=[tile]))
    table = {r["ori_id"]: r for r in read_attributes(workspace, report.version).to_pylist()}
    assert set(table) == set(rows)
    assert report.counts == {
        "parcels": 9,
        "usable": 6,
        "geom_invalid": 3,
        "unusable": 2,
        "without_tile": 1,
        "repaired": 1,
        "duplicate": 2,
        "overlap": 4,
        "sliver": 0,
        "crosses_tile": 1,
        "crosses_zone": 0,
        "overlap_pairs": 2,
    }
    assert [i for i in rows if table[i]["Duplic"]] == ["g1", "twin"]
    assert [i for i in rows if table[i]["Overlap"]] == ["g0", "g1", "twin", "half"]
    assert (table["g0"]["overlap_share"], table["half"]["overlap_share"]) == (0.5, 1.0)
    assert (table["bow"]["GeomValid"], table["bow"]["Area_meters"]) == (False, 5000)
    assert (table["cross"]["crosses"], table["cross"]["tile"]) == (True, "T")
    assert (table["out"]["tile"], table["out"]["block"], table["out"]["reason"]) == ("", -1, "outside of all tiles")
    assert table["null"]["reason"] == "no geometry"
    assert table["point"]["reason"] == "a Point, not a polygon"
    # The user's own columns of these names are kept under others.
    assert table["g0"]["src_NewID"] == 0
    assert any("'NewID'" in note and "'src_NewID'" in note for note in report.notes)

    written = json.loads((report.path / "report.json").read_text())
    assert written["source"]["file"] == "a.gpkg"
    assert str(tmp_path) not in (report.path / "report.json").read_text()
    assert written["counts"] == report.counts
    assert written["tiles"] == {"T": 6}
    assert [o["ori_id"] for o in written["offenders"]["unusable"]] == ["null", "point"]
    assert written["offenders"]["overlap"][0]["reason"] == "others cover 50.0% of it, more than 10%"
    assert {p["area_m2"] for p in written["overlap_pairs"]} == {10_000, 5_000}
    assert len(read_tile_parcels(workspace, report.version, read_tiles(workspace, report.version)[0].tile).new_id) == 6


def test_blocks_and_row_groups(tmp_path: Path, workspace: Workspace) -> None:
    n = BLOCK * 2 + 5
    west, east = squares(n, side=20, gap=2), squares(30, side=20, gap=2, x0=640_000)
    tiles = [
        {"id": "A", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_310_000, "width_m": 10_000, "height_m": 10_000},
        {"id": "B", "crs": "EPSG:32632", "ulx": 640_000, "uly": 5_310_000, "width_m": 10_000, "height_m": 10_000},
    ]
    file = write_layer(tmp_path / "a.fgb", [*west, *east], columns={"id": range(n + 30)})
    report = import_parcels(file, workspace, make_config(tiles=tiles))
    one, two = read_tiles(workspace, report.version)
    assert (one.n_parcels, one.n_blocks, two.n_parcels, two.n_blocks) == (n, 3, 30, 1)
    parcels = read_tile_parcels(workspace, report.version, one.tile)
    assert np.bincount(parcels.block).tolist() == [BLOCK, BLOCK, 5]
    bounds = shapely.bounds(parcels.geometry)
    assert (np.diff(np.round(bounds[:, 3], 3)) <= 0).all()
    same_row = np.diff(np.round(bounds[:, 3], 3)) == 0
    assert (np.diff(bounds[:, 0])[same_row] > 0).all()
    # Each row group holds one tile: reading a tile leaves the others on disk.
    file_groups = pq.ParquetFile(report.path / "parcels.parquet")
    column = file_groups.schema_arrow.names.index("tile")
    for i in range(file_groups.num_row_groups):
        statistics = file_groups.metadata.row_group(i).column(column).statistics
        assert statistics.min == statistics.max


def test_feature_number_as_id_when_asked_for(tmp_path: Path, workspace: Workspace) -> None:
    file = write_layer(tmp_path / "a.gpkg", squares(3), columns={"crop": ["x", "y", "z"]})
    report = import_parcels(file, workspace, make_config(), id_columns=["fid"])
    assert sorted(read_attributes(workspace, report.version)["ori_id"].to_pylist()) == ["1", "2", "3"]


def test_degrees(tmp_path: Path, workspace: Workspace) -> None:
    frame = gpd.read_file(FREISING, engine="pyogrio").to_crs("EPSG:4326")
    frame.to_file(tmp_path / "a.geojson", engine="pyogrio", COORDINATE_PRECISION=12)
    import_parcels(tmp_path / "a.geojson", workspace, FREISING_CONFIG)
    import_parcels(FREISING, Workspace(tmp_path / "other"), FREISING_CONFIG)
    degrees, metres = (read_attributes(w, "v0001") for w in (workspace, Workspace(tmp_path / "other")))
    for name in ("NewID", "tile", "block"):
        assert degrees[name].to_pylist() == metres[name].to_pylist()
    np.testing.assert_allclose(degrees["Area_meters"], metres["Area_meters"], rtol=1e-3)
    np.testing.assert_allclose(degrees["ShapeInd"], metres["ShapeInd"], rtol=1e-3)


def test_a_crs_far_from_its_use_is_noted(tmp_path: Path, workspace: Workspace) -> None:
    file = write_layer(tmp_path / "a.gpkg", [shapely.box(11.6, 48.3, 11.7, 48.4)], crs="EPSG:32632")
    report = import_parcels(file, workspace, make_config())
    assert any("check the file's CRS" in note for note in report.notes)


def test_reading_what_is_not_there(workspace: Workspace) -> None:
    assert latest_version(workspace) is None
    with pytest.raises(MissingDataError, match="v0007"):
        read_tiles(workspace, "v0007")
    version = import_parcels(FREISING, workspace, FREISING_CONFIG).version
    with pytest.raises(InputError, match="no parcel in this tile"):
        read_tile_parcels(workspace, version, mgrs_tile("31TCJ"))


def test_a_damaged_version_says_so(workspace: Workspace) -> None:
    path = import_parcels(FREISING, workspace, FREISING_CONFIG).path / "tiles.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="import the parcels again"):
        read_tiles(workspace, "v0001")


def test_full_disk_leaves_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("s4c_hpc.parcels.version.write_geoparquet", full)
    with pytest.raises(TemporaryError, match="disk is full"):
        import_parcels(FREISING, workspace, FREISING_CONFIG)
    assert latest_version(workspace) is None
    assert not any(workspace.temporary.iterdir())


def test_two_imports_at_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other one publishes while this one has chosen the same name.
    original = Path.rename

    def late(self: Path, target: Path) -> Path:
        Path(target).mkdir(parents=True)
        (Path(target) / "parcels.parquet").write_bytes(b"")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(TemporaryError, match="another import"):
        import_parcels(FREISING, workspace, FREISING_CONFIG)
    assert not any(workspace.temporary.iterdir())


def test_a_folder_that_lost_its_parcels_is_named(tmp_path: Path, workspace: Workspace) -> None:
    config = make_config()
    file = write_layer(tmp_path / "a.gpkg", [shapely.box(600_000, 5_400_000, 600_100, 5_400_100)])
    import_parcels(file, workspace, config)
    file = write_layer(tmp_path / "b.gpkg", [shapely.box(600_000, 5_400_000, 600_200, 5_400_100)])
    damaged = import_parcels(file, workspace, config).path
    (damaged / "parcels.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"version v0002 is damaged: it has no parcels\.parquet") as caught:
        import_parcels(file, workspace, config)
    assert caught.value.where == str(damaged)
    damaged.rename(tmp_path / "away")
    assert import_parcels(file, workspace, config).version == "v0002"


def test_a_partition_like_folder_is_no_column(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "year=2018" / "workspace")
    version = import_parcels(FREISING, workspace, FREISING_CONFIG).version
    assert "year" not in read_attributes(workspace, version).column_names
    assert pyogrio.read_info(FREISING)["features"] == read_attributes(workspace, version).num_rows
