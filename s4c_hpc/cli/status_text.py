"""A run's status in words: pure, so that watching and asking once say the same."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from s4c_hpc.cli.output import table_lines
from s4c_hpc.core.text import human_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s4c_hpc.execute import Problem, QueueStatus, RunStatus, SelfDrive, StatusLine

COLUMNS = ("stage", "tile", "done", "running", "waiting", "failed", "quarantined", "blocked")
MAX_LINES = 40
"""Lines of stages and tiles up to which all are shown."""
MAX_TILES = 10
"""Tiles of a stage that are named beyond that."""
MAX_NAMES = 10
"""Tasks that are named."""


def status_table(found: RunStatus, *, everything: bool = False) -> list[str]:
    """Tasks by stage and tile.

    Where there are many tiles, a line for each stage stands for them, and tiles with problems or running tasks follow.

    Parameters
    ----------
    everything : show all tiles all the same
    """
    if everything or len(found.lines) <= MAX_LINES:
        return table_lines((_row(line, line.tile) for line in found.lines), COLUMNS)
    rows = []
    for total in found.stages:
        tiles = [line for line in found.lines if line.stage == total.stage]
        rows.append(_row(total, f"{len(tiles)} tiles"))
        worth = sorted((line for line in tiles if _is_news(line)), key=lambda line: not _n_problems(line))
        rows += [_row(line, f"  {line.tile}") for line in worth[:MAX_TILES]]
        if len(worth) > MAX_TILES:
            rows.append({"stage": total.stage, "tile": f"  ... {len(worth) - MAX_TILES} more"})
    return table_lines(rows, COLUMNS)


def status_lines(found: RunStatus, *, zone: dt.tzinfo | None = None) -> list[str]:
    """Who drives, what waits and for what, what went wrong, and how long it will take.

    Parameters
    ----------
    zone : of the clock times; that of this machine by default
    """
    lines = [f"run {found.run}: {_state(found)}"]
    lines += [f"{n} wait {reason}" for reason, n in found.waiting.items()]
    if found.queue is not None and not found.progress.is_settled:
        lines += _queue(found.queue, found.t)
    lines += [f"running: {task.name}" for task in found.running[:MAX_NAMES]]
    if len(found.running) > MAX_NAMES:
        lines.append(f"... and {len(found.running) - MAX_NAMES} more are running")
    left = found.left
    if left is not None and not found.progress.is_settled:
        end = dt.datetime.fromtimestamp(found.t + left.seconds, dt.UTC).astimezone(zone)
        away = {"running": ""}.get(found.state, " once it goes on")
        lines.append(
            f"about {human_seconds(left.seconds)} left ({human_seconds(left.low_s)} to {human_seconds(left.high_s)})"
            + (away or f": done at {end:%Y-%m-%d %H:%M}")
        )
    return [*lines, *problem_lines(found.problems)]


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """The first tasks that ended without a result, and how many more there are."""
    lines = [f"{problem.state}: {problem.name}: {problem.reason}" for problem in problems[:MAX_NAMES]]
    if len(problems) > MAX_NAMES:
        lines.append(f"... and {len(problems) - MAX_NAMES} more; 's4c status --json' lists all")
    return lines


def log_line(found: RunStatus) -> str:
    """The status in one line, for a log."""
    now = found.progress
    left = ""
    if found.state == "running" and now.seconds_left and not now.is_settled:
        left = f", about {human_seconds(now.seconds_left)} left"
    return (
        f"{found.state}: {now.done} of {now.total} tasks done, {now.running} running, "
        f"{now.waiting + now.submitted} waiting, {now.n_problems} without a result{left}"
    )


def _state(found: RunStatus) -> str:
    left = found.progress.waiting + found.progress.submitted + found.progress.running
    state, own = found.state, found.self_drive
    if state == "complete":
        return "complete"
    if state == "running":
        return f"driven by {found.owner}" if found.owner is not None or own is None else _drives_itself(own, found.t)
    queued = f"; {found.n_open} array elements are in the queue" if found.executor == "slurm" and found.n_open else ""
    if state == "stopped" and own is not None:
        return f"stopped with {left} tasks left: {own.stopped}{queued}; 's4c run --detach' goes on"
    if state == "stalled" and own is not None:
        what = "its last tick was" if own.last_tick is not None else "no tick has come since it was detached,"
        return (
            f"stalled with {left} tasks left: {what} {human_seconds(found.t - own.since)} ago, one is due every "
            f"{human_seconds(own.interval_s)}{queued}; it goes on by itself if a tick is in the queue "
            f"('squeue --me --name=s4c-tick-{found.run}'), else by 's4c run --detach'"
        )
    if queued:
        return f"interrupted with {left} tasks left{queued}, nobody drives: 's4c run' takes them over"
    return f"interrupted with {left} tasks left; 's4c run' goes on"


def _drives_itself(own: SelfDrive, now: float) -> str:
    if own.last_tick is None:
        return f"drives itself, detached {human_seconds(now - own.since)} ago, the first tick has not come yet"
    wait_s = own.last_tick + own.interval_s - now
    due = f"in {human_seconds(wait_s)}" if wait_s >= 1 else "is due"
    return f"drives itself, last tick {human_seconds(now - own.last_tick)} ago, next {due}"


def _queue(queue: QueueStatus, now: float) -> Iterable[str]:
    ago = f"{human_seconds(max(now - queue.t, 0.0))} ago"
    if queue.trouble:
        yield f"trouble with Slurm, {ago}: {queue.trouble}"
    by_qos: dict[str, dict[str, int]] = {}
    for use in queue.uses:
        states = by_qos.setdefault(use.qos or "the default QoS", {})
        states[use.state] = states.get(use.state, 0) + use.elements
    for qos, states in by_qos.items():
        yield f"queue, {ago}: {qos}: {', '.join(f'{n} elements {state}' for state, n in sorted(states.items()))}"
    reasons: dict[tuple[str, str, str], int] = {}
    for use in queue.uses:
        if use.state != "running" and use.reason:
            key = (use.reason, use.qos or "the default QoS", use.explanation)
            reasons[key] = reasons.get(key, 0) + use.elements
    for (reason, qos, explanation), n in reasons.items():
        yield f"{reason}: {n} element{'s' if n != 1 else ''} in {qos}" + (f" ({explanation})" if explanation else "")


def _row(line: StatusLine, tile: str) -> dict[str, str | int]:
    return {name: tile if name == "tile" else getattr(line, name) for name in COLUMNS}


def _n_problems(line: StatusLine) -> int:
    return line.failed + line.quarantined + line.blocked


def _is_news(line: StatusLine) -> bool:
    return bool(line.running or _n_problems(line))
