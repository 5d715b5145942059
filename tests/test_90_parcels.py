"""``s4c parcels`` and looking values up, as a user does it; pseudonyms through the whole chain."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from support.cli import DEMO_DATA, s4c, s4c_json
from support.privacy import clear_in_files

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import read_attributes

DECLARED = DEMO_DATA / "parcels.gpkg"
_FRAME = gpd.read_file(DECLARED)
CLEAR = _FRAME["parcel_id"].tolist()
WORDS = [word for word in [*_FRAME["flik"], *CLEAR] if len(word) > 4]
"""Parts of ids that no other text holds."""


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "parcels.key"
    path.write_text("0123456789abcdef0123456789abcdef")
    path.chmod(0o600)
    return path


def under_pseudonyms(secret: Path) -> dict[str, Any]:
    return {
        "S4C_SET__PARCELS__PSEUDONYMS__KEY_FILE": str(secret),
        "S4C_SET__PARCELS__ID_COLUMNS": '["flik", "parcel_id"]',
        # The demo's table of practices names parcels by their ids, which such a workspace does not know.
        "S4C_SET__PRACTICES__ENABLED": "false",
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, secret: Path) -> tuple[Path, str]:
    """A finished demo under pseudonyms, and all that it said."""
    workspace = tmp_path_factory.mktemp("demo") / "workspace"
    done = s4c("demo", "--workspace", workspace, **under_pseudonyms(secret))
    assert done.returncode == 0, done.stderr
    return workspace, done.stdout + done.stderr


def edited(target: Path, change: Any) -> Path:
    frame = change(gpd.read_file(DECLARED))
    frame.to_file(target, engine="pyogrio")
    return target


def rows(done: Any) -> list[dict[str, str]]:
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.mark.timeout(1200)  # a dozen commands on a loaded machine
def test_no_byte_of_a_whole_chain_names_a_parcel(demo: tuple[Path, str], secret: Path, tmp_path: Path) -> None:
    finished, said = demo
    workspace = Path(shutil.copytree(finished, tmp_path / "workspace"))
    environment = under_pseudonyms(secret)
    twice = edited(tmp_path / "twice.gpkg", lambda f: f.assign(flik=WORDS[0], parcel_id=CLEAR[0]))
    steps: list[tuple[list[str | Path], int]] = [
        (["parcels", "import", twice], 4),
        (["parcels", "import", edited(tmp_path / "fewer.gpkg", lambda f: f.iloc[1:]), "--mode", "update"], 0),
        (["run"], 0),
        (["report"], 0),
        (["parcels", "list"], 0),
        (["parcels", "diff"], 5),
        (["parcels", "query", "--parcels", WORDS[3]], 4),
        (["markers", "query", "--parcels", WORDS[3]], 4),
        (["parcels", "query", "--ids", "3"], 0),
    ]
    for arguments, code in steps:
        done = s4c(*arguments, workspace=workspace, **environment)
        assert done.returncode == code, (arguments, done.stderr)
        said += done.stdout + done.stderr
    assert {p.name for p in (workspace / "parcels").iterdir()} == {"v0001", "v0002"}
    assert clear_in_files(workspace, WORDS) == {}
    assert not [word for word in WORDS if word in said]
    assert secret.read_text() not in said
    assert clear_in_files(workspace, [secret.read_text()]) == {}

    out = tmp_path / "who.csv"
    assert s4c("parcels", "identify", out, workspace=workspace, **environment).returncode == 0
    with out.open() as stream:
        told = {r["clear_parcel_id"]: r["ori_id"] for r in csv.DictReader(stream)}
    assert sorted(told) == sorted(CLEAR)
    known = read_attributes(Workspace(workspace), "v0002")["ori_id"].to_pylist()
    assert set(told.values()) == set(known)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with two versions."""
    found = tmp_path / "workspace"
    assert s4c("init", found).returncode == 0
    settings = (found / "s4c.toml").read_text()
    (found / "s4c.toml").write_text(settings.replace('file = "parcels.gpkg"', f'file = "{DECLARED}"'))
    for file, mode in (
        (DECLARED, "replace"),
        (edited(tmp_path / "b.gpkg", lambda f: f.iloc[2:].assign(crop_code="999")), "update"),
    ):
        done = s4c("parcels", "import", file, "--mode", mode, "--crop-column", "crop_code", workspace=found)
        assert done.returncode == 0, done.stderr
    assert "update: 2 deleted, 16 attributes only" in done.stderr
    return found


