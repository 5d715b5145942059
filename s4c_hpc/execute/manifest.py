"""What was handed to an executor: written before it is submitted, never changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from s4c_hpc.core.atomic import publish_new
from s4c_hpc.core.errors import TemporaryError
from s4c_hpc.core.ids import canonical_json
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
    cpus: int
    mem_bytes: int
    """Most that any of the tasks asks for."""
    walltime_s: int
    """Sum of what the tasks ask for."""
    settled: Mapping[str, str] = field(default_factory=dict)
    """Dependencies without output that the tasks do without: id -> reason."""


def write_wave(run: RunFolder, wave: str, chunks: Sequence[Chunk]) -> None:
    """Record the intent to submit ``chunks``.

    Raises
    ------
    TemporaryError
        If another caller has taken the same number: two drivers are at work.
    """
    draft = run.manifests / f".{wave}.{uuid.uuid4().hex[:8]}.tmp"
    draft.write_text(canonical_json({"chunks": [asdict(chunk) for chunk in chunks]}), encoding="utf-8")
    if not publish_new(draft, _path(run, wave)):
        raise TemporaryError("another driver has submitted this wave", where=str(_path(run, wave)), hint="run again")


def read_wave(path: Path) -> list[Chunk]:
    """The chunks of a manifest."""
    return [
        Chunk(**{**values, "ids": tuple(values["ids"]), "numbers": tuple(values["numbers"])})
        for values in json.loads(path.read_bytes())["chunks"]
    ]


def read_chunk(run: RunFolder, attempt: str) -> Chunk:
    """The chunk that ``attempt`` is to do."""
    wave, _, index = attempt.rpartition("-")
    return read_wave(_path(run, wave))[int(index)]


def wave_names(run: RunFolder) -> list[str]:
    """Names of the waves so far, in the order in which they were submitted."""
    return sorted(path.stem for path in run.manifests.glob("[0-9]*.json"))


def wave_path(run: RunFolder, wave: str) -> Path:
    """Manifest of a wave."""
    return _path(run, wave)


def next_wave(names: Sequence[str]) -> str:
    """Name of the wave after ``names``."""
    return f"{int(names[-1]) + 1 if names else 1:06d}"


def _path(run: RunFolder, wave: str) -> Path:
    return run.manifests / f"{wave}.json"
