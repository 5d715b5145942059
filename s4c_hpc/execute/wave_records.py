"""Waves and Slurm's answers to them, as they are on disk; each is read once."""

from __future__ import annotations

from pathlib import Path

from s4c_hpc.core.task import Launch
from s4c_hpc.execute.journal import Opened, read_events
from s4c_hpc.execute.manifest import Wave, read_wave, wave_of
from s4c_hpc.execute.submissions import Submission, job_name, read_submission, write_submission
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.reconcile import Element

TAIL_BYTES = 4096


class WaveRecords:
    """Manifests, answers and logs of one run."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._waves: dict[str, Wave] = {}
        self._submissions: dict[str, Submission | None] = {}

    def wave(self, name: str) -> Wave:
        """A wave."""
        if name not in self._waves:
            self._waves[name] = read_wave(self._run, name)
        return self._waves[name]

    def took(self, wave: Wave) -> None:
        """Take note of a wave that was just written."""
        self._waves[wave.name] = wave

    def submission(self, wave: str) -> Submission | None:
        """The answer to a wave; ``None`` if it is in doubt."""
        if wave not in self._submissions:  # nobody else writes one as long as this process drives
            self._submissions[wave] = read_submission(self._run, wave)
        return self._submissions[wave]

    def answered(self, wave: Wave, submission: Submission) -> None:
        """Keep an answer."""
        write_submission(self._run, wave.name, submission)
        self._submissions[wave.name] = submission

    def is_pool(self, attempt: str) -> bool:
        """Whether an attempt is made by a worker of a pool."""
        return self.wave(wave_of(attempt)).launch is Launch.POOL

    def element(self, attempt: str) -> Element:
        """What Slurm may know the attempt as: an element of an array, or the pool that gives it to a worker."""
        wave = self.wave(wave_of(attempt))
        submission = self.submission(wave.name)
        return Element(
            name=job_name(self._run, wave.stage, wave.name),
            index=None if wave.launch is Launch.POOL else int(attempt.rpartition("-")[2]),
            submitted_at=wave.written,
            job_id=submission.job if submission else None,
        )

    def log_tail(self, attempt: str) -> str:
        """The end of the log of an attempt's job."""
        wave = self.wave(wave_of(attempt))
        return tail(self._run.log(wave.stage, wave.name if wave.launch is Launch.POOL else attempt))

    def worker_log_tail(self, attempt: str, job: int) -> str:
        """The end of the log of the worker of a pool."""
        wave = self.wave(wave_of(attempt))
        return tail(self._run.log(wave.stage, f"{wave.name}-worker-{job}"))

    def has_begun(self, attempt: str) -> bool:
        """Whether the journal of an attempt is to be seen: on a network file system that may take its time."""
        return self._journal(attempt).exists()

    def told_its_end(self, attempt: str) -> bool:
        """Whether the journal of an attempt holds its orderly end, as far as it is to be seen."""
        return '"event":"closed"' in tail(self._journal(attempt))

    def job_that_opened(self, attempt: str) -> int | None:
        """Slurm's number of the job that opened the attempt's journal, as that job told it."""
        try:
            events, _ = read_events(self._journal(attempt))
        except FileNotFoundError:
            return None
        jobs = (event.job for event in events if isinstance(event, Opened))
        return next((int(job) for job in jobs if job is not None and job.isdecimal()), None)

    def _journal(self, attempt: str) -> Path:
        return self._run.journals / f"{attempt}.jsonl"


def tail(path: Path) -> str:
    """The end of a text file; empty if there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
