"""The stage that decides which cells of a tile are kept: one task a tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.bounds import BASE_BYTES, boundary_m, geometry_bytes
from s4c_hpc.extract.cells import BASE_RES_M
from s4c_hpc.extract.farmland import farmland_mask, write_mask
from s4c_hpc.extract.planning import parcel_tiles, task_parcels
from s4c_hpc.parcels import TileParcels

_BYTES_PER_CELL: Final = 4
"""Three byte maps of the tile and a strip of runs."""


class MaskStage:
    """Burns the parcels of a tile into its 20 m grid."""

    name = "mask"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ()
    tolerates_missing = False
    deliverable = False

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a tile that owns parcels.

        Raises
        ------
        NoInputsError
            If there are no parcels.
        """
        tiles = parcel_tiles(ctx)
        yield tasks_to_batch(self._row(parcels, ctx.config.extract.mask_ring_m) for parcels in tiles.values())

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the mask of a tile."""
        tile, table = task_parcels(task, io)
        mask = farmland_mask(table.geometry, tile, io.config.extract.mask_ring_m, parcels_key=task.input_keys[0])
        with io.publisher.new(task.outputs[0]) as path:
            write_mask(path, mask)
        return Outcome(outputs=task.outputs, n_rows=int(mask.row.size))

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds for a task.

        Parameters
        ----------
        work : metres of boundary, see ``bounds``
        params : those of the task
        """
        n_cells = params["tile"]["width_m"] * params["tile"]["height_m"] / BASE_RES_M**2
        return Resources(
            cpus=1,
            mem_bytes=int(BASE_BYTES + geometry_bytes(work) + _BYTES_PER_CELL * n_cells),
            walltime_s=int(120 + 2e-6 * work),
        )

    def _row(self, parcels: TileParcels, ring_m: float) -> Task:
        tile = parcels.tile
        extent = {"crs": tile.crs, "ulx": tile.ulx, "uly": tile.uly, "width_m": tile.width_m, "height_m": tile.height_m}
        params = {"base_m": BASE_RES_M, "ring_m": ring_m, "tile": extent}
        identity = task_id(self.name, self.version, (parcels.key,), canonical_json(params))
        work = boundary_m(parcels)
        return Task(
            id=identity,
            stage=self.name,
            tile=tile.id,
            subject="mask",
            input_keys=(parcels.key,),
            params=canonical_json(params),
            depends_on=(),
            outputs=(f"{tile_dir(tile.id)}/mask/{short(identity)}.arrow",),
            work=work,
            # Runs of 12 bytes: two ends for each row of an outline, and rows of the ring above and below.
            bytes_out=int(12 * (parcels.perimeter_m / 40.0 + (ring_m / 10.0 + 3) * parcels.n_parcels)) + 4096,
            opens_imagery=0,
            resources=self.resources(work, params),
        )
