"""One parcel's season in one picture: the index, its spread within the parcel, and the sky on every date."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from s4c_hpc.config import Category
from s4c_hpc.drawing.svg import Scale, drawing, element, join, nice_ticks, number, polyline
from s4c_hpc.drawing.text import count, day, decimal
from s4c_hpc.report.sky import Sky, sign
from s4c_hpc.report.time_axis import TimeAxis

WIDTH = 1000.0
LEFT, RIGHT = 46.0, 988.0
"""Drawing units between which the time axis of every plot of the report runs."""

_TOP, _BOTTOM = 10.0, 122.0
_SKY_Y = 138.0
_LABELS_Y = 161.0
_HEIGHT = 167.0
_TICKS = 6

LONG_GAP_DAYS = 30
"""Two values further apart than this are joined by a dashed line: nothing is known in between."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """The value axis, shared by all parcels of a report so that they can be compared."""

    low: float
    high: float

    @classmethod
    def of(cls, observations: Sequence[Observation], variable: str) -> ValueRange:
        """A range that holds all drawn values; at least 0 ... 1 for a normalised vegetation index."""
        values = [v for o in observations if o.drawn for v in (o.value, o.low, o.high) if math.isfinite(v)]
        if variable.lower() in {"ndvi", "evi", "savi"}:
            values += [0.0, 1.0]
        if not values:
            return cls(low=0.0, high=1.0)
        low, high = min(values), max(values)
        if high - low < 1e-9:
            low, high = low - 0.5, high + 0.5
        # Half the distance between grid lines: a value just below one does not cost a whole step of height.
        ticks = nice_ticks(low, high, _TICKS)
        step = (ticks[1] - ticks[0] if len(ticks) > 1 else high - low) / 2
        return cls(low=math.floor(low / step + 1e-9) * step, high=math.ceil(high / step - 1e-9) * step)


def parcel_timeline_svg(
    observations: Sequence[Observation],
    *,
    title: str,
    variable: str,
    start: dt.date,
    end: dt.date,
    values: ValueRange | None = None,
    standalone: bool = False,
) -> Markup:
    """Draw the time line of one parcel.

    Parameters
    ----------
    observations : in the order of their days; those outside ``start ... end`` must not be among them
    title : accessible name of the picture
    variable : name beside the value axis, e.g. ``NDVI``
    start, end : first and last day of the time axis
    values : value axis; made from the observations when not given
    standalone : whether the result is to be a file of its own (it then has no colours but those of its reader's CSS)

    Returns
    -------
    SVG text that is safe to put in HTML. Every date is a ``<g class="date">`` with ``data-day``, ``data-value``
    (six decimals, absent without a value) and ``data-sky``.
    """
    axis = TimeAxis(start, end, LEFT, RIGHT)
    values = values or ValueRange.of(observations, variable)
    scale = Scale(values.low, values.high, _BOTTOM, _TOP)
    drawn = [o for o in observations if o.drawn]
    return drawing(
        axis.background(_TOP, _SKY_Y + 9),
        _value_axis(values, scale, variable),
        element("line", x1=LEFT, x2=RIGHT, y1=_SKY_Y, y2=_SKY_Y, class_="rail"),
        element("text", "sky", x=LEFT - 8, y=_SKY_Y + 3.5, class_="tick end"),
        _spread_band(drawn, axis, scale),
        _line(drawn, axis, scale),
        join(_date(o, axis, scale, variable) for o in observations),
        axis.labels(_LABELS_Y),
        width=WIDTH,
        height=_HEIGHT,
        label=title,
        class_="plot timeline",
        standalone=standalone,
    )


def _value_axis(values: ValueRange, scale: Scale, variable: str) -> Markup:
    parts = []
    for tick in nice_ticks(values.low, values.high, _TICKS):
        y = scale(tick)
        parts.append(element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="zero" if tick == 0 else "grid"))
        parts.append(
            element("text", f"{tick:g}".replace("-", "\N{MINUS SIGN}"), x=LEFT - 8, y=y + 3.5, class_="tick end")
        )
    middle = (_TOP + _BOTTOM) / 2
    turned = f"rotate(-90 11 {number(middle)})"
    parts.append(element("text", variable, x=11, y=middle + 3, transform=turned, class_="axis mid"))
    return join(parts)


def _pieces(drawn: Sequence[Observation]) -> list[list[Observation]]:
    """Runs of observations without a long gap."""
    pieces: list[list[Observation]] = []
    for o in drawn:
        if pieces and (o.day - pieces[-1][-1].day).days <= LONG_GAP_DAYS:
            pieces[-1].append(o)
        else:
            pieces.append([o])
    return pieces


def _spread_band(drawn: Sequence[Observation], axis: TimeAxis, scale: Scale) -> Markup:
    bands = []
    for piece in _pieces([o for o in drawn if math.isfinite(o.low) and math.isfinite(o.high)]):
        if len(piece) > 1:
            upper = [(axis(o.day), scale(o.high)) for o in piece]
            lower = [(axis(o.day), scale(o.low)) for o in reversed(piece)]
            bands.append(element("path", d=polyline(upper + lower, close=True), class_="spread"))
    return join(bands)


def _line(drawn: Sequence[Observation], axis: TimeAxis, scale: Scale) -> Markup:
    pieces = _pieces(drawn)
    solid = [
        element("path", d=polyline((axis(o.day), scale(o.value)) for o in piece), class_="line")
        for piece in pieces
        if len(piece) > 1
    ]
    dashed = [
        element("path", d=polyline((axis(o.day), scale(o.value)) for o in (a[-1], b[0])), class_="line gap")
        for a, b in itertools.pairwise(pieces)
    ]
    return join(solid + dashed)


def _date(o: Observation, axis: TimeAxis, scale: Scale, variable: str) -> Markup:
    x = axis(o.day)
    half = max(min(axis.per_day * 2, 8.0), 2.0)
    point = None
    if o.drawn:
        point = element("circle", cx=x, cy=scale(o.value), r=3, class_=f"point {o.sky.name.lower()}")
    return element(
        "g",
        element("title", o.sentence(variable)),
        element("rect", x=x - half, y=_TOP, width=2 * half, height=_SKY_Y + 9 - _TOP, class_="hit"),
        element("line", x1=x, x2=x, y1=_TOP, y2=_SKY_Y, class_="guide"),
        point,
        sign(o.sky, x, _SKY_Y),
        class_="date",
        data_day=day(o.day),
        data_value=f"{o.value:.6f}" if math.isfinite(o.value) else None,
        data_sky=o.sky.name.lower(),
    )
