"""Read parcel versions back: what a tile has, without reading the others."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, MissingDataError, S4cError
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.geoparquet import BBOX, GEOMETRY, crs_of
from s4c_hpc.parcels.projection import Geometries, reproject

PARCELS = "parcels.parquet"
TILES = "tiles.parquet"
REPORT = "report.json"
Stamp = tuple[int, int, int]
"""What another file of the same name would have another one of: time of change, inode and size."""

_VERSION = re.compile(r"^v\d{4,}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class TileParcels:
    """The parcels of one tile, in numbers."""

    tile: Tile
    n_parcels: int
    n_blocks: int
    area_m2: float
    """Summed area of the parcels."""
    perimeter_m: float
    """Summed perimeter of the parcels."""
    key: str
    """``parcels:<16 hex>``, the digits from the tile's rectangle and the numbers, blocks and geometries on it: versions
    that differ in attributes only have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParcelBlockTable:
    """The parcels of one tile in row order: from north to south, in blocks."""

    new_id: NDArray[np.int32]
    """(n,) ``NewID``."""
    block: NDArray[np.int32]
    """(n,) number of the block within the tile, from 0, never decreasing."""
    geometry: Geometries
    """(n,) polygons in the tile's CRS."""
    usable: NDArray[np.bool_]
    """(n,) whether there is a polygon to take pixels from."""


def versions(workspace: Workspace) -> list[str]:
    """Names of all parcel versions, oldest first."""
    if not workspace.parcels.is_dir():
        return []
    found = [p.name for p in workspace.parcels.iterdir() if _VERSION.match(p.name) and (p / PARCELS).is_file()]
    return sorted(found, key=lambda name: int(name[1:]))


def latest_version(workspace: Workspace) -> str | None:
    """Name of the newest parcel version, ``None`` if there is none."""
    found = versions(workspace)
    return found[-1] if found else None


def read_tiles(workspace: Workspace, version: str) -> list[TileParcels]:
    """The tiles that own parcels of a version, ordered by id. Cached as long as the file is the same."""
    path = _path(workspace, version, TILES)
    return list(_tiles_of(path, stamp(path)))


