"""What one chunk may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Most:
    """The most that one job can have in a place."""

    cpus: int
    mem_bytes: int
    walltime_s: int | None = None
    """``None``: as long as it likes."""
