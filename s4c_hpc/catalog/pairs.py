"""Interferometric pairs: which dates of a radar orbit have a partner 6 or 12 days before, and which partner is missing.

Coherence needs two acquisitions of one relative orbit. Two Sentinel-1 satellites follow each other by 6 days, each
alone comes back after 12; any two of S1A, S1B, S1C and S1D make a pair, since they fly the same orbits.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from s4c_hpc.catalog.rhythm import rhythm_of

PAIR_DAYS = (6, 12)
"""Lengths of pairs, in days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two passes of one relative orbit."""

    orbit: int
    day: dt.date
    """Of the later pass."""
    mission: str
    """Of the later pass, e.g. ``sentinel-1a``."""
    length_days: int
    partner_mission: str
    """Of the earlier pass: the one that is there, or that would have come."""
    present: bool

    @property
    def partner_day(self) -> dt.date:
        """Of the earlier pass."""
        return self.day - dt.timedelta(days=self.length_days)


def pairs(passes: Iterable[tuple[str, int, dt.date]], *, first: dt.date, until: dt.date) -> list[Pair]:
    """Pairs of passes that are there, and pairs whose earlier pass should be there and is not.

    A partner is missing if some satellite was due on that day by its own rhythm on that orbit (see ``rhythm``); where
    none was due, a pair of that length cannot exist and nothing is said: with one satellite there are no 6-day pairs.
    Only days are compared, not slices or bursts along the track.

    Parameters
    ----------
    passes : mission, relative orbit and day (UTC) of usable acquisitions, in any order and number
    first, until : first and last day of later passes; partners may lie before

    Returns
    -------
    Sorted by orbit, day of the later pass, its mission, and length.
    """
    days: dict[int, dict[str, set[dt.date]]] = defaultdict(lambda: defaultdict(set))
    for mission, orbit, day in passes:
        days[orbit][mission].add(day)
    found: list[Pair] = []
    for orbit, missions in sorted(days.items()):
        rhythms = {mission: rhythm_of(there) for mission, there in sorted(missions.items())}
        for day, mission in sorted((d, m) for m, there in missions.items() for d in there if first <= d <= until):
            for length in PAIR_DAYS:
                partner = day - dt.timedelta(days=length)
                there = sorted(m for m in missions if partner in missions[m])
                due = [m for m, rhythm in rhythms.items() if rhythm is not None and rhythm.due_on(partner)]
                if there or due:
                    found.append(
                        Pair(
                            orbit=orbit,
                            day=day,
                            mission=mission,
                            length_days=length,
                            partner_mission=(there or due)[0],
                            present=bool(there),
                        )
                    )
    return found
