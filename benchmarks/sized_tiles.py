"""A workspace with tiles of many sizes: what durations and memory are measured on.

Every tile is a square of generated imagery (``generate``) with the same density of parcels, so the sizes of all tasks
of a stage spread as the areas of the tiles do: 4.5 times from one to the next, 400 times in all.
"""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from rasterio.transform import from_origin

from benchmarks.generate import CRS, RES_M, ULX, ULY, Size, band, parcels

PIXELS = (512, 1088, 2304, 4896, 10368)
"""Edges of the tiles; the declaration has a parcel for some 2400 pixels, as a real one has."""
DATES = ("20200401", "20200501", "20200611")
BANDS = ("B02", "B03", "B04", "B08")
GAP_M = 10_000.0
"""Between tiles, which lie side by side."""


def prepare_sized(folder: Path, workers: int, pixels: tuple[int, ...] = PIXELS) -> Path:
    """A workspace folder with ``s4c.toml``; imagery and declaration are made once and kept in ``folder``."""
    tiles, sources, placed = [], [], []
    west = ULX
    for edge in pixels:
        name = f"T{edge}"
        home = folder / name
        home.mkdir(parents=True, exist_ok=True)
        for i, date in enumerate(DATES):
            if not (home / f"S2_{date}.tif").exists():
                _write(home / f"S2_{date}.tif", edge, west, seed=10 * i)
        placed.append((edge, west))
        extent = edge * RES_M
        tiles.append(f"""
[[grid.tiles]]
id = "{name}"
crs = "{CRS}"
ulx = {west}
uly = {ULY}
width_m = {extent}
height_m = {extent}""")
        bands = ", ".join(f"{b} = {i}" for i, b in enumerate(BANDS, 1))
        sources.append(f"""
[[sources]]
kind = "geotiff"
root = "{home}"
pattern = "S2_{{datetime}}.tif"
datetime_format = "%Y%m%d"
tile = "{name}"
bands = {{ {bands} }}""")
        west += extent + GAP_M
    if not (folder / "parcels.gpkg").exists():
        frames = [_declared(edge, west) for edge, west in placed]
        gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), crs=CRS).to_file(folder / "parcels.gpkg")
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    (workspace / "s4c.toml").write_text(
        f"""
[site]
name = "sized"
season_start = 2020-01-01
season_end = 2020-12-31
[parcels]
file = "{folder}/parcels.gpkg"
id_columns = ["parcel_id"]
[extract]
weighting = "coverage"
[variables]
bands = ["B04", "B08"]
indices = ["NDVI"]
[execute]
workers = {workers}
"""
        + "".join(sources)
        + "".join(tiles)
        + "\n"
    )
    return workspace


def _declared(edge: int, west: float) -> gpd.GeoDataFrame:
    frame = parcels(Size(edge, max(edge * edge // 2400, 20)), seed=edge)
    frame["geometry"] = frame.translate(xoff=west - ULX)
    frame["parcel_id"] = [f"{edge}-{i}" for i in frame["parcel_id"]]
    return frame


def _write(path: Path, edge: int, west: float, seed: int) -> None:
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": len(BANDS), "width": edge, "height": edge, "crs": CRS,
        "transform": from_origin(west, ULY, RES_M, RES_M), "nodata": 0, "tiled": True, "blockxsize": 512,
        "blockysize": 512, "compress": "DEFLATE", "predictor": 2, "zlevel": 1, "interleave": "band",
    }  # fmt: skip
    size = Size(edge, 0)
    with rasterio.open(path, "w", **profile) as raster:
        for i in range(len(BANDS)):
            raster.write(np.asarray(band(size, seed + i)), i + 1)
