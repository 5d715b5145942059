"""The schedule of a workload on a machine, event by event. Pure.

The rules are those of the executors: later stages first, so that tiles are finished one by one; within a stage the
longest tasks first; chunks of one stage, cores and memory. Where chunks start as they are cut (one machine), nothing
overtakes the next one. Where they are submitted first (a cluster), they start in the order of submission, and those
that no limit and no lack of room holds back overtake.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import numpy as np
import numpy.typing as npt

from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.text import human_bytes
from s4c_hpc.plan.fit import Floats
from s4c_hpc.plan.machine import Machine, Queue
from s4c_hpc.plan.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueUse:
    """What one queue saw."""

    chunks: int
    core_s: float
    """Core seconds of its chunks."""
    mean_wait_s: float
    """From the moment that a task could run (all it waits for is there) to its chunk's start; mean over tasks."""
    longest_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When everything runs; times are seconds from the beginning, arrays (n_tasks,)."""

    finish_s: float
    start: Floats
    end: Floats
    chunk: npt.NDArray[np.int64]
    """Number of each task's chunk, in the order of their starts."""
    chunk_start: Floats
    """(n_chunks,) start of each chunk, before its overhead."""
    node: npt.NDArray[np.int64]
    """(n_chunks,) node of each chunk, the first one of a wide one."""
    stages: dict[str, tuple[float, float]]
    """First start and last end of each stage."""
    utilisation: float
    """Share of all cores' time until the end that chunks held."""
    queues: dict[str, QueueUse]


def simulate(workload: Workload, machine: Machine) -> Schedule:
    """Run ``workload`` on ``machine``.

    A task that asks for more cores or memory than the largest node has is given the largest node.

    Raises
    ------
    ConfigError
        If a queue's limits admit not even one chunk of a stage: it would wait for ever.
    """
    return _Simulation(workload, machine).run()


@dataclass(slots=True)
class _Usage:
    """Chunks of one queue at a moment."""

    queue: Queue
    jobs: int = 0
    cpus: int = 0
    mem_bytes: int = 0
    submitted: int = 0


@dataclass(slots=True)
class _Class:
    """Tasks that are alike in stage, cores and memory: if the first cannot start, none of them can."""

    stage: int
    cpus: int
    mem_bytes: int
    width: int
    """Chunks that each stands for; those of more than one are never joined."""
    usage: _Usage
    ready: list[tuple[float, int]] = field(default_factory=list)
    """Heap of (-predicted seconds, row)."""
    ready_s: float = 0.0
    """Predicted seconds of ``ready`` together."""
    submitted: deque[tuple[int, list[int]]] = field(default_factory=deque)
    """Chunks that wait to start: (number of submission, rows)."""

    def cut(self, target_s: float) -> list[int]:
        """Take the next chunk: tasks of ``target_s`` together, or one that takes more."""
        rows: list[int] = []
        total = 0.0
        while self.ready and (not rows or (self.width == 1 and total - self.ready[0][0] <= target_s)):
            seconds, row = heappop(self.ready)
            total -= seconds
            rows.append(row)
        self.ready_s = max(self.ready_s - total, 0.0)
        return rows


