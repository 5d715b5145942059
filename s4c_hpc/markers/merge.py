"""Many files of values by parcel -> one table sorted by NewID.

A merge is a join in the sense of a lattice: a column's value for a parcel is known from the one source that has
it, "not known" is NaN (0 in a count: no pixel was seen), and two different known values are an error. That makes
it commutative, associative and idempotent: the result is a function of the set of sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.markers.naming import parse_name
from s4c_hpc.markers.part import ID_COLUMN, Ids, Part, Values, part_from_table

BATCH_ROWS = 1024
"""Rows of a record batch in marker files."""

STRIP_BYTES = 128 * 2**20
"""Size of the output rows that are held in memory at a time."""

MISSING_KEY = "missing"
"""Field metadata: what stands for a parcel that the source does not have, ``NaN``, or ``0`` in counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A merge that is made batch by batch while it is read."""

    schema: pa.Schema
    """``NewID`` first, then the columns in canonical order."""
    n_rows: int
    """Number of parcels."""
    batches: Iterator[pa.RecordBatch]
    """Record batches of 1024 rows, the last one shorter; can be read once."""

    def table(self) -> pa.Table:
        """All of it in memory."""
        return pa.Table.from_batches(self.batches, self.schema)


def native_order(name: str) -> tuple[Any, ...]:
    """Sort key of native column names: by acquisition, then counts, then variables."""
    return parse_name(name).sort_key


def merge_parts(
    parts: Sequence[Part],
    *,
    ids: Ids | None = None,
    order: Callable[[str], Any] = native_order,
    metadata: Mapping[str, str] | None = None,
    strip_bytes: int = STRIP_BYTES,
) -> Merged:
    """Merge parts.

    Parameters
    ----------
    parts : any number, in any order
    ids : (n,) NewIDs that are wanted, all of which some part has; every parcel of every part when not given
    order : sort key of the result's column names
    metadata : schema metadata of the result
    strip_bytes : memory for output rows; the peak is about four times as much when there is one part only

    Raises
    ------
    InputError
        If two parts have different values for a parcel in a column of one name, or a column has two types.
    """
    fields = _fields(parts, order)
    if ids is None:
        ids = np.unique(np.concatenate([p.every_id for p in parts])) if parts else np.empty(0, np.int32)
    else:
        ids = np.unique(ids)
    ids = ids.astype(np.int32, copy=False)
    schema = pa.schema([pa.field(ID_COLUMN, pa.int32(), nullable=False), *fields], metadata=metadata)
    row_bytes = sum(f.type.bit_width // 8 for f in schema)
    strip_rows = max(1, strip_bytes // row_bytes // BATCH_ROWS) * BATCH_ROWS
    return Merged(schema=schema, n_rows=ids.size, batches=_batches(parts, schema, ids, strip_rows))


def merge_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """Merge tables in memory: the pure form of ``merge_parts``."""
    return merge_parts([part_from_table(t, f"table {i}") for i, t in enumerate(tables)]).table()


def _fields(parts: Sequence[Part], order: Callable[[str], Any]) -> list[pa.Field]:
    """Fields of the result; what two sources say differently about a column is left out of its metadata."""
    fields: dict[str, pa.Field] = {}
    for part in parts:
        for new in part.columns.values():
            old = fields.get(new.name)
            if old is None:
                fields[new.name] = pa.field(new.name, new.type, nullable=False, metadata=new.metadata)
            elif old.type != new.type:
                raise InputError(
                    f"column {new.name} is {new.type} here and {old.type} elsewhere",
                    where=part.where,
                    hint="both must be made with the same extract.weighting; run 's4c run' again",
                )
            else:
                other = new.metadata or {}
                same = {k: v for k, v in (old.metadata or {}).items() if other.get(k) == v}
                fields[new.name] = old.with_metadata(same)
    return [fields[name] for name in sorted(fields, key=order)]


def _batches(parts: Sequence[Part], schema: pa.Schema, ids: Ids, strip_rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, ids.size, strip_rows):
        wanted = ids[start : start + strip_rows]
        columns: dict[str, Values] = {}
        for part in parts:
            _join(columns, part, wanted, schema)
        arrays = [pa.array(wanted)]
        arrays += [
            pa.array(columns.pop(f.name) if f.name in columns else _unknown(wanted.size, f)) for f in list(schema)[1:]
        ]
        strip = pa.RecordBatch.from_arrays(arrays, schema=schema)
        # A strip is a whole number of batches, so slices begin at multiples of 64 bytes and files get the same
        # bytes whatever the strip size.
        for offset in range(0, wanted.size, BATCH_ROWS):
            yield strip.slice(offset, BATCH_ROWS)


def _join(columns: dict[str, Values], part: Part, wanted: Ids, schema: pa.Schema) -> None:
    """Add the values of ``part`` to ``columns`` (each (m,) beside ``wanted``)."""
    places, found = part.take(wanted)
    if not places.size:
        return
    for source, renamed in part.columns.items():
        field, values = schema.field(renamed.name), found.pop(source)
        if places.size < wanted.size:
            spread = _unknown(wanted.size, field)
            spread[places] = values
            values = spread
        known = columns.get(field.name)
        columns[field.name] = values if known is None else _agreed(known, values, wanted, field, part.where)


def _agreed(known: Values, new: Values, wanted: Ids, field: pa.Field, where: str) -> Values:
    """Either value where one is known; an error where two differ."""
    has_known, has_new = _is_known(known, field), _is_known(new, field)
    differ = has_known & has_new & (known != new)
    if differ.any():
        raise InputError(
            f"two sources have different values in column {field.name} for NewID "
            f"{listing([str(i) for i in wanted[differ]])}",
            where=where,
            hint="a parcel belongs to one tile and a column to one product; were two parcel versions mixed?",
        )
    return np.where(has_known, known, new)


def _missing(field: pa.Field) -> float:
    """What stands for "not known" in a column; without metadata the type decides."""
    said = (field.metadata or {}).get(MISSING_KEY.encode())
    return float(said) if said is not None else (float("nan") if pa.types.is_floating(field.type) else 0.0)


def _is_known(values: Values, field: pa.Field) -> npt.NDArray[np.bool_]:
    missing = _missing(field)
    known: npt.NDArray[np.bool_] = ~np.isnan(values) if math.isnan(missing) else values != missing
    return known


def _unknown(n: int, field: pa.Field) -> Values:
    return np.full(n, _missing(field), field.type.to_pandas_dtype())
