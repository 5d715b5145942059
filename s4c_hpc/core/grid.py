"""Tiles and their pixel grids: parent and child by arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from s4c_hpc.core.errors import InputError

FAMILY_RES_M = (10.0, 20.0, 60.0)
"""Pixel sizes whose grids are parent and child by arithmetic, in metres: no other one can be extracted."""

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
        """Grid of this tile with pixels of ``res_m`` metres, rounded up to cover the tile."""
        if res_m <= 0:
            raise InputError(f"pixel size {res_m} m is not positive", where=f"tile {self.id}")
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
