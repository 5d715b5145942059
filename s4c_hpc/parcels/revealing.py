"""Columns that would give ids away under pseudonyms: those that repeat an id, of their own row or of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.parcels.columns import as_text, is_text

_MIN_CONTAINED = 4
"""A shorter id is found inside of any text by chance."""
_MIN_ELSEWHERE = 6
"""A shorter id is met in another row by chance."""
_MIN_NUMBER = 8
"""A number of fewer digits is the id of another row by chance."""
_BETWEEN_WORDS = r"[^\pL\pN]+"
_CHUNK = 65_536
"""Rows whose texts are compared at a time."""
_MANY = 1 << 20
"""The same where ids are looked up, which are put in order each time."""


def revealing(table: pa.Table, names: Sequence[str], clear: Sequence[pa.StringArray], drop: Sequence[str]) -> list[str]:
    """Names of columns that must not be kept.

    These are the columns of the ids; what the user says; and columns in which ids are found, in capitals or not:

    - in the same row: equal in most rows, or inside of a text (ids of four characters and more);
    - in another row: the words of a text hold an id of six characters and more, or most numbers of eight digits and
      more are ids.

    Numbers and shorter ids agree by chance in a few rows, which does not count. Columns that hold bytes, lists or
    structures are left out as well.

    Parameters
    ----------
    names : columns of the ids
    clear : (n,) ids, and each of their parts
    """
    found = {*names, *drop}
    lowered = [pc.utf8_lower(ids) for ids in clear]
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name not in found and (_opaque(column.type) or any(_reveals(column, ids) for ids in lowered)):
            found.add(name)
    return [name for name in table.column_names if name in found]


def _opaque(kind: pa.DataType) -> bool:
    kind = _of_values(kind)
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _of_values(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _reveals(column: pa.ChunkedArray, ids: pa.StringArray) -> bool:
    """Whether a column holds ids (n,), which are in small letters."""
    kind = _of_values(column.type)
    if pa.types.is_temporal(kind) or pa.types.is_boolean(kind):
        return False
    n_equal = n_known = 0
    for start, texts in _chunks(column, _CHUNK):
        own = ids[start : start + len(texts)]
        n_equal += pc.sum(pc.equal(texts, own)).as_py() or 0
        n_known += len(texts) - texts.null_count
        if is_text(kind) and _contains(texts, own):
            return True
    if n_equal * 2 > n_known:
        return True
    return _names_others(column, ids) if is_text(kind) else _numbers_others(column, ids)


def _chunks(column: pa.ChunkedArray, size: int) -> Iterator[tuple[int, pa.StringArray]]:
    """First row and texts, in small letters, of some rows at a time."""
    for start in range(0, len(column), size):
        yield start, pc.utf8_lower(as_text(column.slice(start, size)))


def _contains(texts: pa.StringArray, ids: pa.StringArray) -> bool:
    """Whether any text contains the id of its row."""
    long = pc.and_(pc.greater_equal(pc.utf8_length(ids), _MIN_CONTAINED), texts.is_valid())
    kind = np.dtypes.StringDType()
    inside, whole = (np.array(c.filter(long).to_pylist(), dtype=kind) for c in (ids, texts))
    return bool(np.any(np.strings.find(whole, inside) >= 0))


def _names_others(column: pa.ChunkedArray, ids: pa.StringArray) -> bool:
    """Whether any text has an id among its words; an id may be several words itself (``DE-05 117``)."""
    parts, row = _words(ids)
    n_words = np.bincount(row, minlength=len(ids))
    long = pc.greater_equal(pc.utf8_length(ids), _MIN_ELSEWHERE).to_numpy(zero_copy_only=False)
    for length in np.unique(n_words[long & (n_words > 0)]).tolist():
        wanted, of = _runs(parts, row, length)
        wanted = wanted.filter(pa.array((n_words[of] == length) & long[of]))
        for _, texts in _chunks(column, _MANY):
            runs, _ = _runs(*_words(pc.unique(texts).drop_null()), length)
            if pc.any(pc.is_in(runs, wanted)).as_py():
                return True
    return False


def _words(texts: pa.StringArray) -> tuple[pa.StringArray, NDArray[np.int64]]:
    """Words of all texts, end to end, and the row of each."""
    split = pc.split_pattern_regex(texts, _BETWEEN_WORDS)
    words, row = pc.list_flatten(split), pc.list_parent_indices(split)
    some = pc.not_equal(words, "")
    return words.filter(some), row.filter(some).to_numpy().astype(np.int64)


def _runs(words: pa.StringArray, row: NDArray[np.int64], length: int) -> tuple[pa.StringArray, NDArray[np.int64]]:
    """Every ``length`` words of one text that follow one another, joined, and the row of each."""
    n = max(len(words) - length + 1, 0)
    joined = words[:n] if length == 1 else pc.binary_join_element_wise(*(words[i : i + n] for i in range(length)), " ")
    of_one = row[:n] == row[length - 1 : length - 1 + n]
    return joined.filter(pa.array(of_one)), row[:n][of_one]


def _numbers_others(column: pa.ChunkedArray, ids: pa.StringArray) -> bool:
    """Whether most of the long numbers of a column are ids of any row."""
    n_long = n_ids = 0
    for _, texts in _chunks(column, _MANY):
        long = texts.filter(pc.fill_null(pc.greater_equal(pc.utf8_length(texts), _MIN_NUMBER), False))  # noqa: FBT003 - pyarrow's signature
        n_long += len(long)
        n_ids += pc.sum(pc.is_in(long, ids)).as_py() or 0
    return n_ids * 2 > n_long
