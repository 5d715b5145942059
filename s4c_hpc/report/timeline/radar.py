"""A variable of radar over a parcel, of one orbit: orbits look from elsewhere and are not mixed."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from markupsafe import Markup

from s4c_hpc.confounders.doubts import Doubt, reasons
from s4c_hpc.drawing.svg import Scale, element, join
from s4c_hpc.drawing.text import day, decimal, plural
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline.values import ValueRange, line

LONG_GAP_DAYS: Final = 18
"""An orbit comes back after 6 or 12 days: more than this is an acquisition that is missing."""

_HEIGHT: Final = 66.0
_TICKS: Final = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """A value of a day."""

    day: dt.date
    value: float
    """NaN if there is none."""
    doubts: Doubt = Doubt.NONE
    """What else than the farmer may have changed it."""
    rain_mm: float = math.nan
    """Most rain around the two images of a pair; NaN where it is not known."""


@dataclass(frozen=True, kw_only=True)
class RadarStrip:
    """The strip of one variable of one orbit; every value is a ``<g class="measured">`` as in the optical one."""

    measured: Sequence[Measured]
    """In the order of their days, none outside of the picture's."""
    kind: Literal["ratio", "coherence"]
    """Decides the colour and the sign."""
    unit: str
    """``dB``, or empty for a pure number."""
    values: ValueRange
    heading: str
    about: str
    height: float = _HEIGHT

    @property
    def drawn(self) -> list[Measured]:
        """Those that have a value."""
        return [one for one in self.measured if math.isfinite(one.value)]

    def draw(self, axis: TimeAxis, top: float) -> Markup:
        """See ``Strip``."""
        scale = self.values.scale(top, top + self.height)
        return element(
            "g",
            self.values.axis(top, top + self.height, ticks=_TICKS, label=self.unit),
            line(self.drawn, axis, scale, LONG_GAP_DAYS),
            join(self._mark(one, axis(one.day), scale) for one in self.drawn),
            class_=f"strip {self.kind}",
        )

    def sentences(self) -> Sequence[str]:
        """See ``Strip``."""
        if not self.drawn:
            return [f"{self.heading}: no value"]
        least, most = min(self.drawn, key=lambda m: m.value), max(self.drawn, key=lambda m: m.value)
        low, high = (f"{self._text(one)} on {day(one.day)}" for one in (least, most))
        found = [f"{self.heading} on {plural(len(self.drawn), 'date')}: lowest {low}, highest {high}"]
        if doubted := [day(one.day) for one in self.drawn if one.doubts]:
            found.append(f"{self.heading}, changes that rain or all fields around explain: {', '.join(doubted)}")
        return found

    def _text(self, one: Measured) -> str:
        return f"{decimal(one.value, 2)} {self.unit}".strip()

    def _mark(self, one: Measured, x: float, scale: Scale) -> Markup:
        y = scale(one.value)
        mark = (
            element("rect", x=x - 2.4, y=y - 2.4, width=4.8, height=4.8, class_="point")
            if self.kind == "ratio"
            else element("path", d=f"M{x:.2f} {y - 3.4:.2f}l3.4 3.4l-3.4 3.4l-3.4-3.4z", class_="point")
        )
        sentence = f"{day(one.day)}: {self.heading} {self._text(one)}"
        if one.doubts:
            sentence += f"; doubt: {', '.join(reasons(one.doubts, one.rain_mm))}"
            mark = join([element("circle", cx=x, cy=y, r=5.4, class_="doubted"), mark])
        return element(
            "g",
            element("title", sentence),
            mark,
            class_="measured",
            data_day=day(one.day),
            data_value=f"{one.value:.6f}",
            data_doubts=str(int(one.doubts)) if one.doubts else None,
        )
