"""What the stage plans, what makes it plan anew, and what it does when something is not there."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.runs import InlineExecutor
from support.safe import image_path, truncate
from support.updates import (
    DAYS,
    TILES,
    Site,
    build_archive,
    build_landsat_archive,
    field_at,
    stages_of,
    todo,
    twenty_fields,
)

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError, ExitCode, InputError, InternalError, TemporaryError
from s4c_hpc.core.plan_schema import tasks_from_table
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import TaskIO, stage
from s4c_hpc.core.task import Task
from s4c_hpc.execute import current_plan, run
from s4c_hpc.execute.journal import Done, read_events
from s4c_hpc.features import FeatureFile, collect, read_features
from s4c_hpc.parcels import read_attributes, read_places

FEATURES: dict[str, Any] = {
    "sets": ["optical", "red-edge"],
    "optical": ["B04", "B08", "ndvi", "B11"],
    "red_edge": ["B05", "B12"],
    "every_days": 20,
}
WIDE = {"parcels": {"layer_share_max": 0.5}, "features": FEATURES}


@pytest.fixture(scope="module", autouse=True)
def _no_power_cut() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six products: three days on two tiles."""
    return build_archive(tmp_path_factory.mktemp("products"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, products: Path) -> Site:
    """Two days of the first declaration, with features and nothing else done."""
    site = Site(tmp_path_factory.mktemp("finished"), products, **WIDE)
    site.deliver(0, 1)
    site.declare(twenty_fields())
    make(site)
    return site


def make(site: Site, exit_code: ExitCode = ExitCode.OK, *, retry_quarantined: bool = False) -> None:
    """Bring the features up to date."""
    result = run(
        site.workspace,
        site.config,
        executor=InlineExecutor(),
        stages=["features"],
        retry_quarantined=retry_quarantined,
    )
    assert result.exit_code is exit_code, result.status


def rows(site: Site, name: str = "features") -> list[Task]:
    """Plan rows of a stage, in order."""
    plan = current_plan(site.workspace, site.config)
    return [task for task in tasks_from_table(plan.tasks) if task.stage == name]


def files(site: Site, chosen: str = "optical") -> list[Path]:
    """Feature files of a set in the order of the plan: layers behind what they lie over."""
    return [site.workspace.root / row.outputs[0] for row in rows(site) if row.subject.startswith(f"{chosen} ")]


def values(site: Site, version: str, chosen: str = "optical") -> dict[str, bytes]:
    """Features of the current parcels by the declaration's id."""
    found = read_attributes(site.workspace, version, ["NewID", "ori_id"]).to_pydict()
    names = dict(zip(found["NewID"], found["ori_id"], strict=True))
    only, begins = read_places(site.workspace, version)
    ends = [*(row for row, _ in begins[1:]), only.size]
    tiles = [tile for (start, tile), end in zip(begins, ends, strict=True) for _ in range(start, end)]
    table = collect(files(site, chosen), only, tiles)
    return {names[key]: line.tobytes() for key, line in zip(only.tolist(), table.values, strict=True)}


def table(file: FeatureFile) -> np.ndarray:
    """(n_columns, n_parcels)"""
    return np.concatenate([[c.to_numpy() for c in batch.columns[1:]] for batch in file.batches], axis=1)


def done(site: Site) -> dict[str, Done]:
    """How tasks ended last, by id."""
    paths = site.workspace.runs.glob("*/journal/*.jsonl")
    events = [event for path in paths for event in read_events(path)[0] if isinstance(event, Done)]
    return {event.id: event for event in sorted(events, key=lambda event: event.t)}


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


def damage(site: Site, day: dt.date) -> None:
    """Cut off a band of the products of a day."""
    for product in (site.root / "archive").glob(f"*MSIL2A_{day:%Y%m%d}*"):
        path = image_path(product, "B08")
        whole = path.read_bytes()
        path.unlink()  # it is a link to the file of other tests
        path.write_bytes(whole)
        truncate(path, 0.6)


def test_a_season_without_a_usable_product_has_a_reason(products: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "site", products, **WIDE)
    site.deliver(0)
    site.declare(twenty_fields())
    damage(site, DAYS[0])
    make(site, ExitCode.PARTIAL)
    plan = current_plan(site.workspace, site.config, stages=["features"])
    states = zip(plan.tasks.to_pylist(), plan.status.to_pylist(), strict=True)
    reasons = {row["tile"]: status for row, status in states if row["stage"] == "features"}
    assert set(reasons) == set(TILES)
    for tile, status in reasons.items():
        assert status["state"] == "quarantined"
        assert f"no usable product for features of tile {tile}" in status["reason"]
    assert not list(site.workspace.root.glob("tiles/*/features/**/*.arrow"))


def test_bad_products_are_done_without_and_the_rest_as_if_they_had_never_been(
    products: Path, finished: Site, tmp_path: Path
) -> None:
    site = Site(tmp_path / "site", products, **WIDE)
    site.deliver(0, 1, 2)
    site.declare(twenty_fields())
    damage(site, DAYS[2])
    make(site, ExitCode.PARTIAL)
    assert values(site, "v0001") == values(finished, "v0001")
    ended = done(site)
    gathered = {row.id: row.subject for row in rows(site, "gather")}
    for row in rows(site):
        assert [gathered[key] for key in ended[row.id].absent] == [
            subject for key, subject in gathered.items() if key in row.depends_on and f"{DAYS[2]:%Y%m%d}" in subject
        ]
        (note,) = ended[row.id].notes
        assert note.startswith("without S2")
        assert f"{DAYS[2]:%Y%m%d}" in note
        assert "B08" in note
    # The archive is repaired: the features are made again.
    for product in (site.root / "archive").glob(f"*MSIL2A_{DAYS[2]:%Y%m%d}*"):
        path = image_path(product, "B08")
        path.write_bytes(image_path(products / product.name, "B08").read_bytes())
    make(site, retry_quarantined=True)
    assert values(site, "v0001") != values(finished, "v0001")
    assert all(done(site)[row.id].absent == () for row in rows(site))


def given(site: Site, row: Task, without: set[str]) -> TaskIO:
    """What a task is given, without the outputs of some stages."""
    plan = {task.id: task for task in tasks_from_table(current_plan(site.workspace, site.config).tasks)}
    there = [key for key in row.depends_on if plan[key].stage not in without]
    run_dir = max(path.parent for path in site.workspace.runs.glob("*/products.parquet"))
    return TaskIO(
        workspace=site.workspace,
        run_dir=run_dir,
        config=site.config,
        publisher=Publisher(site.workspace.root, site.workspace.temporary / "test"),
        settled=frozenset(row.depends_on) - frozenset(there),
        upstream_outputs={key: plan[key].outputs for key in there},
        upstream_subjects={key: f"{plan[key].stage} {plan[key].tile} {plan[key].subject}" for key in row.depends_on},
        upstream_reasons={key: "cannot be decoded" for key in row.depends_on if key not in there},
    )


@pytest.mark.parametrize("without", [{"gather"}, {"index"}, {"mask", "index", "gather"}])
def test_a_season_of_which_nothing_is_there_is_bad_input(finished: Site, without: set[str]) -> None:
    row = rows(finished)[0]
    with pytest.raises(InputError) as refused:
        stage("features").run(row, given(finished, row, without))
    assert row.tile in refused.value.what
    assert refused.value.hint is not None
    assert "cannot be decoded" in refused.value.hint


def test_a_task_that_is_begun_too_early_is_no_bad_input(finished: Site) -> None:
    row = rows(finished)[0]
    with pytest.raises(InternalError, match="before its input was settled"):
        stage("features").run(row, replace(given(finished, row, {"gather"}), settled=frozenset()))


@pytest.mark.parametrize("spoil", [truncate, Path.unlink])
def test_a_stack_that_was_whole_once_is_not_held_against_the_season(
    finished: Site, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    site = finished.copy(tmp_path / "site")
    row = rows(site)[0]
    task = given(site, row, set())
    spoil(site.workspace.root / task.upstream_outputs[row.depends_on[2]][0])
    with pytest.raises(TemporaryError, match=r"not a whole Arrow file|no such file") as refused:
        stage("features").run(row, task)
    assert str(site.workspace.root) in str(refused.value.where)


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
