"""What is known of an element, put together from what squeue and sacct say: a pure function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from s4c_hpc.slurm.ending import Ending
from s4c_hpc.slurm.rows import AccountingRow, QueueRow

CLOCK_SLACK_S = 300.0
"""Most that the clocks of this machine and of the controller may differ: munge's tickets expire after that."""

_MEMORY_WORDS = re.compile(r"exceeded (job |step )?memory limit|oom[-_ ]kill|out of memory", re.IGNORECASE)
"""What slurmstepd writes to the log of a job that it, or the kernel, killed for its memory."""

_KILLED = frozenset({(0, 9), (9, 0), (137, 0)})
"""Exit codes of a program that got SIGKILL: seen by Slurm, by bash as Slurm reports it, and by bash itself."""
_NOT_YET = (0, 0)
"""Exit code of a failure that the accounts do not know in full."""

Row = TypeVar("Row", QueueRow, AccountingRow)
Index = Mapping[tuple[str, int | None], Sequence[Row]]
"""Rows by name and array index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """What we know ourselves of a job or of an element of an array."""

    name: str
    index: int | None
    submitted_at: float
    """Seconds since 1970, taken before sbatch was run."""
    job_id: int | None
    """None: sbatch gave no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of one element."""

    alive: bool
    """It may still write: nothing takes its place yet."""
    state: str
    """"pending", "running", "unknown" or "ended"."""
    reason: str
    """Why it waits, in Slurm's word, or why it ended, in a sentence."""
    ending: Ending | None
    may_live: bool
    """Ended as far as Slurm knows, but its script may run on somewhere."""
    nodes: str


def by_element(rows: Iterable[Row]) -> dict[tuple[str, int | None], list[Row]]:
    """Rows by name and array index, for ``look``."""
    found: dict[tuple[str, int | None], list[Row]] = {}
    for row in rows:
        found.setdefault((row.name, row.index), []).append(row)
    return found


def look(
    element: Element,
    queue: Index[QueueRow] | None,
    accounting: Index[AccountingRow] | None,
    *,
    now: float,
    missing_since: float | None,
    forgotten_after_s: float,
    log_tail: Callable[[], str],
) -> Sight:
    """Judge one element.

    It is found by name and index, never by id: a controller that crashes gives ids out again.

    Parameters
    ----------
    element : what we submitted
    queue : rows of squeue, best with those that ended lately; None: squeue did not answer
    accounting : rows of sacct; None: no answer, or no accounts
    now : seconds since 1970
    missing_since : when both were first silent about it; None: they were not, until now
    forgotten_after_s : longest silence before it is given up
    log_tail : reads the end of its log; called only for a job that may have been killed for its memory
    """
    if queue is None:
        return _unknown("squeue gives no answer")
    queued = _runs(element, queue)
    live = [row for row in queued if row.ending is None]
    if live:
        return _living(live[-1])
    runs = [] if accounting is None else _runs(element, accounting)
    # The newest run counts: an earlier one of a requeued job has a line of its own.
    last = next((row for row in reversed(runs) if not row.is_step), None)
    # A database that was away has a state at first, without an end and an exit code: then squeue knows more.
    if last is not None and last.ending is not None and (last.end is not None or not queued):
        return _accounted(last, [row for row in runs if row.is_step and row.job_id_raw == last.job_id_raw], log_tail)
    if queued:
        return _left_queue(queued[-1], log_tail)
    return _missing(element, last, now=now, missing_since=missing_since, forgotten_after_s=forgotten_after_s)


def _runs(element: Element, rows: Index[Row]) -> list[Row]:
    """Rows of an element, oldest first."""
    found = list(rows.get((element.name, element.index), ()))
    if not found and element.index is not None:
        # What of an array is cancelled before it began is one line of squeue together, without an index.
        found = [row for row in rows.get((element.name, None), ()) if row.ending is not None]
    earliest = element.submitted_at - CLOCK_SLACK_S
    found = [row for row in found if row.submit is None or row.submit >= earliest]
    return sorted(found, key=lambda row: (row.submit or 0.0, row.start or 0.0))


