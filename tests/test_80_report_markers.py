"""What the report reads from marker files: sums over all parcels, values of a few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.report_workspace import CLASSES, Columns, freising_config, write_markers

from s4c_hpc.config import Category, Config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.report.coverage import coverage
from s4c_hpc.report.dictionary import dictionary
from s4c_hpc.report.marker_files import marker_files
from s4c_hpc.report.marker_scan import MarkerScan, scan_markers
from s4c_hpc.report.sky import CATEGORIES

N = 2500
"""More than two record batches."""


def columns(seed: int, n: int = N, grid: str = "10m", *, dtype: type[np.generic] = np.int32) -> Columns:
    rng = np.random.default_rng(seed)
    classes = {name: rng.integers(0, 9, n).astype(dtype) for name in CLASSES[1:]}
    total = np.sum(list(classes.values()), axis=0).astype(dtype)
    counts = {f"s2_{grid}_n_{name}": values for name, values in {"total": total, **classes}.items()}
    values = {
        f"s2_{v}_{s}": rng.normal(size=n).astype(np.float32) for v in ("b04", "ndvi") for s in ("mean", "p25", "p75")
    }
    return {**values, **counts}


def scanned(root: Path, config: Config, shown: list[int]) -> MarkerScan:
    return scan_markers(marker_files(Workspace(root), config), config, shown)


def test_sums_and_counts_equal_plain_numpy(tmp_path: Path) -> None:
    config = freising_config()
    dates = {"20180507": columns(1), "20180512": columns(2), "20180603": columns(3)}
    ids = np.arange(10, 10 + N, dtype=np.int32)
    write_markers(Workspace(tmp_path), config, "FREISING", ids, dates)
    scan = scanned(tmp_path, config, [])
    clear = np.zeros(N, int)
    for i, of_date in enumerate(dates.values()):
        for k, category in enumerate(CATEGORIES):
            assert scan.totals[0, i, k] == of_date[f"s2_10m_n_{category.value}"].sum()
        good = of_date["s2_10m_n_valid"] + of_date["s2_10m_n_water"]
        clear += (of_date["s2_10m_n_total"] > 0) & (good >= 0.9 * of_date["s2_10m_n_total"])
    np.testing.assert_array_equal(scan.n_clear, clear)
    np.testing.assert_array_equal(scan.new_id, ids)
    most = np.max([d["s2_10m_n_total"] for d in dates.values()], axis=0)
    assert (scan.pixels["10m"] <= most).all()


def test_values_are_kept_for_shown_parcels_only(tmp_path: Path) -> None:
    config = freising_config()
    dates = {"20180507": columns(1), "20180603": columns(3)}
    ids = np.arange(10, 10 + N, dtype=np.int32)
    write_markers(Workspace(tmp_path), config, "FREISING", ids, dates)
    # 5 is in no marker file: it has no row and disturbs no other.
    scan = scanned(tmp_path, config, [2000, 11, 5])
    assert scan.shown.new_id.tolist() == [11, 2000]
    for i, of_date in enumerate(dates.values()):
        np.testing.assert_array_equal(scan.shown.value[:, i], of_date["s2_ndvi_mean"][[1, 1990]])
        np.testing.assert_array_equal(scan.shown.low[:, i], of_date["s2_ndvi_p25"][[1, 1990]])
        np.testing.assert_array_equal(scan.shown.counts[:, i, 0], of_date["s2_10m_n_valid"][[1, 1990]])


def test_tiles_are_added_up_and_kept_apart(tmp_path: Path) -> None:
    config = freising_config()
    workspace = Workspace(tmp_path)
    west, east = columns(1, 5), columns(2, 7)
    write_markers(workspace, config, "32UPU", np.arange(1, 6, dtype=np.int32), {"20180507": west})
    write_markers(workspace, config, "32UQU", np.arange(6, 13, dtype=np.int32), {"20180507": east, "20180508": east})
    scan = scanned(tmp_path, config, [1, 12])
    assert scan.tiles == ("32UPU", "32UQU")
    assert scan.totals[0, 1].sum() == 0
    assert scan.n_dates.tolist() == [1] * 5 + [2] * 7
    assert np.isnan(scan.shown.counts[0, 1]).all()
    shares = coverage(scan, config).dates[0]
    both = sum(c["s2_10m_n_valid"].sum() + c["s2_10m_n_water"].sum() for c in (west, east))
    assert shares.usable == pytest.approx(both / sum(c["s2_10m_n_total"].sum() for c in (west, east)))
    assert (shares.n_tiles, coverage(scan, config).dates[1].n_tiles) == (2, 1)


def test_two_images_of_one_day_are_two(tmp_path: Path) -> None:
    config = freising_config()
    dates = {"20180507t101501": columns(1, 3), "20180507t102648": columns(2, 3)}
    write_markers(Workspace(tmp_path), config, "FREISING", np.arange(3, dtype=np.int32), dates)
    scan = scanned(tmp_path, config, [0])
    assert [a.when for a in scan.choice.acquisitions] == list(dates)
    assert len({a.day for a in scan.choice.acquisitions}) == 1
    assert coverage(scan, config).drawing.count("2018-05-07, FREISING") == 2


def test_without_ndvi_another_variable_is_shown(tmp_path: Path) -> None:
    config = freising_config()
    some = {"s2_b11_median": np.ones(3, np.float32), "s2_b11_stdev": np.ones(3, np.float32)}
    write_markers(Workspace(tmp_path), config, "FREISING", np.arange(3, dtype=np.int32), {"20180507": some})
    scan = scanned(tmp_path, config, [1])
    assert (scan.choice.variable, scan.choice.statistic, scan.choice.grid) == ("b11", "median", "")
    assert scan.shown.value.tolist() == [[1.0]]
    assert np.isnan(coverage(scan, config).usable)


def test_counts_come_from_the_finest_grid_and_may_be_summed_coverage(tmp_path: Path) -> None:
    config = freising_config()
    both = {**columns(1, 4, "20m", dtype=np.float32), **columns(2, 4, "10m", dtype=np.float32)}
    write_markers(Workspace(tmp_path), config, "FREISING", np.arange(4, dtype=np.int32), {"20180507": both})
    scan = scanned(tmp_path, config, [])
    assert scan.choice.grid == "10m"
    assert scan.totals[0, 0, CATEGORIES.index(Category.CLOUD)] == both["s2_10m_n_cloud"].sum()
    np.testing.assert_array_equal(scan.pixels["20m"], both["s2_20m_n_total"])


def test_files_of_other_sites_and_sets_are_left_alone(tmp_path: Path) -> None:
    config = freising_config()
    workspace = Workspace(tmp_path)
    write_markers(workspace, config, "FREISING", np.arange(3, dtype=np.int32), {"20180507": columns(1, 3)})
    (path,) = workspace.markers.rglob("*.arrow")
    (workspace.markers / "mdb9" / "2018-05").mkdir(parents=True)
    (workspace.markers / "mdb9" / "2018-05" / path.name).write_bytes(path.read_bytes())
    (path.parent / "elsewhere_FREISING.arrow").write_bytes(path.read_bytes())
    assert [f.path for f in marker_files(workspace, config)] == [path]


def test_the_dictionary_names_each_family_once(tmp_path: Path) -> None:
    config = freising_config()
    workspace = Workspace(tmp_path)
    dates = {"20180507": columns(1, 3), "20180603": columns(2, 3)}
    write_markers(workspace, config, "FREISING", np.arange(3, dtype=np.int32), dates)
    found = dictionary(workspace, marker_files(workspace, config))
    assert found is not None
    entries = {e.pattern: e for e in found.entries}
    assert set(entries) == {"s2_b04_{statistic}__{date}", "s2_ndvi_{statistic}__{date}", "s2_10m_n_{class}__{date}"}
    ndvi = entries["s2_ndvi_{statistic}__{date}"]
    assert (ndvi.names, ndvi.n, ndvi.unit) == (("mean", "p25", "p75"), 6, "1")
    assert ndvi.meaning == "Normalized Difference Vegetation Index"
    assert ndvi.formula == "(B08 - B04) / (B08 + B04)"
    assert entries["s2_10m_n_{class}__{date}"].names == CLASSES
    assert (found.n_files, found.n_columns) == (2, 2 * len(dates["20180507"]))
    assert found.sample_column == "s2_ndvi_mean__20180603"
    assert (workspace.root / found.sample_path).is_file()
    assert dictionary(workspace, ()) is None
