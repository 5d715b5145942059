"""The stage that decodes imagery, once: one task a tile and product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from s4c_hpc.catalog import Band, Product, load_product
from s4c_hpc.catalog.rasters import opened
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.bounds import BASE_BYTES, MGRS_TILE, Sizes, block_rows, cells_bytes, farmland_cells
from s4c_hpc.extract.farmland import read_mask
from s4c_hpc.extract.gather import CACHE_BYTES, WINDOW_BYTES, gather_grid
from s4c_hpc.extract.planning import mask_ids, parcel_tiles, season_products
from s4c_hpc.extract.stack import (
    CLASS_COLUMN,
    NO_CLASSES,
    NO_RASTER,
    STACK_BATCH_ROWS,
    StackColumn,
    StackWriter,
    stack_bytes,
)
from s4c_hpc.parcels import TileParcels

_ROWS_AT_A_TIME: Final = 4096
"""Plan rows in a record batch."""


class GatherStage:
    """Takes the pixels of the farmland mask out of every band of a product."""

    name = "gather"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("mask",)
    tolerates_missing = False
    deliverable = False

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a product that counts.

        Raises
        ------
        NoInputsError
            If there are no parcels, or no product that counts.
        """
        tiles, masks = parcel_tiles(ctx), mask_ids(ctx)
        products = season_products(ctx, tiles)
        ring_m = ctx.config.extract.mask_ring_m
        for first in range(0, len(products), _ROWS_AT_A_TIME):
            yield tasks_to_batch(
                self._row(product, tiles[product.tile], masks[product.tile], ring_m)
                for product in products[first : first + _ROWS_AT_A_TIME]
            )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the stacks of a product, one a grid.

        Raises
        ------
        InputError
            If a file cannot be decoded, or lies on another grid than the tile.
        """
        before = opened()
        product = load_product(io.catalog_path, task.subject)
        mask_id = task.input_keys[1]
        mask = read_mask(io.workspace.root / io.upstream_outputs[mask_id][0])
        n_rows = 0
        for (grid, layers), output in zip(layers_by_grid(product).items(), task.outputs, strict=True):
            cells = mask.cells(next(iter(layers.values())).grid)
            metadata = {**_metadata(product, layers), "grid": grid, "mask": mask_id, "task": task.id}
            with io.publisher.new(output) as path, StackWriter(path, stack_columns(layers), metadata) as writer:
                gather_grid(layers, cells, writer, block_rows(product.source))
                n_rows += writer.n_rows
        return Outcome(
            outputs=task.outputs,
            n_rows=n_rows,
            rasters_opened=opened() - before,
        )

    def resources(self, work: float, params: Mapping[str, Any], sizes: Sizes = MGRS_TILE) -> Resources:
        """Upper bounds for a task.

        Parameters
        ----------
        work : pixels of all layers
        params : those of the task
        sizes : of its tile
        """
        most = 0.0
        for name, columns in params["grids"].items():
            res_m = float(name.removesuffix("m"))
            pixel_bytes = sum(np.dtype(column["dtype"]).itemsize for column in columns)
            strip = sizes.block_rows * sizes.width_m / res_m * pixel_bytes
            batch = STACK_BATCH_ROWS * pixel_bytes
            # A window is WINDOW_BYTES, or a block as wide as the tile where a file is not tiled.
            most = max(most, 2 * strip + WINDOW_BYTES + 2 * batch + cells_bytes(sizes.boundary_m, res_m))
        return Resources(cpus=1, mem_bytes=int(BASE_BYTES + CACHE_BYTES + most), walltime_s=int(300 + 1e-6 * work))

    def _row(self, product: Product, parcels: TileParcels, mask_id: str, ring_m: float) -> Task:
        grids = layers_by_grid(product)
        columns = {name: stack_columns(layers) for name, layers in grids.items()}
        params, text = _params(tuple((name, tuple(found)) for name, found in columns.items()))
        keys = (product.key, mask_id)
        identity = task_id(self.name, self.version, keys, text)
        folder = f"{tile_dir(product.tile)}/stack/{product.sensor}"
        file = f"{product.datetime:%Y%m%d}_{product.id}.{short(identity)}.arrow"
        layers = [band for found in grids.values() for band in found.values()]
        work = float(sum(band.grid.width * band.grid.height for band in layers))
        return Task(
            id=identity,
            stage=self.name,
            tile=product.tile,
            subject=product.id,
            input_keys=keys,
            params=text,
            depends_on=(mask_id,),
            outputs=tuple(f"{folder}/{name}/{file}" for name in grids),
            work=work,
            bytes_out=sum(
                stack_bytes(found, farmland_cells(parcels, ring_m, float(name.removesuffix("m"))))
                for name, found in columns.items()
            ),
            opens_imagery=len({band.path for band in layers}),
            resources=self.resources(work, params, Sizes.of(parcels, product.source)),
        )


def layers_by_grid(product: Product) -> dict[str, dict[str, Band]]:
    """Layers of a product by grid name, finest first, and by column: bands by name, then the class layer."""
    named = [(band.name, band) for band in sorted(product.bands, key=lambda band: band.name)]
    if product.classes is not None:
        named.append((CLASS_COLUMN, product.classes))
    grids: dict[str, dict[str, Band]] = {}
    for column, band in sorted(named, key=lambda pair: pair[1].grid.res_m):
        grids.setdefault(band.grid.name, {})[column] = band
    return grids


def stack_columns(layers: Mapping[str, Band]) -> list[StackColumn]:
    """Columns of a stack: the bands, then the class, whether or not one of the layers holds it."""
    bands = [
        StackColumn(
            name=name,
            dtype=band.dtype,
            scale=band.scale,
            offset=band.offset,
            nodata=band.nodata,
            saturated=band.saturated,
        )
        for name, band in layers.items()
        if name != CLASS_COLUMN
    ]
    return [*bands, StackColumn(name=CLASS_COLUMN, dtype="uint8", nodata=NO_RASTER)]


@lru_cache(maxsize=1024)
def _params(grids: tuple[tuple[str, tuple[StackColumn, ...]], ...]) -> tuple[dict[str, Any], str]:
    """Parameters of a task, and their text: the same for nearly all products of a source."""
    params = {"grids": {name: [_described(column) for column in columns] for name, columns in grids}}
    return params, canonical_json(params)


def _described(column: StackColumn) -> dict[str, Any]:
    return {
        "name": column.name,
        "dtype": column.dtype,
        "scale": column.scale,
        "offset": column.offset,
        "nodata": _text(column.nodata),
        "saturated": _text(column.saturated),
    }


def _text(dn: float | None) -> str | None:
    """JSON has no NaN."""
    return None if dn is None else repr(float(dn))


def _metadata(product: Product, layers: Mapping[str, Band]) -> dict[str, str]:
    """What a stack says of its product. The meaning of class values is left out: it is decided when they are used."""
    return {
        "product": product.id,
        "product_key": product.key,
        "source": product.source,
        "sensor": product.sensor,
        "platform": product.platform,
        "tile": product.tile,
        "datetime": product.datetime.isoformat(),
        "class_kind": product.class_kind if CLASS_COLUMN in layers else NO_CLASSES,
    }
