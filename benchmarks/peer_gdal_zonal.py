"""The peer: GDAL's own fractional zonal statistics, from the library inside pyogrio's wheel (newer than rasterio's).

usage: peer_gdal_zonal.py LIBRARY RASTER PARCELS OUT.csv
"""

from __future__ import annotations

import ctypes
import sys

if __name__ == "__main__":
    library, raster, parcels, out = sys.argv[1:]
    gdal = ctypes.CDLL(library)
    for name in ("GDALGetGlobalAlgorithmRegistry", "GDALAlgorithmRegistryInstantiateAlg"):
        getattr(gdal, name).restype = ctypes.c_void_p
    gdal.GDALAlgorithmInstantiateSubAlgorithm.restype = ctypes.c_void_p
    gdal.GDALAllRegister()
    registry = ctypes.c_void_p(gdal.GDALGetGlobalAlgorithmRegistry())
    group = ctypes.c_void_p(gdal.GDALAlgorithmRegistryInstantiateAlg(registry, b"raster"))
    algorithm = ctypes.c_void_p(gdal.GDALAlgorithmInstantiateSubAlgorithm(group, b"zonal-stats"))
    words = [
        "--input", raster, "--zones", parcels, "--output", out, "--output-format", "CSV", "--overwrite",
        "--stat", "count,mean,stdev,min,max", "--pixels", "fractional", "--strategy", "raster",
        "--include-field", "parcel_id",
    ]  # fmt: skip
    arguments = (ctypes.c_char_p * (len(words) + 1))(*[word.encode() for word in words], None)
    done = gdal.GDALAlgorithmParseCommandLineArguments(algorithm, arguments)
    done = done and gdal.GDALAlgorithmRun(algorithm, None, None) and gdal.GDALAlgorithmFinalize(algorithm)
    sys.exit(0 if done else "GDAL did not do it")
