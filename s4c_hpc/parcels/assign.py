"""Which tile owns a parcel: exactly one does.

1. Of the tiles of the parcel's own UTM zone that hold it whole, the one with the largest margin: the distance from
   the parcel's bounds to the nearest edge of the tile, in the tile's own CRS. Tiles overlap by some 10 km, so nearly
   every parcel has such a tile.
2. Otherwise the same among the tiles of the next zones.
3. Otherwise the tile with most of the parcel's area; the parcel is then flagged as crossing.
4. Otherwise none, with a reason.

The own zone comes first although a tile of the next one may reach deeper around a parcel near the border: a site then
needs the products of its own zones only. Own tiles of a site have no zones; for them rules 1 and 2 are one.

Equal margins (to the millimetre) and equal areas (to the square millimetre) go to the tile whose id comes first.
The grid alone decides, not the products at hand, so a parcel's tile never changes with what was downloaded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from s4c_hpc.config import OwnTile
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.mgrs import LATTICE_M, SQUARE_M, TILE_M, Square, mgrs_tile, square_name, utm_crs, zone_at
from s4c_hpc.parcels.projection import Floats, Geometries, bounds_in, is_metric, reproject, transform

OUTSIDE = "outside of all tiles"
_REACH_KM = 120.0
"""A tile of the next zone reaches less than this over the border: 109.8 km and the meridian's slant."""
_KM_PER_DEG = 111.32
_EXCEPTIONS_FROM_DEG = 55.0
"""North of this zones are not 6 degrees wide everywhere: the next zones are always asked."""
_EQUATOR_DEG = 1.0
"""This near the equator tiles of both hemispheres are asked."""

Texts = NDArray[np.object_]


@dataclass(frozen=True)
class Assignment:
    """The tile of each parcel."""

    tile: Texts
    """(n,) tile id; empty where no tile has any of the parcel."""
    crosses: NDArray[np.bool_]
    """(n,) whether part of the parcel lies outside of its tile."""
    corner: Floats
    """(n, 2) easting of the west and northing of the north side of the parcel's bounds, in its tile's CRS."""
    reason: Texts
    """(n,) why there is no tile; empty if there is."""
    tiles: tuple[Tile, ...]
    """The tiles that own parcels, ordered by id."""

    def without(self, rows: NDArray[np.bool_]) -> Assignment:
        """The same with some parcels (n,) on no tile."""
        if not rows.any():
            return self
        tile = np.where(rows, "", self.tile)
        used = set(tile)
        return Assignment(
            tile=tile,
            crosses=self.crosses & ~rows,
            corner=np.where(rows[:, None], np.nan, self.corner),
            reason=self.reason,
            tiles=tuple(t for t in self.tiles if t.id in used),
        )


def assign(geometry: Geometries, crs: CRS, own_tiles: Sequence[OwnTile] = ()) -> Assignment:
    """Give every parcel its tile.

    Parameters
    ----------
    geometry : (n,) valid polygons in ``crs``; missing ones get no tile and no reason
    own_tiles : the site's own tiles; when there are none, the Sentinel-2 grid
    """
    rows = np.flatnonzero(~shapely.is_missing(geometry))
    best = _Best(len(geometry))
    if own_tiles:
        tiles = tiles_from_config(own_tiles)
        _by_margin(best, _own_candidates(tiles, geometry, crs, rows))
        split = rows[best.tile[rows] == ""]
        nearby: Mapping[int, Iterable[str]] = {int(i): sorted(tiles) for i in split}
    else:
        tiles = {}
        _by_margin(best, _grid_candidates(geometry, crs, rows, own_zone_only=True))
        _by_margin(best, _grid_candidates(geometry, crs, rows[best.tile[rows] == ""], own_zone_only=False))
        split = rows[best.tile[rows] == ""]
        nearby = _grid_nearby(geometry, crs, split)
        for name in {*best.tile[rows], *(n for names in nearby.values() for n in names)} - {""}:
            tiles[name] = mgrs_tile(name)
    _by_area(best, geometry, crs, tiles, nearby)
    reason = np.empty(len(geometry), dtype=object)
    reason[:] = ""
    reason[rows[best.tile[rows] == ""]] = OUTSIDE
    used = tuple(tiles[name] for name in sorted(set(best.tile) - {""}))
    return Assignment(best.tile, best.crosses, best.corner, reason, used)


def tiles_from_config(own_tiles: Sequence[OwnTile]) -> dict[str, Tile]:
    """Tile values by id from the configuration, their reference systems checked."""
    for own in own_tiles:
        try:
            metric = is_metric(CRS.from_user_input(own.crs))
        except CRSError as error:
            raise ConfigError(
                f"{own.crs!r} is not a coordinate reference system", where=f"grid.tiles, tile {own.id}, key crs"
            ) from error
        if not metric:
            raise ConfigError(
                f"{own.crs} is not a projected coordinate reference system in metres",
                where=f"grid.tiles, tile {own.id}, key crs",
                hint="use that of the imagery, e.g. EPSG:32632",
            )
    return {
        own.id: Tile(id=own.id, crs=own.crs, ulx=own.ulx, uly=own.uly, width_m=own.width_m, height_m=own.height_m)
        for own in own_tiles
    }


