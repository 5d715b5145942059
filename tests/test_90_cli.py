"""The command line itself: help, exit codes, a clear message for each kind of bad input."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from support.cli import DEMO_DATA, s4c
from support.permissions import permissions_count

import s4c_hpc
from s4c_hpc import __version__
from s4c_hpc.cli.main import main
from s4c_hpc.core.bundled import bundled
from s4c_hpc.core.errors import ExitCode

COMMANDS = [
    [],
    ["demo"],
    ["init"],
    *[["config", c] for c in ("check", "show", "schema", "indices")],
    *[["catalog", c] for c in ("scan", "list", "layouts", "readiness")],
    *[["parcels", c] for c in ("check", "import", "list", "diff", "query", "identify")],
    ["plan"],
    ["run"],
    ["status"],
    ["cancel"],
    ["logs"],
    *[["markers", c] for c in ("list", "show", "describe", "query", "sql", "export")],
    *[["export", c] for c in ("season", "postgis", "gpkg")],
    *[["series", c] for c in ("list", "show", "import", "compare")],
    *[["classify", c] for c in ("show", "model", "apply")],
    ["practices", "export"],
    *[["weather", c] for c in ("import", "show")],
    *[["validate", c] for c in ("mowing", "harvest", "croptype", "signals")],
    ["serve"],
    ["serve", "openapi"],
    *[["serve", "token", c] for c in ("add", "list", "revoke")],
    ["zonal"],
    ["guide"],
    ["report"],
    ["report", "parcel"],
    *[["slurm", c] for c in ("check", "qos")],
    *[["slurm", "cluster", c] for c in ("up", "down", "status")],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    done = s4c(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_help_loads_nothing_heavy() -> None:
    """What keeps ``s4c --help`` fast; the time itself is measured in benchmarks."""
    code = "import sys, s4c_hpc.cli.main; print(*[m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["numpy", "pyarrow", "pandas", "numba", "rasterio", "distributed", "pydantic", "rich", "duckdb"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_version_and_usage() -> None:
    assert s4c("--version").stdout.strip() == __version__
    done = s4c("plan", "--colour", "blue")
    assert done.returncode == 2
    assert "--colour" in done.stderr


def test_init_writes_a_configuration_once(tmp_path: Path) -> None:
    assert s4c("init", tmp_path / "ws").returncode == 0
    assert (tmp_path / "ws" / "s4c.toml").read_text() == bundled("configs/template.toml").read_text()
    done = s4c("init", tmp_path / "ws")
    assert done.returncode == 4
    assert "--force" in done.stderr


def test_results_are_not_for_others(tmp_path: Path) -> None:
    s4c("init", tmp_path / "ws")
    assert (tmp_path / "ws" / "s4c.toml").stat().st_mode & 0o007 == 0


def test_show_tells_where_a_value_comes_from(tmp_path: Path) -> None:
    s4c("init", tmp_path)
    done = s4c("config", "show", "--set", "execute.workers=3", workspace=tmp_path)
    assert done.returncode == 0
    line = next(x for x in done.stdout.splitlines() if x.startswith("execute.workers"))
    assert line.split()[1:] == ["3", "--set", "execute.workers"]


def workspace_with(folder: Path, **replace: str) -> Path:
    """A workspace with the demo's configuration, texts replaced."""
    text = bundled("configs/demo.toml").read_text().replace("${S4C_DEMO_DATA}", str(DEMO_DATA))
    for old, new in replace.items():
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    (folder / "s4c.toml").write_text(text)
    return folder


def layer(path: Path, **changes: object) -> Path:
    gdf = gpd.read_file(DEMO_DATA / "parcels.gpkg")
    if changes.get("empty"):
        gdf = gdf.iloc[:0]
    if changes.get("twice"):
        gdf.loc[1, "parcel_id"] = gdf.loc[0, "parcel_id"]
    if changes.get("no_crs"):
        gdf = gdf.set_crs(None, allow_override=True)
    if changes.get("elsewhere"):
        gdf = gdf.set_geometry(shapely.transform(gdf.geometry.values, lambda xy: xy + 500_000))
    gdf[["parcel_id", "crop_code", "geometry"]].to_file(path)
    return path


