"""The stage that detects mowing: one task a tile, from NDVI and coherence of our own series and of imports."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.config.mowing import Mowing, MowingMode
from s4c_hpc.confounders.read import ConfounderFile, confounders_of, planned_confounders
from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, TemporaryError
from s4c_hpc.core.ids import canonical_json, task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.extract.planning import parcel_tiles
from s4c_hpc.mowing.contract import (
    EVENTS,
    PARCELS,
    MowingHeader,
    event_schema,
    manifest_path,
    mowing_path,
    parcel_schema,
    period_of,
)
from s4c_hpc.mowing.season import Assessed, Recipe, Seen, assess
from s4c_hpc.parcels import BLOCK, TileParcels, latest_version, read_tile_attributes, version_of
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.imported import Imported, imported_set, imports_of
from s4c_hpc.series.inputs import require_any
from s4c_hpc.series.layers import Ids, Layered, open_layers
from s4c_hpc.series.locate import parcels_of
from s4c_hpc.series.manifest import manifest_text
from s4c_hpc.series.task_series import task_series

_BASE_BYTES: Final = 320 * 2**20
"""Anonymous memory of a worker with Arrow and NumPy loaded."""

_PARCEL_BYTES: Final = 1024
"""Most bytes of a parcel: its crop and area while they are read, its reason and counts."""

_EVENT_BYTES: Final = 112
"""Of a window and its evidence, in double precision."""


class MowingStage:
    """Writes the mowings of a tile and what is said of each parcel."""

    name = "mowing"
    version = "2"
    launch = Launch.ARRAY
    after: Sequence[str] = ("series", "confounders")
    tolerates_missing = False
    deliverable = True

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a tile that has series; none unless asked for.

        Raises
        ------
        NoInputsError
            If mowing is asked for, and there are no parcels or no series on any tile.
        """
        config: Config = ctx.config
        if not config.mowing.enabled:
            return
        tiles = parcel_tiles(ctx)
        own: dict[str, list[str]] = defaultdict(list)
        sizes: dict[str, float] = defaultdict(float)
        for row in ctx.upstream["series"].select(["id", "tile", "work"]).to_pylist():
            own[row["tile"]].append(row["id"])
            sizes[row["tile"]] += row["work"]
        brought: dict[str, list[Imported]] = defaultdict(list)
        imports = ctx.once("imports", lambda: imports_of(ctx.workspace))
        for imported in imports:
            for tile in imported.tiles:
                brought[tile].append(imported)
                sizes[tile] += len(imported_set(ctx.workspace, imported, tile).acquisitions)
        # The reference knows no doubts.
        is_reference = config.mowing.mode is MowingMode.REFERENCE
        doubting = {} if is_reference else planned_confounders(ctx)
        rows = [
            self._row(ctx, tiles[tile], own.get(tile, []), brought.get(tile, []), doubting.get(tile, ()), sizes[tile])
            for tile in sorted(tiles)
            if tile in own or tile in brought
        ]
        if not rows:
            raise NoInputsError(
                "mowing is asked for, and no tile with parcels has series",
                where="mowing.enabled",
                hint="name sources of imagery, run 's4c series import', or leave it out",
            )
        require_any(
            config, imports, config.mowing.ndvi, is_own=bool(own), radar_alone=is_reference, where="mowing.ndvi"
        )
        yield tasks_to_batch(rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds; ``work``: parcels x files, ``n_files`` and ``n_parcels`` of the tile, ``max_events``."""
        block = BLOCK * params["n_files"] * 600
        mapped = 2**17 * params["n_files"]
        # Attributes, and what was found, stand in memory until all is written.
        kept = params["n_parcels"] * (_PARCEL_BYTES + _EVENT_BYTES * params["max_events"])
        return Resources(cpus=1, mem_bytes=int(_BASE_BYTES + block + mapped + kept), walltime_s=int(120 + work / 1e5))

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write both files of a tile.

        Raises
        ------
        InputError
            If no series of the season has NDVI or, in reference mode, neither NDVI nor coherence.
        TemporaryError
            If series have been replaced since the plan was made, or have gone.
        """
        params = json.loads(task.params)
        recipe = Recipe.from_params(params)
        key = task.input_keys[0]
        ids = parcels_of(io.workspace, task.tile, key)
        try:
            acquisitions, missing = _acquisitions(task, io, recipe)
            files = [(a, open_layers([io.workspace.root / path for path in a.layers]).mapped()) for a in acquisitions]
        except (MissingDataError, InputError) as error:
            raise TemporaryError(error.what, where=error.where, hint="run 's4c run' again") from error
        seen = [s for a, f in files for s in _variables(a, f, recipe.mowing)]
        radar_alone = recipe.mowing.mode is MowingMode.REFERENCE
        if not any(one.is_ndvi or radar_alone for one in seen):
            raise InputError(
                f"no series of {recipe.start} to {recipe.end} on tile {task.tile} has a column "
                f"{recipe.mowing.ndvi}_mean",
                where="mowing.ndvi",
                hint="'s4c series list' names what there is",
            )
        # Crops are those of the plan; areas are part of the key of parcels.
        version = params.get("attributes") or version_of(io.workspace, task.tile, key)
        crops, areas = _attributes(io, version, task.tile, ids)
        confounders = confounders_of(task, io)
        assessed = []
        for first in range(0, ids.size, BLOCK):
            block = slice(first, first + BLOCK)
            own = _read(seen, confounders, ids[block])
            assessed.append(assess(recipe, ids[block], own, crops[block], areas[block]))
        header = {
            "period": params["period"],
            "site": params["site"],
            "tile": task.tile,
            "parcels": key,
            "mode": recipe.mowing.mode.value,
            "rules": canonical_json(params["mowing"]),
            "task": task.id,
        }
        event_file, event_manifest, parcel_file, parcel_manifest = task.outputs
        events = event_schema(MowingHeader(set=EVENTS, **header))
        parcels = parcel_schema(MowingHeader(set=PARCELS, **header))
        with io.publisher.replace(event_file) as path:
            n_events = write_ipc(path, events, (one.events(events) for one in assessed))
        with io.publisher.replace(parcel_file) as path:
            write_ipc(path, parcels, (one.parcels(parcels) for one in assessed))
        used = {one.acquisition.sort_key: (one.acquisition, one.file.header.task) for one in seen}
        for schema, file in ((events, event_manifest), (parcels, parcel_manifest)):
            text = manifest_text(
                schema,
                selection={"mode": recipe.mowing.mode.value, "rules": params["mowing"]},
                parcels_version=version_of(io.workspace, task.tile, key),
                n_parcels=int(ids.size),
                inputs=used.values(),
                missing=missing,
            )
            with io.publisher.replace(file) as path:
                path.write_text(text, encoding="utf-8")
        return Outcome(outputs=task.outputs, n_rows=int(ids.size), notes=_notes(assessed, n_events, int(ids.size)))

    def _row(
        self,
        ctx: PlanContext,
        parcels: TileParcels,
        own: list[str],
        brought: list[Imported],
        doubting: tuple[str, ...],
        n_files: float,
    ) -> Task:
        config: Config = ctx.config
        tile, site = parcels.tile.id, config.site
        period = period_of(site.season_start, site.season_end)
        params: dict[str, Any] = {
            "mowing": config.mowing.model_dump(mode="json", exclude={"enabled"}),
            "start": str(site.season_start),
            "end": str(site.season_end),
            "period": period,
            "site": site.name,
        }
        if config.mowing.compliance or config.mowing.crops:
            # Codes of crops are no part of the key of parcels.
            params["attributes"] = latest_version(ctx.workspace)
        text = canonical_json(params)
        keys = (parcels.key, *own, *(one.key for one in brought), *doubting)
        n = parcels.n_parcels
        work = float(n * n_files)
        most = max(config.mowing.improved.max_events, config.mowing.reference.max_events)
        return Task(
            id=task_id(self.name, self.version, keys, text),
            stage=self.name,
            tile=tile,
            subject=period,
            input_keys=keys,
            params=text,
            depends_on=(*own, *doubting),
            outputs=tuple(
                path
                for kind in (EVENTS, PARCELS)
                for path in (mowing_path(kind, period, site.name, tile), manifest_path(kind, period, site.name, tile))
            ),
            work=work,
            bytes_out=131072 + 2 * 2000 * int(n_files) + 2000 * parcels.n_blocks + n * (40 + most * 128),
            opens_imagery=0,
            resources=self.resources(work, {"n_files": n_files, "n_parcels": n, "max_events": most}),
        )


class _Variable:
    """A variable of an acquisition."""

    def __init__(self, acquisition: Acquisition, file: Layered, column: str, *, is_ndvi: bool) -> None:
        self.acquisition, self.file, self.column, self.is_ndvi = acquisition, file, column, is_ndvi

    def read(self, ids: Ids) -> Seen:
        """Values of parcels; NaN for one that the file does not have."""
        values = self.file.values_of(self.column, ids).astype(np.float32, copy=False)
        a = self.acquisition
        strand = "" if self.is_ndvi else f"{a.relative_orbit} {a.orbit_direction} {self.column}"
        return Seen(day=a.day, strand=strand, values=values)


def _read(seen: Sequence[_Variable], confounders: ConfounderFile | None, ids: Ids) -> list[Seen]:
    """Values of parcels, with doubts about coherence where these are known: those of VV count for VH as well."""
    read = [one.read(ids) for one in seen]
    if confounders is None:
        return read
    doubts = confounders.doubts_of([one.acquisition for one in seen], ids)
    return [
        one if variable.is_ndvi else replace(one, doubts=doubts.flags[:, i], rain_mm=doubts.rain_mm[:, i])
        for i, (one, variable) in enumerate(zip(read, seen, strict=True))
    ]


def _variables(acquisition: Acquisition, file: Layered, mowing: Mowing) -> Iterator[_Variable]:
    names = set(file.schema.names)
    if (column := f"{mowing.ndvi}_mean") in names:
        yield _Variable(acquisition, file, column, is_ndvi=True)
    for variable in mowing.coherence:
        if (column := f"{variable}_mean") in names:
            yield _Variable(acquisition, file, column, is_ndvi=False)


def _acquisitions(task: Task, io: TaskIO, recipe: Recipe) -> tuple[list[Acquisition], tuple[tuple[str, str], ...]]:
    """Those of the season by time, and products that are missing with the reason."""
    found, missing = task_series(task, io)
    inside = (a for a in found if recipe.start <= a.day <= recipe.end)
    return sorted(inside, key=lambda a: (a.day, a.sort_key)), missing


def _attributes(io: TaskIO, version: str, tile: str, ids: Ids) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """(n,) crop codes and areas in m2 of parcels; empty and NaN where there is none."""
    table = read_tile_attributes(io.workspace, version, tile, ["NewID", "ori_crop", "Area_meters"])
    numbers = table["NewID"].to_numpy()
    order = np.argsort(numbers, kind="stable")
    at = order[np.minimum(np.searchsorted(numbers, ids, sorter=order), numbers.size - 1)]
    known = numbers[at] == ids
    crops = np.array([code or "" for code in table["ori_crop"].to_pylist()], dtype=np.str_)[at]
    areas = table["Area_meters"].to_numpy()[at].astype(np.float64)
    return np.where(known, crops, ""), np.where(known, areas, np.nan)


def _notes(assessed: Sequence[Assessed], n_events: int, n: int) -> tuple[str, ...]:
    left = sum(int((~one.enough).sum()) for one in assessed)
    return (f"{n_events} mowings of {n - left} parcels; {left} of {n} had too little data",)
