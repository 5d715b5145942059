"""The stage that decodes imagery, once: one task a tile, product and piece of the farmland mask."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from s4c_hpc.catalog import Band, Product, load_product
from s4c_hpc.catalog.angle_files import read_angles
from s4c_hpc.catalog.angles import MAX_TEXT_BYTES, Angles
from s4c_hpc.catalog.archive import patience
from s4c_hpc.catalog.rasters import opened
from s4c_hpc.config import Category, Config
from s4c_hpc.core.errors import InputError, MissingDataError, listing
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.subject import joined, name_of
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.bounds import BASE_BYTES, MGRS_TILE, Sizes, block_rows, cells_bytes, farmland_cells
from s4c_hpc.extract.class_raster import ClassRule
from s4c_hpc.extract.dilate import Widening
from s4c_hpc.extract.farmland import read_mask
from s4c_hpc.extract.gather import CACHE_BYTES, WINDOW_BYTES, gather_grid
from s4c_hpc.extract.planning import parcel_tiles, season_products, tile_units
from s4c_hpc.extract.stack import (
    ANGLES,
    CLASS_COLUMN,
    FMASK_COLUMN,
    NO_CLASSES,
    NO_RASTER,
    STACK_BATCH_ROWS,
    StackColumn,
    StackWriter,
    stack_bytes,
)
from s4c_hpc.extract.units import Piece
from s4c_hpc.optical import class_table

_ROWS_AT_A_TIME: Final = 4096
"""Plan rows in a record batch."""

_THREAD_BYTES: Final = 32 << 20
"""What a decoding thread holds: a block of 1024 x 1024 pixels and the decoder's copies of it."""

_MADE_OF_SEVERAL: Final = ("maja", "landsat")
"""Kinds of classes that are made of several layers."""


