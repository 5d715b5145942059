"""What a task costs beside its own work: probe tasks of a CPU second on two cores, beside ``xargs`` and a bare array.

Ways to do the same: ``s4c`` with two local workers; ``s4c`` on a development cluster of two nodes with a core each, in
chunks and with a task an element; ``xargs -P 2`` with a Python process a task; ``sbatch --array`` of that on the same
cluster. Ours journal every task, write, sync and hash its output; the peers keep nothing. CPU seconds are user plus
system time of all processes.

``python -m benchmarks.bench_tasks [--tasks N] [--bare N]`` prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import fold_journals
from s4c_hpc.slurm.cluster import Cluster
from s4c_hpc.slurm.node_processes import node_processes

SLOTS, WORK_S = 2, 1.0
TASKS, BARE = 1000, 200
HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
SITE = {"name": "bench", "season_start": "2018-01-01", "season_end": "2018-12-31"}
SAMPLE_S = 0.5
GIB = 1 << 30


@dataclass
class Watch:
    """CPU seconds of processes that nobody of ours waits for, the last time they were seen."""

    cluster: Cluster | None
    driver: int | None = None
    seen: dict[tuple[str, int], float] = field(default_factory=dict)

    def look(self) -> None:
        """Take note of all of them."""
        found = [] if self.driver is None else [("driver", self.driver)]
        if self.cluster is not None:
            found += [(name, pid) for name, d in self.cluster.daemons.items() if (pid := d.pid()) is not None]
            with contextlib.suppress(psutil.Error):
                steps = (p for p in node_processes(self.cluster.root) if p.name() == "slurmstepd")
                found += [("slurmstepd", p.pid) for p in steps]
        for name, pid in found:
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                self.seen[name.partition("-")[0], pid] = times.user + times.system

    def total(self) -> dict[str, float]:
        """By name."""
        found: dict[str, float] = {}
        for (name, _), seconds in self.seen.items():
            found[name] = found.get(name, 0.0) + seconds
        return found


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[dict[str, float]]:
    """What each kind of process has used while the context lasted: filled in at its end."""
    used: dict[str, float] = {}
    watch.look()
    before, done = watch.total(), threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            watch.look()

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield used
    finally:
        done.set()
        sampler.join()
        watch.look()
        used.update({name: seconds - before.get(name, 0.0) for name, seconds in watch.total().items()})


def measure(n_tasks: int = TASKS, n_bare: int = BARE) -> dict[str, Any]:
    """Figures of all ways, each with ``n_tasks`` tasks but those with a job a task, with ``n_bare``."""
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="s4c-bench-") as name:
        folder = Path(name)
        cluster = Cluster(folder / "cluster", nodes=SLOTS, cpus=1, memory_bytes=4 * GIB, cgroup=False)
        cluster.up()
        try:
            found = {
                "slurm, chunks": _slurm(cluster, folder / "chunks", n_tasks, chunk_s=300.0),
                "slurm, a task an element": _slurm(cluster, folder / "single", n_bare, chunk_s=1e-3),
                "sbatch --array": _bare(cluster, folder, n_bare),
            }
        finally:
            cluster.down()
        found |= {"local": _local(folder / "local", n_tasks), "xargs": _xargs(n_tasks)}
    peers = {"local": "xargs", "slurm, chunks": "sbatch --array", "slurm, a task an element": "sbatch --array"}
    return {
        "slots": SLOTS,
        "cpu_s_a_task": WORK_S,
        "load_at_the_beginning": load,
        "ways": found,
        "overhead_over_that_of_the_peer": {
            way: round(found[way]["overhead_cpu_s_a_task"] / found[peer]["overhead_cpu_s_a_task"], 2)
            for way, peer in peers.items()
        },
    }


def _local(root: Path, n_tasks: int) -> dict[str, Any]:
    probes = _workspace(root, n_tasks, {"execute": {"workers": SLOTS, "memory": 2 * GIB}})
    watch = Watch(None)
    wall_s, cpu_s, used = _driven(root, _environment(probes), watch)
    driver_s = used.get("driver", 0.0)
    return _figures(root, n_tasks, wall_s, {"driver": driver_s, "workers": cpu_s - driver_s})


def _slurm(cluster: Cluster, root: Path, n_tasks: int, *, chunk_s: float) -> dict[str, Any]:
    probes = root.with_name(root.name + "-probes")
    slurm = {
        "partition": "main", "account": "s4c", "qos": "s4c-small", "poll_s": 1.0, "chunk_s": chunk_s,
        "min_chunk_s": 0.0, "memory_overhead": 64 << 20, "launch": {"setup": [f"export PYTHONPATH='{TESTS}:{probes}'"]},
    }  # fmt: skip
    _workspace(root, n_tasks, {"execute": {"executor": "slurm"}, "slurm": slurm})
    began = cluster.run("date", "+%s").strip()
    wall_s, cpu_s, used = _driven(root, {**_environment(probes), **cluster.env}, Watch(cluster))
    used.pop("driver", None)
    return _figures(root, n_tasks, wall_s, {"driver": cpu_s, "workers": _accounted(cluster, began), **used})


def _bare(cluster: Cluster, folder: Path, n_tasks: int) -> dict[str, Any]:
    script = f"#!/bin/bash\nexec {sys.executable} {HERE / 'peer_work.py'} {WORK_S}\n"
    began = cluster.run("date", "+%s").strip()
    start = time.perf_counter()
    with watching(Watch(cluster)) as used:
        (folder / "bare.sh").write_text(script)
        options = [f"--array=0-{n_tasks - 1}", "--output=/dev/null", "--mem=100M", "--account=s4c", "--qos=s4c-small"]
        cluster.run("sbatch", *options, str(folder / "bare.sh"))
        while cluster.run("squeue", "-h", "-o", "%i"):
            time.sleep(1)
    wall_s = time.perf_counter() - start
    return _figures(None, n_tasks, wall_s, {"workers": _accounted(cluster, began), **used})


def _xargs(n_tasks: int) -> dict[str, Any]:
    words = ["xargs", "-P", str(SLOTS), "-n", "1", sys.executable, str(HERE / "peer_work.py")]
    start = time.perf_counter()
    cpu_s = _waited(words, dict(os.environ), f"{WORK_S}\n" * n_tasks, Watch(None))
    return _figures(None, n_tasks, time.perf_counter() - start, {"xargs and workers": cpu_s})


def _driven(root: Path, environment: dict[str, str], watch: Watch) -> tuple[float, float, dict[str, float]]:
    """Wall seconds of a run, CPU seconds of its driver and of what that waited for, and what ``watch`` has seen."""
    start = time.perf_counter()
    words = [sys.executable, "-m", "support.slurm_runs", "run", str(root), "probe-root"]
    with watching(watch) as used:
        cpu_s = _waited(words, environment, "", watch)
    return time.perf_counter() - start, cpu_s, used


def _waited(words: Sequence[str], environment: dict[str, str], text: str, watch: Watch) -> float:
    """CPU seconds of a command and of all that it waited for."""
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, text=True) as process:
        watch.driver = process.pid
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _workspace(root: Path, n_tasks: int, config: dict[str, Any]) -> Path:
    """A workspace with so many tasks of stage ``probe-root``, and the folder of the probe stages."""
    sys.path.insert(0, str(TESTS))
    from support.probe_stage import MIB, describe_probe, install_probes  # noqa: PLC0415 - beside the tests

    root.mkdir()
    tiles = [f"T{i:04d}" for i in range(n_tasks)]
    describe_probe(root, tiles=tiles, products=[], ms=1000 * WORK_S, mem_bytes=256 * MIB)
    (root / "config.json").write_text(json.dumps({"site": SITE, **config}))
    return install_probes(root.with_name(root.name + "-probes"))


def _environment(probes: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(probes)])}


def _accounted(cluster: Cluster, since: str) -> float:
    """CPU seconds of all jobs since then, without Slurm's own part in them: what the nodes measured at their ends."""
    time.sleep(3)  # the last records are on their way
    ago = int(time.time()) - int(since) + 1
    lines = cluster.run("sacct", "-n", "-P", f"--starttime=now-{ago}seconds", "--format=JobID,TotalCPU").splitlines()
    fields = (line.split("|") for line in lines)
    return sum(_seconds(time_) for job, time_ in fields if job.endswith(".batch"))


