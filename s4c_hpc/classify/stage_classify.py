"""The stage from features to crop types: one task a site, for parcels of all its tiles teach together."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from s4c_hpc.classify.declarations import Declarations, find_declarations, read_declarations
from s4c_hpc.classify.matrix import read_matrix
from s4c_hpc.classify.outputs import (
    SET,
    accuracy_json,
    confusion_csv,
    crop_batches,
    crop_metadata,
    crop_schema,
    settings,
)
from s4c_hpc.classify.page import classification_html
from s4c_hpc.classify.saved import SavedModel, digests, read_model, software, write_model
from s4c_hpc.classify.selection import check_classes
from s4c_hpc.classify.site import Classified, classify
from s4c_hpc.classify.size import Size
from s4c_hpc.classify.stratum import Role
from s4c_hpc.config import Config
from s4c_hpc.core.atomic import sha256_file
from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, TemporaryError
from s4c_hpc.core.ids import canonical_json, task_id
from s4c_hpc.core.ipc import read_metadata, write_ipc
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import ENTRY_POINT_GROUP, PlanContext, TaskIO
from s4c_hpc.core.subject import name_of
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.features import read_features
from s4c_hpc.markers.files import marker_stem
from s4c_hpc.markers.manifest import Input, Manifest, Missing, SeriesEntry
from s4c_hpc.parcels import latest_version, read_tiles
from s4c_hpc.series.contract import ID

FEATURE_STAGES: Final = ("features", "series-features")
"""Stages whose files are features."""

SITE: Final = "site"
"""What stands in the place of the tile: the task is of all of them."""

_BASE_BYTES: Final = 384 * 2**20
"""Anonymous memory of a worker with scikit-learn, imbalanced-learn and skops loaded, and of the page."""
_COPIES: Final = 8
"""Matrices of all features that are in memory at a time, at most: as read, chosen, of a stratum, of what teaches,
without gaps, with what was made up, of what is judged."""
_CELLS_PER_S: Final = 2e6
"""Features times rows that a tree of a forest is grown over in a second, on a slow core."""


class ClassifyStage:
    """Classifies the parcels of a site and checks their declarations."""

    name = "classify"
    version = "1"
    launch = Launch.ARRAY
    tolerates_missing = True
    deliverable = True

    @functools.cached_property
    def after(self) -> Sequence[str]:
        """Those of the stages that make features that are installed."""
        return tuple(n for n in FEATURE_STAGES if n in entry_points(group=ENTRY_POINT_GROUP).names)

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row, if crop types are asked for.

        Raises
        ------
        ConfigError
            If nothing makes features, no table says what classes are, or the saved model lies among the markers.
        """
        config: Config = ctx.config
        yield tasks_to_batch([self._task(ctx, config)] if config.classify.enabled else [])

    def _task(self, ctx: PlanContext, config: Config) -> Task:
        rows = _feature_rows(ctx)
        if not rows:
            raise ConfigError(
                "there are no features to tell crop types apart by",
                where="classify.enabled",
                hint="set features.sets, e.g. ['optical'], or ['series'] for tables of 's4c series import'",
            )
        version = latest_version(ctx.workspace)
        if version is None:
            raise NoInputsError(
                "there are no parcels", where=str(ctx.workspace.parcels), hint="run 's4c parcels import'"
            )
        declared = read_declarations(ctx.workspace, version, config.classify)
        if config.classify.model_file is None:
            check_classes(declared.parcels, config.classify)
        site, period = config.site.name, str(config.site.season_end.year)
        params = canonical_json(
            {
                "classify": settings(config.classify),
                "site": site,
                "period": period,
                "season_start": config.site.season_start.isoformat(),
                "season_end": config.site.season_end.isoformat(),
            }
        )
        ids = tuple(row["id"] for row in rows)
        tiles = {p.tile.id: p.key for p in read_tiles(ctx.workspace, version)}
        input_keys = (*ids, *(f"{tile} {key}" for tile, key in sorted(tiles.items())), declared.key)
        if config.classify.model_file is not None:
            _refuse_own(ctx.workspace.markers, config.classify.model_file)
            input_keys = (*input_keys, f"model:{_digest(config.classify.model_file)}")
        stem = f"markers/{SET}/{period}/{site}"
        per_tile = [marker_stem(SET, period, site, tile) for tile in sorted(tiles)]
        ends = (".accuracy.json", ".confusion.csv", ".html", *(() if config.classify.model_file else (".skops",)))
        outputs = (
            *(f"{one}{end}" for one in per_tile for end in (".arrow", ".manifest.json")),
            *(f"{stem}{end}" for end in ends),
        )
        size = Size.of(declared, config.classify, sum(row["bytes_out"] for row in rows))
        return Task(
            id=task_id(self.name, self.version, input_keys, params),
            stage=self.name,
            tile=SITE,
            subject=f"{SET} {period}",
            input_keys=input_keys,
            params=params,
            depends_on=ids,
            outputs=outputs,
            work=size.work,
            bytes_out=size.bytes_out + len(rows) * 2000 + len(tiles) * 16_384,
            opens_imagery=0,
            resources=self.resources(size.work, {**size.params(), "cores": config.classify.cores}),
        )

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:
        """Upper bounds.

        Parameters
        ----------
        work : values that trees are grown over, in all models
        params : ``Size.params`` and ``cores``
        """
        held = _COPIES * params.get("feature_bytes", 0) + 4 * params.get("taught_bytes", 0)
        # Two models at a time, or one and the file that it goes into.
        held += 2.5 * params.get("model_bytes", 0) + params.get("discriminant_bytes", 0)
        cores = int(params.get("cores", 1))
        return Resources(
            cpus=cores,
            mem_bytes=int(_BASE_BYTES + held),
            walltime_s=int(300 + work / _CELLS_PER_S / cores),
        )

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Classify, and write files, model, accuracies and page.

        Raises
        ------
        InputError
            If no parcel has a feature, no two classes can be taught, or the saved model needs other features.
        TemporaryError
            If a feature file that is done has gone or is damaged: the next run makes it again.
        """
        config: Config = io.config
        params = json.loads(task.params)
        absent = tuple(i for i in task.depends_on if i not in io.upstream_outputs)
        paths = [path for i in task.depends_on for path in io.upstream_outputs.get(i, ()) if path.endswith(".arrow")]
        inputs = _inputs(io.workspace.root, paths)
        key = next(k for k in task.input_keys if k.startswith("declared:"))
        declared = find_declarations(io.workspace, key, config.classify)
        saved = None if config.classify.model_file is None else read_model(config.classify.model_file)
        season_start = dt.date.fromisoformat(params["season_start"])
        matrix = read_matrix(
            [io.workspace.root / p for p in paths],
            declared.parcels.new_id,
            season_start,
            declared.parcels.tile.tolist(),
        )
        seen = None if saved is None else saved.has_seen(declared.parcels, params["site"], season_start)
        found = classify(matrix, declared.parcels, config.classify, saved, seen)
        names = declared.names if saved is None else {**saved.names, **declared.names}
        model = config.classify.model if saved is None else f"saved, of {saved.site} {saved.season_start.year}"
        missing = tuple(
            Missing(
                product=io.upstream_subjects.get(i, i), datetime=None, reason=io.upstream_reasons.get(i, "not there")
            )
            for i in absent
        )
        for tile in _tile_keys(task):
            self._write_tile(tile, task, io, found, names, declared, inputs, missing, model)
        stem = f"markers/{SET}/{params['period']}/{params['site']}"
        accuracy = accuracy_json(found, names, config.classify)
        with io.publisher.replace(f"{stem}.accuracy.json") as path:
            path.write_text(json.dumps(accuracy, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        with io.publisher.replace(f"{stem}.confusion.csv") as path:
            path.write_text(confusion_csv(found, names), encoding="utf-8")
        with io.publisher.replace(f"{stem}.html") as path:
            page = classification_html(
                found,
                matrix,
                names,
                config,
                saved=None if saved is None else model,
                missing=[f"{m.product}: {m.reason}" for m in missing],
            )
            path.write_text(page, encoding="utf-8")
        if saved is None:
            made = SavedModel(
                models={one.name: one.model for one in found.strata},
                classes={one.name: one.classes for one in found.strata},
                names={c: names[c] for c in found.classes if c in names},
                features=matrix.keys,
                season_start=season_start,
                site=params["site"],
                config=settings(config.classify),
                software=software(),
                taught=_taught(found, params["site"], season_start),
            )
            with io.publisher.replace(f"{stem}.skops") as path:
                write_model(path, made)
        return Outcome(
            outputs=task.outputs,
            n_rows=int(declared.parcels.new_id.size),
            absent=absent,
            notes=(*found.notes, *(f"without {m.product}: {m.reason}" for m in missing)),
        )

    def _write_tile(
        self,
        tile: str,
        task: Task,
        io: TaskIO,
        found: Classified,
        names: Mapping[str, str],
        declared: Declarations,
        inputs: Mapping[str, tuple[Input, ...]],
        missing: tuple[Missing, ...],
        model: str,
    ) -> None:
        params = json.loads(task.params)
        site, period = params["site"], params["period"]
        schema = crop_schema(
            crop_metadata(
                found,
                names,
                io.config.classify,
                model=model,
                site=site,
                tile=tile,
                period=period,
                parcels=_tile_keys(task)[tile],
                task=task.id,
            )
        )
        stem = marker_stem(SET, period, site, tile)
        with io.publisher.replace(f"{stem}.arrow") as path:
            n_rows = write_ipc(path, schema, crop_batches(found, tile, schema))
        manifest = Manifest(
            site=site,
            tile=tile,
            period=period,
            set=SET,
            selection=params["classify"],
            task_id=task.id,
            parcels_version=declared.version,
            n_parcels=n_rows,
            inputs=inputs.get(tile, ()),
            missing=tuple(m for m in missing if f" {tile} " in m.product),
            columns={f.name: read_metadata(f) for f in schema if f.name != ID},
            software=software(),
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
        with io.publisher.replace(f"{stem}.manifest.json") as path:
            path.write_text(manifest.to_json(), encoding="utf-8")


def _tile_keys(task: Task) -> dict[str, str]:
    """Key of the parcels of each tile, by tile."""
    return dict(sorted(key.split(" ", 1) for key in task.input_keys if " parcels:" in key))


def _feature_rows(ctx: PlanContext) -> list[dict[str, Any]]:
    """Planned feature files; layers of a set stay in their order."""
    found = []
    for stage in FEATURE_STAGES:
        table = ctx.upstream.get(stage)
        if table is not None:
            rows = table.select(["id", "tile", "subject", "bytes_out"]).to_pylist()
            found += sorted(rows, key=lambda row: (row["tile"], name_of(row["subject"])))
    return found


def _inputs(root: Path, paths: Sequence[str]) -> dict[str, tuple[Input, ...]]:
    """What goes in, by tile."""
    found: dict[str, tuple[Input, ...]] = {}
    try:
        for path in paths:
            head = read_features(root / path).header
            entry = SeriesEntry(path=path, grid=head.grid, task_id=head.task)
            one = Input(
                product=f"features {head.set}", sensor=head.sensor, datetime="", series=(entry,), note=head.method
            )
            found[head.tile] = (*found.get(head.tile, ()), one)
    except (MissingDataError, InputError) as error:
        raise TemporaryError(error.what, where=error.where, hint="delete the file and run 's4c run' again") from error
    return found


def _taught(found: Classified, site: str, season_start: dt.date) -> tuple[str, ...]:
    """What the saved model keeps of the parcels that taught it."""
    rows = np.flatnonzero(found.role == Role.TRAINING.value)
    return tuple(sorted(set(digests(found.declared.taken(rows), site, season_start).tolist())))


def _refuse_own(markers: Path, path: Path) -> None:
    """Refuse a model among the markers of the workspace: cleaning up removes what no planned task makes."""
    if path.resolve().is_relative_to(markers.resolve()):
        raise ConfigError(
            f"{path} lies among the markers of this workspace, where a run with a saved model removes it",
            where="classify.model_file",
            hint="copy it elsewhere first, and name the copy",
        )


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)[:16]
    except OSError as error:
        raise MissingDataError(
            f"cannot be read ({error.strerror})", where=str(path), hint="check classify.model_file"
        ) from error
