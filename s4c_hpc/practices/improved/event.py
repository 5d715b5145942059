"""One thing that was done to a field: when, how sure it is, and what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.practices.codes import NO_DAY
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import Flags, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of each of n parcels."""

    start: Days
    """(n,) last observation before it; ``NO_DAY`` if there is none."""
    end: Days
    """(n,) first one after it."""
    confidence: Floats
    """(n,) 0 where nothing was seen, NaN where nothing could be."""
    doubts: NDArray[np.uint8]
    """(n,) bits of ``Doubt``."""
    values: NDArray[np.float32]
    """(n, 5) NDVI before and after in thousandths, coherence before and after, orbits that agree."""
    green_first: Flags
    """(n,) whether new vegetation ended the search."""

    @classmethod
    def nothing(cls, n: int) -> Event:
        """Of parcels that were not looked at."""
        return cls(
            start=np.full(n, NO_DAY),
            end=np.full(n, NO_DAY),
            confidence=np.full(n, np.nan),
            doubts=np.zeros(n, np.uint8),
            values=np.full((n, 5), np.float32(np.nan)),
            green_first=np.zeros(n, np.bool_),
        )
