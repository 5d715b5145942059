"""A feature file that several processes write together: laid out by one, filled in by all.

Where each value stands follows from the numbers of parcels and columns. So the file is first written whole, with zeros
for values, and then every process writes the blocks that are its own into their places: no values pass between
processes, none of them holds more than a block, and the bytes are those of a single writer.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.ipc import write_ipc


def lay_out(path: Path, schema: pa.Schema, ids: Iterator[NDArray[np.int32]] | Sequence[NDArray[np.int32]]) -> int:
    """Write a file whose values are all zero; returns its number of rows.

    Parameters
    ----------
    schema : int32, then float32 columns
    ids : first column of each block
    """

    def batches() -> Iterator[pa.RecordBatch]:
        for of_block in ids:
            zeros = pa.array(np.zeros(of_block.size, np.float32))
            yield pa.RecordBatch.from_arrays([pa.array(of_block), *[zeros] * (len(schema) - 1)], schema=schema)

    return write_ipc(path, schema, batches())


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the values of a block stand."""

    offset: int
    """Of the first value in the file, in bytes."""
    n_rows: int
    step: int
    """From one column to the next, in bytes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the values of all blocks of a file stand."""

    n_columns: int
    places: tuple[_Place, ...]

    @classmethod
    def of(cls, path: Path) -> Layout:
        """That of a file that was laid out."""
        with pa.memory_map(str(path), "r") as source:
            base = source.read_buffer(source.size())
            reader = pa.ipc.open_file(base)
            places = tuple(_place(reader.get_batch(i), base.address) for i in range(reader.num_record_batches))
            return cls(len(reader.schema) - 1, places)


class BlockWriter:
    """Writes values of blocks into a file that has been laid out."""

    def __init__(self, path: Path, layout: Layout | None = None) -> None:
        """Open the file.

        Parameters
        ----------
        layout : where values stand, if somebody has looked. Who has the file's pages at hand from reading it may write
            whole pages back (NFS), and with them zeros over what another node has just written beside.
        """
        found = layout or Layout.of(path)
        self._n_columns, self._places = found.n_columns, found.places
        self._file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def write(self, block: int, values: NDArray[np.float32]) -> None:
        """Write one block, by its number in the file.

        Parameters
        ----------
        values : (n_columns, n_parcels)
        """
        place = self._places[block]
        if values.shape != (self._n_columns, place.n_rows):
            raise InternalError(
                f"block {block} has room for {self._n_columns, place.n_rows} values, not {values.shape}"
            )
        if not values.size:
            return
        padded = np.zeros((self._n_columns, place.step // 4), np.float32)
        padded[:, : place.n_rows] = values
        data = padded.reshape(-1).view(np.uint8).data[: place.step * (self._n_columns - 1) + 4 * place.n_rows]
        with self._alone(place.offset, len(data)):
            at = place.offset
            while data:
                n = os.pwrite(self._file, data, at)
                data, at = data[n:], at + n

    @contextlib.contextmanager
    def _alone(self, start: int, length: int) -> Iterator[None]:
        """Lock a stretch, where the file system has locks: NFS then writes what was written and no page around it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX, length, start)
        except OSError:
            yield
            return
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, length, start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.fsync(self._file)  # by each: what other nodes have written is not ours to bring to the disk
        finally:
            os.close(self._file)


def _place(batch: pa.RecordBatch, base: int) -> _Place:
    """Where the columns of a batch stand: at equal steps, for all have the same type and as many values."""
    starts = [column.buffers()[1].address - base for column in batch.columns[1:]]
    steps = {b - a for a, b in itertools.pairwise(starts)}
    if len(steps) > 1:
        raise InternalError("columns of a feature file do not stand at equal steps")
    return _Place(starts[0], batch.num_rows, steps.pop() if steps else 4 * batch.num_rows)
