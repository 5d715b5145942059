"""What ``s4c plan`` and ``s4c catalog readiness`` tell of a season with gaps: the demo with images taken away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli import DEMO_DATA, s4c, s4c_json

from s4c_hpc.catalog import scan
from s4c_hpc.cli.main import main
from s4c_hpc.config import load_config
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import current_plan
from s4c_hpc.parcels import import_parcels
from s4c_hpc.plan import Plan

EAST = """
[[grid.tiles]]
id = "EAST"
crs = "EPSG:32632"
ulx = 699000
uly = 5368660
width_m = 5880
height_m = 7180
"""


def demo_without(folder: Path, *months: str, more: str = "") -> Path:
    """A workspace with the demo's season from February to August, without the images of some months."""
    images = folder / "images"
    images.mkdir()
    for path in (DEMO_DATA / "images").glob("*.tif"):
        if path.name.split("_")[2][:6] not in months:
            (images / path.name).symlink_to(path)
    text = bundled("configs/demo.toml").read_text(encoding="utf-8").replace("${S4C_DEMO_DATA}/images", str(images))
    text = text.replace("${S4C_DEMO_DATA}", str(DEMO_DATA))
    text = text.replace("2018-01-01", "2018-02-01").replace("2018-12-31", "2018-08-31")
    workspace = folder / "ws"
    workspace.mkdir()
    (workspace / "s4c.toml").write_text(text + more, encoding="utf-8")
    config = load_config(workspace / "s4c.toml").config
    scan(config, Workspace(workspace))
    import_parcels(None, Workspace(workspace), config)
    return workspace


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_without(tmp_path_factory.mktemp("gap"), "201805")


def test_it_explains_itself() -> None:
    done = s4c("catalog", "readiness", "--help")
    assert done.returncode == 0
    assert "which marker files suffer" in " ".join(done.stdout.split())


def test_a_plan_names_the_marker_files_that_a_gap_costs(gap: Path) -> None:
    done = s4c("plan", workspace=gap)
    assert done.returncode == 0
    assert "missing, 2018-02-01 to 2018-08-31: 1 month of a tile without any acquisition" in done.stderr
    line = "FREISING 2018-05: no acquisition: markers/mdb1/2018-05/freising_FREISING.arrow will not exist"
    assert line in done.stderr
    assert "2018-05" not in done.stdout, "standard output is the table of stages"


def test_a_plan_as_json_holds_the_whole_answer(gap: Path) -> None:
    answer = s4c_json("plan", workspace=gap)
    assert answer["format"] == 1
    ready = answer["readiness"]
    assert ready == s4c_json("catalog", "readiness", workspace=gap)
    assert (ready["first"], ready["until"], ready["ready"], ready["tiles"]) == ("2018-02-01", "2018-08-31", False, 1)
    assert ready["months_without"] == {"FREISING": ["2018-05"]}
    assert [(b["tile"], b["period"], b["exists"]) for b in ready["blocked"]] == [("FREISING", "2018-05", False)]


def test_the_whole_table_is_on_standard_output(gap: Path) -> None:
    done = s4c("catalog", "readiness", workspace=gap)
    assert done.returncode == 0
    coverage, blocks, inputs = done.stdout.split("\n\n")
    n_images = len(list((gap.parent / "images").iterdir()))
    assert coverage.splitlines()[1].split()[:4] == ["FREISING", "s2", "all", str(n_images)]
    assert blocks.splitlines()[1].split() == ["FREISING", "2018-05", "none", "no", "acquisition"]
    ndvi = inputs.splitlines()[1].split()
    assert ndvi[:2] + ndvi[-1:] == ["FREISING", "NDVI", str(n_images)], "none is processed yet: all are waited for"


def test_the_files_that_will_not_exist_do_not(gap: Path) -> None:
    """The join speaks of the same names and months as the stage that writes them."""
    planned = planned_files(gap)
    ready = s4c_json("catalog", "readiness", workspace=gap)
    named = {path for block in ready["blocked"] for path in block["files"]}
    assert named == {"markers/mdb1/2018-05/freising_FREISING.arrow"}
    assert not named & planned
    assert {path.replace("2018-05", "2018-06") for path in named} <= planned


def planned_files(workspace: Path) -> set[str]:
    plan = current_plan(Workspace(workspace), load_config(workspace / "s4c.toml").config)
    return {path for outputs in plan.tasks["outputs"].to_pylist() for path in outputs}


def test_nothing_missing_is_said_in_one_line(tmp_path: Path) -> None:
    done = s4c("plan", workspace=demo_without(tmp_path))
    assert done.returncode == 0
    assert "no product is known to be missing, 2018-02-01 to 2018-08-31" in done.stderr


def test_a_tile_with_parcels_and_no_product_is_a_warning(tmp_path: Path) -> None:
    workspace = demo_without(tmp_path, more=EAST)
    done = s4c("plan", workspace=workspace)
    assert done.returncode == 0
    assert (
        "warning: 1 of 2 tiles with parcels have no product that can be used, 2018-02-01 to 2018-08-31: EAST; "
        "their parcels get no markers"
    ) in done.stderr
    ready = s4c_json("catalog", "readiness", workspace=workspace)
    assert ready["tiles_without_product"] == ["EAST"]
    done = s4c("catalog", "readiness", workspace=workspace)
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split()[0] == "EAST"


def test_no_product_at_all_stays_an_error(gap: Path) -> None:
    done = s4c("plan", "--set", "site.season_start=2017-01-01", "--set", "site.season_end=2017-12-31", workspace=gap)
    assert done.returncode == 6
    assert "no product on tile FREISING from 2017-01-01 to 2017-12-31" in done.stderr


def test_a_season_to_come_lacks_nothing_yet(gap: Path) -> None:
    flags = ("--set", "site.season_start=2100-01-01", "--set", "site.season_end=2100-12-31")
    done = s4c("catalog", "readiness", *flags, workspace=gap)
    assert done.returncode == 0
    assert "the season begins on 2100-01-01: nothing can be missing yet" in done.stderr


@pytest.mark.parametrize(("lacks", "hint"), [("catalog", "s4c catalog scan"), ("parcels", "s4c parcels import")])
def test_without_index_or_parcels_there_is_nothing_to_judge(tmp_path: Path, lacks: str, hint: str) -> None:
    workspace = demo_without(tmp_path)
    (workspace / lacks).rename(tmp_path / "gone")
    done = s4c("catalog", "readiness", workspace=workspace)
    assert done.returncode == 6
    assert hint in done.stderr


def test_a_plan_over_the_free_inodes_is_shown_and_refused(
    gap: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Plan, "free_inodes", lambda _: 20)
    monkeypatch.setattr("sys.argv", ["s4c", "plan", "-w", str(gap), "--json"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 75
    shown = capsys.readouterr()
    quota = json.loads(shown.out)["quota"]
    assert quota["free_inodes"] == 20
    assert f"(up to {quota['inodes_out']} with folders, journals and logs), 20 inodes are free" in shown.err
