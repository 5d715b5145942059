"""From imported NDVI and coherence to mowings and their judgement, as a user types it; no imagery anywhere."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.cli import s4c, s4c_json
from support.demo import FinishedDemo
from support.imports import COHERENCE, LONG, ImportSpace, site_text

from s4c_hpc.config import load_config
from s4c_hpc.core.errors import NoInputsError
from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.core.stage import PlanContext, stage
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.mowing.contract import read_mowings
from s4c_hpc.parcels import latest_version, read_attributes

SITE = site_text("mowing")
N = 30
CUT = dt.date(2018, 6, 10)
MOWN, BARE = range(10), "F030"
"""Fields that are cut, by position, and the one of which there are three looks only."""
PERIOD = "2018-03-01_2018-10-31"


def optical_table() -> dict[str, Any]:
    """A look every five days: .85, and after the cut .45 that is back after 40 days."""
    days = [dt.date(2018, 3, 5) + dt.timedelta(days=5 * i) for i in range(46)]
    rows = []
    for i in range(N):
        name = f"F{i + 1:03d}"
        for day in days[:3] if name == BARE else days:
            since = (day - CUT).days
            low = 0.45 + 0.01 * since if i in MOWN and since >= 0 else 1.0
            rows.append((name, day, min(0.85, low)))
    return dict(zip(("id", "date", "ndvi"), map(list, zip(*rows, strict=True)), strict=True))


def radar_table() -> dict[str, Any]:
    days = [dt.date(2018, 3, 4) + dt.timedelta(days=6 * i) for i in range(40)]
    names = [f"F{i + 1:03d}" for i in range(N)]
    return {
        "id": np.repeat(names, len(days)),
        "date": pa.array(days * N),
        "coh": [0.6 if i in MOWN and 0 < (d - CUT).days < 40 else 0.3 for i in range(N) for d in days],
    }


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a declaration of two tiles that asks for mowing, and has nothing to see it in."""
    root = tmp_path_factory.mktemp("mowing")
    ImportSpace(root, n=N)
    (root / "s4c.toml").write_text(SITE)
    return root


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after two imports and a run."""
    root = tmp_path_factory.mktemp("mowing")
    space = ImportSpace(root, n=N)
    for name, table, text in (("ndvi", optical_table(), LONG), ("radar", radar_table(), COHERENCE)):
        space.bring(space.table(table, name=name), text)
    (root / "s4c.toml").write_text(SITE)
    done = s4c("run", workspace=root)
    assert done.returncode == 0, done.stderr
    return root


def crops_of(root: Path) -> dict[int, str]:
    version = latest_version(Workspace(root))
    assert version is not None
    table = read_attributes(Workspace(root), version, ["NewID", "ori_crop"])
    return dict(zip(table["NewID"].to_pylist(), table["ori_crop"].to_pylist(), strict=True))


def truth(workspace: Path, rows: list[tuple[str, str]]) -> Path:
    path = workspace / "truth.csv"
    path.write_text("parcel,date\n" + "".join(f"{parcel},{day}\n" for parcel, day in rows))
    return path


def test_mowing_without_series_is_no_success(empty: Path) -> None:
    refused = s4c("run", workspace=empty)
    assert refused.returncode == 4
    assert "no product index" in refused.stderr
    context = PlanContext(
        workspace=Workspace(empty),
        config=load_config(empty / "s4c.toml").config,
        upstream={"series": PLAN_SCHEMA.empty_table()},
    )
    with pytest.raises(NoInputsError, match="no tile with parcels has series"):
        list(stage("mowing").tasks(context))
    judged = s4c("validate", "mowing", truth(empty, [("F001", "2018-06-10")]), workspace=empty)
    assert judged.returncode == 6
    assert "mowing.enabled" in judged.stderr


def test_events_and_what_is_said_of_each_parcel(workspace: Path) -> None:
    made = read_mowings(Workspace(workspace))
    assert made.periods == (PERIOD,)
    assert len(made.events) == N - 1
    mown = [events for events in made.events.values() if events]
    assert len(mown) == len(MOWN)
    for ((start, end, confidence),) in mown:
        assert (start, end) == (dt.date(2018, 6, 8), dt.date(2018, 6, 13))
        assert 0.4 <= confidence <= 1
    (reason,) = made.not_assessed.values()
    assert reason == "fewer than 5 NDVI looks in the season"


def test_an_event_carries_its_evidence(workspace: Path) -> None:
    tables = [pa.ipc.open_file(path).read_all() for path in sorted(workspace.glob(f"markers/l4b/{PERIOD}/*.arrow"))]
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(rows) == len(MOWN)
    assert {row["source"] for row in rows} == {"S2/S1"}
    for row in rows:
        assert row["date"] == dt.date(2018, 6, 10)
        assert row["ndvi_before"] == pytest.approx(0.85)
        assert row["ndvi_after"] == pytest.approx(0.48)
        assert row["coherence_after"] > row["coherence_before"] + 0.2
    about = {k.decode(): v.decode() for k, v in tables[0].schema.metadata.items()}
    assert json.loads(about["rules"])["improved"]["min_confidence"] == 0.4


def test_a_second_run_has_nothing_to_do_and_a_new_one_gives_the_same_bytes(workspace: Path) -> None:
    files = sorted(workspace.glob("markers/l4b*/*/*.arrow"))
    before = [path.read_bytes() for path in files]
    again = s4c("run", workspace=workspace)
    assert again.returncode == 0
    assert "up to date" in again.stderr
    for path in files:
        path.unlink()
    assert s4c("run", workspace=workspace).returncode == 0
    assert [path.read_bytes() for path in files] == before


def test_judged_by_a_truth(workspace: Path) -> None:
    rows = [(f"F{i + 1:03d}", "2018-06-12") for i in range(8)]
    rows += [("F009", ""), ("F011", ""), ("F012", "2018-07-20"), (BARE, "2018-06-10"), ("nobody", "2018-06-10")]
    rows += [("F013", "2019-06-10")]
    made = s4c_json("validate", "mowing", truth(workspace, rows), workspace=workspace)
    assert (made["parcels"], made["parcels_without"]) == (11, 2)
    assert (made["known"], made["found"], made["matched"]) == (9, 9, 8)
    assert made["scores"]["f1"] == pytest.approx(8 / 9)
    assert made["scores"]["median_shift_days"] == pytest.approx(-1.5)
    low, high = made["intervals"]["f1"]
    assert low < 8 / 9 <= high
    assert made["known_in_window"] == 8
    assert made["left_out"] == {
        "fewer than 5 NDVI looks in the season": 1,
        "no such parcel": 1,
        "no date in the period": 1,
    }
    told = s4c("validate", "mowing", workspace / "truth.csv", "--tolerance", "1", "--date", "end", workspace=workspace)
    assert told.returncode == 0
    assert told.stdout.splitlines()[3].split()[:2] == ["f1", "0.8889"]
    none = s4c("validate", "mowing", workspace / "truth.csv", "--tolerance", "1", workspace=workspace)
    assert none.stdout.splitlines()[3].split()[:2] == ["f1", "0"]


def test_our_own_series_and_only_the_crops_that_are_asked_for(finished_demo: FinishedDemo, tmp_path: Path) -> None:
    demo = Path(shutil.copytree(finished_demo.workspace, tmp_path / "demo"))
    done = s4c("run", "--set", "mowing.enabled=true", "--set", "mowing.crops=['115']", workspace=demo)
    assert done.returncode == 0, done.stderr
    made = read_mowings(Workspace(demo))
    crops = crops_of(demo)
    assert len(crops) == 18
    assert set(made.events) == {parcel for parcel, crop in crops.items() if crop == "115"}
    assert set(made.not_assessed.values()) == {"of a crop that is not asked for"}
    assert any(made.events.values())


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("plot,date\nF001,2018-06-10\n", 4, "no column 'parcel'"),
        ("parcel,date\nF001,10.06.2018\n", 4, "line 2"),
        ("parcel,date\n", 6, "no row"),
        ("parcel,date\nnobody,2018-06-10\n", 6, "1 no such parcel"),
    ],
)
def test_a_truth_that_is_none(workspace: Path, text: str, code: int, said: str) -> None:
    path = workspace / "wrong.csv"
    path.write_text(text)
    refused = s4c("validate", "mowing", path, workspace=workspace)
    assert refused.returncode == code
    assert said in refused.stderr


def test_reference_mode_and_a_name_that_no_series_has(workspace: Path) -> None:
    done = s4c("run", "--set", "mowing.mode='reference'", workspace=workspace)
    assert done.returncode == 0, done.stderr
    made = read_mowings(Workspace(workspace))
    assert sum(map(len, made.events.values())) == len(MOWN)
    wrong = s4c("run", "--set", "mowing.ndvi='evi'", workspace=workspace)
    assert wrong.returncode == 6
    assert "there is nothing to judge by: no variable is 'evi'" in wrong.stderr
    assert s4c("run", workspace=workspace).returncode == 0
