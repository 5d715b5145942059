"""The stage that decodes imagery, once: one task a tile and product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from s4c_hpc.extract.bounds import BASE_BYTES, boundary_m, cells_bytes, farmland_m2
from s4c_hpc.extract.farmland import read_mask
from s4c_hpc.extract.gather import CACHE_BYTES, WINDOW_BYTES, gather_grid
from s4c_hpc.extract.layer_file import MAX_BLOCK_ROWS
from s4c_hpc.extract.planning import mask_ids, parcel_tiles, season_products
from s4c_hpc.extract.stack import CLASS_COLUMN, STACK_BATCH_ROWS, StackColumn, StackWriter
from s4c_hpc.parcels import TileParcels

_BLOCK_ROWS: Final = {"sentinel2-l2a": 1024}
"""Rows of the blocks of a source whose format fixes them; others may have up to ``MAX_BLOCK_ROWS``."""

_ROWS_AT_A_TIME: Final = 4096
"""Plan rows in a record batch."""


class GatherStage:
    """Takes the pixels of the farmland mask out of every band of a product."""

    name = "gather"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("mask",)
    tolerates_missing = False

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
            metadata = {**_metadata(product), "grid": grid, "mask": mask_id, "task": task.id}
            with (
                io.publisher.new(output) as path,
                StackWriter(path, stack_columns(product, layers), metadata) as writer,
            ):
                gather_grid(layers, cells, writer)
                n_rows += writer.n_rows
        return Outcome(
            outputs=task.outputs,
            n_rows=n_rows,
            rasters_opened=opened() - before,
            twins_discarded=io.publisher.twins_discarded,
        )

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds for a task.

        Parameters
        ----------
        work : pixels of all layers
        params : those of the task, and ``boundary_m`` of the parcels and ``width_m`` of the tile
        """
        most = 0.0
        for name, columns in params["grids"].items():
            res_m = float(name.removesuffix("m"))
            row_bytes = params["width_m"] / res_m * sum(np.dtype(column["dtype"]).itemsize for column in columns)
            batch = STACK_BATCH_ROWS * sum(np.dtype(column["dtype"]).itemsize for column in columns)
            strip = params["block_rows"] * row_bytes
            # A window is WINDOW_BYTES, or a block as wide as the tile where a file is not tiled.
            most = max(most, 2 * strip + WINDOW_BYTES + 2 * batch + cells_bytes(params["boundary_m"], res_m))
        return Resources(cpus=1, mem_bytes=int(BASE_BYTES + CACHE_BYTES + most), walltime_s=int(300 + 1e-6 * work))

    def _row(self, product: Product, parcels: TileParcels, mask_id: str, ring_m: float) -> Task:
        grids = layers_by_grid(product)
        columns = {name: stack_columns(product, layers) for name, layers in grids.items()}
        params = {
            "grids": {name: [_described(column) for column in found] for name, found in columns.items()},
            "block_rows": _BLOCK_ROWS.get(product.source, MAX_BLOCK_ROWS),
        }
        keys = (product.key, mask_id)
        identity = task_id(self.name, self.version, keys, canonical_json(params))
        folder = f"{tile_dir(product.tile)}/stack/{product.sensor}"
        file = f"{product.datetime:%Y%m%d}_{product.id}.{short(identity)}.arrow"
        layers = [band for found in grids.values() for band in found.values()]
        work = float(sum(band.grid.width * band.grid.height for band in layers))
        area_m2 = farmland_m2(parcels, ring_m)
        known = {**params, "boundary_m": boundary_m(parcels), "width_m": parcels.tile.width_m}
        return Task(
            id=identity,
            stage=self.name,
            tile=product.tile,
            subject=product.id,
            input_keys=keys,
            params=canonical_json(params),
            depends_on=(mask_id,),
            outputs=tuple(f"{folder}/{name}/{file}" for name in grids),
            work=work,
            bytes_out=int(sum(area_m2 / b.grid.res_m**2 * np.dtype(b.dtype).itemsize for b in layers)),
            opens_imagery=len({band.path for band in layers}),
            resources=self.resources(work, known),
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


def stack_columns(product: Product, layers: Mapping[str, Band]) -> list[StackColumn]:
    """Columns of a stack."""
    return [
        StackColumn(
            name=name,
            dtype="uint8" if name == CLASS_COLUMN else band.dtype,
            scale=band.scale,
            offset=band.offset,
            nodata=_outside(product) if name == CLASS_COLUMN else band.nodata,
        )
        for name, band in layers.items()
    ]


def _outside(product: Product) -> float:
    """Class value of cells off the raster: Sen2Cor's own, or one that the product's table does not use."""
    if product.class_kind == "scl":
        return 0.0
    return float(max(set(range(256)) - {int(value) for value in product.class_table or {}}, default=0))


def _described(column: StackColumn) -> dict[str, Any]:
    return {
        "name": column.name,
        "dtype": column.dtype,
        "scale": column.scale,
        "offset": column.offset,
        "nodata": None if column.nodata is None else repr(column.nodata),  # JSON has no NaN
    }


def _metadata(product: Product) -> dict[str, str]:
    """What a stack says of its product. The meaning of class values is left out: it is decided when they are used."""
    return {
        "product": product.id,
        "product_key": product.key,
        "source": product.source,
        "sensor": product.sensor,
        "platform": product.platform,
        "tile": product.tile,
        "datetime": product.datetime.isoformat(),
        "class_kind": product.class_kind,
    }
