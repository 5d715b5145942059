"""Features of real imagery equal an independent computation, and do not repeat what is wrong with the reference's."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import reference_features
from support.cli import DEMO_DATA
from support.runs import InlineExecutor

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config, load_config
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import run
from s4c_hpc.features import FeatureFile, collect, read_features
from s4c_hpc.parcels import import_parcels

BANDS = {"optical": reference_features.OPTICAL, "red-edge": reference_features.RED_EDGE}
DATES = [dt.date(2018, 2, 13) + dt.timedelta(days=10 * i) for i in range(20)]
"""Of the reference: from the first of the products to the last one, 27 August."""
PERIODS = [dt.date(2018, 1, 1) + dt.timedelta(days=10 * i) for i in range(37)]

Features = Callable[[Path, str], dict[str, FeatureFile]]


def configured(root: Path, preset: str) -> Config:
    (root / "ws").mkdir(exist_ok=True)
    config = root / "ws" / "s4c.toml"
    config.write_text(bundled("configs/demo.toml").read_text(encoding="utf-8"))
    flags = ["features.sets=['optical', 'red-edge']", f"features.preset={preset!r}"]
    return load_config(config, environment={"S4C_DEMO_DATA": str(root / "data")}, flags=flags).config


def made(root: Path, preset: str) -> dict[str, FeatureFile]:
    """Files of a preset by set, from the images in ``root / "data"``; what was made before is used again."""
    workspace, config = Workspace(root / "ws"), configured(root, preset)
    scan(config, workspace)
    if not workspace.parcels.exists():
        import_parcels(None, workspace, config)
    result = run(workspace, config, executor=InlineExecutor(), stages=["features"])
    assert result.exit_code is ExitCode.OK, result.status
    rows = [row for row in result.plan.tasks.to_pylist() if row["stage"] == "features"]
    files = [read_features(workspace.root / row["outputs"][0]) for row in rows]
    return {file.header.set: file for file in files}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("features")
    shutil.copytree(DEMO_DATA, root / "data")
    return root


def of_parcels(root: Path, file: FeatureFile) -> tuple[list[str], dict[str, np.ndarray]]:
    """Column names, and values of a row by the declaration's id of the parcel."""
    rows = pq.read_table(root / "ws/parcels/v0001/parcels.parquet", columns=["NewID", "ori_id"]).to_pydict()
    table = collect([file.path], np.array(rows["NewID"], np.int32))
    return [one.name for one in table.columns], dict(zip(rows["ori_id"], table.values, strict=True))


@pytest.mark.parametrize("chosen", ["optical", "red-edge"])
@pytest.mark.parametrize(("preset", "relative", "absolute"), [("reference", 1e-6, 0.0), ("default", 1e-5, 2e-6)])
def test_features_equal_an_independent_computation(
    demo: Path, preset: str, chosen: str, relative: float, absolute: float
) -> None:
    names, found = of_parcels(demo, made(demo, preset)[chosen])
    expected = reference_features.features(DEMO_DATA, preset, BANDS[chosen])
    assert set(found) == set(expected)
    assert len(found) == 18
    for parcel, columns in expected.items():
        assert names == list(columns)
        np.testing.assert_allclose(found[parcel], list(columns.values()), rtol=relative, atol=absolute, err_msg=parcel)
    values = np.array(list(found.values()))
    assert np.isfinite(values).all() == (preset == "reference"), "only the reference fills gaps of any length"
    assert np.isfinite(values).mean() > 0.6


def test_names_of_the_reference(demo: Path) -> None:
    files = made(demo, "reference")
    names = [one.name for one in files["optical"].features]
    assert names[0] == "XX_s2_pixels"
    assert names[1:21] == [f"XX_{day:%Y_%m_%d}_s2_observed" for day in DATES]
    features = [one.name for one in files["optical"].features if one.is_feature]
    assert features[:8] == [
        "XX_2018_02_13_s2_mean_b3",
        "XX_2018_02_13_s2_mean_b4",
        "XX_2018_02_13_s2_mean_b8",
        "XX_2018_02_13_s2_mean_b11",
        "XX_2018_02_13_s2_mean_ndvi",
        "XX_2018_02_13_s2_mean_ndwi",
        "XX_2018_02_13_s2_mean_brightness",
        "XX_2018_02_23_s2_mean_b3",
    ]
    assert features[140] == "XX_2018_02_13_s2_dev_b3"
    assert features[-1] == "XX_2018_08_22_s2_dev_brightness"
    assert len(features) == 7 * len(DATES) * 2
    red_edge = [one.name for one in files["red-edge"].features if one.is_feature]
    assert red_edge[:5] == [
        "XX_2018_02_13_s2_mean_b5",
        "XX_2018_02_13_s2_mean_b6",
        "XX_2018_02_13_s2_mean_b7",
        "XX_2018_02_13_s2_mean_b12",
        "XX_2018_02_23_s2_mean_b5",
    ]
    assert len(red_edge) == 4 * len(DATES) * 2
    assert not set(names) & {one.name for one in files["red-edge"].features}


