"""Columns of a declaration: values as text, and names that do not clash with ours."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PREFIX = "src_"
"""Put before a user's column whose name is one of ours."""
_LARGE_BYTES = 2**31 - 1
"""A column of more than this gets places of 64 bits: a small array of texts cannot hold 2 GiB."""


_LARGE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}


def as_text(column: pa.ChunkedArray) -> pa.StringArray:
    """Values (n,) as text, null where missing, blank or not a number.

    Whole numbers are written without a fraction whatever their type: ``123.0`` is what became of the integer 123
    when a table with gaps went through a floating-point column.
    Whoever asks for more than 2 GiB of texts asks slice by slice.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if is_text(kind):
        trimmed = pc.utf8_trim_whitespace(column.cast(pa.string()))
        return _joined(pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed))
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return _joined(column.cast(pa.string()))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = [None if v is None or v != v else _number(v) for v in column.to_pylist()]  # noqa: PLR0124 - v != v finds NaN in decimals too
    else:
        values = [None if v is None else str(v) for v in column.to_pylist()]
    return pa.array(values, pa.string())


def is_text(kind: pa.DataType) -> bool:
    """Whether values are texts, short or long."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _joined(column: pa.ChunkedArray) -> pa.StringArray:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _number(value: float) -> str:
    whole = int(value) if np.isfinite(float(value)) else None
    return str(whole) if whole is not None and whole == value else str(value)


def plain(table: pa.Table) -> pa.Table:
    """The same values in types that do not depend on the order of rows or on the reader.

    Dictionaries are laid out, field metadata and nullability dropped, chunks joined. Of more than 2 GiB, texts and
    bytes become large ones: Arrow can neither join nor take more of small ones.
    """
    arrays, fields = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type
        if isinstance(kind, pa.ExtensionType):
            column, kind = _storage(column), kind.storage_type  # noqa: PLW2901 - the same column in its plain form
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
            column = column.cast(kind)  # noqa: PLW2901 - the same column in its plain form
        if kind in _LARGE and column.nbytes > _LARGE_BYTES:
            kind = _LARGE[kind]
            column = column.cast(kind)  # noqa: PLW2901 - the same column in its plain form
        arrays.append(column)
        fields.append(pa.field(field.name, kind))
    if not arrays:
        return table
    return pa.table(arrays, schema=pa.schema(fields)).combine_chunks()


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def stacked(first: pa.Table, second: pa.Table) -> pa.Table:
    """The rows of both, with the columns of both: null where a table has none.

    Of a column with two types the wider one counts, or text where they have none in common.
    """
    try:
        both = pa.concat_tables([first, second], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        shared = [n for n in first.column_names if n in second.column_names]
        differ = [n for n in shared if first.schema.field(n).type != second.schema.field(n).type]
        both = pa.concat_tables([_with_texts(first, differ), _with_texts(second, differ)], promote_options="default")
    return plain(both)


def _with_texts(table: pa.Table, names: Collection[str]) -> pa.Table:
    for name in names:
        at = table.column_names.index(name)
        table = table.set_column(at, name, as_text(table.column(at)))
    return table


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
