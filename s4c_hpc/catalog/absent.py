"""Acquisitions that a tile should have and has not. Cautious: a false alarm is worse than silence.

Three rules, each for one sensor and one relative orbit; products without a relative orbit are never judged.

``neighbours``
    Tiles next to this one (their outlines touch) have the pass, this one has nothing of it, not even a broken product.
    A neighbour counts as a companion if on this orbit the tile came along in at least ``MIN_TOGETHER`` of its passes
    and in at least ``MIN_SHARE`` of all of them: so a tile at the edge of the swath, which comes along now and then,
    is left alone, and so is an archive from which cloudy products were left out tile by tile. More than half of
    the companions must have the pass: where a datatake ends, the tiles beyond its end are not missed.
``rhythm``
    No tile has a pass that was due between the first and the last pass of one satellite on this orbit (``rhythm_of``).
``late``
    Passes that have been due since the last one of a satellite. Nothing is said of a satellite that was withdrawn: one
    that shows up nowhere any more, while others went on for two periods.

The last two concern all tiles that the orbit passes over on at least ``MIN_TOGETHER`` days.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from s4c_hpc.catalog.acquisitions import Acquisition, Acquisitions, datatake_of, pass_days
from s4c_hpc.catalog.footprint import Bounds
from s4c_hpc.catalog.rhythm import rhythm_of

MIN_TOGETHER = 3
"""Passes."""
MIN_SHARE = 0.8

NEIGHBOURS = "neighbours"
RHYTHM = "rhythm"
LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Days on which an orbit's pass is not there for some tiles."""

    rule: str
    """``neighbours``, ``rhythm`` or ``late``: see the module."""
    sensor: str
    orbit: int
    tiles: tuple[str, ...]
    """Sorted, with parcels."""
    days: tuple[dt.date, ...]
    """Ascending."""
    mission: str
    """That was due; empty for ``neighbours``."""


@dataclass(frozen=True, slots=True)
class Orbit:
    """All passes on one relative orbit of one sensor, within the season."""

    sensor: str
    number: int
    seen: Mapping[str, set[dt.date]]
    """By tile, passes that it has any product of, usable or not: also a broken one tells of its pass."""
    by_mission: Mapping[str, set[dt.date]]
    """By mission, passes of any tile."""


def orbits(rows: Iterable[Acquisition], first: dt.date, until: dt.date) -> list[Orbit]:
    """Passes from ``first`` to ``until`` by sensor and relative orbit; rows without a day or an orbit are left out."""
    listed = list(rows)
    starts = pass_days(listed)
    seen: dict[tuple[str, int], dict[str, set[dt.date]]] = defaultdict(lambda: defaultdict(set))
    missions: dict[tuple[str, int], dict[str, set[dt.date]]] = defaultdict(lambda: defaultdict(set))
    for row in listed:
        if row.day is None or row.orbit is None:
            continue
        day = starts.get(datatake_of(row.datatake), row.day)
        if first <= day <= until:
            orbit = (row.sensor, row.orbit)
            seen[orbit][row.tile].add(day)
            missions[orbit][row.mission].add(day)
    return [Orbit(*key, seen[key], missions[key]) for key in sorted(seen)]


def absent(acquisitions: Acquisitions, tiles: Collection[str], passes: Iterable[Orbit], until: dt.date) -> list[Absent]:
    """Everything that the three rules find, by rule, sensor, orbit and tiles.

    Parameters
    ----------
    tiles : those with parcels; others serve as neighbours
    passes : of the season, see ``orbits``
    until : last day on which a pass could be there by now
    """
    next_to = adjacent(acquisitions.bounds)
    newest = _last_days(acquisitions.rows, until)
    found: list[Absent] = []
    for orbit in passes:
        found += _missing_beside(orbit, sorted(tiles), next_to)
        found += _missing_in_time(orbit, sorted(tiles), newest, until)
    order = (NEIGHBOURS, RHYTHM, LATE)
    return sorted(found, key=lambda a: (order.index(a.rule), a.sensor, a.orbit, a.tiles, a.mission))


def adjacent(bounds: Mapping[str, Bounds]) -> dict[str, set[str]]:
    """Tiles whose outlines touch, both ways."""
    found: dict[str, set[str]] = {tile: set() for tile in bounds}
    # From west to east: a tile is compared with those only that begin before it ends.
    ordered = sorted((_unwrapped(box), tile) for tile, box in bounds.items())
    around = [((west + 360.0, south, east + 360.0, north), tile) for (west, south, east, north), tile in ordered]
    line = [*ordered, *around]
    for i, ((_, south, east, north), tile) in enumerate(ordered):
        for (west, other_south, _, other_north), other in line[i + 1 :]:
            if west > east:
                break
            if other_south <= north and other_north >= south and other != tile:
                found[tile].add(other)
                found[other].add(tile)
    return found


def _unwrapped(box: Bounds) -> Bounds:
    west, south, east, north = box
    return west, south, (east if east >= west else east + 360.0), north


def _missing_beside(orbit: Orbit, tiles: Iterable[str], next_to: Mapping[str, set[str]]) -> Iterator[Absent]:
    for tile in tiles:
        own = orbit.seen.get(tile, set())
        if len(own) < MIN_TOGETHER:
            continue
        companions = [
            there
            for other in next_to.get(tile, ())
            if len(own & (there := orbit.seen.get(other, set()))) >= max(MIN_TOGETHER, MIN_SHARE * len(there))
        ]
        witnesses = Counter(day for there in companions for day in there - own)
        days = [day for day, n in witnesses.items() if n * 2 > len(companions)]
        if days:
            yield Absent(
                rule=NEIGHBOURS,
                sensor=orbit.sensor,
                orbit=orbit.number,
                tiles=(tile,),
                days=tuple(sorted(days)),
                mission="",
            )


def _missing_in_time(
    orbit: Orbit, tiles: Iterable[str], newest: Mapping[tuple[str, str], dt.date], until: dt.date
) -> Iterator[Absent]:
    crossed = tuple(tile for tile in tiles if len(orbit.seen.get(tile, ())) >= MIN_TOGETHER)
    if not crossed:
        return
    for mission, days in sorted(orbit.by_mission.items()):
        rhythm = rhythm_of(days)
        if rhythm is None:
            continue
        last = newest[orbit.sensor, mission]
        others = [day for (sensor, name), day in newest.items() if sensor == orbit.sensor and name != mission]
        withdrawn = any((day - last).days >= 2 * rhythm.period for day in others)
        for rule, due in ((RHYTHM, rhythm.skipped), (LATE, () if withdrawn else rhythm.due_after(until))):
            # Another satellite may have come instead, when one took over the other's place.
            if due := tuple(day for day in due if not any(day in there for there in orbit.by_mission.values())):
                yield Absent(
                    rule=rule, sensor=orbit.sensor, orbit=orbit.number, tiles=crossed, days=due, mission=mission
                )


def _last_days(rows: Iterable[Acquisition], until: dt.date) -> dict[tuple[str, str], dt.date]:
    """Newest day of each sensor's missions."""
    newest: dict[tuple[str, str], dt.date] = {}
    for row in rows:
        if row.day is not None and row.day <= until:
            key = (row.sensor, row.mission)
            newest[key] = max(newest.get(key, row.day), row.day)
    return newest
