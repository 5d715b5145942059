"""What is asked of Slurm for a wave. Pure."""

from __future__ import annotations

from s4c_hpc.config.slurm import Slurm
from s4c_hpc.core.task import Launch, Resources
from s4c_hpc.execute.manifest import Wave
from s4c_hpc.execute.pool_job import driver_needs
from s4c_hpc.execute.submissions import job_name
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.jobs import JobSpec
from s4c_hpc.slurm.queues import qos_for, qos_of, queue_of, queues
from s4c_hpc.slurm.script import log_pattern

MIB = 1 << 20
_CLASSES = tuple(int(step * (256 * MIB) * 2**power) for power in range(13) for step in (1, 1.5))
"""256 MiB, 384 MiB, 512 MiB ... 1.5 TiB: tasks of about one size share an array, and half of it is the most lost."""

_MODULES = {Launch.ARRAY: "element", Launch.MPI: "ranks", Launch.POOL: "pool"}


def memory_classes(site: Slurm) -> tuple[int, ...]:
    """Amounts that tasks ask for, ascending, in bytes.

    Where a QoS ends, a class ends: what fits into the QoS by its own bound must not miss it by being rounded up.
    """
    tops = {
        int(most) - site.memory_overhead for queue in queues(site).values() for most in qos_of(queue).values() if most
    }
    return tuple(sorted({*_CLASSES, *(top for top in tops if top > 0)}))


def job_of(run: RunFolder, wave: Wave, site: Slurm, *, max_walltime_s: int | None) -> JobSpec:
    """The job of a wave: an array, or the job that drives a pool.

    Parameters
    ----------
    max_walltime_s : longest job of the cluster, in seconds

    Raises
    ------
    ConfigError
        If it is larger than every QoS of its stage, or Slurm cannot write logs into the run.
    """
    queue = queue_of(site, wave.stage)
    is_pool = wave.launch is Launch.POOL
    needs = Resources(
        cpus=wave.cpus, mem_bytes=wave.mem_bytes + site.memory_overhead, walltime_s=wave.walltime_s + site.start_s
    )
    if is_pool:
        needs = driver_needs(wave, site, max_walltime_s=max_walltime_s)
    return JobSpec(
        name=job_name(run, wave.stage, wave.name),
        comment=run.id,
        words=("-m", f"s4c_hpc.execute.{_MODULES[wave.launch]}", str(run.root), wave.name),
        output=log_pattern(
            run.log(wave.stage, wave.name).parent, f"{wave.name}.log" if is_pool else f"{wave.name}-%4a.log"
        ),
        workdir=str(run.workspace.root),
        cpus=needs.cpus,
        ranks=needs.cpus if wave.launch is Launch.MPI else None,
        mem_bytes=needs.mem_bytes,
        walltime_s=needs.walltime_s,
        n_elements=None if is_pool else len(wave.chunks),
        throttle=queue.throttle,
        qos=qos_for(queue, needs.mem_bytes, stage=wave.stage),
        partition=queue.partition,
        account=queue.account,
    )
