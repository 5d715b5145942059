"""Outlines of parcels as flat arrays, from any file; GeoPackages in the CRS of the raster by a shorter way.

The short way reads the table itself (a GeoPackage is an SQLite file, OGC 12-128r18) and lets GEOS see only what is not
certainly valid. It saves the import of pyogrio (which brings pandas and geopandas: 0.7 CPU s, more than a small raster
takes) and an object a parcel. Where it does not know its way, ``parcels.read_layer`` reads the file as ever.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from s4c_hpc.core.errors import MissingDataError
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.rings import certainly_valid
from s4c_hpc.core.wkb import flat_coordinates
from s4c_hpc.extract.polygons import rings_on, usable_polygons
from s4c_hpc.extract.zonal_arrow import column, column_of

_FETCH: Final = 20_000
"""Geometries that are held as bytes at a time."""

_ENVELOPE_BYTES: Final = np.array([0, 32, 48, 48, 64, 0, 0, 0], dtype=np.int64)
"""Size of the envelope that stands before the geometry, by its code (OGC 12-128r18, table 7)."""

_AS_IS: Final = Grid(crs="", ulx=0.0, uly=0.0, res_m=1.0, width=0, height=0)
"""The grid on which coordinates stay what they are, but for the sign of y."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """Rings of polygons, in the CRS of the raster."""

    xy: NDArray[np.float64]
    """(n_vertices, 2); the first vertex of a ring is repeated at its end."""
    ring_offsets: NDArray[np.int64]
    """(n_rings + 1,) first vertex of each ring."""
    first: NDArray[np.int64]
    """(n,) first ring of each geometry."""
    n_rings: NDArray[np.int64]
    """(n,) rings of each geometry, which stand together; 0 where there is nothing to use."""

    @property
    def n(self) -> int:
        """Number of geometries."""
        return int(self.first.size)


@dataclass(frozen=True, eq=False)
class ParcelFile:
    """What was read of a file of parcels."""

    outlines: Outlines
    ids: pa.Table
    """The columns that were asked for; rows as in the file."""
    notes: tuple[str, ...]
    """What the reader should know: reprojection, repairs."""


def read_outlines(path: Path, layer: str | None, ids: Sequence[str], crs: Any, buffer: float) -> ParcelFile:
    """Read the polygons of a file and bring them to the CRS of a raster.

    Parameters
    ----------
    path : any file that OGR reads, or GeoParquet
    layer : its name; needed if there are several
    ids : columns that go into the result
    crs : ``rasterio.CRS`` of the raster
    buffer : inward buffer, in units of ``crs``

    Raises
    ------
    MissingDataError, InputError, NoInputsError
        No such file; damaged, no such layer or column, no CRS; no parcels.
    """
    if not path.exists():
        raise MissingDataError("no such parcel file", where=str(path), hint="check the path")
    found = _from_geopackage(path, layer, ids, crs, buffer) if path.suffix.lower() == ".gpkg" else None
    return found or _from_any(path, layer, ids, crs, buffer)


def read_ids(path: Path, layer: str | None, ids: Sequence[str], crs: Any) -> pa.Table | None:
    """The id columns alone, ``None`` where that needs the whole file read."""
    with contextlib.suppress(sqlite3.Error, pa.ArrowException, OverflowError), _layer_of(path, layer, crs) as known:
        return None if known is None else _columns(known[0], known[1], ids)
    return None


def _from_any(path: Path, layer: str | None, ids: Sequence[str], crs: Any, buffer: float) -> ParcelFile:
    from s4c_hpc.parcels.projection import reproject  # noqa: PLC0415 - see the module's text
    from s4c_hpc.parcels.read import read_layer  # noqa: PLC0415

    found = read_layer(path, layer, ids)
    target = crs.to_wkt()
    geometry = reproject(found.geometry, found.crs, target)
    notes = [*found.notes]
    if geometry is not found.geometry:
        notes.append(f"parcels were reprojected from {found.crs.name}")
    rings, n_repaired = _checked(geometry, buffer)
    notes.extend(_repair_note(n_repaired))
    table = found.attributes.select(list(ids)) if ids else _numbered(len(geometry))
    return ParcelFile(rings, table, tuple(notes))


def _numbered(n: int) -> pa.Table:
    """What stands for an id where none is asked for."""
    return pa.table({"row": column(np.arange(1, n + 1))})


def _checked(geometries: NDArray[np.object_], buffer: float) -> tuple[Outlines, int]:
    """Usable outlines of shapely geometries, and how many had to be repaired."""
    with np.errstate(invalid="ignore"):
        n_repaired = int(np.sum(~shapely.is_valid(geometries) & ~shapely.is_missing(geometries)))
    rings = rings_on(usable_polygons(geometries, buffer), _AS_IS)
    xy = np.column_stack((rings.x, -rings.y))
    return Outlines(xy, rings.ring_offsets, rings.offsets[:-1], np.diff(rings.offsets)), n_repaired


def _repair_note(n: int) -> list[str]:
    return [f"{n} invalid geometries were repaired"] if n else []


@contextlib.contextmanager
def _layer_of(path: Path, layer: str | None, crs: Any) -> Any:
    """A connection, table and geometry column of the one layer that is meant, if its CRS is the raster's by number."""
    if path.suffix.lower() != ".gpkg":
        yield None
        return
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT g.table_name, g.column_name, s.organization, s.organization_coordsys_id "
            "FROM gpkg_geometry_columns g JOIN gpkg_spatial_ref_sys s ON g.srs_id = s.srs_id"
        ).fetchall()
        meant = [row for row in rows if layer is None or row[0] == layer]
        is_known = len(meant) == 1 and (str(meant[0][2]).upper(), str(meant[0][3])) == crs.to_authority()
        yield (connection, *meant[0][:2]) if is_known else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _columns(connection: sqlite3.Connection, table: str, ids: Sequence[str]) -> pa.Table:
    if not ids:
        (n,) = connection.execute(f"SELECT count(*) FROM {_quoted(table)}").fetchone()  # noqa: S608 - quoted
        return _numbered(n)
    known = {row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(table)})")}
    if not known.issuperset(ids):  # SQLite would take a name that is not there for a text
        raise sqlite3.OperationalError
    wanted = ", ".join(map(_quoted, ids))
    rows = connection.execute(f"SELECT {wanted} FROM {_quoted(table)}").fetchall()  # noqa: S608 - quoted
    return pa.table({name: column_of(values) for name, values in zip(ids, zip(*rows, strict=True), strict=True)})


