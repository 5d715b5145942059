"""Who is who: the user's id of a parcel, and the number it keeps from version to version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.parcels.columns import as_text, unique_columns

SEPARATOR = "-"
"""Between the values of several id columns, as in the reference system."""
_MAX_ID = int(np.iinfo(np.int32).max)
_MAX_BYTES = 2**31 - 1
"""What a small array of texts can hold."""


def original_ids(
    table: pa.Table, id_columns: Sequence[str], where: str, *, quote_values: bool = True
) -> pa.StringArray:
    """The user's id (n,) of each row: the values of the id columns joined by ``-``.

    Parameters
    ----------
    quote_values : whether a message may quote ids; else it names rows

    Raises
    ------
    InputError
        No column is named; a value is missing (with the rows, counted from 1); an id occurs more than once.
    """
    if not id_columns:
        candidates = unique_columns(table)
        unique = f"; all values differ in {listing(candidates)}" if candidates else ""
        raise InputError(
            "no column is named that identifies a parcel",
            where=where,
            hint=f"set parcels.id_columns; there are {listing(table.column_names, 40)}{unique}",
        )
    ids = joined(table, id_columns, where)
    counts = pc.value_counts(ids)
    if len(counts) == len(ids):
        return ids
    several = counts.filter(pc.greater(counts.field("counts"), 1))
    repeated = dict(zip(several.field("values").to_pylist(), several.field("counts").to_pylist(), strict=True))
    raise InputError(
        f"{len(repeated)} ids occur more than once, in {sum(repeated.values())} of {len(ids)} rows: "
        + _named(repeated, ids, quote_values=quote_values),
        where=f"{where}, id columns {', '.join(id_columns)}",
        hint="name further id columns so that ids are unique, or remove the doubles",
    )


def _named(repeated: dict[str, int], ids: pa.StringArray, *, quote_values: bool) -> str:
    if quote_values:
        return listing([f"{name} ({n} times)" for name, n in sorted(repeated.items())])
    groups: dict[str, list[str]] = {}
    rows = np.flatnonzero(pc.is_in(ids, pa.array(list(repeated), pa.string())).to_numpy(zero_copy_only=False))
    for row in rows.tolist():
        groups.setdefault(ids[row].as_py(), []).append(str(row + 1))
    return f"{listing([f'rows {listing(group)}' for group in groups.values()])}, counted from 1"


def joined(table: pa.Table, columns: Sequence[str], where: str) -> pa.StringArray:
    """The values (n,) of columns as text, joined by ``-``.

    Raises
    ------
    InputError
        A value is missing, with the rows, counted from 1; or all take more than 2 GiB, which 10 million ids do that are
        200 characters long.
    """
    if sum(table.column(name).nbytes for name in columns) > _MAX_BYTES:
        raise InputError(
            "ids take more than 2 GiB together", where=where, hint=f"name shorter columns than {listing(list(columns))}"
        )
    parts = [as_text(table.column(name)) for name in columns]
    for name, part in zip(columns, parts, strict=True):
        if part.null_count:
            missing = np.flatnonzero(part.is_null().to_numpy(zero_copy_only=False))
            raise InputError(
                f"id column {name!r} has no value in {len(missing)} of {len(part)} rows: "
                f"{listing([str(i + 1) for i in missing[:11]])}"
                + (f" ({len(missing)} in all)" if len(missing) > 11 else ""),
                where=where,
                hint="fill the gaps or name other id columns; rows are counted from 1",
            )
    return pc.binary_join_element_wise(*parts, SEPARATOR) if len(parts) > 1 else parts[0]


class Register:
    """Numbers of all ids that any version has held."""

    def __init__(self) -> None:
        self._ids = pa.array([], pa.string())
        self._numbers = np.empty(0, np.int32)

    def add(self, ids: pa.StringArray, numbers: NDArray[np.int32]) -> None:
        """Take the ids of a version; those that are known have the number that they had."""
        fresh = ~pc.is_in(ids, self._ids).to_numpy(zero_copy_only=False)
        self._ids = pa.concat_arrays([self._ids, ids.filter(pa.array(fresh))])
        self._numbers = np.concatenate((self._numbers, numbers[fresh])).astype(np.int32)

    def number(self, ids: pa.StringArray) -> NDArray[np.int32]:
        """``NewID`` (n,) of each id: a known one keeps its number, new ones follow the largest, ordered by id.

        A number of a parcel that left is never given again.

        Parameters
        ----------
        ids : distinct ids, in any order

        Raises
        ------
        InputError
            If the numbers would leave the range of int32.
        """
        at = pc.index_in(ids, self._ids)
        fresh = np.flatnonzero(at.is_null().to_numpy(zero_copy_only=False))
        last = int(self._numbers.max(initial=0))
        if last + len(fresh) > _MAX_ID:
            raise InputError(
                f"parcel numbers would exceed {_MAX_ID}", where="NewID", hint="begin a new workspace for this site"
            )
        numbers = np.zeros(len(ids), np.int32)
        known = np.setdiff1d(np.arange(len(ids)), fresh, assume_unique=True)
        numbers[known] = self._numbers[at.drop_null().to_numpy()]
        order = pc.sort_indices(ids.take(pa.array(fresh))).to_numpy()
        numbers[fresh[order]] = np.arange(last + 1, last + 1 + len(fresh))
        return numbers
