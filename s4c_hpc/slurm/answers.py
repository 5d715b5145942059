"""What it means when a Slurm program fails: its text, sorted into our errors."""

from __future__ import annotations

from s4c_hpc.core.errors import S4cError
from s4c_hpc.slurm.errors import (
    SlurmFailed,
    SlurmUnknown,
    SlurmUnreachable,
    SubmitInDoubt,
    SubmitLater,
    SubmitRefused,
    SubmitTooLarge,
    SubmitUnreachable,
)

_LATER = (
    "SubmitJob",  # AssocMaxSubmitJobLimit, QOSMaxSubmitJobPerUserLimit, ...: too many in the queue
    "SubmitLimit",
    "temporarily unable to accept job",
    "Resource temporarily unavailable",
    "job queue full",
    "Required partition not available",
    "Required node not available",
    "Requested nodes are busy",
    "Requested partition configuration not available now",
    "standby mode",
)
_NOBODY_THERE = (
    # The connection was never made, so nothing was sent.
    "connect failure",
    "Unable to contact slurm controller",
    "Unable to establish controller machine",
    "Invalid authentication credential",
    "authentication error",
    "Munge",
    "MUNGE",
    # slurm.conf cannot be read: a shared file system that is away for a moment looks like this.
    "Unable to establish configuration source",
)
_NO_CLUSTER = "Could not establish a configuration source"
"""Neither SLURM_CONF nor /etc/slurm/slurm.conf nor a DNS record names a controller."""
_DOUBT = (
    "timed out",
    "Connection reset",
    "Zero Bytes",
    "Transport endpoint",
    "Broken pipe",
    "Unexpected message received",
    "Insane message length",
    "Header lengths",
    "Protocol error",
)
_HINTS = (
    ("Invalid qos", "look at 'sacctmgr show assoc user=$USER format=account,qos' and set slurm.qos"),
    ("Invalid account", "look at 'sacctmgr show assoc user=$USER format=account' and set slurm.account"),
    ("artition", "look at 'sinfo' and set slurm.partition"),
    ("emory", "lower slurm.max_memory, or choose a QoS that allows more"),
    ("MemLimit", "lower slurm.max_memory, or choose a QoS that allows more"),
    ("Wall", "lower slurm.max_minutes, or choose a QoS that allows more"),
    ("time limit is invalid", "lower slurm.max_minutes, or choose a QoS that allows more"),
    ("job array", "lower slurm.max_array to MaxArraySize of 'scontrol show config'"),
    ("node configuration", "no node is that large: lower slurm.max_memory or the cores of the stage"),
    ("mutually exclusive", "set slurm.memory to what this cluster wants"),
    (
        "option",
        "this Slurm does not know an option: list it in slurm.directives_drop, or remove it from directives_add",
    ),
)
_TOO_LARGE = ("emory", "MemLimit", "Wall", "time limit is invalid", "node configuration", "MaxTRES", "MaxCpu", "GrpCpu")
"""Refusals of what a job asks for; others are of the account, the QoS or an option, however small the job."""
_PERMANENT = (
    "unrecognized option",
    "invalid option",
    "Invalid field",
    "Invalid job format",
    "accounting storage is disabled",
    "Access/permission denied",
    "Invalid user",
    "Nothing modified",
)

_ENDED = ("Invalid job id", "already completing or completed")


def submit_error(stderr: str, code: int) -> S4cError:
    """The error for an sbatch that returned ``code`` and said ``stderr``.

    An answer that is not known here counts as a refusal: to wait for ever for what will never pass is worse than to
    stop with Slurm's own words.
    """
    text = one_paragraph(stderr)
    what = f"sbatch made no job (exit code {code}): {text}"
    if code < 0:
        return SubmitInDoubt(f"sbatch was killed by signal {-code}: {text}", hint="the job is looked for by its name")
    if any(words in stderr for words in _NOBODY_THERE):
        return SubmitUnreachable(what, hint="a driver tries again by itself; 'scontrol ping' tells whether it is up")
    if any(words in stderr for words in _LATER):
        return SubmitLater(what, hint="a driver tries again by itself; without one give the command again later")
    if any(words in stderr for words in _DOUBT):
        return SubmitInDoubt(f"sbatch lost its connection: {text}", hint="the job is looked for by its name")
    hint = next((hint for words, hint in _HINTS if words in stderr), "ask the administrators of the cluster")
    kind = SubmitTooLarge if any(words in stderr for words in _TOO_LARGE) else SubmitRefused
    return kind(what, hint=hint)


def query_error(program: str, stderr: str, code: int) -> S4cError:
    """The error for any other program that returned ``code`` and said ``stderr``.

    Unless it is known to be for good, the answer is just missing: a run of days does not end for that.
    """
    what = f"{program} failed (exit code {code}): {one_paragraph(stderr)}"
    if any(words in stderr for words in _PERMANENT):
        return SlurmFailed(what, hint=f"run '{program}' by hand, or ask the administrators of the cluster")
    if _NO_CLUSTER in stderr:
        return SlurmUnknown(
            f"{program} finds no Slurm cluster: no SLURM_CONF, no slurm.conf of this machine, no controller in DNS",
            hint="go to a login node, or set SLURM_CONF; without a cluster use --executor local, "
            "or start one with 's4c slurm cluster up'",
        )
    return SlurmUnreachable(
        what, hint="a driver asks again by itself; 'scontrol ping' tells whether the controller is up"
    )


def only_ended(stderr: str) -> bool:
    """Whether scancel complains of nothing but jobs that have ended already."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return bool(lines) and all(any(words in line for words in _ENDED) for line in lines)


def one_paragraph(text: str, limit: int = 500) -> str:
    """Text of a program on one line, its end kept when it is long."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip()) or "it said nothing"
    return line if len(line) <= limit else "... " + line[-limit:]
