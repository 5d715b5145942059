"""Random kills on a development cluster: whatever dies, running again ends with the same bytes."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from support.runs import wait_for
from support.slurm_runs import SlurmDriver, SlurmRun

from s4c_hpc.execute import status
from s4c_hpc.execute.detach import why_stopped
from s4c_hpc.execute.submissions import tick_name
from s4c_hpc.plan import run_folders
from s4c_hpc.slurm.cluster import Cluster
from s4c_hpc.slurm.node_processes import node_processes

VICTIMS = ("slurmctld", "slurmdbd", "node", "worker", "everything")
MAX_STARTS = 25
RESTART_S = 40.0
"""How long a detached run may seem to stand still before a person would start it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What happened in one round."""

    seed: int
    detached: bool
    kills: dict[str, int]
    starts: int
    """How often the run was begun or taken over."""
    waves: int
    kinds: dict[str, int]
    """How the attempts ended."""
    twins: int
    wall_s: float


def chaos_round(cluster: Cluster, folder: Path, probes: Path, seed: int, *, n_kills: int = 3) -> Round:
    """One run with ``n_kills`` random kills, checked to end as if nothing had been.

    Parameters
    ----------
    seed : of victims and moments; every other round is detached
    """
    began = time.monotonic()
    chance = random.Random(seed)
    run = SlurmRun(
        cluster,
        folder,
        probes,
        stages=("probe-sum",),
        products=[f"p{i}" for i in range(4)],
        ms=100,
        slurm={"chunk_s": 0.001, "forgotten_after_s": 6},
    )
    run.behave(**{f"p{i}": {"nap_s": chance.uniform(1, 3)} for i in range(4)})
    detached = seed % 2 == 1
    victims = ("tick" if detached else "driver", *VICTIMS)
    plan = [(chance.choice(victims), chance.uniform(0.5, 4.0)) for _ in range(n_kills)]
    kills: Counter[str] = Counter()
    starts = 0
    driver: SlurmDriver | None = None
    try:
        while True:
            if driver is None or (driver.process.poll() is not None and not _drives_itself(run, detached)):
                if _is_complete(run):
                    break
                assert starts < MAX_STARTS, "it does not come to its end"
                if driver is not None:
                    driver.finish()
                driver = run.start("detach" if detached else "run")
                starts += 1
            if plan:
                victim, pause_s = plan.pop()
                time.sleep(pause_s)
                kills[victim] += _kill(run, driver, victim, chance, detached=detached)
                _mend(cluster)
            else:
                wait_for(partial(_is_over, run, driver, detached), RESTART_S)
    finally:
        if driver is not None:
            with driver:
                driver.process.kill()
    run.assert_as_undisturbed(same_run=False, strays=True)
    history = run.history()
    return Round(
        seed=seed,
        detached=detached,
        kills=dict(kills),
        starts=starts,
        waves=len(run.waves()),
        kinds=dict(run.kinds()),
        twins=sum(row["twins"] > 0 for row in history),
        wall_s=round(time.monotonic() - began, 1),
    )


def _is_over(run: SlurmRun, driver: SlurmDriver | None, detached: bool) -> bool:
    if driver is not None and driver.process.poll() is None:
        return False
    return _is_complete(run) or not _drives_itself(run, detached)


def _is_complete(run: SlurmRun) -> bool:
    """Whether the newest run is at its end, and no tick is left to put things in order."""
    try:
        found = status(run.workspace)
    except FileNotFoundError:
        return False
    return found is not None and found.progress.is_settled and not found.is_active and not _ticks(run)


def _drives_itself(run: SlurmRun, detached: bool) -> bool:
    """Whether ticks are in the queue; where Slurm does not answer a person would wait."""
    if not detached:
        return False
    try:
        return bool(_ticks(run)) and why_stopped(run.newest) is None
    except AssertionError:
        return False


def _ticks(run: SlurmRun) -> list[str]:
    # Of this workspace: Slurm requeues a tick of the round before whose node was killed, also after its run has ended.
    own = {tick_name(folder) for folder in run_folders(run.workspace)}
    return [name for name in run.cluster.run("squeue", "-h", "-o", "%j").splitlines() if name in own]


def _kill(run: SlurmRun, driver: SlurmDriver, victim: str, chance: random.Random, *, detached: bool) -> int:
    """Kill one of a kind; how many died."""
    cluster = run.cluster
    match victim:
        case "driver":
            return _end([psutil.Process(driver.process.pid)] if driver.process.poll() is None else [])
        case "tick":
            wait_for(lambda: _python(cluster, "s4c_hpc.execute.tick"), 4 if detached else 0)
            return _end(_python(cluster, "s4c_hpc.execute.tick"))
        case "worker":
            workers = _workers(cluster)
            return _end([chance.choice(workers)] if workers else [])
        case "everything":
            python = _python(cluster, "s4c_hpc.execute")
            return _end([*python, *([psutil.Process(driver.process.pid)] if driver.process.poll() is None else [])])
        case "node":  # one that is at work, if any is
            busy = sorted({name for process in _workers(cluster) if (name := _node(process))})
            cluster.kill_node(chance.choice(busy or cluster.settings.node_names))
        case _:
            cluster.stop(victim, signal=signal.SIGKILL)
            time.sleep(chance.uniform(0, 2))
    return 1


def _workers(cluster: Cluster) -> list[psutil.Process]:
    """Processes of chunks, waited for a little: between two stages there are none."""
    wait_for(lambda: _python(cluster, "s4c_hpc.execute.element"), 8)
    return _python(cluster, "s4c_hpc.execute.element")


def _node(process: psutil.Process) -> str:
    try:
        name: str = process.environ().get("SLURMD_NODENAME", "")
    except psutil.Error:
        return ""
    return name


def _mend(cluster: Cluster) -> None:
    """Start whatever daemon is down, as an admin or a watchdog does."""
    for name in cluster.daemons:
        cluster.start(name)


def _python(cluster: Cluster, module: str) -> list[psutil.Process]:
    """Processes of a module of ours on any node."""
    found = []
    for process in node_processes(cluster.root):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(word.startswith(module) for word in words):
            found.append(process)
    return found


def _end(processes: list[psutil.Process]) -> int:
    killed = 0
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
        killed += 1
    return killed
