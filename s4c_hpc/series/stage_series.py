"""The stage that says what the series of a tile are now: one small file a tile, replaced in one step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ids import task_id
from s4c_hpc.core.plan_schema import tasks_to_batch
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.subject import addition_of, name_of, subject_in
from s4c_hpc.core.task import Launch, Outcome, Resources, Task
from s4c_hpc.extract.planning import parcel_tiles, parcels_now
from s4c_hpc.series.generation import Block, SeriesSet, pointer_path
from s4c_hpc.series.stage_compact import acquired, is_compacted

_BASE_BYTES = 256 * 2**20
"""Anonymous memory of a worker with Arrow and NumPy loaded."""


class SeriesStage:
    """Writes the pointer of a tile when its series and their compacted months are done."""

    name = "series"
    version = "1"
    launch = Launch.ARRAY
    after: Sequence[str] = ("stats", "compact")
    tolerates_missing = True
    deliverable = True

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:
        """One row a tile; its identity is all that it points to."""
        inputs: dict[str, list[str]] = defaultdict(list)
        sizes: dict[str, int] = defaultdict(int)
        for stage in self.after:
            table = ctx.upstream[stage].select(["id", "tile", "subject", "outputs"])
            # Layers of a product stay in their order.
            for row in sorted(table.to_pylist(), key=lambda row: (row["tile"], name_of(row["subject"]))):
                inputs[row["tile"]].append(row["id"])
                sizes[row["tile"]] += len(row["outputs"]) * (600 + 3 * len(row["subject"].encode()))
        now = parcels_now(ctx, parcel_tiles(ctx)) if inputs else {}
        rows = [
            Task(
                id=task_id(self.name, self.version, (*ids, *now[tile]), "{}"),
                stage=self.name,
                tile=tile,
                subject="current",
                input_keys=(*ids, *now[tile]),
                params="{}",
                depends_on=tuple(ids),
                outputs=(pointer_path(tile),),
                work=float(len(ids)),
                bytes_out=1024 + sizes[tile],
                opens_imagery=0,
                resources=self.resources(float(len(ids)), {}),
            )
            for tile, ids in sorted(inputs.items())
        ]
        yield tasks_to_batch(rows)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:  # noqa: ARG002 - the protocol's
        """Upper bounds; ``work`` is the number of tasks whose files are named."""
        return Resources(cpus=1, mem_bytes=int(_BASE_BYTES + work * 2**16), walltime_s=int(60 + work / 10))

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Write the pointer.

        Raises
        ------
        InputError
            If the tile has not one series file.
        TemporaryError
            If a file that is done has gone or is damaged: the next run makes it again.
        """
        absent = tuple(i for i in task.depends_on if i not in io.upstream_outputs)
        paths = [path for i in task.depends_on for path in io.upstream_outputs.get(i, ())]
        acquisitions = [acquisition for acquisition, _ in acquired(task, io)]
        if not acquisitions:
            raise InputError(f"tile {task.tile} has no series", where=task.subject)
        described = [(io.upstream_subjects.get(i, i), io.upstream_reasons.get(i, "not there")) for i in absent]
        current = SeriesSet(
            tile=task.tile,
            task=task.id,
            acquisitions=tuple(acquisitions),
            blocks=tuple(_block(path) for path in paths if is_compacted(path)),
            missing=tuple(
                (name_of(subject_in(subject)), _told(addition_of(subject), reason))
                for subject, reason in described
                if subject.startswith("stats")
            ),
            parcels="" if task.input_keys[-1] in task.depends_on else task.input_keys[-1],
        )
        with io.publisher.replace(task.outputs[0]) as path:
            path.write_text(current.to_json(), encoding="utf-8")
        return Outcome(outputs=task.outputs, n_rows=len(acquisitions), absent=absent)


def _told(addition: str, reason: str) -> str:
    """Why a product is not there, and which of its layers."""
    return f"{addition}: {reason}" if addition else reason


def _block(path: str) -> Block:
    *_, sensor, grid, name = PurePosixPath(path).parts
    return Block(sensor=sensor, grid=grid, month=name.partition(".")[0], path=path)
