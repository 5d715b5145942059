"""The stage from stacks to series: one task a tile, product and unit of parcels; it opens no imagery."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from s4c_hpc.catalog import Product, load_product, opened, read_products
from s4c_hpc.catalog.angles import COSINES, has_angles
from s4c_hpc.config import Config
from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.grid import FAMILY_RES_M
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_from_table, tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.subject import joined, name_of
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.bounds import BASE_BYTES, MGRS_TILE, Sizes, boundary_m, cells_bytes
from s4c_hpc.extract.pieces import PIECE_PIXELS
from s4c_hpc.extract.planning import tile_units
from s4c_hpc.extract.spans import SPAN_ROWS
from s4c_hpc.extract.units import Unit
from s4c_hpc.optical import Variable, check_bands, resolve
from s4c_hpc.parcels import TileParcels
from s4c_hpc.series.assign import Assignment, assign
from s4c_hpc.series.contract import CLASS_COUNTS, text_bytes
from s4c_hpc.series.params import effective_params, mask_note, validity_params
from s4c_hpc.series.write import SeriesInputs, write_series

_ROWS_AT_A_TIME: Final = 4096
"""Plan rows in a record batch."""

_TEMPORARIES: Final = 12
"""Arrays of 8 bytes a pixel that are alive beside bands and variables: order of the pixels, formula temporaries and,
where a piece is one parcel, the kernel's scratch."""

_SPAN_BYTES: Final = 64
"""Beside that, for each pixel of a piece of many parcels: rows and classes on all grids. What leads from one grid to
another takes 8 bytes a run of cells, less than making the cells has taken."""

_ANGLE_BYTES: Final = 64
"""For each stack row of a span: its place on the grid, and the cosines of its angles."""

_COMPILE_S: Final = 180
"""Longest time to compile all kernels, when no cache is there."""


class StatsStage:
    """Evaluates the variables on the pixels of every parcel and reduces them to statistics."""

    name = "stats"
    version = "1"
    launch = Launch.POOL
    after = ("mask", "index", "gather")
    tolerates_missing = False
    deliverable = False

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row for each gathered product and unit of each tile; of several units of a product the last one counts.

        Raises
        ------
        ConfigError
            If a variable cannot be resolved, or needs a band that no product has.
        """
        variables = resolve(ctx.config.variables)
        gathered = tasks_from_table(ctx.upstream["gather"])
        if not gathered:
            return
        products = {product.id: product for product in read_products(ctx.workspace.catalog)}
        wanted = [products[name_of(row.subject)] for row in gathered]
        angles = COSINES if any(has_angles(product) for product in wanted) else ()
        check_bands(variables, {*angles, *(band.name for product in wanted for band in product.bands)})
        planner = _Planner(ctx, variables, self)
        rows = (
            planner.row(stacks, products[product], unit)
            for tile, product, stacks in _by_product(gathered)
            for unit in planner.units[tile]
        )
        for chunk in _chunks((row for row in rows if row is not None), _ROWS_AT_A_TIME):
            yield tasks_to_batch(chunk)

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the series files of one product, one a grid that has variables."""
        rasters_before = opened()
        product = load_product(io.catalog_path, name_of(task.subject))
        assignment = assign(product, resolve(io.config.variables))
        if len(assignment.grids) != len(task.outputs):
            raise InternalError("the catalog is not the one that the plan was made with", where=f"task {task.id}")
        inputs = _inputs(task, io)
        n_rows = 0
        for work, output in zip(assignment.grids, task.outputs, strict=True):
            with io.publisher.new(output) as path:
                n_rows += write_series(path, product, work, inputs, io.config, tile=task.tile, task=task.id)
        return Outcome(
            outputs=task.outputs,
            n_rows=n_rows,
            rasters_opened=opened() - rasters_before,
            notes=(*assignment.notes, *filter(None, [mask_note(validity_params(product, io.config))])),
        )

    def resources(self, work: float, params: Mapping[str, Any], sizes: Sizes = MGRS_TILE) -> Resources:
        """Upper bounds for a task.

        Parameters
        ----------
        work : pixel values: most pixels of all parcels times bands and variables, summed over grids
        params : those of the task
        sizes : of its tile

        Notes
        -----
        A parcel of more than ``2 * PIECE_PIXELS`` pixels (52 km2 at 10 m) needs more than this.
        """
        piece = 0.0
        for grid in params["grids"].values():
            values = len(grid["variables"]) + len(grid["bands"]) + (len(COSINES) if "angles" in params else 0)
            piece = max(piece, min(work / values, 2.0 * PIECE_PIXELS) * 8 * (values + _TEMPORARIES))
        span = _SPAN_BYTES + (_ANGLE_BYTES if "angles" in params else 0)
        cells = sum(cells_bytes(sizes.boundary_m, res_m) for res_m in FAMILY_RES_M)
        return Resources(
            cpus=1,
            mem_bytes=int(BASE_BYTES + piece + cells + span * SPAN_ROWS),
            walltime_s=int(_COMPILE_S + 3e-6 * work),
        )


