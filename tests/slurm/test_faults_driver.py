"""Faults of the driver, of sbatch and by people, one a test; each ends with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import signal

from support.runs import wait_for
from support.slurm_runs import SlurmRun

ASLEEP_ONCE = {"end": "sleep", "times": 1}
"""The first attempt sleeps until it is killed, the next one works."""


# --- the driver ---------------------------------------------------------------------------------------------------


def test_a_killed_driver_leaves_its_jobs_to_the_next(run: SlurmRun) -> None:
    run.hold("a", "b", "c")
    run.shim("sbatch", 'echo . >>"$ONCE"; exec "$REAL" "$@"')
    with run.start() as driver:
        run.wait_until_only_sleepers(3)
        driver.kill()
    jobs = {row[0] for row in run.queue()}
    with run.start() as driver:
        run.wait_until_looked()
        assert {row[0] for row in run.queue()} == jobs, "submitted again while its jobs live"
        run.open_gate()
        code, _, err = driver.finish()
    assert code == 0, err
    assert (run.folder / "shims" / "once").read_text().count(".") == len(run.waves()) == 2
    run.assert_as_undisturbed()


def test_a_driver_killed_before_sbatch_leaves_nothing_to_take_over(run: SlurmRun) -> None:
    """The job is looked for by its name, not found, and submitted after a while."""
    run.shim("sbatch", 'if mkdir "$ONCE" 2>/dev/null; then kill -9 $PPID; exit 1; fi\nexec "$REAL" "$@"')
    assert run.finish()[0] == -signal.SIGKILL
    assert len(run.waves()) == 1
    code, err = run.finish()
    assert code == 0, err
    assert [wave.stage for wave in run.waves()] == ["probe-root", "probe-root", "probe-mid"]
    run.assert_as_undisturbed()


def test_a_driver_killed_before_the_answer_of_sbatch_is_written_down(run: SlurmRun) -> None:
    """The job is found by its name and taken over."""
    # Held, or its work would be done before the next driver looks: then there would be nothing to take over.
    run.shim("sbatch", 'if mkdir "$ONCE" 2>/dev/null; then "$REAL" --hold "$@"; kill -9 $PPID; fi\nexec "$REAL" "$@"')
    assert run.finish()[0] == -signal.SIGKILL
    (job,) = run.queue()
    with run.start() as driver:
        assert wait_for(lambda: "pending" in str(run.view())), run.view()
        run.cluster.run("scontrol", "release", job[0].partition("_")[0])
        code, _, err = driver.finish()
    assert code == 0, err
    assert [wave.stage for wave in run.waves()] == ["probe-root", "probe-mid"]
    run.assert_as_undisturbed()


def test_two_drivers_exclude_each_other(run: SlurmRun) -> None:
    run.hold("a")
    with run.start() as first:
        run.wait_until_asleep()
        code, err = run.finish()
        assert code == 75
        assert f"another driver is at work: process {first.process.pid}" in err
        run.open_gate()
        assert first.finish()[0] == 0
    run.assert_as_undisturbed()


def test_a_driver_that_is_held_keeps_its_lease_until_it_is_killed(run: SlurmRun) -> None:
    run.hold("a")
    with run.start() as first:
        run.wait_until_asleep()
        os.kill(first.process.pid, signal.SIGSTOP)
        code, err = run.finish()
        assert code == 75
        assert "s4c cancel" in err
        first.kill()
    run.open_gate()
    code, err = run.finish()
    assert code == 0, err
    run.assert_as_undisturbed(same_run=False)


# --- sbatch -------------------------------------------------------------------------------------------------------


def test_a_job_whose_submission_timed_out_is_found_by_its_name(run: SlurmRun) -> None:
    # However slow sbatch is, it makes the job; and other commands than the first sbatch answer in time.
    run.configure(command_timeout_s=8, forgotten_after_s=60, chunk_s=0.001)
    first = 'setsid "$REAL" "$@" <&0 >/dev/null 2>&1 & exec sleep 600 </dev/null'
    run.shim("sbatch", f'if mkdir "$ONCE" 2>/dev/null; then {first}; fi\nexec "$REAL" "$@"')
    code, err = run.finish()
    assert code == 0, err
    assert "sbatch gave no answer within 8 s" in err
    assert [wave.stage for wave in run.waves()] == ["probe-root", "probe-mid"]
    run.assert_as_undisturbed()


def test_without_a_controller_work_is_submitted_later(run: SlurmRun) -> None:
    run.hold("a")
    with run.start() as driver:
        run.wait_until_asleep()
        run.cluster.stop("slurmctld", signal=signal.SIGKILL)
        assert wait_for(lambda: "contact" in str(run.view())), run.view()
        run.open_gate()
        run.cluster.start("slurmctld")
        code, _, err = driver.finish()
    assert code == 0, err
    run.assert_as_undisturbed(strays=True)


# --- people -------------------------------------------------------------------------------------------------------


def test_ctrl_c_leaves_jobs_that_the_next_run_takes_over(run: SlurmRun) -> None:
    run.hold("a", "b", "c")
    with run.start() as driver:
        run.wait_until_only_sleepers(3)
        os.kill(driver.process.pid, signal.SIGINT)
        code, _, err = driver.finish()
    assert code == 75
    assert "3 jobs stay in the queue: 's4c run' takes them over, 's4c cancel' stops them" in err
    assert len(run.queue()) == 3
    with run.start() as driver:
        run.wait_until_looked()
        run.open_gate()
        code, _, err = driver.finish()
    assert code == 0, err
    assert len(run.waves()) == 2
    run.assert_as_undisturbed()


def test_cancel_stops_a_driver_and_its_jobs(run: SlurmRun) -> None:
    run.behave(a=ASLEEP_ONCE)
    with run.start() as driver:
        run.wait_until_asleep()
        code, err = run.finish("cancel")
        assert code == 0, err
        assert driver.finish()[0] == 75
    assert run.queue() == []
    code, err = run.finish()
    assert code == 0, err
    run.assert_as_undisturbed(same_run=False)


def test_cancel_stops_a_driver_that_is_held(run: SlurmRun) -> None:
    run.behave(a=ASLEEP_ONCE)
    with run.start() as driver:
        run.wait_until_asleep()
        os.kill(driver.process.pid, signal.SIGSTOP)
        assert run.finish("cancel")[0] == 0
        assert driver.finish()[0] == 75
    assert run.queue() == []


def test_cancel_stops_jobs_that_a_killed_driver_left(run: SlurmRun) -> None:
    run.behave(a=ASLEEP_ONCE)
    with run.start() as driver:
        run.wait_until_only_sleepers()
        driver.kill()
    code, err = run.finish("cancel")
    assert code == 0, err
    assert run.queue() == []
    assert run.kinds()["cancelled"] == 1
