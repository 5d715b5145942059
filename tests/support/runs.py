"""Workspaces of probe stages, and drivers to run them: in this process, or in one that can be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
from support.probe_stage import PROBES, describe_probe

from s4c_hpc.config import Config
from s4c_hpc.core.task import Launch
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import RunResult, run, run_chunk
from s4c_hpc.execute.advance import End
from s4c_hpc.execute.board import Board
from s4c_hpc.execute.choose import Budget, Cut
from s4c_hpc.execute.local import local_cut
from s4c_hpc.execute.local_budget import LocalBudget
from s4c_hpc.execute.manifest import Chunk, Wave
from s4c_hpc.plan import Plan, RunFolder

GIB = 1 << 30
MARK = "S4C_TEST_MARK"
PATIENCE_S = 180.0
"""Longest wait for what should come soon: long, for machines are slow at times, and who need not wait does not."""
TESTS = Path(__file__).resolve().parents[1]


def probe_config(**execute: Any) -> Config:
    """A configuration for probes."""
    site = {"name": "site", "season_start": "2018-01-01", "season_end": "2018-12-31"}
    return Config.model_validate({"site": site, "execute": {"memory": 4 * GIB, **execute}})


def probe_workspace(folder: Path, **changes: Any) -> Workspace:
    """A workspace with a ``probe.json``; see ``describe_probe``."""
    folder.mkdir(parents=True, exist_ok=True)
    describe_probe(folder, **changes)
    return Workspace(folder)


@dataclass
class InlineExecutor:
    """Runs chunks at once, in this process."""

    slots: int = 2
    memory_bytes: int = 4 * GIB
    submitted: list[Chunk] = field(default_factory=list)
    before_chunk: Callable[[Chunk], bool] = lambda _: True
    """Returns whether the chunk is run; if not, it is lost before its first task."""

    outlives_driver = False
    poll_s = 0.01

    @property
    def cut(self) -> Cut:
        return local_cut(self.slots, self.memory_bytes)

    def launch(self, stage: str) -> Launch:
        return Launch.ARRAY

    def budget(self, board: Board, chunks: Mapping[str, Chunk]) -> Budget:
        return LocalBudget.of(self.slots, self.memory_bytes, chunks.values())

    def submit(self, run: RunFolder, wave: Wave) -> None:
        for chunk in wave.chunks:
            self.submitted.append(chunk)
            if self.before_chunk(chunk):
                run_chunk(run.root, chunk.attempt)

    def alive(self, chunks: Mapping[str, Chunk]) -> set[str]:
        return set()

    def waiting(self) -> set[str]:
        return set()

    def why_ended(self, attempt: str) -> End | None:
        return None

    def wait(self, timeout_s: float) -> bool:
        time.sleep(0.01)
        return False

    def cancel(self) -> None:
        return

    @contextlib.contextmanager
    def __call__(self, run: RunFolder, config: Config) -> Iterator[InlineExecutor]:
        yield self


def run_inline(workspace: Workspace, config: Config | None = None, **options: Any) -> RunResult:
    """``execute.run`` without worker processes."""
    options.setdefault("executor", InlineExecutor())
    return run(workspace, config or probe_config(), registry=PROBES, **options)


def ran(result: RunResult) -> list[str]:
    """``stage subject`` of the tasks that a plan wanted run, sorted."""
    return sorted(states(result.plan, "todo"))


def states(plan: Plan, state: str) -> dict[str, str]:
    """``stage subject`` -> reason of the rows in one state (one tile only)."""
    return {
        f"{row['stage'].removeprefix('probe-')} {row['subject']}": status["reason"]
        for row, status in zip(plan.tasks.to_pylist(), plan.status.to_pylist(), strict=True)
        if status["state"] == state
    }


class Driver:
    """A driver in a process of its own, as ``s4c run`` is, whose every descendant can be recognised."""

    def __init__(self, workspace: Workspace, probes: Path, *, workers: int = 2) -> None:
        self.mark = uuid.uuid4().hex
        self._n_begun = n_begun(workspace)
        environment = {
            **os.environ,
            MARK: self.mark,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(probes)]),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "support.driver", str(workspace.root), str(workers)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, whatever the test found."""
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.communicate()

    def wait_until_at_work(self, workspace: Workspace) -> None:
        """Wait until a task of this driver has begun, or the driver has ended."""
        wait_for(lambda: n_begun(workspace) > self._n_begun or self.process.poll() is not None)

    def finish(self, timeout_s: float = 2 * PATIENCE_S) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out.decode(), err.decode()

    def family(self) -> list[psutil.Process]:
        """Live processes that were started by this driver, and itself."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                environment = process.environ()
                is_job = "SLURM_JOB_ID" in environment  # it belongs to Slurm, and may have its submitter's environment
                if environment.get(MARK) == self.mark and not is_job and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        with contextlib.suppress(psutil.Error):
            return [
                child
                for child in psutil.Process(self.process.pid).children()
                if "multiprocessing.spawn" in " ".join(child.cmdline())
            ]
        return []

    def family_is_gone(self, within_s: float = PATIENCE_S) -> bool:
        """Whether no process of it is left, soon."""
        return wait_for(lambda: not self.family(), within_s)


def wait_for(condition: Callable[[], object], within_s: float = PATIENCE_S) -> bool:
    """Wait until something holds; whether it did."""
    deadline = time.monotonic() + within_s
    while True:
        asked = time.monotonic()
        if condition():
            return True
        if time.monotonic() > deadline:
            return False
        # As long as the question took: what asks Slurm shall leave the machine to what it waits for.
        time.sleep(max(0.02, time.monotonic() - asked))


def wait_until(holds: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds; fail with ``what`` if it does not."""
    assert wait_for(holds, patience_s), f"after {patience_s:.0f} s, still not: {what}"


def n_begun(workspace: Workspace) -> int:
    """Number of tasks that began, in all runs."""
    return sum(path.read_bytes().count(b'"event":"begin"') for path in workspace.runs.glob("*/journal/*.jsonl"))