class GatherStage:
    """Takes the pixels of the farmland mask out of every band of a product."""

    name = "gather"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("mask",)
    tolerates_missing = False
    deliverable = False

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a product that counts and piece of its tile's mask, all of a product in the order of the pieces.

        Raises
        ------
        NoInputsError
            If there are no parcels, or no product that counts.
        """
        tiles = parcel_tiles(ctx)
        products = season_products(ctx, tiles)
        pieces = {tile: units.gathered for tile, units in tile_units(ctx, tiles).items()}
        for first in range(0, len(products), _ROWS_AT_A_TIME):
            yield tasks_to_batch(
                self._row(product, piece, ctx.config)
                for product in products[first : first + _ROWS_AT_A_TIME]
                for piece in pieces[product.tile]
            )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the stacks of a product, one a grid.

        Raises
        ------
        InputError
            If a file cannot be decoded, or lies on another grid than the tile.
        TemporaryError
            If a file cannot be read just now.
        """
        with patience(io.config.archive):
            return self._gather(task, io)

    def _gather(self, task: Task, io: TaskIO) -> Outcome:
        before = opened()
        product = load_product(io.catalog_path, name_of(task.subject))
        mask_id = task.input_keys[1]
        mask = read_mask(io.workspace.root / io.upstream_outputs[mask_id][0])
        rules = class_rules(product, io.config)
        angles, angle_notes = _angles(product)
        threads = min(task.resources.cpus, len(os.sched_getaffinity(0)))
        described = {} if angles is None else {ANGLES: angles.to_text()}
        n_rows = 0
        for (grid, layers), output in zip(layers_by_grid(product).items(), task.outputs, strict=True):
            cells = mask.cells(next(iter(layers.values())).grid)
            metadata = {**_metadata(product, layers), **described, "grid": grid, "mask": mask_id, "task": task.id}
            described = {}  # the first stack, that of the finest grid, speaks for all
            with io.publisher.new(output) as path, StackWriter(path, stack_columns(layers), metadata) as writer:
                gather_grid(layers, cells, writer, block_rows(product.source), rules, threads)
                n_rows += writer.n_rows
        return Outcome(
            outputs=task.outputs,
            n_rows=n_rows,
            rasters_opened=opened() - before,
            notes=(*_read_twice(product, rules), *angle_notes),
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
            if "widened" in params:
                # Class rasters of product and FMask, a strip with its halo, and two bytes a pixel of that.
                side = sizes.width_m / res_m
                halo = max(mask["radius_m"] for rule in params["widened"].values() for mask in rule["masks"]) / res_m
                most += 2 * (side + 2 * halo) ** 2 + 4 * (sizes.block_rows + 2 * halo) * side
        return Resources(cpus=1, mem_bytes=int(BASE_BYTES + CACHE_BYTES + most), walltime_s=int(300 + 1e-6 * work))

    def _row(self, product: Product, piece: Piece, config: Config) -> Task:
        parcels, mask_id = piece.parcels, piece.id
        grids = layers_by_grid(product)
        ring_m = config.extract.mask_ring_m
        columns = {name: stack_columns(layers) for name, layers in grids.items()}
        rules = class_rules(product, config)
        widened = tuple((column, rule) for column, rule in rules.items() if rule.widenings)
        layout = tuple((name, tuple(found)) for name, found in columns.items())
        params, text = _params(layout, widened, has_angles=bool(product.angles_file))
        keys = (product.key, mask_id)
        identity = task_id(self.name, self.version, keys, text)
        folder = f"{tile_dir(product.tile)}/stack/{product.sensor}"
        file = f"{product.datetime:%Y%m%d}_{product.id}.{short(identity)}.arrow"
        layers = [band for found in grids.values() for band in found.values()]
        work = float(sum(_pixels_on(parcels.tile, band) for band in layers))
        if piece.addition:
            # Blocks that a few parcels hit: each of them up to four, of the largest size that a source has.
            work = min(work, 4.0 * parcels.n_parcels * block_rows(product.source) ** 2 * len(layers))
        return Task(
            id=identity,
            stage=self.name,
            tile=product.tile,
            subject=joined(product.id, piece.addition),
            input_keys=keys,
            params=text,
            depends_on=(mask_id,),
            outputs=tuple(f"{folder}/{name}/{file}" for name in grids),
            work=work,
            bytes_out=sum(
                stack_bytes(found, farmland_cells(parcels, ring_m, float(name.removesuffix("m"))))
                for name, found in columns.items()
            )
            + (2 * MAX_TEXT_BYTES if product.angles_file else 0),  # a schema stands in a file twice
            opens_imagery=len({band.path for band in layers}),
            resources=_on(config.extract.decode_cpus, self.resources(work, params, Sizes.of(parcels, product.source))),
        )


def _pixels_on(tile: Tile, band: Band) -> int:
    """Pixels of a layer that a tile can have: those of a Landsat scene lie on several."""
    grid = tile.grid(band.grid.res_m)
    return min(band.grid.width, grid.width) * min(band.grid.height, grid.height)


def _on(cpus: int, one: Resources) -> Resources:
    """What a task needs that decodes in so many threads: each holds a block more, in the decoder's four bytes."""
    return dataclasses.replace(one, cpus=cpus, mem_bytes=one.mem_bytes + (cpus - 1) * _THREAD_BYTES)


def layers_by_grid(product: Product) -> dict[str, dict[str, Band]]:
    """Layers of a product by grid name, finest first, and by column: bands by name, then those of the classes.

    Where one layer of a grid has the classes, it is called like the column; where several make it up, ``class/MG2_R1``.
    """
    named = [(band.name, band) for band in sorted(product.bands, key=lambda band: band.name)]
    shared = Counter(layer.grid.name for layer in product.class_layers)
    for layer in product.class_layers:
        is_alone = shared[layer.grid.name] == 1
        named.append((CLASS_COLUMN if is_alone else f"{CLASS_COLUMN}/{layer.name}", layer))
    if product.external_mask is not None:
        named.append((FMASK_COLUMN, product.external_mask))
    grids: dict[str, dict[str, Band]] = {}
    for column, band in sorted(named, key=lambda pair: pair[1].grid.res_m):
        grids.setdefault(band.grid.name, {})[column] = band
    return grids


def stack_columns(layers: Mapping[str, Band]) -> list[StackColumn]:
    """Columns of a stack: the bands, then the class, whether or not one of the layers holds it, then FMask's."""
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
        if not _is_own_class(name) and name != FMASK_COLUMN
    ]
    masks = [CLASS_COLUMN, *(column for column in layers if column == FMASK_COLUMN)]
    return [*bands, *(StackColumn(name=column, dtype="uint8", nodata=NO_RASTER) for column in masks)]


