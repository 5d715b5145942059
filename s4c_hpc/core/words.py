"""Columns of numbers of one width as a matrix of bits: rows are taken out of all of them in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Words = NDArray[np.unsignedinteger[Any]]


def as_words(columns: Sequence[pa.Array]) -> Words:
    """(k, n) bits of k columns as unsigned integers; ``view`` makes numbers of a row again.

    Parameters
    ----------
    columns : (n,) each, of numbers of the same number of bytes; what nulls hold is not defined

    Notes
    -----
    A view where they lie at equal distances, as the columns of a record batch in a file do; else a copy.
    """
    width, n = columns[0].type.bit_width // 8, len(columns[0])
    kind = np.dtype(f"u{width}")
    if not n:
        return np.empty((len(columns), 0), kind)
    buffers = [column.buffers()[1] for column in columns]
    places = np.array([b.address + c.offset * width for b, c in zip(buffers, columns, strict=True)], np.int64)
    steps = np.diff(places) if len(columns) > 1 else np.array([n * width])
    if steps[0] < n * width or (steps != steps[0]).any():
        pairs = zip(buffers, columns, strict=True)
        return np.stack([np.frombuffer(b, kind, n, c.offset * width) for b, c in pairs])
    end = int(places[-1]) + n * width
    memory = pa.foreign_buffer(int(places[0]), end - int(places[0]), base=buffers)
    return np.ndarray((len(columns), n), kind, buffer=memory, strides=(int(steps[0]), width))


class BatchWords:
    """Columns of record batches that stand one below the other.

    Views of the batches are kept: whoever takes rows strip by strip asks for the same columns again. Copies, which cost
    memory, are made anew.

    Parameters
    ----------
    columns : some columns of a batch, by its number and their names
    starts : first row of each batch, and whatever follows the last one
    """

    def __init__(self, columns: Callable[[int, Sequence[str]], Sequence[pa.Array]], starts: NDArray[np.int64]) -> None:
        self._columns, self._starts = columns, starts
        self._known: dict[tuple[int, tuple[str, ...]], Words] = {}

    def rows(self, names: Sequence[str], rows: NDArray[np.int64]) -> Words:
        """(k, n) bits of columns of one width, of rows (n,) in any order, at least one."""
        return taken(partial(self._words, tuple(names)), self._starts, rows)

    def _words(self, names: tuple[str, ...], number: int) -> Words:
        if (number, names) in self._known:
            return self._known[number, names]
        words = as_words(self._columns(number, names))
        if not words.flags.owndata:
            self._known[number, names] = words
        return words


def taken(words: Callable[[int], Words], starts: NDArray[np.int64], rows: NDArray[np.int64]) -> Words:
    """(k, n) bits of rows of record batches that stand one below the other.

    Parameters
    ----------
    words : (k, rows of the batch) bits of a batch by its number, see ``as_words``
    starts : first row of each batch, and whatever follows the last one
    rows : (n,) in any order, at least one
    """
    # Batch by batch, as the file lies; then put in order, which is cheap once everything is near.
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    number = np.searchsorted(starts, ascending, side="right") - 1
    cuts = np.flatnonzero(np.diff(number)) + 1
    pieces = zip(number[np.r_[0, cuts]].tolist(), np.split(ascending, cuts), strict=True)
    found = [words(one).take(local - starts[one], axis=1) for one, local in pieces]
    matrix = found[0] if len(found) == 1 else np.concatenate(found, axis=1)
    if (np.diff(order) == 1).all():
        return matrix
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return matrix.take(back, axis=1)
