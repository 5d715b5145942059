"""The plots of the page: confusions, calibration, what the model looked at, lights by class."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from s4c_hpc.classify.lights import Light
from s4c_hpc.classify.metrics import Calibration, Metrics
from s4c_hpc.drawing.svg import Scale, drawing, element, join, nice_ticks, number, polyline
from s4c_hpc.drawing.text import count, decimal, share

MAX_CLASSES = 40
"""Classes of a confusion plot; the largest are shown where there are more."""
_CELL = 30.0
_WIDE = 860.0
_NAME = 150.0
"""Room for the names of classes."""
LIGHTS = (Light.GREEN, Light.YELLOW, Light.RED, Light.GREY)
"""Order of lights, and marks that tell them apart without colour."""
SIGNS: Mapping[str, str] = {"green": "✓", "yellow": "?", "red": "✗", "grey": "–"}


def confusion_plot(metrics: Metrics, names: Mapping[str, str]) -> Markup:
    """Declared classes downwards, predicted ones across; the darker a cell, the larger its share of the row."""
    shown = _largest(metrics)
    counts = metrics.confusion[np.ix_(shown, shown)]
    whole = metrics.confusion.sum(axis=1)[shown]
    labels = [_short(metrics.classes[i], names) for i in shown]
    top, n = _NAME, len(shown)
    parts = []
    for i, label in enumerate(labels):
        middle = top + (i + 0.5) * _CELL
        parts.append(element("text", label, x=_NAME - 8, y=middle + 4, class_="tick end"))
        across = _NAME + (i + 0.5) * _CELL + 4
        turn = f"rotate(-60 {number(across)} {number(top - 8)})"
        parts.append(element("text", label, x=across, y=top - 8, transform=turn, class_="tick"))
    for i in range(n):
        for j in range(n):
            value = float(counts[i, j])
            part = value / whole[i] if whole[i] else 0.0
            x, y = _NAME + j * _CELL, top + i * _CELL
            told = (
                f"{count(value)} of {count(whole[i])} declared as {labels[i]} ({share(part)}) predicted as {labels[j]}"
            )
            parts.append(element("rect", x=x, y=y, width=_CELL, height=_CELL, class_="cell ground"))
            if value:
                kind = "right" if i == j else "wrong"
                box = element(
                    "rect",
                    element("title", told),
                    x=x + 1,
                    y=y + 1,
                    width=_CELL - 2,
                    height=_CELL - 2,
                    class_=f"cell {kind}",
                    fill_opacity=0.15 + 0.85 * part,
                )
                dark = " dark" if part > 0.55 else ""
                text = count(value) if value < 10_000 else f"{value / 1000:.0f}k"
                parts += [box, element("text", text, x=x + _CELL / 2, y=y + 19, class_=f"value mid{dark}")]
    side = _NAME + n * _CELL
    return drawing(
        join(parts),
        width=max(side + 60, _WIDE),  # few classes are not blown up to the width of the page
        height=side + 8,
        label="Confusion matrix: declared classes by row, predicted ones by column",
        class_="plot confusion",
    )


def calibration_plot(found: Calibration) -> Markup:
    """Share of right predictions over their confidence; a point's area is the number of predictions."""
    left, right, top, bottom = 56.0, 456.0, 14.0, 300.0
    across, up = Scale(0, 1, left, right), Scale(0, 1, bottom, top)
    parts = []
    for value in nice_ticks(0, 1):
        x, y = across(value), up(value)
        parts += [
            element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"),
            element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"),
            element("text", share(value), x=x, y=bottom + 17, class_="tick mid"),
            element("text", share(value), x=left - 8, y=y + 4, class_="tick end"),
        ]
    parts.append(element("line", x1=left, y1=bottom, x2=right, y2=top, class_="equal"))
    there = np.flatnonzero(found.n)
    points = [(across(found.confidence[i]), up(found.correct[i])) for i in there]
    if len(points) > 1:
        parts.append(element("path", d=polyline(points), class_="line"))
    most = max(int(found.n.max(initial=0)), 1)
    for i, (x, y) in zip(there, points, strict=True):
        told = (
            f"confidence {share(found.edges[i])} to {share(found.edges[i + 1])}: {count(found.n[i])} predictions, "
            f"{share(found.correct[i])} right"
        )
        radius = 3 + 9 * (found.n[i] / most) ** 0.5
        parts.append(element("circle", element("title", told), cx=x, cy=y, r=radius, class_="bubble"))
    middle = (top + bottom) / 2
    return drawing(
        join(parts),
        element("text", "confidence", x=(left + right) / 2, y=338, class_="axis mid"),
        element("text", "right", x=13, y=middle, transform=f"rotate(-90 13 {number(middle)})", class_="axis mid"),
        width=480,
        height=344,
        label=f"Share of right predictions by confidence; expected calibration error {decimal(found.ece)}",
        class_="plot calibration",
    )


