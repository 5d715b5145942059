"""Partitions and MPI plugins: what scontrol and srun say of them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from s4c_hpc.slurm.units import duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition as ``scontrol show partition`` tells of it."""

    name: str
    is_default: bool
    state: str
    """``UP``: takes and starts jobs."""
    max_minutes: int | None
    """``None``: unlimited."""
    accounts: frozenset[str] | None
    """That may use it; ``None``: all."""
    qos: frozenset[str] | None
    """That may be used in it; ``None``: all."""
    shares_memory: bool | None
    """Whether memory is given out by amount here; ``None``: as in the whole cluster."""


def parse_partitions(text: str) -> list[Partition]:
    """``scontrol -o show partition``, a partition a line."""
    found = []
    for line in text.splitlines():
        values = dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", line))
        if "PartitionName" not in values:
            continue
        select = values.get("SelectTypeParameters", "NONE")
        limit_s = duration_s(values.get("MaxTime", ""))
        found.append(
            Partition(
                name=values["PartitionName"],
                is_default=values.get("Default") == "YES",
                state=values.get("State", ""),
                max_minutes=None if limit_s is None else limit_s // 60,
                accounts=_names(values.get("AllowAccounts", "ALL")),
                qos=_names(values.get("AllowQos", "ALL")),
                shares_memory=None if select == "NONE" else "MEMORY" in select.upper(),
            )
        )
    return found


def parse_mpi_plugins(text: str) -> frozenset[str]:
    """``srun --mpi=list``: a title, a name a line, and versions of one after a colon."""
    names: set[str] = set()
    for line in text.splitlines():
        title, colon, versions = line.partition(":")
        words = versions.replace(",", " ").split() if colon else title.split()
        if colon or len(words) == 1:
            names.update(words)
    return frozenset(names)


def _names(text: str) -> frozenset[str] | None:
    return None if text == "ALL" else frozenset(filter(None, text.split(",")))
