"""The harvest: the week for which strands of evidence together say most, how sure it is, and between which days it was.

NDVI that shows that nothing was lost leaves little of what radar says; radar that was there and shows nothing takes a
part of what NDVI says alone. Of weeks that are equally sure the first one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.practices.codes import NO_DAY, Codes, Seen
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.optical import FALLS, Loss
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.improved.strands import Strands, strand_limits, strands
from s4c_hpc.practices.optical_events import DATING

OPTICAL: Final = 1
COHERENCE: Final = 2
BACKSCATTER: Final = 4
AGAINST: Final = 8
"""NDVI shows that nothing was lost."""
SILENT: Final = 16
"""Radar was there and shows nothing."""

GROUND: Final = 32
"""Indices of bare ground date the loss of NDVI."""

Windows = tuple[Days, Days]
"""(n,) and (n,) days; nothing where the second is not after the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """Of n parcels."""

    week: Days
    """(n,) Monday of the week of the first observation after it, or of the week that comes nearest; ``NO_DAY``."""
    confidence: Floats
    """(n,) of that week; NaN where nothing was observed when it may be harvested."""
    found: NDArray[np.bool_]
    """(n,) whether the confidence is enough."""
    strands: NDArray[np.int8]
    """(n,) bits: which strands speak for it, and which against."""
    doubts: NDArray[np.uint8]
    """(n,) bits of ``Doubt`` of the rise of coherence that counts most."""
    markers: Codes
    """(n, 5) M1 to M5 of that week."""
    start: Days
    """(n,) last observation before the event."""
    end: Days
    """(n,) first one after it."""
    week_s1: Days
    """(n,) Monday of the week that radar alone finds; ``NO_DAY``."""
    values: dict[str, Floats]
    """(n,) evidence by name; NDVI in thousandths, NaN where there is none."""


def harvest(
    season: Season, loss: Loss, radar: Radar, declared: Declared, rules: PracticeRules, improved: ImprovedRules
) -> Harvest:
    """The harvest of n parcels."""
    made = strands(season, loss, radar, strand_limits(rules, improved))
    of_radar = made.radar
    against = made.stays
    was_watched = (made.m5 == Seen.FALSE) | ((made.m5 == Seen.NA) & (made.m3 == Seen.FALSE))
    silent = (made.optical > 0) & (of_radar == 0) & was_watched
    total = 1.0 - (1.0 - made.optical) * (1.0 - of_radar)
    total *= np.where(against, improved.against_share, 1.0) * np.where(silent, improved.silent_share, 1.0)

    first, last = declared.harvest_from, monday(declared.h_end)
    inside = (loss.calendar >= first[:, None]) & (loss.calendar <= last[:, None])
    is_green = (loss.vegetation == -1)[:, None] | (loss.vegetation_day[:, None] <= loss.calendar + 6)
    inside &= is_green & (loss.vegetation != 0)[:, None]
    known = inside & ~((made.m2 == Seen.NA) & (made.m3 == Seen.NA) & (made.m5 == Seen.NA))
    at = _best(total, known)
    there = at >= 0
    confidence = np.where(there, _at(total, at), np.nan)
    event = _dated(season, loss, radar, made, improved, at)
    start = np.where(event[1] > event[0], event[0], loss.calendar[at])
    end = np.where(event[1] > event[0], event[1], loss.calendar[at] + 6 + 7 * improved.tolerance_weeks)

    at_s1 = _best(of_radar, inside & (of_radar >= improved.least_confidence - 1e-9))
    _, end_s1 = _of_radar(season, radar, made, improved, at_s1)
    end_s1 = np.where(end_s1 > 0, end_s1, loss.calendar[at_s1])

    bits = np.zeros(len(at), np.int8)
    for bit, flags in (
        (OPTICAL, made.optical > 0),
        (COHERENCE, made.pair >= 0),
        (BACKSCATTER, made.step >= 0),
        (AGAINST, against),
        (SILENT, silent),
    ):
        bits |= np.where(_at(flags, at), np.int8(bit), np.int8(0))
    bits |= np.where(loss.by_ground & ((bits & OPTICAL) > 0), np.int8(GROUND), np.int8(0))
    pair = _at(made.pair, at)
    doubts = np.where(there & (pair >= 0), _taken(season.doubts.flags, pair, 0), 0).astype(np.uint8)
    m1 = np.where(loss.vegetation == 1, np.int8(Seen.TRUE), np.int8(Seen.NA))
    markers = np.stack([m1, *(_at(one, at) for one in (made.m2, made.m3, made.m4, made.m5))], axis=1)
    markers[~there] = Seen.NA
    # Looks that show no vegetation at all leave nothing that could be harvested.
    bare = loss.vegetation == 0
    confidence[bare] = 0.0
    markers[bare] = (Seen.FALSE, Seen.NR, Seen.NR, Seen.NR, Seen.NR)
    return Harvest(
        week=np.where(there, np.clip(monday(end), first, last), NO_DAY),
        confidence=confidence,
        found=confidence >= improved.least_confidence - 1e-9,
        strands=np.where(there, bits, 0).astype(np.int8),
        doubts=doubts,
        markers=markers.astype(np.int8),
        start=np.where(there, start, NO_DAY),
        end=np.where(there, end, NO_DAY),
        week_s1=np.where(at_s1 >= 0, np.clip(monday(end_s1), first, last), NO_DAY),
        values=_values(season, loss, radar, made, at),
    )


