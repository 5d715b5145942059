"""Seeded synthetic tiles: a uint16 raster and a layer of field-like polygons.

Not real imagery: smooth fields plus noise, so compression ratios are ours. Sizes: S for a quick look, M for the
figures in README.md, L for a large tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.transform import from_origin

CRS = "EPSG:32632"
ULX, ULY = 600_000.0, 5_400_000.0
RES_M = 10.0


@dataclass(frozen=True)
class Size:
    """How large a generated tile is."""

    pixels: int
    """Width and height of the raster."""
    parcels: int


SIZES = {"S": Size(2048, 2_000), "M": Size(10_980, 50_000), "L": Size(10_980, 200_000)}


def parcels(size: Size, seed: int = 1) -> gpd.GeoDataFrame:
    """Star-shaped polygons of 12 to 24 vertices, about a hectare each, one per cell of a jittered lattice."""
    rng = np.random.default_rng(seed)
    extent = size.pixels * RES_M
    per_side = int(np.ceil(np.sqrt(size.parcels)))
    cell = extent / per_side
    chosen = rng.permutation(per_side * per_side)[: size.parcels]
    centre_x = ULX + (chosen % per_side + 0.5 + rng.uniform(-0.1, 0.1, size.parcels)) * cell
    centre_y = ULY - (chosen // per_side + 0.5 + rng.uniform(-0.1, 0.1, size.parcels)) * cell
    radius = np.minimum(rng.lognormal(np.log(65.0), 0.4, size.parcels), 0.4 * cell)
    polygons = []
    for x, y, r in zip(centre_x, centre_y, radius, strict=True):
        n = int(rng.integers(12, 25))
        angle = np.sort(rng.uniform(0, 2 * np.pi, n))
        reach = r * rng.uniform(0.7, 1.0, n)
        polygons.append(shapely.Polygon(np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)])))
    return gpd.GeoDataFrame({"parcel_id": np.arange(1, size.parcels + 1)}, geometry=polygons, crs=CRS)


def band(size: Size, seed: int) -> np.ndarray:
    """(pixels, pixels) uint16: a smooth field, reflectance * 10000, plus noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(500, 6000, (size.pixels // 64 + 2, size.pixels // 64 + 2))
    smooth = np.kron(coarse, np.ones((64, 64)))[: size.pixels, : size.pixels]
    return np.clip(smooth + rng.normal(0, 60, smooth.shape), 1, 65535).astype("uint16")


def write_raster(path: Path, values: np.ndarray) -> None:
    """Tiled DEFLATE GeoTIFF with predictor 2, as archives keep them; of one band, or of several one after the other."""
    bands = values.reshape(-1, *values.shape[-2:])
    profile = {
        "driver": "GTiff", "dtype": values.dtype.name, "interleave": "band",
        "count": bands.shape[0], "width": bands.shape[2], "height": bands.shape[1],
        "crs": CRS, "transform": from_origin(ULX, ULY, RES_M, RES_M), "nodata": 0,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "DEFLATE", "predictor": 2, "zlevel": 6,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(bands)


def prepare(folder: Path, name: str, dates: int = 1) -> Path:
    """Files of one size, made once: ``parcels.gpkg`` and ``B08_<i>.tif``; returns their folder."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "parcels.gpkg").exists():
        parcels(SIZES[name]).to_file(home / "parcels.gpkg")
    for i in range(dates):
        if not (home / f"B08_{i}.tif").exists():
            write_raster(home / f"B08_{i}.tif", band(SIZES[name], seed=i + 1))
    return home
