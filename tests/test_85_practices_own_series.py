"""The stage over our own series with imported radar beside them: one season, whatever it comes from."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from support.markers import TILE, write_series
from support.practices import COHERENCE, FIRST, NDVI, RATIO
from support.season import SeasonSpace

from s4c_hpc.config import Config
from s4c_hpc.config.imports import load_mapping
from s4c_hpc.core.errors import TemporaryError
from s4c_hpc.core.plan_schema import PLAN_SCHEMA, tasks_from_table, tasks_to_batch
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Outcome, Task
from s4c_hpc.practices.codes import Status
from s4c_hpc.practices.stage_practices import PracticesStage
from s4c_hpc.series.import_table import import_table

RADAR = """
name = "radar"
sensor = "s1"
form = "long"
parcel = "parcel"
match = "NewID"
date = "date"
pass_column = "pass"
orbit_column = "orbit"
[variables.vv]
column = "vv"
[variables.vh]
column = "vh"
[variables.coherence_vv]
column = "coherence"
"""
"""Backscatter in linear power, as our own tools give it."""

WITH_RADAR = (3, 4, 5)


class Season:
    """NDVI of the golden parcel as our own series of all parcels, its radar imported for a few."""

    def __init__(self, root: Path) -> None:
        self.own = SeasonSpace(root)
        self.own.workspace.config.write_text("")
        for day, value in NDVI.items():
            when = f"2021{day.replace('-', '')}T102648"
            product = self.own.acquire(when)
            self.set_ndvi(product, value / 1000)
        self.own.season()
        values = self.own.config.model_dump(mode="json", exclude_defaults=True)
        site = {"name": "test", "season_start": "2021-03-01", "season_end": "2021-12-31"}
        self.config = Config.model_validate(
            {**values, "site": site, "practices": {"enabled": True, "mode": "reference"}}
        )

    def set_ndvi(self, product: str, value: float) -> None:
        """NDVI of all parcels in the series file of a product."""
        table = self.own.tables[f"{product} 10m"]
        at = table.schema.get_field_index("ndvi_mean")
        values = pa.array(np.full(table.num_rows, value, np.float32))
        (path,) = self.own.stats[-1].outputs
        write_series(self.own.root / path, table.set_column(at, table.schema.field(at), values))

    def radar(self, *, orbits: int = 1) -> None:
        """Import radar; with two orbits, the second has each date of the first."""
        k = np.tile(np.arange(22), len(WITH_RADAR) * orbits)
        days = [FIRST + dt.timedelta(days=int(i) * 6) for i in k]
        ratio = np.array(RATIO)[k]
        columns: dict[str, Any] = {
            "parcel": np.repeat(WITH_RADAR, 22 * orbits),
            "date": pa.array(days),
            "pass": ["descending"] * k.size,
            "orbit": np.tile(np.repeat([37, 110][:orbits], 22), len(WITH_RADAR)),
            "vv": np.full(k.size, 0.1),
            "vh": 10.0 ** ((-10 - ratio) / 10),
            "coherence": pa.array([None if i == 0 else COHERENCE[i - 1] for i in k], pa.float64()),
        }
        pa.csv.write_csv(pa.table(columns), self.own.root / "radar.csv")
        (self.own.root / "radar.toml").write_text(RADAR)
        mapping = load_mapping(self.own.root / "radar.toml")
        import_table(self.own.root / "radar.csv", mapping, self.own.workspace, self.own.config)

    def task(self) -> Task:
        """The row of the only tile."""
        series = self.own.season_rows()["series"]
        upstream = {"series": pa.Table.from_batches([tasks_to_batch(series)], PLAN_SCHEMA)}
        context = PlanContext(self.own.workspace, self.config, upstream)
        (task,) = tasks_from_table(pa.Table.from_batches(list(PracticesStage().tasks(context)), PLAN_SCHEMA))
        return task

    def run(self, task: Task, *, given_up: bool = False) -> Outcome:
        """Run it; the stage before it may have been given up."""
        (series,) = task.depends_on
        io = TaskIO(
            workspace=self.own.workspace,
            run_dir=self.own.root / "run" / "x",
            config=self.config,
            publisher=Publisher(self.own.root, self.own.root / "tmp" / task.id),
            settled=frozenset({series}) if given_up else frozenset(),
            upstream_outputs={} if given_up else {series: ("current.json",)},
            upstream_reasons={series: "a damaged product"} if given_up else {},
        )
        return PracticesStage().run(task, io)

    def rows(self, task: Task) -> dict[int, dict[str, int]]:
        """What the file says, by parcel."""
        with pa.OSFile(str(self.own.root / task.outputs[0])) as source:
            return {row["NewID"]: row for row in pa.ipc.open_file(source).read_all().to_pylist()}


@pytest.fixture
def season(tmp_path: Path) -> Season:
    return Season(tmp_path)


def test_own_ndvi_and_imported_radar_make_a_harvest(season: Season) -> None:
    season.radar()
    task = season.task()
    assert task.tile == TILE
    outcome = season.run(task)
    rows = season.rows(task)
    assert outcome.n_rows == len(rows) == 18
    for parcel, row in rows.items():
        if parcel in WITH_RADAR:
            assert (row["STATUS"], row["H_W_START"], row["S1GAPS"]) == (Status.OK, 20210726, 31)
        else:
            assert (row["STATUS"], row["H_W_START"]) == (Status.NO_S1, -10000)


def test_what_is_there_twice_counts_once(season: Season) -> None:
    """The same values of a date under two orbits change nothing."""
    season.radar()
    task = season.task()
    season.run(task)
    single = season.rows(task)
    season.radar(orbits=2)
    task = season.task()
    season.run(task)
    assert season.rows(task) == single


def test_without_radar_every_parcel_says_so(season: Season) -> None:
    task = season.task()
    outcome = season.run(task)
    assert {row["STATUS"] for row in season.rows(task).values()} == {Status.NO_S1}
    assert outcome.notes == ("18 of 18 parcels not judged: no backscatter or no coherence",)


def test_own_series_that_were_given_up_are_told(season: Season) -> None:
    season.radar()
    task = season.task()
    outcome = season.run(task, given_up=True)
    assert outcome.absent == task.depends_on
    assert {season.rows(task)[parcel]["STATUS"] for parcel in WITH_RADAR} == {Status.NO_S2}
    manifest = (season.own.root / task.outputs[1]).read_text()
    assert "a damaged product" in manifest


def test_series_that_have_changed_since_the_plan_are_not_mixed(season: Season) -> None:
    task = season.task()
    season.own.acquire("20210901T102648")
    season.own.season()
    with pytest.raises(TemporaryError, match="have changed"):
        season.run(task)
