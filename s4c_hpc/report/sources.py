"""What the report reads beside the markers: parcels, products, plan and state; each may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from s4c_hpc.catalog import Product, read_products
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import latest_version
from s4c_hpc.parcels.store import PARCELS

PARCEL_COLUMNS = (
    "NewID",
    "ori_id",
    "ori_crop",
    "tile",
    "crosses",
    "GeomValid",
    "Duplic",
    "Overlap",
    "Area_meters",
    "reason",
)
"""Columns of ``parcels.parquet`` that the report needs; never the user's own, which may hold personal data."""

DONE_COLUMNS = (
    "id",
    "stage",
    "tile",
    "subject",
    "rasters_opened",
    "bytes",
    "cpu_s",
    "wall_s",
    "peak_anon_bytes",
    "mem_bytes",
    "walltime_s",
    "finished",
    "run",
)
FAILED_COLUMNS = ("id", "stage", "tile", "subject", "kind", "reason", "attempts", "t")
PLAN_COLUMNS = ("id", "stage", "tile", "subject")


@dataclass(frozen=True, kw_only=True)
class Parcels:
    """The latest parcel version, without its geometry."""

    version: str
    path: Path
    """``parcels.parquet``; geometries are streamed from it when the map is drawn."""
    table: pa.Table
    """``PARCEL_COLUMNS``, in row order."""

    @property
    def new_id(self) -> NDArray[np.int32]:
        """(n_parcels,) identity used in marker files."""
        ids: NDArray[np.int32] = self.table["NewID"].to_numpy()
        return ids

    @property
    def n(self) -> int:
        """Number of parcels."""
        return int(self.table.num_rows)

    @property
    def area_m2(self) -> float:
        """Declared area of all parcels, in square metres."""
        return float(np.nansum(self.table["Area_meters"].to_numpy()))

    @property
    def tiles(self) -> list[str]:
        """Tiles that own parcels, sorted."""
        return sorted(t for t in pc.unique(self.table["tile"]).to_pylist() if t)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """All of it; ``None`` or empty where a step has not run yet."""

    parcels: Parcels | None
    products: tuple[Product, ...]
    plan: pa.Table | None
    """``PLAN_COLUMNS`` of the newest run."""
    done: pa.Table
    failed: pa.Table
    predicted_s: NDArray[np.float64]
    """(n_done,) seconds predicted by the plan in whose run a task was done; NaN where that plan is gone."""
    n_attempts: int
    """Finished attempts ever, failed ones included."""
    n_gathered_again: int
    """Attempts that gathered a product for a tile once more, ever: after its stack was removed, say."""


def read_sources(workspace: Workspace) -> Sources:
    """Read everything small; nothing here grows with the number of dates.

    Raises
    ------
    InputError
        If a file is there but is not what it should be; a missing file is no error.
    """
    history = read_columns(workspace.state / "history.parquet", ("stage", "tile", "subject", "kind"))
    done = read_columns(workspace.state / "done.parquet", DONE_COLUMNS)
    failed = read_columns(workspace.state / "failed.parquet", FAILED_COLUMNS)
    return Sources(
        parcels=_parcels(workspace),
        products=tuple(read_products(workspace.catalog)) if workspace.catalog.is_file() else (),
        plan=_newest_plan(workspace),
        done=_empty(DONE_COLUMNS) if done is None else done,
        failed=_empty(FAILED_COLUMNS) if failed is None else failed,
        predicted_s=np.empty(0) if done is None else _predicted_s(workspace, done),
        n_attempts=0 if history is None else history.num_rows,
        n_gathered_again=0 if history is None else _gathered_again(history),
    )


def read_columns(path: Path, columns: tuple[str, ...]) -> pa.Table | None:
    """Some columns of a Parquet file; ``None`` if there is no such file."""
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path, columns=list(columns), partitioning=None)
    except pa.ArrowException as error:
        raise InputError(
            f"not a readable Parquet file ({error})", where=str(path), hint="run the step that makes it again"
        ) from error
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise InputError(
            f"lacks the columns {', '.join(missing)}",
            where=str(path),
            hint="it was made by another version of s4c-hpc; run the step that makes it again",
        )
    # Sorting and grouping below is by text, whatever the encoding on disk.
    plain = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in table.columns]
    return pa.table(dict(zip(table.column_names, plain, strict=True)))


def _gathered_again(history: pa.Table) -> int:
    gathered = history.filter(pc.and_(pc.equal(history["stage"], "gather"), pc.equal(history["kind"], "done")))
    return int(gathered.num_rows - gathered.group_by(["tile", "subject"]).aggregate([]).num_rows)


def _empty(columns: tuple[str, ...]) -> pa.Table:
    return pa.table({name: pa.array([], pa.string()) for name in columns})


def _parcels(workspace: Workspace) -> Parcels | None:
    version = latest_version(workspace)
    if version is None:
        return None
    path = workspace.parcels / version / PARCELS
    table = read_columns(path, PARCEL_COLUMNS)
    return None if table is None else Parcels(version=version, path=path, table=table)


def _newest_plan(workspace: Workspace) -> pa.Table | None:
    """The plan of the newest run; run ids sort by the time of their making."""
    plans = sorted(workspace.runs.glob("*/plan.parquet"), key=lambda p: p.parent.name)
    return read_columns(plans[-1], PLAN_COLUMNS) if plans else None


def _predicted_s(workspace: Workspace, done: pa.Table) -> NDArray[np.float64]:
    """Predictions of finished tasks; each plan has its own, made from what was known then."""
    predicted = np.full(done.num_rows, np.nan)
    runs = np.array(done["run"].to_pylist(), dtype=object)
    for run in sorted(set(runs.tolist())):
        estimates = read_columns(workspace.runs / run / "estimates.parquet", ("id", "seconds"))
        if estimates is not None:
            rows = np.flatnonzero(runs == run)
            places = pc.index_in(done["id"].take(pa.array(rows)), value_set=estimates["id"].combine_chunks())
            found = estimates["seconds"].take(places).to_numpy(zero_copy_only=False)
            predicted[rows] = np.asarray(found, np.float64)
    return predicted
