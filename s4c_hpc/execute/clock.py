"""How long a run will still take: the forecast, at the pace that was measured so far."""

from __future__ import annotations

import json
import math
import time

import numpy as np

from s4c_hpc.execute.board import Board, State
from s4c_hpc.plan import (
    Machine,
    NodeGroup,
    QueueLimits,
    RunFolder,
    Span,
    Workload,
    makespan,
    paced,
    remaining,
    worker_count,
)
from s4c_hpc.plan.bundles import bundled

PAUSE_S = 3.0
"""Least time between two forecasts of a driver..."""
COST_SHARE = 0.02
"""... and the most of its time that it spends on them."""

MAX_EXACT = 2_000
"""Tasks left up to which they are looked at one by one: beyond, a person would wait for it."""
N_BUNDLES = 400
DRAWS = 15


class Clock:
    """The forecast of one run, made again now and then."""

    def __init__(self, run: RunFolder, board: Board) -> None:
        self._run, self._board = run, board
        self._workload: Workload | None = None
        self._machine: Machine | None = None
        self._span: Span | None = None
        self._due = float("-inf")

    def left(self) -> Span | None:
        """What is left, in seconds from now; ``None`` as long as nobody knows the machine. Mostly from memory."""
        now = time.monotonic()
        if now >= self._due or self._board.is_settled:
            self._span = self._forecast()
            took_s = time.monotonic() - now
            self._due = now + max(PAUSE_S, took_s / COST_SHARE)
        return self._span

    def _forecast(self) -> Span | None:
        board = self._board
        if board.is_settled:
            return Span(seconds=0.0, low_s=0.0, high_s=0.0)
        self._machine = self._machine or machine_of(self._run, tuple(board.stage_names))
        if self._machine is None:
            return None
        todo = board.planned_todo
        if self._workload is None:
            self._workload = Workload.of(board.tasks, board.estimates, todo, board.graph)
        workload = paced(self._workload, board.measured_s, board.expected_s, board.n_done)
        unsettled = (board.state < State.DONE)[todo]
        elapsed = np.where(board.state == State.RUNNING, np.maximum(time.time() - board.begun_at, 0.0), np.nan)[todo]
        if np.count_nonzero(unsettled) <= MAX_EXACT:
            return remaining(workload, self._machine, unsettled=unsettled, running_elapsed_s=elapsed)
        # The few that are running make no difference among so many.
        bundles = bundled(workload.only(unsettled), self._machine, N_BUNDLES)
        return makespan(bundles, self._machine, n_exact=len(bundles), n_pieces=len(bundles), draws=DRAWS)


def machine_of(run: RunFolder, stages: tuple[str, ...]) -> Machine | None:
    """What a run runs on, as far as it is on disk; ``None`` before the cluster has been asked.

    Parameters
    ----------
    stages : of the plan
    """
    config = run.frozen_config()
    if config.execute.executor == "local":
        return Machine.local(worker_count(config), config.execute.memory)
    try:
        cluster = json.loads((run.root / "cluster.json").read_bytes())
        n_nodes = math.ceil(cluster["cores"] / cluster["largest_cpus"])
        nodes = NodeGroup(count=n_nodes, cpus=cluster["largest_cpus"], mem_bytes=cluster["largest_bytes"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    limits = {
        name: QueueLimits(
            grp_cpus=own.group_cpus,
            grp_mem_bytes=None if own.group_memory is None else int(own.group_memory),
            grp_jobs=own.group_jobs,
        )
        for name, own in config.slurm.qos_limits.items()
    }
    return Machine.cluster(config.slurm, (nodes,), limits, stages)
