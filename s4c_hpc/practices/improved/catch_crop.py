"""Catch crops by the improved rules: when one stood, if that is not declared, and how sure it is that it was there.

Cover is what NDVI shows after emergence and no orbit contradicts: weights of looks that stay green and of quiet orbits
add up, each contradiction leaves a share. The reference counts markers that are FALSE, all alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import OpticalEventRules, PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.core.jit import helper, kernel
from s4c_hpc.practices.catch_crop import EMERGED_DAYS, SETTLED_DAYS
from s4c_hpc.practices.codes import NO_DAY, Index, Seen
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import Flags, Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.confidence import combined
from s4c_hpc.practices.improved.cover import Cover, cover, cover_limits
from s4c_hpc.practices.improved.harvest import Harvest
from s4c_hpc.practices.improved.optical import Loss
from s4c_hpc.practices.improved.practice import NOMINAL, Practised, looked, watched
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.judged import Judged
from s4c_hpc.practices.optical_events import optical_catch_crop

_BESIDE_DAYS = 7
"""A rise of coherence and a growth of VV - VH so near to each other are one working of the soil."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stood:
    """What was seen of n parcels in a period."""

    first: Days
    last: Days
    cover: Cover
    value: Floats
    """(n,) confidence that a cover came up and stayed."""
    is_weeds: Flags
    """(n,) whether it is green without having come up after bare ground."""

    def where(self, rows: Flags, other: _Stood) -> _Stood:
        """With another period for some parcels."""

        def chosen(one: Any, two: Any) -> Any:
            return np.where(rows, two, one).astype(one.dtype)

        names = self.cover.__dataclass_fields__
        cover = Cover(**{name: chosen(getattr(self.cover, name), getattr(other.cover, name)) for name in names})
        rest = {
            name: chosen(getattr(self, name), getattr(other, name)) for name in ("first", "last", "value", "is_weeds")
        }
        return _Stood(cover=cover, **rest)


@dataclass(frozen=True, slots=True)
class _Stand:
    """Whether a catch crop stood in a period."""

    season: Season
    radar: Radar
    harvest: Harvest
    rules: PracticeRules
    improved: ImprovedRules
    optical: OpticalEventRules

    def in_period(self, first: Days, last: Days) -> _Stood:
        """What was seen of parcels from a day to another (n,)."""
        seen, harvest = self.season.seen, self.harvest
        limits = cover_limits(self.rules)
        found = cover(self.season, self.radar, first, last, limits, emerged=EMERGED_DAYS, settled=SETTLED_DAYS)
        since = np.where(harvest.found, harvest.end, NO_DAY)
        grown = optical_catch_crop(seen.ndvi_day, seen.ndvi / 1000, since, first, last, self.optical)
        # Weeds on stubble, and volunteers that are turned under, are green as well.
        stays = (found.m6 == Seen.TRUE) & (found.m7 != Seen.FALSE) & (found.m8 != Seen.FALSE)
        is_weeds = harvest.found & stays & (found.looks >= self.optical.catch_looks) & ~grown.found
        value = covered(found, self.improved) * np.where(is_weeds, self.improved.silent_share, 1.0)
        return _Stood(first=first, last=last, cover=found, value=value, is_weeds=is_weeds)


def catch_crop(
    season: Season,
    radar: Radar,
    loss: Loss,
    harvest: Harvest,
    declared: Declared,
    rules: PracticeRules,
    improved: ImprovedRules,
    optical: OpticalEventRules,
    last_seen: Days,
) -> Practised:
    """Judge the catch crops of n parcels; a period without end is searched for.

    Parameters
    ----------
    last_seen : (n,) last day with any observation
    """
    own = _Stand(season, radar, harvest, rules, improved, optical)
    earliest = _earliest(season, radar, harvest, declared, rules, last_seen)
    days = rules.catch_crop_days
    stood = own.in_period(*earliest)
    if days is not None and (declared.p_end < 0).any():
        # One that came up later than the soil allowed is none the worse for it.
        latest = declared.p_start, declared.p_start + days - 1
        later = own.in_period(*latest)
        is_over = monday(latest[1]) <= last_seen
        # While that one may still come up, the earlier one is not called weak.
        is_better = np.where(is_over, later.value > stood.value, stood.value < improved.moderate_confidence)
        is_later = (declared.p_start >= 0) & (declared.p_end < 0) & is_better
        stood = stood.where(is_later, later)
    first, last, found, value = stood.first, stood.last, stood.cover, stood.value

    is_undersown = np.isin(declared.p_type, rules.undersown_types)
    is_late = harvest.found & (harvest.start > first) & ~is_undersown
    reaped = np.where(harvest.found, np.nan_to_num(harvest.confidence), 0.0)
    poor = NOMINAL[Index.POOR]
    without = np.where(is_undersown | loss.dropped, value, np.minimum(value, poor))
    value = reaped * np.where(is_late, np.minimum(value, poor), value) + (1.0 - reaped) * without
    bare = loss.vegetation == 0
    n = len(value)
    judged = Judged(
        p_start=first,
        p_end=last,
        m6=found.m6,
        m7=found.m7,
        m8=found.m8,
        m9=found.m9,
        m10=found.m10,
        index=np.full(n, np.int8(Index.NR)),
        without_harvest=np.zeros(n, bool),
    )
    return Practised(
        judged=judged,
        confidence=np.where(bare, np.nan, value),
        reason=_reason(found, bare, is_late, ~is_undersown & ~harvest.found & ~loss.dropped, stood.is_weeds),
        cover=found,
    )


