"""``python -m s4c_hpc.execute.pool RUN WAVE``: the job that drives a pool of dask workers, which do a wave's chunks.

Workers are jobs of their own. What a dead one was doing is found unfinished in its journal by the run's driver, which
decides on another try; a pool only goes on with the rest, and ends when there is none or nobody to do it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import dask
from dask_jobqueue import SLURMCluster
from dask_jobqueue.slurm import SLURMJob
from distributed import Client
from distributed.deploy.spec import ProcessInterface

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.errors import ExitCode, S4cError, SchedulerError
from s4c_hpc.core.log import get_logger
from s4c_hpc.execute.cluster_facts import known_cluster
from s4c_hpc.execute.manifest import Chunk, Wave, read_wave
from s4c_hpc.execute.pool_door import PoolDoor, listening_address
from s4c_hpc.execute.pool_job import WAIT_S, n_workers, worker_job, worker_job_name
from s4c_hpc.execute.pool_worker import POOL_CONFIG, work
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.script import batch_script

LOOK_S = 1.0
LOST_S = 60.0
"""A pool whose workers are all gone waits so long for one that starts again after a crash."""


def main() -> int:
    """Do the chunks of a wave that have not been begun."""
    run, wave = RunFolder(Path(sys.argv[1])), sys.argv[2]
    os.umask(0o027)
    signal.signal(signal.SIGTERM, _end)
    try:
        run_pool(run, read_wave(run, wave))
    except S4cError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return ExitCode.OK


def run_pool(run: RunFolder, wave: Wave, *, wait_s: float = WAIT_S, lost_s: float = LOST_S) -> None:
    """Start workers, give them the wave's chunks, end them.

    Parameters
    ----------
    wait_s : longest wait for the first worker
    lost_s : longest wait for a worker when all have been lost

    Raises
    ------
    SchedulerError
        If no worker comes, or none is left.
    """
    left = [chunk for chunk in wave.chunks if not (run.journals / f"{chunk.attempt}.jsonl").exists()]
    if not left:
        return
    site = run.frozen_config().slurm
    door = PoolDoor.of(run, wave.name)
    slurm = SlurmClient.of(site)
    try:
        with (
            dask.config.set({**POOL_CONFIG, "temporary-directory": str(door.folder)}),
            _workers(run, wave, site, slurm, door) as (cluster, refused),
            Client(cluster, security=door.security, set_as_default=False) as client,
        ):
            _do(run, left, cluster, client, refused, wait_s=wait_s, lost_s=lost_s)
    finally:
        # Those too whose submission was cut short.
        with contextlib.suppress(S4cError):
            slurm.cancel(names=[worker_job_name(run, wave)])
        door.remove()


class WorkerJob(SLURMJob):  # type: ignore[misc]
    """dask's idea of a worker's job, submitted as all jobs of ours are.

    Parameters
    ----------
    script : from a worker's name to its batch script
    refused : where it is said why a job was not taken
    """

    def __init__(
        self, *args: Any, script: Callable[[str], str], client: SlurmClient, refused: list[S4cError], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._script, self._client, self._refused = script, client, refused

    def job_script(self) -> str:
        """Text for sbatch."""
        return self._script(self.name)

    async def start(self) -> None:
        """Submit it."""
        try:
            self.job_id = await asyncio.to_thread(self._client.submit, self.job_script())
        except S4cError as error:
            self._refused.append(error)
        await ProcessInterface.start(self)

    async def close(self) -> None:
        """Cancel it, if it is there."""
        if self.job_id is not None:
            with contextlib.suppress(S4cError):
                await asyncio.to_thread(self._client.cancel, [self.job_id])
        await ProcessInterface.close(self)


@contextlib.contextmanager
def _workers(
    run: RunFolder, wave: Wave, site: Slurm, slurm: SlurmClient, door: PoolDoor
) -> Iterator[tuple[SLURMCluster, list[S4cError]]]:
    """The pool, and what sbatch says of workers that it does not take."""
    cluster = known_cluster(run)
    longest_s = None if cluster is None else cluster.most_for(site, wave.stage).walltime_s
    run.log(wave.stage, wave.name).parent.mkdir(parents=True, exist_ok=True)  # Slurm makes no folders for logs

    def script(name: str) -> str:
        job = worker_job(run, wave, site, worker=name, max_walltime_s=longest_s)
        return batch_script(job, site, python=sys.executable)

    refused: list[S4cError] = []
    cluster = SLURMCluster(
        name=f"{wave.name}",
        job_cls=WorkerJob,
        script=script,
        client=slurm,
        refused=refused,
        cores=1,
        processes=1,
        memory=f"{wave.mem_bytes} B",
        protocol="tls://",
        security=door.build(),
        scheduler_options={
            "host": listening_address(site.pool.interface),
            "port": 0,
            "dashboard": False,
            "dashboard_address": "127.0.0.1:0",
        },
        silence_logs=logging.CRITICAL,
    )
    with cluster:
        door.open(cluster.scheduler_address)
        cluster.scale(jobs=n_workers(wave, site))
        yield cluster, refused


def _do(
    run: RunFolder,
    chunks: Sequence[Chunk],
    cluster: SLURMCluster,
    client: Client,
    refused: Sequence[S4cError],
    *,
    wait_s: float,
    lost_s: float,
) -> None:
    changed = threading.Event()
    pending = set()
    for chunk in chunks:
        log = str(run.log(chunk.stage, chunk.attempt))
        future = client.submit(work, str(run.root), chunk.attempt, log, key=chunk.attempt, pure=False)
        future.add_done_callback(lambda _: changed.set())
        pending.add(future)
    seen, patience_s, who = time.monotonic(), wait_s, "no worker has come"
    while pending:
        changed.wait(LOOK_S)
        changed.clear()
        for future in [future for future in pending if future.done()]:
            pending.remove(future)
            if future.status != "finished":
                _warn(run, future)
        if cluster.scheduler_info["workers"]:
            seen, patience_s, who = time.monotonic(), lost_s, "no worker is left"
        elif len(refused) >= len(cluster.worker_spec) > 0:
            raise SchedulerError(f"sbatch takes no worker of the pool: {refused[0]}", where=str(run.root))
        elif pending and time.monotonic() - seen > patience_s:
            raise SchedulerError(
                f"{who} for {patience_s:g} s, {len(pending)} chunks are left for another attempt",
                where=str(run.root),
                hint="their logs are beside this one; 'squeue --me' tells what workers wait for",
            )


def _warn(run: RunFolder, future: Any) -> None:
    error = future.exception()
    get_logger("pool").warning(
        "chunk ended early", run=run.id, attempt=future.key, reason=f"{type(error).__name__}: {error}"
    )


def _end(signum: int, frame: object) -> NoReturn:  # noqa: ARG001 - the signature of a signal handler
    """Cancelled, or out of time: leave every context, which ends the workers."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
