"""Read a declaration file into one value, whatever its format, or say precisely why not.

GDAL's vector drivers (through pyogrio) read GPKG, shapefile (also zipped), GeoJSON, FlatGeobuf, GML and more;
GeoParquet is read directly, tables of PostGIS by their own driver (``read_postgis``). Everything comes in batches:
attributes stay in Arrow, outlines go to a spool.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from s4c_hpc.parcels.geoparquet import Delivered, read_geoparquet
from s4c_hpc.parcels.outlines import BATCH, Outlines, Spool
from s4c_hpc.parcels.projection import Geometries
from s4c_hpc.parcels.publish import no_room
from s4c_hpc.parcels.read_container import Container, container
from s4c_hpc.parcels.read_postgis import is_postgis, read_postgis

_OGR_ERRORS = (
    pyogrio.errors.CRSError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.DataSourceError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
    pyogrio.errors.GeometryError,
)


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer of a declaration file, rows as delivered."""

    file: str
    """Name of the file, without its folder."""
    name: str
    """Name of the layer; empty for formats without."""
    crs: CRS
    attributes: pa.Table
    """Columns as delivered, names unique, no geometry."""
    outlines: Outlines
    """(n,) two-dimensional geometries; missing where there is none or it cannot be read."""
    unreadable: NDArray[np.bool_]
    """(n,) whether there was a geometry that cannot be read."""
    notes: tuple[str, ...]
    """What the reader had to say."""

    @property
    def geometry(self) -> Geometries:
        """(n,) all outlines as geometries, at once."""
        return self.outlines[:]


