"""What the jobs of a pool ask for, and who is let in. Pools at work are in ``tests/slurm``."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.core.task import Launch
from s4c_hpc.execute.manifest import Chunk, Wave, attempt_name
from s4c_hpc.execute.pool_door import PoolDoor, listening_address
from s4c_hpc.execute.pool_job import driver_needs, n_workers, worker_job, working_s
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.script import batch_script

MIB = 1 << 20
RUN = RunFolder(Path("/data/ws/run/0197f2a0-0000-7000-8000-000000000000"))


def wave(n_chunks: int) -> Wave:
    chunks = [
        Chunk(
            attempt=attempt_name("000007", i),
            stage="gather",
            ids=(f"{i}",),
            numbers=(1,),
            seconds=(100 + i,),
            cpus=2,
            mem_bytes=1000 * MIB,
        )
        for i in range(n_chunks)
    ]
    return Wave(name="000007", launch=Launch.POOL, chunks=tuple(chunks))


def site(**values: Any) -> Slurm:
    return Slurm.model_validate({"pool": {"workers": 4}, **values})


def test_a_worker_asks_for_the_share_of_work_that_it_may_get() -> None:
    needs = driver_needs(wave(10), site())
    job = worker_job(RUN, wave(10), site(), worker="w-0")
    assert (job.cpus, job.mem_bytes) == (2, (1000 + 256 + 128) * MIB)
    assert job.walltime_s == 3 * 109 + 120, "three rounds of the longest chunk"
    assert (needs.cpus, needs.walltime_s) == (1, job.walltime_s + 1800)
    assert driver_needs(wave(10), site(), max_walltime_s=600).walltime_s == 600
    assert worker_job(RUN, wave(10), site(), worker="w", max_walltime_s=60).walltime_s == 60
    assert working_s(wave(10), site()) == 3 * 109, "not of the first round only"
    assert working_s(wave(10), site(), max_walltime_s=200) == 80
    assert n_workers(wave(3), site()) == 3
    assert driver_needs(wave(3), site()).walltime_s == 102 + 120 + 1800


def test_the_job_of_a_worker_tells_where_to_find_the_pool_and_nothing_more() -> None:
    profile = site(partition="cpu", stages={"gather": {"qos": "s4c-gather", "account": "farm", "partition": "big"}})
    text = batch_script(worker_job(RUN, wave(10), profile, worker="w-0"), profile, python="/opt/py")
    name = f"s4c-gather-{RUN.id}-000007-worker"
    for line in (
        f"#SBATCH --job-name={name}",
        f"#SBATCH --output={RUN.root}/logs/gather/000007-worker-%j.log",
        "#SBATCH --no-requeue",
        "#SBATCH --qos=s4c-gather",
        "#SBATCH --partition=big",
        "#SBATCH --account=farm",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=1384M",
        "umask 0027",
        "export OMP_NUM_THREADS=2",
        f"exec /opt/py -m s4c_hpc.execute.pool_worker {RUN.root} 000007 w-0",
    ):
        assert line in text.splitlines()


def test_only_its_user_can_look_behind_the_door(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run" / RUN.id)
    door = PoolDoor.of(run, "000007")
    first = door.build()
    key = (door.folder / "key.pem").read_text()
    door.open("tls://10.0.0.1:4242")
    assert door.address == "tls://10.0.0.1:4242"
    assert stat.S_IMODE(door.folder.stat().st_mode) == 0o700
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in door.folder.iterdir()} == {
        "address": 0o600,
        "cert.pem": 0o600,
        "key.pem": 0o600,
    }
    assert first.require_encryption
    assert "PRIVATE KEY" not in repr(first)
    assert {first.tls_worker_key, first.tls_scheduler_key, first.tls_client_key} == {str(door.folder / "key.pem")}

    door.build()
    assert (door.folder / "key.pem").read_text() != key, "another pool has another key"
    with pytest.raises(SchedulerError, match="the pool is gone"):
        _ = door.address
    door.remove()
    assert not door.folder.exists()


def test_one_address_is_listened_on() -> None:
    assert listening_address("lo") == "127.0.0.1"
    assert listening_address(None, "127.0.0.1") == "127.0.0.1"
    with pytest.raises(SchedulerError, match=r"slurm\.pool\.interface: this node has no address on .* 'ib7'"):
        listening_address("ib7")
