"""Where a run stands: told quickly and exactly, in words that stay the same."""

from __future__ import annotations

import datetime as dt
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.cli import cli_environment, s4c
from support.runs import PATIENCE_S, InlineExecutor, probe_config, probe_workspace, run_inline

from s4c_hpc.cli.status_text import MAX_LINES, log_line, status_lines, status_table
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import (
    Owner,
    Problem,
    Progress,
    QueueStatus,
    QueueUse,
    Run,
    RunningTask,
    RunStatus,
    SelfDrive,
    StatusLine,
    current_owner,
    fold_journals,
    status,
)
from s4c_hpc.execute.cluster_facts import Cluster, keep_cluster
from s4c_hpc.execute.glance import look_at
from s4c_hpc.execute.lease import lease
from s4c_hpc.execute.limits import Most
from s4c_hpc.execute.logs import MAX_NAMED, tasks_called
from s4c_hpc.execute.pending import explain
from s4c_hpc.execute.queue_view import QueueLine, QueueView, write_view
from s4c_hpc.plan import NodeGroup, RunFolder, Span, latest_run

T = 1.7e9
RUN = "01890000-0000-7000-8000-000000000001"
OWNER = Owner(pid=12, host="login1", process_started=T, since="2026-11-22T10:00:00+00:00")


def line(stage: str, tile: str, **counts: int) -> StatusLine:
    names = ("done", "running", "waiting", "failed", "quarantined", "blocked")
    return StatusLine(stage=stage, tile=tile, **{name: counts.get(name, 0) for name in names})


def some(**changes: Any) -> RunStatus:
    """A run of nine tasks in the middle."""
    progress = Progress(
        total=9,
        done=3,
        running=1,
        submitted=2,
        waiting=2,
        failed=1,
        quarantined=0,
        blocked=0,
        seconds_left=5400.0,
        current="gather 32UPU x",
    )
    found = RunStatus(
        run=RUN,
        executor="local",
        owner=OWNER,
        self_drive=None,
        n_open=0,
        progress=progress,
        left=Span(seconds=5400.0, low_s=3600.0, high_s=7200.0),
        lines=(line("mask", "32UPU", done=1), line("gather", "32UPU", done=2, running=1, waiting=4, failed=1)),
        waiting={"for other tasks": 2, "for a worker to begin": 2},
        queue=None,
        running=(RunningTask(id="a", name="gather 32UPU x"),),
        problems=(Problem(id="b", name="gather 32UPU y", state="failed", reason="lost"),),
        t=T,
    )
    return replace(found, **changes)


def settled() -> Progress:
    return replace(some().progress, running=0, submitted=0, waiting=0, done=8, seconds_left=0.0)


def told(found: RunStatus) -> list[str]:
    return status_lines(found, zone=dt.UTC)


def test_a_run_on_this_machine_in_words() -> None:
    assert "\n".join([*status_table(some()), "", *told(some())]) == (
        "stage   tile   done  running  waiting  failed  quarantined  blocked\n"
        "mask    32UPU     1        0        0       0            0        0\n"
        "gather  32UPU     2        1        4       1            0        0\n"
        "\n"
        f"run {RUN}: driven by process 12 on login1, since 2026-11-22T10:00:00+00:00\n"
        "2 wait for other tasks\n"
        "2 wait for a worker to begin\n"
        "running: gather 32UPU x\n"
        "about 1 h 30 min left (60 min to 2 h 00 min): done at 2023-11-14 23:43\n"
        "failed: gather 32UPU y: lost"
    )
    assert log_line(some()) == (
        "running: 3 of 9 tasks done, 1 running, 4 waiting, 1 without a result, about 1 h 30 min left"
    )
    assert log_line(some(owner=None)) == ("interrupted: 3 of 9 tasks done, 1 running, 4 waiting, 1 without a result"), (
        "no end is near while nobody drives"
    )


