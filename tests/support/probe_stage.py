"""Stages of known size and known end, shaped like the real chain: root -> mid -> leaf -> sum.

What there is to do stands in ``probe.json`` of the workspace; how a task ends there too, under its name, so that it can
be changed without making another task of it. ``until`` holds it back: each attempt waits for a file that matches the
pattern of its number, further ones that of the last.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from s4c_hpc.core.children import start_child
from s4c_hpc.core.errors import InputError, TemporaryError
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, Stage, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import Workspace

PROBE_FILE = "probe.json"
GATE_PATIENCE_S = 600
"""How long a task waits at its gate (``until``) before it fails."""
MIB = 1 << 20


def describe_probe(workspace: Path, **changes: Any) -> None:
    """Write ``probe.json``, or change keys of it."""
    path = workspace / PROBE_FILE
    values: dict[str, Any] = {
        "tiles": ["32UPU"],
        "products": ["a", "b", "c"],
        "params": {},
        "mem_bytes": 512 * MIB,
        "ms": 5,
        "payload_bytes": 2000,
        "claimed_bytes": 2000,
        "behaviour": {},
    }
    if path.is_file():
        values = json.loads(path.read_text())
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(values | changes))
    draft.replace(path)


class Probe:
    """What the probe stages share."""

    name: str
    version: str = "1"
    launch: Launch = Launch.ARRAY
    after: Sequence[str] = ()
    tolerates_missing: bool = False
    deliverable: bool = False
    n_outputs: int = 1

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        return Resources(
            cpus=1,
            mem_bytes=int(params.get("mem_bytes", 512 * MIB)),
            walltime_s=int(params.get("walltime_s", 60)),
        )

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        probe = json.loads((ctx.workspace.root / PROBE_FILE).read_text())
        yield tasks_to_batch([task for tile in probe["tiles"] for task in self._rows(ctx, probe, tile)])

    def _rows(self, ctx: PlanContext, probe: dict[str, Any], tile: str) -> Iterator[Task]:
        raise NotImplementedError

    def _task(self, probe: dict[str, Any], tile: str, subject: str, needs: list[str], key: str | None = None) -> Task:
        params = canonical_json(probe["params"].get(self.name, {}))
        inputs = (*([key] if key else []), *needs)
        identity = task_id(self.name, self.version, inputs, params)
        return Task(
            id=identity,
            stage=self.name,
            tile=tile,
            subject=subject,
            input_keys=inputs,
            params=params,
            depends_on=tuple(needs),
            outputs=self._outputs(tile, subject, identity),
            work=float(probe["ms"]),
            bytes_out=self.n_outputs * probe["claimed_bytes"],
            opens_imagery=int(self.name == "probe-mid"),
            resources=self.resources(1.0, probe),
        )

    def _outputs(self, tile: str, subject: str, identity: str) -> tuple[str, ...]:
        kind = self.name.removeprefix("probe-")
        return tuple(f"tiles/{tile}/{kind}/{subject}_{i}.{short(identity)}.arrow" for i in range(self.n_outputs))

    def run(self, task: Task, io: TaskIO) -> Outcome:
        probe = json.loads((io.workspace.root / PROBE_FILE).read_text())
        wish: dict[str, Any] = {
            "ms": probe["ms"],
            "mb": 0,
            "nap_s": 0,
            "until": [],
            "end": "ok",
            **probe["behaviour"].get(f"{task.stage} {task.tile} {task.subject}", {}),
        }
        gates = wish["until"]
        # Before the memory is taken, which may be the end of this attempt.
        n_before = _attempts_before(io.workspace, task) if gates or "times" in wish else 0
        held = np.ones(wish["mb"] * MIB, dtype=np.uint8)
        work_for(wish["ms"])
        time.sleep(wish["nap_s"])
        if gates:
            wait_for_gate(io.workspace, gates[min(n_before, len(gates) - 1)])
        if n_before < wish.get("times", 1):
            end_as(wish["end"], task)
        payload = hashlib.sha256(task.id.encode())
        for key in task.depends_on:
            for path in io.upstream_outputs.get(key, ()):
                payload.update((io.workspace.root / path).read_bytes())
            if key in io.settled:
                payload.update(io.upstream_subjects[key].encode())
        for i, path in enumerate(task.outputs):
            data = hashlib.shake_256(payload.digest() + bytes([i])).digest(probe["payload_bytes"])
            publish = io.publisher.replace if path.startswith("markers/") else io.publisher.new
            with publish(path) as temporary, temporary.open("wb") as stream:
                # In pieces and slowly, so that kills meet half-written files.
                for start in range(0, len(data), 500):
                    stream.write(data[start : start + 500])
                    stream.flush()
        return Outcome(
            outputs=tuple(io.publisher.published),
            n_rows=int(held[:1].sum()) if wish["mb"] else 1,
            absent=tuple(sorted(io.settled)),
            rasters_opened=task.opens_imagery,
            notes=tuple(f"without {io.upstream_subjects[k]}: {io.upstream_reasons[k]}" for k in sorted(io.settled)),
        )


class RootProbe(Probe):
    name = "probe-root"

    def _rows(self, ctx: PlanContext, probe: dict[str, Any], tile: str) -> Iterator[Task]:
        yield self._task(probe, tile, "mask", [], f"parcels:{tile}")


class MidProbe(Probe):
    name = "probe-mid"
    after: Sequence[str] = ("probe-root",)
    n_outputs = 2

    def _rows(self, ctx: PlanContext, probe: dict[str, Any], tile: str) -> Iterator[Task]:
        root = _ids(ctx, "probe-root", tile)
        for product in probe["products"]:
            yield self._task(probe, tile, product, list(root.values()), f"product:{product}")


class LeafProbe(Probe):
    name = "probe-leaf"
    after: Sequence[str] = ("probe-mid",)

    def _rows(self, ctx: PlanContext, probe: dict[str, Any], tile: str) -> Iterator[Task]:
        for product, identity in _ids(ctx, "probe-mid", tile).items():
            yield self._task(probe, tile, product, [identity])


class SumProbe(Probe):
    name = "probe-sum"
    after: Sequence[str] = ("probe-leaf",)
    tolerates_missing = True
    deliverable = True

    def _rows(self, ctx: PlanContext, probe: dict[str, Any], tile: str) -> Iterator[Task]:
        yield self._task(probe, tile, "set 2018-05", list(_ids(ctx, "probe-leaf", tile).values()))

    def _outputs(self, tile: str, subject: str, identity: str) -> tuple[str, ...]:
        return (f"markers/set/2018-05/site_{tile}.arrow",)


PROBES: dict[str, Stage] = {stage.name: stage for stage in (RootProbe(), MidProbe(), LeafProbe(), SumProbe())}


def install_probes(folder: Path) -> Path:
    """Make a distribution of the probe stages in ``folder``: whoever has it on its path finds their entry points."""
    info = folder / "s4c_probe-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: s4c-probe\nVersion: 0\n")
    lines = [f"{name} = {__name__}:{type(stage).__name__}" for name, stage in PROBES.items()]
    (info / "entry_points.txt").write_text("\n".join(["[s4c_hpc.stages]", *lines, ""]))
    return folder


def work_for(milliseconds: float) -> None:
    """Use the processor for a while."""
    until = time.process_time() + milliseconds / 1000
    while time.process_time() < until:
        hashlib.sha256(b"x" * 4096).digest()


def end_as(end: str, task: Task) -> None:
    """End an attempt in one of the ways in which attempts end."""
    match end:
        case "input":
            raise InputError("cannot be decoded", where=f"/data/{task.subject}.jp2", hint="fetch it again")
        case "memory":
            raise MemoryError
        case "temporary":
            raise TemporaryError("the archive does not answer")
        case "internal":
            raise KeyError("bug")
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            threading.Event().wait(600)
        case "child":
            start_child(["sleep", "600"]).wait()
        case "deaf":
            ctypes.PyDLL(None).sleep(600)  # keeps the interpreter lock: no other thread of the process runs


def tree_hash(workspace: Path) -> dict[str, str]:
    """SHA-256 of every file that is covered by the promise of same bytes."""
    return {
        path.relative_to(workspace).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("tiles", "markers")
        for path in sorted((workspace / folder).rglob("*"))
        if path.is_file()
    }


def wait_for_gate(workspace: Workspace, pattern: str) -> None:
    """Wait until there is something in the workspace that matches; without a pattern, not at all."""
    deadline = time.monotonic() + GATE_PATIENCE_S
    while pattern and not any(workspace.root.glob(pattern)):
        assert time.monotonic() < deadline, f"nobody opens the gate {pattern}"
        time.sleep(0.05)


def _attempts_before(workspace: Workspace, task: Task) -> int:
    """How often the task has come to this point before; counts this time."""
    counter = workspace.root / "probe-count" / short(task.id)
    counter.parent.mkdir(exist_ok=True)
    n_before = counter.stat().st_size if counter.exists() else 0
    with counter.open("ab") as stream:
        stream.write(b".")
    return n_before


def _ids(ctx: PlanContext, stage: str, tile: str) -> dict[str, str]:
    rows = ctx.upstream[stage].select(["id", "tile", "subject"]).to_pylist()
    return {row["subject"]: row["id"] for row in rows if row["tile"] == tile}
