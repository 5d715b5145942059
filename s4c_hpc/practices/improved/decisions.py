"""Decisions and what each stands on: verdict, window, confidence, source, doubts, reason and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.confounders.doubts import reasons
from s4c_hpc.practices.codes import NO_DAY, REASONS, Codes, Index, Practice, Status
from s4c_hpc.practices.days import Days
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.improved.event import Event
from s4c_hpc.practices.improved.harvest import AGAINST, BACKSCATTER, COHERENCE, GROUND, OPTICAL, SILENT, Harvest
from s4c_hpc.practices.improved.practice import Practised

HARVEST: Final = "harvest"
TILLAGE: Final = "tillage"
MOWING: Final = "mowing"
PRACTICES: Final = {
    Practice.CATCH_CROP: "catch-crop",
    Practice.FALLOW: "fallow",
    Practice.NFC: "nitrogen-fixing",
}

FOUND, NOT_FOUND, UNDECIDED = "found", "not found", "undecided"

SOURCES: Final = ("", "S2", "S1", "S1+S2")
"""By code: bits 1 of S2 and 2 of S1."""

_GRADES: Final = {Index.STRONG: "strong", Index.MODERATE: "moderate", Index.WEAK: "weak", Index.POOR: "poor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """One decision of each of k parcels, each (k,)."""

    decision: str
    row: NDArray[np.int64]
    """Place of the parcel."""
    verdict: NDArray[np.str_]
    start: Days
    """``NO_DAY`` where there is no window."""
    end: Days
    confidence: Floats
    """NaN where undecided."""
    source: NDArray[np.int8]
    """Place in ``SOURCES``."""
    doubts: NDArray[np.uint8]
    reason: NDArray[np.str_]
    values: dict[str, NDArray[np.float32]]
    """By name of evidence; what a decision has not used is not there."""

    def moved(self, places: NDArray[np.int64]) -> Decisions:
        """The same of parcels that stand elsewhere."""
        return replace(self, row=places[self.row])


def source_of(found: Harvest) -> NDArray[np.int8]:
    """(n,) what speaks for the harvest: bits 1 of S2 and 2 of S1; 0 where nothing was found."""
    bits = found.strands
    code = ((bits & OPTICAL) > 0).astype(np.int8) + 2 * ((bits & (COHERENCE | BACKSCATTER)) > 0).astype(np.int8)
    return np.where(found.found, code, 0).astype(np.int8)


def the_harvest(found: Harvest) -> Decisions:
    """Decisions about harvests."""
    unknown = np.isnan(found.confidence)
    values = {name: own.astype(np.float32) for name, own in found.values.items()}
    for name in ("ndvi_before", "ndvi_after", "ndvi_limit"):
        values[name] = values[name] / np.float32(1000)
    return Decisions(
        decision=HARVEST,
        row=np.arange(len(unknown)),
        verdict=np.select([unknown, found.found], [UNDECIDED, FOUND], NOT_FOUND),
        start=np.where(found.found, found.start, NO_DAY),
        end=np.where(found.found, found.end, NO_DAY),
        confidence=found.confidence,
        source=source_of(found),
        doubts=found.doubts,
        reason=_with_doubts(_of_harvest(found), found.doubts),
        values=values,
    )


def _of_harvest(found: Harvest) -> NDArray[np.str_]:
    bits = found.strands
    optical, coherence, backscatter = ((bits & bit) > 0 for bit in (OPTICAL, COHERENCE, BACKSCATTER))
    several = np.nan_to_num(found.values["orbits"]) > 1
    said: NDArray[np.str_] = np.select(
        [
            np.isnan(found.confidence),
            found.week < 0,
            (bits & AGAINST) > 0,
            ~optical & ~coherence & ~backscatter,
            optical & coherence & backscatter,
            optical & coherence,
            optical & backscatter,
            optical & ((bits & SILENT) > 0),
            optical & ((bits & GROUND) > 0),
            optical,
            several,
            coherence & backscatter,
            coherence,
        ],
        [
            "no NDVI and no radar to compare when it may be harvested",
            "no vegetation was seen",
            "NDVI shows that nothing was lost",
            "nothing shows a loss of vegetation",
            "all markers",
            "NDVI and coherence",
            "NDVI and backscatter",
            "NDVI alone, radar shows nothing",
            "NDVI and bare ground, no radar",
            "NDVI alone",
            "radar alone, two orbits or more",
            "radar alone, one orbit",
            "coherence alone, one orbit",
        ],
        "backscatter alone, one orbit",
    )
    return said


def the_practice(practice: Practice, practised: Practised) -> Decisions:
    """Decisions about declared practices."""
    cover, judged = practised.cover, practised.judged
    decided = ~np.isnan(practised.confidence)
    share = np.where(cover.looks > 0, cover.green / np.maximum(cover.looks, 1), np.nan).astype(np.float32)
    source = (cover.looks > 0).astype(np.int8) + 2 * (cover.orbits > 0).astype(np.int8)
    verdict = np.select([judged.index == code for code in _GRADES], list(_GRADES.values()), UNDECIDED)
    has_period = (judged.p_start >= 0) & (judged.p_end >= 0)
    return Decisions(
        decision=PRACTICES[practice],
        row=np.arange(len(decided)),
        verdict=np.where(decided, verdict, UNDECIDED),
        start=np.where(has_period, judged.p_start, NO_DAY),
        end=np.where(has_period, judged.p_end, NO_DAY),
        confidence=practised.confidence,
        source=np.where(decided, source, 0).astype(np.int8),
        doubts=cover.doubts,
        reason=_with_doubts(practised.reason, cover.doubts),
        values={
            "ndvi_low": cover.ndvi_low / np.float32(1000),
            "ndvi_high": cover.ndvi_high / np.float32(1000),
            "looks": cover.looks.astype(np.float32),
            "green_share": share,
            "coherence_after": cover.coherence_high,
            "orbits": cover.orbits.astype(np.float32),
            "orbits_with_loss": cover.orbits_with_loss.astype(np.float32),
        },
    )


def the_cut(cut: Event, p_start: Days, p_end: Days, improved: ImprovedRules) -> Decisions:
    """Decisions about cuts of a cover that stays: mown or mulched fallow land."""
    is_found = cut.confidence >= improved.least_confidence - 1e-9
    unknown = np.isnan(cut.confidence)
    with_radar = np.nan_to_num(cut.values[:, 4]) > 0
    has_period = (p_start >= 0) & (p_end >= 0)
    reason = np.select(
        [~has_period, unknown, is_found & with_radar, is_found],
        [
            "the practice is declared without a period",
            "too few looks at NDVI in the period",
            "NDVI falls and grows again, not bare; coherence rises",
            "NDVI falls and grows again, not bare",
        ],
        "no fall of NDVI that grows again",
    )
    return _of_event(MOWING, cut, is_found, reason, np.where(with_radar, 3, 1))


def the_tillage(turned: Event, harvested: NDArray[np.bool_], improved: ImprovedRules) -> Decisions:
    """Decisions about tillage after the harvest."""
    is_found = turned.confidence >= improved.weak_confidence - 1e-9
    unknown = np.isnan(turned.confidence)
    reason = np.select(
        [~harvested, unknown, is_found & (turned.values[:, 4] > 1), is_found, turned.green_first],
        [
            "no harvest before",
            "no radar after the harvest",
            "coherence of bare ground falls, on two orbits or more",
            "coherence of bare ground falls, on one orbit",
            "new vegetation came first",
        ],
        "coherence does not fall, or not for long",
    )
    return _of_event(TILLAGE, turned, is_found, reason, np.where(np.isfinite(turned.values[:, 1]), 3, 2))


def _of_event(
    decision: str, event: Event, is_found: NDArray[np.bool_], reason: NDArray[np.str_], source: NDArray[np.int64]
) -> Decisions:
    """Decisions about events that may follow a harvest; ``source``: (n,) codes of those that were found."""
    return Decisions(
        decision=decision,
        row=np.arange(len(is_found)),
        verdict=np.select([np.isnan(event.confidence), is_found], [UNDECIDED, FOUND], NOT_FOUND),
        start=np.where(is_found, event.start, NO_DAY),
        end=np.where(is_found, event.end, NO_DAY),
        confidence=event.confidence,
        source=np.where(is_found, source, 0).astype(np.int8),
        doubts=event.doubts,
        reason=_with_doubts(reason, event.doubts),
        values=_event_values(event),
    )


def unjudged(rows: NDArray[np.int64], status: Codes) -> Decisions:
    """Rows of parcels that cannot be judged at all, with what is missing."""
    k = rows.size
    texts = np.array([REASONS[Status(int(one))] for one in status], np.str_) if k else np.empty(0, "<U1")
    return Decisions(
        decision=HARVEST,
        row=rows,
        verdict=np.full(k, UNDECIDED),
        start=np.full(k, NO_DAY),
        end=np.full(k, NO_DAY),
        confidence=np.full(k, np.nan),
        source=np.zeros(k, np.int8),
        doubts=np.zeros(k, np.uint8),
        reason=texts,
        values={},
    )


def _event_values(event: Event) -> dict[str, NDArray[np.float32]]:
    return {
        "ndvi_before": event.values[:, 0] / np.float32(1000),
        "ndvi_after": event.values[:, 1] / np.float32(1000),
        "coherence_before": event.values[:, 2],
        "coherence_after": event.values[:, 3],
        "orbits": event.values[:, 4],
    }


def _with_doubts(reason: NDArray[np.str_], flags: NDArray[np.uint8]) -> NDArray[np.str_]:
    """(n,) with what is doubted of the change of coherence."""
    result = reason.astype(np.str_)
    for one in np.unique(flags[flags > 0]):
        text = "; doubtful: " + ", ".join(reasons(int(one)))
        result = np.where(flags == one, np.char.add(result, text), result)
    return result
