"""Who is who: the user's id of a parcel, and the number it keeps from version to version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.parcels.columns import Texts, as_text, unique_columns

SEPARATOR = "-"
"""Between the values of several id columns, as in the reference system."""
_MAX_ID = int(np.iinfo(np.int32).max)


def original_ids(table: pa.Table, id_columns: Sequence[str], where: str) -> Texts:
    """The user's id (n,) of each row: the values of the id columns joined by ``-``.

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
    parts = [as_text(table.column(name)) for name in id_columns]
    for name, part in zip(id_columns, parts, strict=True):
        missing = np.flatnonzero(part == None)  # noqa: E711 - elementwise comparison with None
        if len(missing):
            raise InputError(
                f"id column {name!r} has no value in {len(missing)} of {len(part)} rows: "
                f"{listing([str(i + 1) for i in missing])}",
                where=where,
                hint="fill the gaps or name other id columns; rows are counted from 1",
            )
    ids = np.empty(table.num_rows, dtype=object)
    ids[:] = [SEPARATOR.join(values) for values in zip(*parts, strict=True)]
    repeated = [(name, n) for name, n in Counter(ids).items() if n > 1]
    if repeated:
        rows = sum(n for _, n in repeated)
        raise InputError(
            f"{len(repeated)} ids occur more than once, in {rows} of {len(ids)} rows: "
            f"{listing([f'{name} ({n} times)' for name, n in sorted(repeated)])}",
            where=f"{where}, id columns {', '.join(id_columns)}",
            hint="name further id columns so that ids are unique, or remove the doubles",
        )
    return ids


def number(ids: Sequence[str] | Texts, known: Mapping[str, int]) -> NDArray[np.int32]:
    """``NewID`` (n,) of each id: a known one keeps its number, new ones follow the largest, ordered by id.

    Parameters
    ----------
    ids : distinct ids, in any order
    known : id -> number, of all versions so far, so that the number of a parcel that left is never given again

    Raises
    ------
    InputError
        If the numbers would leave the range of int32.
    """
    fresh = sorted(i for i in ids if i not in known)
    first = max(known.values(), default=0) + 1
    if first + len(fresh) - 1 > _MAX_ID:
        raise InputError(
            f"parcel numbers would exceed {_MAX_ID}", where="NewID", hint="begin a new workspace for this site"
        )
    fresh_numbers = {name: first + i for i, name in enumerate(fresh)}
    return np.fromiter((known[i] if i in known else fresh_numbers[i] for i in ids), np.int32, len(ids))
