"""The demo killed at seeded random moments, then run again: the same bytes as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.cli import cli_environment, s4c, tree_bytes

RESULTS = ("tiles", "markers", "parcels")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    workspace = tmp_path_factory.mktemp("undisturbed") / "ws"
    assert s4c("demo", "--workspace", workspace).returncode == 0
    return tree_bytes(workspace, *RESULTS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_the_bytes_are_the_same(
    undisturbed: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    """The driver alone, a worker alone, everything at once, or Ctrl-C, whatever was going on at that moment."""
    rng = random.Random(seed)
    workspace = tmp_path / "ws"
    mark = f"s4c-kill-test-{os.getpid()}-{seed}"
    for _ in range(4):
        strike(workspace, rng, mark)
        assert leftovers(mark) == [], "no process survives its driver"
    done = s4c("demo", "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    assert tree_bytes(workspace, *RESULTS) == undisturbed
    assert not any((workspace / "tmp").glob("*"))


def strike(workspace: Path, rng: random.Random, mark: str) -> None:
    """Start the demo, kill something of it after a while, wait until it is over."""
    how = rng.choice(["driver", "worker", "all", "interrupt"])
    process = subprocess.Popen(
        [sys.executable, "-m", "s4c_hpc.cli", "demo", "--workspace", str(workspace)],
        env=cli_environment(None, S4C_TEST_MARK=mark),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(rng.uniform(0.5, 9.0))
    tree = psutil.Process(process.pid)
    try:
        children = tree.children(recursive=True)
        if how == "driver":
            process.kill()
        elif how == "interrupt":
            process.send_signal(signal.SIGINT)
        elif how == "worker" and children:
            rng.choice(children).kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        pass  # it was faster than the blow: the next run must find it done
    process.wait(timeout=120)


def leftovers(mark: str) -> list[str]:
    """Command lines of living processes that carry the mark, after a grace period."""
    deadline = time.monotonic() + 20
    while True:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("S4C_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
