"""Configuration: what a site asks for, checked before anything runs."""

from s4c_hpc.config.load import LoadedConfig, load_config
from s4c_hpc.config.model import (
    Archive,
    Category,
    Config,
    GeoTiffSource,
    LandsatSource,
    MajaSource,
    OwnTile,
    Sentinel2Source,
    Source,
    Weighting,
)

__all__ = [
    "Archive",
    "Category",
    "Config",
    "GeoTiffSource",
    "LandsatSource",
    "LoadedConfig",
    "MajaSource",
    "OwnTile",
    "Sentinel2Source",
    "Source",
    "Weighting",
    "load_config",
]