BAD_PARCELS: list[tuple[str, Callable[[Path], list[str]], int, list[str]]] = [
    ("no file", lambda d: [str(d / "nothing.gpkg")], 4, ["nothing.gpkg"]),
    ("not a layer", lambda d: [_text(d / "x.gpkg")], 4, ["x.gpkg"]),
    ("empty layer", lambda d: [str(layer(d / "p.gpkg", empty=True))], 6, ["p.gpkg"]),
    ("duplicate ids", lambda d: [str(layer(d / "p.gpkg", twice=True))], 4, ["Baumacker", "p.gpkg"]),
    ("no such column", lambda d: [str(layer(d / "p.gpkg")), "--id-column", "parcelid"], 4, ["parcelid", "parcel_id"]),
]


def _text(path: Path) -> str:
    path.write_text("this is no geodata")
    return str(path)


@pytest.mark.parametrize(("case", "make", "code", "words"), BAD_PARCELS, ids=[c[0] for c in BAD_PARCELS])
def test_bad_parcels(tmp_path: Path, case: str, make: Callable[[Path], list[str]], code: int, words: list[str]) -> None:
    workspace = workspace_with(tmp_path / "ws")
    done = s4c("parcels", "import", *make(tmp_path), workspace=workspace)
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workspace / "parcels").exists() or not list((workspace / "parcels").iterdir())


def test_parcels_without_crs(tmp_path: Path) -> None:
    """GeoPackage and shapefile tell a missing CRS in their own ways; a shapefile without .prj is the classic."""
    path = layer(tmp_path / "p.shp")
    path.with_suffix(".prj").unlink()
    done = s4c("parcels", "import", path, workspace=workspace_with(tmp_path / "ws"))
    assert done.returncode == 4
    assert "no coordinate reference system" in done.stderr


def test_no_products_is_not_success(tmp_path: Path) -> None:
    (tmp_path / "empty" / "images").mkdir(parents=True)
    workspace = workspace_with(tmp_path / "ws", **{f'"{DEMO_DATA}/images"': f'"{tmp_path}/empty/images"'})
    done = s4c("catalog", "scan", workspace=workspace)
    assert done.returncode == 6
    assert str(tmp_path / "empty" / "images") in done.stderr
    assert s4c("parcels", "import", workspace=workspace).returncode == 0
    done = s4c("run", workspace=workspace)
    assert done.returncode == 6
    assert "Traceback" not in done.stderr


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path / "ws", **{f'"{DEMO_DATA}/images"': f'"{tmp_path}/gone"'})
    done = s4c("catalog", "scan", workspace=workspace)
    assert done.returncode == 4
    assert str(tmp_path / "gone") in done.stderr


def test_parcels_outside_every_tile(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path / "ws")
    assert s4c("catalog", "scan", workspace=workspace).returncode == 0
    path = layer(tmp_path / "p.gpkg", elsewhere=True)
    done = s4c("parcels", "import", path, workspace=workspace)
    assert done.returncode == 6
    assert "tile" in done.stderr
    assert "Traceback" not in done.stderr
    assert s4c("run", workspace=workspace).returncode == 6


def test_season_without_products(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path / "ws", **{"2018-01-01": "2031-01-01", "2018-12-31": "2031-12-31"})
    assert s4c("catalog", "scan", workspace=workspace).returncode == 0
    assert s4c("parcels", "import", workspace=workspace).returncode == 0
    done = s4c("run", workspace=workspace)
    assert done.returncode == 6
    assert "2031" in done.stderr


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ('variables.indices=["ndvii"]', ["ndvii", "ndvi"]),
        ('variables.indices=["ndwi"]', ["ndwi_gao", "ndwi_mcfeeters"]),
        ('variables.formulas={"bad" = "B08 +* B04"}', ["bad"]),
        ("variables.formulas={\"bad\" = \"__import__('os').system('true')\"}", ["bad"]),
    ],
)
def test_bad_variables_are_found_by_check(tmp_path: Path, flag: str, words: list[str]) -> None:
    done = s4c("config", "check", "--set", flag, workspace=workspace_with(tmp_path / "ws"))
    assert done.returncode == 3, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_check_tells_of_a_band_that_no_source_has(tmp_path: Path) -> None:
    flags = ["--set", 'variables.formulas={"odd" = "B08 / B4", "fine" = "B08 / B05"}']
    done = s4c("config", "check", *flags, workspace=workspace_with(tmp_path / "ws"))
    assert done.returncode == 0, "a source to come may have it"
    assert "no source has B4, which variables.formulas.odd needs" in done.stderr
    assert "fine" not in done.stderr
    s4c("init", tmp_path / "safe")
    done = s4c("config", "check", *flags, workspace=tmp_path / "safe")
    assert "no source has B4," in done.stderr
    assert "fine" not in done.stderr


