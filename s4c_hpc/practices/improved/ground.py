"""What optical events make of a loss of NDVI: bare ground tells the harvest from ripening, which is weeks earlier.

Indices of bare ground date the harvest where series have them. Where there is no radar either, NDVI alone does, by the
way that it has gone to bare ground: later than by its limit, and still often too early.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s4c_hpc.config.practices import OpticalEventRules, PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.practices.decimals import Flags
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.optical import FALLS, LOW, STAYS, Loss
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.optical_events import DATING, OpticalHarvest, optical_harvest


def event_rules(optical: OpticalEventRules, rules: PracticeRules) -> OpticalEventRules:
    """Rules of optical events with the NDVI of vegetation and of bare ground that a practice has in a country."""
    own = {"vegetation": rules.ndvi_vegetation / 1000, "bare": rules.ndvi_down / 1000}
    return optical.model_copy(update=own)


def dated_by_ground(
    loss: Loss, season: Season, declared: Declared, optical: OpticalEventRules, improved: ImprovedRules
) -> Loss:
    """The loss as bare ground shows it, where that was seen.

    Its window takes the place of the fall of NDVI, and its confidence that of the usual weight if it is more. Where
    there were indices enough and none shows a harvest, a loss of NDVI has a part of its weight left.
    """
    told, seen = _told(season, optical), season.seen
    has_radar = np.isfinite(seen.coherence).any(axis=1) | np.isfinite(seen.ratio_db).any(axis=1)
    asked = told | ~has_radar
    if not asked.any():
        return loss
    found = optical_harvest(seen.ndvi_day, seen.ndvi / 1000, season.ground, declared.h_start, declared.h_end, optical)
    is_seen = asked & found.found
    weight = np.where(told & ~is_seen, loss.weight * improved.silent_share, loss.weight)
    return replace(
        _moved(loss, season, found, is_seen),
        weight=np.where(told & is_seen, np.maximum(found.confidence, weight), weight),
        by_ground=told & is_seen,
        vegetation=np.where(is_seen, np.int8(1), loss.vegetation),
    )


def _told(season: Season, optical: OpticalEventRules) -> Flags:
    """(n,) whether there are looks enough at an index that dates harvests."""
    told = np.zeros(len(season.seen.ndvi), np.bool_)
    for name in DATING:
        if name in season.ground:
            told |= np.isfinite(season.ground[name]).sum(axis=1) >= optical.min_values
    return told


def _moved(loss: Loss, season: Season, found: OpticalHarvest, rows: Flags) -> Loss:
    """The same with the windows of other losses for some parcels."""
    day = season.seen.ndvi_day
    start, end = found.start[:, None], found.end[:, None]
    falls = (loss.calendar + 6 > start) & (loss.calendar <= end)
    later = loss.calendar > end
    was_lost = loss.state > 0
    state = np.where(falls, FALLS, np.where(was_lost, np.where(later, LOW, STAYS), loss.state))
    state = np.where(rows[:, None], state, loss.state).astype(np.int8)
    changed = rows[:, None] & (state > 0)
    before, after = (np.searchsorted(day, one).astype(np.int16) for one in (start, end))
    return replace(
        loss,
        state=state,
        look_before=np.where(changed, before, np.where(rows[:, None], np.int16(-1), loss.look_before)).astype(np.int16),
        look_after=np.where(changed, after, np.where(rows[:, None], np.int16(-1), loss.look_after)).astype(np.int16),
        vegetation_day=np.where(rows, np.minimum(loss.vegetation_day, found.start), loss.vegetation_day),
    )
