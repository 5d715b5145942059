"""Map tiles of the parcels, made when they are asked for, and the last ones kept.

A tile that shows a country cannot hold its parcels: those smaller than four pixels are counted in a cell of eight, the
kind that covers most of them gives it its colour, and only their bounds are looked at. Outlines are read of parcels
that can be seen as such, and lie above the cells. So a tile has some 12 000 shapes at most.
"""

from __future__ import annotations

import gzip
import hashlib
import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from s4c_hpc.serve.book import Asked, Book, Rows
from s4c_hpc.serve.mvt import EXTENT, NONE, encode
from s4c_hpc.serve.results import state_of
from s4c_hpc.serve.sites import Look, Season
from s4c_hpc.serve.themes import Codes, Theme, themes_of

MERCATOR: Final = "EPSG:3857"
ZOOM_MAX: Final = 22
LAYER: Final = "parcels"
COUNT: Final = "n"
"""Property of a cell in which there are several parcels: how many; its number is that of one of them."""

_RADIUS: Final = 6_378_137.0
_HALF: Final = math.pi * _RADIUS
"""From the middle of EPSG:3857 to its edge."""
_SMALL: Final = 32
"""Units: four pixels, for a tile is drawn 512 pixels wide. What is smaller goes to a cell."""
_CELL: Final = 64
"""Units: eight pixels. Cells of neighbouring tiles meet, for this divides a tile. (Of four they look finer, and are
four times as many: without a graphics card, a frame took a third longer.)"""
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_MARGIN: Final = 64
"""Units around a tile, so that the lines of its cut are not seen."""
_TOLERANCE: Final = 3.0
"""Units by which outlines are simplified: less than half a pixel."""
_GZIP_LEVEL: Final = 4
"""A fifth of the bytes; more takes more time than it saves."""
_KEPT_BYTES: Final = 64 << 20
"""Tiles of a sheet that are kept."""
_KEY_BYTES: Final = 4_096
"""What an empty tile counts: its key holds a condition."""
_SHEETS: Final = 4
"""Seasons whose sheets are kept."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile as it is kept and sent."""

    packed: bytes
    """By gzip."""
    tag: str
    """Tells one content from another."""

    @property
    def content(self) -> bytes:
        """The tile itself; no bytes if nothing lies there."""
        return gzip.decompress(self.packed)


class Sheet:
    """The newest parcels of a season, ready to be drawn."""

    def __init__(self, book: Book, themes: tuple[Theme, ...]) -> None:
        """Bounds are moved to the map's projection."""
        self.book, self.themes = book, themes
        self._bounds = _mercator(book)
        self._tiles: OrderedDict[tuple[int, int, int, Asked], Tile] = OrderedDict()
        self._bytes, self._lock = 0, Lock()

    def extent(self, rows: Rows) -> tuple[float, float, float, float] | None:
        """West, south, east and north of some parcels, in degrees; ``None`` if none has an outline."""
        known = self._bounds[rows]
        known = known[np.isfinite(known[:, 0])]
        if not len(known):
            return None
        (x0, y0), (x1, y1) = known[:, :2].min(axis=0), known[:, 2:].max(axis=0)
        west, east = (float(np.degrees(x / _RADIUS)) for x in (x0, x1))
        south, north = (float(np.degrees(np.arctan(np.sinh(y / _RADIUS)))) for y in (y0, y1))
        return west, south, east, north

    def tile(self, zoom: int, x: int, y: int, asked: Asked) -> Tile:
        """A tile of the parcels that meet conditions.

        Raises
        ------
        InputError
            A condition cannot be used.
        """
        key = zoom, x, y, asked
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        content = self._made(zoom, x, y, self.book.select(asked))
        found = Tile(gzip.compress(content, _GZIP_LEVEL, mtime=0), hashlib.sha256(content).hexdigest()[:32])
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = found
                self._bytes += len(found.packed) + _KEY_BYTES
            while self._bytes > _KEPT_BYTES and len(self._tiles) > 1:
                self._bytes -= len(self._tiles.popitem(last=False)[1].packed) + _KEY_BYTES
        return found

    def _made(self, zoom: int, x: int, y: int, chosen: Rows) -> bytes:
        unit = 2 * _HALF / (EXTENT << zoom)
        west, north = -_HALF + x * EXTENT * unit, _HALF - y * EXTENT * unit
        # In units of the tile, y down.
        x0, y1, x1, y0 = ((self._bounds[chosen] - (west, north, west, north)) / (unit, -unit, unit, -unit)).T
        far = EXTENT + _MARGIN
        with np.errstate(invalid="ignore"):
            near = (x1 >= -_MARGIN) & (x0 <= far) & (y1 >= -_MARGIN) & (y0 <= far)
        rows, width, height = chosen[near], (x1 - x0)[near], (y1 - y0)[near]
        is_large = np.maximum(width, height) >= _SMALL
        centres = np.column_stack(((x0 + x1)[near], (y0 + y1)[near])) / 2
        # A small parcel is of one tile only: that of its centre.
        is_ours = ~is_large & ((centres >= 0) & (centres < EXTENT)).all(axis=1)
        large, small = rows[is_large], rows[is_ours]
        squares, first, of_cell = _cells(centres[is_ours])
        n = np.bincount(of_cell, minlength=len(first))
        # Fields as large as each other shall not all give way to the kind that comes first.
        area = (width * height)[is_ours] * (1 + small * _GOLDEN % 1 / 1e3)
        properties = {
            one.name: np.concatenate((_most(of_cell, one.codes[small], area, len(first)), one.codes[large]))
            for one in self.themes
        }
        properties[COUNT] = np.concatenate((np.where(n > 1, n, NONE), np.full(large.size, NONE)))
        shown = np.concatenate((small[first], large))
        shapes = np.concatenate((squares, self._outlines(large, west, north, unit)))
        return encode(LAYER, self.book.ids[shown].astype(np.int64), shapes, properties)

    def _outlines(self, rows: Rows, west: float, north: float, unit: float) -> NDArray[np.object_]:
        if not rows.size:
            return np.empty(0, dtype=object)
        shapes = shapely.transform(self.book.outlines(rows, MERCATOR), lambda xy: (xy - (west, north)) / (unit, -unit))
        # Topology may be lost: what is drawn is told by its number, not by its outline.
        simple = shapely.simplify(shapes, _TOLERANCE, preserve_topology=False)
        simple = np.where(shapely.is_empty(simple), shapes, simple)
        far = EXTENT + _MARGIN
        found: NDArray[np.object_] = shapely.clip_by_rect(simple, -_MARGIN, -_MARGIN, far, far)
        return found


