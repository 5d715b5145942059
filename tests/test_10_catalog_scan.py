"""The scan: incremental, judging products against each other, losing nothing in silence."""

from __future__ import annotations

import datetime as dt
import errno
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import rasterio
from support.permissions import permissions_count
from support.safe import (
    DATA,
    REAL_L1C,
    Baseline,
    build_safe,
    build_skeleton,
    drop_band,
    image_path,
    product_xml,
    truncate,
)

from s4c_hpc.catalog import (
    BROKEN,
    OK,
    SUPERSEDED,
    Product,
    ScanReport,
    geotiff,
    headers_read,
    opened,
    read_products,
    safe_s2,
    scan,
)
from s4c_hpc.catalog.index import read_entries
from s4c_hpc.config import Config, GeoTiffSource
from s4c_hpc.core.errors import ConfigError, MissingDataError
from s4c_hpc.core.workspace import Workspace

DEMO = Path(__file__).parent / "data" / "tum-freising-2018" / "images"
SENSING = dt.datetime(2020, 5, 1, 10, 20, 31, tzinfo=dt.UTC)


def config(*sources: dict[str, Any], tiles: tuple[dict[str, Any], ...] = ()) -> Config:
    site = {"name": "test", "season_start": "2020-01-01", "season_end": "2020-12-31"}
    return Config.model_validate({"site": site, "sources": sources, "grid": {"tiles": tiles}})


def safe_source(root: Path) -> dict[str, Any]:
    return {"kind": "sentinel2-l2a", "root": root}


def demo_source(root: Path = DEMO, **changes: Any) -> dict[str, Any]:
    values = {"kind": "geotiff", "root": root, "pattern": "S2_L2A_{datetime}.tif", "tile": "32UQU"}
    return {**values, "bands": {"B04": 4, "B08": 8}, "mask_band": 13, **changes}


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


def by_id(ws: Workspace) -> dict[str, Product]:
    return {product.id: product for product in read_products(ws.catalog)}


def counts(report: ScanReport) -> tuple[int, int, int]:
    return (report.n_new, report.n_unchanged, report.n_removed)


def test_products_at_any_depth_are_found(ws: Workspace, archive: Path) -> None:
    build_safe(archive / "2023" / "06", size_m=600)
    build_safe(archive, baseline="02.12", size_m=600)
    report = scan(config(safe_source(archive)), ws)
    assert (report.n_products, report.n_usable, report.warnings) == (2, 2, ())
    assert counts(report) == (2, 0, 0)
    assert report.looked_in == (f"*.SAFE folders of Sentinel-2 at any depth below {archive}: 2 found",)


