"""Check a declaration before it is imported: everything that is wrong with it, without a workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.config import OwnTile
from s4c_hpc.config.model import Parcels
from s4c_hpc.core.errors import NoInputsError, listing
from s4c_hpc.parcels.assign import Assignment, crosses_zone
from s4c_hpc.parcels.checks import Texts, repair_outlines
from s4c_hpc.parcels.columns import as_text, unique_columns
from s4c_hpc.parcels.findings import N_LISTED, Facts, Finding, Weight, geometric, too_small
from s4c_hpc.parcels.ids import SEPARATOR
from s4c_hpc.parcels.outlines import BATCH, Outlines
from s4c_hpc.parcels.overlaps import Overlaps
from s4c_hpc.parcels.projection import Floats, outside_area_of_use
from s4c_hpc.parcels.read import Layer
from s4c_hpc.parcels.site import OFF_SITE, locate, read_site
from s4c_hpc.parcels.survey import survey

PixelCounts = Callable[[Outlines, CRS, Assignment], NDArray[np.int32]]
"""Counts the pixels (n, 2) of parcels on the grids of 10 m and 20 m: what extraction would find."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Check:
    """What was found in a declaration; rows are those of the file, from 0."""

    file: str
    layer: str
    crs: CRS
    n: int
    n_usable: int
    columns: dict[str, int]
    """Rows without a value of each column of the file."""
    ids: Texts
    """(n,) the user's id of each parcel; where there is none, the number of its row, from 1."""
    outlines: Outlines
    """(n,) as they would be used, in ``crs``."""
    bounds: Floats
    """(n, 4) of each in ``crs``; NaN where there is none."""
    area_m2: Floats
    overlaps: Overlaps
    tiles: dict[str, int]
    """Parcels of each tile."""
    findings: tuple[Finding, ...]
    """All that were looked for, those without offenders among them."""
    limits: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nobody needs to look at it: there is no error and no warning."""
        return not any(f.n for f in self.findings if f.weight is not Weight.NOTE)

    @property
    def is_importable(self) -> bool:
        """Whether an import would take it: every parcel has an id of its own, and one at least lies on a tile."""
        return not self.refusal

    @property
    def refusal(self) -> str:
        """Why an import would not take it; empty if it would."""
        found = {f.name: f for f in self.findings if f.n}
        why = [] if self.n_usable else ["no parcel lies on a tile"]
        if no_id := found.get("no_id"):
            who = "1 parcel has" if no_id.n == 1 else f"{no_id.n} parcels have"
            why.append(f"{who} no id (first: row {no_id.rows[0] + 1})")
        if repeated := found.get("id_repeated"):
            why.append(f"{repeated.n} parcels share an id (first: {self.ids[repeated.rows[0]]})")
        return "; ".join(why)

    @property
    def verdict(self) -> str:
        """``clean``, ``findings`` or ``unusable``."""
        if not self.is_importable:
            return "unusable"
        return "clean" if self.is_clean else "findings"

    def report(self) -> dict[str, Any]:
        """The check as a value for JSON; lists are cut, counts are not."""
        largest = np.argsort(-self.overlaps.pair_area_m2, kind="stable")[:N_LISTED]
        pairs, areas = self.overlaps.pairs[largest].tolist(), self.overlaps.pair_area_m2[largest].tolist()
        return {
            "file": self.file,
            "layer": self.layer,
            "crs": self.crs.to_string(),
            "verdict": self.verdict,
            "parcels": self.n,
            "usable": self.n_usable,
            "area_m2": float(self.area_m2.sum()),
            "limits": self.limits,
            "counts": {f.name: f.n for f in self.findings} | {"overlap_pairs": len(self.overlaps.pairs)},
            "tiles": self.tiles,
            "columns": self.columns,
            "findings": [
                {
                    "name": f.name,
                    "title": f.title,
                    "weight": f.weight.value,
                    "n": f.n,
                    "first": [
                        {"row": row + 1, "id": self.ids[row], "reason": f.reason(i)}
                        for i, row in enumerate(f.rows[:N_LISTED].tolist())
                    ],
                }
                for f in self.findings
            ],
            "overlap_pairs": [
                {"id": self.ids[a], "other": self.ids[b], "area_m2": round(area, 2)}
                for (a, b), area in zip(pairs, areas, strict=True)
            ],
            "notes": list(self.notes),
        }


def check(
    source: Layer,
    limits: Parcels,
    own_tiles: Sequence[OwnTile] = (),
    *,
    id_columns: Sequence[str] = (),
    crop_column: str | None = None,
    pixel_counts: PixelCounts | None = None,
) -> Check:
    """Look at every parcel of a declaration.

    Parameters
    ----------
    limits : of overlaps, slivers and pixels, and the file of the site; an expression over attributes is not evaluated
    own_tiles : the site's own tiles; when there are none, the Sentinel-2 grid
    id_columns, crop_column : columns of ``source``; what is not named is not checked
    pixel_counts : how pixels are counted; they are not where it is not given

    Raises
    ------
    NoInputsError
        Not one feature is a polygon that can be used.
    """
    repaired = repair_outlines(source.outlines, source.unreadable)
    outlines, n = repaired.outlines, len(repaired.outlines)
    if outlines.missing.all():
        reasons = sorted({str(r) for r in repaired.reason})
        raise NoInputsError(
            f"none of {n} features is a polygon that can be used: {listing(reasons)}",
            where=source.file,
            hint="choose another layer or file",
        )
    found = survey(outlines, source.crs, own_tiles)
    site = read_site(limits.model_copy(update={"where": None, "strata": None}))
    off_site = locate(site, outlines, source.crs).off_site
    assignment = found.assignment.without(off_site)
    tile = assignment.tile
    reason = np.where(repaired.reason != "", repaired.reason, assignment.reason)
    facts = Facts(
        missing=outlines.missing,
        repair=repaired.repair,
        reason=np.where(off_site, OFF_SITE, reason),
        tile=tile,
        duplicate=found.duplicate,
        overlap_share=found.overlaps.share,
        crosses=assignment.crosses,
        crosses_zone=crosses_zone(found.bounds, source.crs),
        area_m2=found.area_m2,
        perimeter_m=found.perimeter_m,
        off_site=off_site if site.filters else None,
    )
    ids, id_findings = _ids(source.attributes, id_columns)
    findings = [*id_findings, *geometric(facts, limits)]
    if pixel_counts is not None:
        findings += too_small(pixel_counts(outlines, source.crs, assignment), facts, limits)
    if crop_column is not None:
        findings.append(_without_value(source.attributes, crop_column, "no_crop", "No crop code", Weight.WARNING))
    names, counts = np.unique(tile.astype(str), return_counts=True)
    return Check(
        file=source.file,
        layer=source.name,
        crs=source.crs,
        n=n,
        n_usable=int((tile != "").sum()),
        columns={name: _n_without(source.attributes, name) for name in source.attributes.column_names},
        ids=ids,
        outlines=outlines,
        bounds=found.bounds,
        area_m2=found.area_m2,
        overlaps=found.overlaps,
        tiles={str(t): int(c) for t, c in zip(names, counts, strict=True) if t},
        findings=tuple(findings),
        limits={
            "overlap_limit": limits.overlap_limit,
            "sliver_min_width_m": limits.sliver_min_width_m,
            "sliver_min_area_m2": limits.sliver_min_area_m2,
            "sliver_max_shape_index": limits.sliver_max_shape_index,
            **({"min_pixels": limits.min_pixels} if pixel_counts is not None else {}),
        },
        notes=(*source.notes, *site.notes, *_advice(source, id_columns), *_misplaced(found.bounds, source.crs)),
    )


def _advice(source: Layer, id_columns: Sequence[str]) -> list[str]:
    if id_columns:
        return []
    candidates = unique_columns(source.attributes)
    unique = f"; all values differ in {listing(candidates)}" if candidates else ""
    return [f"no column is named that identifies a parcel, so ids are not checked{unique}"]


def _misplaced(bounds: Floats, crs: CRS) -> list[str]:
    sentence = outside_area_of_use(bounds, crs)
    return [sentence] if sentence else []


def _n_without(table: pa.Table, name: str) -> int:
    """Rows without a value; not a number is none, and neither is a blank text."""
    column = table.column(name)
    if pa.types.is_nested(column.type):
        return int(column.null_count)
    if pa.types.is_floating(column.type):
        return int(pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0)
    # In slices: all texts together may be more than an array can hold.
    starts = range(0, len(column), BATCH)
    return sum(int(as_text(column.slice(start, BATCH)).null_count) for start in starts)


def _without_value(table: pa.Table, column: str, name: str, title: str, weight: Weight) -> Finding:
    absent = as_text(table.column(column)).is_null().to_numpy(zero_copy_only=False)
    return Finding(
        name=name, title=title, weight=weight, rows=np.flatnonzero(absent), reasons=f"column {column!r} has no value"
    )


def _ids(table: pa.Table, columns: Sequence[str]) -> tuple[Texts, list[Finding]]:
    """Ids (n,), and what is wrong with them."""
    numbers = np.arange(1, table.num_rows + 1).astype(str).astype(object)
    if not columns:
        return numbers, []
    parts = [as_text(table.column(name)) for name in columns]
    ids = pc.binary_join_element_wise(*parts, SEPARATOR) if len(parts) > 1 else parts[0]
    absent = ids.is_null().to_numpy(zero_copy_only=False)
    counts = pc.value_counts(ids.drop_null())
    several = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    repeated = pc.is_in(ids, several, skip_nulls=True).to_numpy(zero_copy_only=False)
    texts = np.where(absent, numbers, ids.to_numpy(zero_copy_only=False))
    named = ", ".join(columns)
    return texts, [
        Finding(
            name="no_id", title="No id", weight=Weight.ERROR, rows=np.flatnonzero(absent),
            reasons=f"no value in {named}",
        ),
        Finding(
            name="id_repeated", title="Id occurs more than once", weight=Weight.ERROR, rows=np.flatnonzero(repeated),
            reasons=f"the value of {named} occurs more than once",
        ),
    ]  # fmt: skip
