"""Events that were found in a workspace, whichever rules found them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s4c_hpc.core.errors import NoInputsError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.mowing.contract import read_mowings
from s4c_hpc.practices.codes import REASONS, Status
from s4c_hpc.practices.improved.evidence import evidence_of
from s4c_hpc.series.contract import ID

Window = tuple[dt.date, dt.date]
"""From the day before an event to the day after it."""

_PRACTICES: Final = "l4c"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEvents:
    """Events of one kind."""

    events: Mapping[int, tuple[Window, ...]]
    """Windows of each parcel that was looked at, by time."""
    not_assessed: Mapping[int, str]
    """Reason by parcel."""
    periods: tuple[str, ...]
    """Names of the folders."""
    spans: tuple[Window, ...]
    """First and last day of each."""


def found_mowings(workspace: Workspace, period: str | None = None) -> FoundEvents:
    """Mowings.

    Parameters
    ----------
    period : name of the folder of the files; all when not given

    Raises
    ------
    NoInputsError
        If mowing was not detected.
    """
    made = read_mowings(workspace, period)
    spans = tuple((dt.date.fromisoformat(a), dt.date.fromisoformat(b)) for a, b in (p.split("_") for p in made.periods))
    events = {parcel: tuple((a, b) for a, b, _ in own) for parcel, own in made.events.items()}
    return FoundEvents(events=events, not_assessed=made.not_assessed, periods=made.periods, spans=spans)


def found_harvests(workspace: Workspace, period: str | None = None) -> FoundEvents:
    """Harvests: from evidence, which has the looks before and after, or weeks where the rules write none.

    Parameters
    ----------
    period : year of the files; all when not given

    Raises
    ------
    NoInputsError
        If practices were not judged.
    """
    paths = sorted(workspace.markers.glob(f"{_PRACTICES}/{period or '*'}/*.arrow"))
    if not paths:
        raise NoInputsError(
            "there are no practices" + (f" of {period}" if period else ""),
            where=str(workspace.markers / _PRACTICES),
            hint="set practices.enabled = true and run 's4c run'",
        )
    events: dict[int, list[Window]] = {}
    missing: dict[int, str] = {}
    for path in paths:
        evidence = evidence_of(path)
        if evidence is not None:
            with open_ipc(evidence) as reader:
                rows = [row for row in reader.read_all().to_pylist() if row["decision"] == "harvest"]
            judged = (_of_evidence(row) for row in rows)
        else:
            with open_ipc(path) as reader:
                rows = reader.read_all().select([ID, "STATUS", "H_W_START", "H_W_END"]).to_pylist()
            judged = (_of_weeks(row) for row in rows)
        for parcel, windows, reason in judged:
            if windows is None:
                missing[parcel] = reason
            else:
                events.setdefault(parcel, []).extend(windows)
    left = {parcel: reason for parcel, reason in missing.items() if parcel not in events}
    spans: dict[str, Window] = {path.parent.name: _span(path) for path in paths}
    return FoundEvents(
        events={parcel: tuple(sorted(own)) for parcel, own in events.items()},
        not_assessed=left,
        periods=tuple(sorted(spans)),
        spans=tuple(span for _, span in sorted(spans.items())),
    )


def _span(path: Path) -> Window:
    """First and last day of the season that a file of practices is of."""
    with open_ipc(path) as reader:
        season = read_metadata(reader.schema).get("season", "")
    if not season:
        year = int(path.parent.name)
        return dt.date(year, 1, 1), dt.date(year, 12, 31)
    first, last = season.split("_")
    return dt.date.fromisoformat(first), dt.date.fromisoformat(last)


_Judged = tuple[int, list[Window] | None, str]
"""A parcel, its windows (``None``: it was not assessed), and why."""


def _of_evidence(row: Mapping[str, Any]) -> _Judged:
    if row["verdict"] == "undecided":
        return row[ID], None, row["reason"]
    is_found = row["verdict"] == "found"
    return row[ID], [(row["start"], row["end"])] if is_found else [], ""


def _of_weeks(row: Mapping[str, Any]) -> _Judged:
    if row["STATUS"] != Status.OK:
        return row[ID], None, REASONS[Status(row["STATUS"])]
    is_found = row["H_W_START"] > 0
    return row[ID], [(_day(row["H_W_START"]), _day(row["H_W_END"]))] if is_found else [], ""


def _day(yyyymmdd: int) -> dt.date:
    return dt.date(yyyymmdd // 10000, yyyymmdd // 100 % 100, yyyymmdd % 100)