def importance_bars(values: Sequence[tuple[str, float]]) -> Markup:
    """Features by their importance, the most important first."""
    step, left, right = 22.0, 170.0, 430.0
    along = Scale(0, max((v for _, v in values), default=1.0) or 1.0, left, right)
    parts = []
    for i, (name, value) in enumerate(values):
        y = 8 + i * step
        parts += [
            element("text", name, x=left - 8, y=y + 13, class_="tick end"),
            element("rect", x=left, y=y + 3, width=max(along(value) - left, 0.5), height=step - 8, class_="amount"),
            element("text", share(value), x=along(value) + 6, y=y + 13, class_="tick"),
        ]
    return drawing(
        join(parts),
        width=480,
        height=16 + step * max(len(values), 1),
        label="Importance of what is measured, all dates together",
        class_="plot bars",
    )


def importance_season(dates: Mapping[dt.date, float]) -> Markup:
    """Importance over the season: a bar a period, where it begins."""
    left, right, top, bottom = 46.0, 946.0, 12.0, 180.0
    first, last = min(dates), max(dates)
    span = max((last - first).days, 1)
    gap = min((b - a).days for a, b in zip(sorted(dates), sorted(dates)[1:], strict=False)) if len(dates) > 1 else span
    across = Scale(0, span + gap, left, right)
    up = Scale(0, max(dates.values()) or 1.0, bottom, top)
    parts = []
    for value in nice_ticks(0, max(dates.values()) or 1.0, 4):
        parts += [
            element("line", x1=left, x2=right, y1=up(value), y2=up(value), class_="grid"),
            element("text", share(value), x=left - 8, y=up(value) + 4, class_="tick end"),
        ]
    for month in _months(first, last):
        x = across((month - first).days)
        parts += [
            element("line", x1=x, x2=x, y1=top, y2=bottom + 5, class_="rail"),
            element("text", f"{month:%b}", x=x + 4, y=bottom + 17, class_="tick"),
        ]
    width = max(across(gap) - across(0) - 2, 2)
    for day, value in sorted(dates.items()):
        bar = element("title", f"{day:%Y-%m-%d}: {share(value)}")
        x = across((day - first).days)
        parts.append(element("rect", bar, x=x, y=up(value), width=width, height=bottom - up(value), class_="amount"))
    return drawing(
        join(parts),
        width=960,
        height=204,
        label="Importance of the periods of the season, all features together",
        class_="plot season-bars",
    )


def lights_plot(rows: Sequence[tuple[str, NDArray[np.int64]]]) -> Markup:
    """Lights of the parcels of each declared class, as shares of a bar; the number stands at its end."""
    step, left, right = 24.0, _NAME, 840.0
    along = Scale(0, 1, left, right)
    parts = []
    for i, (label, found) in enumerate(rows):
        y, whole, start = 6 + i * step, max(int(found.sum()), 1), 0.0
        parts.append(element("text", label, x=left - 8, y=y + 15, class_="tick end"))
        for light, n in zip(LIGHTS, found.tolist(), strict=True):
            if n:
                end = start + n / whole
                told = element("title", f"{label}: {count(n)} {light.value} ({share(n / whole)})")
                box = {"x": along(start), "width": along(end) - along(start), "height": step - 6}
                parts.append(element("rect", told, y=y + 2, class_=f"light {light.value}", **box))
                if box["width"] > 34:
                    text = f"{SIGNS[light.value]} {count(n)}"
                    parts.append(element("text", text, x=along(start) + 6, y=y + 15, class_="value dark"))
                start = end
        parts.append(element("text", count(int(found.sum())), x=right + 8, y=y + 15, class_="tick"))
    return drawing(
        join(parts),
        width=910,
        height=12 + step * len(rows),
        label="Traffic lights by declared class",
        class_="plot lights",
    )


def _largest(metrics: Metrics) -> list[int]:
    """Numbers of classes that a confusion plot shows, in their order."""
    sizes = metrics.confusion.sum(axis=1) + metrics.confusion.sum(axis=0)
    order = np.argsort(-sizes, kind="stable")[:MAX_CLASSES]
    return sorted(int(i) for i in order if sizes[i] > 0)


def _short(name: str, names: Mapping[str, str]) -> str:
    """Name of a class, cut where it is long."""
    text = names.get(name) or name
    return text if len(text) <= 22 else f"{text[:21]}…"


def _months(first: dt.date, last: dt.date) -> list[dt.date]:
    """First days of the months from one day to another."""
    found, month = [], first.replace(day=1)
    while month <= last:
        if month >= first:
            found.append(month)
        month = (month + dt.timedelta(days=32)).replace(day=1)
    return found
