"""What is said of a practice: its period, markers M6 to M10 of it, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.practices.codes import Codes, Index, Seen
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.declared import Declared


class Reaped(Protocol):
    """The harvest of n parcels as rules of practices need it."""

    @property
    def week(self) -> Days:
        """(n,) its Monday; ``NO_DAY`` if there is none."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """(n,) whether there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Of n parcels, each (n,)."""

    p_start: Days
    p_end: Days
    m6: Codes
    m7: Codes
    m8: Codes
    m9: Codes
    m10: Codes
    index: Codes
    without_harvest: NDArray[np.bool_]
    """Whether the rule says that there was none, whatever the markers of harvest say."""

    @classmethod
    def nothing(cls, declared: Declared, marker: Seen, index: Index) -> Judged:
        """The same for all, in the declared period."""
        n = len(declared.p_start)
        same = np.full(n, marker, np.int8)
        return cls(
            p_start=declared.p_start,
            p_end=declared.p_end,
            m6=same,
            m7=same,
            m8=same,
            m9=same,
            m10=same,
            index=np.full(n, index, np.int8),
            without_harvest=np.zeros(n, bool),
        )

    def where(self, rows: NDArray[np.bool_], marker: Seen, index: Index) -> Judged:
        """With the same for some parcels."""
        changed = {f"m{i}": np.where(rows, np.int8(marker), getattr(self, f"m{i}")) for i in range(6, 11)}
        return replace(self, **changed, index=np.where(rows, np.int8(index), self.index))


def choose(n: int, *cases: tuple[NDArray[np.bool_], Index | Codes], default: Index) -> Codes:
    """(n,) the index of the first case that holds."""
    chosen = [np.broadcast_to(np.asarray(value, np.int8), n) for _, value in cases]
    return np.select([condition for condition, _ in cases], chosen, np.int8(default)).astype(np.int8)
