"""Nitrogen-fixing crops: they have to grow, and may be harvested in their time or not, as countries have it.

Source: the reference's TsaNfcAnalysisHandler.cpp.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import Codes, Index, Seen
from s4c_hpc.practices.days import monday
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.harvest import Harvest
from s4c_hpc.practices.judged import Judged, Reaped, choose
from s4c_hpc.practices.period import any_vegetation, period_markers
from s4c_hpc.practices.weeks import Observations, Weeks


def nitrogen_fixing(
    observed: Observations, weeks: Weeks, found: Harvest, declared: Declared, rules: PracticeRules
) -> Judged:
    """Judge the nitrogen-fixing crops of n parcels."""
    m6 = any_vegetation(period_markers(observed, declared.p_start, declared.p_end, rules))
    ever = m6
    if declared.country == "CZE":
        ever = any_vegetation(period_markers(observed, declared.veg_start, declared.p_end, rules))
    index = nitrogen_index(m6, ever, found, declared)
    judged = replace(Judged.nothing(declared, Seen.NR, Index.NR), m6=m6, index=index)
    return judged.where(weeks.last <= monday(declared.p_start), Seen.NR, Index.NR)


def nitrogen_index(m6: Codes, ever: Codes, found: Reaped, declared: Declared) -> Codes:
    """(n,) C_INDEX; ``ever``: (n,) M6 from the beginning of the season, which Czechia asks for."""
    n = len(m6)
    week_a, week_b = monday(declared.p_start), monday(declared.p_end)
    is_green, is_bare = m6 == Seen.TRUE, m6 == Seen.FALSE
    is_after = found.found & (found.week > week_a)
    if declared.country == "CZE":
        return choose(
            n,
            (ever == Seen.FALSE, Index.POOR),
            (is_after & (found.week <= week_b), Index.WEAK),
            (is_green, Index.STRONG),
            default=Index.MODERATE,
        )
    without = Index.POOR if declared.country.startswith(("ESP", "ITA")) else Index.WEAK
    is_romania = np.full(n, declared.country == "ROU")
    return choose(
        n,
        (is_romania & (m6 == Seen.NA), Index.NR),
        (is_bare, without),
        (~found.found, Index.MODERATE),
        (is_romania & is_after & (found.week < week_b), Index.WEAK),
        default=Index.STRONG,
    )
