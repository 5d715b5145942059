"""What the files of mowing hold: a row an event, and a row a parcel."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from s4c_hpc.confounders.doubts import REASONS
from s4c_hpc.core.errors import InputError, NoInputsError
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.mowing.detector import EVIDENCE
from s4c_hpc.series.contract import ID

CONTRACT: Final = "s4c-mowing-2"
"""Changes when the meaning of columns or metadata changes."""

EVENTS: Final = "l4b"
PARCELS: Final = "l4b-parcels"
"""Folders below ``markers`` of the events and of what is said of each parcel."""

_SEEN: Final = {
    "ndvi_before": "NDVI of the last look before the fall",
    "ndvi_after": "NDVI of the first look after it",
    "ndvi_reference": "Highest NDVI of the weeks before, the local reference",
    "ndvi_low": "Lowest NDVI of the weeks after, the stubble",
    "ndvi_regrowth": "Highest NDVI that came back afterwards",
    "coherence_before": "Mean coherence of the pairs that end before the fall",
    "coherence_after": "Mean coherence of the pairs that begin after it",
    "coherence_rise": "Rise of coherence that counts: of an orbit in doubt no more than the usual",
}


_SEEN_RULES: Final = {
    "ndvi_before": "two looks whose NDVI falls by min_fall or more, dips of clouds left out",
    "ndvi_after": "two looks whose NDVI falls by min_fall or more, dips of clouds left out",
    "ndvi_reference": "reference_days before the fall",
    "ndvi_low": "low_days after the fall",
    "ndvi_regrowth": "regrowth_days after the fall",
    "coherence_before": "coherence_days before the fall",
    "coherence_after": "coherence_days after the fall",
    "coherence_rise": "coherence_after less coherence_before, changes in doubt left out",
}
_CONFIDENCE: Final = (
    "logistic in the fall, ndvi_reference, regrowth over ndvi_low and the rise of coherence, weights of "
    "mowing.improved; in reference mode as the reference has it"
)
_SOURCES: Final = {"S2": "NDVI", "S1": "coherence", "S2/S1": "both have a part in it"}
_DOUBTS: Final = {str(int(doubt)): text for doubt, text in REASONS.items()}
_DOUBTED: Final = "flags of confounders at the pairs of coherence around the fall"
_COMPLIANCE: Final = {
    "-1": "the crop has no rule",
    "0": "not assessed",
    "1": "mown in a period",
    "2": "not mown in a period",
    "3": "mown in a period and outside",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MowingHeader:
    """Where the rows of a file come from: its schema metadata."""

    set: str
    period: str
    site: str
    tile: str
    parcels: str
    """Key of the parcels."""
    mode: str
    rules: str
    """JSON: all thresholds."""
    task: str

    def to_metadata(self) -> dict[str, str]:
        """As schema metadata."""
        return {"contract": CONTRACT, **{name: getattr(self, name) for name in self.__dataclass_fields__}}


def event_schema(header: MowingHeader) -> pa.Schema:
    """Schema of events: no nulls, NaN where a detector has not looked at something."""
    columns = [
        _field(ID, pa.int32(), "Parcel"),
        _field("event", pa.int32(), "Number of the event in the season of its parcel, from 1, by time"),
        _field("start", pa.date32(), "Day of the last look before the mowing", unit="day"),
        _field("end", pa.date32(), "Day of the first look after it", unit="day"),
        _field("date", pa.date32(), "Middle of start and end, the day that is nearest on average", unit="day"),
        _field("confidence", pa.float32(), "Probability that it is a mowing", unit="1", rule=_CONFIDENCE),
        _field("source", pa.string(), "What saw it", codes=_SOURCES, rule="S1: coherence moved the confidence"),
        *(_field(name, pa.float32(), _SEEN[name], unit="1", rule=_SEEN_RULES.get(name, "")) for name in EVIDENCE),
        _field(
            "doubts", pa.uint8(), "What else may have raised coherence; bits", unit="code", codes=_DOUBTS, rule=_DOUBTED
        ),
        _field("reason", pa.string(), "The same in words; such an event has less confidence for it"),
    ]
    return pa.schema(columns, metadata=header.to_metadata())


def parcel_schema(header: MowingHeader) -> pa.Schema:
    """Schema of what is said of each parcel."""
    columns = [
        _field(ID, pa.int32(), "Parcel"),
        _field(
            "assessed",
            pa.bool_(),
            "Whether there was enough to see mowings",
            rule="min_looks looks, crop in mowing.crops",
        ),
        _field("reason", pa.string(), "Why it was not assessed; empty if it was"),
        _field("mow_n", pa.int32(), "Mowings", rule="rows of l4b"),
        _field("looks", pa.int32(), "NDVI looks in the season"),
        _field("pairs", pa.int32(), "Coherences in the season"),
        _field(
            "compl",
            pa.int8(),
            "Whether the rule of the crop is kept",
            unit="code",
            codes=_COMPLIANCE,
            rule="mowings whose window touches a period of mowing.compliance",
        ),
    ]
    return pa.schema(columns, metadata=header.to_metadata())


def _field(
    name: str,
    kind: pa.DataType,
    long_name: str,
    *,
    unit: str = "",
    rule: str = "",
    codes: Mapping[str, str] | None = None,
) -> pa.Field:
    described = {"long_name": long_name, "unit": unit}
    described |= {"codes": canonical_json(codes)} if codes else {}
    described |= {"rule": rule} if rule else {}
    return pa.field(name, kind, nullable=False, metadata=described)


def mowing_path(kind: str, period: str, site: str, tile: str) -> str:
    """Path of a file relative to the workspace."""
    return f"markers/{kind}/{period}/{site}_{tile}.arrow"


def manifest_path(kind: str, period: str, site: str, tile: str) -> str:
    """Path of the manifest beside it."""
    return mowing_path(kind, period, site, tile).removesuffix(".arrow") + ".manifest.json"


def period_of(start: dt.date, end: dt.date) -> str:
    """Name of a season's folder."""
    return f"{start}_{end}"


