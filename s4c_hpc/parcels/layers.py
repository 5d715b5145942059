"""Layers: which parcels of which version a tile has to be computed for, so that an update costs what it changes.

Each version of the parcels is complete, but next to nothing of it is new. So a tile has a *full* layer, all of its
parcels as of one version, and behind it *partial* ones: the parcels of a later version that are new on the tile or
whose outline has changed. Of several layers that have a parcel the last one counts. One rule holds after every
version: **the layers of a tile give each parcel that the version has on it, with the outline of that version.**

What a version adds is settled when it is imported, from the version before it and the limits of that day
(``parcels.layers_max``, ``parcels.layer_share_max``), and stands in its ``layers.parquet``. The layers are therefore a
function of the sequence of versions alone, and a later version never changes what an earlier one added. A version
without this file, as the first one, or whose predecessor is not there any more, is a full layer on each of its tiles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from s4c_hpc.config.model import Parcels
from s4c_hpc.core.errors import MissingDataError
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.store import (
    ParcelBlockTable,
    Stamp,
    TileParcels,
    damage_is_told,
    read_tile_parcels,
    read_tiles,
    stamp,
    versions,
)
from s4c_hpc.parcels.table import BLOCK, Built, parcels_key, tile_rows

LAYERS = "layers.parquet"
_AFTER = b"after"
"""Metadata of the file: the version that it builds upon."""

_SCHEMA = pa.schema(
    [
        pa.field("tile", pa.string()),
        pa.field("full", pa.bool_()),
        pa.field("key", pa.string()),
        pa.field("n_parcels", pa.int64()),
        pa.field("n_blocks", pa.int32()),
        pa.field("area_m2", pa.float64()),
        pa.field("perimeter_m", pa.float64()),
        # In row order; empty for a full layer, which has every parcel of the tile.
        pa.field("new_id", pa.list_(pa.int32())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Parcels of one tile that are computed together."""

    version: str
    """The first version that has these parcels with these outlines."""
    key: str
    """``parcels:<16 hex>``, the digits from the tile's rectangle and the numbers, blocks and outlines of exactly these
    parcels; that of a full layer is the key of the tile in that version."""
    full: bool
    """Whether these are all parcels of the tile; else those that were new or had another outline."""
    n_parcels: int
    n_blocks: int
    """Of a full layer the blocks of the version; a partial one is counted on its own, from 0."""
    area_m2: float
    """Summed area of the parcels."""
    perimeter_m: float
    """Summed perimeter of the parcels."""
    tile: Tile


def all_layers(workspace: Workspace) -> dict[str, tuple[Layer, ...]]:
    """Layers of every tile that ever had a parcel, oldest first.

    Values come from the last full layer of a tile and those behind it. Earlier ones say what was read of the imagery.
    """
    found: dict[str, list[Layer]] = {}
    first: dict[tuple[str, str], str] = {}
    before: str | None = None
    for version in versions(workspace):
        added = _read(workspace, version)
        stands_alone = added is None or added.after != before
        for parcels in read_tiles(workspace, version):
            tile = parcels.tile
            # A layer is named after the first version that has it, as are the files that are made of it.
            first.setdefault((tile.id, parcels.key), version)
            row = _full(parcels) if stands_alone or added is None else added.rows.get(tile.id)
            if row is not None:
                layer = Layer(version=first.setdefault((tile.id, row["key"]), version), tile=tile, **row)
                layers = found.setdefault(tile.id, [])
                if not (layers and layers[-1] == layer):
                    layers.append(layer)
        before = version
    return {tile: tuple(layers) for tile, layers in found.items()}


def read_layer_parcels(workspace: Workspace, tile: Tile, layer_key: str) -> ParcelBlockTable:
    """The parcels of one layer, moved to the tile's CRS, in row order, in blocks that count from 0.

    Raises
    ------
    MissingDataError
        No version has this layer.
    """
    for version in versions(workspace):
        if any(p.key == layer_key and p.tile.id == tile.id for p in read_tiles(workspace, version)):
            return read_tile_parcels(workspace, version, tile)
        added = _read(workspace, version)
        if added is not None and tile.id in added.rows and added.rows[tile.id]["key"] == layer_key:
            table = read_tile_parcels(workspace, version, tile, only=_members(workspace, version, tile.id))
            return dataclasses.replace(table, block=_blocks(len(table.new_id)))
    raise MissingDataError(
        f"no parcel version has the layer {layer_key} on tile {tile.id}",
        where=str(workspace.parcels),
        hint="a version was deleted: put it back, or plan again",
    )