def covered(found: Cover, improved: ImprovedRules) -> Floats:
    """(n,) confidence that a cover came up and stayed."""
    share = np.where(found.looks > 0, found.green / np.maximum(found.looks, 1), 0.0)
    value = combined(looked(found, improved) * share, watched(found, improved))
    value = value * np.where(found.m6 == Seen.FALSE, improved.against_share, 1.0)
    is_lost = (found.m7 == Seen.FALSE) | (found.m8 == Seen.FALSE)
    value = value * np.where(is_lost & (found.m6 != Seen.FALSE), improved.silent_share, 1.0)
    value = value * (1.0 - improved.weight_coherence) ** found.orbits_with_loss.astype(np.float64)
    return value * np.where(found.m9 == Seen.FALSE, 1.0 - improved.weight_backscatter, 1.0)


def _reason(
    found: Cover,
    bare: Flags,
    is_late: Flags,
    is_kept: Flags,
    is_weeds: Flags,
) -> NDArray[np.str_]:
    """(n,) why, by what weighs most."""
    said: NDArray[np.str_] = np.select(
        [
            bare,
            is_kept,
            is_late,
            found.m6 == Seen.FALSE,
            (found.m7 == Seen.FALSE) | (found.m8 == Seen.FALSE),
            found.m10 == Seen.FALSE,
            found.m9 == Seen.FALSE,
            is_weeds,
            (found.looks > 0) & (found.orbits > 0),
            found.looks > 0,
            found.orbits > 0,
        ],
        [
            "no vegetation in the season",
            "no harvest and no loss of vegetation before",
            "sown before the harvest",
            "NDVI shows no cover",
            "the cover did not stay, by NDVI",
            "the soil was worked or stayed bare, by coherence",
            "the cover went, by backscatter",
            "green, but nothing came up after bare ground and stood",
            "cover by NDVI and radar",
            "cover by NDVI alone",
            "no NDVI in the period; radar is quiet",
        ],
        "no NDVI and no radar in the period",
    )
    return said


def _earliest(
    season: Season, radar: Radar, harvest: Harvest, declared: Declared, rules: PracticeRules, last_seen: Days
) -> tuple[Days, Days]:
    """(n,) and (n,) days: the declared ones, or the earliest that the last working of the soil before sowing allows."""
    days = rules.catch_crop_days
    if days is None:
        return declared.p_start, declared.p_end
    latest = declared.p_start
    no_earlier = np.int64(-(2**40)) if rules.catch_crop_from is None else np.int64(declared.day(rules.catch_crop_from))
    begins = np.maximum(np.where(harvest.found, np.minimum(harvest.end, latest), latest), no_earlier)
    start = begins.copy()
    seen = season.seen
    _last_work(
        (begins, latest, days),
        (seen.ndvi_day, np.ascontiguousarray(seen.ndvi)),
        (seen.coherence_day, season.coherence_orbit, radar.lasting, np.ascontiguousarray(season.doubts.flags)),
        (seen.amplitude_day, season.amplitude_orbit, radar.step_db, radar.step_limit_db),
        (rules.coherence_rise, float(rules.ndvi_down), float(rules.ndvi_up), rules.catch_crop_share),
        start,
    )
    start = np.where(last_seen - begins >= days - 1, np.maximum(start, no_earlier), latest)
    # Without a first day there is nothing to search from.
    is_given = (declared.p_end >= 0) | (declared.p_start < 0)
    return np.where(is_given, declared.p_start, start), np.where(is_given, declared.p_end, start + days - 1)


@kernel
def _last_work(
    period: tuple[Days, Days, int],
    optical: tuple[Days, Floats],
    pairs: tuple[Days, Days, Floats, NDArray[np.uint8]],
    backscatter: tuple[Days, Days, Floats, Floats],
    limits: tuple[float, float, float, float],
    start: Days,
) -> None:
    """Move ``start`` to the last working of the soil; of two as far apart as a catch crop stands, to the first one."""
    begins, latest, length = period
    look_day, ndvi = optical
    day, orbit, rise, flags = pairs
    other_day, other_orbit, step, step_limit = backscatter
    least, down, up, share = limits
    n, d = ndvi.shape
    for p in range(n):
        low, high = np.inf, -np.inf
        for i in range(d):
            if not np.isnan(ndvi[p, i]) and begins[p] <= look_day[i] <= latest[p] + length - 1:
                low, high = min(low, ndvi[p, i]), max(high, ndvi[p, i])
        if high < low:
            low = high = down
        low = min(max(low, down), up)
        bare = low + max((high - low) * share, 10.0)
        last = begins[p]
        for i in range(day.size):
            if day[i] <= begins[p] or day[i] > latest[p] or not rise[p, i] >= least - 1e-8 or flags[p, i]:
                continue
            if not _is_bare(look_day, ndvi[p], day[i], bare):
                continue
            if not _grows(other_day, other_orbit, step[p], step_limit[p], day[i], orbit[i]):
                continue
            if last > begins[p] and day[i] - last >= length:
                break  # a catch crop may have stood between the two
            last = day[i]
        start[p] = last


@helper
def _is_bare(look_day: Days, ndvi: Floats, day: int, bare: float) -> bool:
    """Whether NDVI of the next look is low; without one, nothing speaks against."""
    for i in range(look_day.size):
        if look_day[i] >= day and not np.isnan(ndvi[i]):
            return bool(ndvi[i] < bare)
    return True


@helper
def _grows(day: Days, orbit: Days, step: Floats, limit: Floats, when: int, on: int) -> bool:
    """Whether VV - VH of an orbit grows at about the same time."""
    grows = False
    for i in range(day.size):
        grows = grows or (orbit[i] == on and abs(day[i] - when) <= _BESIDE_DAYS and step[i] > limit[on])
    return grows
