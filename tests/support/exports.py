"""A workspace with markers of two months and all that is said of its 18 parcels: crops, mowings, practices."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from support.markers import DATA, TILE, MarkerSpace

from s4c_hpc.classify.outputs import CONTRACT as CROPS
from s4c_hpc.classify.outputs import crop_schema
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.mowing.contract import MowingHeader, event_schema, parcel_schema
from s4c_hpc.practices.improved.evidence import evidence_schema
from s4c_hpc.practices.product import product_schema

SEASON = "2018-03-01_2018-10-31"
MOWN = {1: ["2018-05-20", "2018-07-01"], 2: ["2018-06-10"]}
"""Days of mowing by parcel."""
LIGHTS = ("green", "yellow", "red", "grey")


def export_space(root: Path) -> MarkerSpace:
    """Two months of markers and every kind of facts."""
    space = MarkerSpace(root)
    for when in ("20180507T102648", "20180512T102148", "20180603T101329"):
        space.acquire(when, grids=("10m", "20m"))
    space.merge()
    layer = DATA / "parcels.gpkg"
    space.workspace.config.write_text(
        '[site]\nname = "site"\nseason_start = 2018-01-01\nseason_end = 2018-12-31\n'
        f'[parcels]\nfile = "{layer}"\nid_columns = ["parcel_id"]\n'
    )
    write_crops(space)
    write_mowings(space)
    write_practices(space)
    write_evidence(space)
    return space


def write_facts(
    space: MarkerSpace, folder: str, period: str, schema: pa.Schema, rows: Sequence[Mapping[str, Any]]
) -> Path:
    """A file of facts; columns that no row names are zero, empty or NaN."""
    blank: dict[str, Any] = {"string": "", "float": float("nan"), "bool": False}
    columns = [
        pa.array([row.get(f.name, blank.get(str(f.type), 0)) for row in rows], f.type, from_pandas=False)
        for f in schema
    ]
    path = space.workspace.markers / folder / period / f"site_{TILE}.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ipc(path, schema, [pa.RecordBatch.from_arrays(columns, schema=schema)])
    return path


def write_crops(space: MarkerSpace, task: str = "crops-1", confidence: float = 0.5) -> Path:
    schema = crop_schema({"contract": CROPS, "set": "l4a", "task": task})
    rows = [
        {"NewID": i, "CT_decl": "115", "CT_pred_1": "115" if i % 4 else "131", "CT_conf_1": confidence + i / 100,
         "CT_conf_2": float("nan") if i == 3 else 0.1, "role": "predicted", "light": LIGHTS[i % 4]}
        for i in space.ids
    ]  # fmt: skip
    return write_facts(space, "l4a", "2018", schema, rows)


def write_mowings(space: MarkerSpace, task: str = "mow-1") -> None:
    header = MowingHeader(
        set="l4b", period=SEASON, site="site", tile=TILE, parcels=space.parcels_key, mode="own", rules="{}", task=task
    )
    events = [
        {"NewID": i, "event": n + 1, "date": day, "start": day - dt.timedelta(2), "end": day + dt.timedelta(3),
         "confidence": 0.75, "source": "S2/S1", "ndvi_before": 0.8}
        for i, days in MOWN.items() for n, day in enumerate(map(dt.date.fromisoformat, days))
    ]  # fmt: skip
    parcels = [
        {"NewID": i, "assessed": i != 5, "reason": "no looks" if i == 5 else "", "mow_n": len(MOWN.get(i, [])),
         "looks": 40, "pairs": 30, "compl": 1 if i in MOWN else -1}
        for i in space.ids
    ]  # fmt: skip
    write_facts(space, "l4b", SEASON, event_schema(header), events)
    write_facts(space, "l4b-parcels", SEASON, parcel_schema(header), parcels)


def write_practices(space: MarkerSpace) -> None:
    schema = product_schema({"task": "practices-1"}, tillage=False)
    rows = [
        {"NewID": i, "PRACTICE": i % 4, "C_INDEX": 4 - i % 5, "STATUS": int(i == 6),
         "H_W_START": 20180716 if i % 2 else -10001, "H_W_END": 20180722 if i % 2 else -10001, "M1": -3}
        for i in space.ids
    ]  # fmt: skip
    write_facts(space, "l4c", "2018", schema, rows)


def write_evidence(space: MarkerSpace) -> None:
    day = dt.date(2018, 7, 17)
    rows = [
        {"NewID": i, "decision": "harvest", "verdict": "found" if i % 2 else "not found", "confidence": 0.5,
         "start": day if i % 2 else None, "end": day + dt.timedelta(4) if i % 2 else None, "source": "S1", "doubts": 3,
         "ndvi_before": np.float32(0.7)}
        for i in space.ids
    ]  # fmt: skip
    write_facts(space, "l4c-evidence", "2018", evidence_schema({"task": "evidence-1"}), rows)


def observations_of(space: MarkerSpace) -> dict[tuple[int, str], float]:
    """What marker files hold: (NewID, column) -> value, what is NaN left out."""
    found: dict[tuple[int, str], float] = {}
    for path in sorted(space.workspace.markers.glob("mdb1/*/*.arrow")):
        table = pa.ipc.open_file(path).read_all()
        ids = table["NewID"].to_pylist()
        for name in table.column_names[1:]:
            values = zip(ids, table[name].to_pylist(), strict=True)
            found |= {(i, name): float(v) for i, v in values if not math.isnan(v)}
    return found
