"""What a season's index has and lacks, tile by tile: what a run that starts now would have to do without."""

from __future__ import annotations

import calendar
import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from s4c_hpc.catalog.absent import Absent, Orbit, absent, orbits
from s4c_hpc.catalog.acquisitions import Acquisition, Acquisitions
from s4c_hpc.catalog.model import BROKEN, OK
from s4c_hpc.catalog.pairs import Pair, pairs
from s4c_hpc.catalog.rhythm import median_gap

RADAR = frozenset({"s1"})
"""Sensors whose acquisitions are used in pairs."""
SHORT_MONTH_DAYS = 12
"""A month of which the season holds fewer days may rightly have no acquisition: satellites repeat their orbits after
up to so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Days of the season on which a tile was seen, by one sensor and one relative orbit or all of them."""

    tile: str
    sensor: str
    orbit: int | None
    """``None``: whatever the orbit."""
    n_days: int
    """With a product that can be used."""
    first: dt.date | None
    last: dt.date | None
    revisit_days: int | None
    """Median gap of all passes on the orbit; for all orbits, that of this tile's days."""
    longest_gap_days: int
    """From one day to the next, beginning the day before the season and ending the day after ``until``."""
    months_without: tuple[str, ...]
    """``YYYY-MM`` that are over; see ``months``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The answer."""

    first: dt.date
    until: dt.date
    """What is judged: the season up to yesterday, since today's images cannot be there yet. Before the season
    ``until`` < ``first`` and nothing is missed."""
    tiles: tuple[str, ...]
    """With parcels."""
    coverage: tuple[Coverage, ...]
    """By tile, sensor and orbit, the line of all orbits first."""
    empty: tuple[str, ...]
    """Tiles with parcels and without any product in the season that can be used."""
    months_without: Mapping[str, tuple[str, ...]]
    """By tile, months that are over and that no sensor has seen; tiles that have none are left out."""
    months_seen: Mapping[str, frozenset[str]]
    """By tile, months of which some product can be used, over or not."""
    absent: tuple[Absent, ...]
    unusable: tuple[Acquisition, ...]
    """Broken products first, then superseded ones; also those whose tile or day is not known."""
    pairs: tuple[Pair, ...]
    """Radar only; also those that are there."""

    @property
    def broken(self) -> list[Acquisition]:
        """Products that were meant to be used."""
        return [row for row in self.unusable if row.status == BROKEN]

    @property
    def missing_pairs(self) -> list[Pair]:
        """Pairs whose earlier pass is not there."""
        return [pair for pair in self.pairs if not pair.present]

    @property
    def is_ready(self) -> bool:
        """Whether nothing is known to be missing."""
        return not (self.empty or self.months_without or self.absent or self.broken or self.missing_pairs)


def readiness(
    acquisitions: Acquisitions,
    tiles: Collection[str],
    *,
    season_start: dt.date,
    season_end: dt.date,
    today: dt.date,
) -> Readiness:
    """Judge the index. Pure.

    Parameters
    ----------
    acquisitions : the whole index
    tiles : those with parcels
    season_start, season_end : first and last acquisition day that count, UTC
    today : UTC
    """
    until = min(season_end, today - dt.timedelta(days=1))
    rows = acquisitions.rows
    wanted = sorted(set(tiles))
    passes = orbits(rows, season_start, until)
    over = months(season_start, season_end, until)
    usable = [row for row in rows if row.status == OK and row.day is not None and season_start <= row.day <= season_end]
    seen = _months_seen(usable)
    return Readiness(
        first=season_start,
        until=until,
        tiles=tuple(wanted),
        coverage=tuple(_coverage(usable, set(wanted), passes, season_start, until, over)),
        empty=tuple(tile for tile in wanted if tile not in seen) if until >= season_start else (),
        months_without={
            tile: without
            for tile in wanted
            if (without := tuple(month for month in over if month not in seen.get(tile, frozenset())))
        },
        months_seen={tile: seen[tile] for tile in wanted if tile in seen},
        absent=tuple(absent(acquisitions, wanted, passes, until)),
        unusable=_unusable(rows, set(wanted), season_start, season_end),
        pairs=tuple(
            pairs(
                (
                    (row.mission, row.orbit, row.day)
                    for row in rows
                    if row.status == OK and row.sensor in RADAR and row.orbit is not None and row.day is not None
                ),
                first=season_start,
                until=until,
            )
        ),
    )


def months(season_start: dt.date, season_end: dt.date, until: dt.date) -> list[str]:
    """Months of the season, ``YYYY-MM``, whose last day in the season is not after ``until``.

    Without those of which the season holds fewer than ``SHORT_MONTH_DAYS`` days.
    """
    found = []
    begin = season_start
    while begin <= season_end:
        month_end = begin.replace(day=calendar.monthrange(begin.year, begin.month)[1])
        end = min(month_end, season_end)
        if end <= until and (end - begin).days + 1 >= SHORT_MONTH_DAYS:
            found.append(month_of(begin))
        begin = month_end + dt.timedelta(days=1)
    return found


@lru_cache(maxsize=4096)
def month_of(day: dt.date) -> str:
    """``YYYY-MM``. Cached: thousands of tiles are seen on some hundred days."""
    return f"{day:%Y-%m}"


def _coverage(
    usable: Iterable[Acquisition],
    tiles: set[str],
    passes: Iterable[Orbit],
    season_start: dt.date,
    until: dt.date,
    over: list[str],
) -> Iterator[Coverage]:
    days: dict[tuple[str, str, int | None], set[dt.date]] = defaultdict(set)
    for row in usable:
        if row.tile in tiles and row.day is not None:
            days[row.tile, row.sensor, None].add(row.day)
            if row.orbit is not None:
                days[row.tile, row.sensor, row.orbit].add(row.day)
    revisit = {(orbit.sensor, orbit.number): median_gap(set().union(*orbit.seen.values())) for orbit in passes}
    edges = (season_start - dt.timedelta(days=1), until + dt.timedelta(days=1))
    for tile, sensor, orbit in sorted(days, key=lambda key: (key[0], key[1], -1 if key[2] is None else key[2])):
        there = sorted(days[tile, sensor, orbit])
        around = sorted({*edges, *there})
        have = {month_of(day) for day in there}
        yield Coverage(
            tile=tile,
            sensor=sensor,
            orbit=orbit,
            n_days=len(there),
            first=there[0],
            last=there[-1],
            revisit_days=median_gap(there) if orbit is None else revisit.get((sensor, orbit)),
            longest_gap_days=max((b - a).days for a, b in pairwise(around)),
            months_without=tuple(month for month in over if month not in have),
        )


def _months_seen(usable: Iterable[Acquisition]) -> dict[str, frozenset[str]]:
    seen: dict[str, set[str]] = defaultdict(set)
    for row in usable:
        if row.day is not None:
            seen[row.tile].add(month_of(row.day))
    return {tile: frozenset(found) for tile, found in seen.items()}


def _unusable(
    rows: Iterable[Acquisition], tiles: set[str], season_start: dt.date, season_end: dt.date
) -> tuple[Acquisition, ...]:
    found = [
        row
        for row in rows
        if row.status != OK
        and (not row.tile or row.tile in tiles)
        and (row.day is None or season_start <= row.day <= season_end)
    ]
    return tuple(sorted(found, key=lambda row: (row.status != BROKEN, row.tile, row.day or dt.date.min, row.product)))