class _Planner:
    """Makes plan rows; what many products share is made once."""

    def __init__(self, ctx: PlanContext, variables: tuple[Variable, ...], stage: StatsStage) -> None:
        self.config: Config = ctx.config
        self.variables, self.stage = variables, stage
        indices = tasks_from_table(ctx.upstream["index"])
        self.indices = {(row.tile, row.subject): row.id for row in indices}
        self.units = {tile: found.units for tile, found in tile_units(ctx, {row.tile for row in indices}).items()}
        self._known: dict[str, tuple[Assignment, dict[str, Any], str]] = {}

    def row(self, stacks: Mapping[str, Task], product: Product, unit: Unit) -> Task | None:
        """The row of a unit of one gathered product; ``None`` if that has the bands of no variable.

        Parameters
        ----------
        stacks : rows that gather the product, by the piece of the mask
        """
        assignment, params, text = self._effective(product)
        if not assignment.grids:
            return None
        gathered = stacks[unit.piece.id]
        grids = [work.grid.name for work in assignment.grids]
        index_ids = tuple(self.indices[gathered.tile, joined(grid, unit.addition)] for grid in grids)
        identity = task_id(self.stage.name, self.stage.version, (gathered.id, *index_ids), text)
        folder = f"{tile_dir(gathered.tile)}/series/{product.sensor}"
        file = f"{product.datetime:%Y%m%d}_{product.id}.{short(identity)}.arrow"
        parcels = unit.parcels
        work = sum(_pixels(parcels, g.grid.res_m) * (len(g.variables) + len(g.bands)) for g in assignment.grids)
        return Task(
            id=identity,
            stage=self.stage.name,
            tile=gathered.tile,
            subject=joined(product.id, unit.addition),
            input_keys=(gathered.id, *index_ids),
            params=text,
            depends_on=(gathered.id, unit.piece.id, *index_ids),
            outputs=tuple(f"{folder}/{grid}/{file}" for grid in grids),
            work=work,
            bytes_out=sum(self._bytes(g.variables, parcels) + 2 * len(text) for g in assignment.grids),
            opens_imagery=0,
            resources=self.stage.resources(work, params, Sizes.of(unit.piece.parcels, product.source)),
        )

    def _effective(self, product: Product) -> tuple[Assignment, dict[str, Any], str]:
        """What is computed of products of a satellite with the same bands, classes and angles, and what decides it."""
        table = product.class_table and sorted(product.class_table.items())
        masks = (product.class_kind, table, bool(product.class_layers), product.external_mask is not None)
        angles = (bool(product.angles_file), product.mean_angles)
        like = repr((product.platform, masks, angles, [(b.name, b.grid.res_m) for b in product.bands]))
        if like not in self._known:
            assignment = assign(product, self.variables)
            params = effective_params(product, assignment, self.config)
            self._known[like] = assignment, params, canonical_json(params)
        return self._known[like]

    def _bytes(self, variables: Sequence[Variable], parcels: TileParcels) -> int:
        """Most bytes of a file, but for the validity rule that its header repeats from the parameters."""
        of_each = [len(variable.statistics_of(self.config.variables.statistics)) for variable in variables]
        n_columns = 1 + len(CLASS_COUNTS) + sum(of_each)
        own_texts = sum(n * text_bytes(variable) for n, variable in zip(of_each, variables, strict=True))
        # Values, then the description of each batch, then the schema with its texts, twice in a file.
        return 4096 + n_columns * (4 * parcels.n_parcels + 100 * parcels.n_blocks) + 2 * (600 * n_columns + own_texts)


def _pixels(parcels: TileParcels, res_m: float) -> float:
    """Most pixels that parcels can have on a grid: their area, and every pixel along their outlines."""
    return parcels.area_m2 / res_m**2 + boundary_m(parcels) / res_m


def _inputs(task: Task, io: TaskIO) -> SeriesInputs:
    """Map the files of a task; its dependencies are, in order, gather, mask and an index for each grid."""
    gather, mask, *indices = [[io.workspace.root / p for p in io.upstream_outputs[key]] for key in task.depends_on]
    return SeriesInputs.open(mask[0], gather, [paths[0] for paths in indices])


def _by_product(gathered: Sequence[Task]) -> Iterator[tuple[str, str, dict[str, Task]]]:
    """Each tile and product, whose rows stand together, with the row of each piece of the mask."""
    for (tile, product), rows in itertools.groupby(gathered, key=lambda row: (row.tile, name_of(row.subject))):
        yield tile, product, {row.input_keys[1]: row for row in rows}


def _chunks(rows: Iterable[Task], size: int) -> Iterator[list[Task]]:
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
