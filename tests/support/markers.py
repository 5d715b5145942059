"""A workspace with real parcels and made-up series: what the merge stage finds when stats is done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from s4c_hpc.catalog.index import Entry, write_entries
from s4c_hpc.catalog.model import Product
from s4c_hpc.config import Config, Weighting
from s4c_hpc.core.ids import short, task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import PLAN_SCHEMA, tasks_from_table, tasks_to_batch
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Outcome, Resources, Task
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.stage_merge import MergeStage
from s4c_hpc.optical import resolve
from s4c_hpc.parcels import import_parcels, read_tiles
from s4c_hpc.series.contract import CLASS_COUNTS, ID, SeriesHeader, series_schema

DATA = Path(__file__).parents[1] / "data" / "tum-freising-2018"
TILE = "FREISING"
PARCELS_KEY = "parcels:0123456789abcdef"
BLOCK_ROWS = 5
"""Parcels a block here, so that 18 of them make several blocks."""


def make_config(**sections: Any) -> Config:
    """A small configuration; sections given replace those here."""
    values: dict[str, Any] = {
        "site": {"name": "site", "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "parcels": {"file": str(DATA / "parcels.gpkg"), "id_columns": ["parcel_id"], "crop_column": "crop_code"},
        "grid": {
            "tiles": [
                {"id": TILE, "crs": "EPSG:32632", "ulx": 697020, "uly": 5368660, "width_m": 5880, "height_m": 7180}
            ]
        },
        "variables": {"bands": ["B04", "B11"], "indices": ["ndvi"], "statistics": ["count", "mean", "p25"]},
    }
    return Config.model_validate({**values, **sections})


def header(product: str, time: dt.datetime, **changes: Any) -> SeriesHeader:
    """Header of a series file of ``product``."""
    values: dict[str, Any] = {
        "product": product,
        "product_key": f"product:{product}||1",
        "sensor": "s2",
        "platform": "sentinel-2a",
        "datetime": time,
        "relative_orbit": 22,
        "orbit_direction": "descending",
        "tile": TILE,
        "grid": "10m",
        "parcels": PARCELS_KEY,
        "weighting": Weighting.CENTRE,
        "buffer_m": 5.0,
        "validity": "{}",
        "task": task_id("stats", "1", [product], "{}"),
    }
    return SeriesHeader(**{**values, **changes})


def random_series(head: SeriesHeader, ids: Sequence[int], config: Config, seed: int) -> pa.Table:
    """Values for ``ids`` in a shuffled order, some of them NaN, in the series contract's columns."""
    rng = np.random.default_rng(seed)
    coarse = {"b11"}
    variables = [v for v in resolve(config.variables) if (v.name in coarse) == (head.grid == "20m")]
    statistics = config.variables.statistics
    schema = series_schema(head, variables, statistics, {})
    n = len(ids)
    columns: dict[str, Any] = {ID: rng.permutation(np.asarray(ids, np.int32))}
    for f in schema:
        if f.name in CLASS_COUNTS or f.name.endswith("_count"):
            columns[f.name] = rng.integers(0, 100, n).astype(f.type.to_pandas_dtype())
        elif f.name != ID:
            values = rng.random(n, np.float32) * 2 - 1
            values[rng.random(n) < 0.2] = np.nan
            columns[f.name] = values
    return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


@dataclass
class MarkerSpace:
    """A workspace up to and including the stage stats."""

    root: Path
    config: Config = field(default_factory=make_config)
    stats: list[Task] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    """What was written, by product and grid."""

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        import_parcels(None, self.workspace, self.config)
        self.ids = list(range(1, 19))
        self.parcels_key = read_tiles(self.workspace, "v0001")[0].key

    def catalogue(self, product: str, time: dt.datetime, *, status: str = "ok", reason: str = "") -> None:
        """Put a product into the index."""
        values = Product(
            id=product,
            source="geotiff",
            sensor="s2",
            platform="",
            tile=TILE,
            datetime=time,
            size_bytes=1,
            datatake=product,
            status=status,
            reason=reason,
        )
        self.entries.append(Entry(product=values, native_id=product, path=f"/{product}", fingerprint="1"))

    def acquire(
        self,
        when: str,
        *,
        product: str | None = None,
        ids: Sequence[int] | None = None,
        grids: Sequence[str] = ("10m",),
        **changes: Any,
    ) -> str:
        """Make a product with series files; returns its id."""
        time = dt.datetime.strptime(when, "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
        product = product or f"S2_{when}"
        self.catalogue(product, time)
        paths = []
        for grid in grids:
            head = header(product, time, grid=grid, **{"parcels": self.parcels_key, **changes})
            table = random_series(head, self.ids if ids is None else ids, self.config, seed=len(self.tables))
            self.tables[f"{product} {grid}"] = table
            path = f"tiles/{TILE}/series/s2/{grid}/{time:%Y%m%d}_{product}.{short(head.task)}.arrow"
            write_series(self.root / path, table)
            paths.append(path)
        self.stats.append(stats_task(product, tuple(paths)))
        return product

    def plan(self) -> list[Task]:
        """Rows of the merge stage."""
        upstream = {"stats": pa.Table.from_batches([tasks_to_batch(self.stats)], PLAN_SCHEMA)}
        batches = list(MergeStage().tasks(PlanContext(self.workspace, self.config, upstream)))
        return tasks_from_table(pa.Table.from_batches(batches, PLAN_SCHEMA))

    def merge(self, given_up: Mapping[str, str] | None = None) -> list[Outcome]:
        """Plan and run every merge; ``given_up`` products (with reasons) have no series."""
        return [self.run(task, given_up) for task in self.plan()]

    def run(self, task: Task, given_up: Mapping[str, str] | None = None) -> Outcome:
        """Run one row."""
        given_up = given_up or {}
        run_dir = self.root / "run" / "x"
        write_entries(run_dir / "products.parquet", self.entries)
        wanted = [t for t in self.stats if t.id in task.depends_on]
        lost = {t.id: given_up[t.subject] for t in wanted if t.subject in given_up}
        io = TaskIO(
            workspace=self.workspace,
            run_dir=run_dir,
            config=self.config,
            publisher=Publisher(self.root, self.root / "tmp" / task.id),
            settled=frozenset(lost),
            upstream_outputs={t.id: t.outputs for t in wanted if t.id not in lost},
            upstream_subjects={t.id: f"stats {TILE} {t.subject}" for t in wanted},
            upstream_reasons=lost,
        )
        return MergeStage().run(task, io)

    def marker(self, period: str, set_name: str = "mdb1") -> Path:
        """Path of a marker file."""
        return self.workspace.markers / set_name / period / f"site_{TILE}.arrow"


def write_series(path: Path, table: pa.Table) -> None:
    """A series file in blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ipc(path, table.schema, table.combine_chunks().to_batches(max_chunksize=BLOCK_ROWS))


def stats_task(product: str, outputs: tuple[str, ...]) -> Task:
    """A row of the stats stage."""
    return Task(
        id=task_id("stats", "1", [product], "{}"),
        stage="stats",
        tile=TILE,
        subject=product,
        input_keys=(product,),
        params="{}",
        depends_on=(),
        outputs=outputs,
        work=1.0,
        bytes_out=1,
        opens_imagery=0,
        resources=Resources(cpus=1, mem_bytes=1, walltime_s=1),
    )


def read(path: Path) -> pa.Table:
    """A marker file, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path), "r")).read_all()
