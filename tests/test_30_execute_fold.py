"""The fold of journals into state tables against a model of dictionaries, whatever is lost in between."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.probe_stage import PROBES
from support.runs import probe_config, probe_workspace, run_inline

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.journal import Begin, Done, Failed, Journal, Kind, Output, TaskEvent
from s4c_hpc.execute.state import fold_journals, folded_s_ago, merge_history, n_attempts
from s4c_hpc.plan import DONE_SCHEMA, FAILED_SCHEMA, HISTORY_SCHEMA, RunFolder, make_plan, new_run_id, read_ledger

TASKS = st.integers(0, 3)
ENDS = st.sampled_from(["done", *Kind])


def begin(key: str, attempt: str, t: float) -> Begin:
    return Begin(id=key, attempt=attempt, number=1, pid=1, host="h", t=t)


def end(key: str, attempt: str, kind: str, number: int, t: float) -> TaskEvent:
    if kind != "done":
        return Failed(id=key, attempt=attempt, number=number, kind=Kind(kind), what=f"because {t}", t=t)
    return Done(
        id=key,
        attempt=attempt,
        number=number,
        outputs=(Output(path=f"o/{key}", bytes=7, sha256=""),),
        n_rows=1,
        absent=(),
        rasters_opened=0,
        twins=0,
        cpu_s=0.0,
        wall_s=0.0,
        peak_anon_bytes=0,
        base_anon_bytes=0,
        max_rss_bytes=0,
        t=t,
    )


class Fold(RuleBasedStateMachine):
    """Runs, attempts and torn lines come in any order; folds, deletions and half-written state in between."""

    @initialize()
    def start(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108 - synced files are free there, and this test writes thousands
        self.folder = Path(tempfile.mkdtemp(prefix="fold-", dir=memory if memory.is_dir() else None))
        self.workspace = probe_workspace(self.folder / "ws", products=["a"])
        self.plan = make_plan(self.workspace, probe_config(), registry=PROBES)
        self.ids: list[str] = self.plan.tasks["id"].to_pylist()
        self.runs: list[RunFolder] = []
        self.model: list[tuple[str, str, str, str, int, float]] = []
        self.torn: list[tuple[Path, bytes, tuple[str, str, str, str, int, float]]] = []
        self.clock = 1000.0
        self.n_files = 0
        self.new_run()

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule()
    def new_run(self) -> None:
        name = new_run_id(self.runs[-1].id if self.runs else None)
        self.runs.append(self.plan.write(self.workspace.runs / name))

    @rule(which=st.integers(0, 5), ends=st.dictionaries(TASKS, ENDS, max_size=3), number=st.integers(1, 3))
    def an_attempt(self, which: int, ends: dict[int, str], number: int) -> None:
        run = self.runs[which % len(self.runs)]  # a straggler of an old run may still write
        attempt = self.next_attempt()
        with Journal(run.journals / f"{attempt}.jsonl") as journal:
            for row, kind in ends.items():
                self.clock += 1
                journal.write(begin(self.ids[row], attempt, self.clock))
                journal.write(end(self.ids[row], attempt, kind, number, self.clock))
                self.model.append((run.id, self.ids[row], attempt, kind, number, self.clock))

    @rule(row=TASKS, kind=ENDS, share=st.floats(0, 0.99))
    def a_torn_line(self, row: int, kind: str, share: float) -> None:
        """What a killed writer leaves, or one that is just writing."""
        run, attempt = self.runs[-1], self.next_attempt()
        self.clock += 1
        path = run.journals / f"{attempt}.jsonl"
        with Journal(path) as journal:
            journal.write(end(self.ids[row], attempt, kind, 1, self.clock))
        line = path.read_bytes()
        cut = int(len(line) * share)
        path.write_bytes(line[:cut])
        self.torn.append((path, line[cut:], (run.id, self.ids[row], attempt, kind, 1, self.clock)))

    @precondition(lambda self: self.torn)
    @rule()
    def the_line_is_finished(self) -> None:
        path, rest, event = self.torn.pop()
        with path.open("ab") as stream:
            stream.write(rest)
        self.model.append(event)

    def next_attempt(self) -> str:
        self.n_files += 1
        return f"{self.n_files:06d}-0000"

    @rule()
    def fold(self) -> None:
        fold_journals(self.workspace)

    @rule(name=st.sampled_from(["done", "failed", "history"]), how=st.sampled_from(["delete", "damage"]))
    def lose_state(self, name: str, how: str) -> None:
        path = self.workspace.state / f"{name}.parquet"
        if path.exists():
            path.unlink() if how == "delete" else path.write_bytes(b"PAR1 no more")

    @precondition(lambda self: (self.workspace.state / "history.parquet").exists())
    @rule()
    def killed_between_the_tables(self) -> None:
        """History is new, the views are still those of before."""
        views = {n: (self.workspace.state / f"{n}.parquet") for n in ("done", "failed")}
        old = {n: path.read_bytes() for n, path in views.items() if path.exists()}
        self.an_attempt(0, {0: "done"}, 1)
        fold_journals(self.workspace)
        for name, data in old.items():
            views[name].write_bytes(data)

    @invariant()
    def tables_are_what_the_model_says(self) -> None:
        if not hasattr(self, "workspace"):
            return
        fold_journals(self.workspace)
        incremental = self.tables()
        assert incremental == self.expected()
        shutil.rmtree(self.workspace.state)
        fold_journals(self.workspace)
        assert self.tables() == incremental, "folded anew"

    def tables(self) -> dict[str, Any]:
        state = self.workspace.state
        history = read_ledger(state / "history.parquet", HISTORY_SCHEMA)
        return {
            "history": [(r["run"], r["id"], r["attempt"], r["kind"]) for r in history.to_pylist()],
            "done": read_ledger(state / "done.parquet", DONE_SCHEMA)["id"].to_pylist(),
            "failed": [
                (r["id"], r["kind"], r["attempts"], r["reason"])
                for r in read_ledger(state / "failed.parquet", FAILED_SCHEMA).to_pylist()
            ],
        }

    def expected(self) -> dict[str, Any]:
        last: dict[str, tuple[str, bool, float, str, int]] = {}
        for run, key, _, kind, number, t in self.model:
            word = (run, kind == "done", t, kind, number)
            if kind != "cancelled" and (key not in last or word > last[key]):
                last[key] = word
        return {
            "history": sorted((run, key, attempt, kind) for run, key, attempt, kind, _, _ in self.model),
            "done": sorted(key for key, word in last.items() if word[1]),
            "failed": sorted((key, w[3], w[4], f"because {w[2]}") for key, w in last.items() if not w[1]),
        }


Fold.TestCase.settings = settings(max_examples=8, stateful_step_count=8, deadline=None)
TestFold = Fold.TestCase


@pytest.mark.usefixtures("probes")
def test_state_made_anew_from_journals_is_the_same_to_the_byte(tmp_path: Path) -> None:
    behaviour = {"probe-mid 32UPU b": {"end": "input"}, "probe-leaf 32UPU a": {"end": "internal"}}
    workspace = probe_workspace(tmp_path, behaviour=behaviour)
    run_inline(workspace)
    run_inline(workspace, retry_quarantined=True)
    before = {path.name: path.read_bytes() for path in workspace.state.glob("*.parquet")}
    assert set(before) == {"done.parquet", "failed.parquet", "history.parquet"}
    for path in workspace.state.glob("*.parquet"):
        path.unlink()
    fold_journals(workspace)
    assert {path.name: path.read_bytes() for path in workspace.state.glob("*.parquet")} == before


@pytest.mark.usefixtures("probes")
def test_a_fold_with_no_news_writes_nothing(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    before = {path.name: path.stat().st_ino for path in workspace.state.glob("*.parquet")}
    fold_journals(workspace)
    assert {path.name: path.stat().st_ino for path in workspace.state.glob("*.parquet")} == before


@pytest.mark.usefixtures("probes")
def test_done_rows_hold_what_was_asked_and_what_was_used(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, behaviour={"probe-mid 32UPU a": {"mb": 64, "ms": 100}})
    run_inline(workspace)
    done = pq.read_table(workspace.state / "done.parquet")
    assert done.schema.equals(DONE_SCHEMA, check_metadata=False)
    row = next(r for r in done.to_pylist() if (r["stage"], r["subject"]) == ("probe-mid", "a"))
    assert (row["mem_bytes"], row["walltime_s"], row["work"]) == (512 << 20, 60, 5.0)
    assert (row["bytes"], row["rasters_opened"], row["n_rows"]) == (4000, 1, 1)
    assert row["cpu_s"] >= 0.005
    assert row["wall_s"] >= row["cpu_s"] * 0.5
    (history,) = (r for r in fold_journals(workspace).to_pylist() if r["id"] == row["id"])
    assert history["peak_anon_bytes"] - history["base_anon_bytes"] >= 60 << 20


def test_merging_histories_does_not_depend_on_order_or_repetition(tmp_path: Path, probes: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    whole = fold_journals(workspace).replace_schema_metadata(None)
    parts = [whole.slice(3), whole.slice(0, 5), whole.slice(1, 2)]
    assert merge_history(parts).equals(merge_history([whole]))
    assert merge_history(parts[::-1]).equals(merge_history([whole]))


def test_the_history_tells_its_size_and_age(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert (n_attempts(workspace), folded_s_ago(workspace)) == (0, math.inf)
    fold_journals(workspace)
    path = workspace.state / "history.parquet"
    assert n_attempts(workspace) == 0
    os.utime(path, (0, time.time() - 1000))
    assert 999 < folded_s_ago(workspace) < 1100
    os.utime(path, (0, time.time() + 3600))
    assert folded_s_ago(workspace) == math.inf, "a clock that was set back must not put off the next fold"
