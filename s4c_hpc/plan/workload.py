"""What is left to run, as arrays; and the same in fewer, larger pieces."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from s4c_hpc.plan.fit import Z90, Floats
from s4c_hpc.plan.graph import Graph, Mask, Rows, coded
from s4c_hpc.plan.predict import stage_codes

MEMORY_STEPS = 4
"""Pieces of one kind differ in memory by less than the 4th root of 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Tasks to run; arrays are (n_tasks,) in the order of the plan."""

    stages: tuple[str, ...]
    """In the order of the plan."""
    stage: npt.NDArray[np.int32]
    """Index of ``stages``."""
    cpus: npt.NDArray[np.int64]
    mem_bytes: npt.NDArray[np.int64]
    """Asked for."""
    seconds: Floats
    """What they take."""
    predicted_s: Floats
    """What they are thought to take: by this they are cut into chunks, and the longest start first."""
    waiting: Rows
    """(n_edges,) row that depends."""
    needed: Rows
    """(n_edges,) row that it depends on."""
    tile: npt.NDArray[np.int32]
    """Number of its tile: pieces are made tile by tile."""
    common: Floats
    """Standard deviation of the log of the factor on ``seconds`` that all tasks of the stage have in common."""
    noise: Floats
    """The same for the factor that each has of its own."""
    begun: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Tasks that are running when time begins; empty for none."""
    width: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Chunks that each stands for, which run side by side; empty for one."""

    def __len__(self) -> int:
        return len(self.seconds)

    @classmethod
    def of(cls, tasks: pa.Table, estimates: pa.Table, keep: Mask, graph: Graph | None = None) -> Workload:
        """Rows of a plan with their estimates.

        Parameters
        ----------
        tasks, estimates : (n_tasks,) a plan and its side table
        keep : (n_tasks,) rows that are to run; those that they depend on besides are there already
        graph : of ``tasks``, where it is at hand
        """
        graph = graph or Graph.of(tasks)
        stage, names = stage_codes(tasks)
        tile, _ = coded(tasks["tile"])
        seconds, low, high, common = (
            np.asarray(estimates[name], dtype=np.float64) for name in ("seconds", "low_s", "high_s", "common")
        )
        spread = np.log(np.maximum(high, 1e-9) / np.maximum(low, 1e-9)) / (2 * Z90)
        whole = cls(
            stages=tuple(names),
            stage=stage,
            cpus=np.asarray(tasks["cpus"], dtype=np.int64),
            mem_bytes=np.asarray(tasks["mem_bytes"], dtype=np.int64),
            seconds=seconds,
            predicted_s=seconds,
            waiting=graph.waiting,
            needed=graph.needed,
            tile=tile,
            common=common,
            noise=np.sqrt(np.maximum(spread**2 - common**2, 0.0)),
        )
        return whole if keep.all() else whole.only(keep)

    def only(self, keep: Mask) -> Workload:
        """Some of the tasks; edges to others are dropped."""
        place = np.cumsum(keep) - 1
        inside = keep[self.waiting] & keep[self.needed]
        return replace(
            self,
            **{
                name: getattr(self, name)[keep]
                for name in ("stage", "cpus", "mem_bytes", "seconds", "predicted_s", "tile", "common", "noise")
            },
            waiting=place[self.waiting[inside]].astype(np.int64),
            needed=place[self.needed[inside]].astype(np.int64),
            begun=self.begun[keep] if len(self.begun) else self.begun,
            width=self.width[keep] if len(self.width) else self.width,
        )

    def with_means(self) -> Workload:
        """The same with the mean of each duration in place of its median, which noise around it makes larger."""
        return replace(self, seconds=self.seconds * np.exp(self.noise**2 / 2))

    def in_pieces(self, n_pieces: int, *, chunk_s: Floats, overhead_s: float, most_at_once: Rows) -> Workload:
        """About so many pieces, each of tasks of one stage, size and (where it can be) tile.

        A piece stands for ``width`` chunks that run side by side, so that it takes as long as one chunk does: the end
        of the schedule, when cores fall idle, keeps its shape. A piece waits for all that any of its tasks waits for.

        Parameters
        ----------
        n_pieces : wanted; there are up to one more for each stage, tile and size
        chunk_s : (n_stages,) seconds of a chunk
        overhead_s : seconds that the start of a chunk takes
        most_at_once : (n_stages,) chunks that may run side by side in one piece
        """
        if len(self) <= n_pieces:
            return self
        key = self._kind()
        by_tile = key * (int(self.tile.max()) + 1) + self.tile
        if len(np.unique(by_tile)) < n_pieces:
            key = by_tile
        order = np.lexsort((self.tile, key))
        n_chunks = float((self.predicted_s / chunk_s[self.stage]).sum())
        width = np.clip(round(n_chunks / n_pieces), 1, most_at_once)[self.stage]
        # Where a piece may not be wide it is long: in all they are to be ``n_pieces``.
        length = max(float((self.seconds / width).sum()) / n_pieces, 1e-9) * width
        total = np.cumsum(self.seconds[order])
        starts = np.r_[True, np.diff(key[order]) != 0]
        offset = np.maximum.accumulate(np.where(starts, total - self.seconds[order], 0.0))
        part = np.floor((total - self.seconds[order] / 2 - offset) / length[order]).astype(np.int64)
        new = starts | np.r_[True, np.diff(part) != 0]
        piece = np.empty(len(self), dtype=np.int64)
        piece[order] = np.cumsum(new) - 1
        first = order[np.flatnonzero(new)]
        n = len(first)

        def add_up(values: Floats) -> Floats:
            return np.asarray(np.bincount(piece, weights=values, minlength=n), dtype=np.float64)

        n_tasks = np.bincount(piece, minlength=n)
        total_s, predicted_s = add_up(self.seconds), add_up(self.predicted_s)
        chunks = np.minimum(np.ceil(predicted_s / chunk_s[self.stage[first]]), n_tasks)
        width = np.minimum(chunks.astype(np.int64), width[first]).clip(1)
        further = np.maximum(chunks / width - 1, 0.0)
        mem_bytes = np.zeros(n, dtype=np.int64)
        np.maximum.at(mem_bytes, piece, self.mem_bytes)
        pairs = np.unique(piece[self.waiting] * n + piece[self.needed])
        weight = np.maximum(total_s, 1e-12)
        return Workload(
            stages=self.stages,
            stage=self.stage[first],
            cpus=self.cpus[first],
            mem_bytes=mem_bytes,
            seconds=total_s / width + further * overhead_s,
            predicted_s=predicted_s / width,
            waiting=pairs // n,
            needed=pairs % n,
            tile=self.tile[first],
            common=add_up(self.seconds * self.common) / weight,
            noise=np.sqrt(add_up((self.seconds * self.noise) ** 2)) / weight,
            begun=self.begun[first] if len(self.begun) else self.begun,
            width=width,
        )

    def _kind(self) -> Rows:
        """Number of each task's depth, stage, cores and memory: of one depth, no two tasks wait for each other."""
        size = np.ceil(np.log2(np.maximum(self.mem_bytes, 1)) * MEMORY_STEPS).astype(np.int64)
        columns = [self._depth(), self.stage, self.cpus, size]
        if len(self.begun):
            columns.append(np.where(self.begun, np.arange(len(self)), -1))  # they run side by side: no pieces of them
        key = np.zeros(len(self), dtype=np.int64)
        for column in columns:
            values, code = np.unique(column, return_inverse=True)
            key = key * len(values) + code
        return np.unique(key, return_inverse=True)[1].astype(np.int64)

    def _depth(self) -> Rows:
        """Longest way from a task that waits for none; (n_tasks,)."""
        if (self.stage[self.needed] < self.stage[self.waiting]).all():
            return self.stage.astype(np.int64)
        depth = np.zeros(len(self), dtype=np.int64)
        for level, rows in enumerate(Graph(len(self), self.waiting, self.needed).levels()):
            depth[rows] = level
        return depth
