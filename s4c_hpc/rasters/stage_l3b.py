"""The stage that makes rasters of variables: one task a tile and product, on demand; a second reading of imagery."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from s4c_hpc.catalog import Product, load_product, opened
from s4c_hpc.catalog.angle_files import read_angles
from s4c_hpc.catalog.angles import COSINES, has_angles, mean_angles
from s4c_hpc.catalog.archive import patience
from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError, InputError, InternalError
from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.bounds import BASE_BYTES, MAX_BLOCK_ROWS, block_rows
from s4c_hpc.extract.planning import parcel_tiles, season_products
from s4c_hpc.extract.stage_gather import class_rules
from s4c_hpc.optical import Variable, check_bands
from s4c_hpc.rasters.choice import raster_variables
from s4c_hpc.rasters.cog import copy_to_cog, most_bytes, plain_bytes
from s4c_hpc.rasters.compute import WINDOW_PIXELS, Layer, write_plain
from s4c_hpc.rasters.encode import LARGEST
from s4c_hpc.rasters.frame import cut_to_tile
from s4c_hpc.rasters.open_layers import open_layers
from s4c_hpc.rasters.params import describe, effective_params, grid_of, layers_read
from s4c_hpc.rasters.reader import FrameReader
from s4c_hpc.rasters.rows import STRIP_ROWS, WINDOW_BYTES, rows_at_a_time
from s4c_hpc.series.assign import GridVariables, assign
from s4c_hpc.series.params import mask_note, needs_angles

CACHE_BYTES: Final = 64 << 20
"""GDAL's block cache: enough for the blocks of one window, since none is asked for twice."""

REFUSAL: Final = "refused"
"""Parameter of the row of a product that does not fit its tile: what its task has to say."""

_TEMPORARIES: Final = 12
"""Arrays of 8 bytes a pixel of a window that are alive beside bands: the value, its integers, and what a formula needs
between."""

_ROWS_AT_A_TIME: Final = 4096
"""Plan rows in a record batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What bounds the memory of a task beside its own work; known when it is planned, and no part of its identity."""

    block_rows: int = MAX_BLOCK_ROWS
    """Tallest blocks of the product's files."""
    widened_pixels: int = 0
    """Of all rasters of classes that are held whole, since masks are widened."""


class RasterStage:
    """Writes the rasters that ``[rasters]`` asks for, as Cloud-Optimized GeoTIFF."""

    name = "l3b"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ()
    tolerates_missing = False
    deliverable = True

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row for each product that counts and has the bands of a variable; none by default.

        Raises
        ------
        ConfigError
            If a variable cannot be resolved, or needs a band that no product has.
        NoInputsError
            If rasters are asked for, and there are no parcels or no product that counts.
        """
        variables = raster_variables(ctx.config)
        if not variables:
            return
        tiles = parcel_tiles(ctx)
        products = season_products(ctx, tiles)
        _check(variables, products)
        kept = _latest(products, ctx.config.retention.keep_rasters_days)
        for first in range(0, len(kept), _ROWS_AT_A_TIME):
            rows = (
                self._row(product, tiles[product.tile].tile, variables, ctx.config)
                for product in kept[first : first + _ROWS_AT_A_TIME]
            )
            yield tasks_to_batch(row for row in rows if row is not None)

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the rasters of one product.

        Raises
        ------
        InputError
            If a file cannot be decoded, or is not what the catalog says, or the product does not fit its tile.
        TemporaryError
            If a file cannot be read just now.
        """
        with patience(io.config.archive):
            return _make(task, io)

    def resources(self, work: float, params: Mapping[str, Any], sizes: Sizes | None = None) -> Resources:
        """Upper bounds for a task.

        Parameters
        ----------
        work : pixels of all layers and of all rasters
        params : those of the task
        sizes : of its product
        """
        sizes = sizes or Sizes()
        frames = {name: grid_of(values) for name, values in params["frames"].items()}
        width_m = max(frame.width * frame.res_m for frame in frames.values())
        finest_m = min(frame.res_m for frame in frames.values())
        held, n_layers = 0.0, 0
        for name, layers in params["layers"].items():
            res_m = float(name.removesuffix("m"))
            rows = sizes.block_rows + rows_at_a_time(1) + STRIP_ROWS * max(finest_m / res_m, 1.0) + 1
            held += rows * (width_m / res_m + 1) * sum(np.dtype(layer["dtype"]).itemsize for layer in layers)
            n_layers += len(layers)
        window = 8 * WINDOW_PIXELS * (n_layers + _TEMPORARIES) + 2 * WINDOW_BYTES
        plain = [plain_bytes(frames[raster["grid"]]) for raster in params["rasters"]]
        largest = max(most_bytes(frame) for frame in frames.values())
        # Of what is widened the raster itself and, at most as large, a strip with what lies around, in two types.
        return Resources(
            cpus=1,
            mem_bytes=int(BASE_BYTES + CACHE_BYTES + held + window + 4 * sizes.widened_pixels),
            walltime_s=int(300 + 1e-6 * work),
            scratch_bytes=sum(plain) + 2 * largest,
        )

    def _row(self, product: Product, tile: Tile, variables: Sequence[Variable], config: Config) -> Task | None:
        """The row of one product; ``None`` if it has the bands of no variable."""
        works = assign(product, variables).grids
        if not works:
            return None
        layers = layers_read(product, works, config)
        frames, refusal = _frames(works, tile)
        params = effective_params(product, works, layers, frames, config)
        if refusal:
            params[REFUSAL] = refusal
        text = canonical_json(params)
        keys = (product.key,)
        identity = task_id(self.name, self.version, keys, text)
        needed = [band for found in layers.values() for band in found.values()]
        n_pixels = {name: frame.width * frame.height for name, frame in frames.items()}
        work = float(
            sum(band.grid.width * band.grid.height for band in needed)
            + sum(n_pixels[found.grid.name] * len(found.variables) for found in works)
        )
        stem = f"{tile_dir(product.tile)}/raster/{product.sensor}/{product.datetime:%Y%m%d}_{product.id}"
        sizes = Sizes(block_rows=block_rows(product.source), widened_pixels=_widened_pixels(product, config))
        return Task(
            id=identity,
            stage=self.name,
            tile=product.tile,
            subject=product.id,
            input_keys=keys,
            params=text,
            depends_on=(),
            outputs=tuple(f"{stem}_{v.name}.{short(identity)}.tif" for found in works for v in found.variables),
            work=work,
            bytes_out=sum(most_bytes(frames[found.grid.name]) * len(found.variables) for found in works),
            opens_imagery=len({band.path for band in needed}),
            resources=self.resources(work, params, sizes),
        )


