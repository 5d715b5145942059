"""Columns of a declaration: values as text, and names that do not clash with ours."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

PREFIX = "src_"
"""Put before a user's column whose name is one of ours."""

Texts = NDArray[np.object_]


def as_text(column: pa.ChunkedArray) -> Texts:
    """Values (n,) as text, ``None`` where missing, blank or not a number.

    Whole numbers are written without a fraction whatever their type: ``123.0`` is what became of the integer 123
    when a table with gaps went through a floating-point column.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        values = [None if v is None or v != v else _number(v) for v in column.to_pylist()]  # noqa: PLR0124 - v != v finds NaN in decimals too
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = [None if v is None else v.strip() or None for v in column.to_pylist()]
    else:
        values = [None if v is None else str(v) for v in column.to_pylist()]
    texts = np.empty(len(values), dtype=object)
    texts[:] = values
    return texts


def _number(value: float) -> str:
    whole = int(value) if np.isfinite(float(value)) else None
    return str(whole) if whole is not None and whole == value else str(value)


def plain(table: pa.Table) -> pa.Table:
    """The same values in types that do not depend on the order of rows or on the reader.

    Dictionaries are laid out, field metadata and nullability dropped, chunks joined.
    """
    arrays, fields = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type
        if isinstance(kind, pa.ExtensionType):
            column, kind = _storage(column), kind.storage_type  # noqa: PLW2901 - the same column in its plain form
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
            column = column.cast(kind)  # noqa: PLW2901 - the same column in its plain form
        arrays.append(column)
        fields.append(pa.field(field.name, kind))
    if not arrays:
        return table
    return pa.table(arrays, schema=pa.schema(fields)).combine_chunks()


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def without_clashes(table: pa.Table, reserved: Collection[str]) -> tuple[pa.Table, dict[str, str]]:
    """Columns whose names are neither reserved nor given twice, compared without case.

    Names that begin with ``ori_`` are reserved as well.

    Returns
    -------
    the table, and new name -> old name of each column that was renamed
    """
    taken = {name.lower() for name in reserved}
    names: list[str] = []
    renamed: dict[str, str] = {}
    # All names that may stay are known before any is changed, so that no renamed column takes another's name.
    staying = {n.lower() for n in table.column_names} - taken
    for old in table.column_names:
        new = old
        while new.lower() in taken or new.lower().startswith("ori_") or (new != old and new.lower() in staying):
            new = PREFIX + new
        taken.add(new.lower())
        names.append(new)
        if new != old:
            renamed[new] = old
    return table.rename_columns(names), renamed


def unique_columns(table: pa.Table, limit: int = 5) -> list[str]:
    """Names of columns whose values are all there and all different: candidates for an id."""
    found: list[str] = []
    for name in table.column_names:
        column = table.column(table.column_names.index(name))
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_floating(kind) or column.null_count:
            continue
        if pc.count_distinct(column).as_py() == len(column):
            found.append(name)
        if len(found) == limit:
            break
    return found