def class_rules(product: Product, config: Config) -> dict[str, ClassRule]:
    """By class column, how it is made; columns of one layer that stay as they are need no rule."""
    kinds = {CLASS_COLUMN: product.class_kind} if product.class_layers else {}
    if product.external_mask is not None:
        kinds[FMASK_COLUMN] = "fmask"
    rules = {column: _class_rule(kind, product, config) for column, kind in kinds.items()}
    return {column: rule for column, rule in rules.items() if rule.widenings or rule.kind in _MADE_OF_SEVERAL}


def _class_rule(kind: str, product: Product, config: Config) -> ClassRule:
    table = class_table(kind, config.validity, product.class_table)
    by_category = {c: tuple(sorted(v for v, found in table.items() if found is c)) for c in Category}
    dilate = config.extract.dilate_m
    widths = ((Category.CLOUD, dilate.cloud), (Category.SHADOW, dilate.shadow), (Category.SNOW, dilate.snow))
    return ClassRule(
        kind=kind,
        widenings=tuple(
            Widening(values=by_category[category], radius_m=width_m)
            for category, width_m in widths
            if width_m > 0 and by_category[category]
        ),
        protected=tuple(
            sorted(v for c in (Category.NODATA, *(category for category, _ in widths)) for v in by_category[c])
        ),
    )


def _is_own_class(key: str) -> bool:
    return key == CLASS_COLUMN or key.startswith(f"{CLASS_COLUMN}/")


def _angles(product: Product) -> tuple[Angles | None, tuple[str, ...]]:
    """Angles of a product, and a note where its metadata do not hold them as they should.

    Damaged metadata cost what is made of angles and no more; a file that is not there or must not be read is an error,
    since it may come back.
    """
    without = "LAI and the like have no values"
    try:
        angles = read_angles(product)
    except MissingDataError:
        raise
    except InputError as error:
        return None, (f"its sun and view angles cannot be used ({error.where}: {error.what}): {without}",)
    is_amiss = bool(product.angles_file) and angles is None
    return angles, ((f"its metadata hold no sun and view angles: {without}",) if is_amiss else ())


def _read_twice(product: Product, rules: Mapping[str, ClassRule]) -> tuple[str, ...]:
    """Say so where classes that are widened lie in one file with bands: to see beyond farmland they are read apart."""
    if not any(rule.widenings for rule in rules.values()):
        return ()
    paths = {band.path for band in product.bands}
    twice = sorted(layer.name for layer in product.class_layers if layer.path in paths)
    return (f"decoded twice, since it is widened and lies in the file of the bands: {listing(twice)}",) if twice else ()


@lru_cache(maxsize=1024)
def _params(
    grids: tuple[tuple[str, tuple[StackColumn, ...]], ...],
    widened: tuple[tuple[str, ClassRule], ...],
    *,
    has_angles: bool,
) -> tuple[dict[str, Any], str]:
    """Parameters of a task, and their text: the same for nearly all products of a source."""
    params: dict[str, Any] = {"grids": {name: [_described(column) for column in columns] for name, columns in grids}}
    if has_angles:
        params["angles"] = "grid"
    if widened:
        params["widened"] = {
            column: {
                "masks": [{"values": mask.values, "radius_m": mask.radius_m} for mask in rule.widenings],
                "protected": rule.protected,
            }
            for column, rule in widened
        }
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
        "class_kind": product.class_kind if any(_is_own_class(key) for key in layers) else NO_CLASSES,
    }
