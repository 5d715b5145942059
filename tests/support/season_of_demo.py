"""Made-up radar and declared practices of the demo's real fields, and decisions with evidence as a file has them."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from s4c_hpc.core.ipc import open_ipc, read_metadata, write_ipc

RADAR = """
name = "radar"
sensor = "s1"
form = "long"
parcel = "parcel"
date = "date"
pass_column = "pass"
orbit_column = "orbit"
[variables.sigma0_vv_lin]
column = "vv"
[variables.sigma0_vh_lin]
column = "vh"
[variables.coherence_vv]
column = "coherence"
"""
ORBITS = ((117, "ascending", 0), (168, "descending", 3))
HARVEST = dt.date(2018, 7, 2)
FIRST = dt.date(2018, 3, 1)


def write_radar(folder: Path, parcels: Sequence[str], harvest: dt.date = HARVEST) -> tuple[Path, Path]:
    """Table and mapping of radar every six days of two orbits: the ratio grows and coherence is high after a day."""
    rng = np.random.default_rng(7)
    table = folder / "radar.csv"
    with table.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["parcel", "date", "pass", "orbit", "vv", "vh", "coherence"])
        for parcel in parcels:
            for orbit, direction, offset in ORBITS:
                for i in range(40):
                    day = FIRST + dt.timedelta(days=offset + 6 * i)
                    after = day > harvest
                    ratio = (9.5 if after else 6.5) + rng.normal(0, 0.3)
                    coherence = (0.68 if after else 0.3) + rng.normal(0, 0.04)
                    vv = 10 ** (-11 / 10)
                    writer.writerow(
                        [
                            parcel,
                            day,
                            direction,
                            orbit,
                            f"{vv:.6f}",
                            f"{vv / 10 ** (ratio / 10):.6f}",
                            f"{coherence:.4f}",
                        ]
                    )
    mapping = folder / "radar.toml"
    mapping.write_text(RADAR)
    return table, mapping


def write_practices(folder: Path, rows: Mapping[str, Sequence[str]]) -> Path:
    """A table of declared practices: VEG_START, H_START, H_END, PRACTICE, P_TYPE, P_START, P_END by parcel."""
    path = folder / "practices.csv"
    names = ["FIELD_ID", "VEG_START", "H_START", "H_END", "PRACTICE", "P_TYPE", "P_START", "P_END"]
    lines = [";".join(names), *(";".join([parcel, *values]) for parcel, values in rows.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


VALUES = {
    "ndvi_before": ("NDVI of the last look before", "1"),
    "ndvi_after": ("NDVI of the first look after", "1"),
    "coherence_rise": ("Growth of coherence", "1"),
    "ratio_rise_db": ("Growth of VV - VH", "dB"),
}


def write_evidence(path: Path, rows: Sequence[Mapping[str, Any]], more: Mapping[str, tuple[str, str]] = VALUES) -> None:
    """A file of decisions with their evidence; what a row does not say is empty or NaN.

    As if the task of the product that lies beside it had made it.
    """
    product = path.parents[2] / "l4c" / path.parent.name / path.name
    with open_ipc(product) as reader:
        task = read_metadata(reader.schema)["task"]
    kinds: list[tuple[str, pa.DataType, Any]] = [
        ("NewID", pa.int32(), 0),
        ("decision", pa.string(), ""),
        ("verdict", pa.string(), ""),
        ("start", pa.date32(), None),
        ("end", pa.date32(), None),
        ("confidence", pa.float32(), float("nan")),
        ("source", pa.string(), ""),
        ("doubts", pa.uint8(), 0),
        ("reason", pa.string(), ""),
    ]
    fields = [pa.field(name, kind, nullable=name in {"start", "end"}) for name, kind, _ in kinds]
    fields += [
        pa.field(name, pa.float32(), nullable=False, metadata={"long_name": text, "unit": unit})
        for name, (text, unit) in more.items()
    ]
    blanks = {name: blank for name, _, blank in kinds} | dict.fromkeys(more, float("nan"))
    schema = pa.schema(fields, metadata={"contract": "s4c-practices-evidence-1", "task": task})
    columns = [pa.array([row.get(f.name, blanks[f.name]) for row in rows], f.type, from_pandas=False) for f in fields]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ipc(path, schema, [pa.RecordBatch.from_arrays(columns, schema=schema)])
