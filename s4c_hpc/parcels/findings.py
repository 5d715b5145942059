"""What the report of an import says: how many of each finding, and which parcels they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.parcels.table import Built

if TYPE_CHECKING:
    from s4c_hpc.parcels.read import Layer

_N_LISTED = 100
"""Offenders of each kind that are listed."""


def summary(
    built: Built, source: Layer, id_columns: Sequence[str], crop_column: str | None, config: Config
) -> tuple[dict[str, int], dict[str, Any]]:
    """Counts of each finding, and the whole of ``report.json`` but the version's name."""
    table = built.table
    tile, text = (
        table.column("tile").to_numpy(),
        {n: table.column(n).to_numpy() for n in ("ori_id", "repair", "reason")},
    )
    flag = {n: table.column(n).to_numpy() for n in ("GeomValid", "Duplic", "Overlap", "crosses")}
    share, new_id = table.column("overlap_share").to_numpy(), table.column("NewID").to_numpy()
    no_geometry = shapely.is_missing(built.geometry)
    limit = config.parcels.overlap_limit
    findings: dict[str, tuple[NDArray[np.bool_], Any]] = {
        "unusable": (no_geometry, text["reason"]),
        "without_tile": (~no_geometry & (tile == ""), text["reason"]),
        "repaired": (text["repair"] != "", text["repair"]),
        "duplicate": (flag["Duplic"], "the same geometry occurs more than once"),
        "overlap": (flag["Overlap"], [f"others cover {s:.1%} of it, more than {limit:.0%}" for s in share]),
        "crosses_tile": (flag["crosses"], "part of it lies outside of its tile"),
    }
    counts = {
        "parcels": table.num_rows,
        "usable": int((tile != "").sum()),
        "geom_invalid": int((~flag["GeomValid"]).sum()),
    }
    counts |= {name: int(hit.sum()) for name, (hit, _) in findings.items()}
    counts["overlap_pairs"] = len(built.pairs)
    offenders = {}
    for name, (hit, why) in findings.items():
        rows = np.flatnonzero(hit)
        rows = rows[np.argsort(new_id[rows])][:_N_LISTED]
        offenders[name] = [
            {"NewID": int(new_id[i]), "ori_id": text["ori_id"][i], "reason": why if isinstance(why, str) else why[i]}
            for i in rows
        ]
    names, n_parcels = np.unique(tile.astype(str), return_counts=True)
    return counts, {
        "source": {
            "file": source.file,
            "layer": source.name,
            "crs": source.crs.to_string(),
            "columns": source.attributes.column_names,
            "id_columns": list(id_columns),
            "crop_column": crop_column,
        },
        "overlap_limit": limit,
        "counts": counts,
        "tiles": {str(n): int(c) for n, c in zip(names, n_parcels, strict=True) if n},
        "offenders": offenders,
        "overlap_pairs": [
            {"NewID": a, "other": b, "area_m2": round(area, 2)} for a, b, area in built.pairs[:_N_LISTED]
        ],
        "notes": [*source.notes, *built.notes],
    }
