"""Configuration: what a site asks for, checked before anything runs."""

from s4c_hpc.config.load import LoadedConfig, load_config
from s4c_hpc.config.model import (
    Category,
    Config,
    GeoTiffSource,
    OwnTile,
    Sentinel2Source,
    Source,
    Weighting,
)

__all__ = [
    "Category",
    "Config",
    "GeoTiffSource",
    "LoadedConfig",
    "OwnTile",
    "Sentinel2Source",
    "Source",
    "Weighting",
    "load_config",
]
