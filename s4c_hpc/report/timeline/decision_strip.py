"""What was decided, when, how sure it is and what casts doubt on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from s4c_hpc.drawing.svg import element, join, number
from s4c_hpc.report.decision import EVENTS, NAMES, Decision
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline.bars import ROW, Placed, place, rows_of
from s4c_hpc.report.timeline.strip import LEFT, LETTER, RIGHT

_BAR: Final = 11.0
_SIGN: Final = 13.0


@dataclass(frozen=True, kw_only=True)
class DecisionStrip:
    """A bar a decision with its window, and its name beside it; those without a window are names only."""

    decisions: Sequence[Decision]
    axis: TimeAxis
    """That of the picture: how many rows are needed depends on it."""
    heading: str = ""
    about: str = ""

    @property
    def ordered(self) -> list[Decision]:
        """By kind, then by time."""
        kinds = [*NAMES]

        def key(one: Decision) -> tuple[bool, int, str, int]:
            place = kinds.index(one.kind) if one.kind in kinds else len(kinds)
            return one.start is None, place, one.kind, one.start.toordinal() if one.start else 0

        return sorted(self.decisions, key=key)

    @property
    def height(self) -> float:
        """See ``Strip``."""
        return max(rows_of(self._placed), 1) * ROW

    @property
    def _placed(self) -> list[Placed]:
        bars = [(one.start, one.end, one.label) for one in self.ordered]
        return place(bars, self.axis, _SIGN)

    def draw(self, axis: TimeAxis, top: float) -> Markup:  # noqa: ARG002 - rows were laid out for the strip's own
        """See ``Strip``."""
        return element(
            "g",
            join(_bar(one, at, top) for one, at in zip(self.ordered, self._placed, strict=True)),
            class_="strip decisions",
        )

    def shades(self, axis: TimeAxis, top: float, bottom: float) -> Markup:
        """Windows of what was found, pale over all other strips: what the values did on these days."""
        parts = []
        for one in self.ordered:
            if one.kind in EVENTS and one.is_found and one.start and one.end:
                if one.end < axis.start or one.start > axis.end:
                    continue
                begin = max(axis(max(one.start, axis.start)) - axis.per_day / 2, LEFT)
                end = min(axis(min(one.end, axis.end)) + axis.per_day / 2, RIGHT)
                size = {"y": top, "height": bottom - top}
                parts.append(element("rect", x=begin, width=end - begin, class_=f"shade {_class(one)}", **size))
                parts += [
                    element("line", x1=x, x2=x, y1=top, y2=bottom, class_=f"edge {_class(one)}") for x in (begin, end)
                ]
        return join(parts)

    def sentences(self) -> Sequence[str]:
        """See ``Strip``."""
        return [one.sentence() for one in self.ordered]


def _bar(one: Decision, at: Placed, top: float) -> Markup:
    y = top + at.row * ROW
    middle = y + ROW / 2
    strength = "sure" if one.verdict in {"found", "strong"} else "likely" if one.is_found else "unlikely"
    parts: list[Markup] = [element("title", one.sentence())]
    if at.end > at.begin:
        parts.append(
            element(
                "rect",
                x=at.begin,
                y=middle - _BAR / 2,
                width=at.end - at.begin,
                height=_BAR,
                rx=2,
                class_=f"window {_class(one)} {strength}",
            )
        )
    x = at.text_x - _SIGN + 4.5
    if one.doubts:
        parts.append(doubt_sign(x, middle))
    else:
        parts.append(kind_sign(one, x, middle))
    if at.text_x < at.end and at.text_x > at.begin:
        # The name stands on its bar.
        parts.append(
            element("rect", x=at.begin + 2, y=middle - 6.5, width=len(at.text) * LETTER + 18, height=13, class_="plate")
        )
        parts.append(parts.pop(-2))
    parts.append(element("text", at.text, x=at.text_x, y=middle + 4, class_="name"))
    return element(
        "g",
        *parts,
        class_="decision",
        data_kind=one.kind,
        data_verdict=one.verdict,
        data_start=str(one.start) if one.start else None,
        data_end=str(one.end) if one.end else None,
    )


def kind_sign(one: Decision, x: float, y: float) -> Markup:
    """A tick for what was found, a wave for weak signs, a cross for what was not, a ring for what is not known."""
    if one.is_found:
        return element("path", d=f"M{number(x - 3.5)} {number(y)}l2.5 3l4.5-6", class_=f"tick-sign {_class(one)}")
    if one.verdict == "weak":
        return element("path", d=f"M{number(x - 4)} {number(y + 1)}q2-4 4-1t4-1", class_="wave")
    if one.verdict == "undecided":
        return element("circle", cx=x, cy=y, r=3, class_="ring")
    return element("path", d=f"M{number(x - 3)} {number(y - 3)}l6 6m0-6l-6 6", class_="cross")


def doubt_sign(x: float, y: float) -> Markup:
    """A triangle with an exclamation mark."""
    return element(
        "g",
        element("path", d=f"M{number(x)} {number(y - 5)}l5.4 9.4h-10.8z", class_="doubt"),
        element("path", d=f"M{number(x)} {number(y - 1.8)}v2.8m0 1.4v.6", class_="doubt-mark"),
    )


def _class(one: Decision) -> str:
    return f"kind-{one.kind}" if one.kind in NAMES else "kind-other"
