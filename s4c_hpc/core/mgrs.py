"""The Sentinel-2 tiling grid by arithmetic: no table is read.

A tile is named after a 100 km square of the Military Grid Reference System and is 109.8 km wide and high:
its upper left corner is that of the square, moved outward (west and north) to a multiple of 60 m so that the
10, 20 and 60 m pixels of all tiles of a zone lie on one lattice. It so covers 9.8 km of its eastern and
southern neighbours.

Rules, checked against the corners in the metadata of real products:

- columns: three sets of eight letters, chosen by zone modulo 3; rows: twenty letters that repeat every
  2000 km, beginning with A in odd and with F in even zones;
- latitude band: that of the square's **centre**, so a square on a band's border has one name, not two; at the
  ends of the grid (80 degrees south, 84 north) a square that begins inside counts as inside;
- in the southern hemisphere multiples of 60 m count from the equator, not from the false origin, so that corners
  there are 20, not 40, metres off round numbers (22HBD: 5900020);
- a square is a tile of its zone if it intersects the zone's stripe of 6 degrees (with the exceptions around
  Norway and Svalbard, taken by the square's band). The side nearer the equator decides: the stripe is widest
  there.

ESA's published list is a list, not a rule: it may leave out squares of which only a sliver lies in the stripe,
or hold squares outside it.

Source: NGA.STND.0037 (MGRS letters and zones); Sentinel-2 Products Specification Document (tile size, 60 m).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from pyproj import Transformer

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Tile

SQUARE_M = 100_000
"""Side of an MGRS square, in metres."""
TILE_M = 109_800
"""Side of a Sentinel-2 tile, in metres."""
LATTICE_M = 60
"""Corners of tiles are multiples of this, in metres from the equator and the zone's false easting."""
FALSE_NORTHING_M = 10_000_000
"""Northing of the equator in the southern hemisphere, in metres."""

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
_ROWS = ("FGHJKLMNPQRSTUVABCDE", "ABCDEFGHJKLMNPQRSTUV")
_ROW_CYCLE = 20
_NAME = re.compile(r"^(\d{2})([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])$")
_SOUTH_DEG, _NORTH_DEG = -80.0, 84.0
_EXCEPTIONS: dict[tuple[int, str], tuple[float, float] | None] = {
    (31, "V"): (0.0, 3.0),
    (32, "V"): (3.0, 12.0),
    (31, "X"): (0.0, 9.0),
    (32, "X"): None,
    (33, "X"): (9.0, 21.0),
    (34, "X"): None,
    (35, "X"): (21.0, 33.0),
    (36, "X"): None,
    (37, "X"): (33.0, 42.0),
}


