"""Events that were found against days that people know."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from s4c_hpc.core.errors import NoInputsError
from s4c_hpc.validation.found import FoundEvents
from s4c_hpc.validation.matching import Counts, Scores, counted, intervals, scores

_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """How events agree with known ones."""

    tolerance_days: float
    dated_at: str
    periods: tuple[str, ...]
    parcels: int
    """Of the truth that were judged."""
    parcels_without: int
    """Of these, known to have no event."""
    known: int
    found: int
    matched: int
    scores: Scores
    intervals: Mapping[str, tuple[float, float]]
    """Of 95 %, parcels drawn with replacement."""
    known_in_window: int
    """Known days that lie in a window of an event of their parcel, both ends included."""
    median_window_days: float
    longest_window_days: float
    left_out: Mapping[str, int]
    """Parcels of the truth by the reason why they were not judged."""
    dates_left_out: int
    """Known days beyond the periods."""


def validated(
    found: FoundEvents,
    known: Mapping[str, Sequence[dt.date]],
    number_of: Mapping[str, int],
    *,
    tolerance: float = 12.0,
    dated_at: Literal["middle", "end"] = "middle",
) -> Validation:
    """Judge events.

    Parameters
    ----------
    known : days by parcel; parcels that it does not name are not judged
    number_of : NewID by what the truth calls a parcel
    tolerance : most days between a known and a found event that are the same
    dated_at : day of a found one: the middle of its window or its end

    Raises
    ------
    NoInputsError
        If no parcel of the truth could be judged.
    """
    left: Counter[str] = Counter()
    counts: list[Counts] = []
    lengths: list[int] = []
    inside = outside = 0
    for parcel, every in sorted(known.items()):
        number = number_of.get(parcel)
        if number is None or number not in found.events:
            reason = "no such parcel" if number is None else found.not_assessed.get(number, "on no tile with series")
            left[reason] += 1
            continue
        days = [day for day in every if any(first <= day <= last for first, last in found.spans)]
        outside += len(every) - len(days)
        if every and not days:
            left["no date in the period"] += 1
            continue
        known_days = [float((day - _EPOCH).days) for day in days]
        windows = [((a - _EPOCH).days, (b - _EPOCH).days) for a, b in found.events[number]]
        dated = [float(b) if dated_at == "end" else (a + b) / 2 for a, b in windows]
        counts.append(counted(parcel, dated, known_days, tolerance))
        lengths += [b - a for a, b in windows]
        inside += sum(any(a <= day <= b for a, b in windows) for day in known_days)
    if not counts:
        reasons = ", ".join(f"{n} {reason}" for reason, n in left.items())
        raise NoInputsError("no parcel of the truth could be judged", where=reasons, hint="check --by and --period")
    return Validation(
        tolerance_days=tolerance,
        dated_at=dated_at,
        periods=found.periods,
        parcels=len(counts),
        parcels_without=sum(not one.n_known for one in counts),
        known=sum(one.n_known for one in counts),
        found=sum(one.n_found for one in counts),
        matched=sum(len(one.errors) for one in counts),
        scores=scores(counts),
        intervals=intervals(counts),
        known_in_window=inside,
        median_window_days=float(np.median(lengths)) if lengths else float("nan"),
        longest_window_days=float(max(lengths, default=np.nan)),
        left_out=dict(left),
        dates_left_out=outside,
    )
