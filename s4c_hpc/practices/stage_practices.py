"""The stage that judges practices: one task a tile, of its own series and of imported ones; it opens no imagery."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.config.practices import PracticeName, PracticeRules, rules_of
from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, TemporaryError
from s4c_hpc.core.ids import canonical_json, task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.extract.planning import parcel_tiles
from s4c_hpc.parcels import BLOCK, TileParcels, read_attributes, version_of
from s4c_hpc.practices.codes import PRACTICE_NAMES, REASONS, Practice, Status
from s4c_hpc.practices.days import as_yyyymmdd
from s4c_hpc.practices.declared import Declared, without_practice
from s4c_hpc.practices.enough import status_of
from s4c_hpc.practices.judge import Columns, judge
from s4c_hpc.practices.manifest import manifest_text
from s4c_hpc.practices.product import ID, product_schema
from s4c_hpc.practices.read import Block, Source, last_day, read_block, sources_of
from s4c_hpc.practices.table import PracticeTable, digest, read_practices
from s4c_hpc.series.generation import Acquisition, pointer_path, read_pointer, read_set
from s4c_hpc.series.imported import POINTER, Imported, edition_dir, imports_of
from s4c_hpc.series.layers import Ids
from s4c_hpc.series.locate import parcels_of

SET: Final = "l4c"
"""Name of the marker set."""

_BASE_BYTES: Final = 320 * 2**20
"""Anonymous memory of a worker with Arrow, NumPy and SciPy loaded."""

_PARCELS_PER_S: Final = 4000
"""Parcels judged a second, at least; a usual core does five times as many."""

_VALUES_PER_S: Final = 1e6
"""Values read a second on a slow shared disk."""

_NA10000: Final = np.int32(-10000)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a task is asked for, from its parameters."""

    params: Mapping[str, Any]
    config: Config

    @property
    def rules(self) -> dict[Practice, PracticeRules]:
        """Thresholds by practice."""
        return {PRACTICE_NAMES[name]: PracticeRules(**values) for name, values in self.params["rules"].items()}

    @property
    def year(self) -> int:
        """Year of the harvest."""
        return self.config.site.season_end.year


