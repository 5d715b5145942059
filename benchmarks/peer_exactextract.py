"""The peer: exactextract on rasters and one layer.

usage: peer_exactextract.py RASTER[,RASTER...] PARCELS OUT
"""

from __future__ import annotations

import sys

import geopandas as gpd
from exactextract import exact_extract

OPERATIONS = ["count", "mean", "stdev", "min", "max", "median"]

if __name__ == "__main__":
    raster, parcels, out = sys.argv[1:]
    layer = gpd.read_file(parcels)
    table = exact_extract(
        raster.split(","), layer, OPERATIONS, include_cols=["parcel_id"], strategy="raster-sequential", output="pandas"
    )
    table.to_parquet(out)
