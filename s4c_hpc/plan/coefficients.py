"""First coefficients: what the stages of this package took on the machine that they were measured on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from s4c_hpc.core.bundled import bundled
from s4c_hpc.plan.fit import Line, Reference

COEFFICIENTS = "configs/coefficients.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCoefficients:
    """One stage."""

    seconds: Reference
    """Wall time of a task, in seconds."""
    memory: Reference
    """Anonymous memory above what the process held before the task, in bytes."""
    base_bytes: int
    """Anonymous memory that a process holds before a task."""


@cache
def first_coefficients() -> dict[str, StageCoefficients]:
    """By stage; other stages are predicted from their own history alone.

    Raises
    ------
    MissingDataError
        If the file is not installed.
    """
    values = json.loads(bundled(COEFFICIENTS).read_bytes())
    return {
        name: StageCoefficients(
            seconds=reference_of(stage["seconds"]),
            memory=reference_of(stage["memory"]),
            base_bytes=int(stage["base_bytes"]),
        )
        for name, stage in values["stages"].items()
    }


def reference_of(values: dict[str, Any]) -> Reference:
    """A line as it stands in the file."""
    return Reference(
        line=Line(fixed=values["fixed"], rate=values["rate"]),
        spread=values["spread"],
        work_low=values["work_low"],
        work_high=values["work_high"],
    )
