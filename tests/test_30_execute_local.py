"""The real local cluster: the same bytes as elsewhere, bounded, private, resumable."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.probe_stage import PROBES, describe_probe, tree_hash
from support.runs import PATIENCE_S, Driver, n_begun, probe_config, probe_workspace, run_inline, wait_for

from s4c_hpc.core.errors import NoInputsError, TemporaryError
from s4c_hpc.execute import Progress, RunStatus, cancel, current_owner, fold_journals, run, status
from s4c_hpc.execute.manifest import Wave
from s4c_hpc.plan import RunFolder, new_run_id

MIB = 1 << 20


@pytest.mark.usefixtures("probes")
def test_a_run_with_every_kind_of_trouble_ends_partial_and_the_rest_is_as_elsewhere(tmp_path: Path) -> None:
    behaviour = {
        "probe-mid 32UPU a": {"end": "input"},
        "probe-mid 32UPU b": {"end": "kill", "times": 1},
        "probe-mid 32UPU c": {"end": "memory", "times": 1, "mb": 100, "ms": 80},
        "probe-leaf 32UPU c": {"end": "internal"},
        "probe-mid 32UPU d": {"end": "temporary", "times": 1},
    }
    products = {"products": ["a", "b", "c", "d"]}
    workspace = probe_workspace(tmp_path / "ws", behaviour=behaviour, **products)
    seen: list[Progress] = []
    listening: set[str] = set()

    def look(progress: Progress) -> None:
        seen.append(progress)
        own = psutil.Process()
        for process in (own, *own.children(recursive=True)):
            try:
                connections = process.net_connections(kind="inet")
            except psutil.Error:
                continue
            listening.update(c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN)

    result = run(workspace, probe_config(workers=2), registry=PROBES, on_progress=look)
    assert result.exit_code == 5
    assert result.status is not None
    assert {p.name: p.state for p in result.status.problems} == {
        "probe-mid 32UPU a": "quarantined",
        "probe-leaf 32UPU a": "blocked",
        "probe-leaf 32UPU c": "failed",
    }
    assert listening == {"127.0.0.1"}
    assert seen[0].total == 10
    assert seen[-1].done == 7
    assert all(p.done + p.running + p.submitted + p.waiting + p.n_problems == p.total for p in seen)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    history = fold_journals(workspace).to_pylist()
    kinds = sorted(row["kind"] for row in history if row["kind"] != "done")
    assert kinds == ["input", "internal", "internal", "internal", "lost", "resource", "temporary"]
    assert max(row["peak_anon_bytes"] for row in history) <= 512 * MIB, "measured <= asked"
    (large,) = (r for r in history if (r["stage"], r["subject"], r["kind"]) == ("probe-mid", "c", "done"))
    assert large["peak_anon_bytes"] - large["base_anon_bytes"] >= 90 * MIB
    assert not list(workspace.temporary.iterdir())
    assert wait_for(lambda: not _workers()), "no worker stays behind"

    elsewhere = probe_workspace(tmp_path / "inline", behaviour={
        "probe-mid 32UPU a": {"end": "input"}, "probe-leaf 32UPU c": {"end": "internal"}
    }, **products)  # fmt: skip
    run_inline(elsewhere)
    assert tree_hash(workspace.root) == tree_hash(elsewhere.root)


def _workers() -> list[psutil.Process]:
    running = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in running if "spawn_main" in " ".join(p.cmdline())]


def test_status_and_cancel_from_another_process_and_on_again(tmp_path: Path, probes: Path) -> None:
    behaviour = {"probe-mid 32UPU b": {"end": "sleep"}}
    workspace = probe_workspace(tmp_path / "ws", behaviour=behaviour)
    with Driver(workspace, probes, workers=1) as driver:
        assert wait_for(lambda: _running(status(workspace)) == ("probe-mid 32UPU b",))
        now = status(workspace)
        assert now is not None
        assert now.is_active
        assert now.state == now.to_json()["state"] == "running"
        assert now.to_json()["running"] == ({"id": now.running[0].id, "name": "probe-mid 32UPU b"},)
        assert now.owner == current_owner(workspace)
        mid = next(line for line in now.lines if line.stage == "probe-mid")
        assert (mid.tile, mid.running) == ("32UPU", 1)
        assert now.to_json()["progress"]["running"] == 1
        with pytest.raises(TemporaryError, match=f"process {driver.process.pid} "):
            run_inline(workspace)
        owner = cancel(workspace).owner
        assert owner is not None
        assert owner.pid == driver.process.pid
        code, out, err = driver.finish()
        assert (code, out) == (75, "")
        assert "stopped by SIGTERM" in err
        assert "'s4c run' goes on from here" in err
        assert driver.family_is_gone()
    over = status(workspace)
    assert over is not None
    assert not over.is_active
    assert over.running == ()
    assert over.state == "interrupted"
    assert over.progress.waiting > 0

    describe_probe(workspace.root, behaviour={})
    result = run_inline(workspace)
    assert result.exit_code == 0
    complete = status(workspace)
    assert complete is not None
    assert complete.state == "complete"
    cancelled = [row for row in fold_journals(workspace).to_pylist() if row["kind"] == "cancelled"]
    assert [row["subject"] for row in cancelled] == ["b"]
    whole = probe_workspace(tmp_path / "whole")
    run_inline(whole)
    assert tree_hash(workspace.root) == tree_hash(whole.root)


def _running(now: RunStatus | None) -> tuple[str, ...]:
    return () if now is None else tuple(task.name for task in now.running)


@pytest.mark.usefixtures("probes")
def test_a_task_that_asks_for_more_memory_than_there_is_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, mem_bytes=8 << 30)
    result = run_inline(workspace)
    assert result.exit_code == 5
    assert result.status is not None
    root = result.status.problems[0]
    assert root.state == "failed"
    assert root.reason == (
        "asks for 8.0 GiB of memory, the most that it can have here is 4.0 GiB; "
        "raise execute.memory (on Slurm: slurm.max_memory), or run where there is more"
    )
    describe_probe(workspace.root, mem_bytes=512 * MIB)
    assert run_inline(workspace).exit_code == 0, "not held against the tasks"


@pytest.mark.usefixtures("probes")
def test_a_full_disk_stops_the_run_and_nothing_is_lost(tmp_path: Path) -> None:
    """As the operating system reports it, from within a stage."""
    workspace = probe_workspace(tmp_path / "ws", behaviour={"probe-leaf 32UPU b": {"end": "full"}})
    with pytest.raises(TemporaryError, match=r"the disk is full \(No space left on device") as caught:
        run_inline(workspace)
    assert caught.value.exit_code == 75
    assert "are still to be written" in caught.value.what
    assert not list(workspace.temporary.iterdir())
    describe_probe(workspace.root, behaviour={})
    assert run_inline(workspace).exit_code == 0


def test_a_really_full_disk_stops_the_run_and_more_room_lets_it_go_on(
    small_disk: Path | None, tmp_path: Path, probes: Path
) -> None:
    if small_disk is None:
        pytest.skip("a real small disk needs the right to mount; the test above fakes the same error in a stage")
    subprocess.run(["mount", "-o", "remount,size=3m", small_disk], check=True)
    size = {"payload_bytes": 400_000, "claimed_bytes": 1000}
    workspace = probe_workspace(small_disk / "ws", **size)
    with Driver(workspace, probes, workers=1) as driver:
        code, _, err = driver.finish()
        assert code == 75, err
        assert "the disk is full" in err
        assert "run again" in err
        assert driver.family_is_gone()
    for path, digest in tree_hash(workspace.root).items():
        assert digest, path
        assert (workspace.root / path).stat().st_size == 400_000, "whole or not there"
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert run_inline(workspace).exit_code == 0
    whole = probe_workspace(tmp_path / "whole", **size)
    run_inline(whole)
    assert tree_hash(workspace.root) == tree_hash(whole.root)


@pytest.mark.usefixtures("probes")
def test_a_driver_that_cannot_write_says_that_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(import_module("s4c_hpc.execute.advance"), "write_wave", full)
    with pytest.raises(TemporaryError, match="the disk is full"):
        run_inline(probe_workspace(tmp_path))


@pytest.mark.usefixtures("probes")
def test_a_full_disk_is_told_with_what_is_left_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the sum is written when the driver cannot go on."""
    advance = import_module("s4c_hpc.execute.advance")
    write = advance.write_wave

    def full(folder: RunFolder, wave: Wave) -> None:
        if wave.stage == "probe-sum":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(folder, wave)

    monkeypatch.setattr(advance, "write_wave", full)
    with pytest.raises(TemporaryError, match=r"2\.0 KiB are still to be written"):
        run_inline(probe_workspace(tmp_path))