@dataclass(frozen=True, slots=True)
class FoundMowings:
    """Events of a workspace."""

    events: Mapping[int, tuple[tuple[dt.date, dt.date, float], ...]]
    """Start, end and confidence by parcel, of all that were assessed."""
    not_assessed: Mapping[int, str]
    """Reason by parcel."""
    periods: tuple[str, ...]


def read_mowings(workspace: Workspace, period: str | None = None) -> FoundMowings:
    """All events of a workspace.

    Parameters
    ----------
    period : of the files; by default all that there are

    Raises
    ------
    NoInputsError
        If mowing was not detected.
    """
    found: dict[int, list[tuple[dt.date, dt.date, float]]] = {}
    missing: dict[int, str] = {}
    paths = sorted(workspace.markers.glob(f"{PARCELS}/{period or '*'}/*.arrow"))
    if not paths:
        raise NoInputsError(
            "there are no mowings" + (f" of {period}" if period else ""),
            where=str(workspace.markers / EVENTS),
            hint="set mowing.enabled = true and run 's4c run'",
        )
    for path in paths:
        for row in _rows(path):
            if row["assessed"]:
                found.setdefault(row[ID], [])
            else:
                missing[row[ID]] = row["reason"]
        for row in _rows(workspace.markers / EVENTS / path.parent.name / path.name):
            found.setdefault(row[ID], []).append((row["start"], row["end"], row["confidence"]))
    events = {parcel: tuple(sorted(own)) for parcel, own in found.items()}
    left = {parcel: reason for parcel, reason in missing.items() if parcel not in events}
    return FoundMowings(events, left, tuple(sorted({path.parent.name for path in paths})))


def _rows(path: Path) -> list[dict[str, Any]]:
    with open_ipc(path) as reader:
        if read_metadata(reader.schema).get("contract") != CONTRACT:
            raise InputError(
                f"not a file of contract {CONTRACT}", where=str(path), hint="run 's4c run' to make it again"
            )
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    return rows


def dates(days: np.ndarray[tuple[int], np.dtype[np.float64]]) -> pa.Array:
    """Days since 1970 as dates."""
    return pa.array(days.astype(np.int32), pa.int32()).cast(pa.date32())
