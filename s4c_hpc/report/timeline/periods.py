"""Declared periods, and those in which the rules look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from s4c_hpc.drawing.svg import element, join
from s4c_hpc.report.decision import Period
from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline.bars import ROW, Placed, place, rows_of
from s4c_hpc.report.timeline.strip import LETTER

_BAR: Final = 9.0


@dataclass(frozen=True, kw_only=True)
class PeriodStrip:
    """A bar a period, with its name beside it."""

    periods: Sequence[Period]
    axis: TimeAxis
    """That of the picture: how many rows are needed depends on it."""
    heading: str = ""
    about: str = ""

    @property
    def height(self) -> float:
        """See ``Strip``."""
        return max(rows_of(self._placed), 1) * ROW

    @property
    def _placed(self) -> list[Placed]:
        return place([(one.start, one.end, one.name) for one in self.periods], self.axis)

    def draw(self, axis: TimeAxis, top: float) -> Markup:  # noqa: ARG002 - rows were laid out for the strip's own
        """See ``Strip``."""
        parts = []
        for one, at in zip(self.periods, self._placed, strict=True):
            middle = top + at.row * ROW + ROW / 2
            bar = plate = None
            if at.end > at.begin:
                bar = element(
                    "rect",
                    x=at.begin,
                    y=middle - _BAR / 2,
                    width=at.end - at.begin,
                    height=_BAR,
                    class_=f"period period-{one.kind}",
                )
                if at.begin < at.text_x < at.end:
                    plate = element(
                        "rect",
                        x=at.text_x - 4,
                        y=middle - 6.5,
                        width=len(at.text) * LETTER + 8,
                        height=13,
                        class_="plate",
                    )
            name = element("text", at.text, x=at.text_x, y=middle + 4, class_="name")
            parts.append(
                element("g", element("title", one.sentence()), bar, plate, name, class_="declared", data_kind=one.kind)
            )
        return element("g", join(parts), class_="strip periods")

    def sentences(self) -> Sequence[str]:
        """See ``Strip``."""
        return [one.sentence() for one in self.periods]
