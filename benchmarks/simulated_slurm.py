"""Slurm in virtual time: its programs answer in their own words, and its jobs write the journals that workers write."""

from __future__ import annotations

import heapq
import re
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s4c_hpc.core.task import Task
from s4c_hpc.execute.journal import Begin, Closed, Done, Event, Journal, Opened, Output
from s4c_hpc.execute.manifest import Chunk, Wave, read_wave
from s4c_hpc.plan import RunFolder
from s4c_hpc.slurm.client import SlurmClient
from s4c_hpc.slurm.parse import FIELD, RECORD

MIB, GIB = 1 << 20, 1 << 30
START_S = 5.0
"""From the start of an element to its first task."""
SPREAD = 0.3
"""Standard deviation of the log of durations, about what was predicted."""
MIN_JOB_AGE_S = 300.0
"""How long squeue tells of what has ended, as by default."""
MAX_ARRAY = 1001
"""MaxArraySize, as by default."""
CONFIG = f"""
SLURM_VERSION = 22.05.8
ClusterName = simulated
MaxArraySize = {MAX_ARRAY}
MaxJobCount = 10000
KillWait = 30 sec
MinJobAge = {MIN_JOB_AGE_S:.0f} sec
AccountingStorageType = accounting_storage/slurmdbd
"""


@dataclass(slots=True)
class Element:
    """An element that has started."""

    array: Array
    index: int
    node: int
    start: float
    events: list[tuple[float, Event]]
    """What its worker writes, and when."""
    journal: Journal
    at: int = 0
    """Events written so far."""

    @property
    def end(self) -> float:
        """When it ends."""
        return self.events[-1][0]


@dataclass
class Array:
    """A job array."""

    job: int
    wave: Wave
    run: RunFolder
    name: str
    cpus: int
    mem_bytes: int
    limit_s: float
    qos: str
    submit: float
    started: list[Element] = field(default_factory=list)
    """The first elements; the others wait."""


@dataclass
class Stage:
    """What became of the elements of a stage."""

    elements: int = 0
    first_start: float = float("inf")
    last_end: float = 0.0
    task_core_s: float = 0.0
    asked_s: list[float] = field(default_factory=list)
    """Time limit of each element over what it took."""


