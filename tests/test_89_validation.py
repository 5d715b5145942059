"""``s4c validate``: harvests, crop types and signals of a workspace against what a person knows, as a user types it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.cli import s4c, s4c_json
from support.imports import LONG, ImportSpace, site_text

from s4c_hpc.classify.outputs import crop_schema
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import latest_version, read_attributes
from s4c_hpc.practices.codes import Status
from s4c_hpc.practices.improved.evidence import evidence_schema
from s4c_hpc.practices.product import product_schema

SITE = site_text()
N = 12


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve fields with a look every three days: NDVI .8, and .3 from 10 June on in the first six."""
    root = tmp_path_factory.mktemp("validation")
    space = ImportSpace(root, n=N)
    (root / "s4c.toml").write_text(SITE)
    days = [dt.date(2018, 5, 1) + dt.timedelta(days=3 * i) for i in range(30)]
    rows = [
        (f"F{i + 1:03d}", day, (0.3 if i < 6 and day >= dt.date(2018, 6, 10) else 0.8) + 0.01 * i)
        for i in range(N)
        for day in days
    ]
    table = dict(zip(("id", "date", "ndvi"), map(list, zip(*rows, strict=True)), strict=True))
    space.bring(space.table(table, name="ndvi"), LONG)
    return root


def parcels(root: Path) -> tuple[dict[str, int], str]:
    """NewID by id, and the tile of the first one."""
    version = latest_version(Workspace(root))
    assert version is not None
    table = read_attributes(Workspace(root), version, ["NewID", "ori_id", "tile"])
    return dict(zip(table["ori_id"].to_pylist(), table["NewID"].to_pylist(), strict=True)), table["tile"][0].as_py()


def write(path: Path, schema: pa.Schema, columns: dict[str, Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    write_ipc(path, schema, [pa.RecordBatch.from_arrays(arrays, schema=schema)])


def csv(root: Path, column: str, rows: list[tuple[str, str]]) -> Path:
    path = root / f"{column}.csv"
    path.write_text(f"parcel,{column}\n" + "".join(f"{parcel},{value}\n" for parcel, value in rows))
    return path


@pytest.fixture
def harvested(workspace: Path) -> Path:
    """The files of practices, by hand: four fields harvested in the week of 25 June, one not, one not judged."""
    numbers, tile = parcels(workspace)
    schema = product_schema({"site": "test", "tile": tile}, tillage=False)
    ids = sorted(numbers.values())[:6]
    columns: dict[str, Sequence[Any]] = {field.name: [0] * 6 for field in schema}
    columns |= {
        "NewID": ids,
        "STATUS": [0] * 5 + [int(Status.NO_S1)],
        "H_W_START": [20180625] * 4 + [-10001, -10000],
        "H_W_END": [20180701] * 4 + [-10001, -10000],
    }
    write(workspace / f"markers/l4c/2018/test_{tile}.arrow", schema, columns)
    (workspace / f"markers/l4c-evidence/2018/test_{tile}.arrow").unlink(missing_ok=True)
    return workspace


TRUTH = [
    *(("F001", "2018-06-25"), ("F002", "2018-07-01"), ("F003", "2018-07-04"), ("F004", "2018-07-30")),
    *(("F005", ""), ("F006", "2018-06-28"), ("F999", "2018-06-28"), ("F007", "2018-06-28")),
]


def test_harvests_by_their_weeks(harvested: Path) -> None:
    made = s4c_json("validate", "harvest", csv(harvested, "date", TRUTH), workspace=harvested)
    assert (made["parcels"], made["parcels_without"], made["known"], made["found"], made["matched"]) == (5, 1, 4, 4, 3)
    assert made["known_in_window"] == 2, "25 June and 1 July are the ends of the week"
    assert made["scores"]["f1"] == pytest.approx(6 / 8)
    assert made["scores"]["median_shift_days"] == pytest.approx(-3)
    assert made["median_window_days"] == made["longest_window_days"] == 6
    assert made["left_out"] == {
        "no backscatter or no coherence": 1,
        "no such parcel": 1,
        "on no tile with series": 1,
    }
    told = s4c("validate", "harvest", harvested / "date.csv", "--tolerance", "3", workspace=harvested)
    assert told.returncode == 0
    assert "2 of 4 known and 4 found harvests of 5 parcels are the same, within 3 days" in told.stderr
    assert "2 of 4 known days lie in the window of an event" in told.stderr


def test_evidence_has_the_better_windows(harvested: Path) -> None:
    _, tile = parcels(harvested)
    schema = pa.schema(
        [
            pa.field("NewID", pa.int32()),
            *(pa.field(name, pa.string()) for name in ("decision", "verdict", "reason")),
            *(pa.field(name, pa.date32()) for name in ("start", "end")),
        ]
    )
    ids = pa.ipc.open_file(harvested / f"markers/l4c/2018/test_{tile}.arrow").read_all()["NewID"].to_pylist()
    columns: dict[str, Sequence[Any]] = {
        "NewID": [*ids[:5], ids[5], ids[0]],
        "decision": ["harvest"] * 6 + ["tillage"],
        "verdict": ["found"] * 4 + ["not found", "undecided", "found"],
        "reason": [""] * 5 + ["no NDVI and no radar", ""],
        "start": [dt.date(2018, 6, 20)] * 4 + [None, None, dt.date(2018, 8, 1)],
        "end": [dt.date(2018, 7, 30)] * 4 + [None, None, dt.date(2018, 8, 9)],
    }
    write(harvested / f"markers/l4c-evidence/2018/test_{tile}.arrow", schema, columns)
    made = s4c_json("validate", "harvest", csv(harvested, "date", TRUTH), workspace=harvested)
    assert made["known_in_window"] == 4
    assert made["median_window_days"] == 40
    assert made["left_out"]["no NDVI and no radar"] == 1


def test_evidence_of_another_task_does_not_count(harvested: Path) -> None:
    # It lies there after a change of mode until a run of all stages has ended.
    _, tile = parcels(harvested)
    schema = evidence_schema({"task": "an older one"})
    write(harvested / f"markers/l4c-evidence/2018/test_{tile}.arrow", schema, {field.name: [] for field in schema})
    made = s4c_json("validate", "harvest", csv(harvested, "date", TRUTH), workspace=harvested)
    assert (made["found"], made["median_window_days"]) == (4, 6), "the weeks of the product"


def test_there_are_no_harvests_yet(tmp_path: Path) -> None:
    ImportSpace(tmp_path, n=N)
    (tmp_path / "s4c.toml").write_text(SITE)
    refused = s4c("validate", "harvest", csv(tmp_path, "date", TRUTH), workspace=tmp_path)
    assert refused.returncode == 6
    assert "practices.enabled" in refused.stderr


@pytest.fixture
def classified(workspace: Path) -> Path:
    """Crop types by hand: six of wheat, of which one is declared as rape; five of rape; one not classified."""
    numbers, tile = parcels(workspace)
    ids = [numbers[f"F{i + 1:03d}"] for i in range(N)]
    schema = crop_schema({"classes": json.dumps({"1": "wheat", "2": "rape"})})
    columns: dict[str, Sequence[Any]] = {
        field.name: [0.9] * N if field.type == pa.float32() else [""] * N for field in schema
    }
    columns |= {"NewID": ids, "CT_decl": ["2", *["1"] * 5, *["2"] * 6], "CT_pred_1": ["1"] * 6 + ["2"] * 5 + [""]}
    write(workspace / f"markers/l4a/2018/test_{tile}.arrow", schema, columns)
    return workspace


def test_crop_types_against_visits_beside_the_declarations(classified: Path) -> None:
    visited = [("F001", "wheat"), ("F002", "1"), ("F007", "2"), ("F008", "wheat"), ("F009", "oats"), ("F012", "2")]
    made = s4c_json("validate", "croptype", csv(classified, "crop", [*visited, ("F999", "1")]), workspace=classified)
    assert made["found"]["n"] == 4
    assert made["found"]["accuracy"] == pytest.approx(3 / 4), "F008 is found as rape and is wheat"
    assert made["declared"]["accuracy"] == pytest.approx(2 / 4), "F001 is declared as rape as well"
    low, high = made["found"]["interval_95"]["accuracy"]
    assert low < 3 / 4 < high
    assert made["left_out"] == {"not classified": 1, "no such parcel": 1}
    assert made["unknown_crops"] == {"oats": 1}
    told = s4c("validate", "croptype", classified / "crop.csv", workspace=classified)
    assert told.stdout.splitlines()[1].split()[:3] == ["found", "accuracy", "0.75"]
    assert "crop 'oats' is no class" in told.stderr


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        ([("F001", "1"), ("F001", "2")], 4, "parcel F001 has 2 crops"),
        ([("F001", "oats")], 6, "classes are 1, 2, rape, wheat"),
    ],
)
def test_crops_that_judge_nothing(classified: Path, rows: list[tuple[str, str]], code: int, said: str) -> None:
    refused = s4c("validate", "croptype", csv(classified, "crop", rows), workspace=classified)
    assert refused.returncode == code
    assert said in refused.stderr


