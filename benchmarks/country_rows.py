"""A country-year as rows of a plan: Sentinel-2 from mask to statistics, Sentinel-1 from pairs to statistics, merge."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, Stage, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.plan.ledger import ESTIMATE_SCHEMA

MIB, GIB = 1 << 20, 1 << 30
TILES, DATES, MONTHS, PAIRS = 150, 70, 12, 236
TILES_A_PAIR = 6
"""Tiles that an S1 product touches."""
GRIDS = ("10m", "20m", "60m")


@dataclass(frozen=True)
class Cost:
    """A task of one stage: median seconds, cores, and memory asked for on the smallest and the largest tile."""

    seconds: float
    low_bytes: int
    high_bytes: int
    cpus: int = 1


COSTS = {
    "backscatter": Cost(30.0, 1536 * MIB, 1536 * MIB, cpus=2),
    "coherence": Cost(1800.0, 32 * GIB, 32 * GIB, cpus=8),
    "mask": Cost(2.6, 350 * MIB, 700 * MIB),
    "gather": Cost(86.0, 600 * MIB, 1645 * MIB),
    "gather-s1": Cost(4.0, 350 * MIB, 700 * MIB),
    "index": Cost(2.0, 600 * MIB, 5164 * MIB),
    "stats": Cost(6.0, 400 * MIB, 900 * MIB),
    "stats-s1": Cost(2.5, 350 * MIB, 500 * MIB),
    "merge": Cost(10.0, 512 * MIB, 2 * GIB),
}
"""In the order of a plan: each stage after those that it reads, by name where that leaves a choice. Seconds as in
``bench_country``; backscatter and memory of the others are targets or bounds. Coherence is SNAP's."""
NATIVE = Cost(150.0, 4 * GIB, 4 * GIB, cpus=4)
"""Coherence by a kernel of one's own."""

_AFTER: dict[str, tuple[str, ...]] = {
    "gather": ("mask",),
    "gather-s1": ("mask", "coherence", "backscatter"),
    "index": ("mask",),
    "stats": ("mask", "gather", "index"),
    "stats-s1": ("mask", "gather-s1", "index"),
    "merge": ("stats", "stats-s1"),
}


@dataclass
class Rows:
    """A stage of which only the rows are there."""

    name: str
    rows: list[Task] = field(default_factory=list)
    version: str = "1"
    launch: Launch = Launch.ARRAY

    def __post_init__(self) -> None:
        """As in the real chain."""
        self.after: Sequence[str] = _AFTER.get(self.name, ())
        self.tolerates_missing = self.deliverable = self.name == "merge"

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - the protocol's
        """All of them."""
        yield tasks_to_batch(self.rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:  # noqa: ARG002 - the protocol's
        """Of the smallest tile."""
        cost = COSTS[self.name]
        return Resources(cpus=cost.cpus, mem_bytes=cost.low_bytes, walltime_s=600)

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Simulated, never run."""
        raise NotImplementedError


class Country:
    """Rows of a season, or of one of several parts of it that come one after the other.

    Parameters
    ----------
    pairs : S1 pairs of the year; as many backscatter scenes
    costs : by stage
    part, parts : which part of the dates. What earlier parts have made is not in the plan.
    """

    def __init__(self, pairs: int, costs: Mapping[str, Cost], *, part: int = 0, parts: int = 1) -> None:
        self.costs = costs
        self.stages = {name: Rows(name) for name in COSTS}
        self._size = np.random.default_rng(0).random(TILES)
        self._part, self._parts = part, parts
        self._common: dict[int, list[str]] = {}
        if part == 0:
            self._add_common()
        merged: dict[tuple[int, str, int], list[str]] = {}
        for i in self._of_this_part(DATES):
            for tile in range(TILES):
                gather = self._add("gather", tile, f"date{i}", self._common.get(tile, [])[:1], 3)
                stats = self._add("stats", tile, f"date{i}", [gather, *self._common.get(tile, [])], 3)
                merged.setdefault((tile, "s2", i * MONTHS // DATES), []).append(stats)
        n_frames = TILES // TILES_A_PAIR
        for i in self._of_this_part(pairs):
            frame = range(i % n_frames * TILES_A_PAIR, (i % n_frames + 1) * TILES_A_PAIR)
            pair = self._add("coherence", frame[0], f"pair{i}", [], len(frame))
            for tile in frame:
                scene = self._add("backscatter", tile, f"scene{i}", [], 1)
                for source, what in ((pair, "pair"), (scene, "scene")):
                    subject = f"{what}{i}"
                    gather = self._add("gather-s1", tile, subject, [*self._common.get(tile, [])[:1], source], 1)
                    stats = self._add("stats-s1", tile, subject, [gather, *self._common.get(tile, [])], 1)
                    merged.setdefault((tile, "s1", i * MONTHS // pairs), []).append(stats)
        for (tile, name, month), needed in merged.items():
            self._add("merge", tile, f"{name} month{month}", needed, 2, version=f" part{part}")

    @property
    def registry(self) -> dict[str, Stage]:
        """The stages that have rows."""
        return {name: stage for name, stage in self.stages.items() if stage.rows}

    def estimates(self, tasks: pa.Table) -> pa.Table:
        """What is predicted of these rows, had the stages been measured: the median, and half of it around."""
        seconds = np.asarray([self.costs[name].seconds for name in tasks["stage"].to_pylist()])
        n = len(seconds)
        columns = [seconds, seconds / 1.5, seconds * 1.5, np.full(n, 0.2), tasks["mem_bytes"], np.full(n, 100, "i4")]
        return pa.table([tasks["id"], *columns], schema=ESTIMATE_SCHEMA)

    def _of_this_part(self, n: int) -> range:
        return range(n * self._part // self._parts, n * (self._part + 1) // self._parts)

    def _add_common(self) -> None:
        for tile in range(TILES):
            mask = self._add("mask", tile, "season", [], 1)
            self._common[tile] = [mask, *(self._add("index", tile, grid, [mask], 1) for grid in GRIDS)]

    def _add(
        self, stage: str, tile: int, subject: str, needs: Sequence[str], n_outputs: int, *, version: str = ""
    ) -> str:
        cost = self.costs[stage]
        identity = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{stage} {tile} {subject}{version}"))
        mem_bytes = cost.low_bytes + int(self._size[tile] * (cost.high_bytes - cost.low_bytes))
        self.stages[stage].rows.append(
            Task(
                id=identity,
                stage=stage,
                tile=f"T{tile:03d}",
                subject=subject,
                input_keys=(identity,),
                params="{}",
                depends_on=tuple(needs),
                outputs=tuple(f"tiles/T{tile:03d}/{stage}/{subject}_{i}.arrow" for i in range(n_outputs)),
                work=1.0,
                bytes_out=MIB * n_outputs,
                opens_imagery=0,
                resources=Resources(cpus=cost.cpus, mem_bytes=mem_bytes, walltime_s=int(20 * cost.seconds) + 600),
            )
        )
        return identity
