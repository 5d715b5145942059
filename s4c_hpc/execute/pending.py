"""Why Slurm lets jobs wait, in plain words. Names as in squeue(1), "JOB REASON CODES"."""

from __future__ import annotations

import re

_WORDS = {
    "None": "Slurm has not looked at it yet",
    "": "Slurm has not looked at it yet",
    "Priority": "jobs of higher priority are ahead of it",
    "Resources": "no node has enough free cores or memory now",
    "BeginTime": "it is not to start before a certain time",
    "Dependency": "it waits for another job",
    "DependencyNeverSatisfied": "it waits for a job that failed, and will never start: cancel it with scancel",
    "JobArrayTaskLimit": "as many elements of its array run as slurm.throttle allows",
    "JobHeldUser": "you hold it: 'scontrol release' lets it go",
    "JobHeldAdmin": "an administrator holds it: ask why",
    "ReqNodeNotAvail": "the nodes that it could run on are down, drained or reserved: see 'sinfo -R'",
    "PartitionDown": "its partition is closed: see 'sinfo'",
    "PartitionInactive": "its partition is closed: see 'sinfo'",
    "PartitionTimeLimit": "it asks for more time than its partition allows: lower slurm.max_minutes",
    "PartitionNodeLimit": "it asks for more nodes than its partition allows",
    "NodeDown": "a node that it needs is down: see 'sinfo -R'",
    "BadConstraints": "no node has what it asks for: see slurm.directives_add",
    "Licenses": "a licence that it needs is taken",
    "Reservation": "its reservation has not begun",
    "Cleaning": "its last run is being cleaned up",
    "SystemFailure": "Slurm had an error: ask the administrators",
    "InvalidAccount": "its account is not valid any more: see slurm.account",
    "InvalidQOS": "its QoS is not valid any more: see slurm.qos",
    "QOSNotAllowed": "its QoS may not use this partition or account",
    "AccountNotAllowed": "its account may not use this partition",
    "Prolog": "its node is being prepared",
    "launch failed requeued held": "it could not be started and is held: ask the administrators",
    "JobLaunchFailure": "it could not be started: ask the administrators",
    "AssociationJobLimit": "its account has the most jobs that are allowed",
    "AssociationResourceLimit": "its account has the most cores, memory or nodes that are allowed",
}
_OWNERS = {
    "QOSGrp": "all jobs of this QoS together",
    "QOSMax": "you in this QoS",
    "AssocGrp": "all jobs of this account together",
    "AssocMax": "you in this account",
}
_THINGS = (
    ("RunMinutes", "running core or memory minutes"),
    ("Minutes", "core or memory minutes (a budget: ask the administrators)"),
    ("WallDuration", "wall time of its budget"),
    ("Wall", "wall time"),
    ("Mem", "memory"),
    ("CPU", "cores"),
    ("Cpu", "cores"),
    ("Node", "nodes"),
    ("SubmitJob", "submitted jobs"),
    ("Jobs", "running jobs"),
    ("Job", "running jobs"),
    ("GRES", "GPUs or other devices"),
    ("License", "licences"),
    ("Billing", "billing units"),
    ("BB", "burst buffer"),
)
_LIMIT = re.compile(r"^(QOSGrp|QOSMax|AssocGrp|AssocMax)(.*)$")


def explain(reason: str) -> str:
    """A reason in plain words; empty if it is not known.

    Parameters
    ----------
    reason : Slurm's word, e.g. ``QOSGrpMemLimit``; what stands after a comma or in parentheses is passed over
    """
    text = re.split(r"[,(]", reason, maxsplit=1)[0].strip()
    if text in _WORDS:
        return _WORDS[text]
    word = text.rpartition(" ")[2]  # before it there may be an unusual state
    if word in _WORDS:
        return _WORDS[word]
    limit = _LIMIT.match(word)
    if limit is None:
        return ""
    thing = next((text for part, text in _THINGS if part in limit[2]), "what is limited")
    return f"{_OWNERS[limit[1]]} have reached the limit of {thing}"
