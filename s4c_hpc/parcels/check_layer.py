"""The offenders of a check as layers for a desktop GIS."""

from __future__ import annotations

import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from s4c_hpc.parcels.check import Check

_PAIRS = 100_000
"""Pairs that are intersected at a time."""


def write_offenders(path: Path, check: Check) -> None:
    """Write a GeoPackage, replaced in one step: ``offenders``, a row a parcel, and ``overlaps``, a row a pair.

    An offender without a polygon has a row without a geometry. The geometry of a pair is what both claim. Layers
    without a row are there as well, so that whoever opens the file sees that it was looked for.
    """
    unfinished = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
    try:
        _write_parcels(unfinished, check)
        _write_pairs(unfinished, check)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_parcels(path: Path, check: Check) -> None:
    names: dict[int, list[str]] = defaultdict(list)
    reasons: dict[int, list[str]] = defaultdict(list)
    for finding in check.findings:
        for i, row in enumerate(finding.rows.tolist()):
            names[row].append(finding.name)
            reasons[row].append(finding.reason(i))
    rows = np.array(sorted(names), dtype=np.int64)
    fields = {
        "row": rows + 1,
        "id": check.ids[rows],
        "findings": _texts([", ".join(names[row]) for row in rows.tolist()]),
        "reasons": _texts(["; ".join(reasons[row]) for row in rows.tolist()]),
        "area_m2": np.round(check.area_m2[rows], 2),
        "overlap_share": np.round(check.overlaps.share[rows], 4),
    }
    _write(path, "offenders", check.outlines.wkb(rows), fields, check, append=False)


def _write_pairs(path: Path, check: Check) -> None:
    pairs = check.overlaps.pairs
    for start in range(0, max(len(pairs), 1), _PAIRS):
        some = slice(start, start + _PAIRS)
        a, b = pairs[some, 0], pairs[some, 1]
        common = shapely.intersection(check.outlines[a], check.outlines[b])
        fields = {
            "row": a + 1,
            "other_row": b + 1,
            "id": check.ids[a],
            "other_id": check.ids[b],
            "area_m2": np.round(check.overlaps.pair_area_m2[some], 2),
        }
        _write(path, "overlaps", shapely.to_wkb(common), fields, check, append=True)


def _write(
    path: Path, layer: str, wkb: NDArray[np.object_], fields: dict[str, NDArray[Any]], check: Check, *, append: bool
) -> None:
    pyogrio.raw.write(
        path,
        wkb,
        list(fields.values()),
        np.array(list(fields), dtype=object),
        layer=layer,
        driver="GPKG",
        geometry_type="Unknown",
        crs=check.crs.to_wkt(),
        append=append,
    )


def _texts(values: list[str]) -> NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