def _from_geopackage(path: Path, layer: str | None, ids: Sequence[str], crs: Any, buffer: float) -> ParcelFile | None:
    """``None`` where the long way is needed: for another CRS, curves, an empty or a damaged file and good messages."""
    parts: list[Outlines] = []
    n_repaired = 0
    try:
        with _layer_of(path, layer, crs) as known:
            if known is None:
                return None
            connection, table, shape = known
            found = _columns(connection, table, ids)
            rows = connection.execute(f"SELECT {_quoted(shape)} FROM {_quoted(table)}")  # noqa: S608 - quoted
            while blobs := [row[0] for row in rows.fetchmany(_FETCH)]:
                part = _parsed(blobs, buffer)
                if part is None:
                    return None
                parts.append(part[0])
                n_repaired += part[1]
    except (sqlite3.Error, pa.ArrowException, OverflowError, ValueError):
        return None
    if not parts or sum(part.n for part in parts) != found.num_rows:
        return None
    return ParcelFile(_joined(parts), found, tuple(_repair_note(n_repaired)))


def _parsed(blobs: Sequence[bytes | None], buffer: float) -> tuple[Outlines, int] | None:
    """Outlines of geometries as a GeoPackage stores them, and how many were repaired; ``None`` if any is unknown."""
    data = np.frombuffer(b"".join(blob or b"" for blob in blobs), np.uint8)
    stop = np.cumsum([len(blob or b"") for blob in blobs])
    start = stop - np.diff(stop, prepend=0)
    present = np.flatnonzero(start < stop)
    flags = data[start[present] + 3]
    if not ((data[start[present]] == 0x47) & (data[start[present] + 1] == 0x50) & (flags & 0x20 == 0)).all():
        return None
    start[present] += 8 + _ENVELOPE_BYTES[flags >> 1 & 7]
    xy, ring_offsets, _, offsets, is_known = flat_coordinates(data, start, stop)
    if not is_known.all():
        return None
    whole = Outlines(xy, ring_offsets, offsets[:-1].copy(), np.diff(offsets))
    doubtful = np.flatnonzero((whole.n_rings > 0) if buffer > 0 else ~certainly_valid(xy, ring_offsets, offsets))
    if not doubtful.size:
        return whole, 0
    geometries = shapely.from_wkb([data[start[i] : stop[i]].tobytes() for i in doubtful], on_invalid="ignore")
    mended, n_repaired = _checked(geometries, buffer)
    if buffer > 0:
        whole = Outlines(xy[:0], ring_offsets[:1], whole.first * 0, whole.n_rings)
    whole.first[doubtful] = mended.first + whole.ring_offsets.size - 1
    whole.n_rings[doubtful] = mended.n_rings
    return Outlines(*_stacked([whole, mended]), whole.first, whole.n_rings), n_repaired


def _stacked(parts: Sequence[Outlines]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The coordinates of several outlines and the offsets of their rings, laid end to end."""
    before = np.cumsum([0, *(len(part.xy) for part in parts)])
    ring_offsets = [part.ring_offsets[:-1] + n for part, n in zip(parts, before[:-1], strict=True)]
    return np.concatenate([part.xy for part in parts]), np.concatenate([*ring_offsets, before[-1:]])


def _joined(parts: Sequence[Outlines]) -> Outlines:
    rings_before = np.cumsum([0, *(part.ring_offsets.size - 1 for part in parts)])
    return Outlines(
        *_stacked(parts),
        np.concatenate([part.first + n for part, n in zip(parts, rings_before[:-1], strict=True)]),
        np.concatenate([part.n_rings for part in parts]),
    )
