"""Outlines of millions of parcels: kept as WKB, made into geometries a batch at a time.

A shapely polygon of 16 vertices takes some 800 bytes of memory that cannot be given back to a file; its WKB takes 270,
laid end to end in a nameless file that the kernel may take out of memory whenever it likes.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from s4c_hpc.parcels.projection import Geometries

BATCH = 65_536
"""Outlines that are geometries at a time."""
_IN_MEMORY_BYTES = 64 << 20
"""Outlines that take no more than this stay in memory."""

Rows = NDArray[np.int64] | NDArray[np.bool_] | slice


@dataclass(frozen=True, eq=False)
class Outlines:
    """Geometries (n,) in two dimensions, some of them missing."""

    parts: tuple[pa.LargeBinaryArray, ...]
    """WKB, little endian, end to end: as ``shapely.to_wkb`` writes it, so that equal bytes are equal outlines."""
    place: NDArray[np.int64]
    """(n,) where each is, counted through all parts; -1 where there is none."""

    @classmethod
    def of(cls, geometry: Geometries) -> Outlines:
        """Outlines of geometries (n,) that are there already."""
        with Spool() as spool:
            for start in range(0, len(geometry), BATCH):
                spool.append(geometry[start : start + BATCH])
            return spool.outlines()

    @classmethod
    def of_column(cls, wkb: pa.ChunkedArray) -> Outlines:
        """Outlines of a column of WKB (n,) as a version holds it; each chunk may have 2 GiB."""
        place = np.arange(len(wkb), dtype=np.int64)
        missing = wkb.is_null().to_numpy()
        return cls(tuple(chunk.cast(pa.large_binary()) for chunk in wkb.chunks), np.where(missing, -1, place))

    @classmethod
    def concat(cls, several: Sequence[Outlines]) -> Outlines:
        """Rows of several, one after the other; no outline is copied."""
        parts: list[pa.LargeBinaryArray] = []
        places, before = [np.empty(0, np.int64)], 0
        for one in several:
            places.append(np.where(one.place < 0, -1, one.place + before))
            parts.extend(one.parts)
            before += sum(map(len, one.parts))
        return cls(tuple(parts), np.concatenate(places))

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, rows: Rows) -> Geometries:
        geometry: Geometries = shapely.from_wkb(self.wkb(rows))
        return geometry

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(n,) whether there is no geometry."""
        found: NDArray[np.bool_] = self.place < 0
        return found

    def wkb(self, rows: Rows = slice(None)) -> NDArray[np.object_]:
        """Bytes, ``None`` where missing, of some rows."""
        found: NDArray[np.object_] = self.packed(rows).to_numpy(zero_copy_only=False)
        return found

    def packed(self, rows: Rows = slice(None)) -> pa.LargeBinaryArray:
        """WKB of some rows in one array, null where missing."""
        place = self.place[rows]
        begins = np.cumsum([0, *map(len, self.parts)])
        part = np.searchsorted(begins, place, side="right") - 1
        numbers = np.unique(part[place >= 0]).tolist()
        if len(numbers) > 1:
            groups = [np.flatnonzero((part == number) & (place >= 0)) for number in numbers]
            pieces = [self.parts[k].take(pa.array(place[g] - begins[k])) for k, g in zip(numbers, groups, strict=True)]
            source, at = pa.concat_arrays(pieces), np.zeros(len(place), np.int64)
            at[np.concatenate(groups)] = np.arange(len(source))
        else:
            source = self.parts[numbers[0]] if numbers else pa.array([], pa.large_binary())
            at = place - begins[numbers[0]] if numbers else place
        if len(at) and at[0] >= 0 and (np.diff(at) == 1).all():
            return source.slice(int(at[0]), len(at))
        return source.take(pa.array(at, mask=place < 0))

    def batches(self, size: int = BATCH) -> Iterator[tuple[slice, Geometries]]:
        """All rows in turn, ``size`` at a time."""
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            yield rows, self[rows]

    def taken(self, rows: Rows) -> Outlines:
        """Some rows, in their order; no outline is copied."""
        return Outlines(self.parts, self.place[rows])

    def replaced(self, rows: NDArray[np.int64], geometry: Geometries) -> Outlines:
        """The same with other geometries (m,) at ``rows`` (m,); missing ones take the outline away."""
        if not len(rows):
            return self
        place = self.place.copy()
        place[rows] = np.where(shapely.is_missing(geometry), -1, np.arange(len(rows)) + sum(map(len, self.parts)))
        return Outlines((*self.parts, pa.array(shapely.to_wkb(geometry), pa.large_binary())), place)

    def mapped(self, change: Callable[[Geometries], Geometries], folder: Path | None = None) -> Outlines:
        """All geometries changed by a function, a batch at a time."""
        with Spool(folder) as spool:
            for _, geometry in self.batches():
                spool.append(change(geometry))
            return spool.outlines()


class Spool:
    """Takes outlines batch by batch: in memory while they are few, then in a nameless file."""

    def __init__(self, folder: Path | None = None) -> None:
        # Of the file, which takes as much room as the outlines; the system's folder when none is given.
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=None if folder is None else str(folder))  # noqa: SIM115 - closed at exit
        self._lengths: list[NDArray[np.int64]] = []
        self._missing: list[NDArray[np.bool_]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, geometry: Geometries) -> None:
        """Add geometries (m,), two-dimensional."""
        wkb = pa.array(shapely.to_wkb(geometry), pa.large_binary())
        offsets = np.frombuffer(wkb.buffers()[1], np.int64)[: len(wkb) + 1]
        if len(wkb) and offsets[-1]:
            self._file.write(memoryview(wkb.buffers()[2])[: offsets[-1]])
        self._lengths.append(np.diff(offsets))
        self._missing.append(np.asarray(shapely.is_missing(geometry)))

    def outlines(self) -> Outlines:
        """All that was added; nothing can be added any more."""
        lengths = np.concatenate([np.empty(0, np.int64), *self._lengths])
        missing = np.concatenate([np.empty(0, bool), *self._missing])
        offsets = pa.py_buffer(np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths))))
        size = self._file.tell()
        if size > _IN_MEMORY_BYTES:
            self._file.flush()
            # The map keeps the file, which has no name any more: it is gone with the last that uses it.
            data = pa.py_buffer(mmap.mmap(self._file.fileno(), size, prot=mmap.PROT_READ))
        else:
            self._file.seek(0)
            data = pa.py_buffer(self._file.read())
        array = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(lengths), [None, offsets, data])
        return Outlines((array,), np.where(missing, -1, np.arange(len(lengths))))
