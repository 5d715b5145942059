"""Faults of daemons, jobs and the disk, one a test; each ends with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.runs import wait_for
from support.slurm import cgroup_turn, running_cluster
from support.slurm_runs import CANCELLED_BY_OTHERS, MIB, SlurmRun

from s4c_hpc.slurm.cluster import Cluster

ASLEEP_ONCE = {"end": "sleep", "times": 1}
"""The first attempt sleeps until it is killed, the next one works."""


# --- the daemons --------------------------------------------------------------------------------------------------


def test_a_forgotten_job_and_its_successor_publish_once(cluster: Cluster, tmp_path: Path, probes: Path) -> None:
    """The controller dies before it has saved a job, and its node loses its slurmd: the script runs on all the same.

    Its successor may even get the same number. Both do the task: one output is published, the other discarded.
    """
    run = SlurmRun(cluster, tmp_path, probes, products=["a"], slurm={"forgotten_after_s": 3})
    # The first attempt is at work until the driver has given it up, its successor until the first has published.
    run.behave(a={"until": ["run/*/journal/000003-0000.jsonl", "tiles/*/mid/a_1.*.arrow"]})
    state = cluster.root / "state"
    slurmds = {name.removeprefix("slurmd-"): it.pid() for name, it in cluster.daemons.items() if "slurmd-" in name}
    crash = f"""
