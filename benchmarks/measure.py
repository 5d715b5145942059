"""Cost of a command: CPU seconds and peak memory of the whole process tree."""

from __future__ import annotations

import contextlib
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import psutil

SAMPLE_S = 0.02


@dataclass(frozen=True)
class Cost:
    """What one run of a command took."""

    cpu_s: float
    """User and system time of the command and all that it started."""
    wall_s: float
    peak_bytes: int
    """Largest sum of resident memory over the process tree, sampled every 20 ms; shared pages count once a process."""


def cost_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and measure it; it must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        errors: list[bytes] = []
        assert process.stderr is not None
        reader = threading.Thread(target=lambda pipe=process.stderr: errors.append(pipe.read()))
        reader.start()
        peak = 0
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, _resident(tree))
            time.sleep(SAMPLE_S)
        reader.join()
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}: {errors[0].decode()[-2000:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu_s=cpu_s, wall_s=wall_s, peak_bytes=peak)


def median_cost(costs: Sequence[Cost]) -> Cost:
    """Median of each figure over several runs."""
    rows = [asdict(cost) for cost in costs]
    return Cost(**{name: statistics.median(row[name] for row in rows) for name in rows[0]})


def _resident(tree: psutil.Process) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        for process in (tree, *tree.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total