def self_driven(**changes: Any) -> SelfDrive:
    values: dict[str, Any] = {"last_tick": T - 12, "since": T - 12, "interval_s": 30.0, "stopped": None}
    return SelfDrive(**{**values, "is_overdue": False, **changes})


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"owner": None, "progress": settled()}, "complete", "complete"),
        ({"owner": None}, "interrupted", "interrupted with 5 tasks left; 's4c run' goes on"),
        (
            {"owner": None, "executor": "slurm", "n_open": 7},
            "interrupted",
            (
                "interrupted with 5 tasks left; 7 array elements are in the queue, nobody drives: "
                "'s4c run' takes them over"
            ),
        ),
        (
            {"owner": None, "self_drive": self_driven()},
            "running",
            "drives itself, last tick 12 s ago, next in 18 s",
        ),
        (
            {"owner": None, "self_drive": self_driven(last_tick=T - 31)},
            "running",
            "drives itself, last tick 31 s ago, next is due",
        ),
        (
            {"owner": None, "self_drive": self_driven(last_tick=None)},
            "running",
            "drives itself, detached 12 s ago, the first tick has not come yet",
        ),
        (
            {"owner": None, "self_drive": self_driven(last_tick=T - 900, since=T - 900, is_overdue=True)},
            "stalled",
            (
                "stalled with 5 tasks left: its last tick was 15 min ago, one is due every 30 s; it goes on by itself "
                f"if a tick is in the queue ('squeue --me --name=s4c-tick-{RUN}'), else by 's4c run --detach'"
            ),
        ),
        (
            {"owner": None, "executor": "slurm", "n_open": 2, "self_drive": self_driven(stopped="the disk is full")},
            "stopped",
            (
                "stopped with 5 tasks left: the disk is full; 2 array elements are in the queue; "
                "'s4c run --detach' goes on"
            ),
        ),
    ],
)
def test_who_drives_and_what_to_do_when_nobody_does(changes: dict[str, Any], state: str, words: str) -> None:
    found = some(**changes)
    assert found.state == found.to_json()["state"] == state
    assert told(found)[0] == f"run {RUN}: {words}"


def test_the_queue_is_explained() -> None:
    def use(qos: str, state: str, reason: str, elements: int, stage: str = "gather") -> QueueUse:
        words = explain(reason) if state == "pending" else ""
        return QueueUse(stage=stage, qos=qos, state=state, reason=reason, elements=elements, explanation=words)

    uses = (
        use("s4c-s1", "pending", "QOSGrpMemLimit", 10),
        use("s4c-s1", "pending", "QOSGrpMemLimit", 2, "mask"),
        use("s4c-s1", "running", "", 5),
        use("", "pending", "Priority", 1),
        use("", "pending", "SomethingNew", 1),
    )
    queue = QueueStatus(t=T - 20, trouble="squeue gave no answer", uses=uses)
    assert told(some(queue=queue, executor="slurm", waiting={}, running=(), problems=(), left=None))[1:] == [
        "trouble with Slurm, 20 s ago: squeue gave no answer",
        "queue, 20 s ago: s4c-s1: 12 elements pending, 5 elements running",
        "queue, 20 s ago: the default QoS: 2 elements pending",
        "QOSGrpMemLimit: 12 elements in s4c-s1 (all jobs of this QoS together have reached the limit of memory)",
        "Priority: 1 element in the default QoS (jobs of higher priority are ahead of it)",
        "SomethingNew: 1 element in the default QoS",
    ]


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        ("QOSGrpMemLimit", "QoS together have reached the limit of memory"),
        ("QOSGrpCpuLimit", "limit of cores"),
        ("QOSGrpJobsLimit", "limit of running jobs"),
        ("QOSMaxJobsPerUserLimit", "you in this QoS have reached the limit of running jobs"),
        ("QOSMaxSubmitJobPerUserLimit", "limit of submitted jobs"),
        ("AssocGrpCPURunMinutesLimit", "account together have reached the limit of running core or memory minutes"),
        ("AssocGrpCPUMinutesLimit", "a budget"),
        ("AssocMaxJobsLimit", "you in this account"),
        ("JobArrayTaskLimit", "slurm.throttle"),
        ("BeginTime", "not to start before"),
        ("DependencyNeverSatisfied", "never start"),
        ("Resources", "free cores or memory"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-3]", "sinfo -R"),
        ("REQUEUED Priority", "higher priority"),
        ("PartitionDown", "closed"),
        ("JobHeldUser", "scontrol release"),
        ("JobHeldAdmin", "administrator"),
        ("Licenses", "licence"),
        ("launch failed requeued held", "held"),
        ("Unheard", ""),
    ],
)
def test_reasons_in_plain_words(reason: str, part: str) -> None:
    words = explain(reason)
    assert part in words
    assert bool(words) == bool(part)


