"""A raster cut into windows, and which pixels of a window belong to which parcel.

A window is as many rows of blocks as are worth an array, or part of them where the raster is wide. Outlines are cut
by the window's edges as they are by those of a raster, so a parcel in several windows has a piece in each of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.jit import kernel
from s4c_hpc.extract.coverage import coverage
from s4c_hpc.extract.polygons import Rings
from s4c_hpc.extract.scanline import centre_runs
from s4c_hpc.extract.zonal_outlines import Outlines

WINDOW_ROWS: Final = 512
"""Rows of a window, unless blocks are taller: flatter ones cut more parcels in two."""

WINDOW_BYTES: Final = 48 << 20
"""Largest window, unless a single block is larger."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where the pixels of a raster lie and how they are stored."""

    crs: Any
    """``rasterio.CRS``"""
    x0: float
    """Corner of the first pixel, in CRS units."""
    y0: float
    dx: float
    """Pixel size with its sign; rows run south where ``dy`` is negative."""
    dy: float
    width: int
    height: int
    block: tuple[int, int]
    """Rows and columns of a block."""

    @classmethod
    def of(cls, raster: Any, path: str) -> Lattice:
        """Lattice of an open raster.

        Raises
        ------
        InputError
            If it has no CRS or its pixels are turned.
        """
        if raster.crs is None:
            raise InputError("has no CRS", where=path, hint="assign one, e.g. with 'gdal_edit.py -a_srs'")
        t = raster.transform
        if t.b or t.d:
            raise InputError("its pixels are turned against the axes of its CRS", where=path, hint="warp it first")
        rows, columns = (max(sizes) for sizes in zip(*raster.block_shapes, strict=True))
        block = (min(rows, raster.height), min(columns, raster.width))
        return cls(raster.crs, t.c, t.f, t.a, t.e, raster.width, raster.height, block)

    def same_pixels(self, other: Lattice) -> bool:
        """Whether both put every pixel in the same place, to a thousandth of a pixel."""
        return (
            self.crs == other.crs
            and (self.width, self.height) == (other.width, other.height)
            and max(abs(self.x0 - other.x0), abs(self.dx - other.dx) * self.width) <= 1e-3 * abs(self.dx)
            and max(abs(self.y0 - other.y0), abs(self.dy - other.dy) * self.height) <= 1e-3 * abs(self.dy)
        )

    def key(self) -> str:
        """Digest of all that the index of parcels depends on."""
        placed = [self.crs.to_wkt(), self.x0, self.y0, self.dx, self.dy, self.width, self.height]
        return hashlib.sha256(repr(placed).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels ``top`` to ``bottom - 1`` of columns ``left`` to ``right - 1``."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Cut:
    """How a raster is cut into windows, in the order of its rows."""

    lattice: Lattice
    rows: int
    """Rows and columns of a window, whole blocks."""
    columns: int

    @property
    def across(self) -> int:
        """Windows side by side."""
        return math.ceil(self.lattice.width / self.columns)

    @property
    def n(self) -> int:
        """Number of windows."""
        return math.ceil(self.lattice.height / self.rows) * self.across

    def box(self, i: int) -> Box:
        """The ``i``-th window."""
        top, left = i // self.across * self.rows, i % self.across * self.columns
        bottom, right = min(top + self.rows, self.lattice.height), min(left + self.columns, self.lattice.width)
        return Box(top, bottom, left, right)


def cut(lattice: Lattice, pixel_bytes: int) -> Cut:
    """Cut a raster into windows that are worth an array.

    Parameters
    ----------
    pixel_bytes : of all bands that are read together
    """
    block_rows, block_columns = lattice.block
    rows = block_rows * max(1, WINDOW_ROWS // block_rows)
    most_columns = WINDOW_BYTES // (rows * pixel_bytes)
    columns = min(lattice.width, block_columns * max(1, most_columns // block_columns))
    if columns * rows * pixel_bytes > WINDOW_BYTES:
        rows = block_rows * max(1, WINDOW_BYTES // (columns * pixel_bytes * block_rows))
    return Cut(lattice, rows, columns)


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of the parcels that reach into a window; a place is ``row * columns + column`` within it."""

    parcel: NDArray[np.int32]
    """(n,) row of each parcel in its file."""
    last: NDArray[np.int32]
    """(n,) number of the last window that the parcel may reach."""
    is_cut: NDArray[np.bool_]
    """(n,) whether the parcel may reach other windows as well."""
    used: NDArray[np.bool_]
    """(n_blocks,) whether a parcel may reach into each block of columns."""
    run_offsets: NDArray[np.int64]
    """(n + 1,) first run of whole pixels of each parcel."""
    run_place: NDArray[np.int32]
    """(n_runs,) place of the first pixel of each run."""
    run_length: NDArray[np.int32]
    """(n_runs,)"""
    edge_offsets: NDArray[np.int64]
    """(n + 1,) first edge pixel of each parcel."""
    edge_place: NDArray[np.int32]
    """(n_edges,)"""
    edge_fraction: NDArray[np.float32]
    """(n_edges,) covered share, dimensionless; none with centre weighting."""

    @property
    def n_pixels(self) -> NDArray[np.int64]:
        """(n,) pixels of each parcel in this window, whole and edge ones."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.run_length, dtype=np.int64)])
        found: NDArray[np.int64] = np.diff(ends[self.run_offsets]) + np.diff(self.edge_offsets)
        return found

    def column_ranges(self, block: int, columns: int) -> Iterator[tuple[int, int]]:
        """Ranges of columns, whole blocks wide, that hold pixels; neighbours are joined."""
        edges = np.diff(np.concatenate([[False], self.used, [False]]).astype(np.int8))
        for first, last in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
            yield first * block, min(last * block, columns)


@dataclass(frozen=True, eq=False)
class Placed:
    """Outlines on a lattice, and which rows and columns each parcel touches at most."""

    outlines: Outlines
    cut: Cut
    extent: NDArray[np.int64]
    """(n, 4) ``top, bottom, left, right`` in pixels, half open, clipped to the raster; zeros where it is beside."""

    @classmethod
    def on(cls, outlines: Outlines, cut: Cut) -> Placed:
        """Outlines in the CRS of the raster."""
        lattice = cut.lattice
        place = (lattice.x0, lattice.y0, lattice.dx, lattice.dy)
        size = (lattice.height, lattice.width)
        extent = _extents(outlines.xy, outlines.ring_offsets, outlines.first, outlines.n_rings, place, size)
        return cls(outlines, cut, extent)

    @property
    def n_touching(self) -> int:
        """Parcels that may reach the raster."""
        return int(np.count_nonzero(self.extent[:, 1]))

    def pixels(self, i: int, is_centre: bool) -> Pixels:
        """Which pixels of the ``i``-th window belong to which parcel; parcels without any are left out."""
        box = self.cut.box(i)
        top, bottom, left, right = self.extent.T
        members = np.flatnonzero((top < box.bottom) & (bottom > box.top) & (left < box.right) & (right > box.left))
        lattice, outlines = self.cut.lattice, self.outlines
        place = (lattice.x0, lattice.y0, lattice.dx, lattice.dy)
        rings = Rings(
            *_rings(
                outlines.xy, outlines.ring_offsets, outlines.first, outlines.n_rings, members, place, box.left, box.top
            )
        )
        height, width = box.bottom - box.top, box.right - box.left
        if is_centre:
            run_offsets, row, c0, c1 = centre_runs(rings, height, width)
            edge_offsets = np.zeros(members.size + 1, np.int64)
            edge_row = column = np.empty(0, np.int32)
            fraction = np.empty(0, np.float32)
        else:
            run_offsets, row, c0, c1, edge_offsets, edge_row, column, fraction = coverage(rings, height, width)
        held = np.flatnonzero(np.diff(run_offsets) + np.diff(edge_offsets))
        ends = np.append(held, members.size)  # offsets of those that are left out equal those of the next one
        top, bottom, left, right = self.extent[members[held]].T
        block = lattice.block[1]
        depth = np.bincount((np.maximum(left, box.left) - box.left) // block, minlength=-(-width // block) + 1)
        depth -= np.bincount((np.minimum(right, box.right) - box.left - 1) // block + 1, minlength=depth.size)
        return Pixels(
            parcel=members[held].astype(np.int32),
            last=((bottom - 1) // self.cut.rows * self.cut.across + (right - 1) // self.cut.columns).astype(np.int32),
            is_cut=(top < box.top) | (bottom > box.bottom) | (left < box.left) | (right > box.right),
            used=np.cumsum(depth)[:-1] > 0,
            run_offsets=run_offsets[ends],
            run_place=row * np.int32(width) + c0,
            run_length=c1 - c0,
            edge_offsets=edge_offsets[ends],
            edge_place=edge_row * np.int32(width) + column,
            edge_fraction=fraction,
        )


@kernel
def _extents(
    xy: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    first: NDArray[np.int64],
    n_rings: NDArray[np.int64],
    place: tuple[float, float, float, float],
    size: tuple[int, int],
) -> NDArray[np.int64]:
    x0, y0, dx, dy = place
    height, width = size
    extent = np.zeros((first.size, 4), np.int64)
    for g in range(first.size):
        if n_rings[g] == 0:
            continue
        left = top = np.inf
        right = bottom = -np.inf
        for i in range(ring_offsets[first[g]], ring_offsets[first[g] + n_rings[g]]):
            x, y = (xy[i, 0] - x0) / dx, (xy[i, 1] - y0) / dy
            left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
        if left < width and right > 0 and top < height and bottom > 0:
            extent[g, 0] = int(max(np.floor(top), 0.0))
            extent[g, 1] = int(min(np.floor(bottom) + 1.0, float(height)))
            extent[g, 2] = int(max(np.floor(left), 0.0))
            extent[g, 3] = int(min(np.floor(right) + 1.0, float(width)))
    return extent


@kernel
def _rings(
    xy: NDArray[np.float64],
    ring_offsets: NDArray[np.int64],
    first: NDArray[np.int64],
    n_rings: NDArray[np.int64],
    members: NDArray[np.int64],
    place: tuple[float, float, float, float],
    left: int,
    top: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Rings of some geometries in pixels of a window: ``x, y, ring_offsets, offsets`` of ``Rings``."""
    x0, y0, dx, dy = place
    total = vertices = 0
    for g in members:
        total += n_rings[g]
        vertices += ring_offsets[first[g] + n_rings[g]] - ring_offsets[first[g]]
    x, y = np.empty(vertices), np.empty(vertices)
    found, offsets = np.zeros(total + 1, np.int64), np.zeros(members.size + 1, np.int64)
    n = ring = 0
    for k in range(members.size):
        g = members[k]
        for r in range(first[g], first[g] + n_rings[g]):
            for i in range(ring_offsets[r], ring_offsets[r + 1]):
                x[n], y[n] = (xy[i, 0] - x0) / dx - left, (xy[i, 1] - y0) / dy - top
                n += 1
            ring += 1
            found[ring] = n
        offsets[k + 1] = ring
    return x, y, found, offsets
