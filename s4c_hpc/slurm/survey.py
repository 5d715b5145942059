"""Asks a cluster what ``s4c slurm check`` compares a profile with."""

from __future__ import annotations

import sys

from s4c_hpc.config.slurm import Slurm, StageQueue
from s4c_hpc.core.errors import S4cError
from s4c_hpc.slurm.admin import AdminClient
from s4c_hpc.slurm.finding import Survey
from s4c_hpc.slurm.jobs import JobSpec
from s4c_hpc.slurm.qos import user_name
from s4c_hpc.slurm.queues import OTHERS, qos_of, queues
from s4c_hpc.slurm.rows import AssociationRow, ClusterLimits, QosRow
from s4c_hpc.slurm.script import batch_script

_MEMORY = 1024**3
"""Of a trial where the profile names no largest job."""
_MINUTES = 60


def take_survey(client: AdminClient, site: Slurm) -> Survey:
    """Everything that is compared. Nothing is changed, no job is made.

    Raises
    ------
    SlurmMissing
        If there is no Slurm here.
    SlurmUnreachable
        If its controller does not answer.
    """
    versions = client.versions()
    limits = client.limits()
    associations: list[AssociationRow] | None = None
    qos: dict[str, QosRow] | None = None
    trouble = ""
    if limits.has_accounting:
        try:
            associations = [row for row in client.associations() if row.cluster == limits.cluster]
            qos = {row.name: row for row in client.qos()}
        except S4cError as error:
            associations, trouble = None, str(error)
    return Survey(
        user=user_name(),
        versions=versions,
        limits=limits,
        partitions=client.partitions(),
        nodes=client.nodes(),
        associations=associations,
        qos=qos,
        accounting_trouble=trouble,
        mpi=client.mpi_plugins(),
        trials={label: client.trial(text) for label, text in trial_scripts(site, limits).items()},
    )


def trial_scripts(site: Slurm, limits: ClusterLimits) -> dict[str, str]:
    """Batch scripts of the largest jobs that each QoS of each stage may get, by stages and QoS.

    The array is as long as the cluster, the profile and the submission window let it be.
    """
    n_elements = min(site.max_array or limits.max_array, site.max_submitted)
    users: dict[tuple[str, str | None], list[str]] = {}
    for stage, queue in queues(site).items():
        choices: list[tuple[str | None, int | None]] = [*qos_of(queue).items()] or [(None, None)]
        for qos, most in choices:
            script = batch_script(trial_job(site, queue, qos, most, n_elements), site, python=sys.executable)
            users.setdefault((script, qos), []).append("other stages" if stage == OTHERS else stage)
    return {
        ", ".join(stages) + (f" in {qos}" if qos is not None else ""): script for (script, qos), stages in users.items()
    }


def trial_job(site: Slurm, queue: StageQueue, qos: str | None, most: int | None, n_elements: int | None) -> JobSpec:
    """The largest job of a queue, doing nothing."""
    bounds = [int(size) for size in (most, site.max_memory) if size is not None]
    return JobSpec(
        name="s4c-check",
        comment="s4c slurm check",
        words=("-c", "pass"),
        output="/dev/null",
        workdir="/",
        cpus=1,
        mem_bytes=min(bounds, default=_MEMORY),
        walltime_s=60 * (site.max_minutes or _MINUTES),
        n_elements=n_elements,
        qos=qos,
        partition=queue.partition,
        account=queue.account,
    )
