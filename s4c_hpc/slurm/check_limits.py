"""Does a site profile fit the limits of a cluster: QoS, arrays, memory, MPI, preemption. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from s4c_hpc.config.slurm import MemoryMode, Slurm, StageQueue
from s4c_hpc.core.text import human_bytes
from s4c_hpc.slurm.finding import Finding, Survey, finding
from s4c_hpc.slurm.partitions import Partition
from s4c_hpc.slurm.qos import PREFIX
from s4c_hpc.slurm.queues import qos_of
from s4c_hpc.slurm.rows import QosRow


def check_qos(site: Slurm, survey: Survey, where: Mapping[str, StageQueue]) -> Iterator[Finding]:
    """Whether the QoS are there, the user may use them, and the largest jobs of the profile can start in them."""
    if survey.qos is None or survey.associations is None:
        return
    largest: dict[tuple[str | None, str], int | None] = {}
    for queue in where.values():
        for name, most in qos_of(queue).items():
            key = (queue.account, name)
            bounds = [int(size) for size in (most, site.max_memory) if size is not None]
            asked = min(bounds, default=None)
            before = largest.get(key, asked)
            largest[key] = None if asked is None or before is None else max(asked, before)
    for (account, name), asked in largest.items():
        mine = [row for row in survey.associations if account in {None, row.account}]
        allowed = {qos for row in mine for qos in row.qos}
        rules = survey.qos.get(name)
        if rules is None:
            makes_it = "'s4c slurm qos' prints the commands that make it"
            hint = makes_it if name.startswith(PREFIX) else "name one that 'sacctmgr show qos' lists, or ask an admin"
            yield finding(f"QoS {name}", name, "not there", wrong=hint)
        elif name not in allowed:
            hint = f"ask an operator for: sacctmgr modify user where name={survey.user} set qos+={name}"
            said = f"{survey.user} may use {', '.join(sorted(allowed)) or 'none'}"
            yield finding(
                f"QoS {name}", name, said, wrong=hint if "qos" in survey.limits.enforced else "", warning=hint
            )
        else:
            yield _limits_of(site, rules, asked)
    yield from _uncovered(site, where)
    if largest and not {"limits", "qos"} <= survey.limits.enforced:
        yield finding(
            "QoS limits",
            "",
            f"AccountingStorageEnforce={','.join(sorted(survey.limits.enforced)) or 'none'}",
            warning="limits of QoS have no effect here: slurm.conf needs AccountingStorageEnforce=limits,qos",
        )


def _uncovered(site: Slurm, where: Mapping[str, StageQueue]) -> Iterator[Finding]:
    """Jobs that are larger than every QoS of their stage: they end the run."""
    for stage, queue in where.items():
        tops = list(qos_of(queue).values())
        if not tops or None in tops:
            continue
        top = max(int(size) for size in tops if size is not None)
        if site.max_memory is None or site.max_memory > top:
            largest = (
                "the largest node" if site.max_memory is None else f"slurm.max_memory, {human_bytes(site.max_memory)}"
            )
            yield finding(
                f"QoS of {stage}",
                f"up to {human_bytes(top)}",
                "",
                warning=f"no QoS for jobs between that and {largest}: add one without max_memory",
            )


def _limits_of(site: Slurm, rules: QosRow, asked: int | None) -> Finding:
    then = "is refused (DenyOnLimit)" if "DenyOnLimit" in rules.flags else "waits for ever"
    wrong = []
    for limit, key in ((rules.max_tres_per_job.get("mem"), "MaxTRESPerJob"), (rules.grp_tres.get("mem"), "GrpTRES")):
        if limit is not None and asked is not None and asked > limit:
            wrong.append(f"a job of {human_bytes(asked)} {then}: {key} has mem={human_bytes(limit)}")
    minutes = None if rules.max_wall_s is None else rules.max_wall_s // 60
    if minutes is not None and site.max_minutes is not None and site.max_minutes > minutes:
        wrong.append(f"a job of {site.max_minutes} min {then}: MaxWall is {minutes} min")
    submit = min((n for n in (rules.max_submit_per_user, rules.grp_submit) if n is not None), default=None)
    if submit is not None and site.max_array is not None and site.max_array > submit:
        wrong.append(f"an array of {site.max_array} is never taken: {submit} jobs may be submitted")
    # Two ticks of a detached run need places as well: the one at work and its successor.
    room = None if submit is None else max(submit - 2, 1)
    crowded = room is not None and site.max_submitted > room
    limits = {
        "job": _size(rules.max_tres_per_job.get("mem")),
        "minutes": minutes,
        "group jobs": rules.grp_jobs,
        "group cores": rules.grp_tres.get("cpu"),
        "group memory": _size(rules.grp_tres.get("mem")),
        "submitted": submit,
    }
    return finding(
        f"QoS {rules.name}",
        _size(asked) or "",
        ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit is not None) or "no limit",
        wrong="; ".join(wrong),
        warning=f"only {submit} jobs may be submitted, ticks among them: set slurm.max_submitted to {room}"
        if crowded
        else "",
    )


def check_arrays(site: Slurm, survey: Survey) -> Iterator[Finding]:
    """Whether arrays and submitted elements stay within what the controller and the account take."""
    largest, queue = survey.limits.max_array, survey.limits.max_jobs
    hint = ""
    if site.max_array is not None and site.max_array > largest:
        hint = f"larger arrays are refused: set slurm.max_array to {largest} or less"
    asked = "" if site.max_array is None else str(site.max_array)
    yield finding("array size", asked, f"MaxArraySize {largest}", wrong=hint)

    hint = "MaxJobCount is for the jobs of everybody, array elements included: lower slurm.max_submitted"
    yield finding(
        "jobs in the queue",
        str(site.max_submitted),
        f"MaxJobCount {queue}",
        wrong=hint if site.max_submitted >= queue else "",
        warning=hint if site.max_submitted > queue / 2 else "",
    )
    submit = min((a.max_submit for a in survey.associations or () if a.max_submit is not None), default=None)
    if submit is not None:
        hint = f"set slurm.max_submitted and slurm.max_array to {submit} or less"
        yield finding(
            "jobs of the user",
            str(site.max_submitted),
            f"MaxSubmitJobs {submit}",
            wrong=hint if site.max_array is not None and site.max_array > submit else "",
            warning=hint if site.max_submitted > submit else "",
        )


def check_memory(site: Slurm, survey: Survey, used: Sequence[Partition]) -> Iterator[Finding]:
    """Whether the way of asking for memory fits, and a job is held to what it has asked for."""
    settings = survey.limits.settings
    select = settings.get("SelectTypeParameters", "")
    everywhere = "MEMORY" in select.upper()
    is_shared = all(everywhere if p.shares_memory is None else p.shares_memory for p in used) if used else everywhere
    default = survey.limits.def_mem_per_cpu_bytes
    wrong = warning = ""
    if site.memory is MemoryMode.NONE and is_shared:
        if default is not None:
            wrong = f"a job that asks for none has {human_bytes(default)} a core, whatever it needs: use 'per_node'"
        warning = "a job that asks for none has all memory of its node to itself: use 'per_node'"
    elif site.memory is not MemoryMode.NONE and not is_shared:
        warning = (
            "memory is not given out by amount, so jobs on one node may need more than it has: ask for "
            "SelectTypeParameters=CR_Core_Memory, or use 'none' and slurm.directives_add = ['--exclusive']"
        )
    yield finding("memory", site.memory.value, select, wrong=wrong, warning=warning)

    by_kernel = (
        "task/cgroup" in settings.get("TaskPlugin", "") and settings.get("ConstrainRAMSpace", "").lower() == "yes"
    )
    by_sampling = "overmemorykill" in settings.get("JobAcctGatherParams", "").lower()
    yield finding(
        "memory limit",
        "",
        "by the kernel (cgroup)" if by_kernel else "by sampling (OverMemoryKill)" if by_sampling else "none seen",
        warning=""
        if by_kernel or by_sampling
        else "a job over its memory is not stopped and may harm its neighbours: see ConstrainRAMSpace in cgroup.conf",
    )


def check_mpi(site: Slurm, survey: Survey) -> Iterator[Finding]:
    """Whether srun has the plugin that ranks find each other by."""
    if site.mpi.launcher != "srun" or survey.mpi is None:
        return
    plugin = site.mpi.plugin or survey.limits.mpi_default
    wrong = ""
    if plugin not in survey.mpi:
        wrong = "set slurm.mpi.plugin to one that the cluster has, or slurm.mpi.launcher to 'mpiexec'"
    warning = "without a plugin every rank believes to be alone: set slurm.mpi.plugin" if plugin == "none" else ""
    yield finding("MPI", f"srun --mpi={plugin}", ", ".join(sorted(survey.mpi)), wrong=wrong, warning=warning)


def check_preemption(survey: Survey) -> Finding:
    """What becomes of jobs when more important ones come."""
    kind = survey.limits.settings.get("PreemptType", "").removeprefix("preempt/").replace("(null)", "none") or "none"
    mode = survey.limits.preempt_mode
    suspends = kind != "none" and "SUSPEND" in mode.upper()
    return finding(
        "preemption",
        "",
        "off" if kind == "none" else f"by {kind}, {mode}",
        warning="jobs may be suspended: they keep their memory, and predictions do not know of it" if suspends else "",
    )


def _size(n_bytes: int | None) -> str | None:
    return None if n_bytes is None else human_bytes(n_bytes)