case "$(cat "{tmp_path}/script")" in *s4c-probe-mid*) ;; *) exec "$REAL" "$@" <"{tmp_path}/script";; esac
mkdir "$ONCE" 2>/dev/null || exec "$REAL" "$@" <"{tmp_path}/script"
cp -a {state} "{tmp_path}/unsaved"
job=$("$REAL" "$@" <"{tmp_path}/script")
echo "$job"
until ls "{run.workspace.root}"/run/*/journal/000002-0000.jsonl; do sleep 0.05; done >&2
squeue --noheader --jobs="$job" --format=%N >"{tmp_path}/node"
case "$(cat "{tmp_path}/node")" in {"".join(f"{node}) PID={pid};; " for node, pid in slurmds.items())} esac
kill -9 {cluster.daemons["slurmctld"].pid()} "$PID"
rm -r {state} && mv "{tmp_path}/unsaved" {state}
touch "{tmp_path}/crashed"
"""
    run.shim("sbatch", f'cat >"{tmp_path}/script"\n{crash}')
    with run.start() as driver:
        assert wait_for((tmp_path / "crashed").exists)
        # A busy machine takes its time to end what was killed, and who seems to live is not started.
        assert wait_for(lambda: cluster.daemons["slurmctld"].pid() is None)
        cluster.start("slurmctld")
        node = (tmp_path / "node").read_text().strip()
        cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=crash")
        code, _, err = driver.finish()
    assert code == 0, err
    assert [wave.stage for wave in run.waves()] == ["probe-root", "probe-mid", "probe-mid"]
    # The run ends with the first of them to say so; the other has published and is about to.
    assert wait_for(lambda: run.kinds() == {"done": 3}), run.kinds()
    assert [row["twins"] for row in run.history() if row["twins"]] == [2], "both outputs of the later one discarded"
    run.assert_as_undisturbed(strays=True)


def test_without_accounts_a_run_finishes(run: SlurmRun) -> None:
    run.behave(a={"end": "kill", "times": 1})
    run.cluster.stop("slurmdbd")
    code, err = run.finish()
    assert code == 0, err
    assert run.kinds() == {"done": 4, "lost": 1}
    run.assert_as_undisturbed()


def test_a_task_on_a_node_that_fails_is_done_on_another(run: SlurmRun) -> None:
    run.behave(a=ASLEEP_ONCE)
    with run.start() as driver:
        run.wait_until_only_sleepers()
        node = run.running()[0][3]
        run.cluster.kill_node(node)
        assert wait_for(lambda: len(run.waves()) == 3), run.waves()
        assert run.kinds()["evicted"] == 1
        run.cluster.start(f"slurmd-{node}")
        code, _, err = driver.finish()
    assert code == 0, err
    assert run.kinds() == {"done": 4, "evicted": 1}
    run.assert_as_undisturbed(strays=True)


# --- limits of a job ----------------------------------------------------------------------------------------------

HUNGRY = {"mb": 700, "end": "sleep", "times": 1}
"""More than a job of the first class has, until it is noticed by sampling; the next attempt works."""


def _assert_only_the_hungry_is_promoted(run: SlurmRun) -> None:
    code, err = run.finish()
    assert code == 0, err
    assert run.kinds() == {"done": 5, "resource": 1}
    mids = [wave for wave in run.waves() if wave.stage == "probe-mid"]
    assert sorted((wave.mem_bytes // MIB, sum(len(c.ids) for c in wave.chunks)) for wave in mids) == [
        (512, 2),  # untouched: again as they were
        (512, 4),
        (1024, 1),
    ]
    run.assert_as_undisturbed()


def _hungry_run(cluster: Cluster, folder: Path, probes: Path) -> SlurmRun:
    """A chunk of four tasks, the second of which needs too much."""
    run = SlurmRun(
        cluster,
        folder,
        probes,
        products=["a", "b", "c", "d"],
        mem_bytes=512 * MIB,
        slurm={"min_chunk_s": 1000, "chunk_s": 1000},
    )
    run.behave(b=HUNGRY)
    return run


def test_a_task_over_its_memory_gets_more_and_its_neighbours_do_not(
    cluster: Cluster, tmp_path: Path, probes: Path
) -> None:
    _assert_only_the_hungry_is_promoted(_hungry_run(cluster, tmp_path, probes))


@pytest.fixture
def cgroup_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster | None]:
    """A cluster on which the kernel limits memory; ``None`` where this machine does not let us."""
    if Cluster.cgroups_work() is not None:
        yield None
        return
    with cgroup_turn(), running_cluster(Cluster(tmp_path_factory.mktemp("cgroup"), nodes=1, cgroup=True)) as running:
        yield running


def test_a_task_over_its_memory_where_the_kernel_limits_it(
    cgroup_cluster: Cluster | None, tmp_path: Path, probes: Path, record_property: Callable[[str, object], None]
) -> None:
    if cgroup_cluster is None:
        reason = str(Cluster.cgroups_work())
        record_property("not run", reason)
        pytest.xfail(f"not run: {reason}")
    _assert_only_the_hungry_is_promoted(_hungry_run(cgroup_cluster, tmp_path, probes))


@pytest.mark.slow
def test_a_task_over_its_time_gets_more(cluster: Cluster, tmp_path: Path, probes: Path) -> None:
    run = SlurmRun(cluster, tmp_path, probes, slurm={"start_s": 0, "chunk_s": 0.001})
    run.behave(a=ASLEEP_ONCE)
    code, err = run.finish()
    assert code == 0, err
    assert run.kinds() == {"done": 4, "time": 1}
    mids = [wave for wave in run.waves() if wave.stage == "probe-mid"]
    assert [wave.walltime_s for wave in mids] == [60, 120]
    run.assert_as_undisturbed()


# --- other people -------------------------------------------------------------------------------------------------


def test_a_job_that_has_to_make_room_is_done_again_and_not_blamed(run: SlurmRun) -> None:
    run.behave(a=ASLEEP_ONCE)
    with run.start() as driver:
        run.wait_until_only_sleepers()
        urgent = ("--qos=s4c-urgent", "--account=s4c", "--nodes=4", "--exclusive", "--output=/dev/null")
        run.cluster.run("sbatch", *urgent, "--wrap", "true")
        code, _, err = driver.finish()
    assert code == 0, err
    assert run.kinds() == {"done": 4, "evicted": 1}
    assert all(row["attempts"] == 1 for row in run.history() if row["kind"] == "done"), "it was not its fault"
    run.assert_as_undisturbed()


def test_a_running_job_cancelled_from_outside_is_done_again(run: SlurmRun) -> None:
    run.behave(a=ASLEEP_ONCE)
    with run.start() as driver:
        run.wait_until_only_sleepers()
        run.cluster.run("scancel", run.running()[0][0])
        code, _, err = driver.finish()
    assert code == 0, err
    assert run.kinds() == {"done": 4, "scancelled": 1}
    run.assert_as_undisturbed()


def test_a_waiting_job_cancelled_from_outside_is_submitted_again(
    cluster: Cluster, tmp_path: Path, probes: Path
) -> None:
    run = SlurmRun(cluster, tmp_path, probes, slurm={"chunk_s": 0.001, "throttle": 1})
    run.hold("a", "b", "c")
    with run.start() as driver:
        run.wait_until_asleep()
        waiting = [row[0] for row in run.queue() if row[1] == "PENDING"]
        assert len(waiting) == 2, run.queue()
        run.cluster.run("scancel", waiting[-1])
        run.open_gate()
        code, _, err = driver.finish()
    assert code == 0, err
    assert run.kinds() == {"done": 4}
    assert len(run.waves()) == 3
    run.assert_as_undisturbed()


def test_all_jobs_cancelled_from_outside_stop_the_run(run: SlurmRun) -> None:
    run.behave(a=ASLEEP_ONCE, b=ASLEEP_ONCE, c=ASLEEP_ONCE)
    with run.start() as driver:
        run.wait_until_asleep(3)
        run.cluster.run("scancel", "--user", str(os.getuid()))
        code, _, err = driver.finish()
    assert code == 7
    assert CANCELLED_BY_OTHERS.search(err)
    code, err = run.finish()
    assert code == 0, err
    run.assert_as_undisturbed(same_run=False)


# --- the disk -----------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_the_run_and_empties_the_queue(
    cluster: Cluster, tmp_path: Path, probes: Path, small_disk: Path | None
) -> None:
    """Without the right to mount, the tasks say themselves that the disk is full."""
    products = [f"p{i}" for i in range(6)]
    slurm = {"chunk_s": 0.001, "throttle": 2}
    payload = 300_000 if small_disk else 2000
    run = SlurmRun(cluster, small_disk or tmp_path, probes, products=products, slurm=slurm, payload_bytes=payload)
    if small_disk is None:
        run.behave(p3={"end": "full", "times": 1})
    code, err = run.finish()
    assert code == 75, err
    assert "the disk is full" in err
    assert "run again" in err
    assert run.queue() == []
    if small_disk is not None:
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    code, err = run.finish()
    assert code == 0, err
    run.assert_as_undisturbed(same_run=False)
