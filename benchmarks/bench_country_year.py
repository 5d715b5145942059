"""A country-year handed to Slurm in virtual time: how often it is asked, and how many files that leaves.

Real are ``advance()``, the Slurm executor, its client with the parsing of every answer, manifests and journals in a
workspace; simulated are Slurm's programs, its nodes and what workers do. Data files are counted by the plan, not made.
A count, no speed figure; CPU seconds are those of the driver alone.

``python -m benchmarks.bench_country_year [CASE ...]`` prints JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.country_rows import COSTS, DATES, NATIVE, PAIRS, TILES, TILES_A_PAIR, Country
from benchmarks.simulated_slurm import GIB, SimulatedPrograms, SimulatedSlurm
from s4c_hpc.config import Config
from s4c_hpc.core.task import Launch
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.advance import Run, advance
from s4c_hpc.execute.board import Board
from s4c_hpc.execute.choose import Cut
from s4c_hpc.execute.clock import Clock
from s4c_hpc.execute.manifest import Chunk, wave_of
from s4c_hpc.execute.slurm_budget import STAGE_SHARE
from s4c_hpc.execute.slurm_executor import HOLD_S, SlurmExecutor
from s4c_hpc.execute.state import fold_journals
from s4c_hpc.plan import RunFolder, make_plan, new_run_id
from s4c_hpc.slurm.client import SlurmClient

NODES, CORES, NODE_BYTES = 50, 32, 192 * GIB
MOST_SBATCH, MOST_FILES = 2_000, 400_000
"""Targets."""
EVERYWHERE = TILES // TILES_A_PAIR * PAIRS
"""Pairs of a country of which every tile is touched by ``PAIRS``."""
SITE = {"name": "bench", "season_start": "2018-01-01", "season_end": "2018-12-31"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is run, where, by which rule."""

    pairs: int = PAIRS
    snap: bool = True
    parts: int = 1
    """Increments, each begun when the one before is done."""
    s1_share: float | None = None
    """Of the cluster's memory that running coherence jobs may have: a QoS of their own."""
    stage_share: float = STAGE_SHARE
    """Of the submission window that one stage may fill."""
    poll_s: float = 15.0
    s2_only: bool = False
    """Stop when Sentinel-2 is done."""
    max_submitted: int = 2000
    chunk_s: float = 300.0
    cut_by_all: bool = False
    """Cut chunks by all that is ready, not by what is ready of one stage and memory class."""
    hold_when_full: bool = False
    """Hold ready work back as soon as all cores are asked for, not when much time is."""
    linger_s: float = 0.0
    """While anything is in flight, little work waits so long after the newest wave for more of its kind."""
    least_memory: float = 0.0
    """Smallest memory class, as a share of the memory that comes with a core."""
    first_parts: int | None = None
    """Increments that are simulated; all if not given."""


_HELD: dict[str, Any] = {
    "pairs": EVERYWHERE // 8, "s1_share": 0.25, "max_submitted": 500, "poll_s": 60.0, "s2_only": True
}  # fmt: skip
"""More pairs than there are places in the window, and few that may run."""

CASES = {
    "236 pairs": Case(),
    "236 pairs, 25 increments": Case(parts=25),
    "236 pairs, cut by all": Case(cut_by_all=True),
    "236 pairs, cut by all, hold when full": Case(cut_by_all=True, hold_when_full=True),
    "236 pairs, linger and classes": Case(hold_when_full=True, linger_s=60, least_memory=0.5),
    "3 of 25 increments": Case(parts=25, first_parts=3),
    "3 of 25 increments, linger": Case(parts=25, first_parts=3, hold_when_full=True, linger_s=60),
    "3 of 25 increments, classes": Case(parts=25, first_parts=3, least_memory=0.5),
    "3 of 25 increments, all": Case(
        parts=25, first_parts=3, cut_by_all=True, hold_when_full=True, linger_s=60, least_memory=0.5
    ),
    "236 pairs, 25 increments, linger and classes": Case(parts=25, hold_when_full=True, linger_s=60, least_memory=0.5),
    "236 pairs on every tile": Case(pairs=EVERYWHERE, snap=False),
    "236 pairs on every tile, 25 increments": Case(pairs=EVERYWHERE, snap=False, parts=25),
    "3 of 25 increments, linger and classes": Case(
        parts=25, first_parts=3, hold_when_full=True, linger_s=60, least_memory=0.5
    ),
    "window of 500, S1 held at 25 % of memory": Case(**_HELD),
    "window of 500, S1 held at 25 % of memory, all for a stage": Case(**_HELD, stage_share=1.0),
}
TARGETS = ("236 pairs", "236 pairs, 25 increments", "236 pairs on every tile")
"""Cases that targets are for; the others try rules."""


