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
    nodes: tuple[tuple[int, int, int], ...] = ()
    """Number, cores and memory of the nodes that ranks may be spread over; one node of this size if none is named."""

    def ranks(self, each_bytes: int) -> int:
        """Most ranks of so much memory each, at least one."""
        nodes = self.nodes or ((1, self.cpus, self.mem_bytes),)
        return max(1, sum(n * min(cpus, mem_bytes // max(each_bytes, 1)) for n, cpus, mem_bytes in nodes))
