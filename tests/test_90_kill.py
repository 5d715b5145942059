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
from support.demo import FinishedDemo
from support.runs import PATIENCE_S

RESULTS = ("tiles", "markers", "parcels")


@pytest.fixture(scope="module")
def undisturbed(finished_demo: FinishedDemo) -> dict[str, bytes]:
    return tree_bytes(finished_demo.workspace, *RESULTS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_the_bytes_are_the_same(
    undisturbed: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    """Everything at once, the driver alone, Ctrl-C for the whole terminal, and at last a worker alone."""
    rng = random.Random(seed)
    workspace = tmp_path / "ws"
    mark = f"s4c-kill-test-{os.getpid()}-{seed}"
    first = ["all", "driver", "interrupt"]
    rng.shuffle(first)
    for how in first:
        assert strike(workspace, how, rng.uniform(0.0, 0.7), mark) != 0
        assert leftovers(mark) == [], "no process survives its driver"
    # Without its worker the driver goes on: another one takes over.
    assert strike(workspace, "worker", rng.uniform(0.0, 0.3), mark) == 0
    assert leftovers(mark) == []
    done = s4c("demo", "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    assert tree_bytes(workspace, *RESULTS) == undisturbed
    assert not any((workspace / "tmp").glob("*"))


def strike(workspace: Path, how: str, delay_s: float, mark: str) -> int:
    """Start the demo, kill something of it while tasks are at work, wait until it is over; its exit code."""
    begun = n_begun(workspace)
    process = subprocess.Popen(
        [sys.executable, "-m", "s4c_hpc.cli", "demo", "--workspace", str(workspace)],
        env=cli_environment(None, S4C_TEST_MARK=mark, S4C_SET__EXECUTE__WORKERS="2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while n_begun(workspace) == begun:
        assert process.poll() is None, "the demo ended before any task began"
        time.sleep(0.02)
    time.sleep(delay_s)
    assert process.poll() is None, "the demo was over before the blow"
    if how == "driver":
        process.kill()
    elif how == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif how == "interrupt":
        os.killpg(process.pid, signal.SIGINT)
    else:
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert workers
        workers[0].kill()
    return process.wait(timeout=PATIENCE_S)


def n_begun(workspace: Path) -> int:
    """Number of tasks that ever began, from the journals."""
    return sum(path.read_text().count('"begin"') for path in workspace.glob("run/*/journal/*.jsonl"))


def leftovers(mark: str) -> list[str]:
    """Command lines of living processes that carry the mark, after a grace period."""
    deadline = time.monotonic() + PATIENCE_S
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
