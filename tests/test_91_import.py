"""From a declaration and a table to features, with no imagery anywhere: what a user types, and what stages promise."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.chain import Chain
from support.cli import s4c, s4c_json
from support.imports import LONG, ImportSpace
from support.parcels import squares, write_layer

from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError, NoInputsError, TemporaryError
from s4c_hpc.core.stage import stage
from s4c_hpc.core.task import Outcome, Task
from s4c_hpc.extract.planning import is_without_imagery
from s4c_hpc.features import read_features
from s4c_hpc.parcels import import_parcels, latest_version
from s4c_hpc.series import open_series

NAME = "series-features"
START = dt.date(2018, 3, 1)
SITE = """
[site]
name = "test"
season_start = 2018-03-01
season_end = 2018-06-30
[parcels]
file = "fields.gpkg"
id_columns = ["id"]
[features]
sets = ["series"]
"""


def table_of(n: int, rng: np.random.Generator, n_dates: int = 8) -> dict[str, Any]:
    """Every parcel at some dates of the season, and one before it."""
    days = [START - dt.timedelta(days=5), *(START + dt.timedelta(days=15 * i) for i in range(n_dates))]
    parcels = np.repeat([f"F{i + 1:03d}" for i in range(n)], len(days))
    values = rng.uniform(0, 1, parcels.size)
    values[rng.random(parcels.size) < 0.3] = np.nan
    return {"id": parcels, "date": pa.array(days * n), "ndvi": pa.array(values, from_pandas=True)}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a configuration, a declaration of two tiles, and no imagery."""
    root = tmp_path_factory.mktemp("import")
    space = ImportSpace(root, n=30)
    space.table(table_of(30, np.random.default_rng(1)))
    space.mapping(LONG)
    (root / "s4c.toml").write_text(SITE)
    return root


def test_from_a_table_to_features_without_imagery(workspace: Path) -> None:
    refused = s4c("run", workspace=workspace)
    assert refused.returncode == 6
    assert "none was imported" in refused.stderr
    assert "s4c series import" in refused.stderr
    brought = s4c(
        "series", "import", workspace / "table.csv", "--config", workspace / "mapping.toml", workspace=workspace
    )
    assert brought.returncode == 0, brought.stderr
    assert brought.stdout == "imported/test\n"
    assert "values of 30 parcels, 2018-02-24 to 2018-06-14, 18 files on 2 tiles" in brought.stderr
    assert "rows left out, no value" in brought.stderr
    planned = s4c("plan", workspace=workspace)
    assert planned.returncode == 0, planned.stderr
    assert "series-features: 2 new" in planned.stderr
    assert "no product" not in planned.stderr
    done = s4c("run", workspace=workspace)
    assert done.returncode == 0, done.stderr
    paths = sorted(workspace.glob("tiles/*/features/series-test/*.arrow"))
    assert len(paths) == 2
    assert sum(len(read_features(path).new_id) for path in paths) == 30
    again = s4c("run", workspace=workspace)
    assert again.returncode == 0
    assert "up to date" in again.stderr
    twice = s4c(
        "series",
        "import",
        workspace / "table.csv",
        "--config",
        workspace / "mapping.toml",
        "--json",
        workspace=workspace,
    )
    assert json.loads(twice.stdout)["is_new"] is False


def test_an_index_of_no_products_is_no_imagery_either(workspace: Path) -> None:
    _import(workspace)
    assert s4c("catalog", "scan", workspace=workspace).returncode == 6
    assert (workspace / "catalog" / "products.parquet").is_file()
    done = s4c("run", workspace=workspace)
    assert done.returncode == 0, done.stderr
    # Whoever asks for features of imagery as well is told that there is none.
    asked = s4c("plan", "--set", "features.sets=['series', 'optical']", workspace=workspace)
    assert asked.returncode == 6
    assert "no product on tile" in asked.stderr


