"""``python -m s4c_hpc.execute.pool_worker RUN WAVE NAME``: a worker of a pool, in a job of its own.

Two processes: one does chunks, the other starts it again after a crash in native code. dask loads this module in the
first as well (``preload``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import dask
from distributed import Nanny
from distributed.comm import get_address_host

from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.execute import local_worker
from s4c_hpc.execute.cluster_facts import known_cluster
from s4c_hpc.execute.local import DASK_CONFIG
from s4c_hpc.execute.manifest import read_wave
from s4c_hpc.execute.pool_door import PoolDoor, listening_address
from s4c_hpc.execute.pool_job import working_s
from s4c_hpc.plan import RunFolder

DEATH_TIMEOUT_S = 60
"""A worker that does not find its pool for so long gives up."""
WATCH_S = 10.0
"""Pause between two questions whether the pool is still there."""
DEADLINE = "S4C_DEADLINE"
"""Environment variable: when the job's time is up, by ``time.monotonic()``."""

POOL_CONFIG: dict[str, Any] = {
    **DASK_CONFIG,
    "distributed.scheduler.worker-saturation": 1.0,  # else chunks wait behind others on a worker, and die with it
    "distributed.deploy.lost-worker-timeout": "1h",  # a worker that crashed comes back by itself
    "distributed.nanny.pre-spawn-environ": {},  # the job's script has set what there is to set
    "distributed.comm.require-encryption": True,
}


def main() -> int:
    """Work until the pool closes, or is gone."""
    began = time.monotonic()
    run, wave_name, name = RunFolder(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
    os.umask(0o027)
    wave, site, cluster = read_wave(run, wave_name), run.frozen_config().slurm, known_cluster(run)
    longest_s = None if cluster is None else cluster.most_for(site, wave.stage).walltime_s
    deadline = began + working_s(wave, site, max_walltime_s=longest_s)
    try:
        with dask.config.set(POOL_CONFIG):
            asyncio.run(serve(PoolDoor.of(run, wave_name), name, site.pool.interface, deadline))
    except (SchedulerError, TimeoutError) as error:
        sys.stderr.write(f"{error or 'the pool does not answer'}\n")
        return SchedulerError.exit_code
    return 0


async def serve(door: PoolDoor, name: str, interface: str | None, deadline: float) -> None:
    """Do what the scheduler behind ``door`` gives, until it closes."""
    address = door.address
    nanny = Nanny(
        address,
        name=name,
        nthreads=1,
        memory_limit=0,
        host=listening_address(interface, get_address_host(address)),
        protocol="tls://",
        security=door.security,
        death_timeout=DEATH_TIMEOUT_S,
        local_directory=str(door.folder),
        preload=["s4c_hpc.execute.pool_worker"],
        env={DEADLINE: str(deadline)},
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )
    async with nanny:
        ended = {asyncio.create_task(nanny.finished()), asyncio.create_task(_until_gone(nanny))}
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        # The worker process may be deaf, in native code: the kernel kills it at the end of this one.
        os._exit(0)


async def _until_gone(nanny: Nanny) -> None:
    """Return when the scheduler does not answer any more."""
    with contextlib.suppress(OSError):
        while True:
            await asyncio.sleep(WATCH_S)
            await nanny.scheduler.identity(n_workers=0)


def dask_setup(worker: Any) -> None:
    """Tie the process that works to the one that watches over it."""
    local_worker.dask_setup(worker)


def dask_teardown(worker: Any) -> None:  # noqa: ARG001 - the signature is dask's
    """End at once: a pool that closes has no work left, and the work of one that is gone is done by others."""
    os._exit(0)


def work(run_dir: str, attempt: str, log: str) -> None:
    """Do a chunk; see ``local_worker.work``."""
    local_worker.work(run_dir, attempt, log, job=os.environ.get("SLURM_JOB_ID"), deadline=float(os.environ[DEADLINE]))


if __name__ == "__main__":
    sys.exit(main())