def _seconds(text: str) -> float:
    """``[[days-]hours:]minutes:seconds.milliseconds`` of sacct."""
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part)
    return total + 86400 * float(days or 0)


def _figures(root: Path | None, n_tasks: int, wall_s: float, cpu_s: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {"tasks": n_tasks}
    if root is not None:
        history = fold_journals(Workspace(root)).to_pylist()
        assert sum(row["kind"] == "done" for row in history) == n_tasks
        found["elements"] = sum(1 for _ in root.glob("run/*/journal/0*.jsonl"))
        found["cpu_s_in_tasks"] = round(sum(row["cpu_s"] for row in history), 1)
    useful_s = n_tasks * WORK_S
    total_s = sum(cpu_s.values())
    found["wall_s"] = round(wall_s, 1)
    found["cpu_s"] = {name: round(seconds, 2) for name, seconds in cpu_s.items()}
    found["useful_cpu_over_slots_x_wall"] = round(useful_s / (SLOTS * wall_s), 3)
    found["useful_cpu_over_all_cpu"] = round(useful_s / total_s, 3)
    found["overhead_cpu_s_a_task"] = round((total_s - useful_s) / n_tasks, 4)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.bench_tasks", description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--bare", type=int, default=BARE, help="tasks that are a job each")
    options = parser.parse_args()
    if shutil.which("xargs") is None:
        parser.error("there is no xargs here")
    print(json.dumps(measure(options.tasks, options.bare), indent=2))