def test_many_tiles_are_summed_up_and_those_worth_a_look_are_named() -> None:
    tiles = [f"32U{i:03d}" for i in range(MAX_LINES)]
    lines = [line("gather", tile, done=3) for tile in tiles]
    lines[7] = line("gather", tiles[7], running=1)
    lines[30] = line("gather", tiles[30], failed=2)
    lines += [line("stats", tile, waiting=1, blocked=int(i < 12)) for i, tile in enumerate(tiles)]
    found = some(lines=tuple(lines))
    shown = status_table(found)
    assert shown[:4] == [
        "stage   tile          done  running  waiting  failed  quarantined  blocked",
        "gather  40 tiles       114        1        0       2            0        0",
        "gather    32U030         0        0        0       2            0        0",
        "gather    32U007         0        1        0       0            0        0",
    ]
    assert shown[-1].split("  ", 1)[1].strip() == "... 2 more"
    assert len(shown) == 1 + 3 + 1 + 11
    assert len(status_table(found, everything=True)) == 1 + 2 * MAX_LINES
    assert len(found.to_json()["lines"]) == 2 * MAX_LINES
    assert found.to_json()["stages"][0] == {
        "stage": "gather",
        "done": 114,
        "running": 1,
        "waiting": 0,
        "failed": 2,
        "quarantined": 0,
        "blocked": 0,
    }


def test_long_lists_are_cut_for_people_and_whole_for_programs() -> None:
    problems = tuple(Problem(id=str(i), name=f"n{i}", state="failed", reason="r") for i in range(25))
    running = tuple(RunningTask(id=str(i), name=f"n{i}") for i in range(25))
    found = some(problems=problems, running=running)
    lines = told(found)
    assert "... and 15 more are running" in lines
    assert lines[-1] == "... and 15 more; 's4c status --json' lists all"
    assert [len(found.to_json()[key]) for key in ("problems", "running")] == [25, 25]


def test_the_keys_of_json_are_a_promise() -> None:
    found = json.loads(json.dumps(some(self_drive=self_driven()).to_json()))
    assert set(found) == {
        *("format", "active", "state", "stages", "run", "executor", "owner", "self_drive", "n_open", "progress"),
        *("left", "lines", "waiting", "queue", "running", "problems", "t"),
    }
    assert set(found["left"]) == {"seconds", "low_s", "high_s"}
    assert set(found["self_drive"]) == {"last_tick", "since", "interval_s", "stopped", "is_overdue"}


def troubled(folder: Path) -> Workspace:
    """A run in which attempts at tasks failed in every way, and some were lost."""
    behaviour = {
        "probe-mid 32UPU a": {"end": "input"},
        "probe-mid 32UPU b": {"end": "internal", "times": 1},
        "probe-leaf 32UPU c": {"end": "memory", "times": 1},
        "probe-leaf 32UPU d": {"end": "internal"},
        "probe-mid 32UPU e": {"end": "temporary", "times": 1},
    }
    workspace = probe_workspace(folder, products=list("abcdefg"), behaviour=behaviour)
    n_chunks = 0

    def lose_every_fifth(_: object) -> bool:
        nonlocal n_chunks
        n_chunks += 1
        return n_chunks % 5 > 0

    run_inline(workspace, executor=InlineExecutor(before_chunk=lose_every_fifth))
    return workspace


