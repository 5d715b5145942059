"""From observations and declarations to the columns of the practices product: the one door to the rules.

Every parcel is judged by itself: what it gets depends neither on the others of a block nor on where a block begins.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.catch_crop import catch_crop
from s4c_hpc.practices.codes import NA1_DAY, NA_DAY, NO_DAY, Codes, Index, Practice, Seen, Status
from s4c_hpc.practices.days import Days, as_yyyymmdd, day_number, iso_week
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.fallow import fallow
from s4c_hpc.practices.gaps import HARVEST_DAYS, MANY, missing_weeks
from s4c_hpc.practices.harvest import Harvest, harvest
from s4c_hpc.practices.judged import Judged
from s4c_hpc.practices.nitrogen_fixing import nitrogen_fixing
from s4c_hpc.practices.tillage import tillage
from s4c_hpc.practices.weeks import FAR, Observations, Weeks, weekly

Columns = dict[str, NDArray[np.generic]]

MARKERS: Final = tuple(f"M{i}" for i in range(1, 11))

_JUDGES: Final[Mapping[Practice, Callable[[Observations, Weeks, Harvest, Declared, PracticeRules], Judged]]] = {
    Practice.CATCH_CROP: catch_crop,
    Practice.FALLOW: fallow,
    Practice.NFC: nitrogen_fixing,
}


def judge(observed: Observations, declared: Declared, rules: PracticeRules, status: Codes, until: int) -> Columns:
    """Columns of n parcels.

    Parameters
    ----------
    status : (n,) whether there is enough of each; the others get NA, or NA1 for too few pixels
    until : last day on which radar could have been acquired

    Returns
    -------
    (n,) by name: days as int32 20210726 or a negative code, markers and C_INDEX as int8 codes, the rest as integers
    """
    enough = status == Status.OK
    columns = nothing(status, declared, rules)
    if enough.any():
        own = _judged(observed.of(enough), declared.of(enough), rules, until)
        for name, values in own.items():
            columns[name][enough] = values
    return columns


def _judged(observed: Observations, declared: Declared, rules: PracticeRules, until: int) -> Columns:
    weeks = weekly(observed, rules.max_vv_db)
    found = harvest(weeks, declared, rules)
    if declared.practice == Practice.NA:
        judged = Judged.nothing(declared, Seen.NR, Index.NA)
        index = judged.index
    else:
        judged = _JUDGES[declared.practice](observed, weeks, found, declared, rules)
        # A period that is not over yet is not decided; its markers stay.
        index = np.where(judged.p_end > weeks.last_coherence, np.int8(Index.NR), judged.index)
    last = np.maximum(weeks.there.sum(axis=1) - 1, 0)[:, None]
    columns: Columns = {"L_WEEK": as_yyyymmdd(np.where(weeks.last > -FAR, weeks.last, NA_DAY))}
    for i in range(1, 6):
        columns[f"M{i}"] = np.take_along_axis(getattr(found, f"m{i}"), last, axis=1)[:, 0]
    week = np.where(judged.without_harvest, NO_DAY, found.week)
    columns |= {
        "H_WEEK": np.where(week >= 0, iso_week(week), week).astype(np.int32),
        "H_W_START": as_yyyymmdd(week),
        "H_W_END": as_yyyymmdd(np.where(week >= 0, week + 6, week)),
        "H_W_S1": as_yyyymmdd(np.where(judged.without_harvest, NO_DAY, found.week_s1)),
        **{f"M{i}": getattr(judged, f"m{i}") for i in range(6, 11)},
        "C_INDEX": index,
        "P_START": as_yyyymmdd(judged.p_start),
        "P_END": as_yyyymmdd(judged.p_end),
    }
    columns |= _gaps(weeks, declared, judged, week, found.week_s1, until)
    if rules.tillage:
        turned = np.where(judged.without_harvest, NA_DAY, tillage(weeks, found, declared, rules))
        columns |= {
            "TL_WEEK": np.where(turned >= 0, iso_week(turned), turned).astype(np.int32),
            "TL_W_START": as_yyyymmdd(turned),
            "TL_W_END": as_yyyymmdd(np.where(turned >= 0, turned + 6, turned)),
        }
    return columns


def _gaps(weeks: Weeks, declared: Declared, judged: Judged, week: Days, week_s1: Days, until: int) -> Columns:
    n = len(week)
    year = np.full(n, _new_year(declared.year))
    before = missing_weeks(weeks, np.where(week >= 0, week - HARVEST_DAYS, NO_DAY), week, less=0)
    practice = missing_weeks(weeks, judged.p_start, judged.p_end)
    is_doubtful = (week >= 0) & (week_s1 >= 0) & (before >= MANY)
    return {
        "S1GAPS": missing_weeks(weeks, year, np.full(n, until)).astype(np.int32),
        "H_S1GAPS": missing_weeks(weeks, declared.h_start, declared.h_end).astype(np.int32),
        "P_S1GAPS": practice.astype(np.int32),
        "H_W_S1GAPS": before.astype(np.int32),
        "H_QUALITY": is_doubtful.astype(np.int8),
        "C_QUALITY": (practice >= MANY).astype(np.int8),
    }


def nothing(status: Codes, declared: Declared, rules: PracticeRules) -> Columns:
    """Columns of parcels that cannot be judged."""
    small = status == Status.FEW_PIXELS
    day = np.where(small, NA1_DAY, NA_DAY).astype(np.int32)
    marker = np.where(small, Seen.NA1, Seen.NA).astype(np.int8)
    columns: Columns = {"L_WEEK": day.copy()}
    for name in MARKERS[:5]:
        columns[name] = marker.copy()
    for name in ("H_WEEK", "H_W_START", "H_W_END", "H_W_S1"):
        columns[name] = day.copy()
    for name in MARKERS[5:]:
        columns[name] = marker.copy()
    columns["C_INDEX"] = marker.copy()
    columns |= {"P_START": as_yyyymmdd(declared.p_start), "P_END": as_yyyymmdd(declared.p_end)}
    for name in ("S1GAPS", "H_S1GAPS", "P_S1GAPS", "H_W_S1GAPS"):
        columns[name] = day.copy()
    for name in ("H_QUALITY", "C_QUALITY"):
        columns[name] = np.zeros(len(status), np.int8)
    for name in ("TL_WEEK", "TL_W_START", "TL_W_END") if rules.tillage else ():
        columns[name] = day.copy()
    return columns


def _new_year(year: int) -> int:
    return day_number(dt.date(year, 1, 1))
