"""The stage from stacks to features: a task a tile, set, sensor and unit of parcels; ranks share its parcel blocks."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from s4c_hpc.catalog import Product, load_product, read_products
from s4c_hpc.config import Config
from s4c_hpc.config.features import FeatureSet
from s4c_hpc.core.errors import ConfigError, InputError, InternalError, listing
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_from_table, tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.subject import joined, name_of
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.bounds import BASE_BYTES, MGRS_TILE, Sizes, boundary_m, cells_bytes
from s4c_hpc.extract.farmland import read_mask
from s4c_hpc.extract.index import ParcelIndex, read_index
from s4c_hpc.extract.planning import tile_units
from s4c_hpc.extract.units import Unit
from s4c_hpc.features.contract import FeatureHeader, feature_schema
from s4c_hpc.features.optical import OpticalFeatures
from s4c_hpc.features.pixels import PIECE_PIXELS, PieceFeatures, block_features
from s4c_hpc.features.recipe import Recipe, recipe, set_variables
from s4c_hpc.features.season import Season
from s4c_hpc.features.shares import ranges_of
from s4c_hpc.features.write import BlockWriter, lay_out
from s4c_hpc.optical import Variable
from s4c_hpc.series.params import validity_params

SETS: Final[tuple[FeatureSet, ...]] = ("optical", "red-edge")
"""Sets that this stage makes."""

_VALUES_PER_S: Final = 2e7
"""Pixel values a second and rank on a slow, shared machine; a quiet one does ten times as many."""

_COMPILE_S: Final = 180
"""Longest time to compile all kernels, when no cache is there."""

_STACK_BYTES: Final = 1 << 20
"""Of a product: what is known of its stacks and their pages."""


class FeatureStage:
    """Makes values of every pixel and period, and their mean and standard deviation for every parcel."""

    name = "features"
    version = "1"
    launch = Launch.MPI
    after: Sequence[str] = ("mask", "index", "gather")
    tolerates_missing = True
    deliverable = False

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row for each tile, set and sensor that has its bands, and each unit of parcels.

        Raises
        ------
        ConfigError
            If a feature cannot be resolved, or needs a band that no product has.
        """
        config: Config = ctx.config
        chosen = [one for one in SETS if one in config.features.sets]
        gathered = tasks_from_table(ctx.upstream["gather"]) if chosen else []
        if not gathered:
            return
        planner = _Planner(ctx, gathered, self)
        yield tasks_to_batch(row for one in chosen for row in planner.rows(one))

    def resources(self, work: float, params: Mapping[str, Any], sizes: Sizes = MGRS_TILE, ranks: int = 1) -> Resources:
        """Upper bounds for a task, all ranks together.

        Parameters
        ----------
        work : pixel values: most pixels of all parcels times bands and dates
        params : those of the task
        sizes : of its tile
        ranks : that it shall have

        Notes
        -----
        A parcel of more than ``2 * PIECE_PIXELS`` pixels (1.6 km2 at 10 m) may need more than this: 40 MB for each
        10 000 pixels with 70 dates and four bands.
        """
        n_dates, n_periods = params["n_dates"], len(params["recipe"]["periods"])
        n_bands, n_functions = len(params["bands"]), len(params["recipe"]["functions"])
        pixel = n_dates * (1 + 4 * n_bands) + n_periods * (5 + 4 * n_bands) + 16 * (n_bands + n_functions) + 64
        rank = BASE_BYTES + 3 * PIECE_PIXELS * pixel + n_dates * _STACK_BYTES + 16 * n_periods * n_functions * 1024
        rank += sum(cells_bytes(sizes.boundary_m, res_m) for res_m in {10.0, params["res_m"], 20.0})
        seconds = work / (_VALUES_PER_S * ranks)
        return Resources(cpus=ranks, mem_bytes=int(rank * ranks), walltime_s=int(_COMPILE_S + seconds))

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the feature file, together with the other ranks.

        Raises
        ------
        InputError
            If no product can be used.
        """
        params = json.loads(task.params)
        mask_path, index_path = (io.workspace.root / io.upstream_outputs[key][0] for key in task.depends_on[:2])
        given = [
            (
                load_product(io.catalog_path, _product_of(io, key)),
                [io.workspace.root / p for p in io.upstream_outputs[key]],
            )
            for key in task.depends_on[2:]
            if key in io.upstream_outputs
        ]
        absent = tuple(key for key in task.depends_on[2:] if key not in io.upstream_outputs)
        notes = tuple(f"without {_product_of(io, key)}: {io.upstream_reasons.get(key, 'not there')}" for key in absent)
        usable = [(product, paths) for product, paths in given if _has(product, params["bands"])]
        if not usable:
            raise InputError(
                f"no usable product for features of tile {task.tile}",
                where=task.subject,
                hint=listing(list(notes)) or None,
            )
        made = _recipe_of(params, io.config, usable[0][0])
        mask, index = read_mask(mask_path), read_index(index_path)
        season = Season(usable, mask, mask.grid(params["res_m"]), made.bands, io.config)
        header = FeatureHeader(
            tile=task.tile,
            set=made.set,
            sensor=usable[0][0].sensor,
            grid=index.metadata["grid"],
            parcels=index.metadata["parcels"],
            weighting=index.weighting,
            buffer_m=float(index.metadata["buffer_m"]),
            method=made.method,
            task=task.id,
        )
        schema = feature_schema(header, made.columns(header.sensor))
        with io.publisher.new(task.outputs[0]) as path:
            write_together(path, schema, index, OpticalFeatures(made, season, index.weighting), season, io.comm)
        return Outcome(outputs=task.outputs, n_rows=index.n_parcels, absent=absent, notes=notes)


def write_together(
    path: Path, schema: pa.Schema, index: ParcelIndex, features: PieceFeatures, season: Season, comm: Any = None
) -> None:
    """Make the features of all blocks and write them, this process its share.

    Parameters
    ----------
    comm : communicator of the processes that write the file; ``None`` for this one alone
    """
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    if rank == 0:
        lay_out(path, schema, (index.block(i).new_id for i in range(index.n_blocks)))
    if comm is not None:
        comm.Barrier()
    pixels = np.array([int(index.block(i).n_pixels.sum()) for i in range(index.n_blocks)], np.int64)
    with BlockWriter(path) as writer:
        for number in ranges_of(pixels, size)[rank]:
            block = index.block(number)
            values = np.empty((features.n_columns, block.n_parcels), np.float32)
            block_features(block, features, values)
            writer.write(number, values)
            season.release()


@dataclass(frozen=True, slots=True)
class _Group:
    """What tasks of a sensor have in common."""

    recipe: Recipe
    grid_res_m: float
    products: tuple[Product, ...]
    """Those of all tiles that have the bands."""


class _Planner:
    """Makes plan rows; what tiles share is made once."""

    def __init__(self, ctx: PlanContext, gathered: Sequence[Task], stage: FeatureStage) -> None:
        self._config: Config = ctx.config
        self._stage = stage
        names = {name_of(row.subject) for row in gathered}
        self._products = {
            product.id: product for product in read_products(ctx.workspace.catalog) if product.id in names
        }
        self._gathered: dict[tuple[str, str], list[Task]] = {}
        for row in gathered:
            self._gathered.setdefault((row.tile, row.input_keys[1]), []).append(row)
        self._indices = {(row.tile, row.subject): row.id for row in tasks_from_table(ctx.upstream["index"])}
        self._units = {tile: found.units for tile, found in tile_units(ctx, {row.tile for row in gathered}).items()}

    def rows(self, chosen: str) -> Iterator[Task]:
        """Rows of a set, tile by tile."""
        groups = self._groups(chosen)
        for tile, units in self._units.items():
            for unit in units:
                for sensor, group in groups.items():
                    stacks = [
                        row
                        for row in sorted(self._gathered[tile, unit.piece.id], key=lambda row: row.subject)
                        if self._products[name_of(row.subject)] in group.products
                    ]
                    if stacks:
                        yield self._row(chosen, sensor, group, unit, stacks)

    def _groups(self, chosen: str) -> dict[str, _Group]:
        """By sensor, those that can give at least one feature of the set."""
        variables = set_variables(self._config, chosen)
        by_sensor = sorted(self._products.values(), key=lambda product: (product.sensor, product.id))
        groups = {}
        for sensor, found in itertools.groupby(by_sensor, key=lambda product: product.sensor):
            products = tuple(found)
            there = {band.name for product in products for band in product.bands}
            mine = tuple(v for v in variables if set(v.formula.names) <= there)
            if not mine:
                continue
            bands = {name for v in mine for name in v.formula.names}
            whole = tuple(product for product in products if _has(product, bands))
            if whole:
                made = recipe(self._config, chosen, mine, [_day(product) for product in whole])
                groups[sensor] = _Group(made, _finest(whole, bands), whole)
        known = {v.name for group in groups.values() for v in group.recipe.variables}
        for variable in variables:
            if variable.name not in known:
                raise ConfigError(
                    f"no product of the season has all that feature {variable.name!r} needs: "
                    f"{listing(list(variable.formula.names))}",
                    where=f"features.{chosen.replace('-', '_')}",
                    hint="correct the name, or leave it out",
                )
        return groups

    def _row(self, chosen: str, sensor: str, group: _Group, unit: Unit, stacks: Sequence[Task]) -> Task:
        config, parcels = self._config, unit.parcels
        tile, made = parcels.tile.id, group.recipe
        grid = parcels.tile.grid(group.grid_res_m).name
        index = self._indices[tile, joined(grid, unit.addition)]
        rules: dict[str, int] = {}
        for row in stacks:
            text = canonical_json(validity_params(self._products[name_of(row.subject)], config))
            rules.setdefault(text, len(rules))
        params: dict[str, Any] = {
            "recipe": made.params(),
            "bands": list(made.bands),
            "res_m": group.grid_res_m,
            "n_dates": len(stacks),
            "validity": [json.loads(text) for text in rules],
        }
        text = canonical_json(params)
        depends_on = (unit.piece.id, index, *(row.id for row in stacks))
        identity = task_id(self._stage.name, self._stage.version, depends_on, text)
        pixels = parcels.area_m2 / group.grid_res_m**2 + boundary_m(parcels) / group.grid_res_m
        work = pixels * len(made.bands) * len(stacks)
        n_columns = 1 + len(made.columns(sensor))
        source = self._products[name_of(stacks[0].subject)].source
        return Task(
            id=identity,
            stage=self._stage.name,
            tile=tile,
            subject=joined(f"{chosen} {sensor}", unit.addition),
            input_keys=depends_on,
            params=text,
            depends_on=depends_on,
            outputs=(f"{tile_dir(tile)}/features/{sensor}/{chosen}.{short(identity)}.arrow",),
            work=work,
            bytes_out=n_columns * (4 * parcels.n_parcels + 164 * parcels.n_blocks + 1400) + 2 * len(text) + 8192,
            opens_imagery=0,
            resources=self._stage.resources(
                work, params, Sizes.of(unit.piece.parcels, source), _ranks(work, unit.parcels.n_blocks, config)
            ),
        )


def _ranks(work: float, n_blocks: int, config: Config) -> int:
    """Ranks that a task is worth: where there is no cluster, tiles are what runs side by side."""
    if config.execute.executor == "local":
        return 1
    return max(1, min(config.features.ranks, n_blocks, math.ceil(work / config.features.values_per_rank)))


def _has(product: Product, bands: Sequence[str] | set[str]) -> bool:
    return set(bands) <= {band.name for band in product.bands}


def _finest(products: Sequence[Product], bands: set[str]) -> float:
    """Pixel size of the finest of some bands, in metres."""
    return min(band.grid.res_m for product in products for band in product.bands if band.name in bands)


def _day(product: Product) -> dt.date:
    return product.datetime.date()


def _product_of(io: TaskIO, key: str) -> str:
    """Product id of a gather task from its name ``gather <tile> <product>``; the id may hold spaces."""
    return name_of(io.upstream_subjects[key].split(" ", 2)[2])


def _recipe_of(params: Mapping[str, Any], config: Config, product: Product) -> Recipe:
    """The recipe that a task was planned with."""
    said = params["recipe"]
    wanted = [name for name, _ in said["functions"]]
    variables = {v.name: v for v in set_variables(config, said["set"])}
    chosen: list[Variable] = [variables[name] for name in wanted]
    days = [dt.date.fromisoformat(first) for first, _ in said["periods"]]
    made = recipe(config, said["set"], chosen, [days[0], days[-1]])
    if made.params() != said:
        raise InternalError(
            "the configuration is not the one that the plan was made with", where=f"product {product.id}"
        )
    return made
