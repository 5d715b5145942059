"""Complete, small Landsat L2SP scenes for tests: the real metadata, moved, with generated GeoTIFF bands."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[1] / "data" / "landsat-c2l2"
REAL = {
    "north": "LC08_L2SP_008059_20191201_20200825_02_T1",
    "aside": "LC08_L2SP_017036_20130419_20200913_02_T2",
    "south": "LC09_L2SP_010065_20220129_20220131_02_T1",
}
FILES = (*(f"SR_B{i}" for i in range(1, 8)), "QA_PIXEL", "QA_RADSAT")
CLEAR = 21824
"""QA_PIXEL of clear land, as real scenes have it."""


def scene_name(time: dt.datetime, *, unit: int = 8, scene: str = "193026", processed: str, tier: str = "T1") -> str:
    """``LC08_L2SP_193026_20180710_20200831_02_T1``."""
    return f"LC0{unit}_L2SP_{scene}_{time:%Y%m%d}_{processed}_02_{tier}"


def build_landsat(
    folder: Path,
    *,
    time: dt.datetime,
    unit: int = 8,
    scene: str = "193026",
    processed: str = "20200831",
    tier: str = "T1",
    zone: int = 32,
    ulx: float = 599_985.0,
    uly: float = 5_400_015.0,
    shape: tuple[int, int] = (81, 81),
    dn: Mapping[str, NDArray[np.uint16]] | None = None,
    block: int = 256,
    seed: int = 0,
) -> Path:
    """Write a scene below ``folder`` and return its own folder.

    Parameters
    ----------
    time : of acquisition, UTC
    ulx, uly : edge of the first pixel, northern UTM; 15 m beside multiples of 30 m in real scenes
    shape : rows and columns
    dn : arrays by file, ``SR_B4`` or ``QA_PIXEL``; what is not given is generated: reflectance 0 ... 0.5, clear land
    block : edge of the files' tiles in pixels
    """
    name = scene_name(time, unit=unit, scene=scene, processed=processed, tier=tier)
    product = folder / name
    product.mkdir(parents=True)
    real = REAL["north"]
    text = (DATA / real / f"{real}_MTL.xml").read_text(encoding="utf-8").replace(real, name)
    day = f"{processed[:4]}-{processed[4:6]}-{processed[6:]}"
    for tag, value in {
        "SPACECRAFT_ID": f"LANDSAT_{unit}",
        "COLLECTION_CATEGORY": tier,
        "WRS_PATH": int(scene[:3]),
        "WRS_ROW": int(scene[3:]),
        "DATE_ACQUIRED": f"{time:%Y-%m-%d}",
        "SCENE_CENTER_TIME": f"{time:%H:%M:%S.%f}0Z",
        "DATE_PRODUCT_GENERATED": f"{day}T00:00:00Z",
        "UTM_ZONE": zone,
        "CORNER_UL_PROJECTION_X_PRODUCT": ulx + 15,
        "CORNER_UL_PROJECTION_Y_PRODUCT": uly - 15,
        "REFLECTIVE_SAMPLES": shape[1],
        "REFLECTIVE_LINES": shape[0],
    }.items():
        text = re.sub(f"<{tag}>[^<]*</{tag}>", f"<{tag}>{value}</{tag}>", text)
    (product / f"{name}_MTL.xml").write_text(text, encoding="utf-8")
    rng = np.random.default_rng(seed)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "uint16",
        "height": shape[0],
        "width": shape[1],
        "crs": f"EPSG:326{zone:02d}",
        "transform": rasterio.Affine(30.0, 0.0, ulx, 0.0, -30.0, uly),
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "compress": "deflate",
    }
    for file in FILES:
        flags = {"QA_PIXEL": CLEAR, "QA_RADSAT": 0}
        made = np.full(shape, flags[file]) if file in flags else rng.integers(7273, 25_000, shape)
        layer = (dn or {}).get(file, made.astype(np.uint16))
        with rasterio.open(product / f"{name}_{file}.TIF", "w", **profile) as raster:
            raster.write(layer, 1)
    return product
