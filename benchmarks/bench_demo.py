"""The demo and the help text, as a user starts them."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import cost_of, median_cost

S4C = [sys.executable, "-m", "s4c_hpc.cli"]


def measure(runs: int = 3) -> dict[str, Any]:
    """Wall time, CPU and peak memory of ``s4c demo`` (fresh workspace each time) and of ``s4c --help``."""
    demos = []
    for _ in range(runs):
        folder = Path(tempfile.mkdtemp(prefix="s4c-bench-"))
        try:
            demos.append(cost_of([*S4C, "demo", "--workspace", str(folder / "ws")]))
        finally:
            shutil.rmtree(folder)
    demo = median_cost(demos)
    help_text = median_cost([cost_of([*S4C, "--help"]) for _ in range(max(runs, 5))])
    return {
        "demo_wall_s": round(demo.wall_s, 2),
        "demo_cpu_s": round(demo.cpu_s, 2),
        "demo_peak_mib": round(demo.peak_bytes / 2**20),
        "help_wall_s": round(help_text.wall_s, 3),
        "help_cpu_s": round(help_text.cpu_s, 3),
        "runs": runs,
    }
