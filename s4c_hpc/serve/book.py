"""The parcels of a version, held for being asked: by number, own id, attribute, box, polygon, nearness.

Attributes and bounds stay in memory (some 150 bytes a parcel); outlines are read a row group at a time, and the groups
that were asked for last are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import numbers_of, read_attributes, read_tiles
from s4c_hpc.parcels.geoparquet import BBOX, GEOMETRY, crs_of
from s4c_hpc.parcels.projection import Geometries, reproject
from s4c_hpc.parcels.select import DEGREES, Box
from s4c_hpc.parcels.store import PARCELS, Stamp, damage_is_told, stamp
from s4c_hpc.serve.filters import parcels_where

Ids = NDArray[np.int32]
Rows = NDArray[np.int64]

CRS84: Final = "OGC:CRS84"
_OUTLINE_BYTES: Final = 256 << 20
"""Outlines that are kept in memory, of all versions of a season."""
_ANSWERS: Final = 32
"""Selections that are kept, for the next page of them."""
_PIECE_VERTICES: Final = 100
_PARTS: Final = 32
"""Into which sides of an area are cut that are as long as the site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Conditions on parcels, all of which must hold; without any, all parcels."""

    columns: tuple[str, ...]
    """That the caller may see."""
    ids: tuple[int, ...] | None = None
    ori_ids: tuple[str, ...] | None = None
    box: Box | None = None
    """West, south, east, north; degrees. With the west beyond the east it goes across the antimeridian."""
    polygon: bytes | None = None
    """WKB in degrees."""
    expression: str | None = None
    equal: tuple[tuple[str, str], ...] = ()
    """Values of columns, as text."""
    deleted: bool = False
    """Whether parcels count that an update has deleted."""


class Outlines:
    """Outlines of row groups, the last ones that were asked for."""

    def __init__(self, most_bytes: int = _OUTLINE_BYTES) -> None:
        """Nothing is read yet."""
        self._most, self._bytes = most_bytes, 0
        self._groups: OrderedDict[tuple[Path, Stamp, int], pa.Array] = OrderedDict()
        self._lock = Lock()

    def group(self, path: Path, of: Stamp, number: int) -> pa.Array:
        """WKB of the rows of a row group of a file as it was."""
        key = path, of, number
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        with damage_is_told(path), pq.ParquetFile(path) as file:
            column = file.read_row_group(number, columns=[GEOMETRY])[GEOMETRY].combine_chunks()
        found = column.storage if isinstance(column, pa.ExtensionArray) else column
        with self._lock:
            if key not in self._groups:
                self._groups[key] = found
                self._bytes += found.nbytes
            while self._bytes > self._most and len(self._groups) > 1:
                self._bytes -= self._groups.popitem(last=False)[1].nbytes
        return found


class Book:
    """The parcels of one version, by NewID. ``rows`` count in that order."""

    def __init__(self, workspace: Workspace, version: str, outlines: Outlines) -> None:
        """Read attributes and bounds.

        Raises
        ------
        MissingDataError, InputError
            The version is not there, or damaged.
        """
        self.workspace, self.version, self._outlines = workspace, version, outlines
        self._path = workspace.parcels / version / PARCELS
        self._stamp = stamp(self._path)
        table = read_attributes(workspace, version)
        boxes = read_attributes(workspace, version, [BBOX])[BBOX].combine_chunks()
        self._order = np.argsort(table["NewID"].to_numpy(), kind="stable")
        self.table = table.take(pa.array(self._order)).combine_chunks()
        """Attributes by NewID."""
        self.ids: Ids = self.table["NewID"].to_numpy()
        sides = [
            boxes.field(side).to_numpy(zero_copy_only=False)[self._order] for side in ("xmin", "ymin", "xmax", "ymax")
        ]
        self.bounds = np.column_stack(sides)
        """(n, 4) in ``crs``; NaN where there is no outline."""
        self.crs: CRS = crs_of(self._path)
        with pq.ParquetFile(self._path) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        self._starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        self._tiles: dict[str, Tile] = {one.tile.id: one.tile for one in read_tiles(workspace, version)}
        deleted = "is_deleted" in self.table.column_names
        self._alive = ~self.table["is_deleted"].to_numpy() if deleted else np.ones(self.ids.size, dtype=bool)
        self._select = lru_cache(maxsize=_ANSWERS)(self._selected)

    def row(self, new_id: int) -> int | None:
        """Row of a parcel; ``None`` if there is none."""
        at = int(np.searchsorted(self.ids, new_id))
        return at if at < self.ids.size and self.ids[at] == new_id else None

    def rows_of(self, ids: Sequence[int] | Ids) -> tuple[Rows, list[int]]:
        """Rows of parcels, and the numbers of which there is none."""
        asked = np.unique(np.asarray(ids, dtype=np.int64))
        at = np.minimum(np.searchsorted(self.ids, asked), max(self.ids.size - 1, 0))
        has = self.ids[at] == asked if self.ids.size else np.zeros(asked.size, dtype=bool)
        return at[has], asked[~has].tolist()

    def select(self, asked: Asked) -> Rows:
        """Rows (m,) of parcels that meet all conditions, ascending.

        Raises
        ------
        InputError, ConfigError
            A condition cannot be used.
        """
        return self._select(asked)

    def outlines(self, rows: Rows, crs: str | None = None) -> Geometries:
        """Polygons (m,) in the version's reference system, or in another; ``None`` where there is none."""
        places = self._order[rows]
        groups = np.searchsorted(self._starts, places, side="right") - 1
        found = np.empty(len(rows), dtype=object)
        for number in np.unique(groups).tolist():
            mine = np.flatnonzero(groups == number)
            wkb = self._outlines.group(self._path, self._stamp, number).take(
                pa.array(places[mine] - self._starts[number])
            )
            found[mine] = shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))
        return found if crs is None else reproject(found, self.crs, crs)

    @cached_property
    def _extent(self) -> Box | None:
        known = self.bounds[~np.isnan(self.bounds[:, 0])]
        if not len(known):
            return None
        (x0, y0), (x1, y1) = known[:, :2].min(axis=0), known[:, 2:].max(axis=0)
        frame = shapely.segmentize(shapely.box(x0, y0, x1, y1), max(x1 - x0, y1 - y0, 1e-9) / 16)
        west, south, east, north = shapely.bounds(reproject(np.array([frame]), self.crs, CRS84)[0]).tolist()
        return west, south, east, north

    def extent(self) -> Box | None:
        """West, south, east and north of all parcels, in degrees; ``None`` if there is no outline."""
        return self._extent

    def peers(self, new_id: int, distance_m: float, most: int) -> tuple[Rows, NDArray[np.float64]]:
        """Parcels with the same declared crop near one: rows (m,) and metres between outlines, the nearest first.

        Distances are planar in the parcel's tile, which is UTM.

        Raises
        ------
        InputError
            There is no such parcel, or it has no outline, tile or crop.
        """
        row = self.row(new_id)
        if row is None:
            raise InputError(f"there is no parcel {new_id}", where=f"parcels {self.version}")
        crop, tile = self.table["ori_crop"][row].as_py(), self._tiles.get(self.table["tile"][row].as_py() or "")
        if not crop or tile is None or np.isnan(self.bounds[row, 0]):
            raise InputError(
                f"parcel {new_id} has no outline on a tile or no crop to compare", where=f"parcels {self.version}"
            )
        own = self.outlines(np.array([row]), tile.crs)[0]
        west, south, east, north = shapely.bounds(own)
        frame = shapely.box(west - distance_m, south - distance_m, east + distance_m, north + distance_m)
        frame = shapely.segmentize(frame, shapely.length(frame) / 64)  # its sides are not straight elsewhere
        around = reproject(np.array([frame]), CRS.from_user_input(tile.crs), self.crs.to_wkt())[0]
        near = self._overlapping(shapely.bounds(around)) & self._alive
        near &= np.asarray(pc.fill_null(pc.equal(self.table["ori_crop"], crop), False))  # noqa: FBT003 - pyarrow's signature
        near[row] = False
        rows = np.flatnonzero(near)
        metres = shapely.distance(own, self.outlines(rows, tile.crs))
        order = np.lexsort((rows, metres))
        order = order[metres[order] <= distance_m][:most]
        return rows[order], metres[order]

    def _selected(self, asked: Asked) -> Rows:
        chosen = np.ones(self.ids.size, dtype=bool) if asked.deleted else self._alive.copy()
        if asked.ids is not None or asked.ori_ids is not None:
            chosen &= self._listed(asked)
        for name, text in asked.equal:
            chosen &= self._equal(name, text, asked)
        if asked.expression is not None:
            chosen &= np.isin(self.ids, parcels_where(self.table.select(asked.columns), asked.expression))
        if asked.box is not None:
            self._meeting(chosen, _rectangles(asked.box))
        if asked.polygon is not None:
            self._meeting(chosen, shapely.from_wkb(asked.polygon))
        return np.flatnonzero(chosen)

    def _listed(self, asked: Asked) -> NDArray[np.bool_]:
        ids = np.asarray(asked.ids or (), dtype=np.int64)
        if asked.ori_ids is not None:
            ids = np.concatenate((ids, numbers_of(self.workspace, self.version, asked.ori_ids)))
        found: NDArray[np.bool_] = np.isin(self.ids, ids)
        return found

    def _equal(self, name: str, text: str, asked: Asked) -> NDArray[np.bool_]:
        if name not in asked.columns:
            raise InputError(f"there is no property {name!r}", where=name)
        found = pc.fill_null(pc.equal(self.table[name].cast(pa.string()), text), False)  # noqa: FBT003 - pyarrow's signature
        return np.asarray(found)

    def _overlapping(self, bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
        x0, y0, x1, y1 = self.bounds.T
        with np.errstate(invalid="ignore"):
            found: NDArray[np.bool_] = (x0 <= bounds[2]) & (x1 >= bounds[0]) & (y0 <= bounds[3]) & (y1 >= bounds[1])
        return found

    def _meeting(self, chosen: NDArray[np.bool_], area: shapely.Geometry) -> None:
        """Of the chosen parcels leave those that meet an area in degrees; outlines are read at its border only."""
        met = np.zeros(chosen.size, dtype=bool)
        for piece in self._near(area):
            rows = np.flatnonzero(chosen & ~met & self._overlapping(shapely.bounds(piece)))
            if not rows.size:
                continue
            shapely.prepare(piece)
            inside = shapely.contains(piece, shapely.box(*self.bounds[rows].T))
            met[rows[inside]] = True
            doubtful = rows[~inside]
            met[doubtful] = shapely.intersects(piece, self.outlines(doubtful))
        chosen &= met

    def _near(self, area: shapely.Geometry) -> Geometries:
        """What of an area in degrees may hold parcels, in pieces (n,) of the version's reference system."""
        extent = self.extent()
        if extent is None:
            return np.empty(0, dtype=object)
        # A projection is good near the parcels only: half of the world comes out as anything.
        west, south, east, north = extent
        size = max(east - west, north - south, 0.01)
        frame = shapely.box(west - size, max(south - size, -90), east + size, min(north + size, 90))
        # Sides that are straight in degrees are not in the projection.
        cut = shapely.segmentize(shapely.intersection(area, frame), size / _PARTS)
        return reproject(_pieces(cut), CRS.from_user_input(DEGREES), self.crs.to_wkt())


def _pieces(area: shapely.Geometry) -> Geometries:
    """An area in pieces (n,) of few vertices: a comparison costs by the vertex, and there are many parcels."""
    todo, found = [area], []
    while todo:
        one = todo.pop()
        halves = _halves(one) if shapely.get_num_coordinates(one) > _PIECE_VERTICES else None
        if halves is not None:
            todo += halves
        elif not shapely.is_empty(one):
            found.append(one)
    out = np.empty(len(found), dtype=object)
    out[:] = found
    return out


def _halves(area: shapely.Geometry) -> list[shapely.Geometry] | None:
    """An area cut in two at the median of its vertices, the way that makes fewer new ones; ``None``: it is no use."""
    west, south, east, north = shapely.bounds(area).tolist()
    x, y = np.median(shapely.get_coordinates(area), axis=0).tolist()
    cuts = [
        [shapely.intersection(area, shapely.box(*frame)) for frame in frames]
        for frames in (
            ((west, south, x, north), (x, south, east, north)),
            ((west, south, east, y), (west, y, east, north)),
        )
    ]
    sizes = [[int(shapely.get_num_coordinates(half)) for half in halves] for halves in cuts]
    best = min((0, 1), key=lambda i: max(sizes[i]))
    return cuts[best] if max(sizes[best]) < 0.75 * shapely.get_num_coordinates(area) else None


def _rectangles(box: Box) -> shapely.Geometry:
    west, south, east, north = box
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.multipolygons([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
