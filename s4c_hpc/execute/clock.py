"""How long a run will still take: the forecast, at the pace that was measured so far."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.log import get_logger
from s4c_hpc.execute.board import Board, State
from s4c_hpc.execute.cluster_facts import known_cluster
from s4c_hpc.plan import (
    Machine,
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
            try:
                self._span = self._forecast()
            except ConfigError as error:  # a forecast never stops a run: Slurm itself has the last word
                get_logger("driver").debug("no forecast", run=self._run.id, reason=str(error))
                self._span = None
            took_s = time.monotonic() - now
            self._due = now + max(PAUSE_S, took_s / COST_SHARE)
        return self._span

    def _forecast(self) -> Span | None:
        board = self._board
        if board.is_settled:
            return Span(seconds=0.0, low_s=0.0, high_s=0.0)
        self._machine = self._machine or _machine_of(self._run, board.stage_names)
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


def _machine_of(run: RunFolder, stages: Sequence[str]) -> Machine | None:
    """What a run runs on, as far as it is on disk; ``None`` before the cluster has been asked.

    Parameters
    ----------
    stages : of the plan
    """
    config = run.frozen_config()
    if config.execute.executor == "local":
        return Machine.local(worker_count(config), config.execute.memory)
    cluster = known_cluster(run)
    return None if cluster is None else cluster.machine(config.slurm, stages)