@pytest.mark.usefixtures("probes")
def test_a_glance_sees_what_a_driver_would_wherever_journals_end_and_whatever_is_folded(tmp_path: Path) -> None:
    """Journals are cut at any byte, folded, and grow on."""
    workspace = troubled(tmp_path)
    run = latest_run(workspace)
    assert run is not None
    whole = {path: path.read_bytes() for path in run.journals.glob("*.jsonl")}
    chance = random.Random(1)
    seen: set[tuple[int, ...]] = set()
    for _ in range(25):
        share = chance.random()
        for path, data in whole.items():
            path.write_bytes(data[: int(len(data) * share * chance.choice([0, 1, 1]))])
        for name in ("history", "done", "failed"):
            (workspace.state / f"{name}.parquet").unlink(missing_ok=True)
        if chance.random() < 0.8:
            fold_journals(workspace)
        for path, data in whole.items():
            if chance.random() < 0.5:
                path.write_bytes(data[: chance.randint(path.stat().st_size, len(data))])
        driver = Run(run, 3)
        driver.refresh()
        glance = look_at(run, 3)
        np.testing.assert_array_equal(glance.board.state, driver.board.state)
        assert glance.board.reasons == driver.board.reasons
        assert set(glance.open) == set(driver.open)
        np.testing.assert_allclose(glance.board.n_done, driver.board.n_done)
        np.testing.assert_allclose(glance.board.measured_s, driver.board.measured_s)
        seen.add(tuple(np.bincount(driver.board.state, minlength=7).tolist()))
    assert len(seen) > 10, "many different moments"


@pytest.mark.usefixtures("probes")
def test_jobs_of_a_cluster_outlive_their_driver_and_workers_of_a_machine_do_not(tmp_path: Path) -> None:
    workspace = troubled(tmp_path)
    run = latest_run(workspace)
    assert run is not None
    for path in run.journals.glob("*.jsonl"):
        path.unlink()
    local = status(workspace)
    assert local is not None
    assert (local.state, local.n_open, local.progress.submitted, local.queue) == ("interrupted", 0, 0, None)
    set_executor(run, "slurm")
    lines = (QueueLine(stage="probe-root", qos="s4c-s1", state="pending", reason="Priority", elements=1),)
    write_view(run, QueueView(lines=lines))
    cluster = status(workspace)
    assert cluster is not None
    assert cluster.state == "interrupted"
    assert cluster.n_open > 0
    assert cluster.progress.submitted > 0
    assert cluster.waiting["in the queue"] == cluster.progress.submitted
    assert cluster.queue is not None
    assert cluster.queue.uses[0].explanation == "jobs of higher priority are ahead of it"
    assert cluster.left is None, "the cluster has not been asked yet"
    nodes = (NodeGroup(count=2, cpus=32, mem_bytes=64 << 30),)
    keep_cluster(run, Cluster(nodes=nodes, most=Most(cpus=32, mem_bytes=64 << 30), cores=64, max_array=1000))
    known = status(workspace)
    assert known is not None
    assert known.left is not None
    assert 0 < known.left.low_s <= known.left.seconds <= known.left.high_s


def set_executor(run: RunFolder, name: str) -> None:
    config = json.loads(run.config.read_text())
    config["execute"]["executor"] = name
    run.config.write_text(json.dumps(config))


@pytest.mark.usefixtures("probes")
def test_watching_ends_with_the_run_and_says_how(tmp_path: Path) -> None:
    whole = probe_workspace(tmp_path / "whole")
    (whole.root / "s4c.toml").touch()
    run_inline(whole)
    done = s4c("status", "--watch", workspace=whole.root)
    assert (done.returncode, done.stdout) == (
        0,
        "complete: 8 of 8 tasks done, 0 running, 0 waiting, 0 without a result\n",
    )
    partial = troubled(tmp_path / "partial")
    (partial.root / "s4c.toml").touch()
    assert s4c("status", "--watch", workspace=partial.root).returncode == 5
    refused = s4c("status", "--watch", "--json", workspace=whole.root)
    assert refused.returncode == 2


