"""Run chunks on this machine: worker processes of dask on loopback, encrypted, without a dashboard."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import resource_tracker
from typing import Any

import dask
import psutil

from s4c_hpc.config import Config
from s4c_hpc.core.errors import SchedulerError
from s4c_hpc.core.task import Launch
from s4c_hpc.execute.advance import End, Executor
from s4c_hpc.execute.board import Board
from s4c_hpc.execute.choose import Budget, Cut
from s4c_hpc.execute.journal import Kind
from s4c_hpc.execute.limits import Most
from s4c_hpc.execute.local_budget import LocalBudget
from s4c_hpc.execute.local_worker import work
from s4c_hpc.execute.manifest import Chunk, Wave
from s4c_hpc.plan import RunFolder, worker_count

CLOSE_TIMEOUT_S = 5.0
"""Time that dask has to end its workers by itself, before they are killed."""
CHUNK_S = 10.0
"""Predicted seconds of a chunk at most."""
POLL_S = 0.25
"""Longest pause between two looks at the journals."""
MEMORY_SHARE = 0.8
"""Of the free memory that tasks may ask for when the site does not say."""

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",  # Arrow's pool as well
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "GDAL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
"""A worker is one core: libraries that start a thread per core would run them all against each other."""

DASK_CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,  # retries are decided from journals, by reason
    "distributed.scheduler.worker-ttl": None,  # native code may keep a worker silent for minutes
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.multiprocessing-method": "spawn",
    # No MALLOC_TRIM_THRESHOLD_, which dask sets as a rule: with it every array of more than 128 KiB is mapped and
    # unmapped again, a third of the time of statistics. What is not used is given back before each task.
    "distributed.nanny.pre-spawn-environ": {**dict.fromkeys(_THREAD_VARIABLES, "1"), "MALLOC_ARENA_MAX": "2"},
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.interval": "10s",
    # dask always opens a plain HTTP port (here on loopback, any free number): it must have nothing to tell.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.logging.distributed": "critical",  # a killed worker is the journal's business, not the terminal's
}


def memory_budget(config: Config) -> int:
    """Memory that all tasks together may ask for, in bytes."""
    if config.execute.memory is not None:
        return int(config.execute.memory)
    return int(psutil.virtual_memory().available * MEMORY_SHARE)


def local_cut(slots: int, memory_bytes: int) -> Cut:
    """How work is cut for ``slots`` worker processes that may ask for ``memory_bytes`` together."""
    return Cut(cores=slots, longest_s=CHUNK_S, shortest_s=0.0, most=Most(cpus=slots, mem_bytes=memory_bytes))


@contextlib.contextmanager
def local_executor(run: RunFolder, config: Config) -> Iterator[Executor]:
    """Worker processes for one run; they are gone when the context is left, and when this process dies.

    Parameters
    ----------
    run : its scratch folder holds dask's files
    config : ``execute.workers`` and ``execute.memory``

    Raises
    ------
    SchedulerError
        If the workers do not start.
    """
    # Late: it takes most of a second, and a plan that is up to date does not need it.
    distributed: Any = importlib.import_module("distributed")
    slots = worker_count(config)
    scratch = run.scratch / "dask"
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        dask.config.set({**DASK_CONFIG, "temporary-directory": str(scratch)}),
        _quiet(),
        contextlib.ExitStack() as stack,
    ):
        try:
            security = distributed.Security.temporary()
            with _interrupts_held_back():
                cluster = distributed.LocalCluster(
                    n_workers=slots,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    protocol="tls://",
                    security=security,
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    memory_limit=0,
                    local_directory=str(scratch),
                    preload=["s4c_hpc.execute.local_worker"],
                    silence_logs=logging.CRITICAL,
                )
            stack.callback(_close_cluster, cluster)
            client = distributed.Client(cluster, security=security, set_as_default=False)
            stack.callback(_close, client.close)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise SchedulerError(
                f"the local workers do not start ({type(error).__name__}: {error})",
                where=str(run.root),
                hint="check that loopback connections and child processes are allowed here",
            ) from error
        executor = LocalExecutor(cluster, client, slots, memory_budget(config))
        stack.callback(executor.cancel)
        yield executor


class LocalExecutor:
    """Chunks on a dask ``LocalCluster``; see the protocol ``Executor``."""

    def __init__(self, cluster: Any, client: Any, slots: int, memory_bytes: int) -> None:
        self._cluster, self._client = cluster, client
        self._slots, self._memory_bytes = slots, memory_bytes
        self._futures: dict[str, Any] = {}
        self._why: dict[str, str] = {}
        self._changed = threading.Event()

    @property
    def cut(self) -> Cut:
        """Short chunks: to start one costs nothing."""
        return local_cut(self._slots, self._memory_bytes)

    @property
    def outlives_driver(self) -> bool:
        """No: worker processes die with their driver."""
        return False

    def launch(self, stage: str) -> Launch:  # noqa: ARG002 - the protocol's
        """Every stage in a worker process."""
        return Launch.ARRAY

    def budget(self, board: Board, chunks: Mapping[str, Chunk]) -> Budget:  # noqa: ARG002 - the protocol's
        """Cores and memory that are free."""
        return LocalBudget.of(self._slots, self._memory_bytes, chunks.values())

    def submit(self, run: RunFolder, wave: Wave) -> None:
        """Hand chunks to the workers."""
        for chunk in wave.chunks:
            log = str(run.log(chunk.stage, chunk.attempt))
            future = self._client.submit(work, str(run.root), chunk.attempt, log, key=chunk.attempt, pure=False)
            future.add_done_callback(lambda _: self._changed.set())
            self._futures[chunk.attempt] = future

    def alive(self, chunks: Mapping[str, Chunk]) -> set[str]:  # noqa: ARG002 - the protocol's
        """Attempts that have not ended."""
        self._changed.clear()
        for attempt, future in list(self._futures.items()):
            if future.done():
                if future.status != "finished":
                    self._why[attempt] = self._reason(future)
                del self._futures[attempt]
        return set(self._futures)

    def waiting(self) -> set[str]:
        """None: what waits is not told from what runs."""
        return set()

    def why_ended(self, attempt: str) -> End | None:
        """The error that ended a chunk, if it was not simply done."""
        why = self._why.pop(attempt, None)
        return None if why is None else End(kind=Kind.LOST, what=why)

    @property
    def poll_s(self) -> float:
        """Journals here are near and few."""
        return POLL_S

    def wait(self, timeout_s: float) -> bool:
        """Return when a chunk ends, or after ``timeout_s``."""
        return self._changed.wait(timeout_s)

    def cancel(self) -> None:
        """Kill the workers if they have work: what they were doing is found unfinished in the journals.

        Idle ones are left to end by themselves, which is faster.
        """
        if not self.alive({}):
            return
        _kill(list(self._cluster.workers.values()))
        self._futures.clear()

    @staticmethod
    def _reason(future: Any) -> str:
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            return "the worker process died (killed, out of memory, or a crash in native code)"
        return f"the worker stopped: {type(error).__name__}: {error}"


def _close_cluster(cluster: Any) -> None:
    nannies = list(cluster.workers.values())
    _close(cluster.close)
    _kill(nannies)


def _close(close: Callable[..., object]) -> None:
    """Close a part of dask. All work is done and in the journals: that it does not close in time is no failure."""
    with contextlib.suppress(Exception, asyncio.CancelledError):
        close(timeout=CLOSE_TIMEOUT_S)


def _kill(nannies: Sequence[Any]) -> None:
    """Kill the workers that these watch over, if they still live, and start no others."""
    for nanny in nannies:
        if nanny.status.name not in {"closing", "closed"}:
            nanny.close_gracefully()  # else it would start another
        process = getattr(nanny, "process", None)
        if process is not None and process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C, which reaches the whole terminal, wait; processes started meanwhile begin with it held back.

    Threads started meanwhile hold it back for good: so do workers that dask starts later in place of dead ones.
    """
    resource_tracker.ensure_running()  # it would be started with the first worker, and let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask from talking about workers that come and go, of which the run itself tells."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
