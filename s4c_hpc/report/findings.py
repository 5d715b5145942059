"""What failed, what was left out and what a person should look at, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.catalog import Product
from s4c_hpc.drawing.text import count, plural
from s4c_hpc.report.marker_scan import MarkerScan
from s4c_hpc.report.sources import Parcels, Sources

MAX_ROWS = 50
"""Rows of a list in the report; of more, the first and the number of the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTask:
    """A task that ended without its output."""

    stage: str
    tile: str
    subject: str
    kind: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelFinding:
    """A property of some parcels that a person should know of."""

    title: str
    consequence: str
    """What the chain does with them."""
    n: int
    names: tuple[str, ...]
    """Up to ``MAX_ROWS`` of them."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All of them; each list is cut at ``MAX_ROWS``, each number is not."""

    n_failed: int
    failed: tuple[FailedTask, ...]
    n_broken: int
    broken: tuple[Product, ...]
    n_superseded: int
    parcels: tuple[ParcelFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One sentence, and whether it is good news."""

    sentence: str
    level: str
    """``good``, ``attention`` or ``waiting``."""


def findings(sources: Sources, scan: MarkerScan) -> Findings:
    """Collect what the parcels, the catalogue and the state have to say."""
    broken = [p for p in sources.products if p.status == "broken"]
    return Findings(
        n_failed=sources.failed.num_rows,
        failed=tuple(_failed(sources.failed)),
        n_broken=len(broken),
        broken=tuple(broken[:MAX_ROWS]),
        n_superseded=sum(p.status == "superseded" for p in sources.products),
        parcels=() if sources.parcels is None else tuple(_parcel_findings(sources.parcels, scan)),
    )


def outcome(sources: Sources, found: Findings) -> Outcome:
    """How it stands, in one sentence."""
    if sources.plan is None:
        return Outcome(sentence="Nothing has run yet.", level="waiting")
    planned = sources.plan["id"]
    n = len(planned)
    n_done = int(pc.sum(pc.is_in(planned, value_set=_ids(sources.done))).as_py() or 0)
    n_failed = int(pc.sum(pc.is_in(planned, value_set=_ids(sources.failed))).as_py() or 0)
    n_waiting = n - n_done - n_failed
    if n_failed or found.n_broken:
        parts = []
        if n_failed:
            parts.append(f"{plural(n_failed, 'task')} of {count(n)} failed")
        if found.n_broken:
            parts.append(f"{plural(found.n_broken, 'product')} could not be read")
        if n_waiting:
            parts.append(f"{plural(n_waiting, 'other task')} not done")
        return Outcome(sentence=f"Needs attention: {', '.join(parts)}.", level="attention")
    if n_waiting:
        return Outcome(sentence=f"{count(n_done)} of {plural(n, 'task')} done, the rest is waiting.", level="waiting")
    return Outcome(sentence=f"All {plural(n, 'task')} done.", level="good")


def _ids(table: pa.Table) -> pa.Array:
    return table["id"].combine_chunks()


def _failed(table: pa.Table) -> list[FailedTask]:
    rows = table.select(["stage", "tile", "subject", "kind", "reason", "attempts"])
    ordered = rows.sort_by([("stage", "ascending"), ("tile", "ascending"), ("subject", "ascending")])
    return [FailedTask(**row) for row in ordered.slice(0, MAX_ROWS).to_pylist()]


def _parcel_findings(parcels: Parcels, scan: MarkerScan) -> list[ParcelFinding]:
    table = parcels.table
    found = [
        _finding(
            parcels,
            "Cannot be used (no polygon, or in no tile)",
            "Keeps its row without values; report.json of the parcel version has the reason of each.",
            _flag(pc.not_equal(pc.fill_null(table["reason"], ""), "")),
        ),
        _finding(
            parcels,
            "Geometry was not valid as delivered",
            "Repaired where possible and used; check the outline.",
            ~_flag(table["GeomValid"]),
        ),
        _finding(
            parcels,
            "Declared more than once (same geometry)",
            "Every one of them gets values.",
            _flag(table["Duplic"]),
        ),
        _finding(
            parcels,
            "Overlaps others by more than the limit",
            "Gets values; pixels count for each parcel that holds them.",
            _flag(table["Overlap"]),
        ),
        _finding(
            parcels,
            "Reaches beyond its tile",
            "Values come from the part inside the tile.",
            _flag(table["crosses"]),
        ),
    ]
    slots = np.searchsorted(scan.new_id, parcels.new_id)
    slots_inside = np.minimum(slots, max(len(scan.new_id) - 1, 0))
    known = scan.new_id[slots_inside] == parcels.new_id if len(scan.new_id) else np.zeros(parcels.n, bool)
    for grid, pixels in sorted(scan.pixels.items(), key=lambda item: float(item[0][:-1])):
        empty = np.zeros(parcels.n, bool)
        empty[known] = pixels[slots_inside[known]] == 0
        found.append(
            _finding(
                parcels,
                f"No pixel on the {grid.removesuffix('m')} m grid",
                "Too small or too narrow after the inward buffer: its values on this grid are empty.",
                empty,
            )
        )
    return [f for f in found if f.n > 0]


def _flag(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = column.to_numpy().astype(bool)
    return values


def _finding(parcels: Parcels, title: str, consequence: str, mask: NDArray[np.bool_]) -> ParcelFinding:
    rows: Sequence[int] = np.flatnonzero(mask)[:MAX_ROWS].tolist()
    return ParcelFinding(
        title=title,
        consequence=consequence,
        n=int(mask.sum()),
        names=tuple(str(v) for v in parcels.table["ori_id"].take(pa.array(rows, pa.int64())).to_pylist()),
    )
