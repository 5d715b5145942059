"""Rain of every day, from the top down as rain falls."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from s4c_hpc.drawing.svg import element, join
from s4c_hpc.drawing.text import day, decimal
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline.values import ValueRange

_HEIGHT: Final = 48.0
_LEAST_MM: Final = 10.0
"""The axis shows as much at least, so that drizzle does not look like a storm."""


@dataclass(frozen=True, kw_only=True)
class RainStrip:
    """A bar a day."""

    days: Sequence[dt.date]
    mm: Sequence[float]
    """Of each day; NaN where it is not known."""
    heading: str = "Rain"
    about: str = (
        "millimetres a day. Rain changes what radar sees: coherence falls with it and comes back afterwards without "
        "any work on the field"
    )
    height: float = _HEIGHT

    def draw(self, axis: TimeAxis, top: float) -> Markup:
        """See ``Strip``."""
        known = [(d, v) for d, v in zip(self.days, self.mm, strict=True) if math.isfinite(v) and v >= 0]
        values = ValueRange.around([0.0, _LEAST_MM, *(v for _, v in known)], ticks=2)
        scale = values.scale(top, top + self.height)
        width = max(axis.per_day * 0.8, 1.0)
        bars = (
            element(
                "rect",
                element("title", f"{day(d)}: {decimal(v, 1)} mm"),
                x=axis(d) - width / 2,
                y=scale(v),
                width=width,
                height=scale(0) - scale(v),
                class_="rain-bar",
                data_day=day(d),
            )
            for d, v in known
            if v > 0
        )
        return element("g", values.axis(top, top + self.height, ticks=2, label="mm"), join(bars), class_="strip rain")

    def sentences(self) -> Sequence[str]:
        """See ``Strip``."""
        known = [(v, d) for d, v in zip(self.days, self.mm, strict=True) if math.isfinite(v)]
        if not known:
            return ["Rain: not known on any day"]
        most, when = max(known)
        total = f"Rain: {decimal(sum(v for v, _ in known), 0)} mm in {len(known)} days"
        return [f"{total}, most {decimal(most, 1)} mm on {day(when)}"]