def test_versions_and_what_they_differ_in(workspace: Path) -> None:
    first, second = s4c_json("parcels", "list", workspace=workspace)
    assert (first["version"], first["mode"], first["parcels"], first["added"]) == ("v0001", "replace", 18, 18)
    assert (second["mode"], second["parcels"], second["deleted"], second["attributes_only"]) == ("update", 16, 2, 16)
    (tile,) = s4c_json("parcels", "list", "--tiles", workspace=workspace)
    assert (tile["version"], tile["parcels"]) == ("v0002", 16)

    done = s4c("parcels", "diff", workspace=workspace)
    assert done.returncode == 5
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
        ["added", "0"],
        ["deleted", "2"],
        ["outline_changed", "0"],
        ["attributes_only", "16"],
        ["unchanged", "0"],
    ]
    told = json.loads(s4c("parcels", "diff", "v0002", "v0001", "--json", workspace=workspace).stdout)
    assert (told["before"], told["after"], told["added"], told["NewID"]["deleted"]) == ("v0002", "v0001", 2, [])
    assert s4c("parcels", "diff", "v0002", "v0002", workspace=workspace).returncode == 0
    done = s4c("parcels", "diff", "v0001", "v0009", workspace=workspace)
    assert (done.returncode, "versions are v0001, v0002" in done.stderr) == (4, True)


def test_parcels_by_every_condition(workspace: Path, tmp_path: Path) -> None:
    assert len(rows(s4c("parcels", "query", workspace=workspace))) == 16
    assert len(rows(s4c("parcels", "query", "--deleted", workspace=workspace))) == 18
    found = rows(s4c("parcels", "query", "--version", "v0001", "--ids", "3,1", "-c", "NewID", workspace=workspace))
    assert found == [{"NewID": "1"}, {"NewID": "3"}]
    (tmp_path / "ids.txt").write_text(f"ori_id\n{CLEAR[5]}\n")
    for option in (["--ids", tmp_path / "ids.txt"], ["--where", f"ori_id = '{CLEAR[5]}'"], ["--parcels", CLEAR[5]]):
        assert [r["ori_id"] for r in rows(s4c("parcels", "query", *option, workspace=workspace))] == [CLEAR[5]]
    frame = gpd.read_file(DECLARED).set_index("parcel_id").loc[[CLEAR[5]]]
    frame.geometry = frame.buffer(-1)
    frame.to_file(tmp_path / "area.gpkg")
    sides = ",".join(map(str, frame.to_crs("EPSG:4326").total_bounds))
    for option in (["--polygon", tmp_path / "area.gpkg"], [f"--bbox={sides}"]):
        assert CLEAR[5] in [r["ori_id"] for r in rows(s4c("parcels", "query", *option, workspace=workspace))]
    assert rows(s4c("parcels", "query", "--bbox", "11.66,48.40,11.70,48.45", workspace=workspace))
    done = s4c("parcels", "query", "--where", "ori_crop = 'none'", workspace=workspace)
    assert (done.returncode, "no parcel meets the conditions" in done.stderr) == (6, True)
    assert s4c("parcels", "query", "--bbox", "1,2,3", workspace=workspace).returncode == 3
    assert s4c("parcels", "import", "--mode", "append", workspace=workspace).returncode == 3
    done = s4c("parcels", "query", "--version", "v0009", workspace=workspace)
    assert (done.returncode, "there is no parcel version v0009; versions are v0001, v0002" in done.stderr) == (4, True)
    done = s4c("parcels", "query", "--ids", "3", "-c", "NewID", "-c", "crop*", "-c", "colour*", workspace=workspace)
    assert done.stderr == "no column matches 'colour*'\n"
    assert "crop_code" in rows(done)[0]


@pytest.mark.parametrize(
    "option", [["--where", "NewID = 3"], ["--ids", "3"], ["--parcels", "A"], ["--bbox", "1,2,3,4"], ["-c", "*"]]
)
def test_sql_and_conditions_exclude_each_other(tmp_path: Path, option: list[str]) -> None:
    done = s4c("markers", "query", "--sql", "SELECT 1", "--polygon", "a.gpkg", *option, workspace=tmp_path)
    assert done.returncode == 2
    assert f"does not go with {option[0]}, --polygon: say it in SQL" in done.stderr