def stamp(path: Path) -> Stamp:
    """Tells a file from another one that has its name: versions never change, but one may be put back."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


@lru_cache(maxsize=4096)
def _tiles_of(path: Path, _stamp: Stamp) -> tuple[TileParcels, ...]:
    with damage_is_told(path):
        rows = pq.read_table(path, partitioning=None).to_pylist()
    return tuple(
        TileParcels(
            tile=Tile(
                id=r["tile"],
                crs=r["crs"],
                ulx=r["ulx"],
                uly=r["uly"],
                width_m=r["width_m"],
                height_m=r["height_m"],
            ),
            n_parcels=r["n_parcels"],
            n_blocks=r["n_blocks"],
            area_m2=r["area_m2"],
            perimeter_m=r["perimeter_m"],
            key=r["key"],
        )
        for r in rows
    )


def versions_by_key(workspace: Workspace) -> dict[tuple[str, str], list[str]]:
    """Versions with the same parcels on a tile, oldest first, by tile and key."""
    found: dict[tuple[str, str], list[str]] = {}
    for version in versions(workspace):
        for parcels in read_tiles(workspace, version):
            found.setdefault((parcels.tile.id, parcels.key), []).append(version)
    return found


def version_of(workspace: Workspace, tile: str, key: str) -> str:
    """The first version with these parcels on a tile: it stays the same whatever is imported later.

    Raises
    ------
    MissingDataError
        No version has them.
    """
    found = versions_by_key(workspace).get((tile, key))
    if not found:
        raise MissingDataError(
            f"no parcel version has {key} on tile {tile}",
            where=str(workspace.parcels),
            hint="a version was deleted: put it back, or plan again",
        )
    return found[0]


def read_tile_parcels(
    workspace: Workspace, version: str, tile: Tile, *, only: NDArray[np.int32] | None = None
) -> ParcelBlockTable:
    """The parcels of one tile, moved to its CRS; only that tile's row groups are read, one at a time.

    Parameters
    ----------
    only : NewIDs of the parcels to take; all when not given

    Raises
    ------
    MissingDataError
        No such version.
    InputError
        The tile owns no parcel of this version.
    """
    path = _path(workspace, version, PARCELS)
    taken = [
        group if only is None else group.filter(np.isin(group["NewID"].to_numpy(), only))
        for group in _tile_groups(path, tile.id, ["NewID", "block", GEOMETRY])
    ]
    if not taken:
        raise InputError(
            f"parcel version {version} has no parcel in this tile",
            where=f"tile {tile.id}",
            hint="see tiles.parquet of that version for the tiles it has",
        )
    table = pa.concat_tables(taken)
    delivered = shapely.from_wkb(table.column(GEOMETRY).to_numpy())
    geometry = reproject(delivered, crs_of(path), tile.crs)
    return ParcelBlockTable(
        new_id=table.column("NewID").to_numpy().astype(np.int32),
        block=table.column("block").to_numpy().astype(np.int32),
        geometry=geometry,
        usable=~(shapely.is_missing(geometry) | shapely.is_empty(geometry)),
    )


def read_centre(workspace: Workspace, version: str, new_id: int) -> tuple[float, float]:
    """Longitude and latitude of one parcel's centre, in degrees; NaN where there is no parcel or no polygon.

    Raises
    ------
    MissingDataError
        No such version.
    """
    path = _path(workspace, version, PARCELS)
    rows = pq.read_table(path, columns=[GEOMETRY], filters=[("NewID", "==", new_id)], partitioning=None)
    polygons = shapely.from_wkb(rows.column(GEOMETRY).to_numpy())
    if not len(polygons) or polygons[0] is None:
        return float("nan"), float("nan")
    (centre,) = shapely.centroid(reproject(polygons[:1], crs_of(path), "OGC:CRS84"))
    return float(shapely.get_x(centre)), float(shapely.get_y(centre))


def read_centroids(workspace: Workspace, version: str, tile: Tile) -> NDArray[np.float64]:
    """(n, 2) centres of the parcels of one tile in its CRS, in row order; NaN where there is no polygon.

    One row group at a time is read.

    Raises
    ------
    MissingDataError
        No such version.
    """
    path = _path(workspace, version, PARCELS)
    parts = [np.empty((0, 2))]
    for group in _tile_groups(path, tile.id, [GEOMETRY]):
        polygons = reproject(shapely.from_wkb(group.column(GEOMETRY).to_numpy()), crs_of(path), tile.crs)
        centres = shapely.centroid(polygons)
        parts.append(np.stack([shapely.get_x(centres), shapely.get_y(centres)], axis=1))
    return np.concatenate(parts)


def _tile_groups(path: Path, tile: str, columns: list[str]) -> Iterator[pa.Table]:
    """The row groups of a tile; each holds rows of one tile."""
    with damage_is_told(path), pq.ParquetFile(path) as file:
        at = file.schema_arrow.get_field_index("tile")
        for i in range(file.num_row_groups):
            if file.metadata.row_group(i).column(at).statistics.min == tile:
                yield file.read_row_group(i, columns=columns)


def read_tile_attributes(workspace: Workspace, version: str, tile: str, columns: Iterable[str]) -> pa.Table:
    """Columns of the parcels of one tile, in row order; only that tile's row groups are read.

    Raises
    ------
    MissingDataError
        No such version.
    InputError
        The tile owns no parcel of this version.
    """
    groups = list(_tile_groups(_path(workspace, version, PARCELS), tile, list(columns)))
    if not groups:
        raise InputError(
            f"parcel version {version} has no parcel in this tile", where=f"tile {tile}", hint="plan again"
        )
    return pa.concat_tables(groups).replace_schema_metadata(None)


def attribute_names(workspace: Workspace, version: str) -> list[str]:
    """Names of the columns of a version, but for geometry and bounding box."""
    return [n for n in pq.read_schema(_path(workspace, version, PARCELS)).names if n not in {GEOMETRY, BBOX}]


def read_attributes(workspace: Workspace, version: str, columns: Iterable[str] | None = None) -> pa.Table:
    """Columns of a version, all but geometry and bounding box when none are named; rows by tile and block."""
    names = attribute_names(workspace, version) if columns is None else list(columns)
    return _read(workspace, version, PARCELS, names).replace_schema_metadata(None)


def read_places(workspace: Workspace, version: str) -> tuple[NDArray[np.int32], list[tuple[int, str]]]:
    """NewIDs of a version in the order of its rows, and where each tile begins: its first row and its name.

    The name is empty for parcels that lie on no tile. Names are not read row by row: a row group holds one tile.
    """
    path = _path(workspace, version, PARCELS)
    file = pq.ParquetFile(path)
    at = file.schema_arrow.get_field_index("tile")
    begins: list[tuple[int, str]] = []
    row = 0
    for i in range(file.num_row_groups):
        group = file.metadata.row_group(i)
        tile = group.column(at).statistics.min
        if not begins or begins[-1][1] != tile:
            begins.append((row, tile))
        row += group.num_rows
    ids: NDArray[np.int32] = _read(workspace, version, PARCELS, ["NewID"])["NewID"].to_numpy().astype(np.int32)
    return ids, begins


def same_content(old: Path, new: Path) -> bool:
    """Whether the folders of two versions hold the same parcels and tiles.

    Another release of the library may have written the same values in other bytes, so values are compared; how much
    an outline had changed since the version before is none of them.
    """
    if not pq.read_table(old / TILES, partitioning=None).equals(pq.read_table(new / TILES, partitioning=None)):
        return False
    with pq.ParquetFile(old / PARCELS) as one, pq.ParquetFile(new / PARCELS) as other:
        names = [n for n in other.schema_arrow.names if n != "geom_change_ratio"]
        if names != [n for n in one.schema_arrow.names if n != "geom_change_ratio"]:
            return False
        if one.num_row_groups != other.num_row_groups or one.schema_arrow.metadata != other.schema_arrow.metadata:
            return False
        return all(
            _equal(one.read_row_group(i, names), other.read_row_group(i, names)) for i in range(one.num_row_groups)
        )


def _equal(one: pa.Table, other: pa.Table) -> bool:
    if one.schema != other.schema or one.num_rows != other.num_rows:
        return False
    return all(_equal_columns(a, b) for a, b in zip(one.columns, other.columns, strict=True))


def _equal_columns(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether all values are the same; what is not a number is the same as what is not, unlike for Arrow."""
    if one.equals(other):
        return True
    if not pa.types.is_floating(one.type) or not one.is_null().equals(other.is_null()):
        return False
    return bool(np.array_equal(one.to_numpy(), other.to_numpy(), equal_nan=True))


def _path(workspace: Workspace, version: str, name: str) -> Path:
    path = workspace.parcels / version / name
    if not path.is_file():
        raise MissingDataError(
            f"parcel version {version} is not there or not whole",
            where=str(path),
            hint=f"versions are {', '.join(versions(workspace)) or 'none'}; 's4c parcels import' makes one",
        )
    return path


def _read(workspace: Workspace, version: str, name: str, columns: list[str] | None = None) -> pa.Table:
    path = _path(workspace, version, name)
    with damage_is_told(path):
        # Without partitioning: a folder called a=b somewhere above must not become a column.
        return pq.read_table(path, columns=columns, partitioning=None)


@contextlib.contextmanager
def damage_is_told(path: Path) -> Iterator[None]:
    """Say of a file of a version that cannot be read what to do."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, S4cError):
            raise
        kind = MissingDataError if isinstance(error, FileNotFoundError) else InputError
        raise kind(
            f"cannot be read ({error})", where=str(path), hint="delete this version and import the parcels again"
        ) from error
