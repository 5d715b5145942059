"""Expected against taken: the same plot for memory and for time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from s4c_hpc.drawing.svg import Scale, drawing, element, join, number, polyline

MARKS = (
    "m-3.2 0a3.2 3.2 0 1 1 6.4 0a3.2 3.2 0 1 1-6.4 0z",
    "m-2.9-2.9h5.8v5.8h-5.8z",
    "m0-3.9l3.6 6.3h-7.2z",
    "m0-4l4 4l-4 4l-4-4z",
    "m-3.1-3.1l6.2 6.2m0-6.2l-6.2 6.2",
    "m-4 0h8m-4-4v8",
)
"""A sign for each stage, as relative path data: told apart by shape as well as by colour."""

_WIDTH, _HEIGHT = 480.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 456.0, 14.0, 292.0


_WIDTH, _HEIGHT = 480.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 456.0, 14.0, 292.0

Ticks = Callable[[float, float], list[tuple[float, str]]]
"""(value, label) of the grid lines between two powers of ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A task: bytes or seconds, both more than nothing."""

    expected: float
    taken: float
    name: str


def byte_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """1 MB, 10 MB, ... between ``10**low`` and ``10**high`` bytes, with 2 and 5 MB where there is room."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    steps = (1, 2, 5) if high - low <= 2 else (1,)
    values = [(s * 10**k, k) for k in range(max(math.floor(low), 0), math.floor(high) + 1) for s in steps]
    return [(v, f"{v // 1000 ** (k // 3)} {units[k // 3]}") for v, k in values if low <= math.log10(v) <= high]


def second_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round durations between ``10**low`` and ``10**high`` seconds."""
    names = {
        1e-3: "1 ms",
        1e-2: "10 ms",
        0.1: "0.1 s",
        1.0: "1 s",
        10.0: "10 s",
        60.0: "1 min",
        600.0: "10 min",
        3600.0: "1 h",
        36_000.0: "10 h",
        360_000.0: "100 h",
    }
    return [(value, name) for value, name in names.items() if low <= math.log10(value) <= high]


def usage_plot(
    points: Mapping[str, Sequence[Point]],
    ticks: Ticks,
    text: Callable[[float], str],
    expected_label: str,
    taken_label: str,
) -> Markup:
    """Expected on the horizontal, taken on the vertical axis, both logarithmic and alike, with the line of equality.

    Parameters
    ----------
    points : tasks by stage, in the order of the stages' signs
    ticks : grid lines for the unit at hand
    text : a value in words
    expected_label, taken_label : names of the axes
    """
    numbers = [math.log10(v) for rows in points.values() for p in rows for v in (p.expected, p.taken)] or [0.0, 1.0]
    low, high = math.floor(min(numbers) * 2 - 0.3) / 2, math.ceil(max(numbers) * 2 + 0.3) / 2
    across, up = Scale(low, high, _LEFT, _RIGHT), Scale(low, high, _BOTTOM, _TOP)
    marks = []
    for slot, (stage, rows) in enumerate(points.items()):
        for p in rows:
            x, y = across(math.log10(p.expected)), up(math.log10(p.taken))
            sentence = f"{stage} {p.name}: {expected_label} {text(p.expected)}, {taken_label} {text(p.taken)}"
            path = f"M{number(x)} {number(y)}{MARKS[slot % len(MARKS)]}"
            marks.append(element("path", element("title", sentence), d=path, class_=f"mark stage{slot % len(MARKS)}"))
    above = polyline([(_LEFT, _BOTTOM), (_LEFT, _TOP), (_RIGHT, _TOP)], close=True)
    return drawing(
        element("path", d=above, class_="beyond"),
        _grid(ticks(low, high), across, up),
        element("line", x1=_LEFT, y1=_BOTTOM, x2=_RIGHT, y2=_TOP, class_="equal"),
        element("text", "more than expected", x=_LEFT + 12, y=_TOP + 20, class_="tick"),
        join(marks),
        element("text", expected_label, x=(_LEFT + _RIGHT) / 2, y=_HEIGHT - 10, class_="axis mid"),
        element(
            "text",
            taken_label,
            x=13,
            y=(_TOP + _BOTTOM) / 2,
            transform=f"rotate(-90 13 {number((_TOP + _BOTTOM) / 2)})",
            class_="axis mid",
        ),
        width=_WIDTH,
        height=_HEIGHT,
        label=f"{taken_label} of each task against {expected_label}",
        class_="plot usage",
    )


def _grid(ticks: list[tuple[float, str]], across: Scale, up: Scale) -> Markup:
    parts = []
    last = -math.inf
    for value, label in ticks:
        x, y = across(math.log10(value)), up(math.log10(value))
        parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=_BOTTOM, class_="grid"))
        parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", label, x=_LEFT - 8, y=y + 3.5, class_="tick end"))
        if x - last > 48:
            parts.append(element("text", label, x=x, y=_BOTTOM + 17, class_="tick mid"))
            last = x
    return join(parts)
