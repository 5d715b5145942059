"""The Slurm executor without a Slurm: what it makes of answers that a real cluster seldom gives."""

from __future__ import annotations

import errno
import fcntl
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize
from support.probe_stage import PROBES, describe_probe
from support.runs import PATIENCE_S, InlineExecutor, probe_workspace
from support.slurm_runs import SITE

from s4c_hpc import execute
from s4c_hpc.config import Config
from s4c_hpc.config.slurm import QosChoice, Slurm, StageQueue
from s4c_hpc.core.errors import ConfigError, S4cError, SchedulerError
from s4c_hpc.core.task import Launch
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import Run, advance, cancel, element, fold_journals, run_chunk, status
from s4c_hpc.execute.begin import begin, stop_attempts
from s4c_hpc.execute.board import State
from s4c_hpc.execute.choose import Room
from s4c_hpc.execute.cluster_facts import Cluster, ask_cluster, cluster_of, keep_cluster
from s4c_hpc.execute.detach import Scope, has_successor, is_detached, take_over, tick
from s4c_hpc.execute.journal import Begin, Closed, Failed, Journal, Kind, Opened, read_events
from s4c_hpc.execute.lease import lease
from s4c_hpc.execute.limits import Most
from s4c_hpc.execute.losses import MAX_IDLE_LOSSES, MAX_IDLE_WAVES, Losses
from s4c_hpc.execute.manifest import read_wave, wave_names
from s4c_hpc.execute.queue_view import QueueLine, QueueView, read_view, write_view
from s4c_hpc.execute.slurm_budget import MAX_PAUSE_S, Refusal, SlurmBudget, refused, stage_room
from s4c_hpc.execute.slurm_executor import SlurmExecutor
from s4c_hpc.execute.slurm_job import memory_classes
from s4c_hpc.plan import NodeGroup, RunFolder, latest_run
from s4c_hpc.slurm.errors import (
    SlurmMissing,
    SlurmUnreachable,
    SubmitInDoubt,
    SubmitLater,
    SubmitRefused,
    SubmitTooLarge,
    SubmitUnreachable,
)
from s4c_hpc.slurm.rows import AccountingRow, NodeRow, QueueRow

NOW = 1_800_000_000.0
CLUSTER = Cluster(
    nodes=(NodeGroup(count=1, cpus=4, mem_bytes=1 << 34),),
    most=Most(cpus=4, mem_bytes=1 << 34),
    cores=4,
    max_array=1000,
)
ADVANCE = importlib.import_module("s4c_hpc.execute.advance")
"""The module: the package has a function of the same name."""
DETACH = importlib.import_module("s4c_hpc.execute.detach")


# --- when to stop -------------------------------------------------------------------------------------------------


def _losses(*kinds: Kind | None, began: bool = False) -> Losses:
    losses = Losses()
    for n, kind in enumerate(kinds):
        losses.ended(Closed(attempt=f"{n:06d}-0000", kind=kind, what=f"reason {n}", t=NOW + n), began=began)
    return losses


@pytest.mark.parametrize("kind", [Kind.LOST, Kind.RESOURCE, Kind.TIME])
def test_workers_that_never_begin_a_task_stop_the_run(kind: Kind) -> None:
    assert _losses(*[kind] * (MAX_IDLE_LOSSES - 1)).why_stop(n_open=1) is None
    error = _losses(*[kind] * MAX_IDLE_LOSSES).why_stop(n_open=1)
    assert error is not None
    assert "5 chunks in a row ended before their first task began, the last one: reason 4" in str(error)


def test_some_of_many_that_are_cancelled_do_not_mean_that_workers_cannot_start() -> None:
    losses = _losses(*[Kind.SCANCELLED] * MAX_IDLE_LOSSES)
    assert losses.why_stop(n_open=900) is None
    assert "all jobs" in str(losses.why_stop(n_open=0))


def test_an_orderly_end_shows_that_workers_start() -> None:
    losses = _losses(*[Kind.LOST] * 4, None, *[Kind.LOST] * 4)
    assert losses.why_stop(n_open=0) is None


def test_tasks_that_began_are_counted_for_themselves() -> None:
    assert _losses(*[Kind.LOST] * 50, began=True).why_stop(n_open=0) is None


def test_places_lost_before_the_start_are_borne_longer_but_not_for_ever() -> None:
    assert _losses(*[Kind.EVICTED] * (MAX_IDLE_WAVES - 1)).why_stop(n_open=0) is None
    error = _losses(*[Kind.EVICTED] * MAX_IDLE_WAVES).why_stop(n_open=0)
    assert "20 waves in a row lost their place" in str(error)


def test_many_elements_of_one_wave_that_lose_their_places_together_are_one_event() -> None:
    losses = Losses()
    for n in range(1000):
        losses.ended(Closed(attempt=f"000001-{n:04d}", kind=Kind.EVICTED, what="preempted", t=NOW), began=False)
    assert losses.why_stop(n_open=0) is None


