"""The QoS set of s4c-hpc: limits from the site profile and the cluster's size, as ``sacctmgr`` commands. Pure."""

from __future__ import annotations

import math
import os
import pwd
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ByteSize

from s4c_hpc.config.slurm import QosLimits, Slurm
from s4c_hpc.core.errors import ConfigError, SchedulerError
from s4c_hpc.core.text import human_bytes
from s4c_hpc.slurm.queues import OTHERS, qos_of, queues
from s4c_hpc.slurm.rows import ClusterLimits, NodeRow, QosRow
from s4c_hpc.slurm.sizing import Node, usable_nodes

PREFIX = "s4c-"
"""Of the QoS that are ours to make and change; all others are the site's and left as they are."""

_GIB = 1024**3
_S1_SHARES = {16: 0.5, 32: 0.25, 64: 0.1}
"""Class of a Sentinel-1 job in GiB -> share of all memory that the class may hold, or one job if that is more.
They leave 15 % to other work when every class is full; a site that runs Sentinel-1 only will give more."""

_CORE_SHARES = {
    "s4c-mdb": (20, 0.75, "marker database: mask, index, gather, stats, merge; three quarters of the cores"),
    "s4c-lai": (20, 0.5, "biophysical variables (LAI, FAPAR, FCOVER); half of the cores"),
    "s4c-l4a": (30, 0.5, "crop type (L4A); half of the cores"),
}
"""QoS -> priority, share of all cores, what for."""


