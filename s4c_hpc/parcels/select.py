"""Which parcels: by number, by the user's own id, by attribute, by rectangle, by polygon; all that is said counts."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.diff import require_version
from s4c_hpc.parcels.expression import meeting
from s4c_hpc.parcels.geoparquet import BBOX, GEOMETRY, crs_of
from s4c_hpc.parcels.modes import Previous
from s4c_hpc.parcels.projection import reproject
from s4c_hpc.parcels.store import PARCELS, read_attributes

Ids = NDArray[np.int32]
Box = tuple[float, float, float, float]
"""West, south, east and north side."""
DEGREES = "EPSG:4326"
_NUMBER = re.compile(r"[+-]?\d+", re.ASCII)
_EDGE_PARTS = 64
"""Parts that the side of a rectangle has when it is moved to another system, where it is not straight."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Conditions on parcels; those that are ``None`` hold for all."""

    ids: Sequence[int] | None = None
    """NewIDs."""
    ori_ids: Sequence[str] | None = None
    """The user's own ids; with ``ids``, parcels of either list."""
    where: str | None = None
    """An expression of SQL over attributes, e.g. ``ori_crop = '115' AND Area_meters > 1e4``."""
    box: Box | None = None
    """Parcels that meet a rectangle."""
    box_crs: str = DEGREES
    polygon: Path | None = None
    """Parcels that meet a polygon of this file, in any format that can be imported."""
    deleted: bool = False
    """Whether parcels count that an update has deleted."""

    @property
    def is_everything(self) -> bool:
        """Whether there is no condition."""
        return (self.ids, self.ori_ids, self.where, self.box, self.polygon) == (None,) * 5


def select(workspace: Workspace, version: str, wanted: Selection) -> Ids:
    """NewIDs (n,) of the parcels of a version that meet every condition, ascending.

    Raises
    ------
    MissingDataError
        There is no such version.
    InputError
        An id is not in the version, the expression cannot be evaluated, or a file cannot be used.
    ConfigError
        The rectangle is none, or its reference system is not known.
    """
    require_version(workspace, version)
    names = ["NewID", *(["is_deleted"] if "is_deleted" in _names(workspace, version) else [])]
    table = read_attributes(workspace, version, names)
    every = table["NewID"].to_numpy()
    chosen = np.ones(len(every), dtype=bool)
    if "is_deleted" in names and not wanted.deleted:
        chosen &= ~table["is_deleted"].to_numpy()
    if wanted.ids is not None or wanted.ori_ids is not None:
        chosen &= _listed(workspace, version, every, wanted)
    if wanted.where is not None:
        parcels = pyarrow.dataset.dataset(workspace.parcels / version / PARCELS, format="parquet", partitioning=None)
        chosen &= np.isin(every, meeting(parcels, wanted.where))
    if wanted.box is not None:
        chosen &= np.isin(every, _meeting(workspace, version, box_in(wanted.box, wanted.box_crs)))
    if wanted.polygon is not None:
        chosen &= np.isin(every, _meeting(workspace, version, _polygon(wanted.polygon)))
    ids: Ids = np.sort(every[chosen])
    return ids


def read_id_file(path: Path, id_columns: Sequence[str] = ()) -> tuple[list[int] | None, list[str] | None]:
    """NewIDs, or the user's own ids, of a file with one a line.

    A header ``NewID`` or ``ori_id``, or one that is the declaration's id column, says which; there may be further
    columns then, as in any CSV file. Without a header they are NewIDs if all are whole numbers, else the user's own.

    Parameters
    ----------
    id_columns : columns of the declaration that identify a parcel; only a single one can be a header

    Raises
    ------
    MissingDataError, InputError
        The file cannot be read, or is empty.
    """
    try:
        lines = [line for line in csv.reader(_lines(path)) if any(line)]
    except csv.Error as error:
        raise InputError(f"cannot be read ({error})", where=str(path)) from error
    header = [name.strip().lower() for name in lines[0]] if lines else []
    heads = ("newid", "ori_id", *_single(id_columns))
    at = next((header.index(name) for name in heads if name in header), None)
    values = [line[at or 0].strip() for line in (lines if at is None else lines[1:]) if len(line) > (at or 0)]
    if not values:
        raise InputError("there is no id in the file", where=str(path), hint="write one a line")
    numbers = [int(v) for v in values if _NUMBER.fullmatch(v)]
    if at is not None and header[at] == "newid" and len(numbers) < len(values):
        wrong = [v for v in values if not _NUMBER.fullmatch(v)]
        raise InputError(f"not NewIDs, which are whole numbers: {listing(wrong)}", where=str(path))
    if len(numbers) == len(values) and (at is None or header[at] == "newid"):
        return numbers, None
    return None, values


def read_own_ids(path: Path, id_columns: Sequence[str] = ()) -> list[str]:
    """The user's own ids of a file with one a line; a header ``ori_id`` or ``id_columns``, if it is one, is none.

    Raises
    ------
    MissingDataError, InputError
        The file cannot be read, or is empty.
    """
    found = [line.strip() for line in _lines(path) if line.strip()]
    found = found[1:] if found and found[0].lower() in ("ori_id", *_single(id_columns)) else found
    if not found:
        raise InputError("there is no id in the file", where=str(path), hint="write one a line")
    return found


