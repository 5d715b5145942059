"""Conditions on parcels as they stand in an address: boxes, times, ids, expressions; what is none is refused."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from s4c_hpc.parcels.select import Box
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.sites import Season

_DECIMAL: Final = re.compile(r" *[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})? *", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME: Final = re.compile(rf"{_DATE.pattern}[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def expression_of(text: str | None, limits: Limits) -> str | None:
    """A condition that is not too long.

    Raises
    ------
    Problem
        400
    """
    if text is not None and len(text) > limits.expression_chars:
        raise Problem(400, f"has more than {limits.expression_chars} characters", where="filter", hint="use search")
    return text


def listed(ids: tuple[str, ...], limits: Limits, most: int | None = None) -> tuple[str, ...]:
    """Ids of the declaration, not more than ``most`` or else than are parcels at a time.

    Raises
    ------
    Problem
        400
    """
    if len(ids) > (most or limits.parcels_max):
        raise Problem(400, f"more than {most or limits.parcels_max} parcels", where="ori_id", hint="ask for fewer")
    if any("\ud800" <= char <= "\udfff" for one in ids for char in one):
        raise Problem(400, "is no text: it has half of a surrogate pair", where="ori_id", hint="send UTF-8")
    return ids


def box_of(text: str) -> Box:
    """The rectangle of four numbers, or of six, of which two are heights; see ``Asked.box``.

    Raises
    ------
    Problem
        400, if they are something else.
    """
    wrong = Problem(
        400,
        "is not four or six numbers in order",
        where="bbox",
        hint="west,south,east,north in degrees; a west beyond the east is across the antimeridian",
    )
    parts = text.split(",")
    if len(parts) not in {4, 6} or not all(_DECIMAL.fullmatch(part) for part in parts):
        raise wrong
    found = [float(part) for part in parts]
    west, south, east, north = found if len(found) == 4 else (found[0], found[1], found[3], found[4])
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise wrong
    return west, south, east, north


def is_in_season(text: str, season: Season) -> bool:
    """Whether a time or an interval of RFC 3339 meets the season, whose days are of UTC.

    Raises
    ------
    Problem
        400, if it is neither.
    """
    parts = text.split("/")
    wrong = Problem(400, "is no time and no interval", where="datetime", hint="e.g. 2018-05-01/2018-06-01")
    if len(parts) > 2 or (len(parts) == 1 and parts[0] in {"", ".."}):
        raise wrong
    try:
        days = [None if part in {"", ".."} else _day(part) for part in parts]
    except (ValueError, OverflowError) as error:
        raise wrong from error
    first, last = days[0], days[-1]
    if first is not None and last is not None and last < first:
        raise wrong
    return (first is None or first <= season.end) and (last is None or last >= season.start)


def _day(text: str) -> dt.date:
    """The day in UTC of a date, or of a time with its offset."""
    if _DATE.fullmatch(text):
        return dt.date.fromisoformat(text)
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    # A leap second is of the day that it ends.
    return dt.datetime.fromisoformat(text.upper().replace(":60", ":59")).astimezone(dt.UTC).date()
