"""Confounders of a tile: the file, and the doubts of parcels at acquisitions that someone asks about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.core.errors import InputError, MissingDataError, TemporaryError
from s4c_hpc.core.ids import short
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Task
from s4c_hpc.core.workspace import tile_dir
from s4c_hpc.series.contract import ID
from s4c_hpc.series.generation import Acquisition

CONTRACT: Final = "s4c-confounders-1"
"""Changes when the meaning of columns or metadata changes."""

COLUMNS: Final = {
    "flags": ("Bits of doubts: 1 wet, 2 recovery after rain, 4 common rise", ""),
    "rain_mm": ("Most rain of the days of both images and of the days before", "mm"),
    "common": ("Median change of coherence of the fields around", ""),
    "spread": ("1.4826 x median absolute deviation of these changes", ""),
}
"""Lists of a value an acquisition, in the order of the metadata: name -> meaning and unit."""

_FOLDER: Final = "confounders"


def confounders_path(tile: str, period: str, task: str) -> str:
    """Path of a file relative to the workspace."""
    return f"{tile_dir(tile)}/{_FOLDER}/{period}.{short(task)}.arrow"


def key_of(acquisition: Acquisition) -> tuple[str, str]:
    """What tells acquisitions of a tile apart."""
    return acquisition.product, acquisition.grid


def schema_of(acquisitions: Sequence[Acquisition], orbits: Sequence[str], about: dict[str, str]) -> pa.Schema:
    """Schema of a file.

    Parameters
    ----------
    orbits : of each acquisition
    """
    listed = [
        {"product": one.product, "grid": one.grid, "day": str(one.day), "orbit": orbit}
        for one, orbit in zip(acquisitions, orbits, strict=True)
    ]
    fields = [pa.field(ID, pa.int32(), nullable=False, metadata={"long_name": "Parcel", "unit": ""})]
    for name, (said, unit) in COLUMNS.items():
        kind = pa.uint8() if name == "flags" else pa.float32()
        item = pa.list_(pa.field("item", kind, nullable=False), len(listed))
        fields.append(pa.field(name, item, nullable=False, metadata={"long_name": said, "unit": unit}))
    return pa.schema(fields, metadata={"contract": CONTRACT, "acquisitions": json.dumps(listed), **about})


def batch_of(schema: pa.Schema, ids: NDArray[np.int32], doubts: Doubts) -> pa.RecordBatch:
    """A block of parcels."""
    lists = [
        pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(getattr(doubts, name)).ravel()), type=schema.field(name).type
        )
        if doubts.flags.shape[1]
        else pa.array([[]] * ids.size, schema.field(name).type)
        for name in COLUMNS
    ]
    return pa.RecordBatch.from_arrays([pa.array(ids), *lists], schema=schema)


class ConfounderFile:
    """Doubts of the parcels of a tile, mapped."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises
        ------
        MissingDataError, InputError
            If it has gone, is damaged or of another contract.
        """
        reader = open_ipc(path)
        said = read_metadata(reader.schema)
        if said.get("contract") != CONTRACT:
            raise InputError(f"not a file of contract {CONTRACT}", where=str(path), hint="delete it and run 's4c run'")
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        listed = json.loads(said["acquisitions"])
        self._column = {(one["product"], one["grid"]): i for i, one in enumerate(listed)}
        self.n_acquisitions = len(listed)

    def doubts_of(self, acquisitions: Sequence[Acquisition], ids: NDArray[np.int32]) -> Doubts:
        """Doubts (n, c) of parcels at acquisitions, both in the order that they have here.

        Of a parcel or an acquisition that the file does not have nothing is known: no doubt, NaN. Only the blocks
        that hold the parcels are read.
        """
        out = Doubts.none(ids.size, len(acquisitions))
        column = np.array([self._column.get(key_of(one), -1) for one in acquisitions], np.int64)
        there = np.flatnonzero(column >= 0)
        known, order = self._ids
        if not (there.size and ids.size and known.size):
            return out
        filled = {name: getattr(out, name).copy() for name in COLUMNS}
        at = order[np.minimum(np.searchsorted(known, ids, sorter=order), known.size - 1)]
        at = np.where(known[at] == ids, at, -1)
        block = np.searchsorted(self._starts, at, side="right") - 1
        for number in np.unique(block[at >= 0]):
            mine = np.flatnonzero((block == number) & (at >= 0))
            rows = at[mine] - self._starts[number]
            for name, values in filled.items():
                matrix = self._matrix(int(number), name)
                values[np.ix_(mine, there)] = matrix[np.ix_(rows, column[there])]
        return Doubts(**filled)

    def _matrix(self, number: int, name: str) -> NDArray[np.generic]:
        batch = self._batches[number]
        found: NDArray[np.generic] = batch.column(name).values.to_numpy().reshape(batch.num_rows, self.n_acquisitions)
        return found

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(batch.num_rows for batch in self._batches[:-1])], dtype=np.int64)

    @cached_property
    def _ids(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        every = [batch.column(ID).to_numpy() for batch in self._batches]
        known = np.concatenate(every) if every else np.empty(0, np.int32)
        return known, np.argsort(known, kind="stable")


def planned_confounders(ctx: PlanContext) -> dict[str, tuple[str, ...]]:
    """Tasks of a plan that write confounders, by tile: inputs and dependencies of a stage that heeds them."""
    found = ctx.upstream.get(_FOLDER)
    return {} if found is None else {row["tile"]: (row["id"],) for row in found.select(["id", "tile"]).to_pylist()}


def confounders_of(task: Task, io: TaskIO) -> ConfounderFile | None:
    """The confounders that a task depends on; ``None`` if it was planned without, or these were given up.

    Raises
    ------
    TemporaryError
        If the file has gone or is damaged since.
    """
    for dependency in task.depends_on:
        for path in io.upstream_outputs.get(dependency, ()):
            if f"/{_FOLDER}/" in path:
                try:
                    return ConfounderFile(io.workspace.root / path)
                except (MissingDataError, InputError) as error:
                    raise TemporaryError(
                        error.what, where=error.where, hint="delete it and run 's4c run' again"
                    ) from error
    return None
