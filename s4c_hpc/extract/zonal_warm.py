"""Compile the kernels of ``zonal`` for every type of raster; see ``warm``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely

from s4c_hpc.extract.zonal import zonal
from s4c_hpc.extract.zonal_kernels import joined
from s4c_hpc.extract.zonal_raster import COMPILED, ZonalRequest


def warm_zonal(folder: Path) -> None:
    """Run them once; leaves its files in ``folder``."""
    parcels = folder / "zonal.gpkg"
    wkb = shapely.to_wkb(np.array([shapely.box(20.0, 20.0, 60.0, 60.0)], dtype=object))
    pyogrio.raw.write(parcels, wkb, field_data=[], fields=[], geometry_type="Polygon", crs="EPSG:32632")
    for dtype in COMPILED:
        path = folder / f"zonal_{dtype}.tif"
        profile = {"width": 8, "height": 8, "count": 1, "dtype": dtype, "crs": "EPSG:32632"}
        transform = rasterio.Affine(10.0, 0.0, 0.0, 0.0, -10.0, 80.0)
        with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as raster:
            raster.write(np.arange(64).reshape(1, 8, 8).astype(dtype))
        for weighting in ("coverage", "centre"):
            zonal(ZonalRequest(rasters=[path], parcels=parcels, weighting=weighting, threads=1))
    joined(np.array([0, 1]), np.ones(1), np.ones(1), True, False, np.full(1, 0.5))  # noqa: FBT003 - for their types
