"""The table of a parcel version: columns, order of rows, blocks, tiles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.config import Config
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.parcels.assign import Assignment
from s4c_hpc.parcels.checks import RepairedOutlines, shape_index
from s4c_hpc.parcels.compare import Compared
from s4c_hpc.parcels.expression import meeting
from s4c_hpc.parcels.outlines import BATCH, Outlines
from s4c_hpc.parcels.overlaps import Overlaps
from s4c_hpc.parcels.projection import Floats, outside_area_of_use
from s4c_hpc.parcels.site import NOT_CHOSEN, OFF_SITE, Site, locate
from s4c_hpc.parcels.survey import survey

BLOCK = 1024
"""Parcels per block. Blocks are the unit of work of everything after: record batches, MPI ranks, memory."""
_ROW_GROUP_BLOCKS = 16
"""Blocks per row group of the file; a row group never holds two tiles."""

COLUMNS = pa.schema(
    [
        pa.field("NewID", pa.int32()),
        pa.field("ori_id", pa.string()),
        pa.field("ori_crop", pa.string()),
        pa.field("tile", pa.string()),
        pa.field("block", pa.int32()),
        pa.field("crosses", pa.bool_()),
        pa.field("GeomValid", pa.bool_()),
        pa.field("Duplic", pa.bool_()),
        pa.field("Overlap", pa.bool_()),
        pa.field("overlap_share", pa.float32()),
        pa.field("n_overlap", pa.int32()),
        pa.field("Area_meters", pa.float64()),
        pa.field("ShapeInd", pa.float32()),
        pa.field("repair", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("is_deleted", pa.bool_()),
        pa.field("geom_change_ratio", pa.float32()),
    ]
)
"""Our columns, before the user's.

``block`` is -1 without a tile; ``crosses``: part of the parcel lies outside of its tile; ``GeomValid``: as delivered;
``Duplic``: the same geometry occurs again; ``Overlap``: ``overlap_share`` (intersections with others / own area)
exceeds the limit; ``n_overlap``: others with which more than 1 m2 is shared; ``ShapeInd``: perimeter /
(2 sqrt(pi area)); ``repair``: what was wrong and done; ``reason``: why the parcel has no pixels;
``is_deleted``: an update did not have it; ``geom_change_ratio``: how much its outline differs from that of the version
before, see ``compare.Compared``.
"""

HOLDING = pa.field("ori_hold", pa.string())
"""The user's id of the holding, behind ``ori_id``, if columns for it are named."""

STRATUM = pa.field("stratum", pa.string())
"""The area of ``parcels.strata`` that has most of the parcel, behind our other columns if they are asked for."""

DELETED = "deleted"
"""The reason why a parcel that an update did not have has no pixels."""


@dataclass(frozen=True)
class Declared:
    """The rows of a version before they are checked, in any order."""

    new_id: NDArray[np.int32]
    ori_id: pa.StringArray
    ori_hold: pa.StringArray | None
    """``None``: holdings are not asked for."""
    ori_crop: pa.StringArray
    """Empty where there is none."""
    attributes: pa.Table
    """The user's columns; no name is one of ours."""
    repaired: RepairedOutlines
    """Polygons in ``crs``."""
    is_deleted: NDArray[np.bool_]
    crs: CRS
    crs_text: str
    """As it stands in the keys of parcels."""
    notes: tuple[str, ...]

    def holdings(self) -> pa.StringArray:
        """Holdings (n,), empty where not known."""
        empty = pa.array(np.full(len(self.new_id), "", dtype=object), pa.string())
        return empty if self.ori_hold is None else self.ori_hold.fill_null("")


@dataclass(frozen=True)
class Built:
    """A parcel version before it is written; rows in final order."""

    table: pa.Table
    """All columns but geometry."""
    outlines: Outlines
    """(n,)"""
    bounds: Floats
    """(n, 4) of each outline; NaN where there is none."""
    kinds: tuple[str, ...]
    """Kinds of geometry that occur."""
    perimeter_m: Floats
    reason: NDArray[np.object_]
    row_groups: list[tuple[int, int]]
    assignment: Assignment
    """Of the rows in the order of ``NewID``, not in final order; only its tiles are of use here."""
    pairs: list[tuple[int, int, float]]
    """``NewID`` of both parcels and shared area in m2, largest first."""
    notes: tuple[str, ...]
    rows: NDArray[np.int64]
    """(n,) where each row stood before."""
    off_site: NDArray[np.bool_]
    """(n,) whether the parcel has an outline and does not belong to the site."""

    def present(self) -> Built:
        """The same without parcels that are deleted, for what is said of the declaration."""
        here = ~self.table.column("is_deleted").to_numpy()
        if here.all():
            return self
        return replace(
            self,
            table=self.table.filter(pa.array(here)),
            outlines=self.outlines.taken(here),
            bounds=self.bounds[here],
            perimeter_m=self.perimeter_m[here],
            reason=self.reason[here],
            rows=self.rows[here],
            off_site=self.off_site[here],
        )


