"""What was handed to an executor: written before it is submitted, never changed."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from s4c_hpc.core.atomic import publish_new
from s4c_hpc.core.errors import TemporaryError
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.task import Launch
from s4c_hpc.plan import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Tasks of one stage that one process does one after the other: an element of a job array."""

    attempt: str
    """``<wave>-<index>``: unique in its run, and the name of its journal."""
    stage: str
    ids: tuple[str, ...]
    numbers: tuple[int, ...]
    """For each task, which try of it this is, from 1."""
    seconds: tuple[int, ...]
    """For each task, the wall time that it asks for, in seconds."""
    cpus: int
    mem_bytes: int
    """Most that any of the tasks asks for."""
    settled: Mapping[str, str] = field(default_factory=dict)
    """Dependencies without output that the tasks do without: id -> reason."""

    @property
    def index(self) -> int:
        """Place in its wave."""
        return int(self.attempt.rpartition("-")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Chunks of one stage that ask for the same: one job array."""

    name: str
    launch: Launch
    chunks: tuple[Chunk, ...]
    written: float = field(default_factory=time.time)
    """When the intent was recorded, seconds since 1970."""

    @property
    def stage(self) -> str:
        """Stage of all its tasks."""
        return self.chunks[0].stage

    @property
    def cpus(self) -> int:
        """Cores of each element."""
        return self.chunks[0].cpus

    @property
    def mem_bytes(self) -> int:
        """Memory of each element."""
        return self.chunks[0].mem_bytes

    @property
    def walltime_s(self) -> int:
        """Wall time that the longest element asks for, in seconds."""
        return max(sum(chunk.seconds) for chunk in self.chunks)


def attempt_name(wave: str, index: int) -> str:
    """Name of the attempt at a chunk: Slurm's ``%4a`` gives the same digits."""
    return f"{wave}-{index:04d}"


def write_wave(run: RunFolder, wave: Wave) -> None:
    """Record the intent to submit ``wave``.

    Raises
    ------
    TemporaryError
        If another caller has taken the same number: two drivers are at work.
    """
    path = wave_path(run, wave.name)
    draft = run.manifests / f".{wave.name}.{uuid.uuid4().hex[:8]}.tmp"
    draft.write_text(canonical_json(asdict(wave)), encoding="utf-8")
    if not publish_new(draft, path):
        raise TemporaryError("another driver has submitted this wave", where=str(path), hint="run again")


def read_wave(run: RunFolder, name: str) -> Wave:
    """The wave called ``name``."""
    values = json.loads(wave_path(run, name).read_bytes())
    chunks = tuple(
        Chunk(**{**chunk, **{key: tuple(chunk[key]) for key in ("ids", "numbers", "seconds")}})
        for chunk in values["chunks"]
    )
    return Wave(name=values["name"], launch=Launch(values["launch"]), chunks=chunks, written=values["written"])


def read_chunk(run: RunFolder, attempt: str) -> Chunk:
    """The chunk that ``attempt`` is to do."""
    wave, _, index = attempt.rpartition("-")
    return read_wave(run, wave).chunks[int(index)]


def wave_of(attempt: str) -> str:
    """Name of the wave that an attempt belongs to."""
    return attempt.rpartition("-")[0]


def wave_names(run: RunFolder) -> list[str]:
    """Names of the waves so far, in the order in which they were submitted."""
    return sorted(path.stem for path in run.manifests.glob("[0-9]*.json"))


def wave_path(run: RunFolder, wave: str) -> Path:
    """Manifest of a wave."""
    return run.manifests / f"{wave}.json"


def next_wave(names: Sequence[str]) -> str:
    """Name of the wave after ``names``."""
    return f"{int(names[-1]) + 1 if names else 1:06d}"
