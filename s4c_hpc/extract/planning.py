"""What the stages of this package look up when a plan is made."""

from __future__ import annotations

from collections import Counter
from typing import Any

from s4c_hpc.catalog import Product, read_products
from s4c_hpc.core.errors import NoInputsError, listing
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Task
from s4c_hpc.parcels import (
    ParcelBlockTable,
    TileParcels,
    latest_version,
    read_tile_parcels,
    read_tiles,
    version_of,
)


def parcel_tiles(ctx: PlanContext) -> dict[str, TileParcels]:
    """Tiles of the latest parcel version, by id.

    Raises
    ------
    NoInputsError
        If no parcels were imported, or none of them lies on a tile.
    """
    version = latest_version(ctx.workspace)
    tiles = read_tiles(ctx.workspace, version) if version else []
    if not tiles:
        raise NoInputsError(
            "there are no parcels" if version is None else f"no parcel of {version} lies on a tile",
            where=str(ctx.workspace.parcels),
            hint="import a declaration with 's4c parcels import'",
        )
    return {parcels.tile.id: parcels for parcels in tiles}


def season_products(ctx: PlanContext, tiles: dict[str, TileParcels]) -> list[Product]:
    """Products that count: whole, not superseded, acquired in the season, on a tile with parcels.

    Raises
    ------
    NoInputsError
        If there is none, with what there is instead.
    """
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


def mask_ids(ctx: PlanContext) -> dict[str, str]:
    """Id of the mask task of each tile."""
    rows: list[dict[str, Any]] = ctx.upstream["mask"].select(["tile", "id"]).to_pylist()
    return {row["tile"]: row["id"] for row in rows}


def task_parcels(task: Task, io: TaskIO) -> tuple[Tile, ParcelBlockTable]:
    """The tile of a task and the parcels that it was planned with, whose key is the task's first input.

    Raises
    ------
    MissingDataError
        If their version is not there any more.
    """
    version = version_of(io.workspace, task.tile, task.input_keys[0])
    tile = next(parcels.tile for parcels in read_tiles(io.workspace, version) if parcels.tile.id == task.tile)
    return tile, read_tile_parcels(io.workspace, version, tile)
