"""The file of evidence: a row a decision of a parcel, with what it stands on; thresholds stand in its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.practices.improved.decisions import SOURCES, Decisions
from s4c_hpc.practices.product import ID
from s4c_hpc.series.layers import Ids

CONTRACT: Final = "s4c-practices-evidence-1"
"""Changes when the meaning of columns or metadata changes."""

EVIDENCE_SET: Final = "l4c-evidence"
"""Folder below ``markers``."""

VALUES: Final[Mapping[str, tuple[str, str]]] = {
    "ndvi_before": ("NDVI of the last look before the event", "1"),
    "ndvi_after": ("NDVI of the first look after it", "1"),
    "ndvi_limit": ("NDVI below which vegetation of the parcel's season is lost", "1"),
    "bsi_before": ("Bare soil index of the last look before the event", "1"),
    "bsi_after": ("Bare soil index of the first look after it", "1"),
    "swir1_before": ("Reflectance in the short-wave infrared (B11) of the last look before the event", "1"),
    "swir1_after": ("Reflectance in the short-wave infrared (B11) of the first look after it", "1"),
    "ndvi_low": ("Lowest NDVI in the period of the practice", "1"),
    "ndvi_high": ("Highest NDVI in the period of the practice", "1"),
    "looks": ("Looks at NDVI in the period of the practice that count", "1"),
    "green_share": ("Share of these looks with a cover that stays", "1"),
    "coherence_before": ("Coherence VV that the orbit had before", "1"),
    "coherence_after": ("Coherence VV after the event; of a practice, the highest in its period", "1"),
    "coherence_rise": ("Rise of coherence, scaled to pairs 6 days apart", "1"),
    "pair_days": ("Days between the two values of coherence", "day"),
    "ratio_rise_db": ("Lasting growth of VV - VH against the three acquisitions before", "dB"),
    "orbits": ("Orbits of radar that agree; of a practice, that watched its period", "1"),
    "orbits_with_loss": ("Orbits that show a loss of cover in the period of the practice", "1"),
    "rain_mm": ("Most rain in the day before either acquisition of the pair", "mm"),
    "common_rise": ("Median change of coherence of the fields around", "1"),
}
"""Meaning and unit; NaN where a decision does not use it."""

_TEXTS: Final = {
    "decision": "What is decided: harvest, catch-crop, fallow, nitrogen-fixing, tillage, mowing",
    "verdict": "found, not found; of a practice strong, moderate, weak, poor; undecided",
    "start": "Last observation before the event, or first day of the practice",
    "end": "First observation after the event, or last day of the practice",
    "confidence": "How sure it is, 0 to 1; NaN where undecided. Weights are not fitted to any truth.",
    "source": "What it stands on: S1+S2, S2, S1, or nothing",
    "doubts": "Bits: 1 rain before a pair, 2 recovery after rain, 4 fields around changed alike",
    "reason": "Why, in words",
}


def evidence_schema(metadata: Mapping[str, str]) -> pa.Schema:
    """Columns of a file; days are null where there is no window."""
    kinds = {
        "decision": pa.string(),
        "verdict": pa.string(),
        "start": pa.date32(),
        "end": pa.date32(),
        "confidence": pa.float32(),
        "source": pa.string(),
        "doubts": pa.uint8(),
        "reason": pa.string(),
    }
    fields = [_field(ID, pa.int32(), "Parcel", "")]
    fields += [_field(name, kind, _TEXTS[name], "1" if name == "confidence" else "") for name, kind in kinds.items()]
    fields += [_field(name, pa.float32(), *VALUES[name]) for name in VALUES]
    return pa.schema(fields, metadata={"contract": CONTRACT, **metadata})


def evidence_batch(schema: pa.Schema, ids: Ids, decisions: Sequence[Decisions]) -> pa.RecordBatch:
    """Decisions of a block of parcels, by parcel; those of a parcel in the order in which they were made."""
    made = [one for one in decisions if one.row.size]
    row = np.concatenate([one.row for one in made]) if made else np.empty(0, np.int64)
    order = np.argsort(ids[row], kind="stable")

    def texts(name: str) -> pa.Array:
        values = np.concatenate([getattr(one, name).astype(object) for one in made]) if made else np.empty(0, object)
        return pa.array(values[order], pa.string())

    def numbers(parts: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        return np.concatenate(parts)[order] if parts else np.empty(0)

    columns: dict[str, pa.Array] = {
        ID: pa.array(ids[row][order], pa.int32()),
        "decision": pa.array(
            np.concatenate([np.full(one.row.size, one.decision, object) for one in made])[order] if made else [],
            pa.string(),
        ),
        **{name: texts(name) for name in ("verdict", "reason")},
        **{name: _dates(numbers([getattr(one, name) for one in made])) for name in ("start", "end")},
        "confidence": pa.array(numbers([one.confidence for one in made]).astype(np.float32), pa.float32()),
        "source": pa.array(
            np.array(SOURCES, object)[numbers([one.source for one in made]).astype(np.int64)], pa.string()
        ),
        "doubts": pa.array(numbers([one.doubts for one in made]).astype(np.uint8), pa.uint8()),
    }
    for name in VALUES:
        parts = [one.values.get(name, np.full(one.row.size, np.float32(np.nan))) for one in made]
        columns[name] = pa.array(numbers(parts).astype(np.float32), pa.float32())
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def evidence_of(product: Path) -> Path | None:
    """The file of evidence that the task of a product has made beside it.

    One of another task tells of other decisions: it lies there after a change of mode until a whole run has ended, and
    for the moment between the two files of a task.
    """
    path = product.parents[2] / EVIDENCE_SET / product.parent.name / product.name
    return path if path.is_file() and _task_of(path) == _task_of(product) else None


def _task_of(path: Path) -> str | None:
    with open_ipc(path) as reader:
        return read_metadata(reader.schema).get("task")


def _dates(days: NDArray[np.generic]) -> pa.Array:
    values = days.astype(np.int64)
    known = values >= 0
    return pa.array(np.where(known, values, 0).astype(np.int32), pa.int32(), mask=~known).cast(pa.date32())


def _field(name: str, kind: pa.DataType, long_name: str, unit: str) -> pa.Field:
    described = {"long_name": long_name, **({"unit": unit} if unit else {})}
    return pa.field(name, kind, nullable=name in {"start", "end"}, metadata=described)
