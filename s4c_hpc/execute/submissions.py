"""What Slurm answered to each wave, beside its manifest: a wave without an answer is in doubt."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.execute.manifest import wave_of
from s4c_hpc.plan import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The answer of sbatch."""

    job: int | None
    """Number of the job; a hint for people, since numbers can be used again."""
    refused: str = ""
    """Why there is none."""
    final: bool = False
    """Whether its tasks are refused for good; else they wait as they did before."""
    hint: str | None = None
    """What can be done about it."""
    t: float = field(default_factory=time.time)


def job_name(run: RunFolder, stage: str, wave: str) -> str:
    """What tells a wave's job from every other one, also when its number has been forgotten or used again."""
    return f"s4c-{stage}-{run.id}-{wave}"


def is_ours(run: RunFolder, name: str) -> bool:
    """Whether a job of this name belongs to the run: waves, what they start in turn, and ticks."""
    return name == tick_name(run) or (name.startswith("s4c-") and f"-{run.id}-" in name)


def tick_name(run: RunFolder) -> str:
    """Name of the jobs that drive a detached run."""
    return f"s4c-tick-{run.id}"


def write_submission(run: RunFolder, wave: str, submission: Submission) -> None:
    """Record an answer."""
    write_text(_path(run, wave), canonical_json(asdict(submission)))


def read_submission(run: RunFolder, wave: str) -> Submission | None:
    """The answer to a wave, or ``None`` if it is in doubt."""
    try:
        return Submission(**json.loads(_path(run, wave).read_bytes()))
    except FileNotFoundError:
        return None


def never_submitted(run: RunFolder, attempts: Iterable[str]) -> set[str]:
    """Attempts, of those given, that sbatch has refused: there is no job of them."""
    attempts = list(attempts)
    answers = {wave: read_submission(run, wave) for wave in {wave_of(attempt) for attempt in attempts}}
    refused = {wave for wave, answer in answers.items() if answer is not None and answer.job is None}
    return {attempt for attempt in attempts if wave_of(attempt) in refused}


def _path(run: RunFolder, wave: str) -> Path:
    return run.manifests / f"{wave}.job"
