"""Rasters of variables for maps: Cloud-Optimized GeoTIFF files, made on demand by a second reading of imagery."""

from s4c_hpc.rasters.choice import raster_variables, step_of
from s4c_hpc.rasters.encode import NODATA, Packed, pack

__all__ = ["NODATA", "Packed", "pack", "raster_variables", "step_of"]