class PracticesStage:
    """Judges the practices of the parcels of a tile."""

    name = "practices"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("series",)
    tolerates_missing = True
    deliverable = True

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a tile with parcels; none unless asked for.

        Raises
        ------
        NoInputsError
            If practices are asked for, and there are no parcels, or no tile has any series.
        MissingDataError
            If the table of practices cannot be read.
        """
        config: Config = ctx.config
        if not config.practices.enabled:
            return
        tiles = parcel_tiles(ctx)
        imports = ctx.once("imports", lambda: imports_of(ctx.workspace))
        own = {row["tile"]: row for row in ctx.upstream["series"].select(["id", "tile", "work"]).to_pylist()}
        if not any(tile in own or any(tile in one.tiles for one in imports) for tile in tiles):
            raise NoInputsError(
                "practices are asked for, and no tile with parcels has series",
                where="practices.enabled",
                hint="name sources of imagery, or run 's4c series import'",
            )
        params = canonical_json(_params(config))
        rows = [
            self._row(tiles[tile], own.get(tile), [one for one in imports if tile in one.tiles], params, config)
            for tile in sorted(tiles)
        ]
        yield tasks_to_batch(rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds.

        Parameters
        ----------
        work : values that are read
        params : ``n_parcels`` of the tile, ``n_files`` that are read
        """
        n_parcels, n_files = params["n_parcels"], params["n_files"]
        block = min(BLOCK, max(n_parcels, 1)) * (n_files + 60) * 8 * 30
        # Ids of the declaration and its table of practices are texts.
        return Resources(
            cpus=1,
            mem_bytes=int(_BASE_BYTES + block + 2**17 * n_files + 600 * n_parcels),
            walltime_s=int(60 + work / _VALUES_PER_S + n_parcels / _PARCELS_PER_S),
        )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write what is said of the parcels of a tile, and its manifest.

        Raises
        ------
        InputError
            If the tile has no series of the season with NDVI, backscatter or coherence.
        TemporaryError
            If series or the table of practices have changed since the plan was made.
        """
        asked = _Asked(json.loads(task.params), io.config)
        key = task.input_keys[-1]
        ids = np.sort(parcels_of(io.workspace, task.tile, key))
        absent = tuple(i for i in task.depends_on if i not in io.upstream_outputs)
        acquisitions, missing = _acquisitions(task, io)
        site = asked.config.site
        try:
            sources = sources_of(io.workspace, acquisitions, asked.params["ndvi"], site.season_start, site.season_end)
        except (MissingDataError, InputError) as error:
            raise TemporaryError(error.what, where=error.where, hint="run 's4c run' again") from error
        if not sources:
            raise InputError(
                f"tile {task.tile} has no series with {asked.params['ndvi']}, backscatter or coherence from "
                f"{site.season_start} to {site.season_end}",
                where=task.subject,
                hint="name sources of imagery, or run 's4c series import'",
            )
        table = _table(asked, io, task, key, ids)
        schema = product_schema(
            {
                "site": site.name,
                "tile": task.tile,
                "period": str(asked.year),
                "set": SET,
                "parcels": key,
                "task": task.id,
                "mode": asked.params["mode"],
                "country": asked.params["country"],
                "table": asked.params.get("table", ""),
            },
            tillage=any(rules.tillage for rules in asked.rules.values()),
        )
        counted: Counter[int] = Counter()
        product, manifest = task.outputs
        with io.publisher.replace(product) as path:
            n_rows = write_ipc(path, schema, _batches(schema, asked, sources, ids, table, counted))
        with io.publisher.replace(manifest) as path:
            text = manifest_text(
                schema,
                selection=asked.params,
                parcels_version=version_of(io.workspace, task.tile, key),
                n_parcels=n_rows,
                sources=sources,
                missing=missing,
            )
            path.write_text(text, encoding="utf-8")
        notes = [
            f"{counted[one]} of {n_rows} parcels not judged: {REASONS[one]}" for one in REASONS if one and counted[one]
        ]
        return Outcome(
            outputs=task.outputs, n_rows=n_rows, absent=absent, notes=(*(table.notes if table else ()), *notes)
        )

    def _row(
        self,
        parcels: TileParcels,
        own: Mapping[str, Any] | None,
        imports: Sequence[Imported],
        params: str,
        config: Config,
    ) -> Task:
        tile = parcels.tile.id
        depends_on = (own["id"],) if own else ()
        keys = (*depends_on, *(f"import:{one.name}:{one.edition}" for one in imports), parcels.key)
        n_files = int(own["work"] if own else 0) + sum(one.tiles[tile] for one in imports)
        n, work = parcels.n_parcels, float(parcels.n_parcels * n_files * 2)
        stem = f"markers/{SET}/{config.site.season_end.year}/{config.site.name}_{tile}"
        return Task(
            id=task_id(self.name, self.version, keys, params),
            stage=self.name,
            tile=tile,
            subject=SET,
            input_keys=keys,
            params=params,
            depends_on=depends_on,
            outputs=(f"{stem}.arrow", f"{stem}.manifest.json"),
            work=work,
            # Values, the description of each batch, what is said of columns, then a line of the manifest for each file.
            bytes_out=65536 + 120 * n + 8192 * (1 + n // BLOCK) + 2000 * n_files,
            opens_imagery=0,
            resources=self.resources(work, {"n_parcels": n, "n_files": n_files}),
        )


def _params(config: Config) -> dict[str, Any]:
    """What decides the values beside the inputs."""
    own = config.practices
    names: tuple[PracticeName, ...] = ("NA", "CatchCrop", "Fallow", "NFC") if own.table else ("NA",)
    return {
        "mode": own.mode,
        "country": own.country or "",
        "ndvi": own.ndvi,
        "site": config.site.name,
        "season": [str(config.site.season_start), str(config.site.season_end)],
        "rules": {name: rules_of(name, own.country, own.rules).model_dump(mode="json") for name in names},
        **({"table": digest(own.table), "delimiter": own.delimiter} if own.table else {}),
    }


def _acquisitions(task: Task, io: TaskIO) -> tuple[list[Acquisition], tuple[tuple[str, str], ...]]:
    """Acquisitions of the tile, own ones first, and products that are missing with the reason."""
    found: list[Acquisition] = []
    missing: tuple[tuple[str, str], ...] = ()
    try:
        for dependency in task.depends_on:
            if dependency in io.upstream_outputs:
                own = read_set(io.workspace, task.tile)
                if own.task != dependency:
                    raise TemporaryError(
                        "the series have changed since the plan was made",
                        where=pointer_path(task.tile),
                        hint="run 's4c run' again",
                    )
                found += own.acquisitions
                missing = own.missing
            else:
                missing = (("series", io.upstream_reasons.get(dependency, "not there")),)
        for key in task.input_keys[len(task.depends_on) : -1]:
            _, name, edition = key.split(":")
            pointer = io.workspace.root / edition_dir(name, edition) / task.tile / POINTER
            found += read_pointer(pointer, task.tile, "plan again").acquisitions
    except (MissingDataError, InputError) as error:
        raise TemporaryError(error.what, where=error.where, hint="run 's4c run' again") from error
    return found, missing


def _table(asked: _Asked, io: TaskIO, task: Task, key: str, ids: Ids) -> PracticeTable | None:
    """What is declared of parcels, in their order; ``None`` where there is no table."""
    path: Path | None = asked.config.practices.table
    if path is None:
        return None
    if digest(path) != asked.params["table"]:
        raise TemporaryError(
            "the table of practices has changed since the plan was made", where=str(path), hint="run 's4c run' again"
        )
    known = read_attributes(io.workspace, version_of(io.workspace, task.tile, key), ["NewID", "ori_id"]).sort_by(
        "NewID"
    )
    at = np.searchsorted(known["NewID"].to_numpy(), ids)
    return read_practices(path, asked.params["delimiter"], known["ori_id"].take(pa.array(at)).to_pylist())


def _batches(
    schema: pa.Schema,
    asked: _Asked,
    sources: Sequence[Source],
    ids: Ids,
    table: PracticeTable | None,
    counted: Counter[int],
) -> Iterator[pa.RecordBatch]:
    """One a block of parcels; how many have which status is added to ``counted``."""
    rules = asked.rules
    for start in range(0, ids.size, BLOCK):
        block = ids[start : start + BLOCK]
        seen = read_block(sources, block, rules[Practice.NA])
        rows = np.arange(start, start + block.size)
        columns = _columns(schema, asked, rules, seen, table, rows)
        columns[ID] = block
        counted.update(columns["STATUS"].tolist())
        yield pa.RecordBatch.from_arrays([pa.array(columns[name]) for name in schema.names], schema=schema)


def _columns(
    schema: pa.Schema,
    asked: _Asked,
    rules: Mapping[Practice, PracticeRules],
    seen: Block,
    table: PracticeTable | None,
    rows: NDArray[np.int64],
) -> Columns:
    """All columns but the parcel."""
    n = rows.size
    columns: Columns = {
        f.name: np.full(n, _NA10000 if f.type == pa.int32() else 0, f.type.to_pandas_dtype()) for f in schema
    }
    for practice, own in rules.items():
        chosen = np.ones(n, bool) if table is None else _has(table, rows, practice)
        if not chosen.any():
            continue
        declared = _declared(asked, table, rows[chosen], practice)
        pixels = None if seen.s1_pixels is None else seen.s1_pixels[chosen]
        observed = seen.observed.of(chosen)
        status = status_of(observed, seen.orbit, pixels, declared, own)
        status = np.where(seen.there[chosen], status, np.int8(Status.NO_SERIES)).astype(np.int8)
        if table is not None:
            status = np.where(table.practice[rows[chosen]] < 0, np.int8(Status.NO_SEASON), status).astype(np.int8)
        made = judge(observed, declared, own, status, last_day(asked.year, asked.config.site.season_end))
        made |= {
            "STATUS": status,
            "PRACTICE": np.full(int(chosen.sum()), practice, np.int8),
            "VEG_START": as_yyyymmdd(declared.veg_start),
            "H_START": as_yyyymmdd(declared.h_start),
            "H_END": as_yyyymmdd(declared.h_end),
        }
        for name, values in made.items():
            columns[name][chosen] = values
    if seen.s1_pixels is not None:
        columns["S1PIX"] = seen.s1_pixels.astype(np.int32)
    return columns


def _has(table: PracticeTable, rows: NDArray[np.int64], practice: Practice) -> NDArray[np.bool_]:
    """(n,) rows with a practice; those without any go with the parcels of which nothing is declared."""
    own = table.practice[rows]
    chosen: NDArray[np.bool_] = own == practice
    return chosen | (own < 0) if practice == Practice.NA else chosen


def _declared(asked: _Asked, table: PracticeTable | None, rows: NDArray[np.int64], practice: Practice) -> Declared:
    country = asked.params["country"]
    if table is not None:
        return table.declared(rows, practice, country, asked.year)
    return without_practice(rows.size, country, asked.config.site.season_start, asked.config.site.season_end)
