"""Does a site profile fit a cluster: verdicts from what the profile says and what the cluster says. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from s4c_hpc.config.slurm import Slurm, StageQueue
from s4c_hpc.core.errors import S4cError
from s4c_hpc.core.text import human_bytes
from s4c_hpc.slurm.check_limits import check_arrays, check_memory, check_mpi, check_preemption, check_qos
from s4c_hpc.slurm.finding import Finding, Survey, Verdict, finding
from s4c_hpc.slurm.partitions import Partition
from s4c_hpc.slurm.queues import qos_of, queues
from s4c_hpc.slurm.rows import NodeRow


def judge(site: Slurm, survey: Survey) -> list[Finding]:
    """All findings, the cluster's own first, then in the order of the profile."""
    where = queues(site)
    used = used_partitions(where, survey.partitions)
    return [
        _programs(site, survey),
        _accounting(survey),
        *_partitions(site, survey, where),
        *_accounts(survey, where),
        *check_qos(site, survey, where),
        *check_arrays(site, survey),
        *check_memory(site, survey, used),
        *check_mpi(site, survey),
        check_preemption(survey),
        *_trials(survey.trials),
    ]


def is_fit(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(found.verdict is not Verdict.WRONG for found in findings)


def used_partitions(where: Mapping[str, StageQueue], partitions: Sequence[Partition]) -> list[Partition]:
    """Partitions that jobs of the profile go to."""
    found = (partition_of(queue, partitions) for queue in where.values())
    return list({partition.name: partition for partition in found if partition is not None}.values())


def partition_of(queue: StageQueue, partitions: Sequence[Partition]) -> Partition | None:
    """The partition that a queue names, or the cluster's default; ``None`` if there is none such."""
    for partition in partitions:
        if partition.is_default if queue.partition is None else partition.name == queue.partition:
            return partition
    return None


def largest_job_bytes(site: Slurm, queue: StageQueue) -> int | None:
    """Memory of the largest job that the profile lets go to a queue; ``None``: that of the largest node."""
    tops = list(qos_of(queue).values())
    limits = [int(site.max_memory)] if site.max_memory is not None else []
    if tops and None not in tops:
        limits.append(max(int(top) for top in tops if top is not None))
    return min(limits, default=None)


def _programs(site: Slurm, survey: Survey) -> Finding:
    versions = sorted({version for version in survey.versions.values() if version is not None})
    missing = [name for name, version in survey.versions.items() if version is None]
    if site.mpi.launcher != "srun":
        missing = [name for name in missing if name != "srun"]
    hint = ""
    if missing:
        hint = f"{', '.join(missing)} not found here: install what the login nodes have"
    elif len(versions) > 1:
        hint = "programs of several versions are on PATH: look for a second installation"
    return finding("programs", "", ", ".join(versions), warning=hint)


def _accounting(survey: Survey) -> Finding:
    hint = survey.accounting_trouble
    if not survey.limits.has_accounting:
        hint = "why a job ended is known from its own files only, and there are neither QoS nor accounts"
    kind = survey.limits.settings.get("AccountingStorageType", "").removeprefix("accounting_storage/")
    return finding("accounting", "", kind.replace("(null)", "none"), warning=hint)


def _partitions(site: Slurm, survey: Survey, where: Mapping[str, StageQueue]) -> Iterator[Finding]:
    for name in dict.fromkeys(queue.partition for queue in where.values()):
        users = [queue for queue in where.values() if queue.partition == name]
        partition = partition_of(users[0], survey.partitions)
        label, named = f"partition {name or '(default)'}", name or ""
        if partition is None:
            hint = "not on this cluster: set slurm.partition to one that it has"
            if name is None:
                hint = "the cluster has no default partition: set slurm.partition"
            yield finding(label, named, ", ".join(p.name for p in survey.partitions), wrong=hint)
            continue
        closed = f"it takes or starts no jobs: ask an admin, or name another than {partition.name}"
        is_up = partition.state == "UP"
        yield finding(label, named, f"{partition.name} {partition.state.lower()}", wrong="" if is_up else closed)
        yield _longest(site, partition)
        yield from _admits(partition, users)
        yield _room(site, [node for node in survey.nodes if node.partition == partition.name], partition, users)


def _longest(site: Slurm, partition: Partition) -> Finding:
    limit = partition.max_minutes
    hint = ""
    if limit is not None and site.max_minutes is not None and site.max_minutes > limit:
        # Seen with 22.05: such a job is taken all the same, unless EnforcePartLimits is set, and waits for ever.
        hint = f"longer jobs never start: set slurm.max_minutes to {limit} or less"
    asked = "" if site.max_minutes is None else f"{site.max_minutes} min"
    return finding(
        f"longest job in {partition.name}", asked, "no limit" if limit is None else f"{limit} min", wrong=hint
    )


def _admits(partition: Partition, users: Sequence[StageQueue]) -> Iterator[Finding]:
    for what, allowed, named in (
        ("account", partition.accounts, [queue.account for queue in users]),
        ("QoS", partition.qos, [name for queue in users for name in qos_of(queue)]),
    ):
        if allowed is None:
            continue
        refused = sorted({name for name in named if name is not None and name not in allowed})
        hint = f"partition {partition.name} admits none but these: name one, or another partition" if refused else ""
        yield finding(f"{what} in {partition.name}", ", ".join(refused), ", ".join(sorted(allowed)), wrong=hint)


def _room(site: Slurm, nodes: Sequence[NodeRow], partition: Partition, users: Sequence[StageQueue]) -> Finding:
    item = f"largest job in {partition.name}"
    usable = [node for node in nodes if node.is_usable]
    if not usable:
        return finding(item, "", f"none of {len(nodes)} nodes is in use", wrong="'sinfo -R' tells why nodes are down")
    largest = max(node.mem_bytes for node in usable)
    asked = max((size for queue in users if (size := largest_job_bytes(site, queue)) is not None), default=None)
    cores = sum(node.cpus for node in usable)
    hint = ""
    if asked is not None and asked > largest:
        hint = f"no node has so much memory: set slurm.max_memory to {human_bytes(largest)} or less"
    cluster = f"{human_bytes(largest)} ({len(usable)} of {len(nodes)} nodes in use, {cores} cores)"
    return finding(item, "" if asked is None else human_bytes(asked), cluster, wrong=hint)


def _accounts(survey: Survey, where: Mapping[str, StageQueue]) -> Iterator[Finding]:
    if survey.associations is None:
        return
    mine = sorted({association.account for association in survey.associations})
    for name in dict.fromkeys(queue.account for queue in where.values()):
        hint = ""
        if not mine or name not in {None, *mine}:
            hint = f"ask an operator for: sacctmgr add user {survey.user} account={name or 'ACCOUNT'}"
            if mine:
                hint = f"{survey.user} may use {', '.join(mine)}: set slurm.account, or {hint}"
        is_enforced = "associations" in survey.limits.enforced
        yield finding(
            f"account {name or '(default)'}",
            name or "",
            ", ".join(mine) or "none",
            wrong=hint if is_enforced else "",
            warning=hint,
        )


def _trials(trials: Mapping[str, S4cError | None]) -> Iterator[Finding]:
    for label, error in trials.items():
        item = f"sbatch, {label}"
        if error is None:
            yield finding(item, "largest job", "would be taken")
        else:
            yield finding(item, "largest job", "refused", wrong="; ".join(filter(None, (error.what, error.hint))))
