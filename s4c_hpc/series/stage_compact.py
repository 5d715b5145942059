"""The stage that compacts months: one task a tile, sensor, grid and month; it opens no imagery."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import pyarrow as pa

from s4c_hpc.config import Config
from s4c_hpc.core.errors import InputError, InternalError, MissingDataError, TemporaryError
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.subject import name_of
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.planning import parcel_tiles, parcels_now
from s4c_hpc.optical import resolve
from s4c_hpc.parcels import BLOCK
from s4c_hpc.series.compact import write_compact
from s4c_hpc.series.contract import CLASS_COUNTS, text_bytes
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.layers import Ids, Layered
from s4c_hpc.series.locate import parcels_of
from s4c_hpc.series.read import SeriesFile, read_series

_BASE_BYTES: Final = 256 * 2**20
"""Anonymous memory of a worker with Arrow and NumPy loaded."""

_VALUES_PER_S: Final = 4e6
"""Values turned round per second on a slow shared disk; a local one does ten times as many."""

Month = tuple[str, str, str, str]
"""Tile, sensor, grid, ``2018-05``."""


class CompactStage:
    """Turns the series of a month round, so that a parcel's values stand together.

    Made by default: reading one parcel's season is what an inspector, a viewer and every look at a doubtful result
    do, and compaction makes that hundreds of times faster. It costs as many bytes as the series themselves, which are
    about a quarter of what the stacks take. ``series.compact = false`` leaves it out; everything can still be read.
    """

    name = "compact"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("stats",)
    tolerates_missing = True
    # Nothing but the pointer names these files, and it does without those that are gone: a configuration that is no
    # longer wanted shall not keep a second copy of its series.
    deliverable = True

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a tile, sensor, grid and month; its identity is what is compacted."""
        config: Config = ctx.config
        if not config.series.compact:
            return
        tiles = parcel_tiles(ctx)
        now = parcels_now(ctx, tiles)
        sizes = _Sizes(config)
        months = _months(ctx.upstream["stats"])
        rows = []
        for (tile, sensor, grid, month), stats in sorted(months.items()):
            text = canonical_json({"sensor": sensor, "grid": grid, "month": month})
            ids = tuple(row["id"] for row in stats)
            keys = (*ids, *now[tile])
            identity = task_id(self.name, self.version, keys, text)
            n_products = len({name_of(row["subject"]) for row in stats})
            n_columns, texts = sizes.of(stats, grid)
            parcels = tiles[tile]
            work = float(parcels.n_parcels * n_columns * n_products)
            params = {"n_files": len(stats), "n_parcels": parcels.n_parcels}
            rows.append(
                Task(
                    id=identity,
                    stage=self.name,
                    tile=tile,
                    subject=f"{sensor} {grid} {month}",
                    input_keys=keys,
                    params=text,
                    depends_on=ids,
                    outputs=(f"{tile_dir(tile)}/compact/{sensor}/{grid}/{month}.{short(identity)}.arrow",),
                    work=work,
                    bytes_out=_most_bytes(parcels.n_parcels, n_columns * n_products, texts, stats),
                    opens_imagery=0,
                    resources=self.resources(work, params),
                )
            )
        yield tasks_to_batch(rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds.

        Parameters
        ----------
        work : values in the month, parcels x columns x acquisitions
        params : ``n_parcels`` of the tile and ``n_files`` of the month
        """
        n_parcels = max(params["n_parcels"], 1)
        block = 4 * work / n_parcels * min(BLOCK, n_parcels)
        numbers = 24 * n_parcels * params["n_files"]
        return Resources(
            cpus=1, mem_bytes=int(_BASE_BYTES + 2 * block + numbers), walltime_s=int(60 + work / _VALUES_PER_S)
        )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the month.

        Raises
        ------
        InputError
            If not one product of the month can be used.
        TemporaryError
            If a series file that is done has gone or is damaged: the next run makes it again.
        """
        params = json.loads(task.params)
        absent = tuple(i for i in task.depends_on if i not in io.upstream_outputs)
        for dependency in absent:
            if dependency not in io.settled:
                raise InternalError("was started before its input was settled", where=f"{task.stage} {task.subject}")
        inputs = [(one, files.mapped()) for one, files in acquired(task, io) if one.grid == params["grid"]]
        if not inputs:
            raise InputError(f"no usable product for tile {task.tile}", where=task.subject)
        (output,) = task.outputs
        # Replaced, not published once: a product that was absent the first time makes a fuller file of the same name.
        with io.publisher.replace(output) as file:
            n_rows = write_compact(file, inputs, tile=task.tile, month=params["month"], task=task.id)
        return Outcome(outputs=task.outputs, n_rows=n_rows, absent=absent)


def acquired(task: Task, io: TaskIO) -> Iterator[tuple[Acquisition, Layered]]:
    """Acquisitions that tasks of the plan have made, with their files: each with all its layers or not at all.

    Files are open for one product at a time: those of a season are more than a process may have open. Without one of
    its layers an acquisition would give parcels the values of an outline that they had before.

    Raises
    ------
    TemporaryError
        If a file has gone or is damaged since.
    """
    only = parcels_of(io.workspace, task.tile, key) if (key := task.input_keys[-1]) not in task.depends_on else None
    products: dict[str, list[str]] = defaultdict(list)
    for one in task.depends_on:
        products[io.product_of(one)].append(one)
    try:
        for tasks in products.values():
            if all(one in io.upstream_outputs for one in tasks):
                paths = [path for one in tasks for path in io.upstream_outputs[one] if not is_compacted(path)]
                yield from _acquisitions(io, paths, only)
    except (MissingDataError, InputError) as error:
        raise TemporaryError(error.what, where=error.where, hint="delete the file and run 's4c run' again") from error


def _acquisitions(io: TaskIO, paths: Sequence[str], only: Ids | None) -> list[tuple[Acquisition, Layered]]:
    """Those of one product, one a grid."""
    found: dict[str, list[tuple[str, SeriesFile]]] = defaultdict(list)
    for path in paths:
        file = read_series(io.workspace.root / path)
        found[file.header.grid].append((path, file))
    layers = [tuple(zip(*pairs, strict=True)) for pairs in found.values()]
    return [(Acquisition.of(files[0].header, *names), Layered(files, only)) for names, files in layers]


def is_compacted(path: str) -> bool:
    """Whether a workspace-relative path is that of a compacted month."""
    return PurePosixPath(path).parts[-4] == "compact"


def _months(stats: pa.Table) -> dict[Month, list[dict[str, Any]]]:
    """Planned series by tile, sensor, grid and acquisition month; within one by product, layers in their order."""
    groups: dict[Month, list[dict[str, Any]]] = defaultdict(list)
    for row in stats.select(["id", "tile", "subject", "params", "outputs"]).to_pylist():
        for path in row["outputs"]:
            *_, sensor, grid, name = PurePosixPath(path).parts
            # Series files begin with the acquisition day, so that no product has to be looked up here.
            groups[row["tile"], sensor, grid, f"{name[:4]}-{name[4:6]}"].append(row)
    for rows in groups.values():
        rows.sort(key=lambda row: name_of(row["subject"]))
    return groups


class _Sizes:
    """How many columns a month has, by the variables of the files that go in."""

    def __init__(self, config: Config) -> None:
        statistics = config.variables.statistics
        self._of = {v.name: (len(v.statistics_of(statistics)), text_bytes(v)) for v in resolve(config.variables)}
        self._names: dict[tuple[str, str], tuple[str, ...]] = {}

    def of(self, stats: Iterable[Mapping[str, Any]], grid: str) -> tuple[int, int]:
        """Columns of all files together, each once, and the bytes that describe them."""
        names = {name for row in stats for name in self._variables(row["params"], grid)}
        n_columns, texts = len(CLASS_COUNTS), 300 * len(CLASS_COUNTS)
        for name in names:
            n_statistics, text = self._of[name]
            n_columns += n_statistics
            texts += n_statistics * (600 + 2 * text)
        return n_columns, texts

    def _variables(self, params: str, grid: str) -> tuple[str, ...]:
        """Names of the variables on a grid, by the parameters of the task that evaluates them."""
        if (params, grid) not in self._names:
            self._names[params, grid] = tuple(name for name, *_ in json.loads(params)["grids"][grid]["variables"])
        return self._names[params, grid]


def _most_bytes(n_parcels: int, n_values: int, texts: int, stats: Sequence[Mapping[str, Any]]) -> int:
    """Most bytes of a compacted month.

    Parameters
    ----------
    n_values : of a parcel, columns x acquisitions
    texts : what describes the columns
    stats : rows of the files that go in
    """
    longest = max(len(str(row["subject"]).encode()) for row in stats)
    described = len(stats) * (600 + 3 * longest) + texts
    values = 4 * n_parcels * (1 + n_values)
    return values + 400 * (1 + n_parcels // BLOCK) + 2 * described + 8192
