"""Features of a season of which something is not there: bad products, damaged stacks, no mask."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.feature_sites import WIDE, done, finished_site, make, rows, values
from support.safe import image_path, truncate
from support.updates import (
    DAYS,
    TILES,
    Site,
    twenty_fields,
)

from s4c_hpc.core.errors import ExitCode, InputError, InternalError, TemporaryError
from s4c_hpc.core.plan_schema import tasks_from_table
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import TaskIO, stage
from s4c_hpc.core.task import Task
from s4c_hpc.execute import current_plan


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, products: Path) -> Site:
    return finished_site(tmp_path_factory.mktemp("finished"), products)


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
