"""What the stage plans, and what makes it plan anew: sets, sensors, late products, changed parcels."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.feature_sites import FEATURES, WIDE, files, finished_site, make, rows, table, values
from support.updates import (
    DAYS,
    TILES,
    Site,
    build_landsat_archive,
    field_at,
    stages_of,
    todo,
    twenty_fields,
)

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.execute import current_plan
from s4c_hpc.features import collect, read_features


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, products: Path) -> Site:
    return finished_site(tmp_path_factory.mktemp("finished"), products)


def test_a_task_a_tile_set_and_sensor_with_a_grid_of_its_own(finished: Site) -> None:
    made = {(row.tile, row.subject): read_features(finished.workspace.root / row.outputs[0]) for row in rows(finished)}
    assert set(made) == {(tile, f"{chosen} s2") for tile in TILES for chosen in ("optical", "red-edge")}
    for (tile, subject), file in made.items():
        assert file.header.tile == tile
        assert file.header.grid == ("10m" if subject == "optical s2" else "20m")
        assert file.new_id.size == (12 if tile == "32UPU" else 8)
        assert np.isfinite(table(file)[0]).all()
        assert (table(file)[0] > 0).all(), "pixels"
    optical = [one.name for one in made["32UPU", "optical s2"].features if one.is_feature]
    assert optical[:4] == [f"XX_2018_01_01_s2_mean_{name}" for name in ("b4", "b8", "ndvi", "b11")]
    red_edge = [one.name for one in made["32UPU", "red-edge s2"].features if one.is_feature]
    assert red_edge[:2] == ["XX_2018_01_01_s2_mean_b5", "XX_2018_01_01_s2_mean_b12"]


def test_no_set_no_task_and_all_others_as_they_are(finished: Site) -> None:
    with_features = current_plan(finished.workspace, finished.config).tasks.to_pylist()
    without = Config.model_validate(finished.config.model_dump() | {"features": {}})
    plan = current_plan(finished.workspace, without).tasks.to_pylist()
    assert [row["id"] for row in plan] == [row["id"] for row in with_features if row["stage"] != "features"]
    assert len(plan) == len(with_features) - 4


def test_what_decides_the_values_makes_other_tasks_and_nothing_else_does(finished: Site) -> None:
    ids = {row.subject: row.id for row in rows(finished) if row.tile == "32UPU"}

    def changed(**sections: Any) -> set[str]:
        site = Site(finished.root, finished.products, **{**WIDE, **sections})
        return {row.subject for row in rows(site) if row.tile == "32UPU" and row.id != ids.get(row.subject)}

    both = {"optical s2", "red-edge s2"}
    assert changed(features=FEATURES | {"every_days": 10}) == both
    assert changed(features=FEATURES | {"max_gap_days": 20}) == both
    assert changed(features=FEATURES | {"preset": "reference"}) == both
    assert changed(features=FEATURES | {"optical": ["B04"]}) == {"optical s2"}
    assert changed(validity={"use": ["valid", "water", "cloud"]}) == both
    assert changed(extract={"mask_ring_m": 20.0, "weighting": "coverage"}) == both
    assert changed(site={"season_end": "2018-11-30"}) == both
    assert changed(features=FEATURES | {"ranks": 2, "values_per_rank": 1e3}) == set()
    assert changed(variables={"indices": ["ndvi", "ndwi_gao"], "statistics": ["mean"]}) == set()


def test_a_late_product_makes_the_features_of_its_season_again(finished: Site, tmp_path: Path) -> None:
    site = finished.copy(tmp_path / "site")
    before = values(site, "v0001")
    plan = current_plan(site.workspace, site.config, stages=["features"])
    assert todo(plan) == {}
    site.deliver(2)
    plan = current_plan(site.workspace, site.config, stages=["features"])
    assert stages_of(todo(plan)) == {"gather", "features"}
    assert len(todo(plan)) == 2 + 4
    make(site)
    after = values(site, "v0001")
    assert after.keys() == before.keys()
    assert all(after[key] != before[key] for key in before)
    header = [one.name for one in read_features(files(site)[0]).features]
    assert header == [one.name for one in read_features(files(finished)[0]).features]


def test_dates_of_the_reference_are_those_of_the_whole_site(products: Path, tmp_path: Path) -> None:
    """Else tiles would not stand side by side in one table."""
    site = Site(tmp_path / "site", products, **{**WIDE, "features": {"sets": ["optical"], "preset": "reference"}})
    site.deliver(0, 1)
    (first,) = (site.root / "archive").glob(f"*MSIL2A_{DAYS[0]:%Y%m%d}*T32UQU*")
    shutil.rmtree(first)
    scan(site.config, site.workspace)
    site.declare(twenty_fields())
    make(site)
    made = [read_features(path) for path in files(site)]
    assert [file.header.tile for file in made] == list(TILES)
    assert made[0].features == made[1].features
    assert [one.first for one in made[0].features[1:3]] == [DAYS[0], DAYS[0] + dt.timedelta(days=10)]
    observed = {file.header.tile: table(file)[1] for file in made}
    assert (observed["32UQU"] == 0).all(), "nothing was seen there on the first day, and it is told"
    assert (observed["32UPU"] > 0.5).all()
    assert np.isfinite(table(made[1])[3]).all(), "the nearest value stands in for it"


def test_stacks_that_are_not_kept_are_gathered_again_for_a_late_product(
    products: Path, finished: Site, tmp_path: Path
) -> None:
    kept = finished.copy(tmp_path / "kept")
    kept.deliver(2)
    make(kept)
    site = Site(tmp_path / "site", products, **WIDE, retention={"keep_stacks": "none"})
    site.deliver(0, 1)
    site.declare(twenty_fields())
    site.run()
    assert not list(site.workspace.root.glob("tiles/*/stack/**/*.arrow"))
    assert values(site, "v0001") == values(finished, "v0001")
    assert todo(site.plan()) == {}
    site.deliver(2)
    site.run()
    assert values(site, "v0001") == values(kept, "v0001")
    assert not list(site.workspace.root.glob("tiles/*/stack/**/*.arrow"))


@pytest.mark.parametrize(
    ("features", "where", "what"),
    [
        ({"optical": ["B04", "B10"]}, "features.optical", "B10"),
        ({"optical": ["B04", "lai"]}, "features.optical", "neural network"),
        ({"optical": ["B04", "no_such_index"]}, "features.optical", "no_such_index"),
        ({"red_edge": []}, "features.red_edge", "names no variable"),
    ],
)
def test_a_feature_that_cannot_be_made_is_named(
    finished: Site, features: dict[str, Any], where: str, what: str
) -> None:
    site = Site(finished.root, finished.products, **{**WIDE, "features": FEATURES | features})
    with pytest.raises(ConfigError) as refused:
        rows(site)
    assert what in str(refused.value)
    assert where in str(refused.value.where)


def test_landsat_has_files_of_its_own_with_what_its_bands_allow(products: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "site", products, **WIDE)
    site.deliver(0)
    landsat = build_landsat_archive(tmp_path / "landsat")
    sources = [*site.config.model_dump()["sources"], {"kind": "landsat-c2l2", "root": str(landsat)}]
    site.config = Config.model_validate(site.config.model_dump() | {"sources": sources})
    scan(site.config, site.workspace)
    site.declare(twenty_fields())
    make(site)
    made = {row.subject: row for row in rows(site) if row.tile == "32UPU"}
    assert set(made) == {f"{chosen} {sensor}" for chosen in ("optical", "red-edge") for sensor in ("s2", "l8")}
    names = {}
    for subject, row in made.items():
        assert f"/features/{subject[-2:]}/" in row.outputs[0]
        file = read_features(site.workspace.root / row.outputs[0])
        names[subject] = [one.name for one in file.features]
        assert (file.header.sensor, file.header.grid) == (
            subject[-2:],
            "30m" if subject[-2:] == "l8" else {"o": "10m", "r": "20m"}[subject[0]],
        )
        by_name = dict(zip(names[subject], table(file), strict=True))
        first = next(one for one in file.features if one.is_feature).feature
        assert np.isfinite(by_name[f"XX_2018_05_01_{subject[-2:]}_mean_{first}"]).all()
    assert {name.rpartition("_")[2] for name in names["red-edge l8"] if "_mean_" in name} == {"b12"}
    assert {name.rpartition("_")[2] for name in names["optical l8"] if "_mean_" in name} == {"b4", "b8", "b11", "ndvi"}
    assert len({name for subject in names for name in names[subject]}) == sum(map(len, names.values()))
    together = collect([site.workspace.root / row.outputs[0] for row in rows(site)], np.arange(1, 21, dtype=np.int32))
    assert together.values.shape == (20, sum(map(len, names.values())))


def test_a_band_that_no_sensor_has_is_named(tmp_path: Path) -> None:
    landsat = build_landsat_archive(tmp_path / "landsat")
    site = Site(tmp_path / "site", landsat, kind="landsat-c2l2", **WIDE)
    site.deliver(0)
    site.declare(twenty_fields())
    with pytest.raises(ConfigError, match="no product of the season has all that feature 'b05' needs: B05") as refused:
        rows(site)
    assert refused.value.where == "features.red_edge"


def test_features_of_changed_parcels_are_those_of_a_new_workspace(finished: Site, tmp_path: Path) -> None:
    site, declaration = finished.copy(tmp_path / "site"), twenty_fields()
    declaration.move("P001", 3, -4)  # within the mask
    declaration.move("P002", 150, 0)  # beyond it
    declaration.delete("P003")
    declaration.split("P007")
    declaration.add(field_at(700, 640))
    declaration.crop("P020", "maize")
    assert site.declare(declaration) == "v0002"
    before = {row.id for row in rows(finished)}
    added = [row for row in rows(site) if row.id not in before]
    assert {row.tile for row in added} == {"32UPU"}
    assert len(added) == 2 * 2, "a layer that the mask holds and one beyond it, of two sets"
    make(site)
    fresh = Site(tmp_path / "fresh", site.products, **WIDE)
    fresh.deliver(0, 1)
    fresh.declare(declaration)
    make(fresh)
    for chosen in ("optical", "red-edge"):
        assert values(site, "v0002", chosen) == values(fresh, "v0001", chosen)
    assert len(values(site, "v0002")) == 21


@pytest.mark.parametrize(("parcel", "metres"), [("P001", 1150), ("P004", -1150)])
def test_a_parcel_that_has_moved_to_another_tile_has_the_features_of_its_place(
    finished: Site, tmp_path: Path, parcel: str, metres: float
) -> None:
    site, declaration = finished.copy(tmp_path / "site"), twenty_fields()
    declaration.move(parcel, metres, 60)
    site.declare(declaration)
    make(site)
    fresh = Site(tmp_path / "fresh", site.products, **WIDE)
    fresh.deliver(0, 1)
    fresh.declare(declaration)
    make(fresh)
    found, expected = values(site, "v0002"), values(fresh, "v0001")
    assert {key for key in expected if found[key] != expected[key]} == set()


def test_the_plan_says_what_decides_the_values(finished: Site) -> None:
    params = json.loads(rows(finished)[0].params)
    assert params["bands"] == ["B04", "B08", "B11"]
    assert params["n_dates"] == 2
    assert params["recipe"]["periods"][0] == ["2018-01-01", "2018-01-20"]
    assert params["recipe"]["max_gap"] == 3
