"""Stacks: the pixels of the farmland mask of one product on one grid, a column per band."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.extract.ranges import RowRanges
from s4c_hpc.optical import NO_CLASS

STACK_BATCH_ROWS: Final = 262_144
"""Rows of every record batch but the last: a fixed number, so that bytes depend on nothing but the pixels."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

CLASS_COLUMN: Final = "class"
"""Name of the column that every stack has: the source's own pixel class on the grid of its class layer, else 0."""

FMASK_COLUMN: Final = "class_fmask"
"""Name of the column with the values of FMask, in the stack of the grid that FMask was made on."""

NO_RASTER: Final = NO_CLASS
"""Class of cells that lie off the rasters of their grid, and by convention of source values that are no class: they
are nodata in every column and for every table of classes."""

ANGLES: Final = "angles"
"""Name of the metadata that hold sun and view angles (``catalog.Angles``); in one stack of a product, if at all."""

NO_CLASSES: Final = "none"
"""``class_kind`` of a stack whose class column only tells where there are rasters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackColumn:
    """One column of a stack."""

    name: str
    """Band name, or ``class``."""
    dtype: str
    """NumPy name of the stored type."""
    scale: float = 1.0
    """Physical value = DN * scale + offset."""
    offset: float = 0.0
    """In physical units."""
    nodata: float | None = None
    """DN that means no data."""
    saturated: float | None = None
    """DN that means saturated: no value either. It is not counted in ``n_saturated``, which counts pixels by class."""


def stack_bytes(columns: Sequence[StackColumn], n_rows: int) -> int:
    """Most bytes of a stack file: its pixels, and what Arrow says of the file, its columns and its batches."""
    n_batches = 1 + n_rows // STACK_BATCH_ROWS
    pixels = n_rows * sum(np.dtype(column.dtype).itemsize for column in columns)
    return pixels + 4096 + len(columns) * (500 + 128 * n_batches) + 256 * n_batches


class StackWriter:
    """Writes a stack piece by piece, in the order of its rows, in batches of a fixed number of rows.

    Memory: one batch, ``STACK_BATCH_ROWS`` rows of all columns.
    """

    def __init__(self, path: Path, columns: Sequence[StackColumn], metadata: Mapping[str, str]) -> None:
        """Open the file; nothing is whole before the ``with`` block ends well.

        Parameters
        ----------
        columns : in the order of the file
        metadata : text by name, kept in the schema beside the columns' own description
        """
        described = {**metadata, "columns": json.dumps([asdict(column) for column in columns], sort_keys=True)}
        fields = [pa.field(c.name, pa.from_numpy_dtype(np.dtype(c.dtype)), nullable=False) for c in columns]
        self.columns = tuple(columns)
        self.n_rows = 0
        self._schema = pa.schema(fields, metadata=described)
        self._buffers = {c.name: np.zeros(STACK_BATCH_ROWS, dtype=c.dtype) for c in columns}
        self._filled = 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema, options=pa.ipc.IpcWriteOptions(compression=None))

    def append(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Add rows.

        Parameters
        ----------
        values : (n,) array of every column, by name, in the column's own type
        """
        lengths = {array.size for array in values.values()}
        wrong = [c.name for c in self.columns if c.name not in values or values[c.name].dtype != np.dtype(c.dtype)]
        if wrong or len(values) != len(self.columns) or len(lengths) != 1:
            raise InternalError(f"rows do not match the columns of the stack ({wrong or lengths})")
        done, n = 0, lengths.pop()
        while done < n:
            step = min(n - done, STACK_BATCH_ROWS - self._filled)
            for name, buffer in self._buffers.items():
                buffer[self._filled : self._filled + step] = values[name][done : done + step]
            self._filled += step
            done += step
            if self._filled == STACK_BATCH_ROWS:
                self._flush()
        self.n_rows += n

    def _flush(self) -> None:
        arrays = [pa.array(self._buffers[c.name][: self._filled]) for c in self.columns]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._filled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._filled:
                self._flush()
            self._writer.close()
        finally:
            self._sink.close()


