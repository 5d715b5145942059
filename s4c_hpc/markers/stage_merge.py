"""The stage from series to marker files: one task a tile, month and marker set; it opens no imagery."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from s4c_hpc.catalog import BROKEN, OK
from s4c_hpc.config import Config
from s4c_hpc.core.errors import InputError, InternalError, MissingDataError, TemporaryError, listing
from s4c_hpc.core.ids import canonical_json, task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.subject import addition_of, name_of
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.extract.planning import parcel_tiles
from s4c_hpc.markers.derived import n_derived
from s4c_hpc.markers.expected import Expected, expected_products
from s4c_hpc.markers.files import marker_stem
from s4c_hpc.markers.inputs import SeriesInput, layered, manifest_inputs, open_series, without_twins
from s4c_hpc.markers.manifest import Manifest, Missing, software
from s4c_hpc.markers.merge import BATCH_ROWS, STRIP_BYTES, merge_parts
from s4c_hpc.markers.naming import CLASS_COUNT_ORDER, with_times
from s4c_hpc.markers.part import ID_COLUMN
from s4c_hpc.markers.sets import Selection, check_sets
from s4c_hpc.optical import Variable, resolve
from s4c_hpc.parcels import TileParcels, version_of
from s4c_hpc.series import text_bytes
from s4c_hpc.series.locate import parcels_of

CONTRACT = "s4c-markers-1"
"""Changes when the meaning of columns or metadata changes."""

_BASE_BYTES = 256 * 2**20
"""Anonymous memory of a worker with Arrow and NumPy loaded, before it merges anything."""

_CELLS_PER_S = 2e6
"""Values merged per second on a slow shared disk; a local one does twenty times as many."""


@dataclass(frozen=True, slots=True)
class _Month:
    """What is planned for one tile and month."""

    tile: TileParcels
    period: str
    stats: tuple[dict[str, Any], ...]
    """Rows of the stats stage, by product id."""


class MergeStage:
    """Merges the series of a tile and month into the marker file of a set."""

    name = "merge"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("stats",)
    tolerates_missing = True
    deliverable = True

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a tile, month and set; its identity is what is merged and the set's definition."""
        config: Config = ctx.config
        variables = resolve(config.variables)
        check_sets(config, [v.name for v in variables])
        rows = [
            self._task(month, Selection.of(chosen), chosen.name, config, variables)
            for month in _months(ctx)
            for chosen in config.markers.sets
        ]
        yield tasks_to_batch(rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:  # noqa: ARG002 - the protocol's
        """Upper bounds; ``work`` is the number of values (parcels x columns) in the file."""
        strip = min(STRIP_BYTES, int(work * 4))
        return Resources(cpus=1, mem_bytes=_BASE_BYTES + 4 * strip, walltime_s=120 + int(work / _CELLS_PER_S))

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the marker file and its manifest.

        Raises
        ------
        InputError
            If not one product of the month can be used, or names are not unique.
        TemporaryError
            If a series file that is done has gone or is damaged: the next run makes it again.
        """
        params = json.loads(task.params)
        period, selection = params["period"], Selection.from_params(params["selection"])
        expected = expected_products(io.catalog_path, task.tile, period)
        absent = tuple(i for i in task.depends_on if i not in io.upstream_outputs)
        files, left_out = without_twins(_whole(_open(task, io), absent, io), selection)
        missing = _missing(absent, io, expected, left_out)
        if not files:
            raise InputError(
                f"no usable product for tile {task.tile} in {period}",
                where=task.subject,
                hint=listing([f"{m.product}: {m.reason}" for m in missing]) or None,
            )
        lost = {m.product for m in missing}
        times = with_times(
            {
                *(f.acquisition for f in files),
                # A product that could not be used this time keeps its place among the names of its day.
                *(e.acquisition for product, e in expected.items() if product in lost and e.status == OK),
            }
        )
        root, key = io.workspace.root, task.input_keys[-1]
        is_plain = all(f.header.parcels == key and not f.over for f in files)
        merged = merge_parts(
            [f.part(root, selection, times[f.header.product]) for f in files],
            ids=None if is_plain else parcels_of(io.workspace, task.tile, key),
            metadata={
                "contract": CONTRACT,
                "site": params["site"],
                "tile": task.tile,
                "period": period,
                "set": params["set"],
                "parcels": key,
                "task": task.id,
            },
        )
        if len(merged.schema) == 1:
            raise InputError(
                f"no product of {period} has a column of this set", where=task.subject, hint="widen the set's variables"
            )
        manifest = Manifest(
            site=params["site"],
            tile=task.tile,
            period=period,
            set=params["set"],
            selection=params["selection"],
            task_id=task.id,
            parcels_version=version_of(io.workspace, task.tile, key),
            n_parcels=merged.n_rows,
            inputs=manifest_inputs(files),
            missing=missing,
            columns=_dictionary(merged.schema),
            software=software(),
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
        marker_file, manifest_file = task.outputs
        with io.publisher.replace(marker_file) as path:
            n_rows = write_ipc(path, merged.schema, merged.batches)
        with io.publisher.replace(manifest_file) as path:
            path.write_text(manifest.to_json(), encoding="utf-8")
        return Outcome(
            outputs=task.outputs,
            n_rows=n_rows,
            absent=absent,
            notes=tuple(f"without {m.product}: {m.reason}" for m in missing),
        )

    def _task(
        self, month: _Month, selection: Selection, set_name: str, config: Config, variables: Sequence[Variable]
    ) -> Task:
        params = canonical_json(
            {"set": set_name, "selection": selection.params(), "site": config.site.name, "period": month.period}
        )
        stats_ids = tuple(row["id"] for row in month.stats)
        input_keys = (*stats_ids, month.tile.key)
        columns_of = {v: selection.n_columns([v.name], v.statistics_of(config.variables.statistics)) for v in variables}
        texts = sum(text_bytes(v) * n for v, n in columns_of.items())
        derived = n_derived(selection, [v.name for v in variables])
        # Layers of a product have the same columns.
        outputs = {name_of(row["subject"]): row["outputs"] for row in month.stats}
        values = (sum(columns_of.values()) + derived) * len(outputs)
        n_grids = sum(len(paths) for paths in outputs.values())
        n_columns = 1 + values + n_grids * len(CLASS_COUNT_ORDER) * selection.class_counts
        n_files = sum(len(row["outputs"]) for row in month.stats)
        work = float(month.tile.n_parcels * n_columns)
        stem = marker_stem(set_name, month.period, config.site.name, month.tile.tile.id)
        return Task(
            id=task_id(self.name, self.version, input_keys, params),
            stage=self.name,
            tile=month.tile.tile.id,
            subject=f"{set_name} {month.period}",
            input_keys=input_keys,
            params=params,
            depends_on=stats_ids,
            outputs=(f"{stem}.arrow", f"{stem}.manifest.json"),
            work=work,
            bytes_out=_most_bytes(month, n_columns, n_files, texts * len(outputs)),
            opens_imagery=0,
            resources=self.resources(work, {}),
        )


def _most_bytes(month: _Month, n_columns: int, n_files: int, texts: int) -> int:
    """Most bytes of a marker file and its manifest.

    Parameters
    ----------
    n_files : series files that go in
    texts : what the columns say of their variables, in bytes
    """
    product = max(len(str(row["subject"]).encode()) for row in month.stats)
    n_batches = 1 + month.tile.n_parcels // BATCH_ROWS
    # A column is described at both ends of the file, and in the manifest; broken products stand there, too.
    described = n_columns * (2300 + 3 * product) + 3 * texts + n_files * (500 + 2 * product) + 8192
    return n_columns * (4 * month.tile.n_parcels + 100 * n_batches) + described


def _months(ctx: PlanContext) -> list[_Month]:
    """Planned series by tile and acquisition month, layers of a product in their order."""
    stats = ctx.upstream["stats"]
    if not stats.num_rows:
        return []
    tiles = parcel_tiles(ctx)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in stats.select(["id", "tile", "subject", "outputs"]).to_pylist():
        # Series files begin with the acquisition day, so that no product has to be looked up here.
        day = PurePosixPath(row["outputs"][0]).name[:8]
        groups[row["tile"], f"{day[:4]}-{day[4:6]}"].append(row)
    return [
        _Month(tiles[tile], period, tuple(sorted(rows, key=lambda r: name_of(r["subject"]))))
        for (tile, period), rows in sorted(groups.items())
    ]


def _open(task: Task, io: TaskIO) -> list[SeriesInput]:
    files: list[SeriesInput] = []
    try:
        for dependency in task.depends_on:
            if dependency in io.upstream_outputs:
                files += [open_series(io.workspace.root, path) for path in io.upstream_outputs[dependency]]
            elif dependency not in io.settled:
                raise InternalError("was started before its input was settled", where=f"{task.stage} {task.subject}")
    except (MissingDataError, InputError) as error:
        raise TemporaryError(error.what, where=error.where, hint="delete the file and run 's4c run' again") from error
    return files


def _whole(files: Sequence[SeriesInput], absent: Sequence[str], io: TaskIO) -> list[SeriesInput]:
    """Acquisitions of which every layer is there: without one, parcels would keep the values of an earlier outline."""
    lacking = {io.product_of(one) for one in absent}
    return layered([f for f in files if f.header.product not in lacking])


def _missing(
    absent: Sequence[str], io: TaskIO, expected: Mapping[str, Expected], left_out: Mapping[str, str]
) -> tuple[Missing, ...]:
    """Products that belong to this file and are not in it: given up, broken in the catalog, or one too many."""
    reasons: dict[str, str] = {}
    for i in absent:
        reason, addition = io.upstream_reasons.get(i, "not there"), addition_of(io.upstream_subjects.get(i, ""))
        reasons.setdefault(io.product_of(i), f"{addition}: {reason}" if addition else reason)
    reasons |= {product: e.reason for product, e in expected.items() if e.status == BROKEN}
    reasons |= {product: f"acquired in the same second as {other}" for product, other in left_out.items()}
    known = {product: e.acquisition.datetime.isoformat() for product, e in expected.items()}
    return tuple(
        Missing(product=product, datetime=known.get(product), reason=reasons[product])
        for product in sorted(reasons, key=lambda p: (known.get(p, ""), p))
    )


def _dictionary(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """Column -> what it means, from the field metadata."""
    return {
        f.name: {k.decode(): v.decode() for k, v in (f.metadata or {}).items()} for f in schema if f.name != ID_COLUMN
    }