@pytest.mark.usefixtures("probes")
def test_on_a_terminal_it_is_drawn_again_and_ctrl_c_leaves_the_run_alone(tmp_path: Path) -> None:
    workspace = troubled(tmp_path)
    (workspace.root / "s4c.toml").touch()
    main, terminal = pty.openpty()
    with lease(workspace):  # a driver is at work
        process = subprocess.Popen(
            [sys.executable, "-m", "s4c_hpc.cli", "status", "--watch", "--interval", "0.2"],
            env=cli_environment(workspace.root, TERM="xterm", COLUMNS="200"),
            stdout=terminal,
            stderr=subprocess.PIPE,
        )
        os.close(terminal)
        text = b""
        while text.count(b"driven by process") < 3:
            text += os.read(main, 65536)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, b"")
        assert current_owner(workspace) is not None
    os.close(main)
    assert f"driven by process {os.getpid()} on" in text.decode()


@pytest.mark.usefixtures("probes")
def test_logs_of_a_task_tell_each_attempt_and_a_part_of_its_name_lists_tasks(tmp_path: Path) -> None:
    workspace = troubled(tmp_path)
    (workspace.root / "s4c.toml").touch()
    found = status(workspace)
    assert found is not None
    failed = next(problem for problem in found.problems if problem.name == "probe-leaf 32UPU d")
    told = s4c("logs", failed.id, workspace=workspace.root)
    assert told.returncode == 0
    heads = re.findall(r"^run \S+, attempt \S+, try (\d)(.*?): ([a-z ]*)", told.stdout, re.MULTILINE)
    assert [number for number, _, end in heads if end.startswith("failed")] == ["1", "2", "3"]
    assert "KeyError: 'bug'" in told.stdout
    assert s4c("logs", *failed.name.split(), workspace=workspace.root).stdout == told.stdout
    assert s4c("logs", failed.id[:12], workspace=workspace.root).stdout == told.stdout
    several = s4c("logs", "32UPU", workspace=workspace.root)
    assert several.returncode == 2
    assert "several tasks are called '32UPU'" in several.stderr
    assert f"{failed.id}  {failed.name}" in several.stdout
    assert "probe-root 32UPU mask" in several.stdout
    assert s4c("logs", "tick", workspace=workspace.root).returncode == 6
    log = RunFolder(workspace.runs / found.run).log("tick", "tick")
    log.parent.mkdir(parents=True)
    log.write_text("s4c: a tick spoke\n")
    assert s4c("logs", "tick", workspace=workspace.root).stdout == "s4c: a tick spoke\n"


@pytest.mark.usefixtures("probes")
def test_a_whole_name_is_found_behind_many_that_it_is_a_part_of(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace, probe_config())
    run = latest_run(workspace)
    assert run is not None
    subjects = [*(f"part-1{i}" for i in range(70_000)), "part-1"]
    n = len(subjects)
    columns = {"id": [f"{i:08x}" for i in range(n)], "stage": ["leaf"] * n, "tile": ["32UPU"] * n, "subject": subjects}
    pq.write_table(pa.table(columns), run.plan)
    assert [task.id for task in tasks_called(workspace, "leaf 32UPU part-1")] == [f"{n - 1:08x}"]
    assert len(tasks_called(workspace, "part-1")) == MAX_NAMED + 1


@pytest.mark.usefixtures("probes")
def test_a_driver_shows_as_such(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace, probe_config())
    with lease(workspace) as owner:
        found = status(workspace)
        assert found is not None
        assert (found.state, found.owner) == ("running", owner)
