"""When a workload will be finished: its simulated schedule, and how sure that is. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from s4c_hpc.plan.fit import Floats
from s4c_hpc.plan.graph import Mask, Rows
from s4c_hpc.plan.machine import Machine
from s4c_hpc.plan.simulate import simulate
from s4c_hpc.plan.workload import Workload

EXACT_TASKS: Final = 60_000
"""Up to so many tasks the schedule is that of the tasks themselves..."""
EXACT_PIECES: Final = 20_000
"""... and of more, that of so many pieces."""
MAX_PIECES: Final = 1500
"""Pieces of each simulated future."""
SHORTEST_CHUNK_S: Final = 1e-6
"""Against division by zero where a stage has nothing to do."""
WIDEST_SHARE: Final = 32
"""A piece runs on at most this part of the machine."""
DRAWS: Final = 15
"""Simulated futures; their quantiles 0.1 and 0.9 are the interval."""
OVERDUE: Final = 0.1
"""Of what a running task has taken: the least that it is thought to take still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A predicted duration with its interval, in seconds."""

    seconds: float
    low_s: float
    high_s: float


def makespan(
    workload: Workload, machine: Machine, *, n_exact: int = EXACT_TASKS, n_pieces: int = MAX_PIECES, draws: int = DRAWS
) -> Span:
    """Time until all of ``workload`` is done, and the interval that holds four of five futures.

    The futures differ in the pace of each stage (``Workload.common``) and in what each task has of its own
    (``Workload.noise``). They are drawn with a fixed seed, on pieces of the workload.

    Parameters
    ----------
    n_exact : most tasks that are scheduled one by one
    n_pieces : of each future
    draws : number of futures

    Raises
    ------
    ConfigError
        As ``simulate``.
    """
    if not len(workload):
        return Span(seconds=0.0, low_s=0.0, high_s=0.0)
    means = workload.with_means()
    whole = means if len(means) <= n_exact else _in_pieces(means, machine, min(n_exact, EXACT_PIECES))
    expected = simulate(whole, machine).finish_s
    pieces = _in_pieces(means, machine, n_pieces)
    # A pair each: what the future adds is not mixed with what the pieces take away.
    rough = max(simulate(pieces, machine).finish_s, 1e-9)
    rng = np.random.default_rng(0)
    factors = [simulate(_future(pieces, rng), machine).finish_s / rough for _ in range(draws)]
    low, middle, high = (expected * float(factor) for factor in np.quantile(factors, [0.1, 0.5, 0.9]))
    return Span(seconds=middle, low_s=low, high_s=high)


def remaining(
    workload: Workload,
    machine: Machine,
    *,
    unsettled: Mask,
    running_elapsed_s: Floats,
    n_exact: int = 3000,
    n_pieces: int = 300,
    draws: int = 7,
) -> Span:
    """Time until everything that is not settled is done, with its interval.

    Parameters
    ----------
    workload : (n_tasks,) as planned; ``seconds`` and ``predicted_s`` may have been corrected by what was measured since
    unsettled : (n_tasks,) tasks that are waiting or running
    running_elapsed_s : (n_tasks,) seconds since a running task began; NaN for all others
    n_exact, n_pieces, draws : as in ``makespan``; fewer by default, since a person waits for the answer
    """
    left = workload.only(unsettled)
    elapsed = running_elapsed_s[unsettled]
    begun = ~np.isnan(elapsed)
    so_far = np.where(begun, elapsed, 0.0)
    seconds = np.where(begun, np.maximum(left.seconds - so_far, OVERDUE * so_far), left.seconds)
    left = replace(left, seconds=seconds, begun=begun)
    return makespan(left, machine, n_exact=n_exact, n_pieces=n_pieces, draws=draws)


def paced(workload: Workload, measured_s: Floats, expected_s: Floats, n_done: Floats) -> Workload:
    """The workload at the pace measured so far.

    Parameters
    ----------
    measured_s, expected_s : (n_stages,) what the tasks done in this run took, and what had been predicted for them
    n_done : (n_stages,) number of them: one counts half, many count whole
    """
    known = (n_done > 0) & (measured_s > 0) & (expected_s > 0)
    ratio = np.divide(measured_s, expected_s, out=np.ones_like(measured_s), where=known)
    weight = np.where(known, n_done / (n_done + 1.0), 0.0)
    factor = np.exp(weight * np.log(ratio))[workload.stage]
    common = workload.common / np.sqrt(1.0 + np.where(known, n_done, 0.0))[workload.stage]
    return replace(
        workload, seconds=workload.seconds * factor, predicted_s=workload.predicted_s * factor, common=common
    )


def widest(workload: Workload, machine: Machine) -> Rows:
    """Chunks of each stage that may stand for one: a small part of what runs side by side; (n_stages,)."""
    n_stages = len(workload.stages)
    cpus, mem_bytes = np.ones(n_stages, dtype=np.int64), np.ones(n_stages, dtype=np.int64)
    np.maximum.at(cpus, workload.stage, workload.cpus)
    most_bytes = max(group.mem_bytes for group in machine.nodes)  # what is larger is cut to that
    np.maximum.at(mem_bytes, workload.stage, np.minimum(machine.asked_bytes(workload.mem_bytes), most_bytes))
    most = [
        machine.most_at_once(name, int(c), int(m)) for name, c, m in zip(workload.stages, cpus, mem_bytes, strict=True)
    ]
    return np.asarray(most, dtype=np.int64).clip(WIDEST_SHARE) // WIDEST_SHARE


def _in_pieces(workload: Workload, machine: Machine, n_pieces: int) -> Workload:
    """Pieces none of which holds more than a small part of the machine or of what its queue allows."""
    by_stage = np.bincount(workload.stage, weights=workload.predicted_s, minlength=len(workload.stages))
    return workload.in_pieces(
        n_pieces,
        chunk_s=np.asarray([machine.chunk_length_s(float(s)) for s in by_stage]).clip(SHORTEST_CHUNK_S),
        overhead_s=machine.start_overhead_s,
        most_at_once=widest(workload, machine),
    )


def _future(pieces: Workload, rng: np.random.Generator) -> Workload:
    """One way in which durations may turn out."""
    pace = rng.standard_normal(len(pieces.stages))[pieces.stage]
    own = rng.standard_normal(len(pieces))
    factor = np.exp(pieces.common * pace + pieces.noise * own - pieces.noise**2 / 2)
    return replace(pieces, seconds=pieces.seconds * factor)
