"""The time axis that all plots of a report share."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from s4c_hpc.drawing.svg import Scale, element, join

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class TimeAxis:
    """Days from ``start`` to ``end`` on drawing units ``left`` to ``right``."""

    start: dt.date
    end: dt.date
    left: float
    right: float

    @cached_property
    def _scale(self) -> Scale:
        # Half a day on both sides: a season of one day has a width too, and marks at the ends are not cut.
        return Scale(self.start.toordinal() - 0.5, self.end.toordinal() + 0.5, self.left, self.right)

    def __call__(self, day: dt.date) -> float:
        """Position of a day's middle."""
        return self._scale(day.toordinal())

    @property
    def per_day(self) -> float:
        """Width of a day in drawing units."""
        return (self.right - self.left) / (self.end.toordinal() - self.start.toordinal() + 1)

    def months(self) -> list[tuple[dt.date, float, float]]:
        """First day of each month and the drawing units from and to which the axis shows it."""
        found = []
        first = self.start.replace(day=1)
        while first <= self.end:
            following = (first + dt.timedelta(days=32)).replace(day=1)
            # A month begins half a day before the middle of its first day.
            begin = max(self._scale(first.toordinal() - 0.5), self.left)
            found.append((first, begin, min(self._scale(following.toordinal() - 0.5), self.right)))
            first = following
        return found

    def background(self, top: float, bottom: float) -> Markup:
        """Every other month as a pale stripe, to guide the eye down to the labels."""
        return join(
            element("rect", x=begin, y=top, width=end - begin, height=bottom - top, class_="month")
            for first, begin, end in self.months()
            if first.month % 2 == 0
        )

    def labels(self, y: float) -> Markup:
        """Month names on the base line ``y``, each in the middle of its month; narrow months go without."""
        parts = []
        for i, (first, begin, end) in enumerate(self.months()):
            name = _MONTHS[first.month - 1]
            text = f"{name} {first.year}" if i == 0 or first.month == 1 else name
            if end - begin >= 5.5 * len(text):
                parts.append(element("text", text, x=(begin + end) / 2, y=y, class_="tick mid"))
            elif end - begin >= 5.5 * len(name):
                parts.append(element("text", name, x=(begin + end) / 2, y=y, class_="tick mid"))
        return join(parts)