class _Best:
    """The best tile of each parcel so far."""

    def __init__(self, n: int) -> None:
        self.tile: Texts = np.empty(n, dtype=object)
        self.tile[:] = ""
        self.score = np.full(n, -1, dtype=np.int64)
        self.crosses = np.zeros(n, dtype=bool)
        self.corner: Floats = np.full((n, 2), np.nan)

    def offer(self, rows: NDArray[np.int64], names: Texts, scores: NDArray[np.int64], corners: Floats) -> None:
        """Take ``names`` for ``rows`` where the score is better, or the same and the name comes first."""
        better = scores > self.score[rows]
        tied = (scores == self.score[rows]) & (scores >= 0)
        better[tied] = names[tied] < self.tile[rows[tied]]
        chosen = rows[better]
        self.tile[chosen], self.score[chosen] = names[better], scores[better]
        self.corner[chosen] = corners[better]


_Candidates = tuple[NDArray[np.int64], Texts, Floats, Floats]
"""Rows, a tile's name for each, the parcel's bounds (n, 4) and the tile's bounds (n, 4), both in the tile's CRS."""


def _by_margin(best: _Best, candidates: Iterator[_Candidates]) -> None:
    for rows, names, parcel, tile in candidates:
        with np.errstate(invalid="ignore"):
            margin = np.minimum(parcel[:, :2] - tile[:, :2], tile[:, 2:] - parcel[:, 2:]).min(axis=1)
        holds = margin >= 0  # False for the infinite bounds of a parcel beyond the projection
        best.offer(rows[holds], names[holds], np.rint(margin[holds] * 1e3).astype(np.int64), parcel[holds][:, [0, 3]])


def _own_candidates(
    tiles: Mapping[str, Tile], geometry: Geometries, crs: CRS, rows: NDArray[np.int64]
) -> Iterator[_Candidates]:
    bounds = {name: bounds_in(geometry[rows], crs, name) for name in {t.crs for t in tiles.values()}}
    for name, tile in sorted(tiles.items()):
        yield rows, np.full(len(rows), name, dtype=object), bounds[tile.crs], np.tile(tile.bounds, (len(rows), 1))


def _grid_candidates(
    geometry: Geometries, crs: CRS, rows: NDArray[np.int64], *, own_zone_only: bool
) -> Iterator[_Candidates]:
    """Every tile of the Sentinel-2 grid that holds a parcel whole, and some that do not."""
    for zone, south, near in _systems(geometry, crs, rows, own_zone_only=own_zone_only):
        bounds = bounds_in(geometry[near], crs, utm_crs(zone, south=south))
        finite = np.isfinite(bounds).all(axis=1)
        near, bounds = near[finite], bounds[finite]  # noqa: PLW2901 - without those beyond the projection
        # A tile begins up to one lattice step outside of its square and ends 9.8 km beyond it: only the square
        # with the parcel's north-west corner and those west and north of it can hold the parcel whole.
        column = np.floor((bounds[:, 0] + LATTICE_M) / SQUARE_M).astype(np.int64)
        row = np.ceil((bounds[:, 3] - LATTICE_M) / SQUARE_M).astype(np.int64) - 1
        for west, north in ((0, 0), (1, 0), (0, 1), (1, 1)):
            names, tile_bounds = _named(zone, south, column - west, row + north)
            exists = names != ""
            yield near[exists], names[exists], bounds[exists], tile_bounds[exists]


