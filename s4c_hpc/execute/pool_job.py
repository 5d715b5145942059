"""What the jobs of a pool ask for: one that drives it, and one a worker."""

from __future__ import annotations

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.task import Resources
from s4c_hpc.execute.manifest import Wave
from s4c_hpc.execute.submissions import job_name
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.jobs import JobSpec
from s4c_hpc.slurm.queues import qos_for, queue_of
from s4c_hpc.slurm.script import log_pattern

MIB = 1 << 20
DRIVER_BYTES = 768 * MIB
"""dask's scheduler, and names of chunks."""
NANNY_BYTES = 128 * MIB
"""The process beside a worker that starts another one after a crash."""
WAIT_S = 1800
"""Longest wait of a pool for its first worker: it holds a core meanwhile."""


def driver_needs(wave: Wave, site: Slurm, *, max_walltime_s: int | None = None) -> Resources:
    """What the job asks for that drives the pool of a wave.

    Parameters
    ----------
    max_walltime_s : longest job of the cluster, in seconds
    """
    walltime_s = _work_s(wave, site) + site.start_s + WAIT_S
    return Resources(cpus=1, mem_bytes=DRIVER_BYTES, walltime_s=min(walltime_s, max_walltime_s or walltime_s))


def n_workers(wave: Wave, site: Slurm) -> int:
    """Number of workers that a wave can use, of those that the site gives a pool."""
    return min(site.pool.workers, len(wave.chunks))


def worker_job(run: RunFolder, wave: Wave, site: Slurm, *, worker: str, max_walltime_s: int | None = None) -> JobSpec:
    """The job of one worker.

    Parameters
    ----------
    worker : its name in the pool
    max_walltime_s : as in ``driver_needs``

    Raises
    ------
    ConfigError
        If it is larger than every QoS of the stage.
    """
    queue = queue_of(site, wave.stage)
    mem_bytes = wave.mem_bytes + site.memory_overhead + NANNY_BYTES
    return JobSpec(
        name=worker_job_name(run, wave),
        comment=run.id,
        words=("-m", "s4c_hpc.execute.pool_worker", str(run.root), wave.name, worker),
        output=log_pattern(run.log(wave.stage, wave.name).parent, f"{wave.name}-worker-%j.log"),
        workdir=str(run.workspace.root),
        cpus=wave.cpus,
        mem_bytes=mem_bytes,
        walltime_s=_worker_walltime_s(wave, site, max_walltime_s),
        qos=qos_for(queue, mem_bytes, stage=wave.stage),
        partition=queue.partition,
        account=queue.account,
    )


def working_s(wave: Wave, site: Slurm, *, max_walltime_s: int | None = None) -> int:
    """How long after its start a worker may be at work: then its job's time is up."""
    return _worker_walltime_s(wave, site, max_walltime_s) - site.start_s


def worker_job_name(run: RunFolder, wave: Wave) -> str:
    """Name of the jobs of all workers of a wave."""
    return f"{job_name(run, wave.stage, wave.name)}-worker"


def _worker_walltime_s(wave: Wave, site: Slurm, max_walltime_s: int | None) -> int:
    walltime_s = _work_s(wave, site) + site.start_s
    return min(walltime_s, max_walltime_s or walltime_s)


def _work_s(wave: Wave, site: Slurm) -> int:
    """Most that the pool is at work, in seconds: every worker does its share of chunks, each as long as the longest."""
    return -(-len(wave.chunks) // n_workers(wave, site)) * wave.walltime_s