def _best(total: Floats, among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) first of the weeks with the highest number; -1 if none is among."""
    # Products of the same numbers in another order differ in the last digits.
    at = np.where(among, np.round(total, 9), -1.0).argmax(axis=1)
    return np.where(among.any(axis=1), at, -1)


def _at(values: NDArray[Any], at: NDArray[np.int64]) -> NDArray[Any]:
    """(n,) of (n, m) in one week of each parcel; of the last week for -1."""
    return values[np.arange(len(at)), at]


def _taken(values: NDArray[Any], place: NDArray[Any], missing: float) -> NDArray[Any]:
    """(n,) of (n, k) at a place of each parcel; ``missing`` for -1."""
    if values.shape[1] == 0:
        return np.full(len(place), missing)
    return np.where(place >= 0, values[np.arange(len(place)), place], missing)


def _days(day: Days, place: NDArray[Any]) -> Days:
    """(n,) days of places; 0 for -1."""
    if day.size == 0:
        return np.zeros(len(place), np.int64)
    return np.where(place >= 0, day[place], 0)


def _dated(
    season: Season,
    loss: Loss,
    radar: Radar,
    made: Strands,
    improved: ImprovedRules,
    at: NDArray[np.int64],
) -> Windows:
    """Days of the event: NDVI dates it if it saw it fall, radar narrows that."""
    week = _at(made.optical_week, at)
    falls = (week >= 0) & (_taken(loss.state, week, 0) == FALLS)
    look_before, look_after = (
        np.where(falls, _taken(one, week, -1), -1).astype(np.int16) for one in (loss.look_before, loss.look_after)
    )
    optical = _days(season.seen.ndvi_day, look_before), _days(season.seen.ndvi_day, look_after)
    return _narrowed(optical, _of_radar(season, radar, made, improved, at))


def _of_radar(
    season: Season,
    radar: Radar,
    made: Strands,
    improved: ImprovedRules,
    at: NDArray[np.int64],
) -> Windows:
    """Days between which radar saw the event.

    A rise of coherence: the pair before still saw it, this one does not, so it lies between the first days of both. How
    long pairs are is not known, but not longer than the days between their ends, and hardly shorter than usual.
    """
    seen = season.seen
    pair = np.where(at >= 0, _at(made.pair, at), -1)
    orbit = _days(season.coherence_orbit, pair)
    least = _at(radar.rise_limit, orbit) if season.n_orbits else np.zeros(len(pair))
    rises = (pair >= 0) & (_taken(radar.lasting, pair, 0.0) >= least - 1e-8)
    before = np.where(rises, _taken(radar.pair_before, pair, -1), -1).astype(np.int16)
    earlier, later = _days(seen.coherence_day, before), _days(seen.coherence_day, pair)
    longest = later - earlier
    shortest = np.minimum(longest, np.int64(improved.pair_days))
    coherence = np.where(before >= 0, earlier - longest, 0), np.where(before >= 0, later - shortest, 0)
    step = np.where(at >= 0, _at(made.step, at), -1)
    before = np.where(step >= 0, _taken(radar.ratio_before, step, -1), -1).astype(np.int16)
    late = np.where(before >= 0, _days(seen.amplitude_day, step), 0)
    return _narrowed(coherence, (_days(seen.amplitude_day, before), late))


def _narrowed(one: Windows, other: Windows) -> Windows:
    """What two windows have in common; the first one if that is nothing, the second one where the first is empty."""
    start, end = np.maximum(one[0], other[0]), np.minimum(one[1], other[1])
    is_empty, overlap = one[1] <= one[0], start < end
    return (
        np.where(is_empty, other[0], np.where(overlap, start, one[0])),
        np.where(is_empty, other[1], np.where(overlap, end, one[1])),
    )


def _values(season: Season, loss: Loss, radar: Radar, made: Strands, at: NDArray[np.int64]) -> dict[str, Floats]:
    """What the decision was made of."""
    seen = season.seen
    week = np.where(at >= 0, _at(made.optical_week, at), -1)
    pair, step = (np.where(at >= 0, _at(one, at), -1) for one in (made.pair, made.step))
    before = _taken(radar.pair_before, pair, -1).astype(np.int16)
    days = _days(seen.coherence_day, pair) - _days(seen.coherence_day, before)
    agree = _at(((made.coherence > 0) | (made.backscatter > 0)).sum(axis=2), at)

    looks = {
        when: _taken(places, week, -1).astype(np.int16)
        for when, places in (("before", loss.look_before), ("after", loss.look_after))
    }
    return {
        **{f"ndvi_{when}": _taken(seen.ndvi, column, np.nan) for when, column in looks.items()},
        **{
            f"{name}_{when}": _taken(season.ground[name], column, np.nan)
            for name in DATING
            if name in season.ground
            for when, column in looks.items()
        },
        "ndvi_limit": loss.limit,
        "coherence_before": _taken(radar.level, pair, np.nan),
        "coherence_after": _taken(seen.coherence, pair, np.nan),
        "coherence_rise": _taken(radar.lasting, pair, np.nan),
        "pair_days": np.where(before >= 0, days, np.nan),
        "ratio_rise_db": _taken(radar.step_db, step, np.nan),
        "orbits": np.where(at >= 0, agree, np.nan),
        "rain_mm": _taken(season.doubts.rain_mm, pair, np.nan),
        "common_rise": _taken(season.doubts.common, pair, np.nan),
    }