def _named(zone: int, south: bool, column: NDArray[np.int64], row: NDArray[np.int64]) -> tuple[Texts, Floats]:
    """Name, or empty text, and bounds (n, 4) of the tile of each square."""
    # One number a square: pairs of numbers take forty times as long to sort.
    lowest, span = (int(row.min()), int(np.ptp(row)) + 1) if len(row) else (0, 1)
    unique, inverse = np.unique(column * span + (row - lowest), return_inverse=True)
    names = np.empty(len(unique), dtype=object)
    bounds = np.full((len(unique), 4), np.nan)
    for i, (c, r) in enumerate(zip((unique // span).tolist(), (unique % span + lowest).tolist(), strict=True)):
        square = Square(zone, south, c, r)
        names[i] = square_name(square) or ""
        bounds[i] = (square.ulx, square.uly - TILE_M, square.ulx + TILE_M, square.uly)
    return names[inverse], bounds[inverse]


def _systems(
    geometry: Geometries, crs: CRS, rows: NDArray[np.int64], *, own_zone_only: bool = False
) -> Iterator[tuple[int, bool, NDArray[np.int64]]]:
    """Zones and hemispheres whose tiles may hold a parcel, with the rows of those parcels: own and next zone."""
    bounds = shapely.bounds(geometry[rows])
    degrees = transform((bounds[:, :2] + bounds[:, 2:]) / 2, crs, "EPSG:4326")
    located = np.isfinite(degrees).all(axis=1)
    rows, degrees = rows[located], degrees[located]
    position = ((degrees[:, 0] + 180.0) % 360.0) / 6.0
    latitude = degrees[:, 1]
    own = _zones(degrees)
    km_per_zone = 6.0 * _KM_PER_DEG * np.cos(np.radians(latitude))
    always = latitude > _EXCEPTIONS_FROM_DEG
    asks_west = always | ((position - own) * km_per_zone < _REACH_KM)
    asks_east = always | ((own + 1 - position) * km_per_zone < _REACH_KM)
    for zone in range(60):
        asks = own == zone
        if not own_zone_only:
            asks |= (asks_west & ((own - 1) % 60 == zone)) | (asks_east & ((own + 1) % 60 == zone))
        for south, here in ((False, latitude >= -_EQUATOR_DEG), (True, latitude <= _EQUATOR_DEG)):
            near = rows[asks & here]
            if len(near):
                yield zone + 1, south, near


def _zones(degrees: Floats) -> NDArray[np.int64]:
    """UTM zone (n,) from 0 of finite longitudes and latitudes (n, 2)."""
    own = np.minimum(np.floor(((degrees[:, 0] + 180.0) % 360.0) / 6.0).astype(np.int64), 59)
    for i in np.flatnonzero((degrees[:, 1] > _EXCEPTIONS_FROM_DEG) & (degrees[:, 0] > -1) & (degrees[:, 0] < 43)):
        own[i] = zone_at(*degrees[i].tolist()) - 1
    return own


def crosses_zone(bounds: Floats, crs: CRS) -> NDArray[np.bool_]:
    """Whether the western and the eastern end of bounds (n, 4) in ``crs`` lie in different UTM zones; not if NaN."""
    found = np.zeros(len(bounds), dtype=bool)
    middle = (bounds[:, 1] + bounds[:, 3]) / 2
    ends = [transform(np.column_stack((bounds[:, side], middle)), crs, "EPSG:4326") for side in (0, 2)]
    finite = np.isfinite(ends[0]).all(axis=1) & np.isfinite(ends[1]).all(axis=1)
    found[finite] = _zones(ends[0][finite]) != _zones(ends[1][finite])
    return found


def _grid_nearby(geometry: Geometries, crs: CRS, rows: NDArray[np.int64]) -> dict[int, Iterable[str]]:
    """Names of the tiles whose bounds touch those of each parcel."""
    nearby: dict[int, set[str]] = defaultdict(set)
    for zone, south, near in _systems(geometry, crs, rows):
        for i, (x0, y0, x1, y1) in zip(near, bounds_in(geometry[near], crs, utm_crs(zone, south=south)), strict=True):
            if not np.isfinite((x0, y0, x1, y1)).all():
                continue
            columns = range(max(1, int((x0 - TILE_M) // SQUARE_M)), min(8, int((x1 + LATTICE_M) // SQUARE_M)) + 1)
            squares = range(max(0, int((y0 - LATTICE_M) // SQUARE_M) - 1), min(99, int((y1 + TILE_M) // SQUARE_M)) + 1)
            names = {square_name(Square(zone, south, c, r)) for c in columns for r in squares}
            nearby[int(i)] |= {name for name in names if name is not None}
    return {i: sorted(names) for i, names in nearby.items()}


def _by_area(
    best: _Best, geometry: Geometries, crs: CRS, tiles: Mapping[str, Tile], nearby: Mapping[int, Iterable[str]]
) -> None:
    """Rule 3, for the few parcels that no tile holds whole."""
    by_tile: dict[str, list[int]] = defaultdict(list)
    for i, names in nearby.items():
        for name in names:
            by_tile[name].append(i)
    for name in sorted(by_tile):
        tile, rows = tiles[name], np.array(by_tile[name], dtype=np.int64)
        bounds = bounds_in(geometry[rows], crs, tile.crs)
        x0, y0, x1, y1 = tile.bounds
        touches = (bounds[:, 0] < x1) & (bounds[:, 2] > x0) & (bounds[:, 1] < y1) & (bounds[:, 3] > y0)
        touches &= np.isfinite(bounds).all(axis=1)
        rows, bounds = rows[touches], bounds[touches]
        if not len(rows):
            continue
        moved = shapely.make_valid(reproject(geometry[rows], crs, tile.crs))
        area = shapely.area(shapely.intersection(moved, shapely.box(x0, y0, x1, y1)))
        some = area > 0
        scores = np.rint(area[some] * 1e6).astype(np.int64)
        best.crosses[rows[some]] = True
        best.offer(rows[some], np.full(int(some.sum()), name, dtype=object), scores, bounds[some][:, [0, 3]])