@dataclass(frozen=True, slots=True, eq=False)
class StackPages:
    """A column as it lies in the file, in pages of ``STACK_BATCH_ROWS`` values with other columns between them."""

    values: NDArray[Any]
    """The file from the first value of the column to its last one, in the type of the column; mapped, so that nothing
    is read before it is needed."""
    first: NDArray[np.uint64]
    """(n_pages,) place in ``values`` of each page's first value."""


class Stack:
    """A stack file, memory-mapped: opening it reads no pixel, and reading one copies only what was asked for."""

    def __init__(self, path: Path) -> None:
        """Map the file.

        Raises
        ------
        MissingDataError, InputError
            If there is no such file, or it is not whole.
        """
        reader = open_ipc(path)
        self.metadata: Mapping[str, str] = read_metadata(reader.schema)
        """What the writer said of the product, without the columns' description."""
        self.bands: Mapping[str, StackColumn] = {
            column["name"]: StackColumn(**column) for column in json.loads(self.metadata["columns"])
        }
        """Columns by name, the class column among them."""
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self.n_rows = sum(batch.num_rows for batch in batches)
        self._pages = {
            name: [batch.column(name).to_numpy(zero_copy_only=True) for batch in batches] for name in self.bands
        }
        self._mapped: dict[str, StackPages] = {}

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Copy of the rows ``start`` to ``stop - 1`` of a column, in its stored type."""
        return self.read_ranges(name, RowRanges.single(start, stop))

    def read_ranges(self, name: str, ranges: RowRanges) -> NDArray[Any]:
        """Copy of ranges of a column, laid end to end.

        Returns
        -------
        (ranges.n_rows,) in the stored type
        """
        out = np.empty(ranges.n_rows, dtype=self.bands[name].dtype)
        done = 0
        for piece in self._pieces(name, ranges):
            out[done : done + piece.size] = piece
            done += piece.size
        return out

    def pages(self, name: str) -> StackPages:
        """A column in place: of row r, page ``r // STACK_BATCH_ROWS`` holds value ``r % STACK_BATCH_ROWS``."""
        if name not in self._mapped:
            pages, dtype = self._pages[name], np.dtype(self.bands[name].dtype)
            address = np.array([page.__array_interface__["data"][0] for page in pages], dtype=np.uint64)
            if pages:
                n_bytes = int(address[-1] - address[0]) + pages[-1].nbytes
                values = np.frombuffer(pa.foreign_buffer(int(address[0]), n_bytes, base=pages), dtype)
                self._mapped[name] = StackPages(values, (address - address[0]) // np.uint64(dtype.itemsize))
            else:
                self._mapped[name] = StackPages(np.empty(0, dtype), address)
        return self._mapped[name]

    def release(self) -> None:
        """Let go of the pages of the file that were read: some clusters count them as memory of a job.

        They stay in the system's cache, and come back when they are read again.
        """
        pages = [page for of_column in self._pages.values() for page in of_column if page.size]
        if not pages:
            return
        first = min(page.__array_interface__["data"][0] for page in pages)
        end = max(page.__array_interface__["data"][0] + page.nbytes for page in pages)
        # The pages that hold the first and the last value are part of the same file.
        first -= first % mmap.PAGESIZE
        if _LIBC.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED):
            raise InternalError(f"madvise: {os.strerror(ctypes.get_errno())}")

    def _pieces(self, name: str, ranges: RowRanges) -> Iterator[NDArray[Any]]:
        """Views of the mapped pages."""
        pages = self._pages[name]
        for start, stop in ranges:
            if not 0 <= start <= stop <= self.n_rows:
                raise InternalError(f"rows {start} to {stop} are not within 0 to {self.n_rows}")
            at = start
            while at < stop:
                page, first = divmod(at, STACK_BATCH_ROWS)
                piece = pages[page][first : first + stop - at]
                yield piece
                at += piece.size
