"""The examples in ``tests/examples`` run, and readers that are not ours see the values that we wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.markers import MarkerSpace, read

from s4c_hpc.markers import export_markers

EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    made = MarkerSpace(tmp_path_factory.mktemp("readers"))
    made.acquire("20180507T102648", grids=("10m", "20m"))
    made.acquire("20180512T102148", ids=range(1, 12))
    made.merge()
    return made


@pytest.fixture(scope="module")
def expected(space: MarkerSpace) -> dict[str, float]:
    """Mean NDVI by column with numpy."""
    table = read(space.marker("2018-05"))
    names = [n for n in table.column_names if n.startswith("s2_ndvi_mean__")]
    assert len(names) == 2
    assert any(np.isnan(table[n].to_numpy()).any() for n in names), "a test without unknown values shows little"
    return {n: float(np.nanmean(table[n].to_numpy().astype(np.float64))) for n in names}


def tool(name: str, package: str) -> str:
    """Path of a program that ``make test`` installs; its absence is a failure, not a reason to skip."""
    found = shutil.which(name)
    assert found, f"{name} is not installed: 'apt-get install {package}', or run 'make test', which does it for root"
    return found


def run(*command: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, check=False, cwd=folder, timeout=240
    )
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def means(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in (line.split(",") for line in text.splitlines())}


@pytest.mark.parametrize("script", ["pandas_example.py", "polars_example.py", "duckdb_example.py"])
def test_python(space: MarkerSpace, expected: dict[str, float], script: str) -> None:
    printed = means(run(sys.executable, "-W", "error", EXAMPLES / script, space.marker("2018-05")))
    assert printed == pytest.approx(expected, rel=1e-9)


def test_base_r(space: MarkerSpace, expected: dict[str, float], tmp_path: Path) -> None:
    export_markers(space.workspace, tmp_path / "season.csv")
    rscript = tool("Rscript", "r-base-core")
    printed = means(run(rscript, "--vanilla", EXAMPLES / "base_r.R", tmp_path / "season.csv"))
    # The export writes the shortest decimals that give the same float32.
    assert printed == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JavaScript example with its dependencies, as its lock file says."""
    folder = tmp_path_factory.mktemp("arrow_js")
    for name in ("package.json", "package-lock.json", ".npmrc", "read_markers.mjs"):
        shutil.copy(EXAMPLES / "arrow_js" / name, folder)
    run(tool("npm", "npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts", folder=folder)
    return folder


def test_javascript_means(space: MarkerSpace, expected: dict[str, float], javascript: Path) -> None:
    printed = means(run(tool("node", "nodejs"), "read_markers.mjs", space.marker("2018-05"), folder=javascript))
    assert printed == pytest.approx(expected, rel=1e-9)


def test_javascript_reads_every_value(space: MarkerSpace, javascript: Path) -> None:
    """An implementation that shares no code with ours or pyarrow sees the same schema and the same bits."""
    path = space.marker("2018-05")
    printed = json.loads(run(tool("node", "nodejs"), "read_markers.mjs", path, "--json", folder=javascript))
    table = read(path)
    assert list(printed["columns"]) == table.column_names
    assert printed["metadata"]["period"] == "2018-05"
    assert printed["units"]["s2_10m_n_valid__20180507"] == "pixel"
    for name in table.column_names:
        values = np.array(printed["columns"][name], dtype=np.float64)
        assert np.array_equal(values, table[name].to_numpy().astype(np.float64), equal_nan=True), name


def test_r_arrow_example_says_that_it_is_not_run() -> None:
    assert "NOT RUN" in (EXAMPLES / "arrow_r.R").read_text()
    rscript = tool("Rscript", "r-base-core")
    run(rscript, "--vanilla", "-e", f"invisible(parse('{EXAMPLES / 'arrow_r.R'}'))")


def test_the_lock_file_names_no_registry() -> None:
    lock = (EXAMPLES / "arrow_js" / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "://" not in lock