def test_all_cancelled_from_outside_is_taken_for_a_wish() -> None:
    losses = _losses(Kind.SCANCELLED, Kind.SCANCELLED, began=True)
    assert losses.why_stop(n_open=1) is None, "some are left"
    assert "(2 jobs)" in str(losses.why_stop(n_open=0))
    assert _losses(Kind.SCANCELLED, began=True).why_stop(n_open=0) is None, "one may be a slip"
    assert _losses(Kind.SCANCELLED, None, Kind.SCANCELLED, began=True).why_stop(n_open=0) is None


def test_what_was_before_is_forgiven_when_the_run_is_begun_again() -> None:
    events = [Closed(attempt=f"{n:06d}-0000", kind=Kind.LOST, what="no python", t=NOW + n) for n in range(6)]
    late, early = Losses(), Losses(since=NOW + 3)
    late.read(reversed(events), began=[])
    early.read(reversed(events), began=[])
    assert "the last one: no python" in str(late.why_stop(n_open=0))
    assert early.why_stop(n_open=0) is None


# --- a queue that takes no more -----------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_half_of_a_refused_wave_is_tried_next(n: int, in_queue: int) -> None:
    refusal = refused(None, n=n, in_queue=in_queue, is_full=True, why="full", now=NOW)
    assert refusal.room(in_queue, poll_s=10, now=NOW + 1) == 0, "there is a pause"
    assert refusal.room(in_queue, poll_s=10, now=NOW + 20) == max(1, n // 2)
    assert refusal.room(in_queue + max(1, n // 2), poll_s=10, now=NOW + 20) == 0


def test_a_queue_that_takes_nothing_for_a_week_is_asked_some_thousand_times_at_most() -> None:
    refusal: Refusal | None = None
    now, tries = NOW, 0
    while now < NOW + 7 * 86400:
        room = 2000 if refusal is None else refusal.room(0, poll_s=1, now=now)
        if room is None or room > 0:
            tries += 1
            refusal = refused(refusal, n=room or 2000, in_queue=0, is_full=True, why="full", now=now)
        now += 1.0
    assert tries == pytest.approx(7 * 86400 / MAX_PAUSE_S, rel=0.02)


def test_after_a_wave_was_taken_the_limit_is_forgotten_in_time() -> None:
    taken = Refusal(most=3, streak=0, why="full", t=NOW)
    assert taken.room(3, poll_s=1, now=NOW + 1) == 0
    assert taken.room(1, poll_s=1, now=NOW + 1) == 2
    assert taken.room(3, poll_s=1, now=NOW + MAX_PAUSE_S + 1) is None
    assert taken.room(3, poll_s=1, now=NOW - 3600) is None, "a clock that was set back must not hold up work"


def test_places_are_counted_by_stage_and_in_all() -> None:
    budget = SlurmBudget.of(free_elements=6, largest_array=3, rooms={"s1": 2})
    asked = [("s1", 1), ("s1", 2), ("s1", 3), ("stats", 1), ("stats", 1), ("stats", 1), ("stats", 1), ("stats", 2)]
    got = [budget.take(stage, 1, mem_bytes, 1.0) for stage, mem_bytes in asked]
    yes, here = Room.YES, Room.NOT_HERE
    assert got == [yes, yes, here, yes, yes, yes, here, yes]
    assert budget.take("merge", 1, 1, 1.0) is Room.NO


def test_the_view_of_the_queue_survives_its_process(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    view = QueueView(
        lines=(QueueLine(stage="s1", qos="q", state="pending", reason="QOSGrpMemLimit", elements=3),),
        missing={"000001-0000": NOW},
        refusals={"s1": Refusal(most=1, streak=2, why="full", t=NOW)},
    )
    write_view(run, view)
    assert read_view(run) == view
    (tmp_path / "queue.json").write_text("{}")
    assert read_view(run) is None


# --- answers of Slurm ---------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """Stands for the client: says what a test wants it to say."""

    queued: Callable[[], list[QueueRow]] = list
    accounted: Callable[[], list[AccountingRow]] = list
    submitted: Callable[[str], int] = lambda _: 7
    scripts: list[str] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    has: list[NodeRow] = field(default_factory=list)

    def nodes(self, partition: str | None = None) -> list[NodeRow]:
        return [node for node in self.has if partition in {None, node.partition}]

    def limits(self) -> Any:
        return SimpleNamespace(max_array=1001)

    def queue(self, *, names_start: str | None = None, ended: bool = False) -> list[QueueRow]:
        return self.queued()

    def accounting(self, names: Sequence[str], since: float) -> list[AccountingRow]:
        return self.accounted()

    def cancel(self, job_ids: Sequence[int]) -> None:
        self.cancelled += job_ids

    def submit(self, script: str) -> int:
        self.scripts.append(script)
        return self.submitted(script)


def _raising(error: S4cError) -> Callable[..., Any]:
    def answer(*_: object) -> Any:
        raise error

    return answer


@pytest.fixture
def workspace(tmp_path: Path, probes: Path) -> Workspace:
    return probe_workspace(tmp_path, mem_bytes=256 << 20)


def _begin(
    workspace: Workspace, client: Answers, wanted: list[str] | None = None, **slurm: Any
) -> tuple[Run, SlurmExecutor]:
    site = {"poll_s": 0.001, "forgotten_after_s": 0.05, "chunk_s": 0.001, "min_chunk_s": 0, **slurm}
    config = Config.model_validate({"site": SITE, "execute": {"executor": "slurm"}, "slurm": site})
    run = begin(workspace, config, registry=PROBES, stages=wanted, executor=InlineExecutor()).run
    assert run is not None
    executor = SlurmExecutor(run.folder, config.slurm, client)  # type: ignore[arg-type]
    keep_cluster(run.folder, CLUSTER)
    return run, executor


def _row(run: Run, state: str, index: int = 0, *, nodes: str = "n1") -> QueueRow:
    return QueueRow(
        name=f"s4c-probe-root-{run.folder.id}-000001",
        index=index,
        state=state,
        reason="",
        job_id=7,
        array_id=7,
        comment="",
        qos="",
        partition="",
        account="",
        nodes=nodes,
        submit=time.time(),
        start=None,
    )


def test_a_pool_is_used_only_where_the_site_says_so(workspace: Workspace) -> None:
    _, plain = _begin(workspace, Answers())
    assert plain.launch("probe-mid") is Launch.ARRAY
    _, pooled = _begin(workspace, Answers(), stages={"probe-mid": {"pool": True}})
    assert pooled.launch("probe-mid") is Launch.POOL
    assert pooled.launch("probe-leaf") is Launch.ARRAY


def test_while_squeue_is_silent_nothing_is_given_up(workspace: Workspace) -> None:
    client = Answers()
    run, executor = _begin(workspace, client)
    advance(run, executor)
    client.queued = _raising(SlurmUnreachable("squeue failed (exit code 1): connect failure"))
    for _ in range(5):
        time.sleep(0.03)
        advance(run, executor)
    assert list(run.open) == ["000001-0000"]
    view = read_view(run.folder)
    assert view is not None
    assert "connect failure" in view.trouble


def test_an_element_that_ended_well_is_waited_for_until_its_journal_is_seen(workspace: Workspace) -> None:
    """A network file system shows new files late: work that is done must not be begun again for that."""
    client = Answers()
    run, executor = _begin(workspace, client, forgotten_after_s=60)
    advance(run, executor)
    client.queued = lambda: [_row(run, "COMPLETED")]
    time.sleep(0.01)
    advance(run, executor)
    assert list(run.open) == ["000001-0000"]
    with Journal(run.folder.journals / "000001-0000.jsonl") as journal:
        journal.write(Opened(attempt="000001-0000", host="n1", pid=1))
        journal.write(Closed(attempt="000001-0000"))
    time.sleep(0.01)
    advance(run, executor, submit=False)
    assert not run.open


def test_a_job_of_which_nobody_knows_is_given_up_after_a_while_also_across_ticks(workspace: Workspace) -> None:
    client = Answers()
    run, executor = _begin(workspace, client, forgotten_after_s=0.3)
    advance(run, executor)
    for _ in range(30):
        time.sleep(0.02)
        tick = Run(run.folder, 3)
        fresh = SlurmExecutor(run.folder, executor._site, client)  # type: ignore[arg-type]
        advance(tick, fresh)
        tick.close()
        if len(wave_names(run.folder)) > 1:
            break
    assert len(wave_names(run.folder)) == 2
    assert tick.has_strays, "its script may live on"


def test_sbatch_that_never_answers_ends_the_run_and_does_not_hammer(workspace: Workspace) -> None:
    client = Answers(submitted=_raising(SubmitInDoubt("sbatch gave no answer within 60 s")))
    run, executor = _begin(workspace, client, forgotten_after_s=0)
    with pytest.raises(SchedulerError, match="20 waves in a row lost their place before a first task began"):
        _advance_for_ever(run, executor)
    assert len(client.scripts) == MAX_IDLE_WAVES


def test_a_full_queue_is_neither_blamed_nor_forgotten(workspace: Workspace) -> None:
    client = Answers(submitted=_raising(SubmitLater("sbatch made no job: QOSMaxSubmitJobPerUserLimit")))
    run, executor = _begin(workspace, client)
    for _ in range(200):
        advance(run, executor)
        time.sleep(0.001)
    assert 2 < len(client.scripts) < 20, "it is tried again, at growing intervals"
    view = read_view(run.folder)
    assert view is not None
    assert "QOSMaxSubmitJobPerUserLimit; tried again in" in view.trouble
    client.submitted = lambda _: 7
    _until(lambda: run.open and advance(run, executor, submit=True).submitted == 1, run, executor)
    assert run.board.attempts.max() == 0


def test_a_refusal_for_good_stops_the_run_and_the_tasks_wait(workspace: Workspace) -> None:
    client = Answers(submitted=_raising(SubmitRefused("sbatch made no job: Invalid qos", hint="set slurm.qos")))
    run, executor = _begin(workspace, client)
    with pytest.raises(SubmitRefused, match="Invalid qos"):
        advance(run, executor)
    advance(run, executor, submit=False)
    assert not run.open
    assert run.board.count() == 0
    assert not run.board.reasons


def test_a_controller_that_is_away_does_not_make_waves_smaller(workspace: Workspace) -> None:
    run, executor, client = _on_tiles(workspace, 40)
    client.submitted = _raising(SubmitUnreachable("sbatch made no job: Unable to contact slurm controller"))
    for _ in range(3):
        _look_again(run, executor)
    view = read_view(run.folder)
    assert view is not None
    assert view.refusals["probe-root"].most == 40
    assert "Unable to contact slurm controller" in view.refusals["probe-root"].why


def test_what_the_controller_stops_after_it_was_away_is_not_somebody_s_wish(workspace: Workspace) -> None:
    """It calls jobs cancelled that it does not remember; two of them in a row would stop the run."""
    client = Answers()
    run, executor = _begin(workspace, client)
    advance(run, executor)
    client.queued = _raising(SlurmUnreachable("squeue failed (exit code 1): connect failure"))
    _look_again(run, executor)
    client.queued = lambda: [_row(run, "CANCELLED")]
    _look_again(run, executor)
    (journal,) = run.folder.journals.glob("driver-*")
    (closed,) = [event for event in read_events(journal)[0] if isinstance(event, Closed)]
    assert closed.kind is Kind.EVICTED
    assert "after the controller had been away" in closed.what


class Gone(InlineExecutor):
    """An executor whose cluster is not there any more."""

    def cancel(self) -> None:
        raise SlurmMissing("there is no program 'squeue' here", hint="go to a login node")


def test_jobs_of_a_cluster_that_is_gone_can_be_given_up(workspace: Workspace) -> None:
    run, executor = _begin(workspace, Answers())
    advance(run, executor)
    run.close()
    local = Config.model_validate({"site": SITE})
    with pytest.raises(SlurmMissing) as wrong:
        begin(workspace, local, registry=PROBES, executor=Gone())
    assert wrong.value.hint == "go to a login node; if that cluster is gone for good: 's4c cancel --forget'"
    assert cancel(workspace, forget=True).attempts == 1
    begun = begin(workspace, local, registry=PROBES)
    assert begun.run is not None
    assert begun.run.folder != run.folder


def test_what_was_refused_for_good_is_not_in_the_queue_and_status_says_why(workspace: Workspace) -> None:
    client = Answers(submitted=_raising(SubmitRefused("sbatch made no job: Invalid qos", hint="set slurm.qos")))
    run, executor = _begin(workspace, client)
    with pytest.raises(SubmitRefused):
        advance(run, executor)
    run.close()
    found = status(workspace)
    assert found is not None
    assert (found.n_open, found.progress.submitted) == (0, 0)
    assert found.waiting["to be put into the queue"] > 0
    assert found.queue is not None
    assert "Invalid qos" in found.queue.trouble


def test_what_was_cancelled_is_not_seen_in_the_queue_any_more(workspace: Workspace) -> None:
    client = Answers()
    run, executor = _begin(workspace, client)
    advance(run, executor)
    client.queued = lambda: [_row(run, "RUNNING")]
    _look_again(run, executor)
    before = read_view(run.folder)
    assert before is not None
    assert [line.state for line in before.lines] == ["running"]
    client.queued = list
    stop_attempts(run, executor)
    after = read_view(run.folder)
    assert after is not None
    assert after.lines == ()


# --- what a cluster has -------------------------------------------------------------------------------------------


def _node(name: str, partition: str, *, cpus: int = 8, state: str = "idle") -> NodeRow:
    return NodeRow(
        name=name,
        partition=partition,
        is_default_partition=partition == "long",
        max_time_s=None,
        cpus=cpus,
        mem_bytes=cpus << 30,
        state=state,
    )


def test_a_partition_that_is_not_there_is_told_from_one_that_is_down() -> None:
    client: Any = Answers(has=[_node("n1", "short"), _node("n2", "long", state="down*")])
    with pytest.raises(ConfigError, match="there is no partition 'shrot'") as wrong:
        ask_cluster(client, Slurm(partition="shrot"))
    assert wrong.value.hint == "partitions here: long, short"
    with pytest.raises(SchedulerError, match="no node of partition long can take jobs"):
        ask_cluster(client, Slurm(partition="long"))


def test_a_partition_of_one_stage_has_limits_of_its_own() -> None:
    short = replace(_node("n1", "short", cpus=2), max_time_s=3600)
    client: Any = Answers(has=[short, _node("n2", "long", cpus=64)])
    site = Slurm(partition="long", stages={"stats": StageQueue(partition="short")})
    found = ask_cluster(client, site)
    assert found.most == Most(cpus=64, mem_bytes=64 << 30)
    assert found.most_of(site) == {"stats": Most(cpus=2, mem_bytes=2 << 30, walltime_s=3600)}
    with pytest.raises(ConfigError, match="there is no partition 'shrot'") as wrong:
        ask_cluster(client, Slurm(partition="long", stages={"stats": StageQueue(partition="shrot")}))
    assert wrong.value.where == "slurm.stages.stats.partition"


def test_tasks_of_a_stage_have_to_fit_into_the_partition_of_that_stage(workspace: Workspace) -> None:
    run, executor = _begin(workspace, Answers(), stages={"probe-root": {"partition": "tiny"}}, memory_overhead=0)
    keep_cluster(run.folder, replace(CLUSTER, most_in={"tiny": Most(cpus=1, mem_bytes=64 << 20)}))
    advance(run, executor)
    assert "the most that it can have here is 64.0 MiB" in str(run.board.reasons)


def test_a_tick_that_is_about_to_leave_is_no_successor(workspace: Workspace) -> None:
    """Slurm starts a singleton while the one before it still completes."""
    run, _ = _begin(workspace, Answers())
    before, own = replace(_row(run, "COMPLETING"), job_id=5), replace(_row(run, "RUNNING"), job_id=6)
    assert not has_successor([before, own], own=6)
    assert has_successor([before, own, replace(_row(run, "PENDING"), job_id=7)], own=6)


def test_a_cluster_is_asked_again_after_an_hour_and_large_nodes_are_not_forgotten(tmp_path: Path) -> None:
    run, site = RunFolder(tmp_path), Slurm(partition="short")
    client: Any = Answers(has=[_node("n1", "short", cpus=4)])
    hours = [cluster_of(run, client, site)]
    for nodes in ([_node("n1", "short", cpus=64)], [_node("n1", "short", cpus=2)], []):
        client.has = nodes
        assert cluster_of(run, client, site) == hours[-1], "within the hour"
        an_hour_ago = time.time() - 3601
        os.utime(tmp_path / "cluster.json", (an_hour_ago, an_hour_ago))
        hours.append(cluster_of(run, client, site))
    assert [(hour.cores, hour.most.cpus) for hour in hours] == [(4, 4), (64, 64), (2, 64), (2, 64)]


def test_without_a_slurm_no_run_is_begun(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(workspace.root))
    config = Config.model_validate({"site": SITE, "execute": {"executor": "slurm"}})
    with pytest.raises(SlurmMissing):
        execute.run(workspace, config, registry=PROBES)
    assert latest_run(workspace) is None


# --- runs that drive themselves -----------------------------------------------------------------------------------


def _detach(run: Run, *, stopped: str | None = None) -> None:
    config = Config.model_validate(json.loads(run.folder.config.read_bytes()))
    Scope(stages=None, config=config, n_tasks=1, since=time.time()).write(run.folder)
    if stopped is not None:
        (run.folder.root / "stopped.txt").write_text(stopped)


def test_a_stopped_chain_is_over_when_a_person_takes_the_run(workspace: Workspace) -> None:
    run, _ = _begin(workspace, Answers())
    _detach(run, stopped="the disk is full")
    run.close()
    assert (found := status(workspace)) is not None
    assert found.state == "stopped"
    take_over(run.folder)
    assert (found := status(workspace)) is not None
    assert (found.state, found.self_drive) == ("interrupted", None)
    tick(run.folder)  # one that was late: nothing to do for it
    assert not (run.folder.root / "stopped.txt").exists()


def test_a_chain_that_is_alive_is_told_of_and_steps_back_quietly(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = _begin(workspace, Answers())
    _detach(run)
    run.close()
    monkeypatch.setattr(DETACH, "_submit_successor", lambda *_: None)
    with lease(workspace):
        take_over(run.folder)
        assert "takes over a run that drove itself" in capsys.readouterr().err
        tick(run.folder)
    said = capsys.readouterr().err
    assert "left to the driver at work" in said
    assert "warning" not in said
    assert is_detached(run.folder), "it goes on when the person is interrupted"


def test_a_detached_run_that_is_complete_cannot_be_cancelled(workspace: Workspace) -> None:
    run, _ = _begin(workspace, Answers())
    _detach(run)
    advance(run, InlineExecutor(slots=4))
    while not advance(run, InlineExecutor(slots=4)).is_settled:
        pass
    run.close()
    with lease(workspace):  # its last tick is at work
        assert cancel(workspace).is_nothing
    assert not (run.folder.root / "stopped.txt").exists()


def test_tasks_too_large_for_the_site_are_refused_and_the_others_go_on(workspace: Workspace) -> None:
    """The stage has been taken before: it is this memory that is not, so these tasks end, and no others."""
    client = Answers()
    run, executor = _begin(workspace, client, wanted=["probe-root"])
    advance(run, executor)
    wave = read_wave(run.folder, "000001")
    client.queued = lambda: [_row(run, "OUT_OF_MEMORY")]
    _begin_task(run, wave.chunks[0].ids[0])
    client.submitted = _raising(SubmitTooLarge("sbatch made no job: QOSMaxMemoryPerJob", hint="lower slurm.max_memory"))
    _until(lambda: run.board.is_settled, run, executor)
    row = run.board.row_of[wave.chunks[0].ids[0]]
    assert run.board.reasons[row] == "sbatch made no job: QOSMaxMemoryPerJob; lower slurm.max_memory"


def test_an_element_that_slurm_starts_twice_leaves_the_work_to_the_first(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A controller that crashed may start a waiting element again, also while the first one is at work."""
    client = Answers()
    run, executor = _begin(workspace, client)
    advance(run, executor)
    _begin_task(run, run.open["000001-0000"].ids[0])
    before = (run.folder.journals / "000001-0000.jsonl").read_bytes()
    monkeypatch.setattr(sys, "argv", ["element", str(run.folder.root), "000001", "0"])
    assert element.main() == element.STARTED_TWICE
    assert "has been started before" in capsys.readouterr().err
    assert (run.folder.journals / "000001-0000.jsonl").read_bytes() == before
    private = run.folder.scratch / "000001-0000"
    private.mkdir(parents=True)
    client.accounted = lambda: [_ended(run, "FAILED", (element.STARTED_TWICE, 0))]
    time.sleep(0.01)
    advance(run, executor, submit=False)
    assert not run.open
    assert private.is_dir(), "the first one is at work in there"
    assert run.board.attempts.max() == 0, "nobody's fault"


def _ended(run: Run, state: str, exit_code: tuple[int, int]) -> AccountingRow:
    return AccountingRow(
        name=f"s4c-probe-root-{run.folder.id}-000001",
        index=0,
        job_id_raw=7,
        step="",
        state=state,
        state_by=None,
        exit_code=exit_code,
        submit=time.time(),
        start=None,
        end=None,
        elapsed_s=1,
        max_rss_bytes=None,
        req_mem_bytes=None,
        node_list="n1",
    )


def _begin_task(run: Run, key: str, attempt: str = "000001-0000") -> None:
    with Journal(run.folder.journals / f"{attempt}.jsonl") as journal:
        journal.write(Begin(id=key, attempt=attempt, number=1, pid=1, host="n1", t=time.time()))


def _advance_for_ever(run: Run, executor: SlurmExecutor) -> None:
    for _ in range(100_000):
        advance(run, executor)
        for stage, refusal in executor._watch.refusals.items():  # its pauses would take hours
            executor._watch.refusals[stage] = Refusal(most=refusal.most, streak=0, why=refusal.why, t=0.0)
        time.sleep(0.001)
    pytest.fail("it never ends")


def _until(holds: Callable[[], object], run: Run, executor: SlurmExecutor, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        advance(run, executor)
        time.sleep(0.002)


def test_a_file_system_without_locks_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    with pytest.raises(ConfigError, match="has no locks"), lease(Workspace(tmp_path)):
        pass


def _tiles(n: int) -> list[str]:
    return [f"32U{a}{b}" for a in "PQRST" for b in "ABCDEFGH"][:n]


def _on_tiles(workspace: Workspace, n: int, **slurm: Any) -> tuple[Run, SlurmExecutor, Answers]:
    """A run of one stage with a task a tile, a chunk each."""
    describe_probe(workspace.root, tiles=_tiles(n))
    client = Answers()
    run, executor = _begin(workspace, client, ["probe-root"], **slurm)
    return run, executor, client


def _look_again(run: Run, executor: SlurmExecutor) -> None:
    time.sleep(0.003)
    advance(run, executor)


def test_many_tasks_too_large_for_the_site_do_not_stop_the_others(workspace: Workspace) -> None:
    """Elements that were never made say nothing about whether workers start."""
    n = MAX_IDLE_LOSSES + 3
    run, executor, client = _on_tiles(workspace, n + 1)
    advance(run, executor)
    for attempt, chunk in list(run.open.items())[:n]:
        _begin_task(run, chunk.ids[0], attempt)
    client.queued = lambda: [_row(run, "OUT_OF_MEMORY" if i < n else "RUNNING", i) for i in range(n + 1)]
    client.submitted = _raising(SubmitTooLarge("sbatch made no job: QOSMaxMemoryPerJob"))
    for _ in range(3):
        _look_again(run, executor)
    assert run.board.count(State.FAILED) == n
    assert list(run.open) == [f"000001-{n:04d}"]


def test_one_stage_leaves_half_of_the_window_to_the_others(workspace: Workspace) -> None:
    run, executor, client = _on_tiles(workspace, 40, max_submitted=20)
    advance(run, executor)
    client.queued = lambda: [_row(run, "PENDING", i) for i in range(10)]
    for _ in range(3):
        _look_again(run, executor)
    assert len(run.open) == 10
    budget = executor.budget(run.board, run.open)
    assert budget.take("probe-root", 1, 1, 1.0) is Room.NOT_HERE
    assert [budget.take("probe-mid", 1, 1, 1.0) for _ in range(11)] == [Room.YES] * 10 + [Room.NO]


def test_the_share_of_a_stage_is_refilled_by_quarters_too() -> None:
    assert stage_room(there=0, window=20) == 10
    assert stage_room(there=8, window=20) == 0, "two places are no array"
    assert stage_room(there=7, window=20) == 3
    assert stage_room(there=0, window=1) == 1


def test_chunks_are_as_long_as_their_stage_wants_them(workspace: Workspace) -> None:
    describe_probe(workspace.root, tiles=_tiles(20), ms=1000)
    run, executor = _begin(workspace, Answers(), ["probe-root"], chunk_s=1e4, stages={"probe-root": {"chunk_s": 1e-3}})
    advance(run, executor)
    assert len(run.open) == 20


def test_a_rank_that_failed_alone_is_heard_by_the_driver_that_started_it(workspace: Workspace) -> None:
    """Its reason stands in a journal of its own: bad input must not look like a crash."""
    run, executor, client = _on_tiles(workspace, 1)
    advance(run, executor)
    key = run.open["000001-0000"].ids[0]
    _begin_task(run, key)
    client.queued = lambda: [_row(run, "RUNNING")]
    _look_again(run, executor)
    with Journal(run.folder.journals / "000001-0000.rank.jsonl") as journal:
        journal.write(Failed(id=key, attempt="000001-0000", number=1, kind=Kind.INPUT, what="cannot be decoded"))
    client.queued = list
    client.accounted = lambda: [_ended(run, "FAILED", (75, 0))]
    _look_again(run, executor)
    assert run.board.state_of(key) is State.QUARANTINED


def test_the_queue_tells_its_own_qos_also_when_the_profile_has_changed(workspace: Workspace) -> None:
    run, executor, client = _on_tiles(workspace, 1)
    advance(run, executor)
    changed = executor._site.model_copy(
        update={"stages": {"probe-root": StageQueue(qos=(QosChoice(qos="tiny", max_memory=ByteSize(1)),))}}
    )
    later = SlurmExecutor(run.folder, changed, client)  # type: ignore[arg-type]
    client.queued = lambda: [replace(_row(run, "PENDING"), qos="as-submitted")]
    assert later.alive(run.open) == {"000001-0000"}
    view = read_view(run.folder)
    assert view is not None
    assert [(line.qos, line.state) for line in view.lines] == [("as-submitted", "pending")]


def test_a_cluster_without_sacct_is_good_enough(workspace: Workspace) -> None:
    run, executor, client = _on_tiles(workspace, 1)
    advance(run, executor)
    client.accounted = _raising(SlurmMissing("there is no program 'sacct' here"))
    client.queued = lambda: [_row(run, "TIMEOUT")]
    _begin_task(run, run.open["000001-0000"].ids[0])
    time.sleep(0.003)
    advance(run, executor, submit=False)
    assert not run.open


def test_a_job_killed_for_its_memory_is_waited_for_until_its_journal_is_seen(workspace: Workspace) -> None:
    """It did begin something: without the journal, nothing would ask for more, for ever."""
    run, executor, client = _on_tiles(workspace, 1, forgotten_after_s=60)
    advance(run, executor)
    client.queued = lambda: [_row(run, "OUT_OF_MEMORY")]
    _look_again(run, executor)
    assert list(run.open) == ["000001-0000"]
    key = run.open["000001-0000"].ids[0]
    _begin_task(run, key)
    time.sleep(0.003)
    advance(run, executor, submit=False)
    assert not run.open
    row = run.board.row_of[key]
    assert run.board.mem_bytes[row] == 2 * (256 << 20)


def test_what_waits_in_the_queue_has_no_journal_to_look_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network file system each file that is not there costs a question to its server, at each look."""
    run, executor, client = _on_tiles(workspace, 4)
    advance(run, executor)
    client.queued = lambda: [_row(run, "RUNNING" if i == 1 else "PENDING", i) for i in range(4)]
    _look_again(run, executor)
    opened: list[str] = []

    def note(path: Path, offset: int) -> tuple[list[object], int]:
        opened.append(path.name)
        return [], offset

    monkeypatch.setattr(ADVANCE, "read_events", note)
    _look_again(run, executor)
    assert opened == ["000001-0001.jsonl"]


def test_memory_classes_end_where_a_qos_ends() -> None:
    """Else a task that fits would ask for a class above it, and go to the queue of the large ones, or to none."""
    gib = 1 << 30
    choice = (QosChoice(qos="s1-14g", max_memory=ByteSize(14 * gib)), QosChoice(qos="s1-large"))
    site = Slurm(stages={"s1": StageQueue(qos=choice)}, memory_overhead=ByteSize(gib))
    assert 13 * gib in memory_classes(site)
    assert list(memory_classes(site)) == sorted(set(memory_classes(site)))
    assert len(memory_classes(Slurm())) == 26


# --- pools --------------------------------------------------------------------------------------------------------


def _pool(workspace: Workspace) -> tuple[Run, SlurmExecutor, Answers]:
    run, executor, client = _on_tiles(workspace, 2, stages={"probe-root": {"pool": True}}, forgotten_after_s=0)
    advance(run, executor)
    return run, executor, client


def test_chunks_of_a_pool_are_alive_as_long_as_its_workers(workspace: Workspace) -> None:
    """A pool whose driver was killed leaves workers that write for a while, and others that wait in the queue."""
    run, executor, client = _pool(workspace)
    pool, worker = _pool_rows(run)
    client.queued = lambda: [replace(pool, state="NODE_FAIL"), worker]
    _look_again(run, executor)
    assert list(run.open) == ["000001-0000", "000001-0001"]
    assert client.cancelled == [8]
    client.queued = lambda: [replace(pool, state="NODE_FAIL")]
    time.sleep(0.003)
    advance(run, executor, submit=False)
    assert not run.open


@pytest.mark.parametrize(
    ("state", "kind"), [("OUT_OF_MEMORY", Kind.RESOURCE), ("TIMEOUT", Kind.TIME), ("NODE_FAIL", Kind.EVICTED)]
)
def test_the_worker_that_did_a_chunk_of_a_pool_tells_why_it_ended(workspace: Workspace, state: str, kind: Kind) -> None:
    run, executor, client = _pool(workspace)
    pool, worker = _pool_rows(run)
    key = run.open["000001-0001"].ids[0]
    with Journal(run.folder.journals / "000001-0001.jsonl") as journal:
        journal.write(Opened(attempt="000001-0001", host="n1", pid=1, job="8"))
        journal.write(Begin(id=key, attempt="000001-0001", number=1, pid=1, host="n1", t=time.time()))
    client.queued = lambda: [replace(pool, state="COMPLETED"), replace(worker, state=state)]
    executor.alive(run.open)
    time.sleep(0.003)
    executor.alive(run.open)
    end = executor.why_ended("000001-0001")
    assert end is not None
    assert end.kind is kind


def test_a_pool_that_needs_too_much_memory_is_not_the_fault_of_tasks(workspace: Workspace) -> None:
    run, executor, client = _pool(workspace)
    pool, _ = _pool_rows(run)
    client.queued = lambda: [replace(pool, state="OUT_OF_MEMORY")]
    executor.alive(run.open)
    time.sleep(0.003)
    executor.alive(run.open)
    end = executor.why_ended("000001-0000")
    assert end is not None
    assert end.kind is Kind.LOST


def _pool_rows(run: Run) -> tuple[QueueRow, QueueRow]:
    pool = replace(_row(run, "RUNNING"), index=None)
    return pool, replace(pool, name=f"{pool.name}-worker", job_id=8, array_id=8)


# --- the start of a tick ------------------------------------------------------------------------------------------


def test_what_came_to_a_good_end_is_not_read_again_by_the_next_tick(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, executor, _ = _on_tiles(workspace, 4)
    advance(run, executor)
    for attempt in run.open:
        run_chunk(run.folder.root, attempt)
    _look_again(run, executor)
    run.close()
    slow = Run(run.folder, 3)
    slow.refresh()
    fold_journals(workspace)
    quick = Run(run.folder, 3)
    monkeypatch.setattr(ADVANCE, "read_events", lambda path, offset: pytest.fail(f"read {path}"))
    quick.refresh()
    for name in ("state", "attempts", "measured_s", "expected_s", "n_done"):
        np.testing.assert_allclose(getattr(quick.board, name), getattr(slow.board, name))
    assert quick.waves == slow.waves == ["000001"]
    assert not quick.open


def test_what_the_history_does_not_hold_is_read(workspace: Workspace) -> None:
    run, executor, _ = _on_tiles(workspace, 4)
    advance(run, executor)
    for attempt in run.open:
        run_chunk(run.folder.root, attempt)
    _look_again(run, executor)
    run.close()
    (workspace.state / "history.parquet").unlink(missing_ok=True)
    again = Run(run.folder, 3)
    again.refresh()
    assert again.board.is_settled


def test_waves_with_trouble_are_read_by_every_tick(workspace: Workspace) -> None:
    """Attempts, memory asked for and reasons come from there."""
    run, executor, client = _on_tiles(workspace, 2)
    advance(run, executor)
    _begin_task(run, run.open["000001-0000"].ids[0])
    run_chunk(run.folder.root, "000001-0001")
    client.queued = lambda: [_row(run, "OUT_OF_MEMORY")]
    time.sleep(0.003)
    advance(run, executor, submit=False)
    assert not run.open
    run.close()
    fold_journals(workspace)
    tick = Run(run.folder, 3)
    tick.refresh()
    np.testing.assert_array_equal(tick.board.mem_bytes, run.board.mem_bytes)
    np.testing.assert_array_equal(tick.board.attempts, run.board.attempts)
    assert tick.board.attempts.max() == 1


def test_good_ends_that_are_not_read_again_still_forgive_what_was_before(workspace: Workspace) -> None:
    run, executor, client = _on_tiles(workspace, 2 * MAX_IDLE_LOSSES)
    advance(run, executor)
    names = list(run.open)
    lost = names[: MAX_IDLE_LOSSES - 1]
    client.queued = lambda: [_row(run, "FAILED" if name in lost else "RUNNING", i) for i, name in enumerate(names)]
    time.sleep(0.003)
    advance(run, executor)
    second = read_wave(run.folder, "000002")
    for chunk in second.chunks:
        run_chunk(run.folder.root, chunk.attempt)
    client.queued = lambda: [_row(run, "RUNNING", i) for i, name in enumerate(names) if name not in lost]
    _look_again(run, executor)
    run.close()
    fold_journals(workspace)
    tick = Run(run.folder, 3)
    tick.refresh()
    tick.losses.ended(Closed(attempt="000003-0000", kind=Kind.LOST, what="gone"), began=False)
    assert tick.losses.why_stop(n_open=1) is None
    run.losses.ended(Closed(attempt="000003-0000", kind=Kind.LOST, what="gone"), began=False)
    assert run.losses.why_stop(n_open=1) is None
