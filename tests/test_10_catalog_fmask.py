"""Masks of FMask find the products that they belong to, and become part of their identity."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.muscate import build_muscate, write_fmask
from support.safe import build_safe

from s4c_hpc.catalog import Band, Product, ScanReport, read_products, scan
from s4c_hpc.catalog.fmask import FmaskFolder
from s4c_hpc.config import Config
from s4c_hpc.core.errors import MissingDataError
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.workspace import Workspace

TIME = dt.datetime(2018, 7, 10, 10, 45, 40, 458_000, tzinfo=dt.UTC)
DATATAKE = dt.datetime(2018, 7, 10, 10, 40, 21, tzinfo=dt.UTC)
PLACE = {"epsg": 32632, "ulx": 600_000.0, "uly": 5_400_000.0}


def mask(tmp_path: Path, name: str, value: int = 0, res_m: float = 20.0, **place: float) -> Path:
    n = round(1200 / res_m)
    values = np.full((n, n), value, np.uint8)
    return write_fmask(tmp_path / "fmask" / "2018" / name, values, **{**PLACE, **place}, res_m=res_m)  # type: ignore[arg-type]


def safe(tmp_path: Path, sensing: dt.datetime = DATATAKE, datastrip: dt.datetime | None = None) -> Path:
    return build_safe(
        tmp_path / "archive",
        baseline="02.12",
        sensing=sensing,
        datastrip=datastrip,
        generation=(datastrip or sensing) + dt.timedelta(hours=3),
        tile="32UPU",
        size_m=1200,
        epsg=32632,
        ulx=600_000,
        uly=5_400_000,
    )


def run(tmp_path: Path, kind: str = "maja", **source: str) -> tuple[ScanReport, dict[str, Product]]:
    keys = {"fmask_root": str(tmp_path / "fmask"), **source}
    config = Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": [{"kind": kind, "root": str(tmp_path / "archive"), **{k: v for k, v in keys.items() if v}}],
        }
    )
    workspace = Workspace(tmp_path / "ws")
    report = scan(config, workspace)
    return report, {product.id: product for product in read_products(workspace.catalog)}


@pytest.mark.parametrize(
    "name",
    [
        "L1C_T32UPU_A015929_20180710T104540_Fmask4.tif",
        "S2A_MSIL1C_20180710T104021_N0206_R008_T32UPU_20180710T104540_Fmask4.tif",
        "SENTINEL2A_20180710-104540-458_L2A_T32UPU_C_V1-0_Fmask4.tif",
    ],
)
@pytest.mark.parametrize("kind", ["maja", "sentinel2-l2a"])
def test_a_mask_belongs_to_the_acquisition_of_its_tile_and_time(tmp_path: Path, name: str, kind: str) -> None:
    build_muscate(tmp_path / "archive", time=TIME)
    safe(tmp_path)
    path = mask(tmp_path, name)
    mask(tmp_path, "L1C_T32UQU_A015929_20180710T104540_Fmask4.tif", value=1)
    mask(tmp_path, "L1C_T32UPU_A016072_20180720T104540_Fmask4.tif", value=1)
    report, found = run(tmp_path, kind)
    (product,) = found.values()
    assert product.external_mask is not None
    assert (product.external_mask.path, product.external_mask.grid.name) == (str(path), "20m")
    assert "fmask:" in product.revision
    assert report.warnings == ()


def test_of_several_the_closest_in_time_counts(tmp_path: Path) -> None:
    """A tile at the seam of two datastrips has two products and two masks of one datatake."""
    late = DATATAKE + dt.timedelta(minutes=12)
    first, second = safe(tmp_path), safe(tmp_path / "seam", datastrip=late)
    times = (DATATAKE + dt.timedelta(minutes=3), late)
    masks = [mask(tmp_path, f"L1C_T32UPU_A015929_{time:%Y%m%dT%H%M%S}_Fmask4.tif") for time in times]
    for archive, expected in ((first.parent, masks[0]), (second.parent, masks[1])):
        _, found = run(tmp_path, "sentinel2-l2a", root=str(archive))
        (product,) = found.values()
        assert product.external_mask is not None
        assert product.external_mask.path == str(expected)


def test_a_mask_serves_one_acquisition_only(tmp_path: Path) -> None:
    """Where the mask of a datastrip is missing, that of the other one does not stand in for it."""
    late = DATATAKE + dt.timedelta(minutes=12)
    safe(tmp_path)
    safe(tmp_path / "archive" / "seam", datastrip=late)
    time = DATATAKE + dt.timedelta(minutes=3)
    path = mask(tmp_path, f"L1C_T32UPU_A015929_{time:%Y%m%dT%H%M%S}_Fmask4.tif")
    for _ in range(2):  # the second time from the index
        report, found = run(tmp_path, "sentinel2-l2a")
        by_time = {product.datetime.replace(microsecond=0): product for product in found.values()}
        assert by_time[late].external_mask is None
        assert "fmask:" not in by_time[late].key
        attached = by_time[DATATAKE].external_mask
        assert attached is not None
        assert attached.path == str(path)
        assert report.warnings == (
            f"{tmp_path / 'fmask'}: 1 of 2 products have no FMask there, e.g. {by_time[late].id}",
        )


def test_a_mask_that_arrives_later_or_changes_makes_another_key(tmp_path: Path) -> None:
    build_muscate(tmp_path / "archive", time=TIME)
    (tmp_path / "fmask").mkdir()
    report, found = run(tmp_path)
    (bare,) = found.values()
    assert bare.external_mask is None
    (warning,) = report.warnings
    assert warning == f"{tmp_path / 'fmask'}: 1 of 1 products have no FMask there, e.g. {bare.id}"
    name = "L1C_T32UPU_A015929_20180710T104540_Fmask4.tif"
    mask(tmp_path, name)
    report, found = run(tmp_path)
    (masked,) = found.values()
    assert (report.n_new, report.warnings) == (1, ())
    assert run(tmp_path)[0].n_unchanged == 1
    mask(tmp_path, name, value=4)
    _, found = run(tmp_path)
    (changed,) = found.values()
    assert len({bare.key, masked.key, changed.key}) == 3
    # Without the setting all is as it was.
    report, found = run(tmp_path, fmask_root="")
    assert found == {bare.id: bare}
    assert report.warnings == ()


def test_other_file_names_by_pattern(tmp_path: Path) -> None:
    build_muscate(tmp_path / "archive", time=TIME)
    mask(tmp_path, "T32UPU_20180710T104540_clouds.tif")
    assert run(tmp_path)[0].warnings
    assert not run(tmp_path, fmask_pattern="*_clouds.tif")[0].warnings


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"res_m": 30.0}, "its pixels are not those of any band of the product"),
        ({"ulx": 600_007.0}, "its pixels are not those of any band of the product"),
        ({"epsg": 32633}, "its pixels are not those of any band of the product"),
    ],
)
def test_a_mask_that_does_not_fit_is_left_out_with_the_reason(
    tmp_path: Path, changes: dict[str, float], reason: str
) -> None:
    build_muscate(tmp_path / "archive", time=TIME)
    path = mask(tmp_path, "L1C_T32UPU_A015929_20180710T104540_Fmask4.tif", **changes)  # type: ignore[arg-type]
    report, found = run(tmp_path)
    assert [product.external_mask for product in found.values()] == [None]
    assert report.warnings[0] == f"FMask {path} is left out: {reason}"


def test_a_folder_of_masks_that_is_not_there_is_told(tmp_path: Path) -> None:
    build_muscate(tmp_path / "archive", time=TIME)
    with pytest.raises(MissingDataError, match="no such folder"):
        run(tmp_path)


def test_scenes_of_landsat_by_path_row_and_day(tmp_path: Path) -> None:
    """FMask works on level 1, whose name differs from that of level 2 in level and processing day."""
    grid = Grid(crs="EPSG:32632", ulx=600_000, uly=5_400_000, res_m=30, width=40, height=40)
    names = ("LC08_L1TP_193026_20180710_20200831_02_T1", "LC08_L1TP_193026_20180726_20200831_02_T1")
    paths = [mask(tmp_path, f"{name}_Fmask4.tif", res_m=30) for name in names]
    masks = FmaskFolder.find(tmp_path / "fmask", "*_Fmask4.tif", "sources.0")
    band = Band(name="B04", path="x", index=1, grid=grid, dtype="uint16", scale=1.0, offset=0.0, nodata=0.0)
    product = Product(
        id="LC08_L2SP_193026_20180710_20200901_02_T1_32UPU",
        source="landsat-c2l2",
        sensor="l8",
        platform="landsat-8",
        tile="32UPU",
        datetime=dt.datetime(2018, 7, 10, 10, 3, 12, tzinfo=dt.UTC),
        size_bytes=1,
        datatake="d",
        bands=(band,),
        class_kind="landsat",
    )
    found = masks.attach(product).external_mask
    assert found is not None
    assert found.path == str(paths[0])
    other = replace(product, id=product.id.replace("193026", "193027"))
    assert masks.attach(other) == other