class Sheets:
    """Sheets of the seasons that were asked for last, each made anew when parcels or results are others."""

    def __init__(self) -> None:
        """There is none yet."""
        self._sheets: OrderedDict[Path, tuple[object, Sheet]] = OrderedDict()
        self._lock = Lock()

    def sheet(self, season: Season, look: Look) -> Sheet:
        """The sheet of a season as it is now.

        Raises
        ------
        Problem
            There are no parcels, or a file is damaged.
        """
        book, state = look.book(), state_of(season)
        root = season.workspace.root
        with self._lock:
            known = self._sheets.pop(root, None)
            if known is None or known[0] != state or known[1].book is not book:
                known = state, Sheet(book, themes_of(season, book.table))
            self._sheets[root] = known
            if len(self._sheets) > _SHEETS:
                self._sheets.popitem(last=False)
            return known[1]


def _cells(centres: NDArray[np.float64]) -> tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.int64]]:
    """Squares (k,) of cells in which there are parcels, the first parcel (k,) of each, and the cell (n,) of each."""
    at = np.floor(centres / _CELL).astype(np.int64)
    key, first, of_cell = np.unique(at[:, 1] * EXTENT + at[:, 0], return_index=True, return_inverse=True)
    x, y = key % EXTENT * _CELL, key // EXTENT * _CELL
    return np.asarray(shapely.box(x, y, x + _CELL, y + _CELL), dtype=object), first, of_cell


def _most(of_cell: NDArray[np.int64], codes: Codes, area: NDArray[np.float64], n: int) -> Codes:
    """The code (n,) that covers most of each cell, as far as parcels have one."""
    if not n:
        return np.empty(0, np.int64)
    known = codes != NONE
    span = int(codes.max(initial=0)) + 1
    covered = np.bincount(of_cell[known] * span + codes[known], area[known], n * span).reshape(n, span)
    found: Codes = np.where(covered.any(axis=1), covered.argmax(axis=1), NONE)
    return found


def _mercator(book: Book) -> NDArray[np.float64]:
    """(n, 4) west, south, east, north of parcels in the map's projection; NaN where there is no outline."""
    x0, y0, x1, y1 = book.bounds.T
    move = pyproj.Transformer.from_crs(book.crs, MERCATOR, always_xy=True)
    x, y = move.transform(np.concatenate((x0, x0, x1, x1)), np.concatenate((y0, y1, y0, y1)))
    x, y = (np.where(np.isfinite(one), one, np.nan).reshape(4, -1) for one in (x, y))
    return np.column_stack((x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)))
