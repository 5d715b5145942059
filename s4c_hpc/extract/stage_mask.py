"""The stage that decides which cells of a tile are kept: one task a tile, and one for each extension."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.subject import joined
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.extract.bounds import BASE_BYTES, boundary_m, geometry_bytes
from s4c_hpc.extract.cells import BASE_RES_M
from s4c_hpc.extract.farmland import farmland_mask, read_mask, write_mask
from s4c_hpc.extract.planning import is_without_imagery, parcel_tiles, task_parcels, tile_units
from s4c_hpc.extract.units import MASK_STAGE, Piece, outside

_BYTES_PER_CELL: Final = 4
"""Three byte maps of the tile and a strip of runs."""


class MaskStage:
    """Burns the parcels of a tile into its 20 m grid."""

    name, version = MASK_STAGE
    launch = Launch.ARRAY
    after: Sequence[str] = ()
    tolerates_missing = False
    deliverable = False

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a tile that owns parcels, and one for each later layer that is not wholly within what there is.

        None where there is no imagery to take pixels from.

        Raises
        ------
        NoInputsError
            If there are no parcels.
        """
        tiles = parcel_tiles(ctx)
        if is_without_imagery(ctx.workspace, ctx.config):
            return
        units = tile_units(ctx, tiles)
        yield tasks_to_batch(self._row(piece) for tile in units.values() for piece in tile.pieces)

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the mask of a tile, or of what no earlier piece of it holds."""
        tile, table = task_parcels(task, io)
        key, *before = task.input_keys
        masks = (read_mask(io.workspace.root / io.upstream_outputs[one][0]) for one in before)
        outlines = outside(table, masks) if before else table.geometry
        mask = farmland_mask(outlines, tile, io.config.extract.mask_ring_m, parcels_key=key)
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

    def _row(self, piece: Piece) -> Task:
        parcels, ring_m = piece.parcels, piece.params["ring_m"]
        work = boundary_m(piece.layer)
        return Task(
            id=piece.id,
            stage=self.name,
            tile=parcels.tile.id,
            subject=joined("mask", piece.addition),
            input_keys=piece.input_keys,
            params=canonical_json(piece.params),
            depends_on=piece.input_keys[1:],
            outputs=(piece.path,),
            work=work,
            # Runs of 12 bytes: two ends for each row of an outline, and rows of the ring above and below.
            bytes_out=int(12 * (parcels.perimeter_m / 40.0 + (ring_m / 10.0 + 3) * parcels.n_parcels)) + 4096,
            opens_imagery=0,
            resources=self.resources(work, piece.params),
        )
