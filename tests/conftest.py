"""Settings that hold for every test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from support.demo import FinishedDemo, finished_demo
from support.probe_stage import install_probes
from support.updates import build_archive
from xdist.scheduler import LoadFileScheduling

from s4c_hpc.core.stage import stage, stages

# CI machines are shared and noisy: a deadline per example would test the neighbour's load, not our code.
settings.register_profile("s4c", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
# The same examples each time: what CI refuses a change for is in the change. Runs by hand look for new ones.
settings.register_profile("s4c-repeatable", settings.get_profile("s4c"), derandomize=True)
settings.register_profile("s4c-thorough", settings.get_profile("s4c"), max_examples=600)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "s4c"))


# Where the environment forbids bytecode files, each of some thousand processes would compile all modules of ours again,
# which is a third of what a short command takes.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# What a shell starts in the background ignores Ctrl-C, and so do all its children: those under test must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Hand files out as they are ordered below, not by their number of tests."""
    if config.pluginmanager.hasplugin("xdist"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, long files first, lest one of them begins when all others are done.

    The end-to-end tests, which have the highest numbers, and those on a cluster, which mostly wait, by turns.
    """
    if not hasattr(config, "workerinput"):
        return
    files = dict.fromkeys(item.path for item in reversed(items))
    on_cluster = [path for path in files if path.parent.name == "slurm"]
    others = [path for path in files if path.parent.name != "slurm"]
    turn = {path: i for group in (on_cluster, others) for i, path in enumerate(group)}
    items.sort(key=lambda item: turn[item.path])


class DocumentScheduling(LoadFileScheduling):  # type: ignore[misc]
    """The tests of a file go to one worker, but each document of ``test_97_documents.py`` may go to another."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "::test_a_document_does" in nodeid else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> DocumentScheduling | None:
    return DocumentScheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def probes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Installs the probe stages for this process and its children; yields the folder to put on others' paths."""
    folder = install_probes(tmp_path_factory.mktemp("probes"))
    monkeypatch.syspath_prepend(str(folder))
    stage.cache_clear()
    stages.cache_clear()
    yield folder
    stage.cache_clear()
    stages.cache_clear()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 1 MiB; ``None`` for those who may not make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        yield None
        return
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session", autouse=True)
def _no_power_cut() -> Iterator[None]:
    """Tests do not wait for the disk, a thousand times in some files; commands and workers of their own do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", name="finished_demo")
def _finished_demo(tmp_path_factory: pytest.TempPathFactory) -> FinishedDemo:
    """The demo as ``s4c demo`` leaves it, for reading only."""
    return finished_demo(tmp_path_factory)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six Sentinel-2 products: three days on two tiles."""
    return build_archive(tmp_path_factory.mktemp("products"))
