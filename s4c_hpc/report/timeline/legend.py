"""Which sign means what, for who has nothing but the picture."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from markupsafe import Markup

from s4c_hpc.drawing.svg import element, join
from s4c_hpc.report.decision import Decision
from s4c_hpc.report.sky import Sky, sign
from s4c_hpc.report.timeline import optical, radar
from s4c_hpc.report.timeline.decision_strip import DecisionStrip, doubt_sign, kind_sign
from s4c_hpc.report.timeline.optical import OpticalStrip
from s4c_hpc.report.timeline.periods import PeriodStrip
from s4c_hpc.report.timeline.radar import RadarStrip
from s4c_hpc.report.timeline.strip import LEFT, LETTER, RIGHT, Strip

_LINE: Final = 14.0
_COLUMN: Final = (RIGHT - LEFT) / 2
_ICON: Final = 44.0

_FOUND: Final = (
    "Found. The bar is the window: between the last look before and the first look after; its pale stripe goes through "
    "all strips below. The percentage is the confidence; S1 is radar, S2 optical"
)

Icon = Callable[[float, float], Markup]
Entry = tuple[Icon, str]


def legend(strips: Sequence[Strip], y: float) -> tuple[Markup, float]:
    """Signs of the strips that are there, in two columns; and where they end."""
    parts = [element("text", "How to read it", x=LEFT, y=y, class_="heading")]
    y += 16
    entries = list(_entries(strips))
    middle = (len(entries) + 1) // 2
    ends = []
    for column, some in enumerate((entries[:middle], entries[middle:])):
        x, at = LEFT + column * _COLUMN, y
        for icon, text in some:
            parts.append(icon(x, at - 4))
            for one in textwrap.wrap(text, int((_COLUMN - _ICON - 8) / LETTER * 1.06)):
                parts.append(element("text", one, x=x + _ICON, y=at))
                at += _LINE
            at += 3
        ends.append(at)
    return element("g", join(parts), class_="legend"), max(ends)


def _entries(strips: Sequence[Strip]) -> Iterator[Entry]:
    if any(isinstance(s, DecisionStrip) for s in strips):
        yield from _decision_entries([d for s in strips if isinstance(s, DecisionStrip) for d in s.decisions])
    if any(isinstance(s, PeriodStrip) for s in strips):
        yield _box("period period-harvest"), "Period that is declared, or in which the rules look"
    lines = [s for s in strips if isinstance(s, OpticalStrip)]
    if lines:
        yield (
            _dots,
            "A value: filled where all was clear, hollow where it is of a part. Pale: the middle half of its pixels",
        )
    if lines or any(isinstance(s, RadarStrip) for s in strips):
        days = f"{optical.LONG_GAP_DAYS} days (radar: {radar.LONG_GAP_DAYS})"
        yield _dashes, f"Dashed: more than {days} without a value; nothing is known in between"
    if any(one.doubts for s in strips if isinstance(s, RadarStrip) for one in s.measured):
        yield _doubted, "Ring: this change may be due to rain, or all fields around changed alike"
    if any(s.knows_sky for s in lines):
        seen = {o.sky for s in lines for o in s.observations}
        for sky in Sky:
            if sky in seen:
                yield _sky(sky), f"Sky over the parcel, {sky.label}: {sky.explanation}"


def _decision_entries(decisions: Sequence[Decision]) -> Iterator[Entry]:
    if any(d.is_found for d in decisions):
        found = next(d for d in decisions if d.is_found)
        yield (
            lambda x, y: kind_sign(found, x + 12, y),
            _FOUND,
        )
    if weak := next((d for d in decisions if d.verdict == "weak"), None):
        yield lambda x, y: kind_sign(weak, x + 12, y), "Only weak signs of it; the dashed bar is the period judged"
    if lost := next((d for d in decisions if d.verdict in {"poor", "not found"}), None):
        yield lambda x, y: kind_sign(lost, x + 12, y), "Looked for and not found"
    if unknown := next((d for d in decisions if d.verdict == "undecided"), None):
        yield lambda x, y: kind_sign(unknown, x + 12, y), "Undecided: data are missing; the words above say which"
    if any(d.doubts for d in decisions):
        yield (
            lambda x, y: doubt_sign(x + 12, y),
            "Doubt: rain, or all fields around changed alike, may have made the same change; the confidence is lower",
        )


def _box(class_: str) -> Icon:
    return lambda x, y: element("rect", x=x + 2, y=y - 4.5, width=34, height=9, class_=class_)


def _dots(x: float, y: float) -> Markup:
    return element(
        "g",
        element("rect", x=x + 2, y=y - 5, width=34, height=10, class_="spread"),
        element("path", d=f"M{x + 2:.0f} {y:.1f}h34", class_="line"),
        element("circle", cx=x + 10, cy=y, r=3, class_="point clear"),
        element("circle", cx=x + 28, cy=y, r=3, class_="point partly"),
        class_="optical",
    )


def _dashes(x: float, y: float) -> Markup:
    return element("g", element("path", d=f"M{x + 2:.0f} {y:.1f}h34", class_="line gap"), class_="optical")


def _doubted(x: float, y: float) -> Markup:
    return element(
        "g",
        element("circle", cx=x + 19, cy=y, r=5.4, class_="doubted"),
        element("path", d=f"M{x + 19:.2f} {y - 3.4:.2f}l3.4 3.4l-3.4 3.4l-3.4-3.4z", class_="point"),
        class_="coherence",
    )


def _sky(state: Sky) -> Icon:
    return lambda x, y: sign(state, x + 19, y)
