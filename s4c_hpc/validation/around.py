"""Weeks around known events in the series of a workspace."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from s4c_hpc.core.errors import InputError, NoInputsError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.series import ParcelSeries, open_series
from s4c_hpc.validation.signals import Days, Floats, WeekSignal, behaviour, weeks_around

_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """How a variable behaves around events."""

    variable: str
    events: int
    weeks: Sequence[WeekSignal]
    left_out: Mapping[str, int]
    """Events by the reason why they do not count."""


def signals_of(
    workspace: Workspace,
    variable: str,
    known: Mapping[str, Sequence[dt.date]],
    number_of: Mapping[str, int],
    *,
    statistic: str = "mean",
    n_weeks: int = 7,
) -> Signals:
    """Behaviour of a variable around known events; all sensors and grids that have it together.

    Parameters
    ----------
    known : days by parcel
    number_of : NewID by what the truth calls a parcel
    n_weeks : weeks before that of the event, and after it

    Raises
    ------
    NoInputsError
        If no parcel with an event has the variable.
    """
    series = open_series(workspace.root)
    column = f"{variable}_{statistic}"
    around: list[Floats] = []
    left: Counter[str] = Counter()
    there: set[str] = set()
    for parcel, days in sorted(known.items()):
        if (number := number_of.get(parcel)) is None:
            left["no such parcel"] += len(days)
            continue
        try:
            strands = series.parcel(number)
        except InputError as error:
            left[error.what] += len(days)
            continue
        there |= {name for strand in strands for name in strand.columns}
        own = [strand for strand in strands if column in strand.columns]
        if not own:
            left[f"no {column} of the parcel"] += len(days)
            continue
        day, values = _joined(own, column)
        around += [weeks_around(day, values, (event - _EPOCH).days, n_weeks)[:, 0] for event in days]
    if not around:
        reasons = ", ".join(f"{n} events: {reason}" for reason, n in left.items()) or "no parcel has an event"
        raise NoInputsError(
            f"no known event has {column}", where=reasons, hint=f"check --by; series have {listing(sorted(there), 30)}"
        )
    return Signals(variable=column, events=len(around), weeks=behaviour(around), left_out=dict(left))


def _joined(strands: Sequence[ParcelSeries], column: str) -> tuple[Days, Floats]:
    """Days (t,) and values (t, 1) of all strands."""
    days = [strand.times.astype("datetime64[D]").astype(np.int64) for strand in strands]
    values = [strand.values(column).astype(np.float64) for strand in strands]
    return np.concatenate(days), np.concatenate(values)[:, None]
