"""A clock that goes on only when it is told to, for a whole process.

``python -m benchmarks.virtual_time MODULE ...`` runs ``main()`` of a module under it. Modules keep ``time.time`` as the
default of their fields, so that the clock has to be in place before they are imported.
"""

from __future__ import annotations

import importlib
import sys
import time

BEGIN = 1_600_000_000.0
"""Seconds since 1970 at which it starts."""


class Clock:
    """What ``time.time`` and ``time.monotonic`` say."""

    def __init__(self) -> None:
        self.now = BEGIN

    def install(self) -> None:
        """Take the place of the real one; CPU time and ``perf_counter`` stay real."""
        own = {"time": self._now, "monotonic": self._now, "time_ns": self._now_ns, "sleep": self._sleep}
        for name, function in own.items():
            setattr(time, name, function)

    def _now(self) -> float:
        return self.now

    def _now_ns(self) -> int:
        return int(self.now * 1e9)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


CLOCK = Clock()

if __name__ == "__main__":
    # This module is loaded a second time under its own name, which is the one that others import.
    importlib.import_module("benchmarks.virtual_time").CLOCK.install()
    sys.argv = sys.argv[1:]
    importlib.import_module(sys.argv[0]).main()
