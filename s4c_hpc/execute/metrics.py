"""A run as a Prometheus textfile, for node_exporter's textfile collector: no port is opened."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from s4c_hpc.config import Config
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.log import get_logger
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute.advance import Run
from s4c_hpc.execute.queue_status import queue_status
from s4c_hpc.execute.status_lines import stage_lines, status_lines
from s4c_hpc.plan import RunFolder

if TYPE_CHECKING:
    from s4c_hpc.execute.status import RunStatus

INTERVAL_S = 15.0
"""Least time between two writes of a driver."""


class MetricsFile:
    """The textfile of a driver; without ``execute.metrics_file`` it does nothing."""

    def __init__(self, config: Config) -> None:
        self._path = config.execute.metrics_file
        self._config = config
        self._due = float("-inf")

    def advanced(self, run: Run, *, is_last: bool = False) -> None:
        """Write it anew after a step of the run, unless that was done lately.

        Parameters
        ----------
        is_last : write it all the same
        """
        if self._path is None or (time.monotonic() < self._due and not is_last):
            return
        from s4c_hpc.execute.metrics_text import metrics_text  # noqa: PLC0415 - brings a library that few runs need

        self._due = time.monotonic() + INTERVAL_S
        text = metrics_text(
            site=self._config.site.name,
            folder=run.folder,
            executor=self._config.execute.executor,
            stages=stage_lines(status_lines(run.board)),
            queue=queue_status(run.folder),
            left=run.clock.left(),
            advanced_at=time.time(),
        )
        try:
            write_text(self._path, text)
        except OSError as error:  # somebody else's folder must not end a run
            get_logger("driver").warning("metrics not written", file=str(self._path), reason=str(error))


def write_status_metrics(workspace: Workspace, found: RunStatus, path: Path) -> None:
    """Write the textfile of a run that was looked at, for sites that do so in a cron job.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    from s4c_hpc.execute.metrics_text import metrics_text  # noqa: PLC0415 - see above

    folder = RunFolder(workspace.runs / found.run)
    config = folder.frozen_config()
    text = metrics_text(
        site=config.site.name,
        folder=folder,
        executor=found.executor,
        stages=found.stages,
        queue=found.queue,
        left=found.left,
        advanced_at=found.queue.t if found.queue else None,
    )
    write_text(path, text)
