"""What is free on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from s4c_hpc.execute.choose import Room
from s4c_hpc.execute.manifest import Chunk


@dataclass
class LocalBudget:
    """Cores and memory that no chunk has asked for.

    Where there is no room for a chunk nothing smaller overtakes it, or it might wait for ever.
    """

    free_cpus: int
    free_bytes: int

    @classmethod
    def of(cls, slots: int, memory_bytes: int, chunks: Iterable[Chunk]) -> LocalBudget:
        """What ``chunks`` leave free of ``slots`` cores and ``memory_bytes``."""
        in_flight = list(chunks)
        return cls(
            slots - sum(chunk.cpus for chunk in in_flight), memory_bytes - sum(chunk.mem_bytes for chunk in in_flight)
        )

    def take(self, stage: str, cpus: int, mem_bytes: int, seconds: float) -> Room:  # noqa: ARG002 - the protocol's
        """Set aside a chunk's cores and memory."""
        if cpus > self.free_cpus or mem_bytes > self.free_bytes:
            return Room.NO
        self.free_cpus -= cpus
        self.free_bytes -= mem_bytes
        return Room.YES
