"""What was decided about a parcel: harvested or not, mown, a catch crop there or not, with all that it stands on."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any, Final

from s4c_hpc.confounders.doubts import Doubt, reasons
from s4c_hpc.drawing.text import day, share

NAMES: Final = {
    "harvest": "Harvest",
    "mowing": "Mowing",
    "tillage": "Tillage",
    "catch-crop": "Catch crop",
    "fallow": "Fallow land",
    "nitrogen-fixing": "Nitrogen-fixing crop",
}
"""Kinds of decisions in the order in which they are shown."""

EVENTS: Final = frozenset({"harvest", "mowing", "tillage"})
"""Kinds that happen on a day, which lies in the window; of the others the window is the period that was judged."""

FOUND: Final = frozenset({"found", "strong", "moderate"})
"""Verdicts that say it is there."""

_SURE: Final = {"strong": "strong", "moderate": "moderate", "weak": "weak", "poor": "poor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One value that a decision stands on, or a threshold."""

    name: str
    """Of the column, or the key of the configuration."""
    meaning: str
    value: float
    """NaN if it was not seen."""
    unit: str = ""
    text: str = ""
    """What the value says where it is a code: ``TRUE``."""

    def words(self) -> str:
        """``NDVI of the last look before the fall = 0.81``."""
        said = self.text or (f"{self.value:.3g}" if math.isfinite(self.value) else "not seen")
        unit = f" {self.unit}" if self.unit not in {"", "1", "code"} and not self.text else ""
        return f"{self.meaning} = {said}{unit}"

    def limit(self) -> str:
        """``ndvi_up 350 thousandths``: the key of the configuration and its value."""
        return f"{self.name} {self.value:g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision about one parcel."""

    kind: str
    """One of ``NAMES``, or a kind of a later version."""
    verdict: str
    """``found``, ``not found``, ``undecided``; of practices ``strong``, ``moderate``, ``weak``, ``poor``."""
    start: dt.date | None = None
    """First day of the window in which it happened, or of the period that was judged."""
    end: dt.date | None = None
    confidence: float = math.nan
    """0 to 1; NaN where nothing says."""
    source: str = ""
    """``S1``, ``S2`` or both."""
    doubts: Doubt = Doubt.NONE
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()
    thresholds: tuple[Evidence, ...] = ()
    """Those of the rule, where the file tells."""
    origin: str = ""
    """The marker set that says so."""

    @property
    def name(self) -> str:
        """Of the kind, for people."""
        return NAMES.get(self.kind, self.kind.replace("-", " ").capitalize())

    @property
    def is_found(self) -> bool:
        """Whether it is said to be there."""
        return self.verdict in FOUND

    @property
    def label(self) -> str:
        """A few words for the picture."""
        parts = [self.name if self.verdict == "found" else f"{self.name}: {self.verdict}"]
        if self.sureness:
            parts.append(self.sureness)
        if self.source and self.is_found:
            parts.append(self.source)
        if self.doubts:
            parts.append(f"doubt: {', '.join(reasons(self.doubts))}")
        return " · ".join(parts)

    @property
    def verdict_words(self) -> str:
        """The verdict with its window, confidence and source: the first half of the sentence."""
        when = ""
        if self.start is not None and self.end is not None:
            days = "on" if self.start == self.end else "between" if self.kind in EVENTS else "from"
            joint = "and" if self.kind in EVENTS else "to"
            when = f" {days} {day(self.start)}" + ("" if self.start == self.end else f" {joint} {day(self.end)}")
        sure = f", confidence {self.sureness}" if self.sureness else ""
        source = f", seen by {self.source}" if self.source else ""
        what = f"evidence {self.verdict}" if self.verdict in _SURE else self.verdict
        return f"{self.name}: {what}{when}{sure}{source}"

    @property
    def seen(self) -> tuple[Evidence, ...]:
        """Evidence that there was; the rest was not looked at, or not to be seen."""
        return tuple(e for e in self.evidence if e.text or math.isfinite(e.value))

    @property
    def sureness(self) -> str:
        """The confidence as a percentage; empty where it would say how sure something is that was not found."""
        return share(self.confidence) if math.isfinite(self.confidence) and self.verdict != "not found" else ""

    @property
    def doubts_beyond_reason(self) -> str:
        """Doubts that the reason does not speak of."""
        return ", ".join(one for one in reasons(self.doubts) if one not in self.reason)

    def sentence(self) -> str:
        """All of it in words."""
        parts = [f"{self.verdict_words}."]
        if self.reason:
            parts.append(f"{self.reason[0].upper()}{self.reason[1:]}.")
        if said := self.doubts_beyond_reason:
            parts.append(f"Doubts: {said}.")
        if self.seen:
            parts.append(f"Seen: {'; '.join(e.words() for e in self.seen)}.")
        if self.thresholds and self.verdict != "undecided":
            parts.append(f"Thresholds: {'; '.join(t.limit() for t in self.thresholds)}.")
        return " ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """For programs; names of the evidence are those of the columns."""
        return {
            "decision": self.kind,
            "verdict": self.verdict,
            "start": None if self.start is None else day(self.start),
            "end": None if self.end is None else day(self.end),
            "confidence": self.confidence,
            "source": self.source,
            "doubts": list(reasons(self.doubts)),
            "reason": self.reason,
            "evidence": {e.name: e.text or e.value for e in self.evidence},
            "thresholds": {t.name: t.value for t in self.thresholds},
            "set": self.origin,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days that a declaration or the rules of a crop name."""

    kind: str
    """``season``, ``harvest`` or ``practice``: decides the colour."""
    name: str
    start: dt.date
    end: dt.date

    def sentence(self) -> str:
        """In words."""
        return f"{self.name}: {day(self.start)} to {day(self.end)}"

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return {"kind": self.kind, "name": self.name, "start": day(self.start), "end": day(self.end)}
