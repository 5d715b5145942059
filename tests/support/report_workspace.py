"""Workspaces as the chain leaves them, made directly: real parcels and images of Freising, or any number of squares.

Nothing here runs the chain: the report must show what the files say, whoever wrote them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import rasterio.features
import shapely
from numpy.typing import NDArray

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config, load_config
from s4c_hpc.core.ids import canonical_json, task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import PLAN_SCHEMA, tasks_to_batch
from s4c_hpc.core.task import Resources, Task
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels, latest_version, read_attributes
from s4c_hpc.plan.ledger import DONE_SCHEMA, ESTIMATE_SCHEMA, FAILED_SCHEMA, HISTORY_SCHEMA

ROOT = Path(__file__).parents[2]
FREISING = ROOT / "tests" / "data" / "tum-freising-2018"
RUN = "01890000-0000-7000-8000-000000000001"
CLASSES = ("total", "valid", "water", "cloud", "shadow", "snow", "saturated", "nodata")

Columns = dict[str, NDArray[Any]]
"""Column name without the date -> (n_parcels,) values, e.g. ``s2_ndvi_mean``."""


def freising_config(**changes: object) -> Config:
    """The demo's configuration; ``report__parcels=3`` changes a key."""
    flags = [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]
    path = ROOT / "configs" / "demo.toml"
    return load_config(path, environment={"S4C_DEMO_DATA": str(FREISING)}, flags=flags).config


def freising(root: Path, config: Config) -> Workspace:
    """A finished demo: 18 parcels, 23 dates, marker files computed here from the images, states of all tasks."""
    workspace = Workspace(root)
    import_parcels(None, workspace, config)
    scan(config, workspace)
    parcels = gpd.read_parquet(workspace.parcels / "v0001" / "parcels.parquet").sort_values("NewID")
    dates = {}
    for path in sorted((FREISING / "images").glob("*.tif")):
        dates[path.stem.rpartition("_")[2][:8]] = _image_columns(path, parcels.geometry)
    write_markers(workspace, config, "FREISING", parcels["NewID"].to_numpy(np.int32), dates)
    write_state(workspace, config, [p.stem for p in sorted((FREISING / "images").glob("*.tif"))])
    return workspace


def _image_columns(path: Path, geometry: Sequence[shapely.Geometry]) -> Columns:
    with rasterio.open(path) as image:
        red, infrared, classes = image.read(4), image.read(8), image.read(13)
        outlines = [rasterio.features.geometry_mask([g], red.shape, image.transform, invert=True) for g in geometry]
    total = red.astype(np.float64) + infrared
    ndvi = np.divide(infrared.astype(np.float64) - red, total, out=np.full(total.shape, np.nan), where=total > 0)
    columns: dict[str, list[float]] = {}
    for inside in outlines:
        good = ndvi[inside & (classes == 1) & np.isfinite(ndvi)]
        numbers = [good.mean(), *np.percentile(good, [25, 75])] if good.size else [np.nan] * 3
        for name, value in zip(("mean", "p25", "p75"), numbers, strict=True):
            columns.setdefault(f"s2_ndvi_{name}", []).append(float(value))
        of_class = dict(
            zip(("nodata", "valid", "cloud"), np.bincount(classes[inside], minlength=3).tolist(), strict=True)
        )
        for name in CLASSES:
            columns.setdefault(f"s2_10m_n_{name}", []).append(
                inside.sum() if name == "total" else of_class.get(name, 0)
            )
    return {n: np.array(v, np.int32 if "_n_" in n else np.float32) for n, v in columns.items()}


