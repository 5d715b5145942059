"""What the demo's markers must be, straight from the GeoTIFFs: rasterio and numpy, nothing of s4c_hpc.

usage: python tests/reference_demo.py tests/data/tum-freising-2018   (prints CSV)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.features import geometry_mask


def reference(folder: Path) -> Iterator[tuple[str, str, str, str, float]]:
    """Rows ``(parcel_id, YYYYMMDD, variable, statistic, value)``; a pixel counts if its centre is inside."""
    parcels = gpd.read_file(folder / "parcels.gpkg")
    inner = parcels.buffer(-5)  # metres; keeps mixed pixels at the edge out
    for path in sorted((folder / "images").glob("*.tif")):
        date = path.name[7:15]
        with rasterio.open(path) as image:
            dn = {name: image.read(i).astype(float) for i, name in enumerate(image.descriptions, 1)}
            inside = [~geometry_mask([g], dn["MASK"].shape, image.transform) for g in inner]
        band = {
            name.lower(): np.where(layer == 0, np.nan, layer * 1e-4) for name, layer in dn.items() if name != "MASK"
        }
        with np.errstate(all="ignore"):
            band["ndvi"] = (band["b08"] - band["b04"]) / (band["b08"] + band["b04"])
            band["ndwi_gao"] = (band["b08"] - band["b11"]) / (band["b08"] + band["b11"])
            band["ndwi_mcfeeters"] = (band["b03"] - band["b08"]) / (band["b03"] + band["b08"])
            band["brightness"] = np.sqrt(band["b03"] ** 2 + band["b04"] ** 2 + band["b08"] ** 2 + band["b11"] ** 2)
            band["ireci"] = (band["b07"] - band["b04"]) / (band["b05"] / band["b06"])
            band["bsi"] = (band["b11"] + band["b04"] - band["b08"] - band["b02"]) / (
                band["b11"] + band["b04"] + band["b08"] + band["b02"]
            )
        for parcel, pixels in zip(parcels["parcel_id"], inside, strict=True):
            yield parcel, date, "n_total", "count", float(pixels.sum())
            for name, code in (("n_nodata", 0), ("n_valid", 1), ("n_cloud", 2)):
                yield parcel, date, name, "count", float(np.sum(dn["MASK"][pixels] == code))
            for name, layer in band.items():
                v = layer[pixels & (dn["MASK"] == 1)]
                v = v[np.isfinite(v)]
                yield parcel, date, name, "count", float(v.size)
                if v.size > 1:
                    yield parcel, date, name, "mean", float(v.mean())
                    yield parcel, date, name, "stdev", float(v.std(ddof=1))
                    yield parcel, date, name, "min", float(v.min())
                    yield parcel, date, name, "max", float(v.max())
                    yield parcel, date, name, "median", float(np.median(v))
                    yield parcel, date, name, "p25", float(np.percentile(v, 25))
                    yield parcel, date, name, "p75", float(np.percentile(v, 75))


if __name__ == "__main__":
    print("parcel_id,date,variable,statistic,value")
    for row in reference(Path(sys.argv[1])):
        print(*row, sep=",")
