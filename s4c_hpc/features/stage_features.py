"""The stage from stacks to features: a task a tile, set, sensor and unit of parcels; ranks share its parcel blocks."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.catalog import load_products
from s4c_hpc.config import Config
from s4c_hpc.config.features import FeatureSet
from s4c_hpc.core.errors import InputError, InternalError, MissingDataError, TemporaryError, listing
from s4c_hpc.core.plan_schema import tasks_from_table, tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.extract.bounds import BASE_BYTES, MGRS_TILE, Sizes, cells_bytes
from s4c_hpc.extract.farmland import read_mask
from s4c_hpc.extract.index import ParcelIndex, read_index
from s4c_hpc.features.contract import FeatureHeader, feature_schema
from s4c_hpc.features.groups import applied, is_usable, planned_recipe
from s4c_hpc.features.optical import OpticalFeatures
from s4c_hpc.features.pixels import PIECE_PIXELS, PieceFeatures, block_features
from s4c_hpc.features.planner import FeaturePlanner
from s4c_hpc.features.radar import RadarFeatures
from s4c_hpc.features.recipe import Recipe
from s4c_hpc.features.seasons import Seasons
from s4c_hpc.features.shares import ranges_of
from s4c_hpc.features.write import BlockWriter, Layout, lay_out
from s4c_hpc.parcels import BLOCK
from s4c_hpc.series.params import mask_note, validity_params

SETS: Final[tuple[FeatureSet, ...]] = ("optical", "red-edge", "sar")
"""Sets that this stage makes."""

_VALUES_PER_S: Final = 2e7
"""Pixel values a second and rank on a slow, shared machine; a quiet one does ten times as many."""

_COMPILE_S: Final = 180
"""Longest time to compile all kernels, when no cache is there."""

_T = TypeVar("_T")

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
        planner = FeaturePlanner(ctx, gathered, (self.name, self.version), self.resources)
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
        n_dates, n_bands = params["n_dates"], len(params["bands"])
        n_periods, n_functions = _size(params["recipe"])
        pixel = n_dates * (1 + 4 * n_bands) + n_periods * (5 + 4 * n_bands) + 16 * (n_bands + n_functions) + 64
        rank = BASE_BYTES + 3 * PIECE_PIXELS * pixel + n_dates * _STACK_BYTES + 16 * n_periods * n_functions * BLOCK
        rank += sum(cells_bytes(sizes.boundary_m, res_m) for res_m in {10.0, params["res_m"], 20.0})
        seconds = work / (_VALUES_PER_S * ranks)
        return Resources(cpus=ranks, mem_bytes=int(rank * ranks), walltime_s=int(_COMPILE_S + seconds))

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the feature file, together with the other ranks.

        Raises
        ------
        InputError
            If there is no mask or no index, or no product can be used.
        TemporaryError
            If a file that is done has gone or is damaged: the next run makes it again.
        """
        params = json.loads(task.params)
        absent = tuple(key for key in task.depends_on if key not in io.upstream_outputs)
        for key in absent:
            if key not in io.settled:
                raise InternalError("was started before its input was settled", where=f"{task.stage} {task.subject}")
        for key in task.depends_on[:2]:
            if key in absent:
                raise InputError(
                    f"features of tile {task.tile} cannot be made without '{io.upstream_subjects[key]}'",
                    where=task.subject,
                    hint=io.upstream_reasons.get(key),
                )
        mask_path, index_path = (io.workspace.root / io.upstream_outputs[key][0] for key in task.depends_on[:2])
        stacks = {io.product_of(key): io.upstream_outputs[key] for key in task.depends_on[2:] if key not in absent}
        products = _shared(io.comm, lambda: load_products(io.catalog_path, task.tile, stacks))
        usable = [
            (product, [io.workspace.root / path for path in stacks[name]])
            for name, product in products.items()
            if is_usable(product, params)
        ]
        notes = (
            *(f"without {io.product_of(key)}: {io.upstream_reasons.get(key, 'not there')}" for key in absent),
            *(f"without {name}: it lacks a band that others have" for name in params["left_out"]),
            *(
                f"{product.id}: {note}"
                for product, _ in usable
                if (note := mask_note(validity_params(product, applied(params["recipe"]["set"], io.config))))
            ),
        )
        if not usable:
            raise InputError(
                f"no usable product for features of tile {task.tile}",
                where=task.subject,
                hint=listing(list(notes)) or None,
            )
        made = planned_recipe(params, io.config)
        try:
            mask, index = read_mask(mask_path), read_index(index_path)
            seasons = Seasons(usable, mask, mask.grid(params["res_m"]), applied(params["recipe"]["set"], io.config))
            features = (
                OpticalFeatures(made, seasons.of(made.bands), index.weighting)
                if isinstance(made, Recipe)
                else RadarFeatures(made, *seasons.by_pass(made), index.weighting)
            )
        except (MissingDataError, InputError) as error:  # it was whole when it was done: no fault of the season
            raise TemporaryError(
                error.what, where=error.where, hint="delete the file and run 's4c run' again"
            ) from error
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
        # Replaced, not published once: a product that was absent the first time makes a fuller file of the same name.
        with io.publisher.replace(task.outputs[0]) as path:
            write_together(path, schema, index, features, seasons.release, io.comm)
        return Outcome(outputs=task.outputs, n_rows=index.n_parcels, absent=absent, notes=notes)


def write_together(
    path: Path,
    schema: pa.Schema,
    index: ParcelIndex,
    features: PieceFeatures,
    release: Callable[[], None],
    comm: Any = None,
) -> None:
    """Make the features of all blocks and write them, this process its share.

    Parameters
    ----------
    release : lets go of what a block was made of
    comm : communicator of the processes that write the file; ``None`` for this one alone
    """
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    if rank == 0:
        lay_out(path, schema, (index.block(i).new_id for i in range(index.n_blocks)))
    layout, ranges = _shared(comm, lambda: (Layout.of(path), ranges_of(_pixels(index), size)))
    with BlockWriter(path, layout) as writer:
        for number in ranges[rank]:
            block = index.block(number)
            values = np.empty((features.n_columns, block.n_parcels), np.float32)
            block_features(block, features, values)
            writer.write(number, values)
            release()


def _pixels(index: ParcelIndex) -> NDArray[np.int64]:
    """(n_blocks,) pixels of the parcels of each block."""
    return np.array([int(index.block(i).n_pixels.sum()) for i in range(index.n_blocks)], np.int64)


def _size(said: Mapping[str, Any]) -> tuple[int, int]:
    """Periods of a recipe, and values for each of them."""
    if said["set"] != "sar":
        return len(said["periods"]), len(said["functions"])
    n_weeks = (dt.date.fromisoformat(said["season"][1]) - dt.date.fromisoformat(said["season"][0])).days // 7 + 2
    # Ratios beside backscatter, and what is made of weeks takes less than half as many values.
    return n_weeks, 2 * len(said["backscatter"]) + len(said["coherence"]) + 2


def _shared(comm: Any, look_up: Callable[[], _T]) -> _T:
    """What rank 0 has found, for all ranks: a shared disk is asked once."""
    if comm is None:
        return look_up()
    found: _T = comm.bcast(look_up() if comm.rank == 0 else None)
    return found
