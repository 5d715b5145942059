"""One finished demo for all tests of a run, made by whichever worker of pytest needs it first."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cli import s4c


@dataclass(frozen=True, slots=True)
class FinishedDemo:
    """What ``s4c demo`` has left. It is everybody's: who changes anything works on a copy."""

    workspace: Path
    said: str
    """Its standard output."""


def finished_demo(factory: pytest.TempPathFactory) -> FinishedDemo:
    """The demo of this run of pytest; the first who asks runs it, on two workers, while others wait."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished-demo"
    folder.mkdir(exist_ok=True)
    workspace, said = folder / "workspace", folder / "said.txt"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            done = s4c("demo", "--workspace", workspace, S4C_SET__EXECUTE__WORKERS="2")
            assert done.returncode == 0, done.stderr
            said.write_text(done.stdout)
    return FinishedDemo(workspace, said.read_text())
