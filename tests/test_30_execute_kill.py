"""Kill anything at any moment, run again: nothing lost, nothing doubled, the same bytes, nobody left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from support.probe_stage import describe_probe, tree_hash
from support.runs import Driver, n_begun, probe_workspace, run_inline, wait_for

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import current_owner, fold_journals

CHAIN = {"tiles": ["32UPU", "33UUP"], "products": [f"p{i}" for i in range(8)], "ms": 40, "payload_bytes": 20_000}
VICTIMS = ("driver", "worker", "all at once", "interrupt", "worker")

EXPECTED = {
    "driver": {-signal.SIGKILL, 0},  # 0: it was faster
    "all at once": {-signal.SIGKILL, 0},
    "worker": {0},
    "interrupt": {75, 0, 1, -signal.SIGINT},  # the last two while Python itself is still starting
}


@pytest.fixture
def undisturbed(tmp_path: Path, probes: Path) -> dict[str, str]:
    workspace = probe_workspace(tmp_path / "undisturbed", **CHAIN)
    assert run_inline(workspace).exit_code == 0
    return tree_hash(workspace.root)


def strike(victim: str, driver: Driver, chance: random.Random) -> None:
    """Kill one of the processes, or all."""
    with contextlib.suppress(ProcessLookupError, psutil.Error):
        match victim:
            case "driver":
                driver.process.kill()
            case "worker":
                if workers := driver.workers():
                    chance.choice(workers).kill()
            case "all at once":
                os.killpg(driver.process.pid, signal.SIGKILL)
            case "interrupt":
                os.killpg(driver.process.pid, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_killed_at_random_moments_the_result_is_as_if_undisturbed(
    tmp_path: Path, probes: Path, undisturbed: dict[str, str], seed: int
) -> None:
    chance = random.Random(seed)
    workspace = probe_workspace(tmp_path / "ws", **CHAIN)
    for victim in VICTIMS:
        with Driver(workspace, probes) as driver:
            # Now and then while it is still starting; else once it is at work.
            if chance.random() < 0.8:
                driver.wait_until_at_work(workspace)
            time.sleep(chance.uniform(0.0, 0.6))
            strike(victim, driver, chance)
            code, out, err = driver.finish()
            assert code in EXPECTED[victim], err
            assert out == ""
            assert driver.family_is_gone(), (victim, driver.family())
            assert current_owner(workspace) is None
        for path, digest in tree_hash(workspace.root).items():
            assert undisturbed[path] == digest, "whatever is there is whole and right"
    with Driver(workspace, probes) as driver:
        code, _, err = driver.finish()
        assert code == 0, err
        assert driver.family_is_gone()
    assert tree_hash(workspace.root) == undisturbed
    assert_nothing_doubled(workspace, n_tasks=2 * (1 + 8 + 8 + 1))


def assert_nothing_doubled(workspace: Workspace, n_tasks: int) -> None:
    history = fold_journals(workspace).to_pylist()
    done = Counter(row["id"] for row in history if row["kind"] == "done")
    assert len(done) == n_tasks
    assert set(done.values()) == {1}, "a task that was done is not done again"
    assert not workspace.temporary.exists() or not list(workspace.temporary.iterdir())
    assert not list(workspace.root.rglob("*.tmp"))
    assert not {row["kind"] for row in history} - {"done", "lost", "cancelled"}


def test_children_and_workers_deaf_in_native_code_die_with_a_killed_driver(tmp_path: Path, probes: Path) -> None:
    behaviour = {"probe-mid 32UPU a": {"end": "child"}, "probe-mid 32UPU b": {"end": "deaf"}}
    workspace = probe_workspace(tmp_path / "ws", behaviour=behaviour, products=["a", "b"])
    with Driver(workspace, probes) as driver:
        assert wait_for(lambda: n_begun(workspace) == 3)
        assert wait_for(lambda: any(process.name() == "sleep" for process in driver.family()))
        driver.process.kill()
        assert driver.family_is_gone(), driver.family()
    describe_probe(workspace.root, behaviour={})
    assert run_inline(workspace).exit_code == 0
    assert [row["kind"] for row in fold_journals(workspace).to_pylist()] == ["done"] * 6, (
        "a killed driver is no failure"
    )
