"""``python -m benchmarks [--size S|M|L] [--runs N] [--folder DIR]``: run all, print JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

from benchmarks import (
    bench_country,
    bench_country_year,
    bench_demo,
    bench_extract,
    bench_plan,
    bench_predict,
    bench_tasks,
)

parser = argparse.ArgumentParser(prog="benchmarks", description="Measure; prints JSON.")
parser.add_argument("--size", choices=["S", "M", "L"], default="M")
parser.add_argument("--runs", type=int, default=3)
parser.add_argument("--folder", type=Path, default=Path("/tmp/s4c-bench"), help="where generated data is kept")  # noqa: S108 - a default, shown in --help
options = parser.parse_args()
print(
    json.dumps(
        {
            "machine": {
                "cpu": platform.processor() or platform.machine(),
                "cores": os.cpu_count(),
                "load": os.getloadavg(),
            },
            "demo": bench_demo.measure(options.runs),
            "extract": bench_extract.measure(options.folder, options.size, options.runs),
            "plan": bench_plan.measure(options.folder, options.size),
            "predict": bench_predict.measure(options.folder),
            "country": bench_country.measure(),
            "country-year": bench_country_year.measure(bench_country_year.TARGETS),
            "tasks": bench_tasks.measure(),
        },
        indent=2,
    )
)
