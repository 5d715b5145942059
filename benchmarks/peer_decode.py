"""Decode rasters and do nothing else: ``python peer_decode.py FILE...``; one thread, whole bands, one at a time.

Prints the CPU seconds of the reading alone, without Python's start and imports.
"""

import sys
import time

import rasterio

with rasterio.Env(GDAL_NUM_THREADS=1):
    began = time.process_time()
    for path in sys.argv[1:]:
        with rasterio.open(path) as raster:
            for band in raster.indexes:
                raster.read(band)
    print(time.process_time() - began)
