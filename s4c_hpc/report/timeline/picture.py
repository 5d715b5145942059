"""Strips one below the other: the picture of a parcel's season, in a page or as a file of its own."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from s4c_hpc.drawing.pages import plot_style
from s4c_hpc.drawing.svg import drawing, element, join
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline.decision_strip import DecisionStrip
from s4c_hpc.report.timeline.legend import legend
from s4c_hpc.report.timeline.strip import LEFT, LETTER, RIGHT, WIDTH, Strip

_TOP: Final = 10.0
_HEADING: Final = 20.0
_LINE: Final = 14.0
_BETWEEN: Final = 9.0
_APART: Final = 18.0
_LABELS: Final = 14.0


def axis_of(start: dt.date, end: dt.date) -> TimeAxis:
    """The time axis of a picture."""
    return TimeAxis(start, end, LEFT, RIGHT)


def timeline_svg(
    strips: Sequence[Strip],
    *,
    title: str,
    start: dt.date,
    end: dt.date,
    subtitle: str = "",
    notes: Sequence[str] = (),
    standalone: bool = False,
    titled: bool = True,
    words: bool = True,
    dark: bool = False,
) -> Markup:
    """Draw the time line of one parcel.

    Parameters
    ----------
    strips : from top to bottom
    title : accessible name of the picture; of a file of its own the heading
    start, end : first and last day of the time axis
    subtitle : beside the heading of a file
    notes : what is not shown and why, in the legend of a file
    standalone : whether the result is to be a file of its own: it has colours, a heading, the decisions in words and a
        legend
    titled : whether such a file has its heading; in a page it stands above
    words : whether such a file says in words what was decided and what is not shown; a page may do so itself
    dark : whether such a file has dark colours where its reader likes them

    Returns
    -------
    SVG text that is safe to put in HTML.
    """
    axis = axis_of(start, end)
    y = _TOP
    head: list[Markup] = []
    if standalone:
        if titled:
            head.append(element("text", title, x=LEFT, y=y + 18, class_="title"))
            head.append(element("text", subtitle, x=LEFT, y=y + 36, class_="subtitle"))
            y += 52
        head.append(axis.labels(y + 4))
        y += _LABELS
    begin = y
    parts: list[Markup] = []
    below: float | None = None
    for i, strip in enumerate(strips):
        if i:
            y += _APART if standalone else _BETWEEN
        if standalone and strip.heading:
            parts.append(_heading(strip, y))
            y += _HEADING + _LINE * (len(_about(strip)) - 1)
        parts.append(strip.draw(axis, y))
        y += strip.height
        if isinstance(strip, DecisionStrip):
            below = y + 4
    shades = [s.shades(axis, below, y) for s in strips if isinstance(s, DecisionStrip)] if below is not None else []
    background = axis.background(begin, y)
    labels = axis.labels(y + (14 if standalone else 13))
    y += 18 if standalone else 20
    sentences = [sentence for strip in strips for sentence in strip.sentences()]
    foot: list[Markup] = []
    if standalone:
        decided = [one for s in strips if isinstance(s, DecisionStrip) for one in s.sentences()]
        if words and decided:
            block, y = _words("What was decided, in words", decided, y + 16)
            foot.append(block)
        block, y = legend(strips, y + 16)
        foot.append(block)
        if words and notes:
            block, y = _words("Not shown", notes, y + 10)
            foot.append(block)
        y += 6
    return drawing(
        element("title", title) if standalone else None,
        element("desc", "; ".join(sentences)),
        element("style", plot_style(dark=dark)) if standalone else None,
        element("rect", x=0, y=0, width=WIDTH, height=y, class_="sheet") if standalone else None,
        *head,
        background,
        *shades,
        *parts,
        labels,
        *foot,
        width=WIDTH,
        height=y,
        label=title,
        class_="plot timeline",
        standalone=standalone,
    )


def _about(strip: Strip) -> list[str]:
    """Lines of what a strip shows: the first one begins behind its heading."""
    first = " " * round(len(strip.heading) * 1.12 + 2)
    return textwrap.wrap(strip.about, int((RIGHT - LEFT) / LETTER * 1.08), initial_indent=first) or [first]


def _heading(strip: Strip, y: float) -> Markup:
    first, *rest = _about(strip)
    return element(
        "text",
        element("tspan", strip.heading, class_="heading"),
        element("tspan", first.strip(), dx=8),
        *(element("tspan", one, x=LEFT, dy=_LINE) for one in rest),
        x=LEFT,
        y=y + 11,
        class_="about",
    )


def _words(heading: str, sentences: Sequence[str], y: float) -> tuple[Markup, float]:
    """Sentences below each other; and where they end."""
    parts = [element("text", heading, x=LEFT, y=y, class_="heading")]
    y += 3
    for sentence in sentences:
        for i, one in enumerate(textwrap.wrap(sentence, int((RIGHT - LEFT - 12) / LETTER * 1.08)) or [""]):
            y += _LINE
            if not i:
                parts.append(element("circle", cx=LEFT + 3, cy=y - 4, r=1.6, class_="bullet"))
            parts.append(element("text", one, x=LEFT + 12, y=y))
        y += 3
    return element("g", join(parts), class_="words"), y
