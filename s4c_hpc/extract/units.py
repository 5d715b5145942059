"""What of a tile is computed together: parcels of one layer that take their pixels from one piece of the farmland mask.

A tile's first layer makes the mask. Of each later one, parcels that a piece of the mask holds wholly take their pixels
there, from stacks that were gathered for it: no imagery is read again. The others make a further piece of their own,
an *extension*: every parcel draws from one piece only, so its pixels stay in order and its sums the same to the bit.

Which parcels a piece holds is a function of outlines and masks, and needs the outlines of new layers to be read once.
What was found is remembered under ``state/farmland`` by the identity of both; deleting it loses a second.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.workspace import Workspace, tile_dir
from s4c_hpc.extract.cells import BASE_RES_M, Mask
from s4c_hpc.extract.farmland import farmland_mask, pieces_of, read_mask
from s4c_hpc.parcels import ParcelBlockTable, TileParcels
from s4c_hpc.parcels.layers import Layer, all_layers, current, read_layer_parcels

MASK_STAGE: Final = ("mask", "1")
"""Name and version of the stage that makes masks: a piece is known by the id of its task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of the farmland mask of a tile."""

    id: str
    """Of the task that makes it."""
    input_keys: tuple[str, ...]
    """Key of the layer, then the pieces before that do not hold its parcels."""
    params: Mapping[str, Any]
    layer: TileParcels
    """The layer that it is made of, all of it."""
    parcels: TileParcels
    """What of the layer it is made for."""
    version: str
    """Of the layer."""
    addition: str
    """What it is there for, in words; empty for the first piece."""

    @property
    def path(self) -> str:
        """File, relative to the workspace."""
        return f"{tile_dir(self.parcels.tile.id)}/mask/{short(self.id)}.arrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Parcels of one layer that take their pixels from one piece of the mask."""

    layer: TileParcels
    parcels: TileParcels
    """What of the layer belongs here: most often all of it."""
    version: str
    """Of the layer."""
    pieces: tuple[Piece, ...]
    """The piece; where it does not hold the whole layer, those before it follow, for they have the first choice."""
    addition: str
    """What it adds, in words; empty for a full layer on the first piece."""

    @property
    def piece(self) -> Piece:
        """Where its pixels come from."""
        return self.pieces[0]

    @property
    def is_whole(self) -> bool:
        """Whether it has all parcels of its layer."""
        return self.parcels.n_parcels == self.layer.n_parcels


@dataclass(frozen=True, slots=True, kw_only=True)
class TileUnits:
    """All that is computed of a tile."""

    pieces: tuple[Piece, ...]
    """Pieces of the mask that are needed, in the order in which parcels choose."""
    units: tuple[Unit, ...]
    """Of several that have a parcel the last one counts."""

    def is_just(self, parcels: TileParcels) -> bool:
        """Whether these are the parcels of the tile, all in one unit, so that a file of it is all that there is."""
        return len(self.units) == 1 and self.units[0].is_whole and self.units[0].layer.key == parcels.key

    @property
    def gathered(self) -> tuple[Piece, ...]:
        """Pieces that a unit takes pixels from, in their order."""
        used = {unit.piece.id for unit in self.units}
        return tuple(piece for piece in self.pieces if piece.id in used)


def units_of(workspace: Workspace, ring_m: float, tiles: Sequence[str]) -> dict[str, TileUnits]:
    """Units of tiles that have parcels, by tile.

    Parameters
    ----------
    ring_m : of the farmland mask, in metres
    """
    layers = all_layers(workspace)
    return {tile: _tile_units(workspace, ring_m, _of_one_rectangle(layers[tile])) for tile in tiles}


def outside(table: ParcelBlockTable, masks: Iterator[Mask]) -> NDArray[np.object_]:
    """Outlines of the parcels of a layer that no mask holds."""
    return table.geometry[pieces_of(table.geometry, masks) < 0]


def tile_params(tile: Tile) -> dict[str, Any]:
    """The rectangle of a tile, as it stands in parameters of tasks."""
    return {"crs": tile.crs, "ulx": tile.ulx, "uly": tile.uly, "width_m": tile.width_m, "height_m": tile.height_m}


Share = tuple[int, int, float, float]
"""Parcels, blocks, area in m2 and perimeter in m of those that take their pixels from one piece."""


def _of_one_rectangle(layers: Sequence[Layer]) -> list[Layer]:
    """Layers with the rectangle that the tile has now: cells of another one are other cells."""
    return [layer for layer in layers if layer.tile == layers[-1].tile]


