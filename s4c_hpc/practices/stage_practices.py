"""The stage that judges practices: one task a tile, of its own series and of imported ones; it opens no imagery."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from s4c_hpc.config import Config
from s4c_hpc.config.practices import PracticeName, rules_of
from s4c_hpc.confounders.read import confounders_of, planned_confounders
from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, TemporaryError
from s4c_hpc.core.ids import canonical_json, task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.extract.planning import parcel_tiles
from s4c_hpc.parcels import BLOCK, TileParcels, latest_version, read_attributes, version_of
from s4c_hpc.practices.codes import REASONS, Status
from s4c_hpc.practices.improved.evidence import EVIDENCE_SET, evidence_schema
from s4c_hpc.practices.improved.season import UNJUDGED
from s4c_hpc.practices.manifest import manifest_text
from s4c_hpc.practices.product import product_schema
from s4c_hpc.practices.read import sources_of
from s4c_hpc.practices.table import PracticeTable, check_table, digest, read_practices
from s4c_hpc.practices.tile import Asked, Evidence, batches
from s4c_hpc.series.imported import Imported, imports_of
from s4c_hpc.series.inputs import require_any
from s4c_hpc.series.layers import Ids
from s4c_hpc.series.locate import parcels_of
from s4c_hpc.series.task_series import task_series

SET: Final = "l4c"
"""Name of the marker set."""

_BASE_BYTES: Final = 448 * 2**20
"""Anonymous memory of a worker with Arrow, NumPy, SciPy and Numba loaded."""

_EVIDENCE_BYTES: Final = 4 * 200
"""Most bytes of evidence of a parcel: four decisions, each with its values and a reason in words."""

_PARCELS_PER_S: Final = 4000
"""Parcels judged a second, at least; a usual core does five times as many."""

_VALUES_PER_S: Final = 1e6
"""Values read a second on a slow shared disk."""


class PracticesStage:
    """Judges the practices of the parcels of a tile."""

    name = "practices"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("series", "confounders")
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
        ndvi = config.practices.ndvi
        require_any(config, imports, ndvi, is_own=bool(own), radar_alone=True, where="practices.ndvi")
        # The reference knows no doubts.
        doubting = planned_confounders(ctx) if config.practices.mode == "improved" else {}
        params = canonical_json(_params(config))
        # The table, and ids of the declaration that it is looked up by, are those of the whole site.
        table = config.practices.table
        if table is not None and (version := latest_version(ctx.workspace)) is not None:
            ids = read_attributes(ctx.workspace, version, ["ori_id"])["ori_id"].to_pylist()
            check_table(table, config.practices.delimiter, ids, config.site.season_start, config.site.season_end)
        n_texts = 4 * table.stat().st_size + 120 * sum(one.n_parcels for one in tiles.values()) if table else 0
        rows = [
            self._row(
                tiles[tile],
                (*((own[tile]["id"],) if tile in own else ()), *doubting.get(tile, ())),
                [one for one in imports if tile in one.tiles],
                int(own[tile]["work"] if tile in own else 0),
                params,
                config,
                n_texts,
            )
            for tile in sorted(tiles)
        ]
        yield tasks_to_batch(rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds.

        Parameters
        ----------
        work : values that are read
        params : ``n_parcels`` of the tile, ``n_files`` that are read, ``n_texts`` bytes of declarations
        """
        n_parcels, n_files = params["n_parcels"], params["n_files"]
        block = min(BLOCK, max(n_parcels, 1)) * (n_files + 60) * 8 * 30
        return Resources(
            cpus=1,
            mem_bytes=int(
                _BASE_BYTES + block + 2**17 * n_files + (64 + _EVIDENCE_BYTES) * n_parcels + params["n_texts"]
            ),
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
        asked = Asked(json.loads(task.params), io.config)
        key = task.input_keys[-1]
        ids = np.sort(parcels_of(io.workspace, task.tile, key))
        absent = tuple(i for i in task.depends_on if i not in io.upstream_outputs)
        acquisitions, missing = task_series(task, io)
        site = asked.config.site
        try:
            sources = sources_of(
                io.workspace,
                acquisitions,
                asked.params["ndvi"],
                site.season_start,
                site.season_end,
                asked.params.get("ground"),
            )
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
        described = {
            "site": site.name,
            "tile": task.tile,
            "period": str(asked.year),
            "season": f"{site.season_start}_{site.season_end}",
            "set": SET,
            "parcels": key,
            "task": task.id,
            "mode": asked.params["mode"],
            "country": asked.params["country"],
            "table": asked.params.get("table", ""),
        }
        is_improved = asked.improved is not None
        schema = product_schema(
            described, tillage=any(rules.tillage for rules in asked.rules.values()), improved=is_improved
        )
        evidence = None
        if is_improved:
            thresholds = {name: asked.params[name] for name in ("rules", "improved", "optical")}
            own = {**described, "set": EVIDENCE_SET, "thresholds": canonical_json(thresholds)}
            evidence = Evidence(evidence_schema(own), [])
        counted: Counter[int] = Counter()
        product, manifest, *others = task.outputs
        with io.publisher.replace(product) as path:
            judged = batches(schema, asked, sources, ids, table, counted, evidence, confounders_of(task, io))
            n_rows = write_ipc(path, schema, judged)
        if evidence is not None:
            with io.publisher.replace(others[0]) as path:
                write_ipc(path, evidence.schema, evidence.batches)
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
            f"{counted[one]} of {n_rows} parcels {_judged(one, improved=is_improved)}: {REASONS[one]}"
            for one in REASONS
            if one and counted[one]
        ]
        return Outcome(
            outputs=task.outputs, n_rows=n_rows, absent=absent, notes=(*(table.notes if table else ()), *notes)
        )

    def _row(
        self,
        parcels: TileParcels,
        depends_on: tuple[str, ...],
        imports: Sequence[Imported],
        n_own: int,
        params: str,
        config: Config,
        n_texts: int,
    ) -> Task:
        tile = parcels.tile.id
        keys = (*depends_on, *(one.key for one in imports), parcels.key)
        n_files = n_own + sum(one.tiles[tile] for one in imports)
        n, work = parcels.n_parcels, float(parcels.n_parcels * n_files * 2)
        file = f"{config.site.season_end.year}/{config.site.name}_{tile}"
        stem = f"markers/{SET}/{file}"
        is_improved = config.practices.mode == "improved"
        evidence = (f"markers/{EVIDENCE_SET}/{file}.arrow",) if is_improved else ()
        return Task(
            id=task_id(self.name, self.version, keys, params),
            stage=self.name,
            tile=tile,
            subject=SET,
            input_keys=keys,
            params=params,
            depends_on=depends_on,
            outputs=(f"{stem}.arrow", f"{stem}.manifest.json", *evidence),
            work=work,
            # Values, the description of each batch, what is said of columns, then a line of the manifest for each file.
            bytes_out=65536
            + 120 * n
            + 8192 * (1 + n // BLOCK)
            + 2000 * n_files
            + (_EVIDENCE_BYTES * n + 16384 * (2 + n // BLOCK) if is_improved else 0),
            opens_imagery=0,
            resources=self.resources(work, {"n_parcels": n, "n_files": n_files, "n_texts": n_texts}),
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
        **(own.model_dump(mode="json", include={"improved", "optical", "ground"}) if own.mode == "improved" else {}),
        **({"table": digest(own.table), "delimiter": own.delimiter} if own.table else {}),
    }


def _judged(status: Status, *, improved: bool) -> str:
    """What became of parcels where something is missing."""
    return "judged by what there is" if improved and status not in UNJUDGED else "not judged"


def _table(asked: Asked, io: TaskIO, task: Task, key: str, ids: Ids) -> PracticeTable | None:
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
