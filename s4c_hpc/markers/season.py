"""Many marker files as one wide table: columns of all months side by side, parcels of all tiles below each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from s4c_hpc.core.errors import InputError, NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.markers.compat import compat_names
from s4c_hpc.markers.files import MarkerFile, choose_columns
from s4c_hpc.markers.merge import Merged, merge_parts, native_order
from s4c_hpc.markers.naming import parse_name
from s4c_hpc.markers.part import ID_COLUMN, Ids, part_from_file
from s4c_hpc.markers.tables import joined

OWN = frozenset({"STATUS"})
"""Columns in capitals that the reference system does not have."""


def is_reference_name(name: str) -> bool:
    """Whether a column of a table is called as in the reference system: ``CT_pred_1``, or in capitals (``C_INDEX``)."""
    return name.startswith("CT_") or (name.isupper() and name not in OWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """A wide table that is made while it is read."""

    merged: Merged
    left_out: tuple[str, ...]
    """Columns that were chosen but have no name in the reference system."""


def wide_season(
    files: Sequence[MarkerFile],
    *,
    columns: Sequence[str] | None = None,
    ids: Ids | None = None,
    compat: bool = False,
) -> Season:
    """Join marker files.

    Parameters
    ----------
    files : of one set, any tiles and periods
    columns : patterns of native names; all when not given
    ids : (n,) NewIDs; all when not given
    compat : whether columns get the reference system's names, which also decide their order

    Raises
    ------
    NoInputsError
        If no column or no parcel is left.
    InputError
        If a NewID is in none of the files, or names are not unique.
    """
    if files[0].is_table:
        return _of_tables(files, columns, ids, compat=compat)
    found = {name for f in files for name in open_ipc(f.path).schema.names if name != ID_COLUMN}
    chosen = set(choose_columns(sorted(found, key=native_order), columns))
    renamed, left_out = _rename(files, chosen, compat=compat)
    if not any(renamed.values()):
        raise NoInputsError("no column is left", hint="none of the chosen columns has a name in the reference system")
    parts = [part_from_file(f.path, partial(_fields, renamed=renamed[f.path])) for f in files]
    if ids is not None:
        check_ids(np.concatenate([p.ids for p in parts]), ids)
    merged = merge_parts(parts, ids=ids, order=_reference_order if compat else native_order)
    if not merged.n_rows:
        raise NoInputsError("there is no parcel in the chosen marker files", hint="choose other tiles")
    return Season(merged=merged, left_out=left_out)


def _of_tables(files: Sequence[MarkerFile], columns: Sequence[str] | None, ids: Ids | None, *, compat: bool) -> Season:
    """The same of files whose columns are no values of dates; those of the reference have its names anyway."""
    if ids is not None and not files[0].is_of_events:
        check_ids(np.concatenate([open_ipc(f.path).read_all()[ID_COLUMN].to_numpy() for f in files]), ids)
    names = choose_columns([n for n in open_ipc(files[0].path).schema.names if n != ID_COLUMN], columns)
    left_out = tuple(n for n in names if compat and not is_reference_name(n))
    kept = [n for n in names if n not in left_out]
    if not kept:
        raise NoInputsError("no column is left", hint="none of the chosen columns has a name in the reference system")
    return Season(merged=joined(files, kept, ids), left_out=left_out)


def check_ids(known: Ids, ids: Ids) -> None:
    """Refuse NewIDs that are not there: a parcel that silently is not in the answer would be missed late."""
    unknown = np.setdiff1d(ids, known)
    if unknown.size:
        raise InputError(
            f"{unknown.size} of {np.unique(ids).size} parcels are not in the chosen marker files: "
            f"NewID {listing([str(i) for i in unknown])}",
            hint="check the ids, or choose other tiles and periods",
        )


def _rename(
    files: Sequence[MarkerFile], chosen: set[str], *, compat: bool
) -> tuple[Mapping[Any, Mapping[str, str]], tuple[str, ...]]:
    """Per file, native name -> name in the result; and what is left out."""
    renamed: dict[Any, Mapping[str, str]] = {}
    left_out: set[str] = set()
    for file in files:
        here = [name for name in open_ipc(file.path).schema.names if name in chosen]
        if compat:
            names = compat_names([parse_name(name) for name in here], file.tile)
            left_out.update(names.left_out)
            renamed[file.path] = names.names
        else:
            renamed[file.path] = {name: name for name in here}
    return renamed, tuple(sorted(left_out, key=native_order))


def _fields(schema: pa.Schema, renamed: Mapping[str, str]) -> Mapping[str, pa.Field]:
    return {native: schema.field(native).with_name(name) for native, name in renamed.items()}


def _reference_order(name: str) -> tuple[str, str, str]:
    """By day, type and statistic, so that a type's statistics stand together."""
    day, statistic, kind = name.replace("valid_pixels_cnt", "count").split("_", 2)
    return day, kind, statistic
