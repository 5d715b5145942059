"""The log of one chunk: a file that comes into being with its first warning, so that most chunks have none."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import structlog

from s4c_hpc.core.log import get_logger


class ChunkLog:
    """Lines held back until one is a warning; from then on the file has them all, at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = io.StringIO()
        self._is_open = False
        self._logger = get_logger("worker", self._held)

    def info(self, event: str, **values: object) -> None:
        """Note something that is as it should be."""
        self._logger.info(event, **values)
        if self._is_open:
            self._flush()

    def warning(self, event: str, *, error: BaseException | None = None, **values: object) -> None:
        """Note trouble, with the traceback of ``error``."""
        self._logger.warning(event, exc_info=error, **values)
        self._is_open = True
        self._flush()

    def _flush(self) -> None:
        # A disk that is full must not hide the failure itself, which is in the journal.
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(self._held.getvalue())
        self._held.seek(0)
        self._held.truncate()


@contextlib.contextmanager
def bound_to_task(*, run: str, stage: str, tile: str, subject: str, task: str, attempt: str) -> Iterator[None]:
    """Have every line logged in this context say which task it is about, also those of stages."""
    with structlog.contextvars.bound_contextvars(
        run=run, stage=stage, tile=tile, subject=subject, task=task, attempt=attempt
    ):
        yield
