"""Map tiles of the parcels, made when they are asked for, and the last ones kept.

A tile that shows a country cannot hold its parcels: those smaller than a cell of four pixels share it, the largest one
gives it its colour, and only its bounds are looked at. So a tile has some 20 000 shapes at most, and outlines are
read of parcels that can be seen as such.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from s4c_hpc.serve.book import Asked, Book, Rows
from s4c_hpc.serve.mvt import EXTENT, encode
from s4c_hpc.serve.results import state_of
from s4c_hpc.serve.sites import Look, Season
from s4c_hpc.serve.themes import Theme, themes_of

MERCATOR: Final = "EPSG:3857"
ZOOM_MAX: Final = 22
LAYER: Final = "parcels"

_HALF: Final = math.pi * 6_378_137.0
"""From the middle of EPSG:3857 to its edge."""
_CELL: Final = 32
"""Units: four pixels, for a tile is drawn 512 pixels wide; cells of neighbouring tiles meet."""
_MARGIN: Final = 64
"""Units around a tile, so that the lines of its cut are not seen."""
_TOLERANCE: Final = 3.0
"""Units by which outlines are simplified: less than half a pixel."""
_KEPT_BYTES: Final = 64 << 20
"""Tiles of a sheet that are kept."""
_KEY_BYTES: Final = 4_096
"""What an empty tile counts: its key holds a condition."""
_SHEETS: Final = 4
"""Seasons whose sheets are kept."""


class Sheet:
    """The newest parcels of a season, ready to be drawn."""

    def __init__(self, book: Book, themes: tuple[Theme, ...]) -> None:
        """Bounds are moved to the map's projection."""
        self.book, self.themes = book, themes
        self.rows = book.select(Asked(columns=()))
        """Of parcels that are not deleted."""
        self._bounds = _mercator(book)
        self._tiles: OrderedDict[tuple[int, int, int, Asked], bytes] = OrderedDict()
        self._bytes, self._lock = 0, Lock()

    def tile(self, zoom: int, x: int, y: int, asked: Asked) -> bytes:
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
        found = self._made(zoom, x, y, self.book.select(asked))
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = found
                self._bytes += len(found) + _KEY_BYTES
            while self._bytes > _KEPT_BYTES and len(self._tiles) > 1:
                self._bytes -= len(self._tiles.popitem(last=False)[1]) + _KEY_BYTES
        return found

    def _made(self, zoom: int, x: int, y: int, chosen: Rows) -> bytes:
        unit = 2 * _HALF / (EXTENT << zoom)
        west, north = -_HALF + x * EXTENT * unit, _HALF - y * EXTENT * unit
        # In units of the tile, y down.
        x0, y1, x1, y0 = ((self._bounds[chosen] - (west, north, west, north)) / (unit, -unit, unit, -unit)).T
        far = EXTENT + _MARGIN
        with np.errstate(invalid="ignore"):
            near = (x1 >= -_MARGIN) & (x0 <= far) & (y1 >= -_MARGIN) & (y0 <= far)
        rows, size = chosen[near], np.maximum(x1 - x0, y1 - y0)[near]
        is_small = size < _CELL
        centres = np.column_stack(((x0 + x1)[near], (y0 + y1)[near]))[is_small] / 2
        cells, winners = _cells(centres, size[is_small])
        outlines = self._outlines(rows[~is_small], west, north, unit)
        shown = np.concatenate((rows[~is_small], rows[is_small][winners]))
        shapes = np.concatenate((outlines, cells))
        return encode(
            LAYER, self.book.ids[shown].astype(np.int64), shapes, {one.name: one.codes[shown] for one in self.themes}
        )

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


def _cells(centres: NDArray[np.float64], size: NDArray[np.float64]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Squares of the cells in which there are parcels, and the largest parcel of each."""
    at = np.floor(centres / _CELL).astype(np.int64)
    key = at[:, 1] * (EXTENT << 1) + at[:, 0]
    order = np.lexsort((-size, key))
    first = np.ones(order.size, dtype=bool)
    first[1:] = key[order][1:] != key[order][:-1]
    winners = order[first]
    x, y = (at[winners] * _CELL).T
    squares: NDArray[np.object_] = np.asarray(shapely.box(x, y, x + _CELL, y + _CELL), dtype=object)
    return squares, winners


def _mercator(book: Book) -> NDArray[np.float64]:
    """(n, 4) west, south, east, north of parcels in the map's projection; NaN where there is no outline."""
    x0, y0, x1, y1 = book.bounds.T
    move = pyproj.Transformer.from_crs(book.crs, MERCATOR, always_xy=True)
    x, y = move.transform(np.concatenate((x0, x0, x1, x1)), np.concatenate((y0, y1, y0, y1)))
    x, y = (np.where(np.isfinite(one), one, np.nan).reshape(4, -1) for one in (x, y))
    return np.column_stack((x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)))
