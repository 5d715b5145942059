"""Answers about the cluster: the text of scontrol, sinfo and sacctmgr as rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from s4c_hpc.slurm.errors import SlurmFailed
from s4c_hpc.slurm.parse import FIELD
from s4c_hpc.slurm.rows import AssociationRow, ClusterLimits, NodeRow, QosRow, QosUse
from s4c_hpc.slurm.units import duration_s, integer, size_bytes, tres

NODE_FORMAT = FIELD.join(("%N", "%P", "%l", "%c", "%m", "%T"))
QOS_FORMAT = "Name,Priority,Preempt,Flags,GrpTRES,GrpJobs,GrpSubmit,MaxTRES,MaxWall,MaxTRESPU,MaxJobsPU,MaxSubmitPU"
ASSOCIATION_FORMAT = "Cluster,Account,Partition,QOS,DefaultQOS,MaxJobs,MaxSubmit,MaxWall"

Row = TypeVar("Row")


def parse_limits(stdout: str) -> ClusterLimits:
    """What ``scontrol show config`` says.

    Raises
    ------
    SlurmFailed
        If a setting that a plan needs is not there.
    """
    settings = {}
    for line in stdout.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            settings[key.strip()] = value.strip()
    try:
        return ClusterLimits(
            version=settings["SLURM_VERSION"],
            cluster=settings["ClusterName"],
            max_array=int(settings["MaxArraySize"]),
            max_jobs=int(settings["MaxJobCount"]),
            kill_wait_s=_seconds(settings["KillWait"]),
            min_job_age_s=_seconds(settings["MinJobAge"]),
            has_accounting=settings.get("AccountingStorageType", "").endswith("/slurmdbd"),
            enforced=frozenset(_words(settings.get("AccountingStorageEnforce", "none"))) - {"none"},
            preempt_mode=settings.get("PreemptMode", "OFF"),
            def_mem_per_cpu_bytes=size_bytes(settings.get("DefMemPerCPU", ""), unit="M"),
            max_mem_per_cpu_bytes=size_bytes(settings.get("MaxMemPerCPU", ""), unit="M"),
            max_mem_per_node_bytes=size_bytes(settings.get("MaxMemPerNode", ""), unit="M"),
            mpi_default=settings.get("MpiDefault", "none"),
            settings=settings,
        )
    except (KeyError, ValueError) as error:
        raise SlurmFailed(f"scontrol show config: cannot read {error}", hint="is this Slurm 20.11 or newer?") from error


def parse_nodes(stdout: str) -> list[NodeRow]:
    """Rows of ``sinfo -N -h`` in ``NODE_FORMAT``, one a node and partition."""

    def row(name: str, partition: str, limit: str, cpus: str, mem: str, state: str) -> NodeRow:
        return NodeRow(
            name=name,
            partition=partition.removesuffix("*"),
            is_default_partition=partition.endswith("*"),
            max_time_s=duration_s(limit),
            cpus=integer(cpus) or 0,
            mem_bytes=size_bytes(mem, unit="M") or 0,
            state=state,
        )

    return _rows("sinfo", stdout, FIELD, row)


def parse_qos(stdout: str, uses: Mapping[str, QosUse] | None) -> list[QosRow]:
    """Rows of ``sacctmgr -n -P show qos`` in ``QOS_FORMAT``; ``uses`` as ``parse_uses`` has them."""

    def row(
        name: str,
        priority: str,
        preempt: str,
        flags: str,
        grp_tres: str,
        grp_jobs: str,
        grp_submit: str,
        max_tres: str,
        max_wall: str,
        max_tres_pu: str,
        max_jobs_pu: str,
        max_submit_pu: str,
    ) -> QosRow:
        return QosRow(
            name=name,
            priority=integer(priority) or 0,
            preempts=_words(preempt),
            flags=frozenset(_words(flags)),
            grp_tres=tres(grp_tres),
            grp_jobs=integer(grp_jobs),
            grp_submit=integer(grp_submit),
            max_tres_per_job=tres(max_tres),
            max_wall_s=duration_s(max_wall),
            max_tres_per_user=tres(max_tres_pu),
            max_jobs_per_user=integer(max_jobs_pu),
            max_submit_per_user=integer(max_submit_pu),
            use=None if uses is None else uses.get(name),
        )

    return _rows("sacctmgr", stdout, "|", row)


def parse_associations(stdout: str) -> list[AssociationRow]:
    """Rows of ``sacctmgr -n -P show assoc`` in ``ASSOCIATION_FORMAT``."""

    def row(
        cluster: str,
        account: str,
        partition: str,
        qos: str,
        default_qos: str,
        max_jobs: str,
        max_submit: str,
        max_wall: str,
    ) -> AssociationRow:
        return AssociationRow(
            cluster=cluster,
            account=account,
            partition=partition,
            qos=_words(qos),
            default_qos=default_qos,
            max_jobs=integer(max_jobs),
            max_submit=integer(max_submit),
            max_wall_s=duration_s(max_wall),
        )

    return _rows("sacctmgr", stdout, "|", row)


def parse_uses(stdout: str) -> dict[str, QosUse]:
    """Use of every QoS from ``scontrol show assoc_mgr flags=qos``, where a limit reads ``limit(use)``."""
    uses = {}
    for block in re.split(r"^QOS=", stdout, flags=re.MULTILINE)[1:]:
        name = block.partition("(")[0]
        # The first of each is of the QoS as a whole; accounts and users follow.
        jobs = re.search(r"\bGrpJobs=\w+\((\d+)\)", block)
        submitted = re.search(r"\bGrpSubmitJobs=\w+\((\d+)\)", block)
        resources = re.search(r"\bGrpTRES=(\S*)", block)
        if jobs and submitted and resources:
            used = re.sub(r"=\w+\((\d+)\)", r"=\1", resources[1])
            uses[name] = QosUse(jobs=int(jobs[1]), submitted=int(submitted[1]), tres=tres(used))
    return uses


def _rows(program: str, stdout: str, separator: str, row: Callable[..., Row]) -> list[Row]:
    rows = []
    for line in filter(None, stdout.splitlines()):
        try:
            rows.append(row(*line.split(separator)))
        except (TypeError, ValueError) as error:
            raise SlurmFailed(f"{program} said something that cannot be read", where=repr(line)) from error
    return rows


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text) if word)


def _seconds(text: str) -> int:
    return int(text.removesuffix("sec"))