def squares(root: Path, config: Config, n: int, n_dates: int, *, names: Mapping[int, str] | None = None) -> Workspace:
    """``n`` square parcels in a chequered block with seeded values.

    ``names`` overrides ids by number of the square.
    """
    workspace = Workspace(root)
    side = int(np.ceil(np.sqrt(n)))
    geometry = [
        shapely.box(x, y, x + 60, y + 60)
        for x, y in ((698_000 + 75 * (i % side), 5_362_000 + 75 * (i // side)) for i in range(n))
    ]
    ids = [(names or {}).get(i, f"square {i:05d}") for i in range(n)]
    crops = [f"{100 + i % 11}" for i in range(n)]
    root.mkdir(parents=True, exist_ok=True)
    file = root / "declared.gpkg"
    gpd.GeoDataFrame({"parcel_id": ids, "crop_code": crops}, geometry=geometry, crs=32632).to_file(file)
    import_parcels(file, workspace, config)
    rng = np.random.default_rng(1)
    new_id = np.sort(newest_ids(workspace))
    start = dt.date(2018, 3, 1)
    dates = {f"{start + dt.timedelta(days=2 * i):%Y%m%d}": _random_columns(rng, len(new_id)) for i in range(n_dates)}
    write_markers(workspace, config, "FREISING", new_id, dates)
    return workspace


def newest_ids(workspace: Workspace) -> NDArray[np.int32]:
    """NewIDs of the latest parcel version, in row order."""
    version = latest_version(workspace)
    assert version is not None
    ids: NDArray[np.int32] = read_attributes(workspace, version)["NewID"].to_numpy()
    return ids


def _random_columns(rng: np.random.Generator, n: int) -> Columns:
    cloud = np.where(rng.random(n) < 0.4, rng.integers(0, 37, n), 0).astype(np.int32)
    mean = np.where(cloud < 36, rng.uniform(-0.1, 0.95, n), np.nan).astype(np.float32)
    zero = np.zeros(n, np.int32)
    counts = {"total": zero + 36, "valid": 36 - cloud, "cloud": cloud}
    return {
        "s2_ndvi_mean": mean,
        "s2_ndvi_p25": mean - np.float32(0.05),
        "s2_ndvi_p75": mean + np.float32(0.05),
        **{f"s2_10m_n_{name}": counts.get(name, zero) for name in CLASSES},
    }


def write_markers(
    workspace: Workspace, config: Config, tile: str, new_id: NDArray[np.int32], dates: Mapping[str, Columns]
) -> None:
    """Marker files of the first set: ``dates`` is stamp -> columns, rows in the order of ``new_id``, sorted."""
    set_name = config.markers.sets[0].name
    for month in sorted({stamp[:6] for stamp in dates}):
        arrays, fields = [pa.array(new_id)], [pa.field("NewID", pa.int32(), nullable=False)]
        for stamp, columns in dates.items():
            if stamp.startswith(month):
                for name, values in columns.items():
                    arrays.append(pa.array(values))
                    fields.append(
                        pa.field(f"{name}__{stamp}", arrays[-1].type, nullable=False, metadata=_described(name))
                    )
        schema = pa.schema(fields)
        whole = pa.RecordBatch.from_arrays(arrays, schema=schema)
        path = workspace.markers / set_name / f"{month[:4]}-{month[4:]}" / f"{config.site.name}_{tile}.arrow"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_ipc(path, schema, [whole.slice(i, 1024) for i in range(0, len(new_id), 1024)])


def _described(name: str) -> dict[str, str]:
    if "_n_" in name:
        return {"unit": "pixel", "long_name": "Count of pixels"}
    statistic = name.rpartition("_")[2]
    return {
        "unit": "1",
        "long_name": f"Normalized Difference Vegetation Index, {statistic}",
        "formula": "(B08 - B04) / (B08 + B04)",
    }


def write_state(
    workspace: Workspace,
    config: Config,
    products: Sequence[str],
    *,
    failed: Mapping[str, tuple[str, str]] | None = None,
    waiting: int = 0,
) -> None:
    """Plan and state of a run in which every task is done, but for ``failed`` (product -> kind, reason) gathers.

    The last ``waiting`` tasks of the plan are neither done nor failed.
    """
    tasks = _tasks(config, products)
    run = workspace.runs / RUN
    run.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_batches([tasks_to_batch(tasks)], PLAN_SCHEMA), run / "plan.parquet")
    failures = failed or {}
    settled = tasks[: len(tasks) - waiting]
    bad = [t for t in settled if t.stage == "gather" and t.subject in failures]
    good = [t for t in settled if t not in bad]
    rest = {"common": 0.1, "mem_bytes": 1 << 28, "samples": 0}
    estimates = [{"id": t.id, "seconds": t.work, "low_s": t.work / 2, "high_s": t.work * 2, **rest} for t in tasks]
    pq.write_table(pa.Table.from_pylist(estimates, ESTIMATE_SCHEMA), run / "estimates.parquet")
    done = [_done_row(t, i) for i, t in enumerate(good)]
    workspace.state.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(done, DONE_SCHEMA), workspace.state / "done.parquet")
    rows = [
        {
            **_task_row(t),
            "kind": failures[t.subject][0],
            "reason": failures[t.subject][1],
            "attempts": 1,
            "run": RUN,
            "t": dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC),
        }
        for t in bad
    ]
    pq.write_table(pa.Table.from_pylist(rows, FAILED_SCHEMA), workspace.state / "failed.parquet")
    history = [
        {
            **row,
            "attempt": f"a{i}",
            "kind": "done",
            "reason": "",
            "attempts": 1,
            "base_anon_bytes": 0,
            "max_rss_bytes": 0,
            "twins": 0,
        }
        for i, row in enumerate(done)
    ]
    pq.write_table(pa.Table.from_pylist(history, HISTORY_SCHEMA), workspace.state / "history.parquet")


