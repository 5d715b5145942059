"""What goes into the queue of a cluster now: enough to keep it busy, in few large arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from s4c_hpc.execute.choose import Room

STAGE_SHARE = 0.5
"""Of the window that one stage may fill: jobs that Slurm holds (a QoS at its limit) must not keep other stages out."""
REFILL_SHARE = 0.25
"""Of the window that is free before a full queue is filled up again: few large arrays instead of many small ones."""
MAX_PAUSE_S = 600.0
"""Longest pause after sbatch took no job: a full queue, or none that answers, must not be hammered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What was learnt when sbatch made no job of a wave, for now."""

    most: int
    """Elements of the stage in the queue beyond which no more are tried for a while."""
    streak: int
    """Waves of the stage in a row that came to nothing."""
    why: str
    t: float
    """Seconds since 1970."""

    def until(self, poll_s: float) -> float:
        """When the next wave may be tried, in seconds since 1970: each pause is twice as long as the one before."""
        return self.t if self.streak == 0 else self.t + min(poll_s * 2.0 ** min(self.streak, 30), MAX_PAUSE_S)

    def room(self, in_queue: int, *, poll_s: float, now: float) -> int | None:
        """Elements that may be tried now; ``None``: any number, it is forgotten.

        Parameters
        ----------
        in_queue : elements of the stage there
        """
        if now < self.t:  # the clock was set back
            return None
        if self.streak == 0 and now > self.t + MAX_PAUSE_S:
            return None
        if now < self.until(poll_s):
            return 0
        return max(self.most - in_queue, 0 if in_queue else 1)


def refused(before: Refusal | None, *, n: int, in_queue: int, is_full: bool, why: str, now: float) -> Refusal:
    """What a wave of ``n`` elements that came to nothing teaches, with ``in_queue`` of its stage there.

    Parameters
    ----------
    is_full : the queue was too full for it, so that half of it may fit; else sbatch just did not answer
    """
    most = in_queue + (max(1, n // 2) if is_full else n)
    return Refusal(most=most, streak=(before.streak if before else 0) + 1, why=why, t=now)


def stage_room(*, there: int, window: int) -> int:
    """Elements of one stage that may be added to its share of the window.

    Parameters
    ----------
    there : elements of the stage that are in the queue
    window : most of all stages together
    """
    share = max(1, int(STAGE_SHARE * window))
    room = share - there
    return 0 if there and room < REFILL_SHARE * share else max(room, 0)


@dataclass
class SlurmBudget:
    """Places in the queue."""

    free_elements: int
    """Array elements that may still be added, of all stages together."""
    largest_array: int
    """Elements of one array."""
    rooms: Mapping[str, int]
    """The same of single stages."""
    _taken: dict[tuple[str, int, int], int]

    @classmethod
    def of(cls, *, free_elements: int, largest_array: int, rooms: Mapping[str, int]) -> SlurmBudget:
        """A budget that nothing has been taken from."""
        return cls(free_elements, largest_array, rooms, {})

    def take(self, stage: str, cpus: int, mem_bytes: int, seconds: float) -> Room:  # noqa: ARG002 - the protocol's
        """Set aside the place of an element."""
        if self.free_elements <= 0:
            return Room.NO
        key = (stage, cpus, mem_bytes)
        of_stage = sum(n for (name, _, _), n in self._taken.items() if name == stage)
        taken = self._taken.get(key, 0)
        if taken >= self.largest_array or of_stage >= self.rooms.get(stage, of_stage + 1):
            return Room.NOT_HERE
        self._taken[key] = taken + 1
        self.free_elements -= 1
        return Room.YES
