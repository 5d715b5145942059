"""One chunk in a worker: what its journal says, what it leaves behind."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from support.probe_stage import PROBES, describe_probe, tree_hash
from support.runs import InlineExecutor, probe_config, probe_workspace, run_inline, wait_for

from s4c_hpc.core.children import start_child
from s4c_hpc.core.errors import InputError, InternalError, MissingDataError, ResourceExceeded, TemporaryError
from s4c_hpc.execute import status, task_attempts, task_state, tasks_called
from s4c_hpc.execute.journal import Begin, Closed, Done, Failed, Kind, Opened, read_events
from s4c_hpc.execute.manifest import Chunk
from s4c_hpc.execute.memory import MemoryPeak, anonymous_bytes, max_rss_bytes
from s4c_hpc.execute.perform import classify_failure
from s4c_hpc.execute.plan_rows import read_tasks
from s4c_hpc.plan import RunFolder, make_plan

MIB = 1 << 20


def caused_by(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "kind", "stops_run"),
    [
        (InputError("x"), Kind.INPUT, False),
        (MissingDataError("x"), Kind.INPUT, False),
        (MemoryError(), Kind.RESOURCE, False),
        (np.exceptions.AxisError("x"), Kind.INTERNAL, False),
        (ResourceExceeded("x"), Kind.RESOURCE, False),
        (TemporaryError("x"), Kind.TEMPORARY, False),
        (InternalError("x"), Kind.INTERNAL, False),
        (ValueError("x"), Kind.INTERNAL, False),
        (FileNotFoundError(errno.ENOENT, "x"), Kind.INTERNAL, False),
        (OSError(errno.ENOSPC, "x"), Kind.TEMPORARY, True),
        (OSError(errno.EDQUOT, "x"), Kind.TEMPORARY, True),
        (caused_by(InputError("x"), OSError(errno.ENOSPC, "x")), Kind.TEMPORARY, True),
    ],
)
def test_the_class_of_an_error_decides_what_happens_next(error: Exception, kind: Kind, stops_run: bool) -> None:
    assert classify_failure(error) == (kind, stops_run)


@pytest.mark.usefixtures("probes")
def test_a_journal_tells_begin_and_end_of_each_task_and_scratch_is_gone(tmp_path: Path) -> None:
    behaviour = {"probe-mid 32UPU a": {"end": "input"}, "probe-mid 32UPU b": {"end": "memory", "times": 1}}
    workspace = probe_workspace(tmp_path, behaviour=behaviour)
    result = run_inline(workspace)
    assert result.status is not None
    run = RunFolder(workspace.runs / result.status.run)
    kinds: dict[str, list[str]] = {}
    names = {row["id"]: f"{row['stage']} {row['subject']}" for row in result.plan.tasks.to_pylist()}
    for journal in sorted(run.journals.glob("0*.jsonl")):
        for event in read_events(journal)[0]:
            if isinstance(event, Opened | Closed):
                continue
            word = (
                {Begin: "begin", Done: "done"}.get(type(event)) or f"{event.kind}" if isinstance(event, Failed) else ""
            )
            word = word or ("begin" if isinstance(event, Begin) else "done")
            kinds.setdefault(names[event.id], []).append(word)
            if isinstance(event, Done):
                sizes = {o.path: o.bytes for o in event.outputs}
                assert sizes == {path: (workspace.root / path).stat().st_size for path in sizes}
                hashes = tree_hash(workspace.root)
                assert all(hashes[o.path] == o.sha256 for o in event.outputs)
    assert kinds["probe-mid a"] == ["begin", "input"]
    assert kinds["probe-mid b"] == ["begin", "resource", "begin", "done"]
    assert kinds["probe-mid c"] == ["begin", "done"]
    assert "probe-leaf a" not in kinds
    assert not run.scratch.exists()
    (leaf,) = (row for row in result.plan.tasks.to_pylist() if names[row["id"]] == "probe-leaf a")
    done = next(
        event
        for journal in run.journals.glob("0*.jsonl")
        for event in read_events(journal)[0]
        if isinstance(event, Done) and names[event.id].startswith("probe-sum")
    )
    assert done.absent == (leaf["id"],)
    assert done.notes == (
        "without probe-leaf 32UPU a: probe-mid 32UPU a is not there: /data/a.jp2: cannot be decoded; fetch it again",
    )


@pytest.mark.usefixtures("probes")
def test_logs_are_kept_of_chunks_with_trouble_only_and_machines_can_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S4C_LOG_FORMAT", "json")
    behaviour = {"probe-mid 32UPU b": {"end": "input"}, "probe-leaf 32UPU c": {"end": "internal", "times": 1}}
    workspace = probe_workspace(tmp_path, behaviour=behaviour)
    result = run_inline(workspace)
    logs = sorted(workspace.runs.glob("*/logs/*/*"))
    assert {path.parent.name for path in logs} == {"probe-mid", "probe-leaf"}
    lines = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    failed = {line["subject"]: line for line in lines if line["event"] == "task failed"}
    assert sorted(failed) == ["b", "c"]
    bug = failed["c"]
    row = result.plan.tasks["id"].to_pylist().index(bug["task"])
    assert result.plan.tasks["subject"][row].as_py() == "c"
    assert (bug["stage"], bug["tile"], bug["kind"], bug["level"]) == ("probe-leaf", "32UPU", "internal", "warning")
    assert result.status is not None
    assert bug["run"] == result.status.run
    assert bug["attempt"] in {path.stem for path in logs}
    assert bug["exception"].startswith("Traceback")
    assert "KeyError: 'bug'" in bug["exception"]
    for path in logs:
        events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
        assert events[0] == "task begins", "what came before the trouble is there as well"


@pytest.mark.usefixtures("probes")
def test_the_driver_tells_of_retries_and_losses_and_is_silent_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("S4C_LOG_FORMAT", "json")
    run_inline(probe_workspace(tmp_path / "well"))
    assert capsys.readouterr() == ("", "")

    workspace = probe_workspace(tmp_path / "ill", behaviour={"probe-leaf 32UPU c": {"end": "internal", "times": 1}})
    lost: list[str] = []

    def lose_the_first(chunk: Chunk) -> bool:
        lost.append(chunk.attempt)
        return len(lost) > 1

    run_inline(workspace, executor=InlineExecutor(before_chunk=lose_the_first))
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in told] == ["attempt lost", "task failed, is tried again"]
    assert told[0]["attempt"] == lost[0]
    assert told[1]["reason"].startswith("KeyError: 'bug'; see ")
    assert {line["level"] for line in told} == {"warning"}


@pytest.mark.usefixtures("probes")
def test_how_a_task_ended_is_told_where_it_left_no_log(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, behaviour={"probe-mid 32UPU b": {"end": "input"}})
    assert tasks_called(workspace, "0") == []
    tasks = run_inline(workspace).plan.tasks
    names = zip(tasks["stage"].to_pylist(), tasks["subject"].to_pylist(), strict=True)
    ids = dict(zip(names, tasks["id"].to_pylist(), strict=True))

    bad = "/data/b.jp2: cannot be decoded; fetch it again"
    (failed,) = task_attempts(workspace, ids["probe-mid", "b"])
    assert failed.end == f"failed (input): {bad}"
    assert task_attempts(workspace, ids["probe-leaf", "b"]) == []
    blocked = f"blocked: probe-mid 32UPU b is not there: {bad}"
    assert task_state(workspace, ids["probe-leaf", "b"]) == blocked
    (done,) = task_attempts(workspace, ids["probe-mid", "a"])
    assert done.end.startswith("done in ")
    assert str(done).startswith(f"run {done.run}, attempt {done.attempt}, try 1 on {platform.node()}: done in ")
    assert task_state(workspace, "no such task") == "it is not in the newest plan"
    run_inline(workspace)
    describe_probe(tmp_path, products=["a", "b", "c", "d"])
    again = run_inline(workspace).status
    assert again is not None
    assert {p.reason for p in again.problems if p.state == "quarantined"} == {bad}, "the state is not told twice"


@pytest.mark.usefixtures("probes")
def test_a_damaged_plan_of_an_old_run_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = probe_workspace(tmp_path)
    first = run_inline(workspace)
    describe_probe(tmp_path, products=["a", "b", "c", "d"])
    second = run_inline(workspace)
    assert first.status is not None
    assert second.status is not None
    (workspace.runs / second.status.run / "plan.parquet").write_bytes(b"")
    (workspace.state / "history.parquet").unlink()
    found = status(workspace)
    assert found is not None
    assert found.run == first.status.run
    assert run_inline(workspace).exit_code == 0
    assert "its plan is damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("probes")
def test_a_twin_that_comes_late_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, products=["a"])
    run_inline(workspace)
    before = {path: (workspace.root / path).stat().st_ino for path in tree_hash(workspace.root)}
    for journal in workspace.runs.glob("*/journal/*.jsonl"):
        journal.write_bytes(b"")  # as if the machine had lost them after the outputs were there
    for table in workspace.state.glob("*.parquet"):
        table.unlink()
    run_inline(workspace)
    after = {path: (workspace.root / path).stat().st_ino for path in tree_hash(workspace.root)}
    assert {p: i for p, i in after.items() if "tiles" in p} == {p: i for p, i in before.items() if "tiles" in p}
    done = [e for j in workspace.runs.glob("*/journal/*.jsonl") for e in read_events(j)[0] if isinstance(e, Done)]
    assert sorted(event.twins for event in done) == [0, 1, 1, 2]


@pytest.mark.usefixtures("probes")
def test_a_chunk_that_is_lost_before_it_began_costs_no_attempt(tmp_path: Path) -> None:
    lost: list[str] = []

    def drop_the_first(chunk: object) -> bool:
        lost.append("x")
        return len(lost) > 3

    executor = InlineExecutor(before_chunk=drop_the_first)
    assert run_inline(probe_workspace(tmp_path), executor=executor).exit_code == 0
    assert executor.submitted[3].numbers == (1,)


def test_rows_are_found_in_a_plan_of_many_row_groups(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, products=[f"p{i}" for i in range(3000)])
    plan = make_plan(workspace, probe_config(), registry=PROBES)
    folder = plan.write(workspace.runs / "0197f2a0-0000-7000-8000-000000000000")
    wanted = plan.tasks["id"].to_pylist()[::1500]
    assert sorted(read_tasks(folder.plan, wanted)) == sorted(wanted)
    assert read_tasks(folder.plan, []) == {}
    with pytest.raises(InternalError, match="not in the plan: nothing"):
        read_tasks(folder.plan, ["nothing"])


def test_peak_of_anonymous_memory_is_seen_and_files_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(128 * MIB))
    mapped = np.memmap(file, mode="r")
    with MemoryPeak() as files:
        assert int(mapped.sum()) == 0
        threading.Event().wait(0.06)
    with MemoryPeak() as arrays:
        held = np.ones(128 * MIB, dtype=np.uint8)
        threading.Event().wait(0.06)
        del held
    assert files.peak_bytes - files.base_bytes < 64 * MIB
    assert 120 * MIB <= arrays.peak_bytes - arrays.base_bytes <= 160 * MIB
    assert anonymous_bytes() < arrays.peak_bytes <= max_rss_bytes()


def test_a_child_dies_with_the_process_that_started_it() -> None:
    code = (
        "import os, sys, signal\n"
        "from s4c_hpc.core.children import start_child\n"
        "print(start_child(['sleep', '600']).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert wait_for(lambda: Path(f"/proc/{child}/comm").read_text().strip() == "sleep")
        parent.kill()
    assert wait_for(lambda: not Path(f"/proc/{child}/exe").exists()), "gone, or a zombie without an owner"


def test_a_child_returns_what_its_program_returns() -> None:
    process = start_child(["sh", "-c", "echo $GREETING; exit 3"], env={**os.environ, "GREETING": "hi"}, stdout=-1)
    out, _ = process.communicate()
    assert (process.returncode, out) == (3, b"hi\n")
    assert ctypes.CDLL(None) is not None
