"""Definitions of images. They are built by 'make image', which takes minutes; what can be wrong before that is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
from support.images import (
    IMAGES,
    ROOT,
    SOURCE,
    containerfile,
    copied_by_containerfile,
    copied_by_definition,
    sections,
)

from s4c_hpc.cli.main import app
from s4c_hpc.serve.run import PORT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INSTALL = (IMAGES / "install.sh").read_text()


def said(word: str) -> list[str]:
    return [rest for found, rest in containerfile() if found == word]


def environment() -> dict[str, str]:
    return dict(one.split("=", 1) for rest in said("ENV") for one in rest.split())


def test_what_the_package_is_built_of_reaches_both_images() -> None:
    copied = copied_by_containerfile()
    assert copied == copied_by_definition()
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert all(to == f"{SOURCE}/{source}" for source, to in copied.items())
    bundled = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    project = PROJECT["project"]
    wanted = {"s4c_hpc", "pyproject.toml", "requirements.lock", project["readme"], *project["license-files"], *bundled}
    assert set(copied) == wanted


def test_both_run_the_one_script_and_leave_no_source_behind() -> None:
    command = f"{SOURCE}/configs/images/install.sh {SOURCE}"
    (run,) = [rest for rest in said("RUN") if "install.sh" in rest]
    assert run.startswith(command)
    assert sections()["post"].count(command) == 1
    for text in (run, sections()["post"]):
        assert f"rm -rf {SOURCE}" in text
    assert os.access(IMAGES / "install.sh", os.X_OK)


def test_every_kernel_is_compiled_beforehand() -> None:
    packages = {path.parent.name for path in (ROOT / "s4c_hpc").glob("*/warm.py")}
    (listed,) = re.findall(r"for package in ([\w ]+); do", INSTALL)
    assert set(listed.split()) == packages
    assert set(re.findall(r"-m s4c_hpc\.(\w+)\.warm", (ROOT / "Makefile").read_text())) == packages


def test_extras_are_ours_and_neither_tests_nor_mpi_come_along() -> None:
    (by_script,) = re.findall(r"\$\{EXTRAS:-([\w,]+)\}", INSTALL)
    (by_file,) = [rest.partition("=")[2] for rest in said("ARG") if rest.startswith("EXTRAS=")]
    assert by_script == by_file
    assert set(by_script.split(",")) == set(PROJECT["project"]["optional-dependencies"]) - {"dev", "mpi"}


def test_packages_come_at_the_versions_of_the_lock_and_from_nowhere_in_particular() -> None:
    calls = re.findall(r"-m pip (?:--python \S+ )?(?:install|wheel)\b(?:\\\n|.)*", INSTALL)
    assert len(calls) == 2
    assert '--constraint "$source/requirements.lock"' in calls[0]
    assert "--no-deps" in calls[1], "the wheel of this package alone"
    lines = [f"{path.name}: {line}" for path in IMAGES.iterdir() for line in path.read_text().splitlines()]
    hosts = r"https?://|index-url|\b[\w-]+(\.[\w-]+)*\.(io|com|org|net|eu)/"
    assert [line for line in lines if re.search(hosts, line)] == []


def test_they_begin_with_the_same_system_whose_python_will_do() -> None:
    (base,) = [rest.partition("=")[2] for rest in said("ARG") if rest.startswith("BASE=")]
    assert said("FROM") == ["${BASE}"]
    assert re.search(r"^From: (\S+)$", sections()["header"], flags=re.MULTILINE)[1] == base == "debian:12"  # type: ignore[index]
    assert PROJECT["project"]["requires-python"] == ">=3.11", "Debian 12 has 3.11"


def test_the_container_is_nobodys_and_starts_what_it_is_for() -> None:
    (user,) = said("USER")
    assert user not in {"root", "0"}
    assert any(re.search(rf"useradd .*\b{user}$", rest.split("&&")[0].strip()) for rest in said("RUN"))
    words = [word for word, _ in containerfile()]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in {"RUN", "COPY"})
    assert said("ENTRYPOINT") == ['["s4c"]']
    assert "s4c" in PROJECT["project"]["scripts"]
    assert said("EXPOSE") == [str(PORT)]
    (volumes,) = said("VOLUME")
    state = Path(environment()["S4C_TOKENS"]).parent
    assert f'"{state}"' in volumes
    assert environment()["XDG_STATE_HOME"] == str(state), "where the audit log is"


def test_variables_of_the_image_are_those_that_are_read() -> None:
    group: Any = typer.main.get_command(app)
    serve = group.commands["serve"]
    assert "S4C_TOKENS" in {one.envvar for one in serve.params}
    assert set(environment()) == {"PATH", "LANG", "NUMBA_CACHE_DIR", "S4C_TOKENS", "XDG_STATE_HOME"}


@pytest.mark.parametrize("name", ["version", "revision"])
def test_labels_are_what_make_says(name: str) -> None:
    assert f"--build-arg {name.upper()}=" in (ROOT / "Makefile").read_text()
    (labels,) = said("LABEL")
    assert f'org.opencontainers.image.{name}="${{{name.upper()}}}"' in labels
    assert f'org.opencontainers.image.licenses="{PROJECT["project"]["license"]}"' in labels


def test_make_builds_this_version() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "image", "ENGINE=engine"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    version = re.search(r'"(.+)"', (ROOT / "s4c_hpc" / "__init__.py").read_text().split("__version__")[1])
    assert version is not None
    assert f"--tag s4c-hpc:{version[1]} " in done.stdout
    assert f"--build-arg VERSION={version[1]} " in done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_the_script_is_a_sound_one() -> None:
    done = subprocess.run(["shellcheck", IMAGES / "install.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for name in ("post", "environment", "runscript", "test"):
        script = f"#!/bin/sh\n{sections()[name]}"
        done = subprocess.run(
            ["shellcheck", "--exclude=SC2154", "-"], input=script, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


class TestEnvironmentOfTheApptainerImage:
    def begin(self, tmp_path: Path, **given: str) -> list[str]:
        """Several at once, as jobs begin; what each takes for the folder of machine code."""
        compiled = tmp_path / "opt"
        (compiled / "kernels_1").mkdir(parents=True, exist_ok=True)
        (compiled / "kernels_1" / "one.nbi").write_text("compiled")
        script = sections()["environment"].replace("/opt/s4c-numba", str(compiled)) + '\necho "$NUMBA_CACHE_DIR"'
        started = [
            subprocess.Popen(
                ["/bin/sh", "-eu", "-c", script],
                env={"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **given},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(8)
        ]
        return [one.communicate(timeout=60)[0].strip() for one in started]

    def test_machine_code_begins_with_what_the_image_has(self, tmp_path: Path) -> None:
        folder = tmp_path / "home" / ".cache" / "s4c-numba"
        assert self.begin(tmp_path) == [str(folder)] * 8
        assert [path.name for path in folder.parent.iterdir()] == ["s4c-numba"], "no copies are left over"
        assert [path.name for path in folder.iterdir()] == ["kernels_1"]
        (folder / "kernels_1" / "one.nbi").write_text("compiled here")
        self.begin(tmp_path)
        assert (folder / "kernels_1" / "one.nbi").read_text() == "compiled here"

    def test_a_folder_that_nodes_share_is_taken(self, tmp_path: Path) -> None:
        shared = tmp_path / "scratch" / "numba"
        assert self.begin(tmp_path, NUMBA_CACHE_DIR=str(shared)) == [str(shared)] * 8
        assert (shared / "kernels_1" / "one.nbi").exists()
        assert not (tmp_path / "home").exists()
