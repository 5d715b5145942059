"""Known mowings from a table of a person, and how well those of a workspace agree with them."""

from __future__ import annotations

import csv
import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.mowing.contract import read_mowings
from s4c_hpc.mowing.matching import Counts, Scores, counted, intervals, scores
from s4c_hpc.parcels import latest_version, read_attributes
from s4c_hpc.series.contract import ID

_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """How the mowings of a workspace agree with known ones."""

    tolerance_days: float
    dated_at: str
    periods: tuple[str, ...]
    parcels: int
    """Of the truth that were judged."""
    parcels_without: int
    """Of these, known to be not mown."""
    known: int
    found: int
    matched: int
    scores: Scores
    intervals: Mapping[str, tuple[float, float]]
    """Of 95 %, parcels drawn with replacement."""
    inside_window: float
    """Share of matched events whose known day is within the window of the found one."""
    left_out: Mapping[str, int]
    """Parcels of the truth by the reason why they were not judged."""
    dates_left_out: int
    """Known days beyond the periods."""


def read_truth(path: Path) -> dict[str, list[dt.date]]:
    """Known days by parcel; none of a parcel that was seen not to be mown.

    Parameters
    ----------
    path : CSV with the columns ``parcel`` and ``date`` (2021-06-30); a row with no date says: not mown

    Raises
    ------
    MissingDataError, InputError, NoInputsError
        If there is no such file, a column is missing, a row cannot be read, or there is no row.
    """
    found: dict[str, list[dt.date]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if missing := {"parcel", "date"} - set(rows.fieldnames or ()):
                raise InputError(f"there is no column {min(missing)!r}", where=str(path), hint="it needs: parcel,date")
            for row in rows:
                days = found.setdefault((row["parcel"] or "").strip(), [])
                if text := (row["date"] or "").strip():
                    days.append(dt.date.fromisoformat(text))
    except FileNotFoundError as error:
        raise MissingDataError("no such file", where=str(path), hint="check the name") from error
    except (ValueError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"cannot be read ({error})", where=f"{path}, line {rows.line_num}", hint="dates are like 2021-06-30"
        ) from error
    if not found:
        raise NoInputsError("there is no row", where=str(path), hint="it needs rows: parcel,date")
    return found


def validated(
    workspace: Workspace,
    truth: Mapping[str, list[dt.date]],
    *,
    by: str = "ori_id",
    tolerance: float = 12.0,
    dated_at: Literal["middle", "end"] = "middle",
    period: str | None = None,
) -> Validation:
    """Judge the mowings of a workspace.

    Parameters
    ----------
    truth : known days by parcel; parcels that it does not name are not judged
    by : column of the parcels that the truth's ``parcel`` holds: ``ori_id`` or ``NewID``
    tolerance : most days between a known and a found mowing that are the same
    dated_at : day of a found one: the middle of its window or its end
    period : only files of this period

    Raises
    ------
    NoInputsError
        If there are no mowings, or no parcel of the truth could be judged.
    """
    made = read_mowings(workspace, period)
    number_of = _numbers(workspace, by)
    spans = [tuple(dt.date.fromisoformat(day) for day in name.split("_")) for name in made.periods]
    left: Counter[str] = Counter()
    counts: list[Counts] = []
    inside = outside = 0
    for parcel, every in sorted(truth.items()):
        number = number_of.get(parcel)
        if number is None or number not in made.events:
            reason = "no such parcel" if number is None else made.not_assessed.get(number, "on no tile with series")
            left[reason] += 1
            continue
        days = [day for day in every if any(first <= day <= last for first, last in spans)]
        outside += len(every) - len(days)
        if every and not days:
            left["no date in the period"] += 1
            continue
        known = [float((day - _EPOCH).days) for day in days]
        windows = [((a - _EPOCH).days, (b - _EPOCH).days) for a, b, _ in made.events[number]]
        found = [float(b) if dated_at == "end" else (a + b) / 2 for a, b in windows]
        one = counted(parcel, found, known, tolerance)
        counts.append(one)
        inside += sum(windows[i][0] <= known[j] <= windows[i][1] for i, j in one.pairs)
    if not counts:
        reasons = ", ".join(f"{n} {reason}" for reason, n in left.items())
        raise NoInputsError("no parcel of the truth could be judged", where=reasons, hint="check --by and --period")
    n_matched = sum(len(one.errors) for one in counts)
    return Validation(
        tolerance_days=tolerance,
        dated_at=dated_at,
        periods=made.periods,
        parcels=len(counts),
        parcels_without=sum(not one.n_known for one in counts),
        known=sum(one.n_known for one in counts),
        found=sum(one.n_found for one in counts),
        matched=n_matched,
        scores=scores(counts),
        intervals=intervals(counts),
        inside_window=inside / n_matched if n_matched else float("nan"),
        left_out=dict(left),
        dates_left_out=outside,
    )


def _numbers(workspace: Workspace, by: str) -> dict[str, int]:
    version = latest_version(workspace)
    if version is None:
        raise MissingDataError("there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import'")
    table = read_attributes(workspace, version, list(dict.fromkeys([ID, by])))
    return dict(zip(map(str, table[by].to_pylist()), table[ID].to_pylist(), strict=True))
