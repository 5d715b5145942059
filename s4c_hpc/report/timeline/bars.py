"""Bars over periods, each with its name beside it; they are put into as few rows as have room for them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from s4c_hpc.report.time_axis import TimeAxis
from s4c_hpc.report.timeline.strip import LEFT, LETTER, RIGHT

ROW: Final = 19.0
_GAP: Final = 6.0
_LEAST: Final = 5.0
"""Width of a bar at least: a day of a season is narrower than a line."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a bar and its name stand."""

    row: int
    begin: float
    """Left end of the bar in drawing units; as ``end`` where there is no bar."""
    end: float
    text: str
    """The name, cut off where no more fits."""
    text_x: float
    """Left end of the name."""


def place(
    bars: Sequence[tuple[dt.date | None, dt.date | None, str]], axis: TimeAxis, sign_width: float = 0.0
) -> list[Placed]:
    """Put bars and their names where they do not cover each other, those that come first in the upper rows.

    Parameters
    ----------
    bars : first and last day (``None``: no bar), and the name; days outside of the picture are cut off
    sign_width : room for a sign before the name
    """
    ends: list[list[tuple[float, float]]] = []
    found = []
    for first, last, text in bars:
        begin, end = _extent(first, last, axis)
        room = RIGHT - LEFT - (end - begin) - sign_width - _GAP
        cut = text if len(text) * LETTER <= room else text[: max(int(room / LETTER) - 1, 0)] + "…"
        width = sign_width + len(cut) * LETTER
        bar = end > begin
        at = end + _GAP if bar else begin
        if at + width > RIGHT:
            at = begin - _GAP - width
        if at < LEFT:
            # Beside a bar that takes nearly all of it there is no room: the name stands on the bar.
            at = LEFT + _GAP
        taken = (min(begin, at), max(end, at + width))
        row = next(
            (i for i, row in enumerate(ends) if all(taken[1] + _GAP < b or taken[0] - _GAP > e for b, e in row)),
            len(ends),
        )
        if row == len(ends):
            ends.append([])
        ends[row].append(taken)
        found.append(Placed(row, begin, end, cut, at + sign_width))
    return found


def rows_of(placed: Sequence[Placed]) -> int:
    """How many rows they take."""
    return max((one.row for one in placed), default=-1) + 1


def _extent(first: dt.date | None, last: dt.date | None, axis: TimeAxis) -> tuple[float, float]:
    if first is None or last is None or last < axis.start or first > axis.end:
        return LEFT, LEFT
    half = axis.per_day / 2
    begin = max(axis(max(first, axis.start)) - half, LEFT)
    end = min(axis(min(last, axis.end)) + half, RIGHT)
    if end - begin < _LEAST:
        middle = min(max((begin + end) / 2, LEFT + _LEAST / 2), RIGHT - _LEAST / 2)
        begin, end = middle - _LEAST / 2, middle + _LEAST / 2
    return begin, end
