"""One finished demo for all tests of a session, whichever worker asks first."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from support.cli import s4c


def finished_demo(factory: pytest.TempPathFactory) -> Path:
    """A workspace of the finished demo. It is shared: copy it before something is changed."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    workspace = shared / "finished-demo" / "s4c-demo"
    with (shared / "finished-demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (workspace.parent / "finished").exists():
            done = s4c("demo", "--workspace", workspace)
            assert done.returncode == 0, done.stderr
            (workspace.parent / "finished").touch()
    return workspace
