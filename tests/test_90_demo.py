"""The demo end to end, through the command line, on real imagery: right numbers, nothing decoded twice."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reference_demo import reference
from support.cli import DEMO_DATA, s4c, s4c_json, tree_bytes
from support.demo import FinishedDemo

DERIVED = ("tiles", "markers", "parcels")


@pytest.fixture(scope="module")
def demo(finished_demo: FinishedDemo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of one finished demo; tests that change its results work on a copy of this copy."""
    return Path(shutil.copytree(finished_demo.workspace, tmp_path_factory.mktemp("demo") / "workspace"))


@pytest.fixture
def copy(demo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo, tmp_path / "copy"))


def season(workspace: Path) -> dict[str, np.ndarray]:
    """All columns of all months by name, rows in the order of NewID."""
    columns: dict[str, np.ndarray] = {}
    for path in sorted((workspace / "markers" / "mdb1").rglob("*.arrow")):
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        for name in table.column_names:
            values = table[name].to_numpy()
            if name == "NewID":
                assert np.array_equal(columns.setdefault(name, values), values)
            else:
                assert name not in columns
                columns[name] = values
    return columns


def opened(workspace: Path) -> int:
    """Raster files opened over the whole life of the workspace."""
    return int(pq.read_table(workspace / "state" / "history.parquet")["rasters_opened"].to_numpy().sum())


def test_it_says_where_results_are(finished_demo: FinishedDemo) -> None:
    assert str(finished_demo.workspace / "report.html") in finished_demo.said
    assert str(finished_demo.workspace / "markers") in finished_demo.said


def test_markers_equal_an_independent_computation(demo: Path) -> None:
    columns = season(demo)
    parcels = pq.read_table(demo / "parcels" / "v0001" / "parcels.parquet", columns=["NewID", "ori_id"]).to_pydict()
    row = {
        p: int(np.searchsorted(columns["NewID"], n)) for p, n in zip(parcels["ori_id"], parcels["NewID"], strict=True)
    }
    assert len(row) == 18
    compared, dates = 0, set()
    for parcel, date, variable, statistic, expected in reference(DEMO_DATA):
        if variable in {"b01", "b09"}:
            continue  # in the files, not among the demo's variables
        name = f"s2_10m_{variable}__{date}" if variable.startswith("n_") else f"s2_{variable}_{statistic}__{date}"
        assert columns[name][row[parcel]] == pytest.approx(expected, rel=2e-6, abs=1e-7), (parcel, name)
        compared += 1
        dates.add(date)
    assert len(dates) == 23
    assert compared > 30_000


def test_classes_sum_to_the_whole(demo: Path) -> None:
    columns = season(demo)
    totals = [name for name in columns if "_n_total__" in name]
    assert len(totals) == 23
    for total in totals:
        parts = [v for n, v in columns.items() if n.startswith("s2_10m_n_") and n != total and n.endswith(total[-10:])]
        assert len(parts) == 7
        assert np.array_equal(np.sum(parts, axis=0), columns[total])
        assert columns[total].min() > 0


def test_another_profile_than_that_of_the_workspace_is_refused(copy: Path, tmp_path: Path) -> None:
    """It would be ignored: the configuration is there already."""
    profile = tmp_path / "site.toml"
    profile.write_text("[execute]\nworkers = 1\n")
    done = s4c("demo", "--profile", profile, "--workspace", copy)
    assert done.returncode == 4
    assert "made without this profile; give the demo another --workspace" in done.stderr


def test_a_profile_that_is_not_there_leaves_no_workspace(tmp_path: Path) -> None:
    done = s4c("demo", "--profile", tmp_path / "none.toml", "--workspace", tmp_path / "new")
    assert done.returncode == 4
    assert "none.toml: no such site profile" in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_finished_workspace_is_up_to_date(demo: Path) -> None:
    done = s4c("plan", workspace=demo)
    assert done.returncode == 0
    assert "up to date" in done.stdout + done.stderr
    plan = s4c_json("plan", workspace=demo)
    assert plan["up_to_date"] is True
    assert plan["total"]["done"] > 23
    before = tree_bytes(demo, *DERIVED)
    assert s4c("run", workspace=demo).returncode == 0
    assert tree_bytes(demo, *DERIVED) == before