def test_a_second_scan_opens_nothing_and_writes_the_same_bytes(
    ws: Workspace, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_safe(archive, size_m=600)
    truncate(product_xml(build_safe(archive, baseline="04.00", size_m=600)))
    asked = config(safe_source(archive), demo_source())
    first = scan(asked, ws)
    assert counts(first) == (25, 0, 0)
    content = ws.catalog.read_bytes()
    before = (opened(), headers_read())
    monkeypatch.setattr(safe_s2, "read_xml", lambda path: pytest.fail(f"{path} was opened"))
    second = scan(asked, ws)
    assert counts(second) == (0, 25, 0)
    assert (second.n_usable, second.n_broken) == (first.n_usable, first.n_broken) == (24, 1)
    assert (opened(), headers_read()) == before
    assert ws.catalog.read_bytes() == content


def test_changed_new_and_removed_products_are_noticed(ws: Workspace, archive: Path) -> None:
    asked = config(safe_source(archive))
    kept, changed, gone = (build_safe(archive, baseline=b, size_m=600) for b in ("02.12", "02.14", "04.00"))
    scan(asked, ws)
    drop_band(changed, "B08")
    shutil.rmtree(gone)
    build_safe(archive, baseline="05.09", size_m=600)
    report = scan(asked, ws)
    assert counts(report) == (2, 1, 1)
    products = by_id(ws)
    assert gone.stem not in products
    assert products[kept.stem].status == OK
    assert products[changed.stem].reason == "files of B08 10 m (missing) are not there"


def test_a_product_that_arrives_piece_by_piece_becomes_whole(ws: Workspace, archive: Path) -> None:
    asked = config(safe_source(archive))
    safe = build_safe(archive, size_m=600)
    image = image_path(safe, "B12")
    content = image.read_bytes()
    image.write_bytes(b"")
    assert scan(asked, ws).n_broken == 1
    image.write_bytes(content)
    assert scan(asked, ws).n_usable == 1


def test_a_product_that_moved_keeps_its_key(ws: Workspace, archive: Path) -> None:
    asked = config(safe_source(archive))
    safe = build_safe(archive, size_m=600)
    scan(asked, ws)
    key = read_products(ws.catalog)[0].key
    (archive / "deeper").mkdir()
    safe.rename(archive / "deeper" / safe.name)
    assert counts(scan(asked, ws)) == (1, 0, 1)
    product = read_products(ws.catalog)[0]
    assert product.key == key
    assert "/deeper/" in product.bands[0].path


def test_a_newer_baseline_supersedes_and_the_old_one_returns_without_it(ws: Workspace, archive: Path) -> None:
    asked = config(safe_source(archive))
    old = build_safe(archive, baseline="02.14", sensing=SENSING, size_m=600)
    scan(asked, ws)
    new = build_safe(archive, baseline="05.09", sensing=SENSING, datatake_of="02.14", tile="22HBD", size_m=600)
    report = scan(asked, ws)
    assert (counts(report), report.n_superseded, report.n_usable) == ((1, 1, 0), 1, 1)
    products = by_id(ws)
    assert products[new.stem].status == OK
    assert products[old.stem].status == SUPERSEDED
    assert products[old.stem].reason == f"superseded by {new.stem} (baseline 05.09 instead of 02.14)"
    truncate(product_xml(new))
    assert (scan(asked, ws).n_broken, by_id(ws)[old.stem].status) == (1, OK)
    shutil.rmtree(new)
    assert counts(scan(asked, ws)) == (0, 1, 1)
    assert (by_id(ws)[old.stem].status, by_id(ws)[old.stem].reason) == (OK, "")


def test_a_second_copy_is_a_row_and_takes_over_when_the_first_goes(ws: Workspace, archive: Path) -> None:
    asked = config(safe_source(archive))
    safe = build_safe(archive / "a", size_m=600)
    copy = Path(shutil.copytree(safe, archive / "b" / safe.name))
    report = scan(asked, ws)
    assert (report.n_usable, report.n_superseded) == (1, 1)
    reason = by_id(ws)[f"{safe.stem}.copy"].reason
    assert reason == f"another copy of {safe.stem}, which is at {safe}"
    shutil.rmtree(safe)
    assert counts(scan(asked, ws)) == (0, 1, 1)
    product = by_id(ws)[safe.stem]
    assert (product.status, str(copy) in product.bands[0].path) == (OK, True)


def test_a_whole_copy_goes_before_a_broken_one(ws: Workspace, archive: Path) -> None:
    safe = build_safe(archive / "a", size_m=600)
    shutil.copytree(safe, archive / "b" / safe.name)
    drop_band(safe, "B04")
    scan(config(safe_source(archive)), ws)
    products = by_id(ws)
    assert products[safe.stem].status == OK
    assert products[f"{safe.stem}.copy"].status == BROKEN


def test_files_of_two_tiles_with_the_same_names_stay_apart(ws: Workspace, archive: Path) -> None:
    for tile in ("east", "west"):
        (archive / tile).mkdir()
        shutil.copy(DEMO / "S2_L2A_20180507T102648Z.tif", archive / tile)
    scan(config(demo_source(archive / "east", tile="32UQU"), demo_source(archive / "west", tile="32UPU")), ws)
    products = by_id(ws)
    name = "S2_L2A_20180507T102648Z"
    assert {i: (p.tile, p.status) for i, p in products.items()} == {
        f"{name}-s2-32UQU": ("32UQU", OK),
        f"{name}-s2-32UPU": ("32UPU", OK),
    }


def copied(folder: Path, scale: int = 1) -> Path:
    """A file of the demo in a new folder, or one of the same name with other values."""
    folder.mkdir()
    name = "S2_L2A_20180507T102648Z.tif"
    shutil.copy(DEMO / name, folder)
    if scale != 1:
        with rasterio.open(folder / name, "r+") as raster:
            raster.write(raster.read() * scale)
    return folder


def test_files_of_two_sensors_with_the_same_names_are_both_used(ws: Workspace, archive: Path) -> None:
    east, west = copied(archive / "east"), copied(archive / "west")
    scan(config(demo_source(east, sensor="s2"), demo_source(west, sensor="l8")), ws)
    assert {(p.sensor, p.status) for p in read_products(ws.catalog)} == {("s2", OK), ("l8", OK)}


RED_AND_INFRARED = {"B04": 4, "B08": 8}


@pytest.mark.parametrize(
    ("scale", "bands", "n_usable"), [(1, RED_AND_INFRARED, 1), (1, {"B11": 11}, 2), (2, RED_AND_INFRARED, 2)]
)
def test_only_what_is_equal_in_content_is_a_copy(
    ws: Workspace, archive: Path, scale: int, bands: dict[str, int], n_usable: int
) -> None:
    east, west = copied(archive / "east"), copied(archive / "west", scale)
    report = scan(config(demo_source(east), demo_source(west, bands=bands)), ws)
    assert (report.n_usable, report.n_superseded) == (n_usable, 2 - n_usable)
    assert len({p.id for p in read_products(ws.catalog)}) == 2


def test_a_file_of_two_sets_is_refused(ws: Workspace, archive: Path) -> None:
    folder = copied(archive / "set")
    (archive / "link").symlink_to(folder)
    asked = config(demo_source(folder), demo_source(archive / "link", pattern="S2_{datetime}.tif", datetime_format="x"))
    with pytest.raises(ConfigError, match=r"sources\.1\.pattern: file .*102648Z\.tif belongs to sources\.0 as well"):
        scan(asked, ws)


def test_both_parts_of_a_tile_at_the_seam_of_two_datastrips_are_used(ws: Workspace, archive: Path) -> None:
    """Each part is superseded by its own reprocessing only."""
    later = SENSING + dt.timedelta(minutes=7)
    asked = config(safe_source(archive))

    def part(baseline: Baseline, datastrip: dt.datetime, hours: int) -> str:
        generation = SENSING + dt.timedelta(hours=hours)
        safe = build_safe(
            archive,
            baseline=baseline,
            sensing=SENSING,
            generation=generation,
            datastrip=datastrip,
            tile="22HBD",
            datatake_of="02.14",
            size_m=600,
        )
        return safe.stem

    first, second = part("02.14", SENSING, 3), part("02.14", later, 4)
    report = scan(asked, ws)
    assert (report.n_usable, report.n_superseded) == (2, 0)
    products = by_id(ws)
    assert products[first].datetime.replace(microsecond=0) == SENSING
    assert products[second].datetime == later
    new = part("05.09", later, 9)
    scan(asked, ws)
    assert {i: p.status for i, p in by_id(ws).items()} == {first: OK, second: SUPERSEDED, new: OK}


def test_a_set_whose_nodata_is_nan_is_scanned(ws: Workspace, archive: Path) -> None:
    with rasterio.open(copied(archive / "set") / "S2_L2A_20180507T102648Z.tif") as raster:
        pixels, profile = raster.read().astype("float32"), {**raster.profile, "dtype": "float32"}
    with rasterio.open(archive / "S2_L2A_20180507T102648Z.tif", "w", **profile) as raster:
        raster.write(pixels)
    asked = config(demo_source(archive, nodata=math.nan))
    assert scan(asked, ws).n_usable == 1
    assert [math.isnan(band.nodata or 0) for band in read_products(ws.catalog)[0].bands] == [True, True]
    assert counts(scan(asked, ws)) == (0, 1, 0)


def test_no_products_is_a_report_and_not_an_error(ws: Workspace, archive: Path) -> None:
    report = scan(config(safe_source(archive), demo_source(archive)), ws)
    assert report.n_products == 0
    assert report.looked_in == (
        f"*.SAFE folders of Sentinel-2 at any depth below {archive}: 0 found",
        f"S2_L2A_{{datetime}}.tif in {archive}: 0 found",
    )
    assert read_products(ws.catalog) == []
    assert scan(config(), ws).looked_in == ("nowhere: the configuration names no [[sources]]",)


def test_a_missing_root_is_an_error_and_leaves_the_index(ws: Workspace, archive: Path) -> None:
    build_safe(archive, size_m=600)
    asked = config(safe_source(archive))
    scan(asked, ws)
    content = ws.catalog.read_bytes()
    archive.rename(archive.with_name("unmounted"))
    with pytest.raises(MissingDataError, match=r"sources\.0\.root: no such folder"):
        scan(asked, ws)
    assert ws.catalog.read_bytes() == content


def test_what_is_not_ours_is_left_alone_and_told(ws: Workspace, archive: Path) -> None:
    (archive / "S1A_IW_GRDH_1SDV_20200501T000000.SAFE").mkdir()
    (archive / "S2A_MSIL2A_20200501T102031_N0214_R065_T32UPU_20200501T120000.zip").touch()
    report = scan(config(safe_source(archive)), ws)
    assert report.n_products == 0
    assert report.warnings == (
        f"{archive}: 1 SAFE folders of other satellites were left alone",
        f"{archive}: 1 packed products were left alone; unpack them",
    )


def test_level_1c_is_a_row(ws: Workspace, archive: Path) -> None:
    shutil.copytree(DATA / REAL_L1C, archive / REAL_L1C)
    scan(config(safe_source(archive)), ws)
    assert [p.reason for p in read_products(ws.catalog)] == ["level 1C, needs L2A"]


def test_links_are_followed_and_loops_end(ws: Workspace, archive: Path, tmp_path: Path) -> None:
    build_safe(tmp_path / "elsewhere", size_m=600)
    (archive / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(archive)
    report = scan(config(safe_source(archive)), ws)
    assert (report.n_products, report.n_usable) == (1, 1)


def test_a_product_named_as_root_is_found(ws: Workspace, archive: Path) -> None:
    assert scan(config(safe_source(build_safe(archive, size_m=600))), ws).n_usable == 1


def test_a_damaged_index_is_made_anew(ws: Workspace, archive: Path) -> None:
    build_safe(archive, size_m=600)
    asked = config(safe_source(archive))
    scan(asked, ws)
    content = ws.catalog.read_bytes()
    truncate(ws.catalog)
    report = scan(asked, ws)
    assert counts(report) == (1, 0, 0)
    assert "the index was not usable and is made anew" in report.warnings[0]
    assert ws.catalog.read_bytes() == content


def test_a_band_number_that_no_file_has_is_the_configurations_fault(ws: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"sources\.0\.bands: no band number 14 \(B08\): the file has 13") as caught:
        scan(config(demo_source(bands={"B04": 4, "B08": 14})), ws)
    assert caught.value.hint
    assert not ws.catalog.exists()


def test_a_file_with_fewer_bands_than_the_others_is_a_row(ws: Workspace, archive: Path) -> None:
    shutil.copy(DEMO / "S2_L2A_20180507T102648Z.tif", archive)
    with rasterio.open(DEMO / "S2_L2A_20180512T102148Z.tif") as raster:
        pixels, profile = raster.read([1, 2]), {**raster.profile, "count": 2}
    with rasterio.open(archive / "S2_L2A_20180512T102148Z.tif", "w", **profile) as raster:
        raster.write(pixels)
    report = scan(config(demo_source(archive)), ws)
    assert (report.n_usable, report.n_broken) == (1, 1)


def test_a_changed_declaration_is_read_again(ws: Workspace) -> None:
    scan(config(demo_source()), ws)
    keys = [p.key for p in read_products(ws.catalog)]
    assert scan(config(demo_source(mask_classes={1: "valid"})), ws).n_new == 23
    assert [p.key for p in read_products(ws.catalog)] == keys
    assert {str(p.class_table) for p in read_products(ws.catalog)} == {"{1: 'valid'}"}
    assert scan(config(demo_source(scale=1e-3)), ws).n_new == 23
    assert not {p.key for p in read_products(ws.catalog)} & set(keys)


def test_unreadable_folders_are_told_and_products_in_them_are_not_forgotten(ws: Workspace, archive: Path) -> None:
    asked = config(safe_source(archive))
    above = build_safe(archive / "closed", baseline="02.12", size_m=600)
    closed = build_safe(archive, baseline="04.00", size_m=600)
    open_ = build_safe(archive, baseline="05.09", size_m=600)
    assert scan(asked, ws).n_usable == 3
    for folder in (above.parent, closed):
        folder.chmod(0o000)
    with permissions_count():
        report = scan(asked, ws)
    for folder in (above.parent, closed):
        folder.chmod(0o700)
    products = by_id(ws)
    assert (report.n_usable, report.n_broken, report.n_removed) == (1, 2, 0)
    assert products[open_.stem].status == OK
    assert products[closed.stem].reason == "cannot be read (Permission denied)"
    assert products[above.stem].reason == f"folder {above.parent} cannot be read (Permission denied)"
    assert report.warnings == (
        f"folder {above.parent} cannot be read (Permission denied); what is in it was not looked at",
    )
    assert scan(asked, ws).n_usable == 3


def test_an_unreadable_root_is_an_error(ws: Workspace, archive: Path) -> None:
    archive.chmod(0o000)
    with permissions_count(), pytest.raises(MissingDataError, match=r"cannot be read \(Permission denied\)"):
        scan(config(safe_source(archive)), ws)
    archive.chmod(0o700)


def test_an_unreadable_metadata_file_is_a_row(ws: Workspace, archive: Path) -> None:
    product_xml(build_skeleton(archive)).chmod(0o000)
    with permissions_count():
        scan(config(safe_source(archive)), ws)
    assert [p.reason for p in read_products(ws.catalog)] == ["MTD_MSIL2A.xml: cannot be read (Permission denied)"]


def test_a_permission_that_was_mended_makes_a_product_whole(ws: Workspace, archive: Path) -> None:
    """Where another user's permissions change, sizes and times stay: here a group that is joined, say."""
    metadata = product_xml(build_safe(archive, size_m=600))
    asked = config(safe_source(archive))
    read_bytes = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path == metadata:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read_bytes(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        assert scan(asked, ws).n_broken == 1
    assert [p.reason for p in read_products(ws.catalog)] == ["MTD_MSIL2A.xml: cannot be read (Permission denied)"]
    assert scan(asked, ws).n_usable == 1


def test_an_unreadable_geotiff_is_a_row(ws: Workspace, archive: Path) -> None:
    shutil.copy(DEMO / "S2_L2A_20180507T102648Z.tif", archive)
    next(archive.iterdir()).chmod(0o000)
    with permissions_count():
        scan(config(demo_source(archive)), ws)
    product = read_products(ws.catalog)[0]
    assert product.status == BROKEN
    assert "Permission denied" in product.reason


def test_a_dangling_link_inside_a_product_is_named(ws: Workspace, archive: Path) -> None:
    safe = build_safe(archive, size_m=600)
    (safe / "HTML").symlink_to(archive / "gone")
    scan(config(safe_source(archive)), ws)
    assert [p.reason for p in read_products(ws.catalog)] == ["HTML: cannot be read (No such file or directory)"]


def test_a_file_that_vanishes_while_the_scan_runs_is_a_row(
    ws: Workspace, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(DEMO / "S2_L2A_20180507T102648Z.tif", archive)
    find = geotiff.find_geotiffs

    def find_and_lose(source: GeoTiffSource) -> list[Path]:
        files = find(source)
        files[0].unlink()
        return files

    monkeypatch.setattr(geotiff, "find_geotiffs", find_and_lose)
    scan(config(demo_source(archive)), ws)
    product = read_products(ws.catalog)[0]
    assert (product.status, product.reason) == (BROKEN, "cannot be read (No such file or directory)")
    assert product.datetime == dt.datetime(2018, 5, 7, 10, 26, 48, tzinfo=dt.UTC)


def test_a_path_that_is_not_utf8_is_a_row_and_the_rest_is_used(ws: Workspace, archive: Path) -> None:
    """An old archive may hold names in Latin-1; the index and GDAL hold text."""
    whole = build_skeleton(archive)
    kitchen = Path(os.fsdecode(os.fsencode(archive) + b"/k\xfcche"))
    other = build_skeleton(kitchen, "04.00")
    image = DEMO / "S2_L2A_20180507T102648Z.tif"
    shutil.copy(image, os.fsdecode(os.fsencode(archive) + b"/S2_L2A_k\xfcche.tif"))
    shutil.copy(image, archive)
    asked = config(safe_source(archive), demo_source(archive))
    for _ in range(2):
        report = scan(asked, ws)
        assert (report.n_usable, report.n_broken) == (2, 2)
        found = {entry.path: entry.product for entry in read_entries(ws.catalog)}
        assert all(found[str(path)].status == OK for path in (whole, archive / image.name))
        for name in (f"k\\xfcche/{other.name}", "S2_L2A_k\\xfcche.tif"):
            assert found[f"{archive}/{name}"].reason == "its path is not UTF-8; rename the folder or file"
    kitchen.chmod(0o000)
    with permissions_count():
        report = scan(asked, ws)
    kitchen.chmod(0o700)
    assert (report.n_usable, report.n_broken) == (2, 2)
    assert report.warnings[0].startswith(f"folder {archive}/k\\xfcche cannot be read")