def _tasks(config: Config, products: Sequence[str]) -> list[Task]:
    months = sorted({p.rpartition("_")[2][:6] for p in products})
    subjects = [
        ("mask", "mask", 0.4, 150),
        ("index", "10m", 0.6, 180),
        *(("gather", p, 0.5, 220) for p in products),
        *(("stats", p, 0.08, 260) for p in products),
        *(("merge", f"mdb1 {m[:4]}-{m[4:]}", 0.04, 140) for m in months),
    ]
    return [
        Task(
            id=task_id(stage, "1", [subject], "{}"),
            stage=stage,
            tile="FREISING",
            subject=subject,
            input_keys=(subject,),
            params=canonical_json({}),
            depends_on=(),
            outputs=(f"tiles/FREISING/{stage}/{i}.arrow",),
            work=seconds,
            bytes_out=1000,
            opens_imagery=int(stage == "gather"),
            resources=Resources(cpus=1, mem_bytes=memory_mb * 1_000_000, walltime_s=60),
        )
        for i, (stage, subject, seconds, memory_mb) in enumerate(subjects)
    ]


def _task_row(task: Task) -> dict[str, object]:
    return {"id": task.id, "stage": task.stage, "tile": task.tile, "subject": task.subject}


def _done_row(task: Task, i: int) -> dict[str, object]:
    rng = np.random.default_rng(i)
    wall = task.work * rng.lognormal(0, 0.25)
    return {
        **_task_row(task),
        "params": task.params,
        "input_keys": list(task.input_keys),
        "outputs": list(task.outputs),
        "n_rows": 18,
        "absent": [],
        "rasters_opened": task.opens_imagery,
        "bytes": int(rng.integers(20_000, 900_000)),
        "cpu_s": wall * 0.9,
        "wall_s": wall,
        "peak_anon_bytes": int(task.resources.mem_bytes * rng.uniform(0.3, 0.85)),
        "work": task.work,
        "mem_bytes": task.resources.mem_bytes,
        "walltime_s": task.resources.walltime_s,
        "finished": dt.datetime(2026, 3, 1, 8, tzinfo=dt.UTC) + dt.timedelta(seconds=0.5 * (i + 1)),
        "run": RUN,
    }
