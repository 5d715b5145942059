"""Tillage after the harvest: coherence that was high falls. Source: the reference's TsaTillageAnalysisHandler.cpp."""

from __future__ import annotations

import numpy as np

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import NA_DAY, NO_DAY
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import above
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.harvest import Harvest
from s4c_hpc.practices.loss import coherence_marker
from s4c_hpc.practices.weeks import FAR, Weeks, first_monday


def tillage(weeks: Weeks, found: Harvest, declared: Declared, rules: PracticeRules) -> Days:
    """(n,) Monday of the week of tillage; ``NO_DAY`` if it turns green first, ``NA_DAY`` if neither is seen.

    Both the week with the marker and the one without lie after the harvest.
    """
    last = weeks.last if rules.tillage_to is None else np.full(len(weeks.monday), declared.day(rules.tillage_to))
    watched = weeks.there & (weeks.monday > found.week[:, None]) & (weeks.monday <= last[:, None])
    high = coherence_marker(weeks, rules.tillage_coherence_rise, rules.tillage_coherence_level)
    falls = np.zeros_like(high)
    falls[:, 1:] = high[:, :-1] & ~high[:, 1:] & watched[:, :-1] & watched[:, 1:]
    turned = first_monday(weeks, falls & watched)
    green = first_monday(weeks, above(weeks.ndvi, rules.ndvi_vegetation) & watched)
    decided = np.where(green <= turned, NO_DAY, turned)
    return np.where(found.found & (np.minimum(green, turned) < FAR), decided, NA_DAY)
