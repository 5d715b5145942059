"""The wheel: built of what the images copy, installed where no clone is, and used from there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import httpx
import pytest
from support.images import ROOT, copy_source

from s4c_hpc import __version__
from s4c_hpc.serve.page import _FILES

MAX_WHEEL_BYTES, MAX_SDIST_BYTES = 8 << 20, 24 << 20
MAX_FILE_BYTES = 2 << 20
SUFFIXES = {
    *(".py", ".typed", ".md", ".png", ".svg", ".txt", ".json", ".toml", ".csv", ".gpkg", ".tif", ".j2"),
    *(".css", ".js", ".html", ".sh", ".sbatch", ".conf", ".def", ".env", ".service", ".timer", ".sysusers", ".qml"),
}
PLAIN = {"Containerfile", "LICENSE", "METADATA", "RECORD", "WHEEL", "entry_points.txt"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, copy_source(folder / "source")], check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], cwd=ROOT, check=True)
    (found,) = folder.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, that finds the locked packages in the one of the tests; its programs."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, wheel], check=True, capture_output=True)
    # The same text has the same machine code; a minute's compilation is not what is tested here.
    for compiled in (ROOT / "s4c_hpc").rglob("__pycache__/*.nb?"):
        target = site / compiled.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(compiled, target)
    return python.parent


def run(programs: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [programs / words[0], *words[1:]], cwd=folder, env=clean(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def clean(folder: Path) -> dict[str, str]:
    """Nothing that leads to the clone, and a home of its own."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}


def test_it_is_of_this_version_for_any_machine(wheel: Path) -> None:
    assert wheel.name == f"s4c_hpc-{__version__}-py3-none-any.whl"


def test_it_holds_what_is_needed_where_no_clone_is(names: set[str]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "s4c_hpc", "configs", "slurm"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")[:-1]
    wanted = {
        one if one.startswith("s4c_hpc/") else f"s4c_hpc/_bundled/{one}" for one in tracked if (ROOT / one).exists()
    }
    assert len(wanted) > 500
    assert wanted - names == set()


@pytest.mark.parametrize(
    "path",
    [
        "_bundled/configs/template.toml",
        "_bundled/configs/schema.json",
        "_bundled/configs/layouts/plain.toml",
        "_bundled/configs/images/Containerfile",
        "_bundled/configs/images/install.sh",
        "_bundled/configs/systemd/s4c-serve.service",
        "_bundled/slurm/s4c-run.sbatch",
        "_bundled/tests/data/tum-freising-2018/parcels.gpkg",
        "guides/install.md",
        "guides/dependencies.md",
        *(f"serve/static/{name}" for name, _ in _FILES.values()),
    ],
)
def test_it_holds_what_others_rely_on(names: set[str], path: str) -> None:
    assert f"s4c_hpc/{path}" in names


def test_nothing_foreign_and_nothing_big_is_in_it(wheel: Path) -> None:
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    info = f"s4c_hpc-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        for one in archive.infolist():
            path = PurePosixPath(one.filename)
            assert path.parts[0] in {"s4c_hpc", info}, path
            assert path.suffix in SUFFIXES or path.name in PLAIN, path
            assert "tests" not in path.parts or "tum-freising-2018" in path.parts, path
            assert "__pycache__" not in path.parts
            assert one.file_size < MAX_FILE_BYTES, path


def test_it_names_its_licence_and_what_it_needs(wheel: Path) -> None:
    info = f"s4c_hpc-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert {"mpi", "serve", "weather", "postgis", "dev"} == set(
        re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE)
    )


@pytest.mark.slow
def test_the_source_archive_makes_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    assert sdist.stat().st_size < MAX_SDIST_BYTES
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert {".venv", ".git", "benchmarks"} & {path.name for path in folder.iterdir()} == set()
    assert (folder / "tests" / "test_97_wheel.py").exists()
    made = tmp_path / "made"
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", made], cwd=folder, check=True)
    with zipfile.ZipFile(made / wheel.name) as again, zipfile.ZipFile(wheel) as first:
        assert {one.filename: one.CRC for one in again.infolist()} == {
            one.filename: one.CRC for one in first.infolist()
        }


@pytest.fixture(scope="module")
def folder(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's folder with a finished demo."""
    folder = tmp_path_factory.mktemp("elsewhere")
    done = run(environment, folder, "s4c", "demo")
    assert done.stdout.splitlines()[-1] == f"report:  {folder / 's4c-demo' / 'report.html'}"
    return folder


@pytest.mark.slow
class TestInstalled:
    def test_it_is_the_installed_one_that_runs(self, environment: Path, tmp_path: Path) -> None:
        where = run(environment, tmp_path, "python", "-c", "import s4c_hpc; print(s4c_hpc.__file__)").stdout
        assert Path(where.strip()).is_relative_to(environment.parent)
        assert run(environment, tmp_path, "s4c", "--version").stdout.split()[-1] == __version__

    def test_a_new_workspace_has_the_template(self, environment: Path, tmp_path: Path) -> None:
        run(environment, tmp_path, "s4c", "init", "ws")
        assert (tmp_path / "ws" / "s4c.toml").read_bytes() == (ROOT / "configs" / "template.toml").read_bytes()

    def test_the_demo_leaves_markers_and_a_report(self, folder: Path) -> None:
        assert list((folder / "s4c-demo" / "markers").rglob("*.arrow"))
        assert (folder / "s4c-demo" / "report.html").stat().st_size > 100_000

    def test_the_service_answers_and_draws_its_map(self, environment: Path, folder: Path) -> None:
        words = [str(environment / "s4c"), "serve", "-w", "s4c-demo", "--port", "0", "--anonymous", "viewer"]
        with subprocess.Popen(words, cwd=folder, env=clean(folder), stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                (url,) = re.findall(r"serving on (\S+) ", process.stderr.readline())
                with httpx.Client(base_url=url, trust_env=False) as client:
                    assert [one["site"] for one in client.get("/sites").json()["sites"]]
                    assert client.get("/").json()["version"] == __version__
                    page = client.get("/view/")
                    assert page.status_code == 200
                    assert "maplibre-gl.js" in page.text
                    assert len(client.get("/view/maplibre-gl.js").content) > 10**6
            finally:
                process.kill()

    def test_files_for_admins_are_found(self, environment: Path, tmp_path: Path) -> None:
        code = "from s4c_hpc.core.bundled import bundled; print(bundled('configs/systemd'), bundled('configs/images'))"
        for path in run(environment, tmp_path, "python", "-c", code).stdout.split():
            assert Path(path).is_relative_to(environment.parent)
        assert os.access(Path(path) / "install.sh", os.R_OK)
