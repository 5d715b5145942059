"""The inside of a local worker process: dask loads this module before the worker takes work (``preload``)."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s4c_hpc.core.children import die_with_parent
from s4c_hpc.execute.worker import run_chunk


def dask_setup(worker: Any) -> None:  # noqa: ARG001 - the signature is dask's
    """Tie this process to its driver and keep its terminal to itself.

    dask's own watch over the parent is a thread, which native code that keeps the interpreter lock can starve.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with_parent(parent.pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal; the driver decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # held back since before this process began
    os.dup2(2, 1)  # standard output belongs to the driver's data


def work(run_dir: str, attempt: str, log: str, *, job: str | None = None, deadline: float | None = None) -> None:
    """Do a chunk; whatever libraries print goes to its log. See ``worker.run_chunk``."""
    with _printing_to(Path(log)):
        run_chunk(Path(run_dir), attempt, job=job, deadline=deadline)


@contextlib.contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Send standard output and error of this process, native code included, to ``log``; no file if nothing comes."""
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(1), os.dup(2)
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        empty = os.fstat(target).st_size == 0
        os.close(target)
        if empty:
            log.unlink(missing_ok=True)