def _make(task: Task, io: TaskIO) -> Outcome:
    before = opened()
    config: Config = io.config
    product = load_product(io.catalog_path, task.subject)
    assignment = assign(product, raster_variables(config))
    params = json.loads(task.params)
    if REFUSAL in params:
        raise InputError(**{**params[REFUSAL], "where": f"{product.id}, {params[REFUSAL]['where']}"})
    if sum(len(work.variables) for work in assignment.grids) != len(task.outputs):
        raise InternalError("the catalog is not the one that the plan was made with", where=f"task {task.id}")
    notes = [*assignment.notes, *filter(None, [mask_note(params["validity"] or {})])]
    angles = (read_angles(product) or mean_angles(product)) if needs_angles(assignment.grids) else None
    outputs, n_pixels = iter(task.outputs), 0
    io.publisher.scratch.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="plain-", dir=io.publisher.scratch) as folder,
        open_layers(layers_read(product, assignment.grids, config), block_rows(product.source), CACHE_BYTES) as grids,
    ):
        for work in assignment.grids:
            frame = grid_of(params["frames"][work.grid.name])
            names = {name for variable in work.variables for name in variable.formula.names}
            layers = [
                Layer(variable, describe(product, work, variable, task, config), Path(folder, variable.name))
                for variable in work.variables
            ]
            beyond = write_plain(FrameReader(product, config, grids, frame, names, angles), frame, layers)
            notes += [_too_large(layer, n) for layer, n in zip(layers, beyond, strict=True) if n]
            for layer in layers:
                with io.publisher.new(next(outputs)) as path:
                    copy_to_cog(layer.plain, path, compress=config.rasters.compress, cache_bytes=CACHE_BYTES)
                layer.plain.unlink()
            n_pixels += frame.width * frame.height * len(layers)
    return Outcome(outputs=task.outputs, n_rows=n_pixels, rasters_opened=opened() - before, notes=tuple(notes))


def _frames(works: Sequence[GridVariables], tile: Tile) -> tuple[dict[str, Grid], dict[str, str]]:
    """Frame of each grid and, where one does not fit the tile, why: one bad product does not stop a plan."""
    try:
        return {work.grid.name: cut_to_tile(work.grid, tile) for work in works}, {}
    except InputError as error:
        said = {"what": error.what, "where": error.where, "hint": error.hint}
        return {work.grid.name: work.grid for work in works}, {key: text or "" for key, text in said.items()}


def _check(variables: Sequence[Variable], products: Sequence[Product]) -> None:
    """Refuse what no product of the season can give."""
    available = {band.name for product in products for band in product.bands}
    if any(has_angles(product) for product in products):
        available |= set(COSINES)
    try:
        check_bands(variables, available)
    except ConfigError as error:
        raise ConfigError(error.what, where="rasters.variables", hint=error.hint) from error


def _latest(products: Sequence[Product], days: int | None) -> list[Product]:
    """Products of the last days of each tile, or all."""
    if days is None:
        return list(products)
    newest: dict[str, dt.date] = {}
    for product in products:
        newest[product.tile] = max(newest.get(product.tile, dt.date.min), product.datetime.date())
    return [p for p in products if (newest[p.tile] - p.datetime.date()).days < days]


def _widened_pixels(product: Product, config: Config) -> int:
    """Pixels of the rasters of classes that are held whole."""
    if not config.rasters.mask or not any(rule.widenings for rule in class_rules(product, config).values()):
        return 0
    layers = [*product.class_layers, *([product.external_mask] if product.external_mask else [])]
    return sum({band.grid.name: band.grid.width * band.grid.height for band in layers}.values())


def _too_large(layer: Layer, n: int) -> str:
    limit = LARGEST * layer.description.scale
    name = layer.variable.name
    return f"{name}: {n} pixels beyond {limit:g} are no data; a larger rasters.scales.{name} keeps them"