def standard_set(nodes: Sequence[Node]) -> dict[str, QosLimits]:
    """The QoS set for a cluster of these nodes: Sentinel-1 by memory, LAI, MDB, L4A, and one for all else.

    Classes of Sentinel-1 that no node can hold are left out.
    """
    cores, memory = sum(node.cpus for node in nodes), sum(node.mem_bytes for node in nodes)
    largest = max((node.mem_bytes for node in nodes), default=0)
    found = {"s4c-default": QosLimits(why="whatever has no QoS of its own, the driver among it; no limit", priority=10)}
    for name, (priority, share, why) in _CORE_SHARES.items():
        found[name] = QosLimits(why=why, priority=priority, group_cpus=max(1, int(share * cores)))
    for gib, share in _S1_SHARES.items():
        if gib * _GIB <= largest:
            found[f"s4c-s1-{gib}g"] = QosLimits(
                why=f"Sentinel-1 jobs of up to {gib} GiB; {share:.0%} of the memory, so that other work goes on",
                priority=40,
                job_memory=ByteSize(gib * _GIB),
                group_memory=ByteSize(max(gib * _GIB, int(share * memory) // _GIB * _GIB)),
            )
    return found


def qos_set(site: Slurm, nodes: Sequence[Node]) -> dict[str, QosLimits]:
    """Our QoS with their limits: those that the profile names, or the standard set if it names none.

    Limits of a QoS are those of ``slurm.qos_limits``, else of the standard set, else none. The largest job of a QoS
    that is chosen by memory is ``max_memory`` of the choice.
    """
    standard = standard_set(nodes)
    users: dict[str, list[str]] = {name: [] for name in site.qos_limits}
    job_memory: dict[str, float] = {}
    for stage, queue in queues(site).items():
        for name, most in qos_of(queue).items():
            if name.startswith(PREFIX):
                users.setdefault(name, []).append("all other stages" if stage == OTHERS else stage)
                job_memory[name] = max(math.inf if most is None else most, job_memory.get(name, 0))
    if not users:
        return standard
    found = {}
    for name, stages in users.items():
        limits = site.qos_limits.get(name) or standard.get(name) or QosLimits()
        update: dict[str, object] = {}
        if not limits.why:
            update["why"] = f"stages: {', '.join(stages)}" if stages else "named by slurm.qos_limits only"
        if name not in site.qos_limits and math.isfinite(job_memory[name]):
            update["job_memory"] = ByteSize(job_memory[name])
        found[name] = limits.model_copy(update=update)
    return found


def foreign_qos(site: Slurm) -> list[str]:
    """QoS in the profile that are the site's own: never touched."""
    named = {name for queue in queues(site).values() for name in qos_of(queue)}
    return sorted(name for name in named if not name.startswith(PREFIX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Who may use the set."""

    cluster: str
    """Accounting may serve several clusters."""
    users: tuple[str, ...]
    accounts: tuple[str, ...] = ()
    """None: every account of the user."""


def add_command(name: str) -> list[str]:
    """Makes a QoS; fails if it is there."""
    return ["sacctmgr", "-i", "add", "qos", name]


def modify_command(name: str, limits: QosLimits) -> list[str]:
    """Sets every limit of a QoS, also those that are not limited: the result does not depend on what was there.

    What a QoS preempts is only ever set, never cleared: after that, slurmdbd 22.05 sees a "preemption loop" in every
    QoS that preempts this one, until it is started anew. ``left_preempting`` names what has to be cleared by hand.
    """
    return [
        *("sacctmgr", "-i", "modify", "qos", "where", f"name={name}", "set"),
        f"Priority={limits.priority}",
        "Flags=DenyOnLimit",  # a job that can never start is refused at once instead of waiting for ever
        f"GrpJobs={_number(limits.group_jobs)}",
        f"GrpTRES=cpu={_number(limits.group_cpus)},mem={_megabytes(limits.group_memory)}",
        f"MaxTRESPerJob=mem={_megabytes(limits.job_memory)}",
        *([f"Preempt={','.join(limits.preempts)}"] if limits.preempts else []),
    ]


def left_preempting(limits: Mapping[str, QosLimits], existing: Mapping[str, QosRow]) -> dict[str, tuple[str, ...]]:
    """QoS that preempt others on the cluster though they are to preempt none, with those others."""
    there = {name: existing[name].preempts for name, own in limits.items() if name in existing and not own.preempts}
    return {name: preempts for name, preempts in there.items() if preempts}


def grant_commands(names: Iterable[str], grant: Grant) -> list[list[str]]:
    """Let users of a cluster use the QoS beside those that they have."""
    listed = ",".join(names)
    return [
        [
            *("sacctmgr", "-i", "modify", "user", "where", f"name={user}"),
            *([] if account is None else [f"account={account}"]),
            *(f"cluster={grant.cluster}", "set", f"qos+={listed}"),
        ]
        for user in grant.users
        for account in (grant.accounts or (None,))
    ]


def qos_script(
    limits: Mapping[str, QosLimits], nodes: Sequence[Node], grant: Grant, foreign: Sequence[str] = ()
) -> str:
    """The set as a shell script that may be run again.

    Parameters
    ----------
    limits : QoS by name; in this order
    nodes : that the limits were made for
    grant : who may use them
    foreign : the site's own QoS that the profile names
    """
    cores, memory = sum(node.cpus for node in nodes), sum(node.mem_bytes for node in nodes)
    lines = [
        "#!/bin/sh",
        f"# QoS of s4c-hpc for cluster {grant.cluster}: {len(nodes)} node(s), {cores} cores, {human_bytes(memory)}.",
        "# Written by 's4c slurm qos'; may be run again. Needs an operator of Slurm's accounting; of effect only where",
        "# AccountingStorageEnforce in slurm.conf has 'limits' and 'qos'.",
        "# DenyOnLimit: a job that could never start is refused at once. -1: no limit.",
        "set -eu",
    ]
    if foreign:
        lines.append(f"# The profile also names {', '.join(foreign)}: the site's own, left as they are.")
    lines.append("")
    for name in limits:  # all before the first limit: one may name another that its jobs preempt
        there = f"sacctmgr -nP show qos format=name | grep -qxF {shlex.quote(name)}"
        lines.append(f"{there} || {shlex.join(add_command(name))}")
    for name, own in limits.items():
        lines += ["", f"# {name}: {own.why}", shlex.join(modify_command(name, own))]
    lines += ["", "# Who may use them."]
    lines += [shlex.join(command) for command in grant_commands(limits, grant)]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class QosPlan:
    """What ``s4c slurm qos`` would do."""

    limits: Mapping[str, QosLimits]
    grant: Grant
    script: str


def plan_qos(site: Slurm, limits: ClusterLimits, rows: Sequence[NodeRow], users: Sequence[str]) -> QosPlan:
    """The set for a profile on a cluster.

    Parameters
    ----------
    limits, rows : what the cluster says of itself
    users : who may use the QoS; this user if none is given

    Raises
    ------
    ConfigError
        If a user's name is none.
    SchedulerError
        If the cluster has no accounting, and so no QoS.
    """
    if not limits.has_accounting:
        raise SchedulerError(
            "this cluster keeps no accounts, and QoS are a part of them",
            where=f"AccountingStorageType = {limits.settings.get('AccountingStorageType', '')}",
            hint="leave slurm.qos out and limit the load by slurm.throttle and slurm.max_submitted; or run slurmdbd",
        )
    if odd := [user for user in users if not re.fullmatch(r"[A-Za-z0-9_.@+-]+", user)]:
        raise ConfigError(f"{odd[0]!r} is not the name of a user", where="--user")
    partition = site.partition or next((row.partition for row in rows if row.is_default_partition), None)
    nodes = usable_nodes(rows, partition)
    accounts = {queue.account for queue in queues(site).values() if queue.account is not None}
    grant = Grant(cluster=limits.cluster, users=tuple(users) or (user_name(),), accounts=tuple(sorted(accounts)))
    chosen = qos_set(site, nodes)
    return QosPlan(limits=chosen, grant=grant, script=qos_script(chosen, nodes, grant, foreign_qos(site)))


def user_name() -> str:
    """Name of this user, or its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _number(limit: int | None) -> str:
    return "-1" if limit is None else str(limit)


def _megabytes(n_bytes: int | None) -> str:
    return "-1" if n_bytes is None else f"{-(-n_bytes // 2**20)}M"