def test_imported_series_are_listed_and_shown(workspace: Path) -> None:
    _import(workspace)
    rows = s4c_json("series", "list", workspace=workspace)
    assert [(row["sensor"], row["grid"], row["imported"], row["acquisitions"]) for row in rows] == [
        ("s2", "test", True, 9)
    ] * 2
    shown = s4c_json("series", "show", "F007", workspace=workspace)
    assert [row["datetime"][:10] for row in shown["rows"]][:2] == ["2018-02-24", "2018-03-01"]
    assert shown["columns"]["ndvi_mean"]["unit"] == "1"
    series = open_series(workspace)
    new_id = series.new_id("F007")
    (season,) = series.parcel(new_id, grid="test")
    by_variable = {
        int(parcel): values
        for one in series.variable("ndvi", "mean")
        for parcel, values in zip(one.new_id, one.matrix.T, strict=True)
    }
    np.testing.assert_array_equal(season.values("ndvi_mean"), by_variable[new_id])
    with pytest.raises(NoInputsError):
        _ = open_series(workspace, imports=False).tiles


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tile", "32UNU"], "is for marker files"),
        (["--scale", "NDVI=0.1"], "is for marker files"),
        (["table.csv"], "a mapping is for one table"),
    ],
)
def test_options_of_marker_files_do_not_go_with_a_mapping(workspace: Path, arguments: list[str], said: str) -> None:
    done = s4c(
        "series",
        "import",
        workspace / "table.csv",
        "--config",
        workspace / "mapping.toml",
        *arguments,
        workspace=workspace,
    )
    assert done.returncode == 2
    assert said in done.stderr


def _import(workspace: Path) -> None:
    done = s4c("series", "import", workspace / "table.csv", "--config", workspace / "mapping.toml", workspace=workspace)
    assert done.returncode == 0, done.stderr


class Planned:
    """A workspace whose stage is planned and run in this process."""

    def __init__(self, root: Path, n: int, features: dict[str, Any] | None = None, **parcels: Any) -> None:
        self.space = ImportSpace(root, n=n, **parcels)
        self.chain = Chain(self.space.workspace)
        self.site = {"name": "test", "season_start": str(START), "season_end": "2018-06-30"}
        self.config = self.configured(features={"sets": ["series"], **(features or {})})

    def configured(self, **sections: Any) -> Config:
        values = self.space.config.model_dump(mode="json", exclude_defaults=True)
        return Config.model_validate({**values, "site": self.site, **sections})

    def rows(self) -> list[Task]:
        return self.chain.plan(self.config, [NAME])[NAME]

    def run(self, task: Task) -> Outcome:
        return self.chain.run_task(stage(NAME), task, self.config)


def test_files_hold_every_parcel_in_blocks_and_the_same_bytes_again(tmp_path: Path) -> None:
    made = Planned(tmp_path, n=2100, features={"every_days": 15})
    (tmp_path / "s4c.toml").write_text(SITE)
    made.space.bring(made.space.table(table_of(2100, np.random.default_rng(2))))
    n_batches = []
    for task in made.rows():
        outcome = made.run(task)
        path = made.chain.path(task.outputs[0])
        before = path.read_bytes()
        assert len(before) <= task.bytes_out
        path.unlink()
        made.run(task)
        assert path.read_bytes() == before
        file = read_features(path)
        assert outcome.n_rows == len(file.new_id)
        assert [batch.num_rows for batch in file.batches][:-1] == [1024] * (len(file.batches) - 1)
        n_batches.append(len(file.batches))
        # Each value is that of the date, for a period has one; what was filled is told.
        (variable,) = [v for v in open_series(tmp_path).variable("ndvi", "mean") if v.tile == task.tile]
        table = pa.Table.from_batches(list(file.batches))
        for i, given in enumerate(variable.matrix[1:]):
            name = f"XX_{START + dt.timedelta(days=15 * i):%Y_%m_%d}_s2_"
            value, seen = (table[f"{name}{what}"].to_numpy() for what in ("mean_ndvi", "observed"))
            np.testing.assert_array_equal(seen, np.isfinite(given).astype(np.float32))
            np.testing.assert_array_equal(value[seen == 1], given[seen == 1])
            assert np.isfinite(value[seen == 0]).mean() > 0.9
    assert max(n_batches) > 1


