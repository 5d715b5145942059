"""The values between a plan, an executor and a stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Launch(StrEnum):
    """How the tasks of a stage like to be started."""

    ARRAY = "array"
    MPI = "mpi"
    POOL = "pool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a task asks for before it runs."""

    cpus: int
    """Cores per task."""
    mem_bytes: int
    """Upper bound of anonymous resident memory, in bytes. The test suite asserts measured <= this."""
    walltime_s: int
    """Upper bound of wall time, in seconds."""
    scratch_bytes: int = 0
    """Upper bound of temporary disk, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One row of the plan."""

    id: str
    """uuid5 of stage, version, ``input_keys`` and ``params``; see ``core.ids.task_id``."""
    stage: str
    tile: str
    subject: str
    """What within the tile: a product id, a grid, a period. Human-readable, unique within (stage, tile)."""
    input_keys: tuple[str, ...]
    """Keys of raw inputs and ids of upstream tasks: the identity of what is read."""
    params: str
    """Canonical JSON of the effective parameters of this stage only."""
    depends_on: tuple[str, ...]
    """Ids of tasks that must be settled before this one starts."""
    outputs: tuple[str, ...]
    """Paths relative to the workspace, all of which exist when the task is done."""
    work: float
    """Size of the work in a unit of the stage's choice (pixels, rows): the argument of its predictor."""
    bytes_out: int
    """Predicted size of the outputs, in bytes."""
    opens_imagery: int
    """Number of raster files this task will open; 0 for everything but gather and rasters on demand."""
    resources: Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a stage reports of a finished task."""

    outputs: tuple[str, ...]
    """Workspace-relative paths that were published."""
    n_rows: int
    """Rows (stack rows, parcels) written."""
    absent: tuple[str, ...] = ()
    """Ids of dependencies that were not there and were done without: the task is stale once they are."""
    rasters_opened: int = 0
    """Number of raster files that were opened."""
    notes: tuple[str, ...] = field(default=())
    """Sentences for the report."""
