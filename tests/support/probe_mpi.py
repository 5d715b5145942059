"""A stage whose ranks work together: a shared window, messages, and a file that all of them write to.

What there is to do stands in ``probe.json``, as for the other probes; ``rank`` in a behaviour says whose end it is.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from support.probe_stage import MIB, PROBE_FILE, Probe, end_as, wait_for_gate
from support.runs import TESTS, probe_config, probe_workspace, wait_until

from s4c_hpc.config import Config
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, Stage, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Task
from s4c_hpc.execute.journal import Event, read_events
from s4c_hpc.execute.manifest import Chunk, Wave, attempt_name, write_wave
from s4c_hpc.plan import RunFolder, make_plan, new_run_id

N_BLOCKS = 7
BLOCK_BYTES = 1000


class MpiProbe(Probe):
    """Blocks of bytes with a table of their sums before them."""

    name = "probe-mpi"
    launch: Launch = Launch.MPI

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        probe = json.loads((ctx.workspace.root / PROBE_FILE).read_text())
        yield tasks_to_batch(
            [self._task(probe, tile, name, [], f"x:{name}") for tile in probe["tiles"] for name in probe["products"]]
        )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        probe = json.loads((io.workspace.root / PROBE_FILE).read_text())
        wish: dict[str, Any] = {
            "ranks": [],
            "when": "before",
            "end": "ok",
            "mb": 0,
            "sleep_s": 0.0,
            "until": "",
            **probe["behaviour"].get(f"{task.stage} {task.tile} {task.subject}", {}),
        }
        rank, size = (0, 1) if io.comm is None else (io.comm.rank, io.comm.size)
        ends = rank in wish["ranks"]
        threading.Event().wait(wish["sleep_s"])
        wait_for_gate(io.workspace, wish["until"])
        if ends and wish["when"] == "before":
            end_as(wish["end"], task)
        with io.publisher.new(task.outputs[0]) as temporary:
            mine = range(N_BLOCKS * rank // size, N_BLOCKS * (rank + 1) // size)
            blocks = {i: hashlib.shake_256(f"{task.id}{i}".encode()).digest(BLOCK_BYTES) for i in mine}
            write = _alone if io.comm is None else _together
            write(temporary, blocks, mine.start, wish["mb"] * MIB, io.comm)
        if ends and wish["when"] == "after":
            end_as(wish["end"], task)
        return Outcome(outputs=tuple(io.publisher.published), n_rows=N_BLOCKS)


def _alone(path: Path, blocks: Mapping[int, bytes], first: int, n_bytes: int, comm: None) -> None:
    table = np.array([sum(block) for block in blocks.values()], dtype="<i8")
    path.write_bytes(table.tobytes() + b"".join(blocks.values()))


def _together(path: Path, blocks: Mapping[int, bytes], first: int, n_bytes: int, comm: Any) -> None:
    mpi = importlib.import_module("mpi4py.MPI")
    node = comm.Split_type(mpi.COMM_TYPE_SHARED)
    table_bytes = 8 * N_BLOCKS
    window = mpi.Win.Allocate_shared(table_bytes + n_bytes if node.rank == 0 else 0, 1, comm=node)
    shared = np.asarray(window.Shared_query(0)[0])
    if node.rank == 0:
        shared[:] = 1 if n_bytes else 0
        shared[:table_bytes] = 0
    node.Barrier()
    table = shared[:table_bytes].view("<i8")
    for i, block in blocks.items():
        table[i] = sum(block)
    shared.sum()  # every rank has all of it mapped
    node.Barrier()
    threading.Event().wait(2.0 if n_bytes else 0)  # long beside the pauses of whoever measures, on a busy machine too
    whole = np.empty_like(table)
    comm.Allreduce(table if node.rank == 0 else np.zeros_like(table), whole)
    file = mpi.File.Open(comm, str(path), mpi.MODE_CREATE | mpi.MODE_WRONLY)
    if comm.rank == 0:
        file.Write_at(0, whole)
    file.Write_at_all(table_bytes + first * BLOCK_BYTES, b"".join(blocks.values()))
    file.Close()
    window.Free()
    node.Free()


MPI_PROBES: dict[str, Stage] = {"probe-mpi": MpiProbe()}


def install_mpi_probe(folder: Path) -> Path:
    """Add the stage to the distributions in ``folder``."""
    info = folder / "s4c_probe_mpi-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: s4c-probe-mpi\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[s4c_hpc.stages]\nprobe-mpi = {__name__}:MpiProbe\n")
    return folder


@dataclass(frozen=True)
class MpiRun:
    """A run of one chunk of the stage, and ways to start its ranks."""

    run: RunFolder
    wave: Wave
    probes: Path
    """Folder of the installed probe stages."""

    @property
    def chunk(self) -> Chunk:
        """The one chunk of the wave."""
        return self.wave.chunks[0]

    @classmethod
    def plan(cls, folder: Path, probes: Path, ranks: int, config: Config | None = None, **probe: Any) -> MpiRun:
        """Plan in a workspace of its own; what it writes depends on ``probe`` only."""
        workspace = probe_workspace(folder, **probe)
        plan = make_plan(workspace, config or probe_config(), registry=MPI_PROBES)
        run = plan.write(workspace.runs / new_run_id())
        ids = tuple(plan.tasks["id"].to_pylist())
        chunk = Chunk(
            attempt=attempt_name("000001", 0),
            stage="probe-mpi",
            ids=ids,
            numbers=(1,) * len(ids),
            seconds=(60,) * len(ids),
            cpus=ranks,
            mem_bytes=512 * MIB,
        )
        wave = Wave(name="000001", launch=Launch.MPI, chunks=(chunk,))
        write_wave(run, wave)
        return cls(run, wave, probes)

    @property
    def environment(self) -> dict[str, str]:
        """For processes that are to find the stage; MPI listens on loopback only."""
        path = os.pathsep.join([str(TESTS), str(self.probes)])
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "PMI"))}
        return {**outside, "PYTHONPATH": path, "UCX_NET_DEVICES": "lo", "FI_TCP_IFACE": "lo"}

    @property
    def words(self) -> list[str]:
        """What every rank runs."""
        return [sys.executable, "-m", "s4c_hpc.execute.ranks", str(self.run.root), "000001", "0"]

    def start(self, launcher: Sequence[str], **environment: str) -> subprocess.Popen[str]:
        """Start the ranks by ``launcher``."""
        return subprocess.Popen(
            [*launcher, *self.words],
            env=self.environment | environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def events(self, name: str = "") -> list[Event]:
        """What a journal of the attempt says: its own, or with ``.rank`` the one of a rank that failed alone."""
        path = self.run.journals / f"{self.chunk.attempt}{name}.jsonl"
        return read_events(path)[0] if path.exists() else []


def wait_for_begin(run: MpiRun) -> None:
    """Wait until a task has begun."""
    wait_until(lambda: len(run.events()) >= 2, "a task has begun")
