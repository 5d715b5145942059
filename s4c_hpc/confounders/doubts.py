"""Doubts about changes of coherence: what else could have made them. They lower a confidence and delete nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Doubt(IntFlag):
    """Why a change of coherence at an acquisition may be no event; bits of a byte."""

    NONE = 0
    WET = 1
    """It rained in the day before either acquisition of the pair, or all fields around changed as by rain."""
    RECOVERY = 2
    """Coherence comes back from a wet pair."""
    COMMON = 4
    """Fields of the same crops around changed alike."""


REASONS: Final = {Doubt.WET: "rain", Doubt.RECOVERY: "recovery after rain", Doubt.COMMON: "common rise"}
"""What each is called where people read it."""

_DRY_MM: Final = 0.5
"""Less is called no rain: fields around changed as if it had rained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Of n parcels at c acquisitions of coherence, in the order in which these were asked for."""

    flags: NDArray[np.uint8]
    """(n, c) bits of ``Doubt``."""
    rain_mm: NDArray[np.float32]
    """(n, c) most rain in the day before either acquisition of the pair; NaN where it is not known."""
    common: NDArray[np.float32]
    """(n, c) median change of coherence of the fields around; NaN where they are too few."""
    spread: NDArray[np.float32]
    """(n, c) their robust standard deviation."""

    @classmethod
    def none(cls, n: int, c: int) -> Doubts:
        """Of parcels and acquisitions of which nothing is known."""
        nothing = np.full((n, c), np.nan, np.float32)
        return cls(flags=np.zeros((n, c), np.uint8), rain_mm=nothing, common=nothing, spread=nothing)

    def of(self, rows: NDArray[np.bool_]) -> Doubts:
        """Those of some parcels."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def reasons(flags: int, rain_mm: float = math.nan) -> Sequence[str]:
    """Doubts of one change in words.

    Parameters
    ----------
    rain_mm : is said as well; NaN where it is not known
    """
    words = dict(REASONS)
    if rain_mm >= _DRY_MM:
        words[Doubt.WET] = f"rain {rain_mm:.0f} mm"
    elif not math.isnan(rain_mm):
        words[Doubt.WET] = "change as by rain"
    return [text for doubt, text in words.items() if flags & doubt]
