"""How far a run is, on a terminal (a bar) or in a log file (a line a minute)."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from s4c_hpc.cli.output import say
from s4c_hpc.core.text import human_seconds

if TYPE_CHECKING:
    from s4c_hpc.execute import Progress

LOG_INTERVAL_S = 60.0


@contextlib.contextmanager
def progress_shown() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that shows the progress it is given."""
    if not sys.stderr.isatty():
        yield _Log()
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[left]}"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("{task.description}"),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task("starting", total=None, left="")

        def show(now: Progress) -> None:
            settled = now.done + now.n_problems
            left = f"about {human_seconds(now.seconds_left)} left" if now.seconds_left and not now.is_settled else ""
            bar.update(row, total=now.total, completed=settled, description=now.current, left=left)

        yield show


class _Log:
    """One line a minute, and one at the end."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, now: Progress) -> None:
        if time.monotonic() - self.last < LOG_INTERVAL_S and not now.is_settled:
            return
        self.last = time.monotonic()
        left = f", about {human_seconds(now.seconds_left)} left" if now.seconds_left else ""
        say(
            f"{now.done} of {now.total} tasks done, {now.running} running, {now.waiting + now.submitted} waiting, "
            f"{now.n_problems} without a result{left}"
        )
