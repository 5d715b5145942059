"""Parcels: read any declaration, check it, give each parcel a number and a tile, keep it as an immutable version."""

from s4c_hpc.core.mgrs import mgrs_tile, tile_at, tiles_at
from s4c_hpc.parcels.store import (
    ParcelBlockTable,
    TileParcels,
    latest_version,
    read_attributes,
    read_places,
    read_tile_parcels,
    read_tiles,
    version_of,
    versions,
    versions_by_key,
)
from s4c_hpc.parcels.table import BLOCK
from s4c_hpc.parcels.version import ImportReport, import_parcels

__all__ = [
    "BLOCK",
    "ImportReport",
    "ParcelBlockTable",
    "TileParcels",
    "import_parcels",
    "latest_version",
    "mgrs_tile",
    "read_attributes",
    "read_places",
    "read_tile_parcels",
    "read_tiles",
    "tile_at",
    "tiles_at",
    "version_of",
    "versions",
    "versions_by_key",
]