def test_each_image_is_opened_once_whatever_is_asked_later(copy: Path) -> None:
    assert opened(copy) == 23
    for changed in (
        'variables.indices=["ndvi", "EVI", "ndwi_gao"]',
        'validity.use=["valid", "water", "cloud"]',
        'extract.buffer_m={"10m" = 0}',
        'extract.weighting="coverage"',
    ):
        plan = s4c_json("plan", "--set", changed, workspace=copy)
        assert plan["total"]["opens_imagery"] == 0, changed
        assert plan["total"]["todo"] > 0, changed
    done = s4c("run", "--set", 'variables.indices=["ndvi", "EVI"]', workspace=copy)
    assert done.returncode == 0, done.stderr
    assert opened(copy) == 23
    assert "s2_evi_mean__20180507" in season(copy)
    assert "s2_bsi_mean__20180507" not in season(copy)


def test_going_back_gives_the_old_bytes(copy: Path) -> None:
    """Marker files have fixed names: what an earlier configuration made must not pass for what this one asks."""
    before = tree_bytes(copy, "markers")
    assert s4c("run", "--set", "variables.statistics=['mean']", workspace=copy).returncode == 0
    assert tree_bytes(copy, "markers") != before
    assert s4c("run", workspace=copy).returncode == 0
    assert tree_bytes(copy, "markers") == before


def test_measured_memory_stays_below_what_was_asked(demo: Path) -> None:
    history = pq.read_table(demo / "state" / "history.parquet").to_pylist()
    assert history
    for attempt in history:
        assert 0 < attempt["peak_anon_bytes"] <= attempt["mem_bytes"], attempt


def test_a_late_product_touches_its_own_month_only(tmp_path: Path) -> None:
    data = Path(shutil.copytree(DEMO_DATA, tmp_path / "data"))
    late = data / "images" / "S2_L2A_20180812T101124Z.tif"
    late.rename(tmp_path / late.name)
    workspace = tmp_path / "ws"
    assert s4c("demo", "--workspace", workspace, "--data", data).returncode == 0
    months = {p.parent.name: p.read_bytes() for p in (workspace / "markers" / "mdb1").rglob("*.arrow")}
    (tmp_path / late.name).rename(late)
    assert s4c("catalog", "scan", workspace=workspace).returncode == 0
    plan = s4c_json("plan", workspace=workspace)
    assert {s["stage"]: s["todo"] for s in plan["stages"]} == {
        "mask": 0,
        "index": 0,
        "gather": 1,
        "stats": 1,
        "compact": 1,
        "series": 1,
        "merge": 1,
        "practices": 1,
    }
    assert s4c("run", workspace=workspace).returncode == 0
    after = {p.parent.name: p.read_bytes() for p in (workspace / "markers" / "mdb1").rglob("*.arrow")}
    assert {m for m in after if after[m] != months[m]} == {"2018-08"}


def test_moving_the_archive_re_runs_nothing(demo: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(demo, tmp_path / "copy"))
    moved = Path(shutil.copytree(DEMO_DATA, tmp_path / "elsewhere"))
    text = (copy / "s4c.toml").read_text()
    (copy / "s4c.toml").write_text(text.replace(str(DEMO_DATA), str(moved)))
    assert str(moved) in (copy / "s4c.toml").read_text()
    assert s4c("catalog", "scan", workspace=copy).returncode == 0
    assert s4c_json("plan", workspace=copy)["up_to_date"] is True


