"""Values over time: their axis, and a line that is dashed where nothing is known."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from markupsafe import Markup

from s4c_hpc.drawing.svg import Scale, element, join, nice_ticks, number, polyline
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline.strip import LEFT, RIGHT

NORMALISED = frozenset({"ndvi", "evi", "savi"})
"""Variables whose axis shows 0 to 1 at least."""


class Dated(Protocol):
    """A value of a day."""

    @property
    def day(self) -> dt.date:
        """Acquisition day, UTC."""
        ...

    @property
    def value(self) -> float:
        """What was measured."""
        ...


OfDay = TypeVar("OfDay", bound=Dated)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """A value axis; several strips may share one, so that they can be compared."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float], *, ticks: int = 6) -> ValueRange:
        """A range that holds all finite values, its ends half a distance of grid lines apart from round ones."""
        known = [v for v in values if math.isfinite(v)]
        if not known:
            return cls(low=0.0, high=1.0)
        low, high = min(known), max(known)
        if high - low < 1e-9 * max(abs(low), abs(high), 1.0):
            low, high = low - 0.5, high + 0.5
        # Half the distance between grid lines: a value just below one does not cost a whole step of height.
        lines = nice_ticks(low, high, ticks)
        step = (lines[1] - lines[0] if len(lines) > 1 else high - low) / 2
        return cls(low=math.floor(low / step + 1e-9) * step, high=math.ceil(high / step - 1e-9) * step)

    def axis(self, top: float, bottom: float, *, ticks: int = 6, label: str = "") -> Markup:
        """Grid lines with their values, and the name of the axis beside them."""
        scale = self.scale(top, bottom)
        parts = []
        for tick in nice_ticks(self.low, self.high, ticks):
            y = scale(tick)
            parts.append(element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="zero" if tick == 0 else "grid"))
            text = f"{tick:g}".replace("-", "\N{MINUS SIGN}")
            parts.append(element("text", text, x=LEFT - 8, y=y + 3.5, class_="tick end"))
        if label:
            middle = (top + bottom) / 2
            turned = f"rotate(-90 11 {number(middle)})"
            parts.append(element("text", label, x=11, y=middle + 3, transform=turned, class_="axis mid"))
        return join(parts)

    def scale(self, top: float, bottom: float) -> Scale:
        """From values to drawing units."""
        return Scale(self.low, self.high, bottom, top)


def pieces(values: Sequence[OfDay], gap_days: int) -> list[list[OfDay]]:
    """Runs of values without a gap of more days."""
    found: list[list[OfDay]] = []
    for one in values:
        if found and (one.day - found[-1][-1].day).days <= gap_days:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def line(values: Sequence[Dated], axis: TimeAxis, scale: Scale, gap_days: int) -> Markup:
    """A line through values, dashed over longer gaps: nothing is known in between."""
    runs = pieces(values, gap_days)
    solid = [
        element("path", d=polyline((axis(one.day), scale(one.value)) for one in run), class_="line")
        for run in runs
        if len(run) > 1
    ]
    dashed = [
        element("path", d=polyline((axis(one.day), scale(one.value)) for one in (a[-1], b[0])), class_="line gap")
        for a, b in itertools.pairwise(runs)
    ]
    return join(solid + dashed)