def test_a_band_that_no_product_has(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path / "ws")
    assert s4c("catalog", "scan", workspace=workspace).returncode == 0
    assert s4c("parcels", "import", workspace=workspace).returncode == 0
    done = s4c("plan", "--set", 'variables.bands=["B04", "B8B"]', workspace=workspace)
    assert done.returncode == 3
    assert "B8B" in done.stderr


def test_an_unreadable_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, whose power as root to read everything can be laid down for a while."""
    closed = tmp_path / "archive" / "2018"
    closed.mkdir(parents=True)
    workspace = workspace_with(tmp_path / "ws", **{f'"{DEMO_DATA}/images"': f'"{closed}"'})
    monkeypatch.setattr(sys, "argv", ["s4c", "catalog", "scan", "--workspace", str(workspace)])
    umask = os.umask(0o022)
    closed.chmod(0)
    try:
        with permissions_count(), pytest.raises(SystemExit) as left:
            main()
    finally:
        closed.chmod(0o700)
        os.umask(umask)
    assert left.value.code == ExitCode.INPUT
    assert f"folder {closed} cannot be read (Permission denied)" in capsys.readouterr().err


def run_patched(patch: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command after ``patch``, Python statements with ``cli`` as the package of commands."""
    code = (
        f"import os, signal, sys\nsys.argv = ['s4c', *{list(arguments)!r}]\n"
        f"from s4c_hpc.cli import main\nimport s4c_hpc.cli as cli\n{patch}\nmain.main()\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_bug_has_an_exit_code_too() -> None:
    done = run_patched("cli.config.print_json = lambda value: 1 / 0", "config", "schema")
    assert done.returncode == 9
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("s4c: this is a bug")


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    s4c("init", tmp_path)
    for command in ("config indices", f"config show -w {tmp_path}"):
        line = f"{sys.executable} -m s4c_hpc.cli {command} | head -n 1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_is_told_and_has_its_exit_code() -> None:
    done = run_patched("cli.config.print_json = lambda value: os.kill(os.getpid(), signal.SIGINT)", "config", "schema")
    assert done.returncode == 75
    assert done.stderr.startswith("s4c: interrupted")


def test_a_mistyped_file_is_bad_input(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path / "ws")
    done = s4c("markers", "query", "--ids", "@missing", workspace=workspace)
    assert done.returncode == 4
    assert "missing" in done.stderr


def test_demo_leaves_other_workspaces_alone(tmp_path: Path) -> None:
    s4c("init", tmp_path / "own")
    done = s4c("demo", "--workspace", tmp_path / "own")
    assert done.returncode == 4
    assert "another --workspace" in done.stderr
    done = s4c("demo", "--workspace", tmp_path / "new", "--data", tmp_path)
    assert done.returncode == 4
    assert not (tmp_path / "new" / "s4c.toml").exists()


def test_every_command_that_a_message_names_exists() -> None:
    """Hints are only as good as the commands in them."""
    text = "\n".join(p.read_text() for p in Path(s4c_hpc.__file__).parent.rglob("*.py") if "_bundled" not in p.parts)
    guides = Path(s4c_hpc.__file__).parent / "guides"
    text += "\n".join(p.read_text() for p in (Path(__file__).parents[1] / "README.md", *guides.rglob("*.md")))
    known = {" ".join(c[:n]) for c in COMMANDS for n in (1, 2) if c}
    groups = {c[0] for c in COMMANDS if len(c) > 1}
    named = set(re.findall(r"['`]s4c ([a-z]+(?: [a-z]+)?)", text))
    for command in named:
        first = command.split()[0]
        assert (command if first in groups and " " in command else first) in known | groups, command


def test_check_tells_what_is_not_there_yet(tmp_path: Path) -> None:
    s4c("init", tmp_path)
    done = s4c("config", "check", workspace=tmp_path)
    assert done.returncode == 0, "the file itself is fine"
    assert str(tmp_path / "archive") in done.stderr
    assert str(tmp_path / "parcels.gpkg") in done.stderr


def test_nothing_to_tell_before_the_first_run(tmp_path: Path) -> None:
    s4c("init", tmp_path)
    for command in (
        ["status"],
        ["logs", "0123"],
        ["classify", "show"],
        ["markers", "list"],
        ["series", "list"],
        ["parcels", "list"],
        ["catalog", "list"],
    ):
        done = s4c(*command, workspace=tmp_path)
        assert done.returncode == 6, command
        assert done.stderr.startswith("s4c: ")
    done = s4c("cancel", workspace=tmp_path)
    assert (done.returncode, "nothing is running" in done.stderr) == (0, True)
