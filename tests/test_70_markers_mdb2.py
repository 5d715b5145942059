"""The second marker database: the ratio of VV and VH by pixel, and the reference's difference of means, named apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.chain import Chain
from support.markers import MarkerSpace, make_config, read
from support.rasters import write_tif

from s4c_hpc.catalog import scan
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers import export_markers, show_marker
from s4c_hpc.markers.compat_import import import_foreign
from s4c_hpc.parcels import import_parcels
from s4c_hpc.series import read_series

ALL = ("vv_vh_db", "vv_sigma0_db", "vh_sigma0_db")
DAY = "s1_088d_{}__20180507"


def radar_space(root: Path, sets: Sequence[dict[str, Any]], indices: Sequence[str] = ALL) -> MarkerSpace:
    variables = {"bands": [], "indices": list(indices), "statistics": ["count", "mean", "stdev"]}
    space = MarkerSpace(root, config=make_config(variables=variables, markers={"sets": list(sets)}))
    space.acquire("20180507T053012", product="S1", sensor="s1", relative_orbit=88)
    return space


def test_the_difference_is_of_means_and_for_sets_that_name_it(tmp_path: Path) -> None:
    sets: list[dict[str, Any]] = [
        {"name": "mdb1"},
        {"name": "mdb2", "variables": ["vv_vh_db", "vv_minus_vh_db"], "class_counts": False},
    ]
    space = radar_space(tmp_path, sets)
    outcomes = {task.subject: (task, space.run(task)) for task in space.plan()}
    everything, second = read(space.marker("2018-05")), read(space.marker("2018-05", "mdb2"))
    assert second.column_names == [
        "NewID",
        DAY.format("vv_minus_vh_db_mean"),
        *(DAY.format(f"vv_vh_db_{statistic}") for statistic in ("count", "mean", "stdev")),
    ]
    assert not [name for name in everything.column_names if "minus" in name]
    vv, vh = (everything[DAY.format(f"{p}_sigma0_db_mean")].to_numpy() for p in ("vv", "vh"))
    assert np.isnan(vv - vh).any()
    np.testing.assert_array_equal(second[DAY.format("vv_minus_vh_db_mean")].to_numpy(), vv - vh)
    said = show_marker(space.marker("2018-05", "mdb2")).columns[DAY.format("vv_minus_vh_db_mean")]
    assert (said["unit"], said["formula"]) == ("dB", "vv_sigma0_db_mean - vh_sigma0_db_mean")
    task, outcome = outcomes["mdb2 2018-05"]
    assert sum((space.root / path).stat().st_size for path in outcome.outputs) <= task.bytes_out


def test_a_difference_of_what_is_not_computed_is_refused(tmp_path: Path) -> None:
    sets = [{"name": "mdb2", "variables": ["vv_minus_vh_db"]}]
    space = radar_space(tmp_path, sets, ("vv_sigma0_db",))
    with pytest.raises(ConfigError, match=r"add vv_sigma0_db and vh_sigma0_db to variables\.indices"):
        space.plan()


def test_the_reference_names_of_radar_columns_come_back(tmp_path: Path) -> None:
    chosen = ["vv_minus_vh_db", "vv_sigma0_db", "vh_sigma0_db"]
    mdb2 = {"name": "mdb2", "variables": chosen, "statistics": ["count", "mean"], "class_counts": False}
    space = radar_space(tmp_path / "site", [mdb2])
    space.merge()
    out = tmp_path / "mdb2.csv"
    export_markers(space.workspace, out, compat=True)
    assert "20180507_mean_AMP_VVVH_088" in out.read_text()
    report = import_foreign(out, space.workspace)
    assert not report.left_out
    (path,) = report.series
    file, table = read_series(space.root / path), read(space.marker("2018-05", "mdb2"))
    assert file.header.relative_orbit == 88
    for name in file.names:
        np.testing.assert_array_equal(file.values(name), table[DAY.format(name)].to_numpy().astype(np.float32))


def test_from_bands_vv_and_vh_to_both(tmp_path: Path) -> None:
    """Linear power in a declared set of float32 rasters; every second column has no VH."""
    tile = Tile(id="FREISING", crs="EPSG:32632", ulx=697020.0, uly=5368660.0, width_m=5880.0, height_m=7180.0)
    grid = tile.grid(20)
    odd = np.broadcast_to(np.arange(grid.width) % 2 == 1, (grid.height, grid.width))
    bands = np.stack([np.where(odd, 0.2, 0.1), np.where(odd, 0.0, 0.01)]).astype(np.float32)
    (tmp_path / "archive").mkdir()
    write_tif(tmp_path / "archive" / "S1_20180507T053012.tif", bands, grid)
    source = {
        "kind": "geotiff",
        "root": str(tmp_path / "archive"),
        "pattern": "S1_{datetime}.tif",
        "datetime_format": "%Y%m%dT%H%M%S",
        "sensor": "s1",
        "tile": "FREISING",
        "bands": {"VV": 1, "VH": 2},
        "scale": 1.0,
    }
    mdb2 = {"name": "mdb2", "variables": ["vv_sigma0_db", "vv_vh_db", "vv_minus_vh_db"]}
    variables = {"bands": [], "indices": list(ALL), "statistics": ["count", "mean", "stdev"]}
    config = make_config(sources=[source], variables=variables, markers={"sets": [mdb2]})
    workspace = Workspace(tmp_path / "site")
    workspace.root.mkdir()
    scan(config, workspace)
    import_parcels(None, workspace, config)
    Chain(workspace).run(config, ("mask", "index", "gather", "stats", "merge"))
    table = read(workspace.markers / "mdb2" / "2018-05" / "site_FREISING.arrow")

    def values(name: str) -> Any:
        return table[f"s1_{name}__20180507"].to_numpy().astype(np.float64)

    n, n_both = values("vv_sigma0_db_count"), values("vv_vh_db_count")
    some = n_both > 0
    assert some.sum() > 10
    assert (n_both[some] < n[some]).sum() > 10
    np.testing.assert_allclose(values("vv_vh_db_mean")[some], 10, rtol=1e-6)
    of_vv = (n_both * -10 + (n - n_both) * 10 * np.log10(0.2))[some] / n[some]
    np.testing.assert_allclose(values("vv_minus_vh_db_mean")[some], of_vv + 20, rtol=1e-5)
