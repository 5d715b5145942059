"""The sheet that maps are drawn on: from metres to drawing units, graticule, scale bar, north arrow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from s4c_hpc.drawing.svg import drawing, element, join, number
from s4c_hpc.drawing.text import distance

_SIZE = 800.0
_MAX_HEIGHT = 720.0
_MARGIN = 30.0
_FOOT = 34.0


@dataclass(frozen=True, kw_only=True)
class Frame:
    """From map coordinates in metres to drawing units, north up."""

    west: float
    north: float
    per_m: float
    """Drawing units per metre."""
    height: float
    """Drawing units from top to bottom, without the foot that holds the scale bar."""
    width: float = _SIZE

    @classmethod
    def around(cls, bounds: NDArray[np.float64]) -> Frame:
        """A frame that holds ``(west, south, east, north)``, in metres, in its middle."""
        west, south, east, north = (float(v) for v in bounds)
        # A single small parcel does not fill the page.
        width_m, height_m = max(east - west, 300.0), max(north - south, 200.0)
        per_m = min((_SIZE - 2 * _MARGIN) / width_m, (_MAX_HEIGHT - 2 * _MARGIN) / height_m)
        height = height_m * per_m + 2 * _MARGIN
        return cls(
            west=(west + east) / 2 - _SIZE / 2 / per_m,
            north=(south + north) / 2 + height / 2 / per_m,
            per_m=per_m,
            height=height,
        )

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Drawing units of a point in metres."""
        return (x - self.west) * self.per_m, (self.north - y) * self.per_m

    @property
    def graticule_m(self) -> float:
        """A round distance of lines, some 120 units apart, in metres."""
        return round_up(75 / self.per_m)


def sheet(body: Markup, frame: Frame, label: str) -> Markup:
    """The map with all that a map needs; ``label`` is its accessible name."""
    return drawing(
        element("rect", x=0.5, y=0.5, width=frame.width - 1, height=frame.height - 1, class_="neat"),
        _graticule(frame),
        body,
        _scale_bar(frame),
        _north_arrow(frame),
        width=frame.width,
        height=frame.height + _FOOT,
        label=label,
        class_="map",
        interactive=True,
    )


def round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= value * 0.999)


def _graticule(frame: Frame) -> Markup:
    """Lines of the projected grid."""
    step = frame.graticule_m
    east, south = frame.west + frame.width / frame.per_m, frame.north - frame.height / frame.per_m
    lines = []
    for i in range(math.ceil(frame.west / step), math.floor(east / step) + 1):
        x, _ = frame.place(i * step, frame.north)
        lines.append(element("line", x1=x, x2=x, y1=0, y2=frame.height, class_="graticule"))
    for i in range(math.ceil(south / step), math.floor(frame.north / step) + 1):
        _, y = frame.place(frame.west, i * step)
        lines.append(element("line", x1=0, x2=frame.width, y1=y, y2=y, class_="graticule"))
    return join(lines)


def _scale_bar(frame: Frame) -> Markup:
    length_m = frame.graticule_m
    length, y = length_m * frame.per_m, frame.height + 10
    return element(
        "g",
        element("rect", x=1, y=y, width=length, height=6, class_="bar"),
        element("rect", x=1, y=y, width=length / 2, height=6, class_="bar dark"),
        element("text", "0", x=1, y=y + 20, class_="tick"),
        element("text", distance(length_m), x=1 + length, y=y + 20, class_="tick mid"),
    )


def _north_arrow(frame: Frame) -> Markup:
    return element(
        "g",
        element("title", "Grid north"),
        element("path", d="M0-15L6 9L0 4L-6 9Z", class_="arrow"),
        element("text", "N", x=0, y=22, class_="tick mid"),
        transform=f"translate({number(frame.width - 24)} 28)",
    )