def test_markers_commands(demo: Path, tmp_path: Path) -> None:
    listed = s4c_json("markers", "list", workspace=demo)
    assert {row["period"] for row in listed if row["set"] == "mdb1"} == {f"2018-0{m}" for m in range(2, 9)}
    assert {row["period"] for row in listed if row["set"] != "mdb1"} == {"2018"}
    out = tmp_path / "season.csv"
    done = s4c("markers", "export", out, workspace=demo)
    assert done.returncode == 0, done.stderr
    header, *rows = out.read_text().splitlines()
    assert len(rows) == 18
    assert "s2_ndvi_mean__20180213" in header
    assert s4c("markers", "export", out, workspace=demo).returncode == 4, "an existing file is not overwritten unasked"
    done = s4c("markers", "query", "--columns", "s2_ndvi_mean__*", "--ids", "1,2", "--json", workspace=demo)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2


def test_harvests_and_catch_crops_of_real_fields(demo: Path, tmp_path: Path) -> None:
    """Harvests as the combine has logged them; of four declared catch crops three stood, as NDVI shows to the eye."""
    logged = list(csv.DictReader((DEMO_DATA / "events_truth.csv").read_text().splitlines()))
    truth = tmp_path / "truth.csv"
    truth.write_text("parcel,date\n" + "".join(f"{row['parcel_id']},{row['harvest_first']}\n" for row in logged))
    found = s4c_json("validate", "harvest", truth, workspace=demo)
    assert (found["known"], found["found"], found["known_in_window"]) == (18, 18, 18)
    assert found["longest_window_days"] <= 28
    said = {}
    for name in ("Grafenfeld", "Krohberg", "Sieblerfeld", "Radarstation"):
        parcel = s4c_json("report", "parcel", name, workspace=demo)
        said[name] = [one["verdict"] for one in parcel["decisions"] if one["decision"] == "catch-crop"]
    assert said.pop("Radarstation") == ["poor"]
    assert set(map(tuple, said.values())) == {("moderate",)}, "optical images alone make nothing strong"


def test_report_is_one_file_without_network(demo: Path) -> None:
    text = (demo / "report.html").read_text()
    assert "Baumacker" in text
    assert "src=" not in text
    assert s4c("report", "--output", demo / "again.html", workspace=demo).returncode == 0


def test_a_corrupt_image_is_a_row_with_a_reason_and_the_rest_is_done(demo: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(DEMO_DATA, tmp_path / "data"))
    image = data / "images" / "S2_L2A_20180812T101124Z.tif"
    whole = image.read_bytes()
    half = len(whole) // 2
    image.write_bytes(whole[:half] + b"\xff" * 4096 + whole[half + 4096 :])
    workspace = tmp_path / "ws"
    done = s4c("demo", "--workspace", workspace, "--data", data)
    assert done.returncode == 5, done.stderr
    assert image.name in done.stderr
    assert "20180812" in (workspace / "report.html").read_text(), "the report is written all the same and names it"
    manifest = json.loads((workspace / "markers" / "mdb1" / "2018-08" / "freising_FREISING.manifest.json").read_text())
    assert [m["product"] for m in manifest["missing"]] == [image.stem]
    rest = {p.parent.name: p.read_bytes() for p in (workspace / "markers" / "mdb1").rglob("*.arrow")}
    good = {p.parent.name: p.read_bytes() for p in (demo / "markers" / "mdb1").rglob("*.arrow")}
    assert {month for month in good if rest[month] != good[month]} == {"2018-08"}
    image.write_bytes(whole)  # the archive is repaired
    assert s4c("demo", "--workspace", workspace).returncode == 0
    assert tree_bytes(workspace, "markers") == tree_bytes(demo, "markers")


def test_notes_of_tasks_are_printed_after_a_run(copy: Path, tmp_path: Path) -> None:
    """A table that lacks parcels stops nothing, and whoever runs it is told."""
    table = tmp_path / "practices.csv"
    rows = (DEMO_DATA / "practices.csv").read_text().splitlines(keepends=True)
    table.write_text("".join(rows[:-2]))
    done = s4c("run", "--set", f"practices.table='{table}'", workspace=copy)
    assert done.returncode == 0, done.stderr
    assert "practices: 2 of 18 parcels are not in the table of practices" in done.stderr
