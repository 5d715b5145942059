"""What the demo's features must be, straight from the GeoTIFFs: rasterio and numpy, nothing of s4c_hpc.

usage: python tests/reference_features.py tests/data/tum-freising-2018 [default|reference]   (prints CSV)
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import geometry_mask

OPTICAL = ("b3", "b4", "b8", "b11")
RED_EDGE = ("b5", "b6", "b7", "b12")
SEASON = (dt.date(2018, 1, 1), dt.date(2018, 12, 31))
STEP_DAYS = 10
MAX_EMPTY = 6
"""Periods in a row: 60 days."""
INDEX_NAMES = {"reference": ("ndvi", "ndwi", "brightness"), "default": ("ndvi", "ndwi_gao", "brightness")}

Cube = NDArray[np.floating[Any]]


def features(folder: Path, preset: str, bands: Sequence[str] = OPTICAL) -> dict[str, dict[str, float]]:
    """Columns by parcel, in the order that they must have in a file."""
    parcels = gpd.read_file(folder / "parcels.gpkg")
    inner = parcels.buffer(-5)  # metres; keeps mixed pixels at the edge out
    days, layers, transform = _images(folder, bands)
    first, last = (days[0], days[-1]) if preset == "reference" else SEASON
    at = [first + dt.timedelta(days=i) for i in range(0, (last - first).days + 1, STEP_DAYS)]
    found = {}
    for parcel, outline in zip(parcels["parcel_id"], inner, strict=True):
        inside = ~geometry_mask([outline], layers["MASK"].shape[1:], transform)
        pixels = {name: layer[:, inside] for name, layer in layers.items()}
        valid = (pixels.pop("MASK") == 1) & np.all([layer != 0 for layer in pixels.values()], axis=0)
        found[parcel] = _of_parcel(pixels, valid, days, at, preset)
    return found


def _images(folder: Path, bands: Sequence[str]) -> tuple[list[dt.date], dict[str, NDArray[np.int64]], rasterio.Affine]:
    """Days, and (n_dates, height, width) of each band and of the classes."""
    days: list[dt.date] = []
    layers: dict[str, list[NDArray[np.int64]]] = {name: [] for name in (*bands, "MASK")}
    for path in sorted((folder / "images").glob("*.tif")):
        days.append(dt.datetime.strptime(path.name[7:15], "%Y%m%d").replace(tzinfo=dt.UTC).date())
        with rasterio.open(path) as image:
            transform = image.transform
            for name, of_band in layers.items():
                layer = name if name == "MASK" else f"B{int(name[1:]):02d}"
                of_band.append(image.read(image.descriptions.index(layer) + 1))
    return days, {name: np.stack(of_band).astype(np.int64) for name, of_band in layers.items()}, transform


def _of_parcel(
    pixels: Mapping[str, NDArray[np.int64]],
    valid: NDArray[np.bool_],
    days: Sequence[dt.date],
    at: Sequence[dt.date],
    preset: str,
) -> dict[str, float]:
    steps = range(len(at))
    if preset == "reference":
        values = {name: interpolated(dn, valid, days, at) for name, dn in pixels.items()}
        seen = [np.any(valid[[day == at[k] for day in days]], axis=0) for k in steps]
    else:
        of = np.array([(day - at[0]).days // STEP_DAYS for day in days])
        values = {name: composites(dn * 1e-4, valid, of, len(at), MAX_EMPTY) for name, dn in pixels.items()}
        seen = [np.any(valid[of == k], axis=0) for k in steps]
    if "b8" in values:
        values |= indices(values, INDEX_NAMES[preset])
    columns = {f"XX_s2_pixels{'' if 'b8' in values else '_re'}": float(valid.shape[1])}
    suffix = "" if "b8" in values else "_re"
    columns |= {f"XX_{at[k]:%Y_%m_%d}_s2_observed{suffix}": float(seen[k].mean()) for k in steps}
    for short, statistic in (("mean", np.mean), ("dev", lambda v: np.std(v, ddof=1))):
        for k in steps:
            for name, cube in values.items():
                v = cube[k][np.isfinite(cube[k])]
                columns[f"XX_{at[k]:%Y_%m_%d}_s2_{short}_{name}"] = float(statistic(v)) if v.size > 1 else float("nan")
    return columns


def indices(b: Mapping[str, Cube], names: Sequence[str]) -> dict[str, Cube]:
    """Of values that are interpolated already; the sign of ndwi is the matter of each preset."""
    with np.errstate(all="ignore"):
        sign = 1.0 if names[1] == "ndwi" else -1.0
        return {
            names[0]: (b["b8"] - b["b4"]) / (b["b8"] + b["b4"]),
            names[1]: sign * (b["b11"] - b["b8"]) / (b["b11"] + b["b8"]),
            names[2]: np.sqrt(b["b3"] ** 2 + b["b4"] ** 2 + b["b8"] ** 2 + b["b11"] ** 2),
        }


def interpolated(
    dn: NDArray[np.int64], valid: NDArray[np.bool_], days: Sequence[dt.date], at: Sequence[dt.date]
) -> Cube:
    """(n_at, n) whole numbers: linear between the nearest valid dates, cut off; the nearest one at the ends."""
    result = np.full((len(at), dn.shape[1]), np.nan)
    number = np.array([day.toordinal() for day in days])
    for i in range(dn.shape[1]):
        seen = np.flatnonzero(valid[:, i])
        seen = seen[np.append(number[seen][1:] != number[seen][:-1], True)[: seen.size]]  # of a day the last one
        for k, day in enumerate(day.toordinal() for day in at if seen.size):
            before, after = seen[number[seen] <= day], seen[number[seen] >= day]
            if not before.size or not after.size:
                result[k, i] = dn[(after if after.size else before[::-1])[0], i]
                continue
            a, b = before[-1], after[0]
            length = max(int(number[b] - number[a]), 1)
            total = int(dn[a, i]) * (length - (day - int(number[a]))) + int(dn[b, i]) * (day - int(number[a]))
            result[k, i] = abs(total) // length * (1 if total > 0 else -1)
    return result


def composites(physical: Cube, valid: NDArray[np.bool_], of: NDArray[np.int64], n_periods: int, max_empty: int) -> Cube:
    """(n_periods, n) means of periods; runs of empty ones are filled if they are not too long, also at the ends."""
    result = np.full((n_periods, physical.shape[1]), np.nan)
    for k in range(n_periods):
        shown = np.where(valid[of == k], physical[of == k], 0.0)
        n = valid[of == k].sum(axis=0)
        result[k, n > 0] = shown.sum(axis=0)[n > 0] / n[n > 0]
    for i in range(physical.shape[1]):
        line = result[:, i]
        seen = np.flatnonzero(np.isfinite(line))
        if not seen.size:
            continue
        whole = np.interp(np.arange(n_periods), seen, line[seen])
        for a, b in zip([-1, *seen], [*seen, n_periods], strict=True):
            if b - a - 1 <= max_empty:
                line[a + 1 : b] = whole[a + 1 : b]
    return result


if __name__ == "__main__":
    for parcel, columns in features(Path(sys.argv[1]), *sys.argv[2:3] or ["default"]).items():
        for name, value in columns.items():
            print(parcel, name, value, sep=",")
