"""Runs on a real cluster without faults, and what a site may limit."""

from __future__ import annotations

from pathlib import Path

from support.slurm_runs import SlurmRun, add_qos

from s4c_hpc.slurm.cluster import Cluster

CHAIN = ("probe-sum",)


def test_a_run_gives_the_bytes_of_a_local_one(cluster: Cluster, tmp_path: Path, probes: Path) -> None:
    run = SlurmRun(cluster, tmp_path, probes, stages=CHAIN, products=["a", "b", "c", "d"])
    code, err = run.finish()
    assert code == 0, err
    run.assert_as_undisturbed()
    stages = dict.fromkeys(wave.stage for wave in run.waves())
    assert list(stages) == ["probe-root", "probe-mid", "probe-leaf", "probe-sum"]


def test_any_path_will_do(cluster: Cluster, tmp_path: Path, probes: Path) -> None:
    run = SlurmRun(cluster, tmp_path, probes, name='it\'s 100% "mine" $HOME %j')
    code, err = run.finish()
    assert code == 0, err
    run.assert_as_undisturbed()


def test_an_array_larger_than_the_site_allows_is_split(cluster: Cluster, tmp_path: Path, probes: Path) -> None:
    products = [f"p{i}" for i in range(7)]
    run = SlurmRun(cluster, tmp_path, probes, products=products, slurm={"max_array": 3, "chunk_s": 0.001})
    code, err = run.finish()
    assert code == 0, err
    assert [len(wave.chunks) for wave in run.waves()] == [1, 3, 3, 1]
    run.assert_as_undisturbed()


def test_a_full_queue_is_waited_for(cluster: Cluster, tmp_path: Path, probes: Path) -> None:
    """A QoS that takes three jobs at a time, and waves of up to eight: halved until they fit, then in small waves."""
    add_qos(cluster, "s4c-three", "MaxSubmitJobsPU=3")
    slurm = {"qos": "s4c-three", "chunk_s": 0.001}
    run = SlurmRun(cluster, tmp_path, probes, products=[f"p{i}" for i in range(8)], slurm=slurm)
    code, err = run.finish()
    assert code == 0, err
    assert "the queue takes no more for now" in err
    assert "MaxSubmit" in err
    run.assert_as_undisturbed()
    # One a poll would be more than a hundred; elements that Slurm is still completing count towards its limit.
    assert len(run.waves()) <= 25, "it hammers"


def test_what_sbatch_refuses_for_good_stops_the_run_with_its_words(
    cluster: Cluster, tmp_path: Path, probes: Path
) -> None:
    run = SlurmRun(cluster, tmp_path, probes, slurm={"qos": "no-such-qos"})
    code, err = run.finish()
    assert code == 7
    assert "Invalid qos" in err
    assert "slurm.qos" in err
    run.configure()
    assert run.finish()[0] == 0
    run.assert_as_undisturbed(same_run=False)


def test_workers_that_cannot_start_stop_the_run_with_their_last_words(
    cluster: Cluster, tmp_path: Path, probes: Path
) -> None:
    run = SlurmRun(cluster, tmp_path, probes, slurm={"launch": {"setup": ["echo no module >&2; exit 3"]}})
    code, err = run.finish()
    assert code == 7
    assert "ended before their first task began" in err
    assert "no module" in err
    run.configure()
    assert run.finish()[0] == 0
    run.assert_as_undisturbed(same_run=False)