class Executor(SlurmExecutor):
    """The real one, for stages that are not installed, and with other rules to try."""

    def __init__(self, run: Run, config: Config, client: SlurmClient, case: Case) -> None:
        super().__init__(run.folder, config.slurm, client)
        self._board, self._case = run.board, case

    @property
    def cut(self) -> Cut:
        """As the real one, or by all that is ready."""
        real = super().cut
        least = self._case.least_memory * self.cluster.most.mem_bytes / self.cluster.most.cpus
        real = replace(real, memory_classes=tuple(size for size in real.memory_classes if size >= least))
        if not self._case.cut_by_all:
            return real
        ready_s = float(self._board.seconds[self._board.ready(time.time())].sum())
        return replace(real, shortest_s=min(max(real.shortest_s, ready_s / (2 * real.cores)), real.longest_s))

    def _is_worth_holding(self, board: Board, chunks: Mapping[str, Chunk]) -> bool:
        case, cluster = self._case, self.cluster
        if not case.hold_when_full:
            return super()._is_worth_holding(board, chunks)
        is_full = sum(chunk.cpus for chunk in chunks.values()) >= cluster.cores
        newest = max(self._wave(wave_of(attempt)).written for attempt in chunks)
        ready_s = float(board.seconds[board.ready(time.time())].sum())
        enough_s = cluster.cores * self._site.chunk_s / 2
        return ready_s < enough_s and time.time() - newest < (HOLD_S if is_full else case.linger_s)

    def launch(self, stage: str) -> Launch:  # noqa: ARG002 - the protocol's
        """Arrays."""
        return Launch.ARRAY