class _Nodes:
    """Free cores and memory of every node; chunks go to the first that has room."""

    def __init__(self, machine: Machine) -> None:
        counts = [group.count for group in machine.nodes]
        self.cpus = np.repeat(np.asarray([group.cpus for group in machine.nodes], dtype=np.int64), counts)
        self.mem_bytes = np.repeat(np.asarray([group.mem_bytes for group in machine.nodes], dtype=np.int64), counts)
        self.free_cpus = int(self.cpus.sum())
        self.most_cpus, self.most_bytes = int(self.cpus.max()), int(self.mem_bytes.max())

    def room(self, cpus: int, mem_bytes: int, width: int = 1) -> list[tuple[int, int]]:
        """Nodes with room for ``width`` chunks, and how many each takes; empty if there is not room for all."""
        if cpus * width > self.free_cpus:
            return []
        if width == 1:
            fits = (self.cpus >= cpus) & (self.mem_bytes >= mem_bytes)
            first = int(fits.argmax())
            return [(first, 1)] if fits[first] else []
        room = np.maximum(np.minimum(self.cpus // cpus, self.mem_bytes // max(mem_bytes, 1)), 0)
        before = np.cumsum(room) - room
        taken = np.minimum(room, width - before)
        if int(before[-1] + room[-1]) < width:
            return []
        return [(int(i), int(taken[i])) for i in np.flatnonzero(taken > 0)]

    def take(self, places: list[tuple[int, int]], cpus: int, mem_bytes: int) -> None:
        """Use (or, with negative values, free) a part of nodes."""
        for node, count in places:
            self.cpus[node] -= count * cpus
            self.mem_bytes[node] -= count * mem_bytes
            self.free_cpus -= count * cpus


class _Simulation:
    def __init__(self, workload: Workload, machine: Machine) -> None:
        self.workload, self.machine = workload, machine
        n = len(workload)
        self.seconds: list[float] = workload.seconds.tolist()
        self.predicted: list[float] = workload.predicted_s.tolist()
        self.nodes = _Nodes(machine)
        self.usages: dict[str, _Usage] = {}
        self.running_of_stage = [0] * len(workload.stages)
        self.throttle = [machine.throttle.get(name) for name in workload.stages]
        self.n_submitted = self.n_submissions = 0
        self.now = 0.0
        self.missing: list[int] = np.bincount(workload.waiting, minlength=n).tolist()
        order = np.argsort(workload.needed, kind="stable")
        self.dependants: list[int] = workload.waiting[order].tolist()
        self.first_dependant: list[int] = np.searchsorted(workload.needed[order], np.arange(n + 1)).tolist()
        self.events: list[tuple[float, int, int]] = []
        """Heap of (time, row that ends, chunk that ends with it or -1)."""
        self.ready_at, self.start, self.end = [0.0] * n, [0.0] * n, [0.0] * n
        self.chunk_of = [-1] * n
        self.chunk_class: list[_Class] = []
        self.chunk_start: list[float] = []
        self.chunk_places: list[list[tuple[int, int]]] = []
        self.classes, self.class_of = self._sorted_classes()

    def run(self) -> Schedule:
        """All events in their order."""
        begun = np.flatnonzero(self.workload.begun).tolist()
        for row in begun:
            # Where it runs is not known, and limits admitted it once: it takes what it has.
            cls = self.class_of[row]
            self._submit(cls)
            self._start(cls, [row], self.nodes.room(cls.cpus, cls.mem_bytes, cls.width) or [(0, cls.width)], 0.0)
        for row in np.flatnonzero(np.asarray(self.missing) == 0).tolist():
            if self.chunk_of[row] < 0:
                self._becomes_ready(row)
        self._fill()
        while self.events:
            self.now = self.events[0][0]
            while self.events and self.events[0][0] <= self.now:
                _, row, chunk = heappop(self.events)
                self._ended(row)
                if chunk >= 0:
                    self._release(chunk)
            self._fill()
        if -1 in self.chunk_of:
            self._refuse()
        return self._schedule()

    def _sorted_classes(self) -> tuple[list[_Class], list[_Class]]:
        """Classes in the order in which chunks are chosen, and the class of each row."""
        load, nodes = self.workload, self.nodes
        cpus = np.minimum(load.cpus, nodes.most_cpus)
        mem_bytes = np.minimum(self.machine.asked_bytes(load.mem_bytes), nodes.most_bytes)
        width = load.width if len(load.width) else np.ones(len(load), dtype=np.int64)
        keys = np.stack([-load.stage.astype(np.int64), cpus, mem_bytes, width], axis=1)
        kinds, code = np.unique(keys, axis=0, return_inverse=True)
        classes = [
            _Class(-int(stage), int(cpu), int(memory), int(wide), self._usage(-int(stage), int(memory)))
            for stage, cpu, memory, wide in kinds
        ]
        return classes, [classes[i] for i in code.ravel().tolist()]

    def _usage(self, stage: int, mem_bytes: int) -> _Usage:
        queues = self.machine.queues.get(self.workload.stages[stage], self.machine.default_queues)
        fitting = (q for q in queues if q.max_mem_bytes is None or mem_bytes <= q.max_mem_bytes)
        queue = next(fitting, queues[-1])
        return self.usages.setdefault(queue.name, _Usage(queue))

    def _fill(self) -> None:
        """Start what can start."""
        if self.machine.window is None:
            self._start_as_cut()
            return
        self._submit_up_to(self.machine.window)
        waiting = sorted((cls.submitted[0][0], i) for i, cls in enumerate(self.classes) if cls.submitted)
        heapify(waiting)
        while waiting and self.nodes.free_cpus > 0:
            _, i = heappop(waiting)
            cls = self.classes[i]
            if self._is_held(cls):
                continue
            places = self.nodes.room(cls.cpus, cls.mem_bytes, cls.width)
            if not places:
                continue
            _, rows = cls.submitted.popleft()
            self._start(cls, rows, places, self.machine.start_overhead_s)
            if cls.submitted:
                heappush(waiting, (cls.submitted[0][0], i))

    def _start_as_cut(self) -> None:
        for cls in self.classes:
            if not cls.ready:
                continue
            target_s = self.machine.chunk_length_s(cls.ready_s)
            while cls.ready and not self._is_full(cls) and not self._is_held(cls):
                places = self.nodes.room(cls.cpus, cls.mem_bytes, cls.width)
                if not places:
                    return
                self._submit(cls)
                self._start(cls, cls.cut(target_s), places, self.machine.start_overhead_s)
            if self.nodes.free_cpus <= 0:
                return

    def _submit_up_to(self, window: int) -> None:
        for cls in self.classes:
            if self.n_submitted >= window:
                return
            if not cls.ready:
                continue
            target_s = self.machine.chunk_length_s(cls.ready_s)
            while cls.ready and not self._is_full(cls) and self.n_submitted < window:
                cls.submitted.append((self.n_submissions, cls.cut(target_s)))
                self._submit(cls)

    def _is_full(self, cls: _Class) -> bool:
        most = cls.usage.queue.limits.max_submitted
        return most is not None and cls.usage.submitted + cls.width > most

    def _is_held(self, cls: _Class) -> bool:
        """Whether a limit keeps the next chunk of a class from starting."""
        usage, limits, throttle = cls.usage, cls.usage.queue.limits, self.throttle[cls.stage]
        if throttle is not None and self.running_of_stage[cls.stage] + cls.width > throttle:
            return True
        return (
            (limits.running is not None and usage.jobs + cls.width > limits.running)
            or (limits.grp_cpus is not None and usage.cpus + cls.cpus * cls.width > limits.grp_cpus)
            or (limits.grp_mem_bytes is not None and usage.mem_bytes + cls.mem_bytes * cls.width > limits.grp_mem_bytes)
        )

    def _submit(self, cls: _Class) -> None:
        cls.usage.submitted += cls.width
        self.n_submitted += cls.width
        self.n_submissions += 1

    def _start(self, cls: _Class, rows: list[int], places: list[tuple[int, int]], overhead_s: float) -> None:
        chunk = len(self.chunk_class)
        self.chunk_class.append(cls)
        self.chunk_start.append(self.now)
        self.chunk_places.append(places)
        self._account(cls, cls.width)
        self.nodes.take(places, cls.cpus, cls.mem_bytes)
        time = self.now + overhead_s
        for row in rows:
            self.chunk_of[row] = chunk
            self.start[row] = time
            time += self.seconds[row]
            self.end[row] = time
            heappush(self.events, (time, row, chunk if row == rows[-1] else -1))

    def _release(self, chunk: int) -> None:
        cls = self.chunk_class[chunk]
        self._account(cls, -cls.width)
        self.nodes.take(self.chunk_places[chunk], -cls.cpus, -cls.mem_bytes)
        cls.usage.submitted -= cls.width
        self.n_submitted -= cls.width

    def _account(self, cls: _Class, jobs: int) -> None:
        cls.usage.jobs += jobs
        cls.usage.cpus += jobs * cls.cpus
        cls.usage.mem_bytes += jobs * cls.mem_bytes
        self.running_of_stage[cls.stage] += jobs

    def _ended(self, row: int) -> None:
        for edge in range(self.first_dependant[row], self.first_dependant[row + 1]):
            other = self.dependants[edge]
            self.missing[other] -= 1
            if self.missing[other] == 0 and self.chunk_of[other] < 0:
                self._becomes_ready(other)

    def _becomes_ready(self, row: int) -> None:
        cls = self.class_of[row]
        self.ready_at[row] = self.now
        heappush(cls.ready, (-self.predicted[row], row))
        cls.ready_s += self.predicted[row]

    def _refuse(self) -> None:
        """Tell which limit admits nothing."""
        for cls in self.classes:
            if cls.ready or cls.submitted:
                name = self.workload.stages[cls.stage]
                raise ConfigError(
                    f"jobs of stage {name} ask for {cls.cpus} cores and {human_bytes(cls.mem_bytes)}, "
                    f"more than the limits of queue {cls.usage.queue.name} ever admit: they would wait for ever",
                    where=f"slurm.stages.{name}.qos",
                    hint=f"raise the limits of {cls.usage.queue.name}, or send the stage to another queue",
                )

    def _schedule(self) -> Schedule:
        load = self.workload
        start, end, chunk = np.asarray(self.start), np.asarray(self.end), np.asarray(self.chunk_of, dtype=np.int64)
        begin = np.asarray(self.chunk_start)
        cpus = np.asarray([cls.cpus * cls.width for cls in self.chunk_class], dtype=np.int64)
        over = np.zeros(len(begin))
        np.maximum.at(over, chunk, end)
        core_s = (over - begin) * cpus
        finish_s = float(end.max(initial=0.0))
        names = list(self.usages)
        queue = np.asarray([names.index(cls.usage.queue.name) for cls in self.chunk_class], dtype=np.int64)
        wait = begin[chunk] - np.asarray(self.ready_at) if len(chunk) else np.zeros(0)
        return Schedule(
            finish_s=finish_s,
            start=start,
            end=end,
            chunk=chunk,
            chunk_start=begin,
            node=np.asarray([places[0][0] for places in self.chunk_places], dtype=np.int64),
            stages={name: (float(start[rows].min()), float(end[rows].max())) for name, rows in _by_stage(load)},
            utilisation=float(core_s.sum() / (self.machine.n_cpus * finish_s)) if finish_s > 0 else 0.0,
            queues={
                name: QueueUse(
                    chunks=int((queue == i).sum()),
                    core_s=float(core_s[queue == i].sum()),
                    mean_wait_s=float(wait[queue[chunk] == i].mean()),
                    longest_wait_s=float(wait[queue[chunk] == i].max()),
                )
                for i, name in enumerate(names)
            },
        )


def _by_stage(load: Workload) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    for i, name in enumerate(load.stages):
        rows = np.flatnonzero(load.stage == i)
        if len(rows):
            yield name, rows