def test_identity_is_the_content_of_the_table_and_what_is_asked(tmp_path: Path) -> None:
    made = Planned(tmp_path, n=12)
    space = made.space
    columns = table_of(12, np.random.default_rng(3))
    space.bring(space.table(columns))
    (first,) = made.rows()
    space.bring(space.table(columns, "parquet"))
    assert [row.id for row in made.rows()] == [first.id]
    made.config = made.config.model_copy(update={"features": made.config.features.model_copy(update={"sar_months": 3})})
    assert [row.id for row in made.rows()] == [first.id]  # nothing is radar here
    made.config = made.config.model_copy(update={"features": made.config.features.model_copy(update={"every_days": 7})})
    (other,) = made.rows()
    assert other.id != first.id
    space.bring(space.table({**columns, "ndvi": np.full(len(columns["id"]), 0.5)}))
    (newest,) = made.rows()
    assert newest.id not in {first.id, other.id}
    # What was planned before can no longer be made, and says so.
    with pytest.raises(TemporaryError, match="has no series"):
        made.run(other)


def test_refusals(tmp_path: Path) -> None:
    made = Planned(tmp_path, n=12)
    with pytest.raises(NoInputsError, match="none was imported"):
        made.rows()
    assert made.chain.plan(made.configured(features={}), [NAME])[NAME] == []  # not asked for
    assert not is_without_imagery(made.space.workspace, made.config)
    made.space.bring(made.space.table({"id": ["F001"], "date": [dt.date(2017, 5, 1)], "ndvi": [1.0]}))
    assert is_without_imagery(made.space.workspace, made.config)
    with pytest.raises(NoInputsError, match=r"nothing of the import 'test' \(2017-05-01 to 2017-05-01\) is from"):
        made.rows()
    good = made.space.table({"id": ["F001"], "date": [dt.date(2018, 5, 1)], "ndvi": [1.0]})
    made.space.bring(good)
    made.space.bring(good, LONG.replace('"test"', '"twin"'))
    with pytest.raises(ConfigError, match="the imports 'test' and 'twin' both make XX_2018_03_01_s2_mean_ndvi"):
        made.rows()
    made.space.bring(good, LONG.replace('"test"', '"twin"').replace('"s2"', '"l8"'))
    assert [row.subject for row in made.rows()] == ["test", "twin"]


def test_parcels_that_came_later_have_no_values_until_the_table_is_imported_again(tmp_path: Path) -> None:
    made = Planned(tmp_path, n=12)
    space = made.space
    space.bring(space.table(table_of(14, np.random.default_rng(4))))
    write_layer(space.file, squares(14), columns={"id": [f"F{i + 1:03d}" for i in range(14)]})
    import_parcels(None, space.workspace, space.config)
    assert latest_version(space.workspace) == "v0002"
    for has_all in (False, True):
        (task,) = made.rows()
        outcome = made.run(task)
        file = read_features(made.chain.path(task.outputs[0]))
        values = np.column_stack([c.to_numpy() for c in file.batches[0].columns[1:]])
        known = np.isfinite(values).all(axis=1)
        assert known.sum() == (14 if has_all else 12)
        assert outcome.notes == (
            () if has_all else ("2 of 14 parcels were not on this tile when the table was imported: import it again",)
        )
        space.bring(space.root / "table.csv")


SCRIPT = """
import json, sys
from pathlib import Path
from s4c_hpc.config import Config
from s4c_hpc.core.stage import stage
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.memory import MemoryPeak
from support.chain import Chain

chain = Chain(Workspace(Path(sys.argv[1])))
config = Config.model_validate(json.loads(sys.argv[2]))
(task,) = chain.plan(config, ["series-features"])["series-features"]
with MemoryPeak() as peak:
    chain.run_task(stage("series-features"), task, config)
print(json.dumps({"peak": peak.peak_bytes, "asked": task.resources.mem_bytes, "bytes_out": task.bytes_out,
                  "written": chain.path(task.outputs[0]).stat().st_size}))
"""


