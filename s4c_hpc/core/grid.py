"""Tiles and their pixel grids: parent and child by arithmetic."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from s4c_hpc.core.errors import InputError

FAMILY_RES_M = (10.0, 20.0, 60.0)
"""Pixel sizes whose grids are parent and child by arithmetic, in metres."""

LANDSAT_RES_M = 30.0
"""Pixel size of Landsat: a lattice of its own, neither parent nor child of the others."""

GRID_RES_M = (10.0, 20.0, LANDSAT_RES_M, 60.0)
"""All pixel sizes that can be extracted, in metres."""

_LANDSAT_EDGE_M = 15.0
"""Where edges of Landsat's pixels lie between multiples of 30 m: their centres have coordinates that 30 divides. Seen
in the metadata of real scenes on both sides of the equator; Landsat 8-9 Collection 2 Level 2 Data Format Control Book
(USGS LSDS-1328): corners are given as centres of pixels, and all scenes of a zone are aligned."""

_FALSE_NORTHING_M = 10_000_000.0
_UTM = re.compile(r"EPSG:32(?P<hemisphere>[67])(?P<zone>\d{2})")

TOLERANCE_M = 1e-3
"""Corners that lie closer together are the same, in metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A north-up pixel grid."""

    crs: str
    """Authority code, e.g. ``EPSG:32632``."""
    ulx: float
    """Easting of the upper left corner of the upper left pixel, in CRS units."""
    uly: float
    """Northing of the same corner."""
    res_m: float
    """Pixel size, in metres; pixels are square."""
    width: int
    """Number of columns."""
    height: int
    """Number of rows."""

    @property
    def name(self) -> str:
        """Short name used in paths, e.g. ``10m``."""
        return f"{self.res_m:g}m"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``(xmin, ymin, xmax, ymax)`` in CRS units."""
        return (self.ulx, self.uly - self.height * self.res_m, self.ulx + self.width * self.res_m, self.uly)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine coefficients ``(a, b, c, d, e, f)`` as rasterio and GDAL's ``Affine`` order them."""
        return (self.res_m, 0.0, self.ulx, 0.0, -self.res_m, self.uly)

    def on_crs(self, crs: str) -> Grid:
        """This grid in the CRS of the same UTM zone's other hemisphere, where that is ``crs``; else as it is.

        Landsat counts northings from the equator also south of it, so that they are negative there; tiles of the
        south have a false northing of 10 000 km. Between the two it is a shift and nothing is resampled.
        """
        own, other = _UTM.fullmatch(self.crs), _UTM.fullmatch(crs)
        if own is None or other is None or own["zone"] != other["zone"] or self.crs == crs:
            return self
        shift = _FALSE_NORTHING_M if other["hemisphere"] == "7" else -_FALSE_NORTHING_M
        return replace(self, crs=crs, uly=self.uly + shift)

    def same_as(self, other: Grid, tolerance_m: float = TOLERANCE_M) -> bool:
        """Whether both grids put every pixel in the same place."""
        return (
            self.crs == other.crs
            and abs(self.ulx - other.ulx) <= tolerance_m
            and abs(self.uly - other.uly) <= tolerance_m
            and abs(self.res_m - other.res_m) <= 1e-9
            and (self.width, self.height) == (other.width, other.height)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A rectangle of land that owns parcels; its grids share one upper left corner."""

    id: str
    """Upper-case MGRS without ``T`` (``32UPU``), or the name of an own tile."""
    crs: str
    ulx: float
    uly: float
    width_m: float
    """Extent to the east, in metres."""
    height_m: float
    """Extent to the south, in metres."""

    def grid(self, res_m: float) -> Grid:
        """Grid of this tile with pixels of ``res_m`` metres, rounded up to cover the tile.

        At 30 m it is the lattice of Landsat, whose pixels reach beyond the tile on all sides, by less than one.
        """
        if res_m <= 0:
            raise InputError(f"pixel size {res_m} m is not positive", where=f"tile {self.id}")
        if is_landsat(res_m):
            return _landsat_grid(self)
        return Grid(
            crs=self.crs,
            ulx=self.ulx,
            uly=self.uly,
            res_m=res_m,
            width=math.ceil(self.width_m / res_m - 1e-9),
            height=math.ceil(self.height_m / res_m - 1e-9),
        )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``(xmin, ymin, xmax, ymax)`` in CRS units."""
        return (self.ulx, self.uly - self.height_m, self.ulx + self.width_m, self.uly)


def is_landsat(res_m: float) -> bool:
    """Whether pixels of this size are those of Landsat."""
    return abs(res_m - LANDSAT_RES_M) <= 1e-9


def _landsat_grid(tile: Tile) -> Grid:
    """Pixels of Landsat's lattice that touch a tile."""
    res_m, xmin, ymin, xmax, ymax = LANDSAT_RES_M, *tile.bounds
    x0 = _LANDSAT_EDGE_M
    y0 = _LANDSAT_EDGE_M + (_FALSE_NORTHING_M if tile.crs.startswith("EPSG:327") else 0.0)
    west, east = math.floor((xmin - x0) / res_m + 1e-9), math.ceil((xmax - x0) / res_m - 1e-9)
    south, north = math.floor((ymin - y0) / res_m + 1e-9), math.ceil((ymax - y0) / res_m - 1e-9)
    return Grid(
        crs=tile.crs,
        ulx=x0 + west * res_m,
        uly=y0 + north * res_m,
        res_m=res_m,
        width=east - west,
        height=north - south,
    )
