"""Arrow columns without ``pyarrow.array``, which loads pandas to see whether it was given some of it (0.4 CPU s)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def column(values: NDArray[Any]) -> pa.Array:
    """A column that shares the memory of a one-dimensional array of numbers."""
    plain = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(plain.dtype), plain.size, [None, pa.py_buffer(plain)])


def column_of(values: Sequence[Any]) -> pa.Array:
    """A column of Python values: whole numbers, texts, or whatever ``pyarrow.array`` makes of them."""
    if all(type(value) is int for value in values):
        return column(np.array(values, np.int64))
    if all(type(value) is str for value in values):
        encoded = [value.encode() for value in values]
        ends = np.cumsum([0, *map(len, encoded)])
        buffers = [None, pa.py_buffer(ends.astype(np.int64)), pa.py_buffer(b"".join(encoded))]
        return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers).cast(pa.string())
    return pa.array(values)
