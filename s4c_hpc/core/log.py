"""Structured logs: a console for people, or JSON lines for machines (``S4C_LOG_FORMAT=json``)."""

from __future__ import annotations

import os
import sys
from typing import Literal, TextIO

import structlog

LogFormat = Literal["console", "json"]


def log_format() -> LogFormat:
    """The format that the environment asks for."""
    return "json" if os.environ.get("S4C_LOG_FORMAT") == "json" else "console"


def get_logger(name: str, stream: TextIO | None = None) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry ``name`` and what is bound with ``structlog.contextvars``.

    Parameters
    ----------
    stream : where lines go; standard error, as it is now, by default
    """
    stream = sys.stderr if stream is None else stream
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format() == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(sort_keys=True)]
    else:
        # Tracebacks without the values of variables: those are arrays.
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain))
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=False,
    ).bind(logger=name)
    return logger
