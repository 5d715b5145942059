"""Configuration: what a site asks for, checked before anything runs."""

from s4c_hpc.config.load import LoadedConfig, load_config
from s4c_hpc.config.model import (
    Archive,
    Category,
    Config,
    GeoTiffSource,
    ImportMode,
    LandsatSource,
    MajaSource,
    OwnTile,
    Pseudonyms,
    Sentinel2Source,
    Source,
    Weighting,
)

__all__ = [
    "Archive",
    "Category",
    "Config",
    "GeoTiffSource",
    "ImportMode",
    "LandsatSource",
    "LoadedConfig",
    "MajaSource",
    "OwnTile",
    "Pseudonyms",
    "Sentinel2Source",
    "Source",
    "Weighting",
    "load_config",
]
