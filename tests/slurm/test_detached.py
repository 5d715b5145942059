"""Runs that drive themselves: a chain of tiny jobs, whatever becomes of the shell that began it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import psutil
import pytest
from support.runs import wait_for
from support.slurm_runs import CANCELLED_BY_OTHERS, SlurmDriver, SlurmRun, add_qos

from s4c_hpc.execute import current_owner, status
from s4c_hpc.execute.detach import is_detached, why_stopped
from s4c_hpc.slurm.cluster import Cluster


@pytest.fixture
def run(cluster: Cluster, tmp_path: Path, probes: Path) -> SlurmRun:
    return SlurmRun(cluster, tmp_path, probes, slurm={"chunk_s": 0.001})


def _ticks(run: SlurmRun, *options: str) -> list[str]:
    names = run.cluster.run("squeue", "-h", "-o", "%i %j", *options).splitlines()
    return [line.split()[0] for line in names if "s4c-tick" in line]


def _is_complete(run: SlurmRun) -> bool:
    found = status(run.workspace)
    return found is not None and found.progress.is_settled and not _ticks(run)


def test_it_goes_on_after_whoever_began_it_has_gone(cluster: Cluster, tmp_path: Path, probes: Path) -> None:
    run = SlurmRun(cluster, tmp_path, probes, stages=("probe-sum",))
    with run.start("detach") as shell:  # a session of its own, which ends with it
        code, _, err = shell.finish()
        assert code == 0, err
        assert shell.family() == []
    assert is_detached(run.newest)
    assert wait_for(lambda: _is_complete(run)), run.cluster.run("squeue")
    run.assert_as_undisturbed()


def test_a_killed_tick_does_not_break_the_chain(run: SlurmRun) -> None:
    run.hold("a")
    assert run.finish("detach")[0] == 0
    killed: set[int] = set()

    def strike() -> bool:
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "s4c_hpc.execute.tick" in words and str(run.newest.root) in words and len(_ticks(run)) > 1:
                with contextlib.suppress(psutil.NoSuchProcess):  # it came to its end meanwhile
                    process.kill()
                    killed.add(process.pid)
        return len(killed) >= 2

    assert wait_for(strike), killed
    run.open_gate()
    assert wait_for(lambda: _is_complete(run)), run.cluster.run("squeue")
    run.assert_as_undisturbed()


def test_a_run_in_the_foreground_takes_a_detached_one_over(run: SlurmRun) -> None:
    run.hold("a")
    assert run.finish("detach")[0] == 0
    run.wait_until_asleep()
    code, err = 75, "another driver is at work"
    while code == 75 and "another driver is at work" in err:  # a tick, just now
        with run.start() as driver:
            if _takes_over(run, driver):
                run.open_gate()
            code, _, err = driver.finish()
    assert code == 0, err
    run.assert_as_undisturbed()


def test_cancel_ends_the_chain_and_the_jobs(run: SlurmRun) -> None:
    run.behave(a={"end": "sleep", "times": 1})
    assert run.finish("detach")[0] == 0
    run.wait_until_asleep()
    code, err = run.finish("cancel")
    assert code == 0, err
    assert why_stopped(run.newest) == "cancelled by 's4c cancel'"
    assert wait_for(lambda: not run.cluster.run("squeue", "-h"))
    assert run.finish("detach")[0] == 0
    assert wait_for(lambda: _is_complete(run))
    run.assert_as_undisturbed(same_run=False)


def test_it_stops_and_says_why_when_jobs_do_not_start(run: SlurmRun) -> None:
    """What one tick sees is little; what all of them saw is in the journals."""
    text = 'case "$SLURM_JOB_NAME" in s4c-probe*) echo no module >&2; exit 3;; esac'
    setup = [*_setup(run), text]
    run.configure(launch={"setup": setup})
    assert run.finish("detach")[0] == 0
    assert wait_for(lambda: why_stopped(run.newest) is not None)
    assert "5 chunks in a row ended before their first task began" in str(why_stopped(run.newest))
    assert "no module" in str(why_stopped(run.newest))
    assert wait_for(lambda: not run.cluster.run("squeue", "-h"))
    run.configure()
    assert run.finish("detach")[0] == 0
    assert wait_for(lambda: _is_complete(run))
    run.assert_as_undisturbed(same_run=False)


def test_jobs_that_all_were_cancelled_from_outside_end_the_chain(run: SlurmRun) -> None:
    run.behave(**{product: {"end": "sleep", "times": 1} for product in "abc"})
    assert run.finish("detach")[0] == 0
    run.wait_until_asleep(3)
    run.cluster.run("scancel", *{row[0].partition("_")[0] for row in run.queue()})
    assert wait_for(lambda: why_stopped(run.newest) is not None)
    assert CANCELLED_BY_OTHERS.search(str(why_stopped(run.newest)))


def test_a_queue_without_room_for_the_next_tick_makes_the_present_one_stand_in(run: SlurmRun) -> None:
    add_qos(run.cluster, "s4c-one", "MaxSubmitJobsPU=1")
    stages = {stage: {"qos": "s4c-small"} for stage in ("probe-root", "probe-mid")}
    run.configure(qos="s4c-one", stages=stages, chunk_s=0.001)
    assert run.finish("detach")[0] == 0
    assert wait_for(lambda: _is_complete(run)), run.cluster.run("squeue")
    logs = (run.newest.root / "logs" / "tick" / "tick.log").read_text()
    assert "the next tick is not submitted yet" in logs
    assert "MaxSubmit" in logs
    run.assert_as_undisturbed()


def _takes_over(run: SlurmRun, driver: SlurmDriver) -> bool:
    """Whether the driver has become the one of the run; else it has ended."""

    def owns() -> bool:
        owner = current_owner(run.workspace)
        return owner is not None and owner.pid == driver.process.pid

    assert wait_for(lambda: owns() or driver.process.poll() is not None)
    return driver.process.poll() is None


def _setup(run: SlurmRun) -> list[str]:
    lines: list[str] = json.loads((run.workspace.root / "config.json").read_text())["slurm"]["launch"]["setup"]
    return lines
