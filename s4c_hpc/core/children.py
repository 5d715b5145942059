"""Child processes that never outlive the process that started them, however that one ends (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_TRAMPOLINE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Asks for SIGKILL at the parent's death, then becomes the program: no code runs between fork and exec of a process
with threads, where any lock may be held for ever."""


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` (a process id) ends; at once if it has ended already.

    The kernel watches the *thread* that started this process: that thread must live as long as the child is wanted.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def start_child(
    args: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that dies with this process. The calling thread must wait for it.

    Parameters
    ----------
    args : program and arguments; no shell takes part
    cwd, env, stdout, stderr : as ``subprocess.Popen`` has them
    """
    command = [sys.executable, "-I", "-S", "-c", _TRAMPOLINE, str(os.getpid()), *args]
    return subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