class SimulatedSlurm:
    """Nodes and a queue: whatever fits starts, in the order of submission (list scheduling).

    Parameters
    ----------
    grp_mem_bytes : by QoS, memory of all its running jobs together
    seconds : by stage, the median duration of a task
    """

    def __init__(
        self,
        *,
        nodes: int,
        cores: int,
        node_bytes: int,
        seconds: Mapping[str, float],
        grp_mem_bytes: Mapping[str, int] | None = None,
    ) -> None:
        self.nodes, self.cores, self.node_bytes = nodes, cores, node_bytes
        self._seconds = seconds
        self._grp_mem_bytes = grp_mem_bytes or {}
        self._free_cores = np.full(nodes, cores)
        self._free_bytes = np.full(nodes, node_bytes)
        self._qos_bytes: Counter[str] = Counter()
        self._rng = np.random.default_rng(1)
        self.arrays: list[Array] = []
        self._waiting: list[Array] = []
        self._running: list[tuple[float, int, Element]] = []
        self._ended: list[Element] = []
        self._n_started = 0
        self.outputs: Mapping[str, tuple[str, ...]] = {}
        """Files of each task."""
        self.stages: dict[str, Stage] = {}

    def know(self, tasks: Mapping[str, Sequence[Task]]) -> None:
        """Learn what tasks there are, by stage."""
        self.outputs = {task.id: task.outputs for rows in tasks.values() for task in rows}

    def go_on(self) -> None:
        """Do everything that happens until now."""
        now = time.time()
        self._start(max((array.submit for array in self._waiting), default=now))
        while self._running and self._running[0][0] <= now:
            end, _, element = heapq.heappop(self._running)
            self._end(element)
            self._start(end)
        for _, _, element in self._running:
            _write(element, now)
        self._ended = [element for element in self._ended if element.end > now - MIN_JOB_AGE_S]

    def submit(self, script: str) -> int:
        """Take an array."""
        options = dict(re.findall(r"^#SBATCH (--[\w-]+)=(.*)$", script, re.MULTILINE))
        words = re.search(r"s4c_hpc\.execute\.element (\S+) (\S+)", script)
        assert words is not None
        run = RunFolder(Path(words[1]))
        job = 1 + sum(len(array.wave.chunks) for array in self.arrays)
        array = Array(
            job=job,
            wave=read_wave(run, words[2]),
            run=run,
            name=options["--job-name"],
            cpus=int(options["--cpus-per-task"]),
            mem_bytes=int(options["--mem"].removesuffix("M")) * MIB,
            limit_s=60.0 * int(options["--time"]),
            qos=options.get("--qos", "normal"),
            submit=time.time(),
        )
        assert options["--array"] == f"0-{len(array.wave.chunks) - 1}"
        self.arrays.append(array)
        self._waiting.append(array)
        return job

    def queue(self) -> str:
        """What squeue says."""
        lines = []
        for array in self._waiting:
            held = self._over_limit(array)
            tail = self._tail(array, "QOSGrpMemLimit" if held else "Resources", "", "N/A")
            waiting = range(len(array.started), len(array.wave.chunks))
            lines += [_record(array, array.job, index, "PENDING", tail) for index in waiting]
        for state, elements in (("RUNNING", (e for _, _, e in self._running)), ("COMPLETED", self._ended)):
            for element in elements:
                tail = self._tail(element.array, "None", f"node{element.node:02d}", f"{element.start:.0f}")
                lines.append(_record(element.array, element.array.job + element.index, element.index, state, tail))
        return "".join(lines)

    def accounting(self, names: Sequence[str]) -> str:
        """What sacct says of all elements of these arrays: a line of the job and one of its script."""
        wanted, lines = set(names), []
        for array in (array for array in self.arrays if array.name in wanted):
            asked = f"cpu={array.cpus},mem={array.mem_bytes // MIB}M,node=1"
            for element in array.started:
                now, over = time.time(), element.end <= time.time()
                state, end = ("COMPLETED", f"{element.end:.0f}") if over else ("RUNNING", "Unknown")
                raw, job = f"{array.job + element.index}", f"{array.job}_{element.index}"
                times = [f"{array.submit:.0f}", f"{element.start:.0f}", end]
                took = f"{min(now, element.end) - element.start:.0f}"
                node = f"node{element.node:02d}"
                lines.append(FIELD.join([raw, job, state, "0:0", *times, took, "", asked, node, array.name]))
                script = [f"{raw}.batch", f"{job}.batch", state, "0:0", *times, took, "300000K", "", node, "batch"]
                lines.append(FIELD.join(script))
            if (first := len(array.started)) < (n := len(array.wave.chunks)):
                job = f"{array.job}_[{first}-{n - 1}]" if n - first > 1 else f"{array.job}_{first}"
                times = [f"{array.submit:.0f}", "Unknown", "Unknown"]
                head = [str(array.job), job, "PENDING", "0:0", *times, "0", "", asked, "None assigned", array.name]
                lines.append(FIELD.join(head))
        return "\n".join(lines)

    def node_list(self) -> str:
        """What sinfo says."""
        fields = ("main*", "infinite", str(self.cores), str(self.node_bytes // MIB), "idle")
        return "\n".join(FIELD.join((f"node{i:02d}", *fields)) for i in range(self.nodes))

    @property
    def core_seconds(self) -> float:
        """Of all elements, from start to end."""
        return sum(e.array.cpus * (e.end - e.start) for array in self.arrays for e in array.started)

    def _tail(self, array: Array, reason: str, node: str, start: str) -> str:
        where = (array.qos, "main", "s4c", node, f"{array.submit:.0f}", start, array.name)
        return FIELD.join((reason, array.run.id, *where)) + "\n"

    def _over_limit(self, array: Array) -> bool:
        limit = self._grp_mem_bytes.get(array.qos)
        return limit is not None and self._qos_bytes[array.qos] + array.mem_bytes > limit

    def _start(self, now: float) -> None:
        refused: list[tuple[int, int]] = []
        for array in self._waiting:
            shape = (array.cpus, array.mem_bytes)
            if any(cpus <= shape[0] and mem <= shape[1] for cpus, mem in refused):
                continue
            while len(array.started) < len(array.wave.chunks) and not self._over_limit(array):
                fits = (self._free_cores >= array.cpus) & (self._free_bytes >= array.mem_bytes)
                node = int(fits.argmax())
                if not fits[node]:
                    refused.append(shape)
                    break
                self._begin(array, node, now)
        self._waiting = [array for array in self._waiting if len(array.started) < len(array.wave.chunks)]

    def _begin(self, array: Array, node: int, now: float) -> None:
        index = len(array.started)
        chunk = array.wave.chunks[index]
        events = self._events(chunk, node, now)
        journal = Journal(array.run.journals / f"{chunk.attempt}.jsonl")
        element = Element(array=array, index=index, node=node, start=now, events=events, journal=journal)
        took = element.end - now
        assert took <= array.limit_s, f"{array.name}: {took:.0f} s of {array.limit_s:.0f}"
        array.started.append(element)
        self._n_started += 1
        heapq.heappush(self._running, (element.end, self._n_started, element))
        self._take(element, 1)
        stage = self.stages.setdefault(chunk.stage, Stage())
        stage.elements += 1
        stage.first_start = min(stage.first_start, now)
        stage.last_end = max(stage.last_end, element.end)
        stage.task_core_s += array.cpus * (took - START_S)
        stage.asked_s.append(array.limit_s / took)

    def _end(self, element: Element) -> None:
        _write(element, element.end)
        element.journal.close()
        self._take(element, -1)
        self._ended.append(element)

    def _take(self, element: Element, sign: int) -> None:
        self._free_cores[element.node] -= sign * element.array.cpus
        self._free_bytes[element.node] -= sign * element.array.mem_bytes
        self._qos_bytes[element.array.qos] += sign * element.array.mem_bytes

    def _events(self, chunk: Chunk, node: int, now: float) -> list[tuple[float, Event]]:
        host, pid, t = f"node{node:02d}", 4711, now + START_S
        found: list[tuple[float, Event]] = [(t, Opened(attempt=chunk.attempt, host=host, pid=pid, t=t))]
        lasts = self._seconds[chunk.stage] * np.exp(SPREAD * self._rng.standard_normal(len(chunk.ids)))
        for key, number, seconds in zip(chunk.ids, chunk.numbers, lasts.tolist(), strict=True):
            found.append((t, Begin(id=key, attempt=chunk.attempt, number=number, pid=pid, host=host, t=t)))
            t += seconds
            done = Done(
                id=key, attempt=chunk.attempt, number=number, n_rows=1000, absent=(), rasters_opened=1, twins=0,
                outputs=tuple(Output(path=path, bytes=MIB, sha256="0" * 64) for path in self.outputs[key]),
                cpu_s=seconds, wall_s=seconds, peak_anon_bytes=300 * MIB, base_anon_bytes=200 * MIB,
                max_rss_bytes=400 * MIB, t=t,
            )  # fmt: skip
            found.append((t, done))
        found.append((t, Closed(attempt=chunk.attempt, t=t)))
        return found


class SimulatedPrograms(SlurmClient):
    """The client, with programs that ask ``slurm``; how often, what they say and what that costs us is counted."""

    def __init__(self, slurm: SimulatedSlurm) -> None:
        super().__init__(env={})
        self._slurm = slurm
        self.calls: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()
        self.cpu_s = 0.0
        """Of the simulation, to be taken off the driver's."""

    def _run(
        self,
        words: list[str],
        *,
        text: str = "",
        more: Mapping[str, str] | None = None,  # noqa: ARG002 - as of the real one
    ) -> subprocess.CompletedProcess[str]:
        began = time.process_time()
        match words[0]:
            case "sbatch":
                answer = str(self._slurm.submit(text))
            case "squeue":
                answer = self._slurm.queue()
            case "sacct":
                names = next(word for word in words if word.startswith("--name="))
                answer = self._slurm.accounting(names.removeprefix("--name=").split(","))
            case "scontrol":
                answer = CONFIG
            case "sinfo":
                answer = self._slurm.node_list()
            case program:
                raise NotImplementedError(program)
        self.calls[words[0]] += 1
        self.lines[words[0]] += answer.count("\n") + 1
        self.cpu_s += time.process_time() - began
        return subprocess.CompletedProcess(words, 0, answer, "")


def _write(element: Element, until: float) -> None:
    while element.at < len(element.events) and element.events[element.at][0] <= until:
        element.journal.write(element.events[element.at][1])
        element.at += 1


def _record(array: Array, job: int, index: int, state: str, tail: str) -> str:
    return RECORD + FIELD.join((str(job), str(array.job), str(index), state, tail))
