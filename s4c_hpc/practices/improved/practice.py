"""What the improved rules say of a declared practice, and the rules of fallow land and nitrogen-fixing crops.

The decisions are the countries' own, the same as in reference mode, made of better facts. Each is made twice, as if the
harvest that was found were one and as if it were none, and the confidence of the harvest weighs the two. What comes out
is lowered where little was seen of the period: strong needs two orbits, or one and NDVI.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.practices.codes import NO_DAY, Codes, Index, Seen, seen
from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.fallow import BARE_WEEKS, black_index, green_index, is_black, lithuania_index, loss_days
from s4c_hpc.practices.improved.confidence import combined
from s4c_hpc.practices.improved.cover import Cover, cover, cover_limits
from s4c_hpc.practices.improved.harvest import Harvest
from s4c_hpc.practices.improved.radar import Radar
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.judged import Judged, Reaped
from s4c_hpc.practices.nitrogen_fixing import nitrogen_index

NOMINAL: Final = {Index.STRONG: 0.8, Index.MODERATE: 0.6, Index.WEAK: 0.4, Index.POOR: 0.2}
"""Confidence of a decision of the countries' rules when all that they look at was seen well."""

_BESIDE_DAYS: Final = 30
"""NDVI is looked at for so many days more on either side of the time of a loss."""

_FEW: Final = 0.7
"""Share of its weight that a single look at NDVI has."""

NOT_OVER: Final = "the period is not over"
NOT_BEGUN: Final = "the period has not begun"
NO_RADAR: Final = "too little radar in the period to tell whether the ground was left alone"
NOTHING_SEEN: Final = "no NDVI and no radar in the period"


@dataclass(frozen=True, slots=True, kw_only=True)
class Practised:
    """What is said of the practice of n parcels."""

    judged: Judged
    """Period and markers; its index is that of the confidence."""
    confidence: Floats
    """(n,) that it was kept; NaN where this is not decided."""
    reason: NDArray[np.str_]
    """(n,)"""
    cover: Cover


@dataclass(frozen=True, slots=True)
class Week:
    """A harvest in a week, for the countries' rules."""

    week: Days

    @property
    def found(self) -> NDArray[np.bool_]:
        """(n,) whether there is one."""
        known: NDArray[np.bool_] = self.week >= 0
        return known


def looked(found: Cover, improved: ImprovedRules) -> Floats:
    """(n,) weight of the looks at NDVI in the period."""
    return improved.weight_optical * np.select([found.looks > 1, found.looks == 1], [1.0, _FEW], 0.0)


def watched(found: Cover, improved: ImprovedRules) -> Floats:
    """(n,) weight of the orbits that watched the period and saw no loss of cover."""
    quiet = (found.orbits - found.orbits_with_loss).astype(np.float64)
    return 1.0 - (1.0 - improved.weight_steady) ** quiet


def sureness(found: Cover, improved: ImprovedRules) -> Floats:
    """(n,) 1 where enough was seen for a strong decision, less where it was not."""
    orbits = 1.0 - (1.0 - improved.weight_steady) ** found.orbits.astype(np.float64)
    # One orbit alone shows less than NDVI; two count as much as one and NDVI.
    alone = np.where((found.looks == 0) & (found.orbits > 1), improved.strong_confidence, orbits)
    seen_all = np.where(found.looks > 0, combined(looked(found, improved), orbits), alone)
    return np.minimum(seen_all / improved.strong_confidence, 1.0)


def mixed(decide: Callable[[Reaped], Codes], harvest: Harvest) -> Floats:
    """(n,) nominal confidence of decisions with the harvest and without it, weighed by how sure the harvest is."""
    with_it, without = (nominal(decide(Week(week))) for week in (harvest.week, np.full_like(harvest.week, NO_DAY)))
    share = np.nan_to_num(harvest.confidence)
    # A candidate that nothing much speaks for is none.
    share = np.where(harvest.found, share, 0.0)
    return share * with_it + (1.0 - share) * without


def nominal(index: Codes) -> Floats:
    """(n,) confidence of grades; NaN for what is not decided."""
    return np.select([index == code for code in NOMINAL], list(NOMINAL.values()), np.nan)