def build(
    declared: Declared, crops: pa.Table | None, earlier: Compared | None, config: Config, site: Site | None = None
) -> Built:
    """Check, assign and order the parcels of a version.

    Parameters
    ----------
    crops : what the crop table says of each row; no name is one of ours or the user's
    earlier : the outlines beside those of the version before, if there is one
    site : which parcels lie on tiles, and the strata; all, and none, when not given
    """
    # First of all by id: sums over neighbours are then taken in the same order whatever the order in the file.
    order = np.argsort(declared.new_id, kind="stable")
    new_id, gone = declared.new_id[order], declared.is_deleted[order]
    repaired = declared.repaired
    outlines = repaired.outlines.taken(order)
    # What was deleted is measured, but overlaps nobody and lies on no tile.
    found = survey(outlines, declared.crs, config.grid.tiles, gone if gone.any() else None)
    overlap, assignment = found.overlaps, found.assignment
    values: dict[str, Any] = {
        "NewID": new_id,
        "tile": assignment.tile,
        "crosses": assignment.crosses,
        "GeomValid": repaired.valid[order],
        "Duplic": found.duplicate,
        "Overlap": overlap.share > config.parcels.overlap_limit,
        "overlap_share": overlap.share,
        "n_overlap": overlap.n_others,
        "Area_meters": found.area_m2,
        "ShapeInd": shape_index(found.area_m2, found.perimeter_m),
        "repair": repaired.repair[order],
        "is_deleted": gone,
        "geom_change_ratio": np.full(len(order), np.nan) if earlier is None else earlier.ratio[order],
    }
    reason = np.where(repaired.reason[order] != "", repaired.reason[order], assignment.reason)
    off_site = np.zeros(len(order), dtype=bool)
    if site is not None:
        places = locate(site, outlines, declared.crs)
        off_site = places.off_site & ~gone
        reason[off_site] = OFF_SITE
        if places.stratum is not None:
            values["stratum"] = places.stratum
        if site.where is not None:
            unchosen = ~outlines.missing & ~gone & ~off_site
            unchosen &= ~_chosen(site.where, values | {"reason": reason}, order, declared, crops)
            reason[unchosen] = NOT_CHOSEN
            off_site |= unchosen
        assignment = assignment.without(off_site)
        values |= {"tile": assignment.tile, "crosses": assignment.crosses}
    reason = np.where(gone, DELETED, reason)
    final, block, row_groups = _row_order(assignment, new_id)
    values |= {"block": block, "reason": reason}
    rows = pa.array(order[final])
    texts = {"ori_id": declared.ori_id, "ori_crop": declared.ori_crop}
    ours = {
        f.name: texts[f.name].take(rows) if f.name in texts else pa.array(values[f.name][final], f.type)
        for f in COLUMNS
    }
    table = pa.table(ours, schema=COLUMNS)
    if declared.ori_hold is not None:
        table = table.add_column(2, HOLDING, declared.ori_hold.take(rows))
    if "stratum" in values:
        table = table.append_column(STRATUM, pa.array(values["stratum"][final], STRATUM.type))
    theirs = [t.take(rows) for t in (crops, declared.attributes) if t is not None]
    table = pa.table(
        [*table.columns, *(c for t in theirs for c in t.columns)],
        schema=pa.schema([*table.schema, *(f for t in theirs for f in t.schema)]),
    ).combine_chunks()
    misplaced = outside_area_of_use(found.bounds, declared.crs)
    return Built(
        table,
        outlines.taken(final),
        found.bounds[final],
        found.kinds,
        found.perimeter_m[final],
        reason[final],
        row_groups,
        assignment,
        _largest_pairs(overlap, new_id),
        (*declared.notes, *([misplaced] if misplaced else [])),
        order[final],
        off_site[final],
    )


def _chosen(
    expression: str, values: dict[str, Any], order: NDArray[np.int64], declared: Declared, crops: pa.Table | None
) -> NDArray[np.bool_]:
    """Whether an expression over all columns but ``block`` is true (n,) of each row, in ``order``."""
    back = np.argsort(order)
    kinds = {f.name: f.type for f in (*COLUMNS, STRATUM)}
    columns: dict[str, Any] = {name: pa.array(value[back], kinds[name]) for name, value in values.items()}
    columns |= {"ori_id": declared.ori_id, "ori_crop": declared.ori_crop}
    columns |= {} if declared.ori_hold is None else {HOLDING.name: declared.ori_hold}
    theirs = {n: t[n] for t in (crops, declared.attributes) if t is not None for n in t.column_names}
    ids = meeting(pa.table(columns | theirs), expression, "parcels.where")
    return np.isin(values["NewID"], ids)