class Drive:
    """One case from its first plan to its last task."""

    def __init__(self, case: Case, root: Path) -> None:
        self.case, self.workspace = case, Workspace(root)
        self.costs = {**COSTS, "coherence": COSTS["coherence"] if case.snap else NATIVE}
        self.slurm = SimulatedSlurm(
            nodes=NODES,
            cores=CORES,
            node_bytes=NODE_BYTES,
            seconds={name: cost.seconds for name, cost in self.costs.items()},
            grp_mem_bytes={"s1": int((case.s1_share or 1) * NODES * NODE_BYTES)},
        )
        self.client = SimulatedPrograms(self.slurm)
        stages = {"coherence": {"qos": "s1"}} if case.s1_share else {}
        site = {
            "poll_s": case.poll_s, "chunk_s": case.chunk_s, "max_submitted": case.max_submitted,
            "max_minutes": 1440, "stages": stages,
        }  # fmt: skip
        self.config = Config.model_validate({"site": SITE, "slurm": site})
        self.advance_s: list[float] = []
        self.idle_core_s = self.virtual_s = 0.0
        self.n_tasks = self.n_outputs = 0
        self.plan_inodes = 0
        self.s2_done_s: float | None = None

    def go(self) -> dict[str, Any]:
        """Run everything and count."""
        outputs: set[str] = set()
        for part in range(self.case.first_parts or self.case.parts):
            country = Country(self.case.pairs, self.costs, part=part, parts=self.case.parts)
            self.slurm.know({name: stage.rows for name, stage in country.stages.items()})
            for stage in country.stages.values():
                self.n_tasks += len(stage.rows)
                outputs.update(path for row in stage.rows for path in row.outputs)
            folder = self._plan(country)
            began = time.time()
            self._one(folder, began)
            self.virtual_s += time.time() - began
            last = folder
        clock = time.process_time()
        fold_journals(self.workspace)
        fold_s = time.process_time() - clock
        clock = time.process_time()
        tick = Run(last, self.config.execute.max_attempts)
        tick.refresh()
        tick_s = time.process_time() - clock
        return self._figures(len(outputs), fold_s=fold_s, tick_s=tick_s)

    def _plan(self, country: Country) -> RunFolder:
        self.workspace.state.mkdir(exist_ok=True)
        plan = make_plan(self.workspace, self.config, registry=country.registry)
        plan = replace(plan, estimates=country.estimates(plan.tasks))
        self.plan_inodes += plan.inodes_out
        return plan.write(self.workspace.runs / new_run_id())

    def _one(self, folder: RunFolder, began: float) -> None:
        run = Run(folder, self.config.execute.max_attempts)
        executor = Executor(run, self.config, self.client, self.case)
        s2 = [i for i, name in enumerate(run.board.stage_names) if name == "stats"]
        while True:
            self.slurm.go_on()
            clock, own = time.process_time(), self.client.cpu_s
            progress = advance(run, executor)
            self.advance_s.append(time.process_time() - clock - (self.client.cpu_s - own))
            s2_done = not np.isin(run.board.stage_code[run.board.state < 3], s2).any()
            if s2_done and self.s2_done_s is None:
                self.s2_done_s = time.time() - began
                if self.case.s2_only:
                    break
            if progress.is_settled:
                break
            time.sleep(executor.poll_s)
        run.close()

    def _figures(self, n_outputs: int, *, fold_s: float, tick_s: float) -> dict[str, Any]:
        slurm, client = self.slurm, self.client
        waves = [len(array.wave.chunks) for array in slurm.arrays]
        files = _files(self.workspace.root)
        useful = sum(stage.task_core_s for stage in slurm.stages.values())
        total = n_outputs + sum(files.values())
        by_stage = Counter(array.wave.stage for array in slurm.arrays)
        return {
            "case": asdict(self.case),
            "tasks": self.n_tasks,
            "calls": dict(client.calls),
            "lines_read": dict(client.lines),
            "sbatch_by_stage": dict(by_stage),
            "elements": sum(waves),
            "elements_by_stage": {name: stage.elements for name, stage in slurm.stages.items()},
            "largest_array": max(waves),
            "arrays_below_10_elements": sum(n < 10 for n in waves),
            "files": {**files, "outputs": n_outputs, "total": total},
            "files_by_the_plan": self.plan_inodes,
            "logs_while_running": "one a running element, removed at its end when empty",
            "within_targets": {"sbatch": client.calls["sbatch"] <= MOST_SBATCH, "files": total <= MOST_FILES},
            "makespan_h": round(self.virtual_s / 3600, 2),
            "s2_statistics_done_h": None if self.s2_done_s is None else round(self.s2_done_s / 3600, 2),
            "core_use": round(useful / (NODES * CORES * self.virtual_s), 3),
            "asked_over_used_time": {
                name: round(float(np.median(stage.asked_s)), 1) for name, stage in slurm.stages.items()
            },
            "advance": {
                "calls": len(self.advance_s),
                "cpu_s": round(sum(self.advance_s), 1),
                "median_ms": round(1e3 * float(np.median(self.advance_s))),
                "p99_ms": round(1e3 * float(np.quantile(self.advance_s, 0.99))),
            },
            "fold_at_the_end_cpu_s": round(fold_s, 2),
            "reading_a_tick_at_the_end_cpu_s": round(tick_s, 2),
            "ticks_if_detached": int(self.virtual_s // self.config.slurm.tick_s),
        }


def _files(root: Path) -> dict[str, int]:
    """Files of the machinery by kind."""
    kinds = {".jsonl": "journals", ".job": "answers", "manifest": "manifests"}
    there = (path for path in root.rglob("*") if path.is_file())
    return dict(Counter(kinds.get(path.suffix) or kinds.get(path.parent.name, "others") for path in there))


def measure(names: Sequence[str]) -> dict[str, Any]:
    """Figures by case, each from a process of its own: its clock is not the real one."""
    found: dict[str, Any] = {
        "tiles": TILES, "s2_dates": DATES, "s1_pairs": PAIRS, "tiles_a_pair": TILES_A_PAIR,
        "nodes": NODES, "cores_a_node": CORES, "memory_a_node_gib": NODE_BYTES // GIB,
        "costs": {name: asdict(cost) for name, cost in {**COSTS, "coherence, native": NATIVE}.items()},
    }  # fmt: skip
    for name in names:
        command = [sys.executable, "-m", "benchmarks.virtual_time", "benchmarks.bench_country_year", name]
        result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found[name] = json.loads(result.stdout)
    return found


@contextlib.contextmanager
def _conditions(case: Case) -> Iterator[None]:
    """The rules of a case. What real time rations is left out: journals would be synced all the time, say."""
    with (
        mock.patch("os.fsync"),
        mock.patch.object(Clock, "left", return_value=None),
        mock.patch("s4c_hpc.execute.slurm_budget.STAGE_SHARE", case.stage_share),
    ):
        yield


def main() -> None:
    """Do one case, under a clock of its own."""
    case = CASES[sys.argv[1]]
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own in it
    with (
        tempfile.TemporaryDirectory(prefix="s4c-bench-", dir=memory if memory.is_dir() else None) as folder,
        _conditions(case),
    ):
        print(json.dumps(Drive(case, Path(folder)).go()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.bench_country_year", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"of {', '.join(CASES)}; {', '.join(TARGETS)} if not given")
    chosen = parser.parse_args().case or TARGETS
    if unknown := [name for name in chosen if name not in CASES]:
        parser.error(f"there is no case {unknown[0]!r}")
    print(json.dumps(measure(chosen), indent=2))
