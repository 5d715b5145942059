"""The stage that looks for what else may have changed coherence: one task a tile; it opens no imagery."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.config import Config
from s4c_hpc.config.confounders import Confounders
from s4c_hpc.confounders.doubts import Doubt
from s4c_hpc.confounders.peers import Peers
from s4c_hpc.confounders.read import batch_of, confounders_path, schema_of
from s4c_hpc.confounders.rules import Passes, Steps, doubts_of_block, rain_at
from s4c_hpc.confounders.sources import by_acquisition, passes_of, sources_of
from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, TemporaryError, listing
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.ids import canonical_json, task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.extract.planning import parcel_tiles
from s4c_hpc.parcels import (
    BLOCK,
    TileParcels,
    attribute_names,
    latest_version,
    read_centroids,
    read_tile_attributes,
    read_tiles,
    version_of,
)
from s4c_hpc.parcels.projection import transform
from s4c_hpc.series.imported import Imported, imports_of
from s4c_hpc.series.layers import Ids
from s4c_hpc.series.locate import parcels_of
from s4c_hpc.series.task_series import task_series
from s4c_hpc.weather import weather_key
from s4c_hpc.weather.edition import is_weather_key
from s4c_hpc.weather.rain import EPOCH, read_cells

_BASE_BYTES: Final = 360 * 2**20
"""Anonymous memory of a worker with Arrow, NumPy, SciPy and compiled code loaded."""

_MEDIANS_PER_S: Final = 1e5
"""Parcels x acquisitions a second, at least, with 64 fields around; a usual core does several times as many."""


class ConfoundersStage:
    """Says of each change of coherence what else than a farmer may have made it."""

    name = "confounders"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("series",)
    tolerates_missing = True
    # Its names end in an id, and a new edition of the weather makes files of other names: older ones shall go.
    deliverable = True

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a tile that has series; none unless asked for, or of use (``confounders.enabled``).

        Raises
        ------
        ConfigError
            If parcels do not have the column of crop groups.
        NoInputsError
            If confounders are asked for, and there are no parcels or no series on any tile.
        """
        config: Config = ctx.config
        if not is_of_use(config):
            return
        weather = ctx.once("weather", lambda: weather_key(ctx.workspace))
        if weather is None and not config.confounders.enabled:
            return
        tiles = parcel_tiles(ctx)
        _require_column(ctx)
        own: dict[str, list[str]] = defaultdict(list)
        sizes: dict[str, float] = defaultdict(float)
        for row in ctx.upstream["series"].select(["id", "tile", "work"]).to_pylist():
            own[row["tile"]].append(row["id"])
            sizes[row["tile"]] += row["work"]
        imports = ctx.once("imports", lambda: imports_of(ctx.workspace))
        rows = []
        for tile, parcels in sorted(tiles.items()):
            brought = [one for one in imports if tile in one.tiles]
            if tile in own or brought:
                n_files = sizes[tile] + sum(one.tiles[tile] for one in brought)
                rows.append(self._row(ctx, parcels, own.get(tile, []), brought, weather, n_files))
        if not rows:
            raise NoInputsError(
                "confounders are asked for, and no tile with parcels has series",
                where="confounders.enabled",
                hint="name sources of imagery, run 's4c series import', or leave it out",
            )
        yield tasks_to_batch(rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds.

        Parameters
        ----------
        work : parcels x files
        params : ``n_parcels`` and ``n_files`` of the tile, ``max_peers``
        """
        n_parcels, n_files = params["n_parcels"], params["n_files"]
        # Changes of the whole tile stand in memory, twice while they are made; all else is of a block.
        whole = n_parcels * (8 * n_files + 400)
        block = min(BLOCK, max(n_parcels, 1)) * (n_files * 120 + params["max_peers"] * 40)
        return Resources(
            cpus=1,
            mem_bytes=int(_BASE_BYTES + whole + block + 2**17 * n_files),
            walltime_s=int(120 + work / _MEDIANS_PER_S),
        )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the doubts of a tile.

        Raises
        ------
        InputError
            If the weather is damaged.
        TemporaryError
            If series or weather have been replaced since the plan was made, or have gone.
        """
        params = json.loads(task.params)
        rules = Confounders.model_validate(params["rules"])
        start, end = (dt.date.fromisoformat(params[name]) for name in ("start", "end"))
        key = next(one for one in task.input_keys if one.startswith("parcels:"))
        ids = parcels_of(io.workspace, task.tile, key)
        absent = tuple(i for i in task.depends_on if i not in io.upstream_outputs)
        found, _ = task_series(task, io)
        inside = [one for one in found if start <= one.day <= end]
        try:
            sources = sources_of(io, inside, rules.polarisation)
            steps, passes, column = passes_of(sources, ids)
        except (MissingDataError, InputError) as error:
            raise TemporaryError(error.what, where=error.where, hint="run 's4c run' again") from error
        tile, xy = _centres(io, task.tile, key)
        peers = Peers(
            xy, _groups(io, params["attributes"], task.tile, ids, rules.crop), rules.distance_m, rules.max_peers
        )
        weather = _Weather(io, task, tile, passes)
        counted = np.zeros(3, np.int64)

        def blocks(schema: pa.Schema) -> Iterator[pa.RecordBatch]:
            for first in range(0, ids.size, BLOCK):
                rows = slice(first, min(first + BLOCK, ids.size))
                rain = weather.rain(xy[rows], rules.wet_mm)
                made = doubts_of_block(steps, rows, peers.of(rows.start, rows.stop), rain, passes, rules)
                for i, doubt in enumerate((Doubt.WET, Doubt.RECOVERY, Doubt.COMMON)):
                    counted[i] += int(((made.flags & doubt) > 0).sum())
                yield batch_of(schema, ids[rows], by_acquisition(made, column))

        about = {
            "site": params["site"],
            "tile": task.tile,
            "parcels": key,
            "weather": weather.key or "",
            "task": task.id,
        }
        schema = schema_of([one.acquisition for one in sources], [one.orbit for one in sources], about)
        (output,) = task.outputs
        with io.publisher.replace(output) as path:
            n_rows = write_ipc(path, schema, blocks(schema))
        return Outcome(
            outputs=task.outputs, n_rows=n_rows, absent=absent, notes=_notes(passes, steps, counted, weather)
        )

    def _row(
        self,
        ctx: PlanContext,
        parcels: TileParcels,
        own: list[str],
        brought: Sequence[Imported],
        weather: str | None,
        n_files: float,
    ) -> Task:
        config: Config = ctx.config
        tile, site = parcels.tile.id, config.site
        period = f"{site.season_start}_{site.season_end}"
        text = canonical_json(
            {
                "rules": config.confounders.model_dump(mode="json", exclude={"enabled"}),
                "start": str(site.season_start),
                "end": str(site.season_end),
                "site": site.name,
                # Crops are no part of the key of parcels.
                "attributes": latest_version(ctx.workspace),
            }
        )
        keys = (parcels.key, *own, *(one.key for one in brought), *((weather,) if weather else ()))
        identity = task_id(self.name, self.version, keys, text)
        n, work = parcels.n_parcels, float(parcels.n_parcels * n_files)
        sizes = {"n_parcels": n, "n_files": n_files, "max_peers": config.confounders.max_peers}
        return Task(
            id=identity,
            stage=self.name,
            tile=tile,
            subject=period,
            input_keys=keys,
            params=text,
            depends_on=tuple(own),
            outputs=(confounders_path(tile, period, identity),),
            work=work,
            bytes_out=int(65536 + n * (4 + 13 * n_files) + 2000 * parcels.n_blocks + 300 * n_files),
            opens_imagery=0,
            resources=self.resources(work, sizes),
        )


def is_of_use(config: Config) -> bool:
    """Whether confounders are asked for, or something that heeds them is and nobody has forbidden it."""
    asked = config.confounders.enabled
    return config.mowing.enabled or config.practices.enabled if asked is None else asked


def _centres(io: TaskIO, name: str, key: str) -> tuple[Tile, NDArray[np.float64]]:
    """A tile and (n, 2) centres of its parcels in metres."""
    version = version_of(io.workspace, name, key)
    tile = next(one.tile for one in read_tiles(io.workspace, version) if one.tile.id == name)
    return tile, read_centroids(io.workspace, version, tile)


def _require_column(ctx: PlanContext) -> None:
    """Refuse a column of crop groups that parcels do not have, before anything runs."""
    version, column = latest_version(ctx.workspace), ctx.config.confounders.crop
    names = attribute_names(ctx.workspace, version) if version else []
    if version and column not in names:
        raise ConfigError(
            f"parcels have no column {column!r}", where="confounders.crop", hint=f"they have {listing(names, 30)}"
        )


def _groups(io: TaskIO, version: str, tile: str, ids: Ids, column: str) -> NDArray[np.int64]:
    """(n,) numbers of the crop groups of parcels; those without a crop are a group as well."""
    table = read_tile_attributes(io.workspace, version, tile, ["NewID", column])
    numbers = table["NewID"].to_numpy()
    order = np.argsort(numbers, kind="stable")
    at = order[np.minimum(np.searchsorted(numbers, ids, sorter=order), numbers.size - 1)]
    codes = pc.fill_null(table[column].cast(pa.string()), "").combine_chunks().dictionary_encode().indices.to_numpy()
    return np.where(numbers[at] == ids, codes[at], -1).astype(np.int64)


class _Weather:
    """Rain of the parcels of a tile."""

    def __init__(self, io: TaskIO, task: Task, tile: Tile, passes: Passes) -> None:
        self.key = next(filter(is_weather_key, task.input_keys), None)
        self._tile, self._passes = tile, passes
        try:
            self._cells = read_cells(io.workspace, self.key) if self.key else None
        except MissingDataError as error:
            raise TemporaryError(
                "the weather has been replaced since the plan was made", where=error.where, hint="run 's4c run' again"
            ) from error
        self.n_unknown, self.n = 0, 0

    def rain(self, xy: NDArray[np.float64], wet_mm: float) -> Steps:
        """(b, p) see ``rain_at``."""
        if self._cells is None or not self._passes.day.size:
            return rain_at(None, len(xy), self._passes, wet_mm)
        lonlat = transform(xy, CRS.from_user_input(self._tile.crs), "EPSG:4326")
        first = EPOCH + dt.timedelta(days=int(self._passes.earlier_day.min()) - 1)
        last = EPOCH + dt.timedelta(days=int(self._passes.day.max()))
        found = rain_at(self._cells.at(lonlat[:, 0], lonlat[:, 1], first, last), len(xy), self._passes, wet_mm)
        self.n_unknown += int(np.isnan(found).sum())
        self.n += found.size
        return found


def _notes(passes: Passes, steps: Steps, counted: NDArray[np.int64], weather: _Weather) -> tuple[str, ...]:
    if not passes.day.size:
        return ("no coherence of the season: there is nothing to doubt",)
    wet, recovery, common = counted.tolist()
    said = (
        f"{steps.shape[0]} parcels at {passes.day.size} acquisitions on {passes.n_orbits} orbits: "
        f"{wet} wet, {recovery} recovering, {common} rising as all around"
    )
    if not weather.n_unknown:
        return (said,)
    return said, f"rain is not known of {weather.n_unknown} of {weather.n} pairs of parcels"