def test_names_of_our_own(demo: Path) -> None:
    files = made(demo, "default")
    described = {one.name: one for one in files["optical"].features}
    features = [one for one in described.values() if one.is_feature]
    assert [one.name for one in features[:7]] == [
        "XX_2018_01_01_s2_mean_b3",
        "XX_2018_01_01_s2_mean_b4",
        "XX_2018_01_01_s2_mean_b8",
        "XX_2018_01_01_s2_mean_b11",
        "XX_2018_01_01_s2_mean_ndvi",
        "XX_2018_01_01_s2_mean_ndwi_gao",
        "XX_2018_01_01_s2_mean_brightness",
    ]
    assert [one.first for one in features[::7][: len(PERIODS)]] == PERIODS
    assert features[-1].last == dt.date(2018, 12, 31), "the last period ends with the season"
    assert {described[one.observed].first == one.first for one in features} == {True}
    assert len(features) == 7 * len(PERIODS) * 2
    header = files["optical"].header
    assert (header.tile, header.sensor, header.grid, header.buffer_m) == ("FREISING", "s2", "10m", 5.0)
    assert "gaps of up to 6 empty periods" in header.method


def test_the_water_index_of_the_reference_has_the_opposite_sign(demo: Path) -> None:
    _, theirs = of_parcels(demo, made(demo, "reference")["optical"])
    names = [one.name for one in made(demo, "reference")["optical"].features]
    own_names, own = of_parcels(demo, made(demo, "default")["optical"])
    grown = names.index("XX_2018_05_24_s2_mean_ndwi")
    own_grown = own_names.index("XX_2018_05_21_s2_mean_ndwi_gao")
    in_leaf = [parcel for parcel in own if own[parcel][own_grown] > 0.2]
    assert len(in_leaf) > 5
    assert all(theirs[parcel][grown] < -0.1 for parcel in in_leaf)


def without(demo: Path, root: Path, *days: str) -> Path:
    """The demo's data without the images of some days."""
    shutil.copytree(demo / "data", root / "data")
    for day in days:
        (path,) = (root / "data" / "images").glob(f"*_{day}T*.tif")
        path.unlink()
    return root


def test_an_earlier_product_shifts_dates_of_the_reference_and_none_of_ours(demo: Path, tmp_path: Path) -> None:
    late = without(demo, tmp_path, "20180213", "20180228")
    ours, theirs = made(late, "default")["optical"], made(late, "reference")["optical"]
    names = {
        preset: [one.name for one in made(demo, preset)["optical"].features] for preset in ("default", "reference")
    }
    before = {"default": of_parcels(late, ours), "reference": of_parcels(late, theirs)}
    assert before["reference"][0] != names["reference"]
    assert before["reference"][0][1] == "XX_2018_03_08_s2_observed"
    assert before["default"][0] == names["default"]
    # And nothing that was seen is another value: what the products add stands in their own periods and gaps.
    _, whole = of_parcels(demo, made(demo, "default")["optical"])
    later = [i for i, name in enumerate(names["default"]) if name[3:13] >= "2018_03_12"]
    assert len(later) > 200
    for parcel, values in before["default"][1].items():
        np.testing.assert_array_equal(values[later], whole[parcel][later])


def test_a_product_less_changes_no_name(demo: Path, tmp_path: Path) -> None:
    fewer = without(demo, tmp_path, "20180507", "20180827")
    for chosen, file in made(fewer, "default").items():
        assert file.features == made(demo, "default")[chosen].features
