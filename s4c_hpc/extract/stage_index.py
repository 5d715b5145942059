"""The stage that finds the pixels of every parcel: one task a tile, grid and unit of parcels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from s4c_hpc.config import Config, Weighting
from s4c_hpc.core.errors import InternalError
from s4c_hpc.core.grid import is_landsat
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.subject import joined
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.bounds import BASE_BYTES, boundary_m, cells_bytes, geometry_bytes
from s4c_hpc.extract.cells import BASE_RES_M
from s4c_hpc.extract.farmland import pieces_of, read_mask
from s4c_hpc.extract.index import index_batches, write_index
from s4c_hpc.extract.planning import parcel_tiles, season_products, task_parcels, tile_units
from s4c_hpc.extract.units import Unit, tile_params

HELD, BEYOND = "held", "beyond"
"""Which parcels of a layer a task has: those that a piece of the mask holds, or those that its own piece is for."""


class IndexStage:
    """Lists the stack rows of every parcel, shrunk by the buffer of the grid."""

    name = "index"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("mask",)
    tolerates_missing = False
    deliverable = False

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row for each unit of each tile and each grid that bands of its products have.

        Raises
        ------
        NoInputsError
            If there are no parcels, or no product that counts.
        """
        tiles = parcel_tiles(ctx)
        grids: dict[str, set[float]] = {}
        for product in season_products(ctx, tiles):
            grids.setdefault(product.tile, set()).update(band.grid.res_m for band in product.bands)
        units = tile_units(ctx, grids)
        yield tasks_to_batch(
            self._row(unit, res_m, ctx.config)
            for tile in sorted(grids)
            for res_m in sorted(grids[tile])
            for unit in units[tile].units
        )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the index of a unit on one grid.

        Raises
        ------
        InputError
            If the grid is none of 10, 20, 30 and 60 m.
        """
        key, mask_id, *before = task.input_keys
        params = json.loads(task.params)
        tile, table = task_parcels(task, io)
        masks = [read_mask(io.workspace.root / io.upstream_outputs[one][0]) for one in (*before, mask_id)]
        mine: Any = slice(None)
        if params.get("share") == BEYOND:
            mine = pieces_of(table.geometry, masks[:-1]) < 0  # for these the piece was made
        elif params.get("share") == HELD:
            mine = pieces_of(table.geometry, masks) == len(before)
        new_id = table.new_id[mine]
        cells = masks[-1].cells(tile.grid(params["res_m"]))
        batches = index_batches(
            new_id,
            table.block[mine],
            table.geometry[mine],
            cells,
            Weighting(params["weighting"]),
            params["buffer_m"],
            tile.bounds if is_landsat(params["res_m"]) else None,
        )
        metadata = {
            "tile": tile.id,
            "grid": cells.grid.name,
            "weighting": params["weighting"],
            "buffer_m": repr(params["buffer_m"]),
            "mask": mask_id,
            "parcels": key,
        }
        with io.publisher.new(task.outputs[0]) as path:
            n_parcels = write_index(path, batches, metadata)
        if n_parcels != new_id.size:
            raise InternalError(f"{n_parcels} of {new_id.size} parcels were indexed", where=f"task {task.id}")
        return Outcome(outputs=task.outputs, n_rows=n_parcels)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds for a task.

        Parameters
        ----------
        work : metres of boundary, see ``bounds``
        params : those of the task
        """
        res_m = params["res_m"]
        return Resources(
            cpus=1,
            # One block of parcels is found at a time; it has at most all of the boundary.
            mem_bytes=int(BASE_BYTES + geometry_bytes(work) + cells_bytes(work, res_m) + 40 * work / res_m),
            walltime_s=int(120 + 4e-6 * work),
        )

    def _row(self, unit: Unit, res_m: float, config: Config) -> Task:
        parcels, tile = unit.parcels, unit.parcels.tile
        grid = tile.grid(res_m).name
        buffer_m, weighting = config.extract.buffer_m.get(grid, res_m / 2.0), config.extract.weighting
        params: dict[str, Any] = {"buffer_m": buffer_m, "res_m": res_m, "weighting": weighting.value}
        if unit.addition:
            params["tile"] = tile_params(tile)
        if not unit.is_whole:
            params["share"] = BEYOND if unit.piece.layer.key == unit.layer.key else HELD
        masks = tuple(piece.id for piece in unit.pieces)
        keys = (unit.layer.key, *masks)
        identity = task_id(self.name, self.version, keys, canonical_json(params))
        file = f"{unit.version}_{buffer_m:g}m_{weighting.value}.{short(identity)}.arrow"
        work = boundary_m(unit.layer)
        resources = self.resources(work, params)
        if not unit.is_whole:  # who has which parcel is found out on a map of all cells, three bytes for each
            n_cells = 3 * int(tile.width_m * tile.height_m / BASE_RES_M**2)
            resources = dataclasses.replace(resources, mem_bytes=resources.mem_bytes + n_cells)
        # Bytes: half a run of 8, two ends of which lie on the boundary; an edge pixel is 8 more, with 1.4 a pixel size.
        per_pixel_of_boundary = 4.0 if weighting is Weighting.CENTRE else 16.0
        return Task(
            id=identity,
            stage=self.name,
            tile=tile.id,
            subject=joined(grid, unit.addition),
            input_keys=keys,
            params=canonical_json(params),
            depends_on=masks,
            outputs=(f"{tile_dir(tile.id)}/index/{grid}/{file}",),
            work=work,
            bytes_out=int(per_pixel_of_boundary * boundary_m(parcels) / res_m)
            + 32 * parcels.n_parcels
            + 1500 * parcels.n_blocks
            + 4096,
            opens_imagery=0,
            resources=resources,
        )