def fallow(
    season: Season, radar: Radar, harvest: Harvest, declared: Declared, rules: PracticeRules, improved: ImprovedRules
) -> Practised:
    """Judge the fallow land of n parcels."""
    limits, first, last = cover_limits(rules), declared.p_start, declared.p_end
    found = cover(season, radar, first, last, limits)
    m6, nr = found.m6, np.full(len(first), np.int8(Seen.NR))
    m8 = m10 = nr
    if declared.country == "CZE":
        loss_from, loss_to = loss_days(declared, rules)
        days = loss_from - _BESIDE_DAYS, loss_to + _BESIDE_DAYS
        m8 = cover(season, radar, *days, limits, watched=(loss_from, loss_to + 7)).m8
        value = mixed(lambda own: green_index(m6, m8, own, declared), harvest)
        reason = _said((m6 == Seen.FALSE, "no cover was seen"), (m8 == Seen.FALSE, "the cover went in its time"))
    elif declared.country == "LTU":
        is_kept = found.quiet_weeks >= BARE_WEEKS
        m10 = seen(is_kept, is_kept | (found.orbits_with_loss > 0))
        value = mixed(lambda own: lithuania_index(m6, is_kept, own, declared), harvest)
        # Whether the ground was left alone is asked of coherence only, and too few weeks do not say that it was worked.
        is_worked = ~is_kept & (found.orbits_with_loss > 0)
        value = np.where(is_kept | is_worked, value, np.nan)
        m6 = np.where(is_black(declared), np.int8(Seen.NR), m6).astype(np.int8)
        reason = _said(
            (is_kept, "the ground was left alone"),
            (is_worked, "the ground was worked"),
            (found.orbits > 0, "too few weeks of coherence"),
            other=NO_RADAR,
        )
    else:
        value = mixed(lambda own: black_index(m6, own, declared, rules), harvest)
        reason = _said((m6 == Seen.FALSE, "bare in the period"), (m6 == Seen.TRUE, "vegetation in the period"))
    judged = Judged(
        p_start=first,
        p_end=last,
        m6=m6,
        m7=nr,
        m8=m8,
        m9=nr,
        m10=m10,
        index=nr,
        without_harvest=np.zeros(len(nr), bool),
    )
    value = value * sureness(found, improved)
    return Practised(judged=judged, confidence=value, reason=_with_harvest(reason, harvest, first, last), cover=found)


def nitrogen_fixing(
    season: Season, radar: Radar, harvest: Harvest, declared: Declared, rules: PracticeRules, improved: ImprovedRules
) -> Practised:
    """Judge the nitrogen-fixing crops of n parcels."""
    limits, first, last = cover_limits(rules), declared.p_start, declared.p_end
    found = cover(season, radar, first, last, limits)
    ever = cover(season, radar, declared.veg_start, last, limits).m6 if declared.country == "CZE" else found.m6
    value = mixed(lambda own: nitrogen_index(found.m6, ever, own, declared), harvest) * sureness(found, improved)
    nr = np.full(len(first), np.int8(Seen.NR))
    judged = Judged(
        p_start=first,
        p_end=last,
        m6=found.m6,
        m7=nr,
        m8=nr,
        m9=nr,
        m10=nr,
        index=nr,
        without_harvest=np.zeros(len(nr), bool),
    )
    reason = _said((ever == Seen.FALSE, "no crop was seen"), (ever == Seen.TRUE, "a crop was seen"))
    return Practised(judged=judged, confidence=value, reason=_with_harvest(reason, harvest, first, last), cover=found)


def _said(*cases: tuple[NDArray[np.bool_], str], other: str = "no NDVI in the period") -> NDArray[np.str_]:
    """(n,) the text of the first case that holds."""
    said: NDArray[np.str_] = np.select([one for one, _ in cases], [text for _, text in cases], other)
    return said


def _with_harvest(reason: NDArray[np.str_], harvest: Harvest, first: Days, last: Days) -> NDArray[np.str_]:
    """(n,) with what the harvest adds."""
    inside = harvest.found & (harvest.week > monday(first)) & (harvest.week <= monday(last))
    added: NDArray[np.str_] = np.where(inside, np.char.add(reason, "; harvested in the period"), reason)
    return added
