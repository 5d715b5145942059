"""A vegetation index over a parcel, its spread within the parcel, and the sky on every date."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from markupsafe import Markup

from s4c_hpc.config import Category
from s4c_hpc.drawing.svg import Scale, element, join, polyline
from s4c_hpc.drawing.text import count, day, decimal, plural
from s4c_hpc.report.sky import Sky, sign
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline.strip import LEFT, RIGHT
from s4c_hpc.report.timeline.values import NORMALISED, ValueRange, line, pieces

LONG_GAP_DAYS: Final = 30
"""Two values further apart than this are joined by a dashed line: nothing is known in between."""

_PLOT: Final = 112.0
_RAIL: Final = 128.0
_ALL: Final = 137.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A parcel on one acquisition."""

    day: dt.date
    """Acquisition day, UTC."""
    sky: Sky
    value: float
    """The variable's mean (or median) over the usable pixels; NaN if there is none."""
    low: float = math.nan
    """25th percentile over the usable pixels; NaN if it is not known."""
    high: float = math.nan
    """75th percentile, likewise."""
    counts: Mapping[Category, float] = field(default_factory=dict)
    """Pixels (or summed coverage) by category."""

    @property
    def drawn(self) -> bool:
        """Whether the value is worth a point: some of the parcel was seen."""
        return self.sky in {Sky.CLEAR, Sky.PARTLY} and math.isfinite(self.value)

    def sentence(self, variable: str) -> str:
        """All of it in words, for hovering and for screen readers."""
        parts = [f"{day(self.day)}: {self.sky.label}"]
        if math.isfinite(self.value):
            spread = f" (p25 {decimal(self.low)}, p75 {decimal(self.high)})" if math.isfinite(self.low) else ""
            parts.append(f"{variable} {decimal(self.value)}{spread}")
        pixels = [f"{category.value} {count(n)}" for category, n in self.counts.items() if n > 0]
        if pixels:
            parts.append("pixels: " + ", ".join(pixels))
        return "; ".join(parts)


def value_range(observations: Sequence[Observation], variable: str) -> ValueRange:
    """A range that holds all drawn values; at least 0 ... 1 for a normalised vegetation index."""
    values = [v for o in observations if o.drawn for v in (o.value, o.low, o.high)]
    return ValueRange.around([*values, 0.0, 1.0] if variable.lower() in NORMALISED else values)


@dataclass(frozen=True, kw_only=True)
class OpticalStrip:
    """The strip of a variable of optical images.

    Every date is a ``<g class="date">`` with ``data-day``, ``data-value`` (six decimals, absent without a value) and
    ``data-sky``.
    """

    observations: Sequence[Observation]
    """In the order of their days, none outside of the picture's."""
    variable: str
    """Name beside the value axis, e.g. ``NDVI``."""
    values: ValueRange | None = None
    """Value axis; made from the observations when not given."""
    heading: str = ""
    about: str = ""
    knows_sky: bool = True
    """Whether anything is known of the sky: imported tables rarely tell."""

    @property
    def height(self) -> float:
        """See ``Strip``."""
        return _ALL if self.knows_sky else _PLOT

    @cached_property
    def drawn(self) -> list[Observation]:
        """Those with a point."""
        return [o for o in self.observations if o.drawn]

    def draw(self, axis: TimeAxis, top: float) -> Markup:
        """See ``Strip``."""
        values = self.values or value_range(self.observations, self.variable)
        scale = values.scale(top, top + _PLOT)
        return element("g", *self._parts(values, scale, axis, top), class_="strip optical")

    def _parts(self, values: ValueRange, scale: Scale, axis: TimeAxis, top: float) -> Iterator[Markup]:
        yield values.axis(top, top + _PLOT, label=self.variable)
        if self.knows_sky:
            rail = top + _RAIL
            yield element("line", x1=LEFT, x2=RIGHT, y1=rail, y2=rail, class_="rail")
            yield element("text", "sky", x=LEFT - 8, y=rail + 3.5, class_="tick end")
        yield self._spread(axis, scale)
        yield line(self.drawn, axis, scale, LONG_GAP_DAYS)
        yield join(self._date(o, axis, scale, top) for o in self.observations)

    def sentences(self) -> Sequence[str]:
        """See ``Strip``."""
        if not self.drawn:
            return [f"{self.variable}: no clear date"]
        least = min(self.drawn, key=lambda o: o.value)
        most = max(self.drawn, key=lambda o: o.value)
        clear = f"{self.variable} on {plural(len(self.drawn), 'clear date')} of {len(self.observations)}"
        low = f"lowest {decimal(least.value, 2)} on {day(least.day)}"
        return [f"{clear}: {low}, highest {decimal(most.value, 2)} on {day(most.day)}"]

    def _spread(self, axis: TimeAxis, scale: Scale) -> Markup:
        bands = []
        for piece in pieces([o for o in self.drawn if math.isfinite(o.low) and math.isfinite(o.high)], LONG_GAP_DAYS):
            if len(piece) > 1:
                upper = [(axis(o.day), scale(o.high)) for o in piece]
                lower = [(axis(o.day), scale(o.low)) for o in reversed(piece)]
                bands.append(element("path", d=polyline(upper + lower, close=True), class_="spread"))
        return join(bands)

    def _date(self, o: Observation, axis: TimeAxis, scale: Scale, top: float) -> Markup:
        x = axis(o.day)
        half = max(min(axis.per_day * 2, 8.0), 2.0)
        bottom = top + (_RAIL if self.knows_sky else _PLOT)
        point = None
        if o.drawn:
            point = element("circle", cx=x, cy=scale(o.value), r=3, class_=f"point {o.sky.name.lower()}")
        return element(
            "g",
            element("title", o.sentence(self.variable)),
            element("rect", x=x - half, y=top, width=2 * half, height=self.height, class_="hit"),
            element("line", x1=x, x2=x, y1=top, y2=bottom, class_="guide"),
            point,
            sign(o.sky, x, top + _RAIL) if self.knows_sky else None,
            class_="date",
            data_day=day(o.day),
            data_value=f"{o.value:.6f}" if math.isfinite(o.value) else None,
            data_sky=o.sky.name.lower(),
        )
