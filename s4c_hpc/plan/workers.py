"""How many workers a run on this machine has: counted here only, so that plans, runs and their status agree."""

from __future__ import annotations

import os

from s4c_hpc.config import Config


def worker_count(config: Config) -> int:
    """``execute.workers``, or the number of cores that this process may use."""
    return config.execute.workers or len(os.sched_getaffinity(0))
