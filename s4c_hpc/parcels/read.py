"""Read a declaration file into one value, whatever its format, or say precisely why not.

GDAL's vector drivers (through pyogrio) read GPKG, shapefile (also zipped), GeoJSON, FlatGeobuf, GML and more;
GeoParquet is read directly.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.parcels.geoparquet import read_geoparquet
from s4c_hpc.parcels.projection import Geometries

_OGR_ERRORS = (
    pyogrio.errors.CRSError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.DataSourceError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
)


@dataclass(frozen=True)
class Layer:
    """One layer of a declaration file, rows as delivered."""

    file: str
    """Name of the file, without its folder."""
    name: str
    """Name of the layer; empty for formats without."""
    crs: CRS
    attributes: pa.Table
    """Columns as delivered, names unique, no geometry."""
    geometry: Geometries
    """(n,) two-dimensional geometries; ``None`` where there is none or it cannot be read."""
    unreadable: NDArray[np.bool_]
    """(n,) whether there was a geometry that cannot be read."""
    notes: tuple[str, ...]
    """What the reader had to say."""


def read_layer(path: Path, layer: str | None = None, columns: Sequence[str] = ()) -> Layer:
    """Read a layer of a file.

    Parameters
    ----------
    path : file, folder (shapefiles, file geodatabase) or zip file
    layer : name of the layer; needed if there are several with a geometry
    columns : columns that must be there; the feature id of formats that name it (GPKG's ``fid``) is read only
        if it is asked for here, because it is a place in the file rather than a property

    Raises
    ------
    MissingDataError
        No such file, or it cannot be opened for reading.
    InputError
        Damaged or unknown format, no layer with a geometry, several and none chosen, no CRS, column not there.
    NoInputsError
        The layer is empty.
    """
    _readable(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if path.suffix.lower() in {".parquet", ".geoparquet"}:
                name, table, wkb, crs = "", *read_geoparquet(path)
            else:
                name = _choose_layer(path, layer)
                table, wkb, crs = _read_ogr(path, name, columns)
        except (*_OGR_ERRORS, pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"cannot be read ({error})",
                where=str(path),
                hint="the file is damaged or of a format that GDAL does not know; try 'ogrinfo' on it",
            ) from error
    where = f"{path}, layer {name}" if name else str(path)
    if len(wkb) == 0:
        raise NoInputsError("the layer is empty", where=where, hint="check the file and the name of the layer")
    _require_columns(table.column_names, columns, where)
    known_crs = _usable_crs(crs, where)
    notes = [str(w.message) for w in caught]
    with np.errstate(invalid="ignore"):  # coordinates that are not a number get their reason later
        try:
            geometry = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
        except NotImplementedError:
            # Curved geometry. Only the slower way of reading has GDAL replace arcs by short lines.
            geometry = shapely.force_2d(shapely.from_wkb(_read_straight(path, name), on_invalid="ignore"))
            notes.append("curved borders were replaced by short straight lines")
    delivered = np.fromiter((w is not None for w in wkb), bool, len(wkb))
    unreadable = delivered & shapely.is_missing(geometry)
    return Layer(path.name, name, known_crs, table, geometry, unreadable, tuple(dict.fromkeys(notes)))


def nearest(name: str, names: Sequence[str]) -> str:
    """The part of a message that helps with a name that is not there: the nearest one, and all."""
    by_lower = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    suggestion = f"did you mean {by_lower[close[0]]!r}? " if close else ""
    return f"{suggestion}There are {listing(list(names), 40)}" if names else "there are none"


def _readable(path: Path) -> None:
    if not path.exists():
        siblings = [p.name for p in sorted(path.parent.iterdir())] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, siblings, n=1)
        raise MissingDataError(
            "no such parcel file",
            where=str(path),
            hint=f"did you mean {close[0]!r}?" if close else "check the path (key parcels.file)",
        )
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            with path.open("rb") as stream:
                stream.read(1)
    except OSError as error:
        raise MissingDataError(f"cannot be opened ({error.strerror})", where=str(path)) from error


def _choose_layer(path: Path, wanted: str | None) -> str:
    """The wanted layer, or the only one that has a geometry."""
    listed = [(str(name), kind is not None) for name, kind in pyogrio.list_layers(path)]
    names = [name for name, _ in listed]
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"there is no layer {wanted!r}", where=str(path), hint=nearest(wanted, names))
        return wanted
    spatial = [name for name, has_geometry in listed if has_geometry]
    if not spatial:
        raise InputError(
            "no layer has a geometry",
            where=str(path),
            hint=f"layers are {listing(names)}; parcels need polygons, a table alone is not enough",
        )
    if len(spatial) > 1:
        raise InputError(
            f"there are {len(spatial)} layers: {listing(spatial, 40)}",
            where=str(path),
            hint="name one with parcels.layer or --layer",
        )
    return spatial[0]


def _read_ogr(path: Path, layer: str, columns: Sequence[str]) -> tuple[pa.Table, NDArray[np.object_], Any]:
    info = pyogrio.read_info(path, layer=layer, force_feature_count=True)
    fields = [str(f) for f in info["fields"]]
    fid = str(info["fid_column"] or "")
    want_fid = fid in columns and fid not in fields
    meta, table = pyogrio.raw.read_arrow(path, layer=layer, return_fids=want_fid)
    geometry_name = meta["geometry_name"] or "wkb_geometry"
    if geometry_name not in table.column_names:
        raise InputError(
            "the layer has no geometry", where=f"{path}, layer {layer}", hint="parcels need polygons, not a table"
        )
    if table.num_rows != info["features"]:
        raise InputError(
            f"only {table.num_rows} of {info['features']} features could be read",
            where=f"{path}, layer {layer}",
            hint="the file is truncated or damaged; copy it again",
        )
    wkb = table.column(geometry_name).to_numpy()
    return table.drop_columns([geometry_name]), wkb, meta["crs"]


def _read_straight(path: Path, layer: str) -> NDArray[np.object_]:
    """WKB (n,) with curves replaced by lines."""
    if not layer:
        raise InputError(
            "curved geometry in a Parquet file", where=str(path), hint="write polygons with straight edges"
        )
    _, _, wkb, _ = pyogrio.raw.read(path, layer=layer)
    straight: NDArray[np.object_] = wkb
    return straight


def _require_columns(names: Sequence[str], wanted: Sequence[str], where: str) -> None:
    for name in wanted:
        if name not in names:
            raise InputError(f"there is no column {name!r}", where=where, hint=nearest(name, names))


def _usable_crs(crs: Any, where: str) -> CRS:
    """The CRS of the layer in two dimensions; a local or unknown one is as good as none."""
    try:
        known = None if crs is None else CRS.from_user_input(crs).to_2d()
    except CRSError as error:
        raise InputError(f"the coordinate reference system is not understood ({error})", where=where) from error
    if known is None or not (known.is_projected or known.is_geographic):
        raise InputError(
            "the layer has no coordinate reference system",
            where=where,
            hint="ask the supplier which it is and write it into the file, "
            "e.g. 'ogr2ogr -a_srs EPSG:32632 with_crs.gpkg <file>'",
        )
    return known