def _single(id_columns: Sequence[str]) -> list[str]:
    """The id column as headers are compared; of several none, because one alone does not identify a parcel."""
    return [name.strip().lower() for name in id_columns] if len(id_columns) == 1 else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise MissingDataError("no such file of ids", where=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", where=str(path)) from error


def numbers_of(workspace: Workspace, version: str, ori_ids: Sequence[str]) -> Ids:
    """NewIDs of parcels by the user's own ids.

    Raises
    ------
    InputError
        Ids are not in this version. They are named, unless the version has pseudonyms.
    """
    table = read_attributes(workspace, version, ["NewID", "ori_id"])
    wanted = pa.array(sorted(set(ori_ids)), pa.string())
    at = pc.index_in(wanted, table["ori_id"].combine_chunks())
    if at.null_count:
        previous = Previous(version, workspace.parcels / version)
        pseudonyms = "pseudonyms" in previous.report
        unknown = wanted.filter(at.is_null()).to_pylist()
        raise InputError(
            f"{len(unknown)} of {len(wanted)} ids are not in the parcels"
            + ("" if pseudonyms else f": {listing(unknown)}"),
            where=f"parcels {version}",
            hint="these parcels have pseudonyms: 's4c parcels identify' tells them"
            if pseudonyms
            else "ids are those of the declaration's id columns, joined by '-'",
        )
    ids: Ids = table["NewID"].take(at).to_numpy().astype(np.int32)
    return ids


def box_in(box: Box, crs: str) -> tuple[shapely.Geometry, CRS]:
    """A rectangle as a polygon, its sides in parts.

    Raises
    ------
    ConfigError
        It is none, or the reference system is not known.
    """
    west, south, east, north = box
    try:
        system = CRS.from_user_input(crs)
    except CRSError as error:
        raise ConfigError(
            f"{crs!r} is not a coordinate reference system", where="bbox", hint="e.g. EPSG:4326"
        ) from error
    if not (west < east and south < north):
        raise ConfigError(f"{box} is no rectangle", where="bbox", hint="it has west,south,east,north, in this order")
    if system.is_geographic and not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise ConfigError(
            f"{box} are no degrees", where="bbox", hint="name the reference system, e.g. --crs EPSG:32632"
        )
    parts = max(east - west, north - south) / _EDGE_PARTS
    return shapely.segmentize(shapely.box(west, south, east, north), parts), system


def _names(workspace: Workspace, version: str) -> list[str]:
    names: list[str] = pq.read_schema(workspace.parcels / version / PARCELS).names
    return names


def _listed(workspace: Workspace, version: str, every: Ids, wanted: Selection) -> NDArray[np.bool_]:
    asked = np.asarray(wanted.ids if wanted.ids is not None else [], dtype=np.int64)
    unknown = np.setdiff1d(asked, every)
    if len(unknown):
        raise InputError(
            f"{len(unknown)} of {len(np.unique(asked))} NewIDs are not in the parcels: "
            f"{listing([str(i) for i in unknown.tolist()])}",
            where=f"parcels {version}",
        )
    if wanted.ori_ids is not None:
        asked = np.concatenate((asked, numbers_of(workspace, version, wanted.ori_ids)))
    return np.isin(every, asked)


def _polygon(path: Path) -> tuple[shapely.Geometry, CRS]:
    from s4c_hpc.parcels.read import read_layer  # noqa: PLC0415 - loads GDAL and pandas

    layer = read_layer(path)
    shapes = layer.geometry
    areas = shapely.make_valid(shapes[shapely.get_dimensions(shapes) == 2])
    if not len(areas):
        raise InputError("there is no polygon", where=str(path))
    return shapely.union_all(areas), layer.crs


def _meeting(workspace: Workspace, version: str, area: tuple[shapely.Geometry, CRS]) -> Ids:
    """NewIDs of parcels that meet an area; only row groups that may hold some are decoded."""
    path = workspace.parcels / version / PARCELS
    shape, crs = area
    moved = reproject(np.array([shape], dtype=object), crs, crs_of(path).to_wkt())[0]
    if not np.isfinite(shapely.bounds(moved)).all():
        raise InputError(
            "the area lies outside of where the parcels' reference system can be used", where="bbox, polygon"
        )
    shapely.prepare(moved)
    ids = [
        new_id[shapely.intersects(moved, shapely.from_wkb(wkb))] for new_id, wkb in _near(path, shapely.bounds(moved))
    ]
    found: Ids = np.concatenate([np.empty(0, np.int32), *ids])
    return found


def _near(path: Path, bounds: NDArray[np.float64]) -> Iterator[tuple[Ids, NDArray[np.object_]]]:
    """NewIDs and WKB of the rows of each row group whose rectangles meet the bounds."""
    with pq.ParquetFile(path) as file:
        for i in range(file.num_row_groups):
            table = file.read_row_group(i, columns=["NewID", BBOX])
            west, south, east, north = (
                table[BBOX].combine_chunks().field(side).to_numpy(zero_copy_only=False)
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            near = (west <= bounds[2]) & (east >= bounds[0]) & (south <= bounds[3]) & (north >= bounds[1])
            if near.any():
                wkb = file.read_row_group(i, columns=[GEOMETRY])[GEOMETRY].to_numpy()
                yield table["NewID"].to_numpy()[near], wkb[near]
