"""Where jobs go: the queue of each stage, and the QoS in it for a job of some size. Pure."""

from __future__ import annotations

from s4c_hpc.config.slurm import Slurm, StageQueue
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.text import human_bytes

OTHERS = "*"
"""Stands for the stages that a profile does not name."""


def queues(site: Slurm) -> dict[str, StageQueue]:
    """Where the jobs of each named stage go, and under ``OTHERS`` those of all others."""
    return {stage: queue_of(site, stage) for stage in (OTHERS, *sorted(site.stages))}


def queue_of(site: Slurm, stage: str) -> StageQueue:
    """Where the jobs of a stage go, with what the profile says for all where it says nothing else for this one."""
    default = {
        "qos": site.qos,
        "partition": site.partition,
        "account": site.account,
        "throttle": site.throttle,
        "chunk_s": site.chunk_s,
    }
    own = {name: value for name, value in site.stages.get(stage, StageQueue()) if value is not None}
    return StageQueue(**{**default, **own})


def qos_of(queue: StageQueue) -> dict[str, int | None]:
    """QoS of a queue with the memory of the largest job of each, in bytes (``None``: not limited by the profile)."""
    if queue.qos is None:
        return {}
    if isinstance(queue.qos, str):
        return {queue.qos: None}
    return {choice.qos: choice.max_memory for choice in queue.qos}


def qos_for(queue: StageQueue, mem_bytes: int, *, stage: str) -> str | None:
    """QoS of a job that asks for ``mem_bytes``; ``None`` where the profile names none.

    Parameters
    ----------
    stage : for the message

    Raises
    ------
    ConfigError
        If it is larger than all that are listed.
    """
    choices = qos_of(queue)
    if not choices:
        return None
    fitting = [name for name, most in choices.items() if most is None or mem_bytes <= most]
    if not fitting:
        raise ConfigError(
            f"no QoS is listed for a job of {human_bytes(mem_bytes)}",
            where=f"slurm.stages.{stage}.qos",
            hint="add one without max_memory",
        )
    return fitting[0]
