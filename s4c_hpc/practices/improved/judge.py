"""From observations and declarations to columns and decisions by the improved rules: the one door to them.

As in reference mode, a parcel is judged by itself, whatever others of its block are. Nothing has to be there: what is
missing makes a decision weaker, or leaves it undecided with the reason.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import OpticalEventRules, PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.practices.codes import NA_DAY, NO_DAY, Codes, Index, Practice, Seen, Status
from s4c_hpc.practices.days import Days, as_yyyymmdd, day_number, iso_week, monday
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.gaps import HARVEST_DAYS, MANY, missing_weeks
from s4c_hpc.practices.improved.catch_crop import catch_crop
from s4c_hpc.practices.improved.confidence import grade
from s4c_hpc.practices.improved.decisions import (
    Decisions,
    source_of,
    the_cut,
    the_harvest,
    the_practice,
    the_tillage,
    unjudged,
)
from s4c_hpc.practices.improved.event import Event
from s4c_hpc.practices.improved.ground import dated_by_ground, event_rules
from s4c_hpc.practices.improved.harvest import Harvest, harvest
from s4c_hpc.practices.improved.mowing import mowing
from s4c_hpc.practices.improved.optical import Loss, optical_loss
from s4c_hpc.practices.improved.practice import NOT_BEGUN, NOT_OVER, NOTHING_SEEN, Practised, fallow, nitrogen_fixing
from s4c_hpc.practices.improved.radar import Radar, radar_changes, radar_limits
from s4c_hpc.practices.improved.season import Season, can_be_judged
from s4c_hpc.practices.improved.tillage import tillage
from s4c_hpc.practices.judge import Columns, nothing
from s4c_hpc.practices.product import added_columns
from s4c_hpc.practices.weeks import FAR


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarWeeks:
    """Weeks of n parcels with radar, of all weeks of a calendar."""

    monday: Days
    """(n, m) ``FAR`` where there is no radar."""

    @property
    def there(self) -> NDArray[np.bool_]:
        """(n, m) weeks with radar."""
        known: NDArray[np.bool_] = self.monday < FAR
        return known

    @property
    def last(self) -> Days:
        """(n,) Monday of the last week; -``FAR`` if there is none."""
        latest: Days = np.where(self.there, self.monday, -FAR).max(axis=1, initial=-FAR)
        return latest


def judge_improved(
    season: Season,
    declared: Declared,
    rules: PracticeRules,
    improved: ImprovedRules,
    optical: OpticalEventRules,
    status: Codes,
    until: int,
) -> tuple[Columns, list[Decisions]]:
    """Columns of n parcels, and what they stand on.

    Parameters
    ----------
    status : (n,) what is missing of each; only those without series or season cannot be judged
    until : last day on which radar could have been acquired

    Returns
    -------
    (n,) by name; decisions, whose rows are places of parcels
    """
    can = can_be_judged(status)
    columns = _nothing(status, declared, rules)
    decisions = [unjudged(np.flatnonzero(~can), status[~can])]
    if can.any():
        small = status[can] == Status.FEW_PIXELS
        own_optical = event_rules(optical, rules)
        own, made = _judged(
            season.of(can).without_radar(small).one_a_pass().without_clouds(own_optical),
            declared.of(can),
            rules,
            improved,
            own_optical,
            status[can],
            until,
        )
        for name, values in own.items():
            columns[name][can] = values
        decisions += [one.moved(np.flatnonzero(can)) for one in made]
    return columns, decisions


def _judged(
    season: Season,
    declared: Declared,
    rules: PracticeRules,
    improved: ImprovedRules,
    optical: OpticalEventRules,
    status: Codes,
    until: int,
) -> tuple[Columns, list[Decisions]]:
    radar = radar_changes(season, radar_limits(rules, improved))
    loss = optical_loss(season, declared, rules, improved)
    loss = dated_by_ground(loss, season, declared, optical, improved)
    found = harvest(season, loss, radar, declared, rules, improved)
    weeks, last_seen = _radar_weeks(season), _last_seen(season)
    decisions = [the_harvest(found)]
    none = _without(found.confidence)
    week = np.where(found.found, found.week, none)
    columns: Columns = {
        "L_WEEK": _day(np.where(weeks.last > -FAR, weeks.last, np.int64(-10000))),
        **{f"M{i + 1}": np.ascontiguousarray(found.markers[:, i]) for i in range(5)},
        "H_WEEK": np.where(week >= 0, iso_week(week), week).astype(np.int32),
        "H_W_START": _day(week),
        "H_W_END": _day(np.where(week >= 0, week + 6, week)),
        "H_W_S1": _day(found.week_s1),
        "H_CONF": found.confidence.astype(np.float32),
        "H_SOURCE": source_of(found),
        "H_EVENT_START": _day(np.where(found.found, found.start, none)),
        "H_EVENT_END": _day(np.where(found.found, found.end, none)),
    }
    practised = _practice(season, radar, loss, found, declared, rules, improved, optical, last_seen)
    if practised is None:
        n = len(week)
        columns |= {f"M{i}": np.full(n, Seen.NR, np.int8) for i in range(6, 11)}
        columns |= {
            "C_INDEX": np.full(n, Index.NA, np.int8),
            "C_CONF": np.full(n, np.nan, np.float32),
            "C_SOURCE": np.zeros(n, np.int8),
            "P_START": _day(declared.p_start),
            "P_END": _day(declared.p_end),
        }
        p_start, p_end = declared.p_start, declared.p_end
    else:
        practised = _decided(practised, status, last_seen, improved)
        made = the_practice(declared.practice, practised)
        decisions.append(made)
        judged = practised.judged
        p_start, p_end = judged.p_start, judged.p_end
        columns |= {
            **{f"M{i}": getattr(judged, f"m{i}") for i in range(6, 11)},
            "C_INDEX": judged.index,
            "C_CONF": practised.confidence.astype(np.float32),
            "C_SOURCE": made.source,
            "P_START": _day(p_start),
            "P_END": _day(p_end),
        }
    columns |= _gaps(weeks, declared, p_start, p_end, week, found, until)
    if declared.practice == Practice.FALLOW:
        has_period = (p_start >= 0) & (p_end >= 0)
        cut = mowing(season, radar, np.where(has_period, p_start, FAR), p_end, rules, improved)
        decisions.append(the_cut(cut, p_start, p_end, improved))
        columns |= _event("MOW", cut, improved)
    else:
        no_cut = np.full(len(week), np.int32(NO_DAY))
        columns |= {"MOW_START": no_cut, "MOW_END": no_cut.copy(), "MOW_CONF": np.full(len(week), np.float32(np.nan))}
    if rules.tillage:
        after = np.where(found.found, found.end, NO_DAY)
        last = (
            np.full(len(week), until)
            if rules.tillage_to is None
            else np.full(len(week), declared.day(rules.tillage_to))
        )
        turned = tillage(season, radar, after, last, rules, improved)
        decisions.append(the_tillage(turned, found.found, improved))
        columns |= _tilled(turned, improved)
    return columns, decisions


def _practice(
    season: Season,
    radar: Radar,
    loss: Loss,
    found: Harvest,
    declared: Declared,
    rules: PracticeRules,
    improved: ImprovedRules,
    optical: OpticalEventRules,
    last_seen: Days,
) -> Practised | None:
    if declared.practice == Practice.NA:
        return None
    if declared.practice == Practice.CATCH_CROP:
        return catch_crop(season, radar, loss, found, declared, rules, improved, optical, last_seen)
    own = fallow if declared.practice == Practice.FALLOW else nitrogen_fixing
    return own(season, radar, found, declared, rules, improved)


def _decided(practised: Practised, status: Codes, last_seen: Days, improved: ImprovedRules) -> Practised:
    """With nothing said of periods that are not known, have not begun, are not over, or of which nothing was seen."""
    judged, cover = practised.judged, practised.cover
    without = status == Status.NO_PERIOD
    not_begun = ~without & (last_seen <= judged.p_start)
    not_over = ~without & ~not_begun & (monday(judged.p_end) > last_seen)
    nothing_seen = (cover.looks == 0) & (cover.orbits == 0) & ~(without | not_begun | not_over)
    confidence = np.where(without | not_begun | not_over | nothing_seen, np.nan, practised.confidence)
    reason = np.select(
        [without, not_begun, not_over, nothing_seen],
        ["the practice is declared without a period", NOT_BEGUN, NOT_OVER, NOTHING_SEEN],
        practised.reason,
    )
    index = grade(confidence, improved)
    index = np.where(nothing_seen | without, np.int8(Index.NA), index).astype(np.int8)
    blank = judged.where(without | not_begun, Seen.NR, Index.NR)
    return replace(practised, judged=replace(blank, index=index), confidence=confidence, reason=reason)


def _without(confidence: Floats) -> Days:
    """(n,) what stands for a day where nothing was found: NA where nobody could tell, as the evidence says."""
    return np.where(np.isnan(confidence), NA_DAY, NO_DAY)


def _event(name: str, event: Event, improved: ImprovedRules) -> Columns:
    is_found = event.confidence >= improved.least_confidence - 1e-9
    none = _without(event.confidence)
    return {
        f"{name}_START": _day(np.where(is_found, event.start, none)),
        f"{name}_END": _day(np.where(is_found, event.end, none)),
        f"{name}_CONF": event.confidence.astype(np.float32),
    }


def _tilled(turned: Event, improved: ImprovedRules) -> Columns:
    """The reference's columns: the week, NO-TILLAGE where there was none, NA where it could not be seen.

    The reference says NO-TILLAGE only where vegetation came first.
    """
    is_found = turned.confidence >= improved.weak_confidence - 1e-9
    week = np.where(is_found, monday(turned.end), np.where(np.isnan(turned.confidence), NA_DAY, NO_DAY))
    return {
        "TL_WEEK": np.where(week >= 0, iso_week(week), week).astype(np.int32),
        "TL_W_START": _day(week),
        "TL_W_END": _day(np.where(week >= 0, week + 6, week)),
        "TL_CONF": turned.confidence.astype(np.float32),
    }


def _gaps(
    weeks: RadarWeeks, declared: Declared, p_start: Days, p_end: Days, week: Days, found: Harvest, until: int
) -> Columns:
    n = len(week)
    year = np.full(n, day_number(dt.date(declared.year, 1, 1)))
    before = missing_weeks(weeks, np.where(week >= 0, week - HARVEST_DAYS, NO_DAY), week, less=0)
    practice = missing_weeks(weeks, p_start, p_end)
    return {
        "S1GAPS": missing_weeks(weeks, year, np.full(n, until)).astype(np.int32),
        "H_S1GAPS": missing_weeks(weeks, declared.h_start, declared.h_end).astype(np.int32),
        "P_S1GAPS": practice.astype(np.int32),
        "H_W_S1GAPS": before.astype(np.int32),
        "H_QUALITY": ((week >= 0) & (found.week_s1 >= 0) & (before >= MANY)).astype(np.int8),
        "C_QUALITY": (practice >= MANY).astype(np.int8),
    }


def _nothing(status: Codes, declared: Declared, rules: PracticeRules) -> Columns:
    """Columns of parcels that cannot be judged."""
    n = len(status)
    columns = nothing(status, declared, rules)
    missing = columns["H_W_START"]
    for name in added_columns(tillage=rules.tillage):
        if name.endswith("CONF"):
            columns[name] = np.full(n, np.nan, np.float32)
        else:
            columns[name] = np.zeros(n, np.int8) if name.endswith("SOURCE") else missing.copy()
    return columns


def _radar_weeks(season: Season) -> RadarWeeks:
    """Weeks with backscatter or coherence."""
    seen = season.seen
    days = np.concatenate([seen.amplitude_day, seen.coherence_day])
    values = np.concatenate([np.isfinite(seen.ratio_db), np.isfinite(seen.coherence)], axis=1)
    if not days.size:
        return RadarWeeks(monday=np.full((len(values), 1), FAR))
    order = np.argsort(days, kind="stable")
    calendar, first = np.unique(monday(days[order]), return_index=True)
    there = np.logical_or.reduceat(values[:, order], first, axis=1)
    return RadarWeeks(monday=np.where(there, calendar, FAR))


def _last_seen(season: Season) -> Days:
    """(n,) last day with any value."""
    seen = season.seen
    latest = np.full(len(seen.ndvi), -FAR)
    for values, day in (
        (seen.ratio_db, seen.amplitude_day),
        (seen.coherence, seen.coherence_day),
        (seen.ndvi, seen.ndvi_day),
    ):
        if day.size:
            latest = np.maximum(latest, np.where(np.isfinite(values), day, -FAR).max(axis=1))
    return latest


def _day(days: Days) -> NDArray[np.int32]:
    return as_yyyymmdd(days)
