"""Precipitation by cell and moment, as files give it: what is of no use, several files as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.weather.edition import LeftOut

NEGLIGIBLE_MM: Final = 0.05
"""Packing and interpolation of reanalyses leave such traces, of either sign; two values nearer than that agree."""

ABSURD_MM: Final = 2000.0
"""No day had more: 1825 mm at Foc-Foc, La Réunion, in January 1966 (WMO archive of extremes)."""

_DECIMALS: Final = 5
"""Of coordinates: a metre. Files of one grid differ by rounding."""

_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Field:
    """Precipitation of c cells at m moments."""

    lon: NDArray[np.float64]
    """(c,) degrees, -180 to 180"""
    lat: NDArray[np.float64]
    hour: NDArray[np.int64]
    """(m,) hours since 1970, ascending"""
    mm: NDArray[np.float32]
    """(c, m); NaN where there is none"""


@dataclass(slots=True)
class Tally:
    """What was left out, by reason."""

    counted: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, n: int, examples: Sequence[str] = ()) -> None:
        """Count values, or rows."""
        if n:
            self.counted[reason] = self.counted.get(reason, 0) + n
            shown = self.examples.setdefault(reason, [])
            shown += examples[: _EXAMPLES - len(shown)]

    def folded(self) -> tuple[LeftOut, ...]:
        """By reason."""
        return tuple(LeftOut(reason, n, tuple(self.examples[reason])) for reason, n in sorted(self.counted.items()))


def sound(found: Field, tally: Tally) -> Field:
    """The same without values that cannot be; traces below 0 are 0."""
    bad = {
        "less than 0 mm": found.mm < -NEGLIGIBLE_MM,
        f"more than {ABSURD_MM:.0f} mm": found.mm > ABSURD_MM,
    }
    mm = np.maximum(found.mm, 0)
    for reason, where in bad.items():
        cells, moments = np.nonzero(where)
        shown = [_said(found, *at) for at in zip(cells[:_EXAMPLES], moments[:_EXAMPLES], strict=True)]
        tally.add(reason, cells.size, shown)
        mm[where] = np.nan
    return replace(found, mm=mm)


def merged(fields: Sequence[Field], tally: Tally) -> Field:
    """Several files as one: all cells at all moments; the first that knows a value counts."""
    places = [np.round(np.stack([(one.lon + 180) % 360 - 180, one.lat], axis=1), _DECIMALS) for one in fields]
    # From north to south, and from west to east.
    cells, row = np.unique(np.concatenate([p[:, ::-1] * [-1, 1] for p in places]), axis=0, return_inverse=True)
    hours = np.unique(np.concatenate([one.hour for one in fields]))
    mm = np.full((len(cells), hours.size), np.nan, np.float32)
    begin = 0
    for one in fields:
        at = np.ix_(row[begin : begin + one.lon.size], np.searchsorted(hours, one.hour))
        begin += one.lon.size
        before = mm[at]
        tally.add("said before, with another value", int((np.abs(before - one.mm) > NEGLIGIBLE_MM).sum()))
        mm[at] = np.where(np.isfinite(before), before, one.mm)
    return Field(lon=cells[:, 1].copy(), lat=-cells[:, 0], hour=hours, mm=mm)


def _said(found: Field, cell: int, moment: int) -> str:
    when = np.datetime64(int(found.hour[moment]), "h")
    return f"{found.mm[cell, moment]:.6g} mm at {found.lon[cell]:.4g} {found.lat[cell]:.4g} on {when}:00"
