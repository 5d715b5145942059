"""``python -m s4c_hpc.execute.element RUN WAVE INDEX``: what an element of a job array runs."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from s4c_hpc.core.errors import ExitCode
from s4c_hpc.execute.manifest import attempt_name, read_wave
from s4c_hpc.execute.worker import run_chunk
from s4c_hpc.plan import RunFolder

STARTED_TWICE = ExitCode.TEMPORARY
"""Exit code of an element that has been started before: a controller that crashed may do that, also while the first
one is at work."""


def main() -> int:
    """Do the chunk with this index; every task's own end is in the journal."""
    began = time.monotonic()
    run, wave_name, index = RunFolder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    os.umask(0o027)
    wave = read_wave(run, wave_name)
    attempt = attempt_name(wave_name, index)
    if was_started(run, attempt):
        return STARTED_TWICE
    run_chunk(run.root, attempt, job=os.environ.get("SLURM_JOB_ID"), deadline=began + wave.walltime_s)
    remove_if_empty(run.log(wave.stage, attempt))
    return 0


def was_started(run: RunFolder, attempt: str) -> bool:
    """Whether somebody has begun this attempt before; the log says so."""
    if not (run.journals / f"{attempt}.jsonl").exists():
        return False
    sys.stderr.write(f"s4c: attempt {attempt} has been started before; the driver decides on another one\n")
    return True


def remove_if_empty(log: Path) -> None:
    """Remove a log that nothing was written to: a country has a hundred thousand of them."""
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size == 0:
            log.unlink()


if __name__ == "__main__":
    sys.exit(main())