def _living(row: QueueRow) -> Sight:
    waits = row.state in {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
    state = "pending" if waits else "running"
    unusual = row.state if row.state not in {"PENDING", "RUNNING"} else ""
    reason = " ".join(filter(None, (unusual, row.reason)))
    return Sight(alive=True, state=state, reason=reason, ending=None, may_live=False, nodes=row.nodes)


def _accounted(row: AccountingRow, steps: Sequence[AccountingRow], log_tail: Callable[[], str]) -> Sight:
    ending = row.ending
    if ending is Ending.FAILED:
        return _ended(*_failure(row, steps, log_tail), row.node_list)
    if ending is Ending.CANCELLED and row.state_by is not None:
        return _ended(Ending.CANCELLED, f"cancelled by user id {row.state_by}", row.node_list)
    return _ended(ending or Ending.FAILED, _sentence(row.state, row.node_list), row.node_list)


def _failure(row: AccountingRow, steps: Sequence[AccountingRow], log_tail: Callable[[], str]) -> tuple[Ending, str]:
    code, signal = row.exit_code
    if signal == 125 or any(step.ending is Ending.MEMORY for step in steps):
        return Ending.MEMORY, _sentence("OUT_OF_MEMORY", row.node_list)
    if row.exit_code not in _KILLED and row.exit_code != _NOT_YET:
        return Ending.FAILED, f"killed by signal {signal}" if signal else f"exit code {code}"
    # Slurm's own watch on memory (OverMemoryKill) leaves no other trace than a line in the log ...
    if _MEMORY_WORDS.search(log_tail()):
        return Ending.MEMORY, _sentence("OUT_OF_MEMORY", row.node_list)
    # ... unless the log is lost: then a sample above what was asked for.
    asked = row.req_mem_bytes
    if asked is not None and any((step.max_rss_bytes or 0) > asked for step in steps):
        return Ending.MEMORY, _sentence("OUT_OF_MEMORY", row.node_list)
    return Ending.FAILED, "failed" if row.exit_code == _NOT_YET else "killed by signal 9"


def _left_queue(row: QueueRow, log_tail: Callable[[], str]) -> Sight:
    """An end of which only squeue knows: no accounts, or they lag. It has no exit code."""
    ending = row.ending or Ending.FAILED
    if ending is Ending.FAILED and _MEMORY_WORDS.search(log_tail()):
        return _ended(Ending.MEMORY, _sentence("OUT_OF_MEMORY", row.nodes), row.nodes)
    sentence = _sentence(row.state, row.nodes)
    return _ended(ending, f"{sentence} ({row.reason})" if row.reason else sentence, row.nodes)


def _missing(
    element: Element,
    row: AccountingRow | None,
    *,
    now: float,
    missing_since: float | None,
    forgotten_after_s: float,
) -> Sight:
    silent_s = 0.0 if missing_since is None else now - missing_since
    said = "neither queued nor in the accounts" if row is None else f"not queued, though sacct says {row.state}"
    if missing_since is None or silent_s < forgotten_after_s:
        return _unknown(f"{said} for {silent_s:.0f} s")
    # Without an answer of sbatch it is most likely that there never was a job, but a controller may have started it
    # and crashed: a script runs on then, unknown to Slurm.
    if element.job_id is None and row is None:
        return _ended(Ending.NEVER_SUBMITTED, f"sbatch gave no answer, and it was {said} for {silent_s:.0f} s", "")
    return _ended(Ending.FORGOTTEN, f"{said} for {silent_s:.0f} s", "" if row is None else row.node_list)


def _unknown(reason: str) -> Sight:
    return Sight(alive=True, state="unknown", reason=reason, ending=None, may_live=False, nodes="")


def _ended(ending: Ending, reason: str, nodes: str) -> Sight:
    # A node that lost its connection may go on computing until it hears that it was given up.
    may_live = ending in {Ending.FORGOTTEN, Ending.NEVER_SUBMITTED, Ending.NODE_FAIL}
    return Sight(alive=False, state="ended", reason=reason, ending=ending, may_live=may_live, nodes=nodes)


def _sentence(state: str, nodes: str) -> str:
    where = nodes or "its node"
    return {
        "COMPLETED": "completed",
        "FAILED": "failed",
        "OUT_OF_MEMORY": f"killed on {where} for using more memory than it had asked for",
        "TIMEOUT": "killed at its time limit",
        "DEADLINE": "killed at its deadline",
        "PREEMPTED": "had to make room for a job of higher rank",
        "NODE_FAIL": f"{where} failed",
        "BOOT_FAIL": f"{where} did not boot",
        "CANCELLED": "cancelled",
    }.get(state, state)