def test_signals_around_known_events(workspace: Path) -> None:
    known = [(f"F{i:03d}", "2018-06-13") for i in range(1, 7)] + [("F999", "2018-06-13"), ("F007", "")]
    path = csv(workspace, "date", known)
    made = s4c_json("validate", "signals", path, "--variable", "ndvi", "--weeks", "3", workspace=workspace)
    weeks = {one["week"]: one for one in made["weeks"]}
    assert sorted(weeks) == [-3, -2, -1, 0, 1, 2, 3]
    assert made["events"] == weeks[1]["n"] == 6
    # The week before has looks of 6 June (.8) and 9 June (.8), those after the cut have .3 alone.
    assert weeks[1]["mean"] == pytest.approx(-0.5, abs=1e-6)
    assert weeks[-3]["mean"] == pytest.approx(0, abs=1e-6)
    assert made["left_out"] == {"no such parcel": 1}
    told = s4c("validate", "signals", path, "--variable", "ndvi", workspace=workspace)
    assert told.stdout.splitlines()[0].split() == ["week", "n", "mean", "stdev", "low", "high", "p"]
    none = s4c("validate", "signals", path, "--variable", "lai", workspace=workspace)
    assert none.returncode == 6
    assert "ndvi_mean" in none.stderr


def test_a_season_may_begin_in_the_year_before(workspace: Path, tmp_path: Path) -> None:
    """Southern harvests: a known day counts if it lies in the season that the file is of."""
    numbers, tile = parcels(workspace)
    schema = product_schema({"season": "2020-08-01_2021-07-31", "period": "2021"}, tillage=False)
    columns: dict[str, Sequence[Any]] = {field.name: [0] for field in schema}
    columns |= {"NewID": [numbers["F001"]], "H_W_START": [20201130], "H_W_END": [20201206]}
    write(workspace / f"markers/l4c/2021/test_{tile}.arrow", schema, columns)
    truth = tmp_path / "truth.csv"
    truth.write_text("parcel,date\nF001,2020-12-05\n")
    made = s4c_json("validate", "harvest", truth, "--period", "2021", workspace=workspace)
    assert (made["known"], made["matched"], made["dates_left_out"]) == (1, 1, 0)
