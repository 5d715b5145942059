"""QoS on a real cluster: what is scarce waits in its own queue, and nothing else waits for it."""

from __future__ import annotations

import json
from pathlib import Path

from support.probe_stage import describe_probe
from support.runs import wait_for
from support.slurm_runs import GATE, MIB, SlurmRun

from s4c_hpc.execute.queue_view import QueueLine
from s4c_hpc.slurm.cluster import Cluster

GIB = 1024 * MIB


def test_work_that_fills_its_qos_waits_there_while_other_work_runs(
    cluster: Cluster, tmp_path: Path, probes: Path
) -> None:
    """Stage mid in ``s4c-s1`` (16 GiB at a time), jobs of 6 GiB: two run, two wait; stage leaf passes them."""
    run = SlurmRun(
        cluster,
        tmp_path,
        probes,
        stages=("probe-leaf",),
        products=["a", "b", "c", "d", "e"],
        mem_bytes=6 * GIB,
        slurm={"chunk_s": 0.001, "stages": {"probe-mid": {"qos": "s4c-s1"}}},
    )
    held = [*(f"probe-mid 32UPU {product}" for product in "bcde"), "probe-leaf 32UPU a"]
    describe_probe(run.workspace.root, behaviour={task: {"until": [GATE]} for task in held})
    seen: list[QueueLine] = []

    def others_pass() -> bool:
        view = run.view()
        lines = view.lines if view else ()
        waiting = [one for one in lines if one.reason == "QOSGrpMemLimit"]
        passing = [one for one in lines if one.stage == "probe-leaf" and one.state == "running"]
        seen[:] = [*waiting, *passing]
        return bool(waiting and passing)

    with run.start() as driver:
        assert wait_for(others_pass), run.view()
        waits, passes = seen[0], seen[-1]
        assert (waits.stage, waits.qos, waits.state) == ("probe-mid", "s4c-s1", "pending")
        assert (passes.stage, passes.qos) == ("probe-leaf", "s4c-small")
        run.open_gate()
        code, _, err = driver.finish()
    assert code == 0, err
    run.assert_as_undisturbed()


def test_jobs_go_to_the_qos_of_their_memory(cluster: Cluster, tmp_path: Path, probes: Path) -> None:
    """A task that needs more than its first class moves to the queue of larger ones."""
    by_memory = [{"qos": "s4c-small", "max_memory": "700MiB"}, {"qos": "s4c-s1"}]
    slurm = {"stages": {"probe-mid": {"qos": by_memory}}, "chunk_s": 0.001}
    run = SlurmRun(cluster, tmp_path, probes, mem_bytes=512 * MIB, slurm=slurm)
    run.behave(a={"mb": 700, "end": "sleep", "times": 1})
    code, err = run.finish()
    assert code == 0, err

    def qos_of_mids() -> list[str]:
        jobs = run.cluster.run("sacct", "-X", "-n", "-P", "-S", "now-1hours", "--format=JobName%80,QOS").splitlines()
        return sorted(job.rpartition("|")[2] for job in jobs if f"s4c-probe-mid-{run.newest.id}" in job)

    # slurmdbd hears of a job later than the run does of its end.
    assert wait_for(lambda: qos_of_mids() == ["s4c-s1", "s4c-small", "s4c-small", "s4c-small"]), qos_of_mids()
    run.assert_as_undisturbed()
    assert json.loads((run.newest.root / "cluster.json").read_text())["most"]["mem_bytes"] == 16 * GIB
