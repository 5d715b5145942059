"""Parcels: read any declaration, check it, give each parcel a number and a tile, keep it as an immutable version."""

from s4c_hpc.core.mgrs import mgrs_tile, tile_at, tiles_at
from s4c_hpc.parcels.diff import Diff, diff
from s4c_hpc.parcels.identify import identify
from s4c_hpc.parcels.layers import Layer, all_layers, current, read_layer_parcels
from s4c_hpc.parcels.select import Selection, numbers_of, read_id_file, select
from s4c_hpc.parcels.store import (
    ParcelBlockTable,
    TileParcels,
    attribute_names,
    latest_version,
    read_attributes,
    read_centroids,
    read_places,
    read_tile_attributes,
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
    "Diff",
    "ImportReport",
    "Layer",
    "ParcelBlockTable",
    "Selection",
    "TileParcels",
    "all_layers",
    "attribute_names",
    "current",
    "diff",
    "identify",
    "import_parcels",
    "latest_version",
    "mgrs_tile",
    "numbers_of",
    "read_attributes",
    "read_centroids",
    "read_id_file",
    "read_layer_parcels",
    "read_places",
    "read_tile_attributes",
    "read_tile_parcels",
    "read_tiles",
    "select",
    "tile_at",
    "tiles_at",
    "version_of",
    "versions",
    "versions_by_key",
]