@dataclass(frozen=True, slots=True)
class Square:
    """A 100 km square of a UTM zone."""

    zone: int
    """1 to 60."""
    south: bool
    """Whether the square lies in the southern hemisphere, with its false northing of 10 000 km."""
    column: int
    """Easting of the west side divided by 100 km."""
    row: int
    """Northing of the south side divided by 100 km."""

    @property
    def crs(self) -> str:
        """Authority code of WGS 84 / UTM in this zone and hemisphere."""
        return utm_crs(self.zone, south=self.south)

    @property
    def ulx(self) -> float:
        """Easting of the tile's west side, in metres."""
        return float(self.column * SQUARE_M // LATTICE_M * LATTICE_M)

    @property
    def uly(self) -> float:
        """Northing of the tile's north side, in metres."""
        origin = FALSE_NORTHING_M if self.south else 0
        return float(origin - (origin - (self.row + 1) * SQUARE_M) // LATTICE_M * LATTICE_M)


def utm_crs(zone: int, *, south: bool) -> str:
    """Authority code of WGS 84 / UTM."""
    return f"EPSG:{32700 + zone if south else 32600 + zone}"


@cache
def _to_degrees(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def latitude_band(latitude_deg: float) -> str | None:
    """Letter of the latitude band; ``None`` beyond 80 degrees south and 84 degrees north."""
    if not _SOUTH_DEG <= latitude_deg < _NORTH_DEG:
        return None
    return _BANDS[min(int((latitude_deg - _SOUTH_DEG) // 8), len(_BANDS) - 1)]


def zone_limits(zone: int, band: str) -> tuple[float, float] | None:
    """West and east limit of a zone in a latitude band, in degrees; ``None`` where the zone does not exist."""
    west = zone * 6.0 - 186.0
    return _EXCEPTIONS.get((zone, band), (west, west + 6.0))


def zone_at(longitude_deg: float, latitude_deg: float) -> int:
    """Zone of a position, with the exceptions around Norway and Svalbard."""
    longitude = (longitude_deg + 180.0) % 360.0 - 180.0
    regular = min(int((longitude + 180.0) // 6), 59) + 1
    band = latitude_band(latitude_deg)
    for (zone, exception_band), limits in _EXCEPTIONS.items():
        if band == exception_band and limits is not None and limits[0] <= longitude < limits[1]:
            return zone
    return regular


@cache
def square_name(square: Square) -> str | None:
    """Name of the tile of a square, ``None`` if there is no such tile."""
    if not (1 <= square.zone <= 60 and 1 <= square.column <= 8 and 0 <= square.row <= 99):
        return None
    west_m, south_m = square.column * SQUARE_M, square.row * SQUARE_M
    widest_m = south_m + SQUARE_M if square.south else south_m
    xs = (west_m, west_m + SQUARE_M, west_m + SQUARE_M / 2, west_m + SQUARE_M / 2)
    ys = (widest_m, widest_m, widest_m, south_m + SQUARE_M / 2)
    (west_deg, east_deg, *_), (*_, edge, centre) = _to_degrees(square.crs).transform(xs, ys)
    band = latitude_band(centre) or (latitude_band(edge) and ("C" if square.south else "X"))
    limits = zone_limits(square.zone, band) if band else None
    if band is None or limits is None:
        return None
    middle = (limits[0] + limits[1]) / 2
    # A square of zone 1 or 60 may reach over the antimeridian: compare around the zone, not around Greenwich.
    west_deg, east_deg = ((d - middle + 180.0) % 360.0 - 180.0 + middle for d in (west_deg, east_deg))
    if east_deg <= limits[0] or west_deg >= limits[1]:
        return None
    column = _COLUMNS[square.zone % 3][square.column - 1]
    return f"{square.zone:02d}{band}{column}{_ROWS[square.zone % 2][square.row % _ROW_CYCLE]}"


def square_of(tile_id: str) -> Square:
    """The square that a tile is named after.

    Raises
    ------
    InputError
        If this is not the name of a tile.
    """
    match = _NAME.match(tile_id)
    if match is None or not 1 <= int(match[1]) <= 60:
        raise InputError(
            f"{tile_id!r} is not the name of a Sentinel-2 tile",
            where="tile",
            hint="names are five characters without T: two digits, band, column, row, e.g. 32UPU",
        )
    zone, band, column, row = int(match[1]), match[2], match[3], match[4]
    if column not in _COLUMNS[zone % 3]:
        raise InputError(
            f"zone {zone} has no column {column!r}",
            where=f"tile {tile_id}",
            hint=f"its columns are {_COLUMNS[zone % 3]}",
        )
    i_column, i_row = _COLUMNS[zone % 3].index(column) + 1, _ROWS[zone % 2].index(row)
    south = band < "N"
    squares = [Square(zone, south, i_column, i_row + k * _ROW_CYCLE) for k in range(5)]
    names = {square_name(s): s for s in squares}
    if tile_id in names:
        return names[tile_id]
    others = sorted(n for n in names if n is not None and abs(_BANDS.index(n[2]) - _BANDS.index(band)) <= 1)
    hint = f"did you mean {others[0]}?" if others else "check the letters against the product's name"
    raise InputError("there is no such tile in the Sentinel-2 grid", where=f"tile {tile_id}", hint=hint)


@cache
def mgrs_tile(tile_id: str) -> Tile:
    """A tile of the Sentinel-2 grid.

    Parameters
    ----------
    tile_id : upper-case MGRS name without ``T``, e.g. ``32UPU``

    Raises
    ------
    InputError
        If this is not the name of a tile.
    """
    square = square_of(tile_id)
    return Tile(id=tile_id, crs=square.crs, ulx=square.ulx, uly=square.uly, width_m=TILE_M, height_m=TILE_M)


def tile_at(longitude_deg: float, latitude_deg: float) -> str | None:
    """Name of the tile whose 100 km square holds a position (WGS 84), ``None`` beyond the grid."""
    if latitude_band(latitude_deg) is None:
        return None
    regular = min(int(((longitude_deg + 180.0) % 360.0) // 6), 59) + 1
    # On a band's border the square's band, and with it the exception, may be another than the position's.
    for zone in dict.fromkeys((zone_at(longitude_deg, latitude_deg), regular)):
        for south in (latitude_deg < 0, latitude_deg >= 0):
            x, y = _to_degrees(utm_crs(zone, south=south)).transform(longitude_deg, latitude_deg, direction="INVERSE")
            # The equator itself is northing 10 000 000 in the south: no row of its own.
            name = square_name(Square(zone, south, int(x // SQUARE_M), min(99, int(y // SQUARE_M))))
            if name is not None:
                return name
    return None


def tiles_at(west_deg: float, south_deg: float, east_deg: float, north_deg: float) -> list[Tile]:
    """Tiles whose 100 km square or overlap may hold land of a box in degrees (WGS 84), ordered by name.

    A few more than needed may be given at the corners; none is left out. ``east_deg`` below ``west_deg``
    means a box over the antimeridian.
    """
    if east_deg < west_deg:
        east_deg += 360.0
    found: dict[str, Tile] = {}
    first, last = int((west_deg + 180.0) // 6), int((east_deg + 180.0) // 6)
    # Exceptions and overlaps reach into the neighbouring zones, hence one more on both sides.
    for zone in {i % 60 + 1 for i in range(first - 1, last + 2)}:
        for south in (True, False):
            central = zone * 6.0 - 183.0
            shift = round((central - (west_deg + east_deg) / 2) / 360.0) * 360.0
            x0, y0, x1, y1 = _to_degrees(utm_crs(zone, south=south)).transform_bounds(
                max(west_deg + shift, central - 30.0),
                max(south_deg, -84.0),
                min(east_deg + shift, central + 30.0),
                min(north_deg, 84.0),
                direction="INVERSE",
            )
            for column in range(max(1, int((x0 - TILE_M) // SQUARE_M)), min(8, int(x1 // SQUARE_M) + 1) + 1):
                for row in range(max(0, int(y0 // SQUARE_M) - 1), min(99, int((y1 + TILE_M) // SQUARE_M)) + 1):
                    square = Square(zone, south, column, row)
                    name = square_name(square)
                    if name is not None and _touches(square, (x0, y0, x1, y1)):
                        found[name] = mgrs_tile(name)
    return [found[name] for name in sorted(found)]


def _touches(square: Square, bounds: tuple[float, float, float, float]) -> bool:
    x0, y0, x1, y1 = bounds
    return square.ulx <= x1 and square.ulx + TILE_M >= x0 and square.uly >= y0 and square.uly - TILE_M <= y1
