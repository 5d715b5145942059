"""What the sky let us see: for every tile and date, how the pixels of its parcels divide."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from s4c_hpc.config import Category, Config
from s4c_hpc.drawing.svg import Scale, drawing, element, join
from s4c_hpc.drawing.text import day, share
from s4c_hpc.report.marker_scan import MarkerScan
from s4c_hpc.report.sky import CATEGORIES, usable_columns
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline import LEFT, RIGHT, WIDTH

MAX_TILES = 60
"""Tiles that the plot shows; of more, the first in alphabetical order."""

LABELS = {
    Category.VALID: "clear land",
    Category.WATER: "water",
    Category.SHADOW: "shadow",
    Category.SNOW: "snow",
    Category.CLOUD: "cloud",
    Category.SATURATED: "saturated",
    Category.NODATA: "no data",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DateCoverage:
    """One acquisition, all tiles together."""

    day: dt.date
    name: str
    """As in column names: sensor, orbit and time are told apart."""
    n_tiles: int
    usable: float
    """Share of pixels that enter the statistics; NaN if there is no pixel."""
    shares: dict[Category, float]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What the template needs."""

    drawing: Markup
    dates: tuple[DateCoverage, ...]
    usable: float
    cloud: float
    """Shares over all dates and parcels; NaN without data."""
    present: tuple[Category, ...]
    """Categories that any pixel has: the legend of the plot."""
    n_tiles_hidden: int


def time_axis(scan: MarkerScan, config: Config) -> TimeAxis:
    """The axis of all plots: whole months from the first to the last acquisition; the season if there is none."""
    days = [a.day for a in scan.choice.acquisitions] or [config.site.season_start, config.site.season_end]
    following = (days[-1].replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    return TimeAxis(days[0].replace(day=1), following - dt.timedelta(days=1), LEFT, RIGHT)


def coverage(scan: MarkerScan, config: Config) -> Coverage:
    """Sum up the pixel counts."""
    usable = usable_columns(config.validity.use)
    by_date = scan.totals.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = by_date / by_date.sum(axis=1, keepdims=True)
        overall = by_date.sum(axis=0) / by_date.sum()
    dates = tuple(
        DateCoverage(
            day=a.day,
            name="_".join(filter(None, (a.sensor, a.orbit, a.when))),
            n_tiles=int((scan.totals[:, i].sum(axis=1) > 0).sum()),
            usable=float(shares[i][usable].sum()),
            shares=dict(zip(CATEGORIES, shares[i].tolist(), strict=True)),
        )
        for i, a in enumerate(scan.choice.acquisitions)
    )
    return Coverage(
        drawing=_plot(scan, time_axis(scan, config)),
        dates=dates,
        usable=float(overall[usable].sum()),
        cloud=float(overall[CATEGORIES.index(Category.CLOUD)]),
        present=tuple(c for c, n in zip(CATEGORIES, by_date.sum(axis=0), strict=True) if n > 0),
        n_tiles_hidden=max(len(scan.tiles) - MAX_TILES, 0),
    )


def _plot(scan: MarkerScan, axis: TimeAxis) -> Markup:
    """A row a tile, a bar a date."""
    tiles = scan.tiles[:MAX_TILES]
    row = 120.0 if len(tiles) == 1 else 60.0 if len(tiles) <= 4 else 30.0
    # Between several rows there is room for the name of each, which may be longer than the margin is wide.
    top, gap = (8.0, 0.0) if len(tiles) == 1 else (20.0, 22.0)
    bottom = top + len(tiles) * (row + gap) - gap
    days = [a.day.toordinal() for a in scan.choice.acquisitions]
    # Bars never touch: the closest pair of days decides, two images of one day share the place of one.
    closest = min((b - a for a, b in itertools.pairwise(days) if b > a), default=10)
    width = max(min(closest * axis.per_day * 0.8, 12.0), 1.0)
    parts = [_hatching(), axis.background(top, bottom)]
    for i, tile in enumerate(tiles):
        scale = Scale(0, 1, top + i * (row + gap) + row, top + i * (row + gap))
        parts.append(_row_axis(tile, scale, single=len(tiles) == 1))
        parts.append(_bars(scan, i, axis, scale, width))
    parts.append(axis.labels(bottom + 18))
    label = "Share of clear, cloudy and missing pixels by date" + (" and tile" if len(tiles) > 1 else "")
    return drawing(*parts, width=WIDTH, height=bottom + 26, label=label, class_="plot")


def _hatching() -> Markup:
    """Missing data is drawn as an empty, hatched bar."""
    return element(
        "defs",
        element(
            "pattern",
            element("path", d="M0 5L5 0", class_="hatch"),
            id="no-data",
            width=5,
            height=5,
            patternUnits="userSpaceOnUse",
        ),
    )


def _row_axis(tile: str, scale: Scale, *, single: bool) -> Markup:
    if not single:
        line = element("line", x1=LEFT, x2=RIGHT, y1=scale.start, y2=scale.start, class_="zero")
        return join([line, element("text", tile, x=LEFT, y=scale.end - 5, class_="axis")])
    return join(
        part
        for value in (0.0, 0.5, 1.0)
        for part in (
            element("line", x1=LEFT, x2=RIGHT, y1=scale(value), y2=scale(value), class_="grid" if value else "zero"),
            element("text", share(value), x=LEFT - 8, y=scale(value) + 3.5, class_="tick end"),
        )
    )


def _bars(scan: MarkerScan, tile: int, axis: TimeAxis, scale: Scale, width: float) -> Markup:
    parts = []
    same_day: dict[dt.date, list[int]] = {}
    for i, acquisition in enumerate(scan.choice.acquisitions):
        if scan.totals[tile, i].sum() > 0:
            same_day.setdefault(acquisition.day, []).append(i)
    for date, indices in same_day.items():
        part = width / len(indices)
        for k, i in enumerate(indices):
            shares = scan.totals[tile, i] / scan.totals[tile, i].sum()
            sentence = f"{day(date)}, {scan.tiles[tile]}: " + ", ".join(
                f"{LABELS[c]} {share(s)}" for c, s in zip(CATEGORIES, shares.tolist(), strict=True) if s > 0
            )
            x = axis(date) - width / 2 + k * part
            parts.append(element("g", element("title", sentence), *_stack(shares.tolist(), x, part, scale)))
    return join(parts)


def _stack(shares: list[float], x: float, width: float, scale: Scale) -> list[Markup]:
    below, boxes = 0.0, []
    for category, value in zip(CATEGORIES, shares, strict=True):
        if value > 0:
            top = scale(below + value)
            height = scale(below) - top
            boxes.append(element("rect", x=x, y=top, width=width, height=height, class_=f"px {category.value}"))
            below += value
    return boxes