def test_memory_asked_for_is_a_bound(tmp_path: Path) -> None:
    tile = {"id": "T", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_400_000, "width_m": 102_000, "height_m": 102_000}
    n, days = 4000, [START + dt.timedelta(days=i) for i in range(0, 120, 2)]
    made = Planned(tmp_path, n=n, features={"every_days": 5}, tiles=[tile])
    rng = np.random.default_rng(5)
    columns: dict[str, Any] = {
        "id": np.repeat([f"F{i + 1:03d}" for i in range(n)], len(days)),
        "date": pa.array(days * n),
        "pass": ["ASC", "DESC"] * (n * len(days) // 2),
    }
    names = ["vv", "vh", "coherence_vv", "a", "b", "c", "d", "e"]
    columns |= {name: rng.uniform(0.1, 1, n * len(days)).astype(np.float32) for name in names}
    text = textwrap.dedent(LONG).partition("[variables")[0] + 'pass_column = "pass"\n'
    text += "".join(f'[variables.{name}]\ncolumn = "{name}"\n' for name in names)
    imported, _ = made.space.bring(made.space.table(columns, "parquet"), text)
    assert imported.n_values == len(names) * n * len(days)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), made.config.model_dump_json()],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["peak"] <= measured["asked"], measured
    assert measured["written"] <= measured["bytes_out"], measured


def test_a_table_of_radar_makes_radar_features(tmp_path: Path) -> None:
    made = Planned(tmp_path, n=3, features={"sar_months": 1, "max_gap_days": 7})
    days = ["05.03.2018", "08.03.2018", "19.03.2018", "06.03.2018"]
    columns = {
        "field": ["F002"] * 4,
        "day": days,
        "pass": ["ASC", "ASC", "ASC", "DESC"],
        "VV": [-10.0, -20.0, -13.0, -10.0],
        "VH": [-20.0, None, -16.0, -17.0],
    }
    text = """
        name = "radar"
        sensor = "s1"
        form = "long"
        parcel = "field"
        date = "day"
        date_format = "%d.%m.%Y"
        pass_column = "pass"
        [variables.sigma0_vv_db]
        column = "VV"
        [variables.sigma0_vh_db]
        column = "VH"
    """
    made.space.bring(made.space.table(columns), text)
    (task,) = made.rows()
    made.run(task)
    file = read_features(made.chain.path(task.outputs[0]))
    (row,) = np.flatnonzero(file.new_id == {ori: new for new, ori in made.space.own_id().items()}["F002"])
    values = {
        name: float(column[row].as_py())
        for name, column in zip(file.batches[0].schema.names, file.batches[0], strict=True)
    }
    # Linear, and a week without a value between two that have one is within the longest gap.
    vv = [(0.1 + 0.01) / 2, 10**-1.3]
    assert values["XX_W201810_ASC_VV_BCK_MEAN"] == pytest.approx(vv[0], rel=1e-5)
    assert values["XX_W201811_ASC_VV_BCK_MEAN"] == pytest.approx(sum(vv) / 2, rel=1e-5)
    assert values["XX_W201810_ASC_RATIO_BCK_MEAN"] == pytest.approx(vv[0] / 0.01, rel=1e-5)
    assert values["XX_W201810_DESC_RATIO_BCK_MEAN"] == pytest.approx(10**0.7, rel=1e-5)
    assert values["XX_M201803_ASC_VV_BCK_MEAN_MEAN"] == pytest.approx(sum(vv) / 2, rel=1e-5)
    assert values["XX_M201803_ASC_VV_BCK_CVAR_MEAN"] == pytest.approx(np.std(vv) / np.mean(vv), rel=1e-4)
    assert [values[f"XX_W2018{week}_ASC_observed"] for week in (10, 11, 12)] == [1.0, 0.0, 1.0]
    assert np.isnan(values["XX_W201814_ASC_VV_BCK_MEAN"])
    assert "weekly means" in file.header.method
    assert not any(name.startswith("XX_2018") for name in values)
