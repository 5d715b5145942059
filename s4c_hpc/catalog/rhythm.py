"""How often a satellite comes back, from the days on which it came."""

from __future__ import annotations

import datetime as dt
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

MIN_DAYS = 4
"""Fewer days have no rhythm."""
MIN_ON_GRID = 0.9
"""Share of the days that must lie on the rhythm's own grid."""
MIN_KEPT = 2 / 3
"""Share of the due days that must be there: an archive of clear days only has no rhythm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """A day every ``period`` days."""

    period: int
    first: dt.date
    last: dt.date
    """First and last day that is there and on the grid."""
    skipped: tuple[dt.date, ...]
    """Due between them, and not there."""

    def due_on(self, day: dt.date) -> bool:
        """Whether ``day`` is on the grid, between the first and the last day."""
        return self.first <= day <= self.last and (day - self.first).days % self.period == 0

    def due_after(self, until: dt.date) -> tuple[dt.date, ...]:
        """Days on the grid after the last one, up to and with ``until``."""
        n = max((until - self.last).days // self.period, 0)
        return tuple(self.last + dt.timedelta(days=self.period * k) for k in range(1, n + 1))


def median_gap(days: Iterable[dt.date]) -> int | None:
    """Median of the gaps between neighbouring days, in days; of two in the middle the shorter one."""
    ordered = sorted(set(days))
    gaps = [(b - a).days for a, b in pairwise(ordered)]
    return statistics.median_low(gaps) if gaps else None


def rhythm_of(days: Iterable[dt.date]) -> Rhythm | None:
    """The rhythm of days that one satellite has come over on one relative orbit; ``None`` if they keep none.

    Every satellite repeats its orbits exactly (Sentinel-2 after 10 days, Sentinel-1 after 12), so the period is the
    median gap. Days of two satellites are not to be mixed: then a start, a loss or a change of one of them in the
    season would look like days missed.
    """
    ordered = sorted(set(days))
    period = median_gap(ordered)
    if len(ordered) < MIN_DAYS or period is None:
        return None
    phases = Counter(day.toordinal() % period for day in ordered)
    # Of phases that are equally frequent the first day's wins: the answer must not depend on chance.
    phase, n = phases.most_common(1)[0]
    if n < MIN_ON_GRID * len(ordered):
        return None
    kept = [day for day in ordered if day.toordinal() % period == phase]
    there = set(ordered)
    due = [kept[0] + dt.timedelta(days=period * k) for k in range((kept[-1] - kept[0]).days // period + 1)]
    if len(kept) < MIN_KEPT * len(due):
        return None
    skipped = tuple(day for day in due if day not in there)
    return Rhythm(period=period, first=kept[0], last=kept[-1], skipped=skipped)
