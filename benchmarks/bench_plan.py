"""Planning, folding and status at the size of a country: a million tasks, in three situations.

Nothing was done; all was done; all was done and then a parameter of ``stats`` changed, so that half is to do again.
Every figure is from a process of its own. Stages read rows that were made before: what remains is the cost of planning.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.plan_rows import stored_stages, write_rows
from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.plan_rows import read_tasks
from s4c_hpc.execute.state import update_state
from s4c_hpc.plan import make_plan, new_run_id, run_folders

SIZES = {"S": 20_000, "M": 200_000, "L": 1_000_000}
SITE = {"name": "bench", "season_start": "2018-01-01", "season_end": "2018-12-31"}
CONFIG = "[site]\n" + "".join(f'{name} = "{value}"\n' for name, value in SITE.items())
CHUNK_TASKS = 500
ROWS, CHANGED_ROWS = "rows", "rows-changed"


class Steps:
    """Wall time, CPU time and peak memory of this process, step by step."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is done inside; the peak is that of the process so far."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.figures[name] = {
            "wall_s": round(time.perf_counter() - wall, 2),
            "cpu_s": round(time.process_time() - cpu, 2),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def measure(folder: Path, size: str = "L") -> dict[str, Any]:
    """Figures by situation and step."""
    home = folder / f"plan-{size}"
    shutil.rmtree(home, ignore_errors=True)
    workspace = home / "workspace"
    (workspace / "run").mkdir(parents=True)
    (workspace / "s4c.toml").write_text(CONFIG, encoding="utf-8")
    n_tasks = SIZES[size]
    write_rows(home / CHANGED_ROWS, n_tasks, ["mean", "std", "p25"])
    figures: dict[str, Any] = {"tasks": write_rows(home / ROWS, n_tasks, ["mean", "std"])}
    try:
        figures["nothing done"] = _apart("plan", home, ROWS, "--write")
        figures["status, nothing begun"] = _apart("status", home)
        figures["rows of 3 tasks"] = _apart("rows", home)
        _apart("work", home)
        figures["status, all done, nothing folded"] = _apart("status", home)
        figures["fold"] = _apart("fold", home)
        figures["fold, nothing new"] = _apart("fold", home)
        figures["status, all done"] = _apart("status", home)
        figures["all done"] = _apart("plan", home, ROWS)
        figures["parameter changed"] = _apart("plan", home, CHANGED_ROWS, "--write")
        figures["status, parameter changed"] = _apart("status", home)
    finally:
        shutil.rmtree(home)
    return figures


def _apart(*arguments: object) -> dict[str, Any]:
    """Do a part in a process of its own and return its figures."""
    command = [sys.executable, "-m", "benchmarks.bench_plan", *map(str, arguments)]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


def plan(home: Path, rows: str, *, write: bool) -> dict[str, Any]:
    """Make a plan and ask it everything that commands ask."""
    workspace, steps = Workspace(home / "workspace"), Steps()
    config = Config.model_validate({"site": SITE})
    with steps.step("make"):
        made = make_plan(workspace, config, registry=stored_stages(home / rows))
    with steps.step("summary"):
        counts = {line.stage: {"todo": line.todo, "done": line.done} for line in made.summary}
    with steps.step("reasons"):
        made.reasons()
    with steps.step("makespan"):
        made.makespan(16)
    with steps.step("json"):
        made.to_json(16)
    with steps.step("space"), contextlib.suppress(Exception):  # there may be less free than a country needs
        made.check_space()
    if write:
        with steps.step("write"):
            folder = made.write(workspace.runs / new_run_id())
        steps.figures["plan_mib"] = sum(path.stat().st_size for path in folder.root.glob("*.parquet")) >> 20
    return {**steps.figures, "counts": counts, "why": made.to_json()["reasons"]}


def fold(home: Path) -> dict[str, Any]:
    """Bring the state tables up to date."""
    steps = Steps()
    with steps.step("fold"):
        update_state(Workspace(home / "workspace"))
    return steps.figures


def rows(home: Path) -> dict[str, Any]:
    """What a worker reads of the plan: tasks of one chunk, and what they depend on."""
    (run,) = run_folders(Workspace(home / "workspace"))
    ids = pq.read_table(run.plan, columns=["id"])["id"]
    some = [ids[int(i)].as_py() for i in np.linspace(len(ids) * 0.6, len(ids) * 0.8, 3)]
    del ids
    steps = Steps()
    with steps.step("before"):
        pass
    with steps.step("read"):
        tasks = read_tasks(run.plan, some)
        read_tasks(run.plan, [key for task in tasks.values() for key in task.depends_on])
    return steps.figures


def status(home: Path) -> dict[str, Any]:
    """``s4c status`` as a user starts it."""
    command = [sys.executable, "-m", "s4c_hpc.cli", "status", "--workspace", str(home / "workspace"), "--json"]
    wall = time.perf_counter()
    result = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(result.stdout)
    return {
        "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": usage.ru_maxrss // 1024,
        "progress": told["progress"],
    }


def work(home: Path) -> dict[str, Any]:
    """Leave what workers leave: journals and (empty) files."""
    workspace = Workspace(home / "workspace")
    (run,) = run_folders(workspace)
    tasks = pq.read_table(run.plan, columns=["id", "stage", "outputs"])
    for stage in stored_stages(home / ROWS):
        here = tasks.filter(pc.equal(tasks["stage"], stage))
        for folder in {path.rpartition("/")[0] for path in here["outputs"].combine_chunks().flatten().to_pylist()}:
            (workspace.root / folder).mkdir(parents=True, exist_ok=True)
    for number, batch in enumerate(tasks.combine_chunks().to_batches(max_chunksize=CHUNK_TASKS)):
        attempt, ids = f"000001-{number:04d}", batch["id"].to_pylist()
        lines: list[str] = []
        for identity, outputs in zip(ids, batch["outputs"].to_pylist(), strict=True):
            for path in outputs:
                os.mknod(workspace.root / path)
            lines += _lines(identity, attempt, outputs, 1.6e9 + number)
        (run.journals / f"{attempt}.jsonl").write_text("".join(lines))
    return {}


def _lines(identity: str, attempt: str, outputs: list[str], t: float) -> Iterator[str]:
    """Begin and end of a task as a worker writes them."""
    begin = f'"id":"{identity}","number":1,"pid":4711,"t":{t}'
    yield f'{{"attempt":"{attempt}","event":"begin","host":"node-01",{begin}}}\n'
    files = ",".join(f'{{"bytes":1000000,"path":"{path}","sha256":"{"0" * 64}"}}' for path in outputs)
    yield (
        f'{{"absent":[],"attempt":"{attempt}","base_anon_bytes":200000000,"cpu_s":1.5,"event":"done","id":"{identity}",'
        f'"max_rss_bytes":400000000,"n_rows":1000,"notes":[],"number":1,"outputs":[{files}],'
        f'"peak_anon_bytes":300000000,"rasters_opened":12,"t":{t + 2},"twins":0,"wall_s":2.0}}\n'
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["plan", "fold", "rows", "status", "work"])
    parser.add_argument("home", type=Path)
    parser.add_argument("rows", nargs="?", default=ROWS)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.part == "plan":
        found = plan(options.home, options.rows, write=options.write)
    else:
        found = {"fold": fold, "rows": rows, "status": status, "work": work}[options.part](options.home)
    print(json.dumps(found))