def _row_order(
    assignment: Assignment, new_id: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], list[tuple[int, int]]]:
    """Order of rows, block of each (in the old order), and row groups.

    Within a tile from north to south, then from west to east, by the parcel's bounds in whole millimetres: a block
    covers a strip along the rows of the tile's rasters, and so a contiguous range of every stack.
    """
    with np.errstate(invalid="ignore"):
        corner = np.where(np.isfinite(assignment.corner), np.rint(assignment.corner * 1e3), 0).astype(np.int64)
    names, tile = np.unique(assignment.tile.astype(str), return_inverse=True)
    order = np.lexsort((new_id, corner[:, 0], -corner[:, 1], tile))
    block = np.full(len(new_id), -1, dtype=np.int32)
    row_groups: list[tuple[int, int]] = []
    starts = np.concatenate((np.searchsorted(tile[order], np.arange(len(names))), [len(order)]))
    for name, start, stop in zip(names, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if name:
            block[order[start:stop]] = np.arange(stop - start) // BLOCK
        step = BLOCK * _ROW_GROUP_BLOCKS
        row_groups += [(i, min(i + step, stop)) for i in range(start, stop, step)]
    return order, block, row_groups


def tile_table(built: Built, crs: str) -> pa.Table:
    """One row a tile: its rectangle, its parcels in numbers, and the key of its parcels.

    The key covers what pixels depend on: numbers, blocks and geometries of the parcels, the CRS they are in and the
    tile's rectangle. Neither attributes nor the version are part of it, so that another crop code makes no work.

    Parameters
    ----------
    crs : of the parcels, as text
    """
    new_id, block = (built.table.column(n).to_numpy() for n in ("NewID", "block"))
    area = built.table.column("Area_meters").to_numpy()
    rows = [
        {
            "tile": t.id,
            "crs": t.crs,
            "ulx": t.ulx,
            "uly": t.uly,
            "width_m": t.width_m,
            "height_m": t.height_m,
            "n_parcels": len(mine),
            "n_blocks": int(block[mine].max()) + 1,
            "area_m2": float(area[mine].sum()),
            "perimeter_m": float(built.perimeter_m[mine].sum()),
            "key": parcels_key(t, crs, new_id[mine], block[mine], built.outlines.taken(mine)),
        }
        for t, mine in tile_rows(built)
    ]
    return pa.Table.from_pylist(rows, schema=_TILES_SCHEMA)


def tile_rows(built: Built) -> Iterator[tuple[Tile, NDArray[np.int64]]]:
    """Each tile that owns parcels, and their rows."""
    tile = built.table.column("tile").to_numpy()
    begins = np.flatnonzero(np.concatenate(([True], tile[1:] != tile[:-1])))
    spans = {tile[i]: np.arange(i, j) for i, j in zip(begins, [*begins[1:], len(tile)], strict=True)}
    for t in built.assignment.tiles:
        yield t, spans[t.id]


def parcels_key(tile: Tile, crs: str, new_id: NDArray[np.int32], block: NDArray[np.int32], outlines: Outlines) -> str:
    """``parcels:<16 hex>`` of parcels of one tile in row order: what their pixels depend on, and nothing else."""
    place = canonical_json([crs, tile.crs, *(float(v) for v in (tile.ulx, tile.uly, tile.width_m, tile.height_m))])
    digest = hashlib.sha256(place.encode())
    digest.update(new_id.astype("<i4").tobytes() + block.astype("<i4").tobytes())
    for start in range(0, len(outlines), BATCH):
        for wkb in outlines.wkb(slice(start, start + BATCH)):
            digest.update(wkb)
    return f"parcels:{digest.hexdigest()[:16]}"


_TILES_SCHEMA = pa.schema(
    [
        pa.field("tile", pa.string()),
        pa.field("crs", pa.string()),
        pa.field("ulx", pa.float64()),
        pa.field("uly", pa.float64()),
        pa.field("width_m", pa.float64()),
        pa.field("height_m", pa.float64()),
        pa.field("n_parcels", pa.int64()),
        pa.field("n_blocks", pa.int32()),
        pa.field("area_m2", pa.float64()),
        pa.field("perimeter_m", pa.float64()),
        pa.field("key", pa.string()),
    ]
)


def _largest_pairs(overlap: Overlaps, new_id: NDArray[np.int32]) -> list[tuple[int, int, float]]:
    order = np.lexsort((overlap.pairs[:, 1], overlap.pairs[:, 0], -overlap.pair_area_m2))
    return [
        (int(new_id[i]), int(new_id[j]), float(area))
        for (i, j), area in zip(overlap.pairs[order].tolist(), overlap.pair_area_m2[order].tolist(), strict=True)
    ]
