"""A plan of any size with the shape and the texts of a real one, columnar: mask, index, gather, stats, merge.

Tiles of a country, some layers of parcels (or seasons) on each, 70 dates. The rows are made once and kept in Arrow
files: stages that only read them show what planning itself costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.core.stage import PlanContext, Stage, TaskIO
from s4c_hpc.core.task import Launch, Outcome, Resources, Task

TILES = 150
DATES = 70
GRIDS = ("10m", "20m")
PERIODS = 13
"""Marker files of a tile and layer: a month each, and one of the season with all dates."""
ROWS_PER_CELL = 1 + len(GRIDS) + 2 * DATES + PERIODS
"""Rows of a tile and layer."""
BATCH_ROWS = 4096
MIB = 1 << 20

_AFTER: dict[str, tuple[str, ...]] = {
    "mask": (),
    "index": ("mask",),
    "gather": ("mask",),
    "stats": ("mask", "index", "gather"),
    "merge": ("stats",),
}
_MONTH = np.arange(DATES) * (PERIODS - 1) // DATES

Rows = npt.NDArray[np.int64]


@dataclass
class StoredStage:
    """A stage whose rows are in ``<folder>/<name>.arrow``."""

    name: str
    folder: Path
    version: str = "1"
    launch: Launch = Launch.ARRAY

    def __post_init__(self) -> None:
        """As in the real chain."""
        self.after: Sequence[str] = _AFTER[self.name]
        self.tolerates_missing = self.deliverable = self.name == "merge"

    def tasks(self, ctx: PlanContext) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - the protocol's
        """The rows, read into memory as if they were made now."""
        with pa.OSFile(str(self.folder / f"{self.name}.arrow")) as source:
            reader = pa.ipc.open_file(source)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)

    def resources(self, work: float, params: Mapping[str, Any]) -> Resources:  # noqa: ARG002 - the protocol's
        """The same for all."""
        return Resources(cpus=1, mem_bytes=512 * MIB, walltime_s=600)

    def run(self, task: Task, io: TaskIO) -> Outcome:
        """Planned, never run."""
        raise NotImplementedError


def stored_stages(folder: Path) -> dict[str, Stage]:
    """The chain whose rows are in ``folder``."""
    return {name: StoredStage(name, folder) for name in _AFTER}


def write_rows(folder: Path, n_tasks: int, statistics: Sequence[str]) -> int:
    """Write the rows of all stages and return how many there are: at least ``n_tasks``.

    Parameters
    ----------
    statistics : a parameter of ``stats``: other ones make other tasks of ``stats`` and ``merge``, and of these alone
    """
    folder.mkdir(parents=True)
    tables = _Chain(-(-n_tasks // ROWS_PER_CELL), statistics).tables()
    for name, table in tables.items():
        with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, PLAN_SCHEMA) as writer:
            writer.write_table(table, max_chunksize=BATCH_ROWS)
    return sum(table.num_rows for table in tables.values())


class _Chain:
    """The rows of a plan for ``n_cells`` pairs of tile and layer."""

    def __init__(self, n_cells: int, statistics: Sequence[str]) -> None:
        self.n_cells = n_cells
        self.statistics = ",".join(statistics)
        self.params = {
            name: canonical_json({"grids": {g: {"bands": [f"B{i:02d}" for i in range(1, 13)]} for g in GRIDS}})
            for name in _AFTER
        }
        self.params["stats"] = canonical_json({"grids": {g: {"statistics": list(statistics)} for g in GRIDS}})
        names = [f"{31 + i // 50}U{chr(65 + i % 50 // 8)}{chr(65 + i % 8)}" for i in range(TILES)]
        dates = np.datetime_as_string(np.datetime64("2018-01-04") + 5 * np.arange(DATES)).tolist()
        self.tiles, self.days = pa.array(names), pa.array([date.replace("-", "") for date in dates])
        self.layers = pa.array([f"layer{i:03d}" for i in range(-(-n_cells // TILES))])

    def tables(self) -> dict[str, pa.Table]:
        """Rows by stage."""
        cell, grid = np.arange(self.n_cells), np.arange(len(GRIDS))
        of_date, date = np.repeat(cell, DATES), np.tile(np.arange(DATES), self.n_cells)
        of_grid = np.repeat(cell, len(GRIDS))
        of_period, period = np.repeat(cell, PERIODS), np.tile(np.arange(PERIODS), self.n_cells)
        ids = {
            "mask": _ids("mask", self.n_cells),
            "index": _ids("index", len(of_grid)),
            "gather": _ids("gather", len(of_date)),
            "stats": _ids(f"stats {self.statistics}", len(of_date)),
            "merge": _ids(f"merge {self.statistics}", len(of_period)),
        }
        parcels = _join("parcels:", ids["mask"])
        grids = pa.array(GRIDS).take(pa.array(np.tile(grid, self.n_cells)))
        product = _join(
            "S2B_MSIL2A_", self._take(self.days, date), "T101019_N0213_R022_T", self._tile(of_date), "_20210802T204455"
        )
        subject = _join(product, " ", self._layer(of_date))
        indices = of_date[:, None] * len(GRIDS) + grid
        sources = [np.flatnonzero(month == _MONTH) for month in range(PERIODS - 1)] + [np.arange(DATES)]
        n_sources = np.asarray([len(rows) for rows in sources])[period]
        merged = (cell[:, None] * DATES + np.concatenate(sources)).ravel()
        months = pa.array([f"2018-{month + 1:02d}" for month in range(PERIODS - 1)] + ["2018"])
        when, stats = months.take(pa.array(period)), ids["stats"].take(pa.array(merged))
        return {
            "mask": self._table(
                "mask", ids, cell, self._layer(cell), _lists([parcels]), _lists([], self.n_cells),
                [_join("tiles/", self._tile(cell), "/mask/", self._layer(cell))],
            ),
            "index": self._table(
                "index", ids, of_grid, _join(self._layer(of_grid), " ", grids),
                _lists([self._take(parcels, of_grid), self._take(ids["mask"], of_grid)]),
                _lists([self._take(ids["mask"], of_grid)]),
                [_join("tiles/", self._tile(of_grid), "/index/", grids, "/", self._layer(of_grid))],
            ),
            "gather": self._table(
                "gather", ids, of_date, subject,
                _lists([_join("s2:", product), self._take(ids["mask"], of_date)]),
                _lists([self._take(ids["mask"], of_date)]),
                [_join("tiles/", self._tile(of_date), "/stack/s2/", g, "/", subject) for g in GRIDS],
            ),
            "stats": self._table(
                "stats", ids, of_date, subject,
                _lists([ids["gather"], *(self._take(ids["index"], column) for column in indices.T)]),
                _lists([
                    ids["gather"],
                    self._take(ids["mask"], of_date),
                    *(self._take(ids["index"], column) for column in indices.T),
                ]),
                [_join("tiles/", self._tile(of_date), "/series/s2/10m/", subject)],
            ),
            "merge": self._table(
                "merge", ids, of_period, _join(self._layer(of_period), " ", when),
                _ragged(stats, n_sources), _ragged(stats, n_sources),
                [_join("markers/", self._layer(of_period), "/", when, "/site_", self._tile(of_period))],
            ),
        }  # fmt: skip

    def _table(
        self,
        name: str,
        ids: dict[str, pa.Array],
        cell: Rows,
        subject: pa.Array,
        keys: pa.Array,
        needs: pa.Array,
        stems: list[pa.Array],
    ) -> pa.Table:
        """Rows of a stage; outputs are named by the id but for those of merge, which have fixed names."""
        n = len(subject)
        short = _join(pc.utf8_slice_codeunits(ids[name], 0, 8), pc.utf8_slice_codeunits(ids[name], 9, 13))
        outputs = (
            [_join(stems[0], suffix) for suffix in (".arrow", ".manifest.json")]
            if name == "merge"
            else [_join(stem, ".", short, ".arrow") for stem in stems]
        )

        def same(value: str | int) -> pa.Array:
            return pa.repeat(value, n)

        columns = [
            ids[name],
            same(name).dictionary_encode(),
            pa.DictionaryArray.from_arrays(pa.array((cell % TILES).astype(np.int32)), self.tiles),
            subject,
            keys,
            same(self.params[name]).dictionary_encode(),
            needs,
            _lists(outputs),
            pa.array(np.full(n, 1e6) + cell % TILES),
            same(4 * MIB),
            pa.array(np.full(n, 12 * (name == "gather"), dtype=np.int32)),
            pa.array(np.ones(n, dtype=np.int32)),
            pa.array((512 + cell % 16 * 64) * MIB),
            pa.array(np.full(n, 600, dtype=np.int32)),
            pa.array(np.zeros(n, dtype=np.int64)),
        ]
        return pa.table(columns, schema=PLAN_SCHEMA)

    def _tile(self, cell: Rows) -> pa.Array:
        return self._take(self.tiles, cell % TILES)

    def _layer(self, cell: Rows) -> pa.Array:
        return self._take(self.layers, cell // TILES)

    @staticmethod
    def _take(values: pa.Array, rows: Rows) -> pa.Array:
        return values.take(pa.array(rows))


def _ids(seed: str, n: int) -> pa.Array:
    """``n`` texts like those of UUIDs; the same for the same seed."""
    raw = np.random.default_rng(list(seed.encode())).integers(0, 256, (n, 16), dtype=np.uint8)
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    text = np.full((n, 36), ord("-"), dtype=np.uint8)
    text[:, [i for i in range(36) if i not in {8, 13, 18, 23}]] = digits[
        np.stack([raw >> 4, raw & 15], 2).reshape(n, 32)
    ]
    offsets = np.arange(n + 1, dtype=np.int32) * 36
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))


def _join(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*(pa.scalar(p) if isinstance(p, str) else p for p in parts), "")


def _lists(parts: Sequence[pa.Array], n: int = 0) -> pa.Array:
    """Lists of one value of each part."""
    if not parts:
        return _ragged(pa.array([], pa.string()), np.zeros(n, dtype=np.int64))
    n = len(parts[0])
    order = np.arange(n * len(parts)).reshape(len(parts), n).T.ravel()
    return _ragged(pa.concat_arrays(parts).take(pa.array(order)), np.full(n, len(parts)))


def _ragged(values: pa.Array, lengths: Rows) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
