"""A cluster as it describes itself, for tests of what is made of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from s4c_hpc.slurm.admin import PROGRAMS
from s4c_hpc.slurm.finding import Survey
from s4c_hpc.slurm.parse_site import parse_limits
from s4c_hpc.slurm.partitions import parse_mpi_plugins, parse_partitions
from s4c_hpc.slurm.rows import AssociationRow, ClusterLimits, NodeRow, QosRow

GIB = 2**30

CONFIG = {
    "ClusterName": "example",
    "SLURM_VERSION": "22.05.8",
    "MaxArraySize": "1001",
    "MaxJobCount": "10000",
    "KillWait": "30 sec",
    "MinJobAge": "300 sec",
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AccountingStorageEnforce": "associations,limits,qos",
    "SelectTypeParameters": "CR_CORE_MEMORY",
    "DefMemPerCPU": "500",
    "MpiDefault": "pmi2",
    "PreemptMode": "REQUEUE",
    "PreemptType": "preempt/qos",
    "TaskPlugin": "task/none",
    "JobAcctGatherParams": "UsePss,OverMemoryKill",
}

PARTITIONS = (
    "PartitionName=main AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A "
    "MaxTime=UNLIMITED State=UP SelectTypeParameters=NONE\n"
    "PartitionName=small AllowAccounts=proj,lab AllowQos=normal Default=NO MaxTime=00:10:00 State=UP "
    "SelectTypeParameters=NONE\n"
    "PartitionName=old AllowAccounts=ALL AllowQos=ALL Default=NO MaxTime=2-00:00:00 State=DRAIN "
    "SelectTypeParameters=CR_CORE\n"
)

MPI = (
    "MPI plugin types are...\n\tpmix\n\tnone\n\tcray_shasta\n\tpmi2\nspecific pmix plugin versions available: pmix_v4\n"
)


def limits(**settings: str) -> ClusterLimits:
    """The cluster's settings with some changed."""
    return parse_limits("".join(f"{key} = {value}\n" for key, value in {**CONFIG, **settings}.items()))


def nodes(n: int = 2, *, cpus: int = 4, gib: int = 16, partition: str = "main", state: str = "idle") -> list[NodeRow]:
    """Equal nodes of one partition."""
    return [
        NodeRow(
            name=f"n{i}",
            partition=partition,
            is_default_partition=partition == "main",
            max_time_s=None,
            cpus=cpus,
            mem_bytes=gib * GIB,
            state=state,
        )
        for i in range(1, n + 1)
    ]


def qos(name: str, **limits: Any) -> QosRow:
    """A QoS without limits but those given."""
    row = QosRow(
        name=name,
        priority=0,
        preempts=(),
        flags=frozenset({"DenyOnLimit"}),
        grp_tres={},
        grp_jobs=None,
        grp_submit=None,
        max_tres_per_job={},
        max_wall_s=None,
        max_tres_per_user={},
        max_jobs_per_user=None,
        max_submit_per_user=None,
        use=None,
    )
    return replace(row, **limits)


def association(account: str = "proj", *names: str, max_submit: int | None = None) -> AssociationRow:
    """What the user may do under an account: in QoS ``normal`` if none is named."""
    return AssociationRow(
        cluster="example",
        account=account,
        partition="",
        qos=names or ("normal",),
        default_qos="normal",
        max_jobs=None,
        max_submit=max_submit,
        max_wall_s=None,
    )


def survey(**changed: Any) -> Survey:
    """What a sound cluster says, with some of it changed."""
    sound = Survey(
        user="anna",
        versions=dict.fromkeys(PROGRAMS, "slurm-wlm 22.05.8"),
        limits=limits(),
        partitions=parse_partitions(PARTITIONS),
        nodes=[*nodes(), *nodes(1, partition="small"), *nodes(1, partition="old")],
        associations=[association()],
        qos={"normal": qos("normal")},
        accounting_trouble="",
        mpi=parse_mpi_plugins(MPI),
        trials={},
    )
    return replace(sound, **changed)