def current(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Of the layers of a tile those that values come from: the last full one and what follows it."""
    at = max((i for i, layer in enumerate(layers) if layer.full), default=0)
    return tuple(layers[at:])


def write_layers(
    folder: Path,
    workspace: Workspace,
    after: str,
    built: Built,
    tiles: pa.Table,
    crs: str,
    *,
    unchanged: NDArray[np.bool_],
    limits: Parcels,
) -> None:
    """Settle what a version that is about to be published adds to the layers of each tile, and write it down.

    Parameters
    ----------
    folder : of the version
    after : the latest version, which this one follows
    tiles : of the version, see ``tile_table``
    crs : of the parcels, as text
    unchanged : (n,) whether the version before has the parcel on the same tile with the same outline
    limits : how many partial layers may follow a full one, and what share of the tile's parcels they may hold
    """
    layers = all_layers(workspace)
    new_id = built.table.column("NewID").to_numpy()
    rows: list[dict[str, Any]] = []
    keys = dict(zip(tiles["tile"].to_pylist(), tiles["key"].to_pylist(), strict=True))
    for tile, mine in tile_rows(built):
        previous, key = layers.get(tile.id, ()), keys[tile.id]
        if previous and current(previous)[0].key == key and len(current(previous)) == 1:
            continue  # what was gone in between is back
        fresh = mine[~unchanged[mine]]
        behind = current(previous)[1:]
        n_partial = sum(layer.n_parcels for layer in behind) + len(fresh)
        starts_over = not previous or previous[-1].tile != tile
        if starts_over or (
            len(fresh) and (len(behind) >= limits.layers_max or n_partial > limits.layer_share_max * len(mine))
        ):
            rows.append({"tile": tile.id, "full": True, "key": key, "new_id": []} | _measures(built, mine))
        elif len(fresh):
            ids = new_id[fresh].astype(np.int32)
            partial_key = parcels_key(tile, crs, ids, _blocks(len(fresh)), built.outlines.taken(fresh))
            rows.append({"tile": tile.id, "full": False, "key": partial_key, "new_id": ids} | _measures(built, fresh))
    table = pa.Table.from_pylist(rows, _SCHEMA).replace_schema_metadata({_AFTER: after.encode()})
    pq.write_table(table, folder / LAYERS, compression="zstd", version="2.6")


def _measures(built: Built, rows: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "n_parcels": len(rows),
        "n_blocks": -(-len(rows) // BLOCK),
        "area_m2": float(built.table.column("Area_meters").to_numpy()[rows].sum()),
        "perimeter_m": float(built.perimeter_m[rows].sum()),
    }


def _blocks(n: int) -> NDArray[np.int32]:
    return (np.arange(n) // BLOCK).astype(np.int32)


def _full(parcels: TileParcels) -> dict[str, Any]:
    return {
        "key": parcels.key,
        "full": True,
        "n_parcels": parcels.n_parcels,
        "n_blocks": parcels.n_blocks,
        "area_m2": parcels.area_m2,
        "perimeter_m": parcels.perimeter_m,
    }


@dataclass(frozen=True, slots=True)
class _Added:
    """What a version adds to the layers."""

    after: str
    """The version that it builds upon."""
    rows: dict[str, dict[str, Any]]
    """Keywords of a layer by tile; a tile that is not here gets none."""


def _read(workspace: Workspace, version: str) -> _Added | None:
    path = workspace.parcels / version / LAYERS
    try:
        return _added(path, stamp(path))
    except FileNotFoundError:
        return None


@lru_cache(maxsize=4096)
def _added(path: Path, _stamp: Stamp) -> _Added:
    table = _table(path, [name for name in _SCHEMA.names if name != "new_id"])
    after = (table.schema.metadata or {}).get(_AFTER, b"").decode()
    rows = dict(zip(table["tile"].to_pylist(), table.drop_columns(["tile"]).to_pylist(), strict=True))
    return _Added(after, rows)


def _members(workspace: Workspace, version: str, tile_id: str) -> NDArray[np.int32]:
    """``NewID`` of the parcels that a version adds to the layers of a tile."""
    table = _table(workspace.parcels / version / LAYERS, ["tile", "new_id"])
    ids: NDArray[np.int32] = table["new_id"][table["tile"].to_pylist().index(tile_id)].values.to_numpy()
    return ids


def _table(path: Path, columns: list[str]) -> pa.Table:
    with damage_is_told(path):
        return pq.read_table(path, columns=columns, partitioning=None)
