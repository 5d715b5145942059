"""What the stages of this package look up when a plan is made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from s4c_hpc.catalog import Product, read_products
from s4c_hpc.config import Config
from s4c_hpc.core.errors import NoInputsError, listing
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Task
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.extract.units import TileUnits, units_of
from s4c_hpc.parcels import ParcelBlockTable, TileParcels, latest_version, read_tiles, version_of
from s4c_hpc.parcels.layers import read_layer_parcels


def parcel_tiles(ctx: PlanContext) -> dict[str, TileParcels]:
    """Tiles of the latest parcel version, by id.

    Raises
    ------
    NoInputsError
        If no parcels were imported, or none of them lies on a tile.
    """
    tiles, _ = _of_one_version(ctx)
    return tiles


def is_without_imagery(workspace: Workspace, config: Config) -> bool:
    """Whether a workspace has no imagery and is not meant to have any.

    It names no source and has no product, tables were imported, and what is asked for is made of these and of nothing
    else: features of them, practices, mowing or confounders.
    """
    sets = config.features.sets
    rules = config.practices.enabled or config.mowing.enabled or config.confounders.enabled is True
    return (
        not config.sources
        and (sets == ("series",) or (rules and not sets))
        and any(workspace.imported.glob("*/current.json"))
        and not (workspace.catalog.exists() and read_products(workspace.catalog))
    )


def season_products(ctx: PlanContext, tiles: dict[str, TileParcels]) -> list[Product]:
    """Products that count: whole, not superseded, acquired in the season, on a tile with parcels.

    None where there is no imagery and shall be none, see ``is_without_imagery``.

    Raises
    ------
    NoInputsError
        If there is none, with what there is instead.
    """
    if is_without_imagery(ctx.workspace, ctx.config):
        return []
    site = ctx.config.site
    products = read_products(ctx.workspace.catalog)
    left_out: Counter[str] = Counter()
    found = []
    for product in products:
        if product.status != "ok":
            left_out[product.status] += 1
        elif not site.season_start <= product.datetime.date() <= site.season_end:
            left_out["out of season"] += 1
        elif product.tile not in tiles:
            left_out["on tiles without parcels"] += 1
        else:
            found.append(product)
    if not found:
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(left_out.items())) or "it is empty"
        raise NoInputsError(
            f"no product on tile {listing(sorted(tiles))} from {site.season_start} to {site.season_end}; "
            f"of {len(products)} in the catalog: {why}",
            where=str(ctx.workspace.catalog),
            hint="see 's4c catalog list'; check [site] and [[sources]], then 's4c catalog scan'",
        )
    return found


def tile_units(ctx: PlanContext, tiles: Iterable[str]) -> dict[str, TileUnits]:
    """What is computed of tiles that have parcels, by tile."""
    _, units = _of_one_version(ctx)
    return {tile: units[tile] for tile in sorted(tiles)}


def parcels_now(ctx: PlanContext, tiles: dict[str, TileParcels]) -> dict[str, tuple[str, ...]]:
    """What the identity of everything that is made of the series of a tile needs beside these, by tile.

    The key of the parcels that the tile has now: units may hold others, and each in an order of its own. Nothing where
    the series are just of these parcels.
    """
    units = tile_units(ctx, tiles)
    return {tile: () if units[tile].is_just(parcels) else (parcels.key,) for tile, parcels in tiles.items()}


def task_parcels(task: Task, io: TaskIO) -> tuple[Tile, ParcelBlockTable]:
    """The tile of a task and the layer of parcels that it was planned with, whose key is the task's first input.

    Raises
    ------
    MissingDataError
        If its version is not there any more.
    """
    key = task.input_keys[0]
    extent = json.loads(task.params).get("tile")
    tile = Tile(id=task.tile, **extent) if extent else _tile_of(io.workspace, task.tile, key)
    return tile, read_layer_parcels(io.workspace, tile, key)


def _of_one_version(ctx: PlanContext) -> tuple[dict[str, TileParcels], dict[str, TileUnits]]:
    """Tiles of the latest version and what is computed of them: all stages of a plan see those of one version."""
    return ctx.once("parcels", lambda: _look_up(ctx.workspace, ctx.config.extract.mask_ring_m))


def _look_up(workspace: Workspace, ring_m: float) -> tuple[dict[str, TileParcels], dict[str, TileUnits]]:
    version = latest_version(workspace)
    tiles = read_tiles(workspace, version) if version else []
    if not tiles:
        raise NoInputsError(
            "there are no parcels" if version is None else f"no parcel of {version} lies on a tile",
            where=str(workspace.parcels),
            hint="import a declaration with 's4c parcels import'",
        )
    units = units_of(workspace, ring_m, sorted(parcels.tile.id for parcels in tiles))
    if latest_version(workspace) != version:  # units are of all versions that there are: of one more than the tiles
        return _look_up(workspace, ring_m)
    return {parcels.tile.id: parcels for parcels in tiles}, units


def _tile_of(workspace: Workspace, tile: str, key: str) -> Tile:
    """The rectangle that a tile has in the first version with these parcels."""
    version = version_of(workspace, tile, key)
    return next(parcels.tile for parcels in read_tiles(workspace, version) if parcels.tile.id == tile)
