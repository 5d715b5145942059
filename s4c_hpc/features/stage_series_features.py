"""The stage that makes features of imported tables: one task a tile and import; it opens no imagery."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, TemporaryError
from s4c_hpc.core.ids import canonical_json, short, task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.extract.planning import parcel_tiles
from s4c_hpc.features.contract import FeatureHeader, feature_schema
from s4c_hpc.features.parcel_features import SeriesRecipe, described, features
from s4c_hpc.parcels import BLOCK, TileParcels
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.imported import Imported, acquisitions_of, imported_set, imports_of
from s4c_hpc.series.layers import Ids, Layered, open_layers
from s4c_hpc.series.locate import parcels_of

SET: Final = "series"
"""What ``[features].sets`` calls these features, and how the names of their sets begin."""

_BASE_BYTES: Final = 256 * 2**20
"""Anonymous memory of a worker with Arrow and NumPy loaded."""

_VALUES_PER_S: Final = 1e6
"""Values read or made per second on a slow shared disk; a local one does ten times as many."""


class SeriesFeaturesStage:
    """Makes features of a season of the series that were imported, parcel by parcel."""

    name = "series-features"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ()
    tolerates_missing = False
    # A file that no configuration asks for any more would be taken for features of today.
    deliverable = True

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row for each import and tile on which it has values in the season; none unless asked for.

        Raises
        ------
        NoInputsError
            If these features are asked for, and there are no parcels, nothing was imported, or nothing of an import
            lies in the season.
        ConfigError
            If columns of two imports would have the same name.
        """
        config: Config = ctx.config
        if SET not in config.features.sets:
            return
        tiles = parcel_tiles(ctx)
        imports = ctx.once("imports", lambda: imports_of(ctx.workspace))
        if not imports:
            raise NoInputsError(
                "features of imported tables are asked for, and none was imported",
                where="features.sets, 'series'",
                hint="run 's4c series import', or leave 'series' out",
            )
        recipes = [_recipe(one, config) for one in imports]
        _check_names(recipes)
        for imported, recipe in zip(imports, recipes, strict=True):
            columns = described(recipe)
            texts = sum(len(canonical_json(one.to_metadata()).encode()) + len(one.name) for one in columns)
            rows = []
            for tile in sorted(tiles.keys() & imported.tiles.keys()):
                acquisitions = imported_set(ctx.workspace, imported, tile).acquisitions
                if n := len(_in_season(acquisitions, recipe)):
                    rows.append(self._row(tiles[tile], imported, recipe, n, len(columns), texts))
            if not rows:
                site = config.site
                raise NoInputsError(
                    f"nothing of the import {imported.name!r} ({imported.first} to {imported.last}) is from "
                    f"{site.season_start} to {site.season_end} and on a tile with parcels",
                    where=str(ctx.workspace.imported / imported.name),
                    hint="check [site] and season_year of its mapping, or remove its folder",
                )
            yield tasks_to_batch(rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds.

        Parameters
        ----------
        work : values that are read and made
        params : ``n_parcels`` of the tile, ``n_files``, ``n_read`` columns of each, ``n_made`` features
        """
        rows = min(BLOCK, max(params["n_parcels"], 1))
        n_read, n_made = params["n_files"] * params["n_read"], params["n_made"]
        block = rows * (12 * n_read + 160 * n_made)
        # Descriptions of columns, of every file that is mapped and of the one that is written.
        texts = 8192 * (n_read + n_made) + 2**17 * params["n_files"]
        return Resources(
            cpus=1,
            mem_bytes=int(_BASE_BYTES + block + texts + 48 * params["n_parcels"]),
            walltime_s=int(60 + work / _VALUES_PER_S),
        )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the features of a tile.

        Raises
        ------
        TemporaryError
            If the import has been replaced since the plan was made, or a file of it has gone or is damaged.
        """
        recipe = SeriesRecipe.from_params(json.loads(task.params))
        key = task.input_keys[1]
        ids = parcels_of(io.workspace, task.tile, key)
        columns = described(recipe)
        schema = feature_schema(_header(task, recipe, key), columns)
        try:
            acquisitions = _in_season(acquisitions_of(io.workspace, task.input_keys[0], task.tile), recipe)
            files = [open_layers([io.workspace.root / path for path in a.layers]).mapped() for a in acquisitions]
        except (MissingDataError, InputError) as error:
            raise TemporaryError(
                error.what, where=error.where, hint="import the table again and run 's4c run' again"
            ) from error
        rows = files[0].rows_of(ids)
        (output,) = task.outputs
        with io.publisher.new(output) as path:
            n_rows = write_ipc(path, schema, _batches(schema, recipe, acquisitions, files, ids, rows))
        return Outcome(outputs=task.outputs, n_rows=n_rows, notes=_notes(ids, rows))

    def _row(
        self, parcels: TileParcels, imported: Imported, recipe: SeriesRecipe, n_files: int, n_made: int, texts: int
    ) -> Task:
        """The row of a tile; ``texts``: bytes of what is said of the columns that are made."""
        text = canonical_json(recipe.to_params())
        keys = (imported.key, parcels.key)
        identity = task_id(self.name, self.version, keys, text)
        n = parcels.n_parcels
        work = float(n * (n_files * len(recipe.columns) + n_made))
        sizes = {"n_parcels": n, "n_files": n_files, "n_read": len(recipe.columns), "n_made": n_made}
        return Task(
            id=identity,
            stage=self.name,
            tile=parcels.tile.id,
            subject=imported.name,
            input_keys=keys,
            params=text,
            depends_on=(),
            outputs=(f"{tile_dir(parcels.tile.id)}/features/{SET}-{imported.name}/{short(identity)}.arrow",),
            work=work,
            # Values, then the description of each batch, then the schema with its texts, twice in a file.
            bytes_out=8192 + (1 + n_made) * (4 * n + 164 * parcels.n_blocks + 1200) + 2 * texts,
            opens_imagery=0,
            resources=self.resources(work, sizes),
        )


def _recipe(imported: Imported, config: Config) -> SeriesRecipe:
    return SeriesRecipe(
        name=imported.name,
        sensor=imported.sensor,
        season_start=config.site.season_start,
        season_end=config.site.season_end,
        every_days=config.features.every_days,
        max_gap_days=config.features.max_gap_days,
        sar_months=config.features.sar_months,
        variables=imported.variables,
        has_count=imported.has_count,
        passes=imported.passes,
    )


def _check_names(recipes: Sequence[SeriesRecipe]) -> None:
    """Refuse imports whose features could not stand side by side."""
    owner: dict[str, str] = {}
    for recipe in recipes:
        for one in described(recipe):
            if (other := owner.setdefault(one.name, recipe.name)) != recipe.name:
                raise ConfigError(
                    f"the imports {other!r} and {recipe.name!r} both make {one.name}",
                    where="series import",
                    hint="give one of them another sensor in its mapping and import it again, or remove its folder",
                )


def _in_season(acquisitions: Sequence[Acquisition], recipe: SeriesRecipe) -> list[Acquisition]:
    return [a for a in acquisitions if recipe.season_start <= a.day <= recipe.season_end]


def _header(task: Task, recipe: SeriesRecipe, key: str) -> FeatureHeader:
    return FeatureHeader(
        tile=task.tile,
        set=f"{SET}-{recipe.name}",
        sensor=recipe.sensor,
        grid="",
        parcels=key,
        weighting=None,
        buffer_m=float("nan"),
        method=recipe.method,
        task=task.id,
    )


def _batches(
    schema: pa.Schema,
    recipe: SeriesRecipe,
    acquisitions: Sequence[Acquisition],
    files: Sequence[Layered],
    ids: Ids,
    rows: NDArray[np.int64],
) -> Iterator[pa.RecordBatch]:
    """One a parcel block.

    Parameters
    ----------
    ids : (n,) parcels
    rows : (n,) row of each of them in the files, -1 for one that was not there when the table was imported
    """
    for start in range(0, ids.size, BLOCK):
        block = slice(start, start + BLOCK)
        values = _read(recipe.columns, files, rows[block])
        made = [matrix.astype(np.float32) for _, matrix in features(recipe, acquisitions, values)]
        yield pa.RecordBatch.from_arrays([pa.array(one) for one in (ids[block], *made)], schema=schema)


def _read(names: Sequence[str], files: Sequence[Layered], rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """(files, rows) values of columns; NaN in rows that are not there."""
    matrix = np.full((len(names), len(files), rows.size), np.nan, np.float32)
    there = np.flatnonzero(rows >= 0)
    for i, file in enumerate(files if there.size else ()):
        matrix[:, i, there] = file.rows(names, rows[there]).view(np.float32)
    return dict(zip(names, matrix, strict=True))


def _notes(ids: Ids, rows: NDArray[np.int64]) -> tuple[str, ...]:
    n = int((rows < 0).sum())
    if not n:
        return ()
    return (f"{n} of {ids.size} parcels were not on this tile when the table was imported: import it again",)