def _tile_units(workspace: Workspace, ring_m: float, layers: Sequence[Layer]) -> TileUnits:
    params = {"base_m": BASE_RES_M, "ring_m": ring_m, "tile": tile_params(layers[0].tile)}
    first = _parcels(layers[0])
    pieces = [_piece(first, first, layers[0].version, (), params, "")]
    splits = _Splits(workspace, layers[0].tile)
    units: dict[tuple[str, str], Unit] = {}
    n_past = len(layers) - len(current(layers))
    for number, layer in enumerate(layers):
        parcels = _parcels(layer)
        shares = splits.of(layer, pieces) if number else {0: _share(parcels)}
        if len(pieces) in shares:
            beyond = _only(parcels, shares[len(pieces)])
            text = f"parcels {layer.version}: {beyond.n_parcels} beyond the farmland mask"
            pieces.append(_piece(parcels, beyond, layer.version, tuple(pieces), params, text))
        if number < n_past:
            continue
        for place, share in sorted(shares.items()):
            piece = pieces[place]
            own = parcels if len(shares) == 1 else _only(parcels, share)
            # Outlines that come back after others make the same layer: it counts where it stands last.
            units.pop((layer.key, piece.id), None)
            units[layer.key, piece.id] = Unit(
                layer=parcels,
                parcels=own,
                version=layer.version,
                pieces=(piece,) if len(shares) == 1 else (piece, *pieces[:place]),
                addition=_in_words(layer, own.n_parcels, piece if place else None),
            )
    last = max(pieces.index(unit.piece) for unit in units.values())
    return TileUnits(pieces=tuple(pieces[: last + 1]), units=tuple(units.values()))


def _piece(
    layer: TileParcels,
    parcels: TileParcels,
    version: str,
    before: Sequence[Piece],
    params: Mapping[str, Any],
    addition: str,
) -> Piece:
    keys = (layer.key, *(piece.id for piece in before))
    return Piece(
        id=task_id(*MASK_STAGE, keys, canonical_json(params)),
        input_keys=keys,
        params=params,
        layer=layer,
        parcels=parcels,
        version=version,
        addition=addition,
    )


def _in_words(layer: Layer, n_parcels: int, piece: Piece | None) -> str:
    """What a unit adds; ``piece`` where it is not the first one."""
    if layer.full and piece is None:
        return ""
    text = f"parcels {layer.version}: {n_parcels}{'' if layer.full else ' new or changed'}"
    if piece is None:
        return text
    if piece.version == layer.version:
        return f"{text} beyond the farmland mask"
    return f"{text} on the farmland mask as extended for {piece.version}"


def _parcels(layer: Layer) -> TileParcels:
    return TileParcels(
        tile=layer.tile,
        n_parcels=layer.n_parcels,
        n_blocks=layer.n_blocks,
        area_m2=layer.area_m2,
        perimeter_m=layer.perimeter_m,
        key=layer.key,
    )


def _share(parcels: TileParcels) -> Share:
    return parcels.n_parcels, parcels.n_blocks, parcels.area_m2, parcels.perimeter_m


def _only(parcels: TileParcels, share: Share) -> TileParcels:
    n_parcels, n_blocks, area_m2, perimeter_m = share
    return dataclasses.replace(
        parcels, n_parcels=n_parcels, n_blocks=n_blocks, area_m2=area_m2, perimeter_m=perimeter_m
    )


class _Splits:
    """How layers share themselves among the pieces of the mask; remembered from plan to plan."""

    def __init__(self, workspace: Workspace, tile: Tile) -> None:
        self._workspace, self._tile = workspace, tile
        self._path = workspace.state / "farmland" / f"{tile.id}.json"
        self._known: dict[str, dict[int, Share]] | None = None
        self._made: dict[str, Mask] = {}

    def of(self, layer: Layer, pieces: Sequence[Piece]) -> dict[int, Share]:
        """What of a layer takes its pixels from which piece; what none holds stands under the number after the last."""
        if self._known is None:
            self._known = _read(self._path)
        key = short(task_id("split", "1", (layer.key, *(piece.id for piece in pieces)), ""))
        if key not in self._known:
            self._known[key] = self._find(layer, pieces)
            self._remember()
        return self._known[key]

    def _find(self, layer: Layer, pieces: Sequence[Piece]) -> dict[int, Share]:
        table = read_layer_parcels(self._workspace, self._tile, layer.key)
        found = pieces_of(table.geometry, (self._mask(piece, pieces) for piece in pieces))
        found[found < 0] = len(pieces)
        area, perimeter = (np.nan_to_num(of(table.geometry), nan=0.0) for of in (shapely.area, shapely.length))
        return {
            int(place): (
                int((mine := found == place).sum()),
                int(np.unique(table.block[mine]).size),
                float(area[mine].sum()),
                float(perimeter[mine].sum()),
            )
            for place in np.unique(found)
        }

    def _mask(self, piece: Piece, pieces: Sequence[Piece]) -> Mask:
        """A piece of the mask: as its task has made it, else as it would."""
        if piece.id not in self._made:
            try:
                self._made[piece.id] = read_mask(self._workspace.root / piece.path)
            except (MissingDataError, InputError):
                table = read_layer_parcels(self._workspace, self._tile, piece.layer.key)
                before = (self._mask(one, pieces) for one in pieces if one.id in piece.input_keys)
                outlines = outside(table, before) if len(piece.input_keys) > 1 else table.geometry
                self._made[piece.id] = farmland_mask(outlines, self._tile, piece.params["ring_m"])
        return self._made[piece.id]

    def _remember(self) -> None:
        text = canonical_json(
            {key: {str(n): v for n, v in shares.items()} for key, shares in (self._known or {}).items()}
        )
        with contextlib.suppress(OSError):  # who may look and not write, or has no room left, finds it again next time
            write_text(self._path, text)


def _read(path: Path) -> dict[str, dict[int, Share]]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: {int(n): (int(v[0]), int(v[1]), float(v[2]), float(v[3])) for n, v in shares.items()}
            for key, shares in values.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}
