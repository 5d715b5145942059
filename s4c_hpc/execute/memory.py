"""How much memory a task needs: anonymous pages, which cannot be dropped as file pages can."""

from __future__ import annotations

import ctypes
import gc
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pyarrow as pa

SAMPLE_INTERVAL_S = 0.02
SAMPLING_SHARE = 0.05
"""Of a processor, that sampling may take."""

_STATUS = Path("/proc/self/status")
_SMAPS = Path("/proc/self/smaps_rollup")
_MALLOC_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc only; other C libraries keep less."""


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process now (``RssAnon`` of proc(5)), in bytes."""
    for line in _STATUS.read_bytes().splitlines():
        if line.startswith(b"RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0  # kernels before 4.5 do not tell


def anonymous_and_shared_bytes() -> int:
    """``anonymous_bytes`` and this process's share of memory that it shares with others (MPI windows), in bytes.

    A page that n processes have mapped counts 1/n in each (``Pss_Shmem`` of proc_pid_smaps(5), Linux 5.9): the sum over
    processes is what they hold together. It takes some 20 ms a GiB.
    """
    for line in _SMAPS.read_bytes().splitlines():
        if line.startswith(b"Pss_Shmem:"):
            return anonymous_bytes() + int(line.split()[1]) * 1024
    return anonymous_bytes()


def max_rss_bytes() -> int:
    """Highest total resident size of this process since it began, in bytes: mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def release_unused() -> None:
    """Give freed memory back to the system, so that the next task is not charged with it."""
    gc.collect(1)  # old objects are modules for the most part: looking at them all takes longer than a small task
    pa.default_memory_pool().release_unused()
    if _MALLOC_TRIM is not None:
        _MALLOC_TRIM(0)


class MemoryPeak:
    """Context that samples the memory of this process in a thread of its own.

    A peak shorter than ``SAMPLE_INTERVAL_S``, or inside native code that keeps the interpreter lock, can be missed.
    """

    def __init__(self, measure: Callable[[], int] = anonymous_bytes) -> None:
        self._measure = measure
        self.base_bytes = 0
        """When the context was entered."""
        self.peak_bytes = 0
        """Highest sample so far."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory-peak", daemon=True)

    def __enter__(self) -> MemoryPeak:
        self.base_bytes = self.peak_bytes = self._measure()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.peak_bytes = max(self.peak_bytes, self._measure())

    def _sample(self) -> None:
        pause_s = SAMPLE_INTERVAL_S
        while not self._stop.wait(pause_s):
            # Processor time: on a busy machine a sample waits its turn, and looking less often would miss the peak.
            began = time.thread_time()
            self.peak_bytes = max(self.peak_bytes, self._measure())
            pause_s = max(SAMPLE_INTERVAL_S, (time.thread_time() - began) / SAMPLING_SHARE)