def read_layer(path: Path, layer: str | None = None, columns: Sequence[str] = (), spool: Path | None = None) -> Layer:
    """Read a layer of a file.

    Parameters
    ----------
    path : file, folder (shapefiles, file geodatabase), zip file, or ``PG:...`` for a table of PostGIS
    layer : name of the layer; needed if there are several with a geometry
    columns : columns that must be there; the feature id of formats that name it (GPKG's ``fid``) is read only
        if it is asked for here, because it is a place in the file rather than a property
    spool : folder for the outlines of large layers while they are in use; the system's when not given

    Raises
    ------
    MissingDataError
        No such file, or it cannot be opened for reading.
    InputError
        Damaged or unknown format, no layer with a geometry, several and none chosen, no CRS, column not there.
    NoInputsError
        The layer is empty.
    """
    if is_postgis(path):
        with read_postgis(path, layer) as (name, where, delivered):
            return _layer(name, name, where, delivered, columns, spool, [])
    _readable(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with container(path) as held:
                return _read(path, held, layer, columns, spool, caught)
        except (*_OGR_ERRORS, pa.ArrowException, OSError, UnicodeDecodeError) as error:
            # The first is a FileNotFoundError as well; the second is no fault of the file.
            if isinstance(error, MissingDataError) or no_room(error):
                raise
            raise InputError(
                f"cannot be read ({error})",
                where=str(path),
                hint="the file is damaged or of a format that GDAL does not know; try 'ogrinfo' on it",
            ) from error


def _read(
    path: Path,
    held: Container,
    layer: str | None,
    columns: Sequence[str],
    spool: Path | None,
    caught: list[warnings.WarningMessage],
) -> Layer:
    if held.parquet is not None:
        return _layer(path.name, "", str(path), read_geoparquet(held.parquet, str(path)), columns, spool, caught)
    name = _choose_layer(held.dataset, layer, str(path))
    where = f"{path}, layer {name}"
    try:
        with _open_ogr(held.dataset, name, columns, where) as delivered:
            return _layer(path.name, name, where, delivered, columns, spool, caught)
    except NotImplementedError:
        # Curved geometry. Only the slower way of reading has GDAL replace arcs by short lines.
        with _open_ogr(held.dataset, name, columns, where) as delivered:
            straight = _straightened(delivered, held.dataset, name)
            found = _layer(path.name, name, where, straight, columns, spool, caught)
    note = "curved borders were replaced by short straight lines"
    return Layer(found.file, name, found.crs, found.attributes, found.outlines, found.unreadable, (*found.notes, note))


def _layer(
    file: str,
    name: str,
    where: str,
    delivered: Delivered,
    columns: Sequence[str],
    folder: Path | None,
    caught: Sequence[warnings.WarningMessage],
) -> Layer:
    """Take everything from the reader."""
    crs = _usable_crs(delivered.crs, where)
    unreadable, batches = [np.empty(0, bool)], []
    with Spool(folder) as spool:
        for batch, wkb in delivered.batches:
            if len(wkb):  # an empty layer of GeoJSON has no columns either
                _require_columns(delivered.schema.names, columns, where)
            with np.errstate(invalid="ignore"):  # coordinates that are not a number get their reason later
                geometry = shapely.from_wkb(wkb, on_invalid="ignore")
                if (shapely.has_z(geometry) | shapely.has_m(geometry)).any():
                    geometry = shapely.force_2d(geometry)
            unreadable.append((wkb != None) & shapely.is_missing(geometry))  # noqa: E711 - element by element
            spool.append(geometry)
            batches.append(batch)
        outlines = spool.outlines()
    if len(outlines) == 0:
        raise NoInputsError("the layer is empty", where=where, hint="check the file and the name of the layer")
    notes = tuple(dict.fromkeys(str(w.message) for w in caught))
    if delivered.left_out:
        notes += (f"further geometries are left out: {listing(list(delivered.left_out), 40)}",)
    attributes = pa.Table.from_batches(batches, delivered.schema)
    return Layer(file, name, crs, attributes, outlines, np.concatenate(unreadable), notes)


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


def _choose_layer(dataset: str, wanted: str | None, where: str) -> str:
    """The wanted layer, or the only one that has a geometry and features."""
    listed = [(str(name), kind is not None) for name, kind in pyogrio.list_layers(dataset)]
    names = [name for name, _ in listed]
    if wanted is not None:
        if wanted not in names:
            raise InputError(f"there is no layer {wanted!r}", where=where, hint=nearest(wanted, names))
        return wanted
    spatial = [name for name, has_geometry in listed if has_geometry]
    if not spatial:
        raise InputError(
            "no layer has a geometry",
            where=where,
            hint=f"layers are {listing(names)}; parcels need polygons, a table alone is not enough",
        )
    if len(spatial) > 1:
        # A layer without a feature needs no choice.
        spatial = [name for name in spatial if _has_features(dataset, name)] or spatial
    if len(spatial) > 1:
        raise InputError(
            f"there are {len(spatial)} layers: {listing(spatial, 40)}",
            where=where,
            hint="name one with parcels.layer or --layer",
        )
    return spatial[0]


def _has_features(dataset: str, layer: str) -> bool:
    return bool(pyogrio.read_info(dataset, layer=layer, force_feature_count=True)["features"])


@contextmanager
def _open_ogr(dataset: str, layer: str, columns: Sequence[str], where: str) -> Iterator[Delivered]:
    info = pyogrio.read_info(dataset, layer=layer, force_feature_count=True)
    fields = [str(f) for f in info["fields"]]
    fid = str(info["fid_column"] or "")
    want_fid = fid in columns and fid not in fields
    options: dict[str, Any] = {"return_fids": want_fid, "batch_size": BATCH, "use_pyarrow": True}
    with pyogrio.raw.open_arrow(dataset, layer=layer, **options) as (meta, reader):
        geometry = meta["geometry_name"] or "wkb_geometry"
        if geometry not in reader.schema.names:
            raise InputError("the layer has no geometry", where=where, hint="parcels need polygons, not a table")
        attributes = pa.schema([field for field in reader.schema if field.name != geometry])
        yield Delivered(meta["crs"], attributes, _all_of(reader, geometry, attributes.names, info["features"], where))


def _all_of(
    reader: pa.RecordBatchReader, geometry: str, names: list[str], n: int, where: str
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.object_]]]:
    found = 0
    for batch in reader:
        found += batch.num_rows
        yield batch.select(names), batch.column(geometry).to_numpy(zero_copy_only=False)
    if found != n:
        raise InputError(
            f"only {found} of {n} features could be read",
            where=where,
            hint="the file is truncated or damaged; copy it again",
        )


def _straightened(delivered: Delivered, dataset: str, layer: str) -> Delivered:
    """The same with curves replaced by lines; all outlines are in memory."""
    _, _, wkb, _ = pyogrio.raw.read(dataset, layer=layer)

    def batches() -> Iterator[tuple[pa.RecordBatch, NDArray[np.object_]]]:
        start = 0
        for batch, _ in delivered.batches:
            yield batch, wkb[start : start + batch.num_rows]
            start += batch.num_rows

    return Delivered(delivered.crs, delivered.schema, batches())


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