@pytest.mark.usefixtures("probes")
def test_a_cluster_that_does_not_close_in_time_is_killed_and_the_run_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object, **__: object) -> None:
        raise TimeoutError

    distributed = import_module("distributed")
    close = distributed.LocalCluster.close
    clusters: list[Any] = []

    def remember(cluster: Any, *_: object, **__: object) -> None:
        clusters.append(cluster)
        too_late()

    monkeypatch.setattr(distributed.LocalCluster, "close", remember)
    result = run(probe_workspace(tmp_path), probe_config(workers=1), registry=PROBES)
    monkeypatch.undo()
    assert result.exit_code == 0
    assert wait_for(lambda: not _workers()), "no worker stays behind"
    close(clusters[0], timeout=PATIENCE_S)


def test_only_the_scratch_of_runs_is_cleared_away(tmp_path: Path) -> None:
    """An import of parcels needs no lease and may be at work."""
    workspace = probe_workspace(tmp_path, products=[])
    at_work = workspace.temporary / f"parcels-{uuid.uuid4().hex}" / "parcels.parquet"
    left_over = workspace.temporary / new_run_id() / "attempt"
    for path in (at_work, left_over):
        path.parent.mkdir(parents=True)
        path.touch()
    with pytest.raises(NoInputsError):
        run(workspace, probe_config(), registry={})
    assert at_work.is_file()
    assert not left_over.parent.exists()


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.8, 1.5, 2.5])
def test_interrupt_while_workers_start_is_exit_75_too(tmp_path: Path, probes: Path, after_s: float) -> None:
    workspace = probe_workspace(tmp_path / "ws", behaviour={"probe-root 32UPU mask": {"end": "sleep"}})
    with Driver(workspace, probes, workers=2) as driver:
        assert wait_for(lambda: current_owner(workspace))
        time.sleep(after_s)
        os.killpg(driver.process.pid, signal.SIGINT)
        code, out, err = driver.finish()
        assert (code, out) == (75, ""), err
        assert "Traceback" not in err
        assert err.startswith(f"{workspace.root}: stopped by SIGINT"), err
        assert driver.family_is_gone()


def test_interrupt_is_exit_75_and_the_terminal_stays_clean(tmp_path: Path, probes: Path) -> None:
    """Ctrl-C reaches the whole process group, workers included."""
    workspace = probe_workspace(tmp_path / "ws", behaviour={"probe-mid 32UPU a": {"end": "child"}})
    with Driver(workspace, probes, workers=1) as driver:
        assert wait_for(lambda: n_begun(workspace) >= 2)
        os.killpg(driver.process.pid, signal.SIGINT)
        code, out, err = driver.finish()
        assert (code, out) == (75, "")
        assert err.strip().count("\n") == 0, "one sentence, no traceback"
        assert "stopped by SIGINT" in err
        assert driver.family_is_gone()
