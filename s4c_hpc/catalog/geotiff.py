"""Declared GeoTIFF sets: one file per acquisition, what it holds said by the configuration."""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from s4c_hpc.catalog.archive import is_folder, list_folder
from s4c_hpc.catalog.content import add_content
from s4c_hpc.catalog.discover import Measure
from s4c_hpc.catalog.model import UNKNOWN_TIME, Band, Product
from s4c_hpc.catalog.rasters import Header, read_header
from s4c_hpc.config import GeoTiffSource, OwnTile
from s4c_hpc.config.model import BAND_NAME
from s4c_hpc.core.errors import ConfigError, InputError, S4cError, TemporaryError, listing
from s4c_hpc.core.grid import FAMILY_RES_M, TOLERANCE_M, Grid, Tile
from s4c_hpc.core.mgrs import mgrs_tile

SOURCE = "geotiff"
CLASS_LAYER = "MASK"


def check_declaration(source: GeoTiffSource, tiles: Sequence[OwnTile], where: str) -> Tile:
    """The tile that the files must fit; a ``ConfigError`` for what no file could ever satisfy.

    Parameters
    ----------
    source : the declaration
    tiles : own tiles of the configuration; the MGRS grid holds if there are none
    where : key path of the declaration, e.g. ``sources.0``
    """
    if not source.bands:
        raise ConfigError("no band is declared", where=f"{where}.bands", hint="e.g. bands = { B04 = 1, B08 = 2 }")
    for name in source.bands:
        if not BAND_NAME.fullmatch(name) or name == CLASS_LAYER:
            raise ConfigError(
                f"{name!r} is not a band name", where=f"{where}.bands", hint="capitals and digits, e.g. B04; not MASK"
            )
    return _declared_tile(source.tile, {tile.id: tile for tile in tiles}, f"{where}.tile")


def _declared_tile(name: str, own: Mapping[str, OwnTile], where: str) -> Tile:
    if not own:
        try:
            return mgrs_tile(name)
        except InputError as error:
            hint = "declare it under [[grid.tiles]] if it is one of your own"
            raise ConfigError(f"{name!r} is not an MGRS tile such as 32UPU", where=where, hint=hint) from error
    if name not in own:
        nearest = difflib.get_close_matches(name, own, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"[[grid.tiles]] has {listing(list(own))}"
        raise ConfigError(f"no own tile is called {name!r}", where=where, hint=hint)
    return own_tile(own[name])


def own_tile(tile: OwnTile) -> Tile:
    """A declared tile."""
    return Tile(
        id=tile.id, crs=tile.crs.upper(), ulx=tile.ulx, uly=tile.uly, width_m=tile.width_m, height_m=tile.height_m
    )


def find_geotiffs(source: GeoTiffSource) -> list[Path]:
    """Files of the set, sorted: those in its folder whose name fits the pattern."""
    pattern = _name_pattern(source)
    listed = [entry for entry in list_folder(source.root) if pattern.fullmatch(entry.name)]
    return [source.root / entry.name for entry in listed if not is_folder(entry)]


def read_geotiff(path: Path, measure: Measure, source: GeoTiffSource, tile: Tile) -> Product:
    """The product in a GeoTIFF, from its name, its header and the declaration; broken if it cannot be used.

    Parameters
    ----------
    path : absolute
    measure : its size
    source : the declaration that its name fits
    tile : the tile that it must fit

    Raises
    ------
    OSError
        If it must not be read, or is not there.
    TemporaryError
        If it cannot be read just now: that says nothing of the product.
    """
    known = _from_name(path, measure, source)
    try:
        time = _acquired(path, source)
        header = read_header(path)
        _check_numbers(header, source)
        _check_grid(header.grid, tile)
        _check_nodata(header, source)
        return _product(known, path, source, header, time)
    except (TemporaryError, OSError):
        raise
    except S4cError as error:
        return known.broken(error.what)


def unreadable_geotiff(path: Path, reason: str, source: GeoTiffSource) -> Product:
    """The row of a file whose size cannot even be read."""
    return _from_name(path, Measure(size_bytes=0, stamp=0), source).broken(reason)


def missing_numbers(product: Product) -> bool:
    """Whether the product is broken because the declaration asks for a band number that it does not have."""
    return product.reason.startswith(_NO_NUMBER)


_NO_NUMBER = "no band number "


def _check_numbers(header: Header, source: GeoTiffSource) -> None:
    asked = {**source.bands, **({CLASS_LAYER: source.mask_band} if source.mask_band else {})}
    absent = [f"{number} ({name})" for name, number in asked.items() if number > header.n_bands]
    if absent:
        raise InputError(f"{_NO_NUMBER}{listing(absent)}: the file has {header.n_bands}")


def _check_grid(grid: Grid, tile: Tile) -> None:
    """The cells of a tile are parents and children of its pixels by arithmetic: size and corner must allow that."""
    if grid.crs != tile.crs:
        raise InputError(f"its CRS is {grid.crs}, that of tile {tile.id} is {tile.crs}")
    if all(abs(grid.res_m - res_m) > 1e-9 for res_m in FAMILY_RES_M):
        raise InputError(f"its pixels are {grid.res_m:g} m wide, not {listing([f'{r:g}' for r in FAMILY_RES_M])} m")
    west, south, east, north = grid.bounds
    xmin, ymin, xmax, ymax = tile.bounds
    if not (west < xmax and east > xmin and south < ymax and north > ymin):
        raise InputError(f"lies outside of tile {tile.id}")
    shift_m = max(_shift(grid.ulx - tile.ulx, grid.res_m), _shift(grid.uly - tile.uly, grid.res_m))
    if shift_m > TOLERANCE_M:
        raise InputError(f"its pixels lie {shift_m:g} m beside the grid of tile {tile.id}")


def _shift(distance_m: float, res_m: float) -> float:
    return abs(distance_m - round(distance_m / res_m) * res_m)


def _mean_angles(source: GeoTiffSource) -> tuple[float, float, float, float] | None:
    angles = source.angles
    return None if angles is None else (angles.sza, angles.saa, angles.vza, angles.vaa)


def _nodata(source: GeoTiffSource) -> float | None:
    return None if source.nodata == "none" else float(source.nodata)


def _check_nodata(header: Header, source: GeoTiffSource) -> None:
    nodata = _nodata(source)
    if nodata is None:
        return
    for name, number in sorted(source.bands.items()):
        dtype = header.dtypes[number - 1]
        if not _can_hold(dtype, nodata):
            raise InputError(f"its band {number} ({name}) is {dtype} and can never be nodata = {nodata:g}")


def _can_hold(dtype: str, value: float) -> bool:
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return value.is_integer() and int(limits.min) <= value <= int(limits.max)
    return not math.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)


def _product(known: Product, path: Path, source: GeoTiffSource, header: Header, time: dt.datetime) -> Product:
    """What the name tells of a file, with what its header and its content add."""

    def layer(name: str, number: int) -> Band:
        is_class = name == CLASS_LAYER
        return Band(
            name=name,
            path=str(path),
            index=number,
            grid=header.grid,
            dtype=header.dtypes[number - 1],
            scale=1.0 if is_class else source.scale,
            offset=0.0 if is_class else source.offset,
            nodata=None if is_class else _nodata(source),
        )

    return replace(
        known,
        datetime=time,
        bands=tuple(layer(name, source.bands[name]) for name in sorted(source.bands)),
        class_layers=(layer(CLASS_LAYER, source.mask_band),) if source.mask_band else (),
        class_table={value: str(category) for value, category in sorted(source.mask_classes.items())},
        mean_angles=_mean_angles(source),
        revision=_revision(path, source, time),
    )


def _revision(path: Path, source: GeoTiffSource, time: dt.datetime) -> str:
    """12 hex digits of when it was acquired, how it is read and what it holds: there is no generation time.

    See ``add_content`` for what goes unseen. Which class means what is left out: that is decided after decoding.
    """
    declared = (
        time.isoformat(),
        sorted(source.bands.items()),
        source.mask_band,
        float(source.scale),
        float(source.offset),
        _nodata(source),
    )
    digest = hashlib.sha256(repr(declared).encode())  # repr and not JSON, which has no NaN
    add_content(digest, path)
    return digest.hexdigest()[:12]


def _from_name(path: Path, measure: Measure, source: GeoTiffSource) -> Product:
    try:
        time = _acquired(path, source)
    except InputError:
        time = UNKNOWN_TIME
    return Product(
        id=path.stem,
        source=SOURCE,
        sensor=source.sensor,
        platform="",
        tile=source.tile,
        datetime=time,
        relative_orbit=source.relative_orbit,
        orbit_direction=source.orbit_direction,
        size_bytes=measure.size_bytes,
        datatake="",
        class_kind="declared",
    )


def _name_pattern(source: GeoTiffSource) -> re.Pattern[str]:
    before, after = source.pattern.split("{datetime}")
    return re.compile(f"{re.escape(before)}(?P<datetime>.+){re.escape(after)}")


def _acquired(path: Path, source: GeoTiffSource) -> dt.datetime:
    match = _name_pattern(source).fullmatch(path.name)
    text = match["datetime"] if match else path.name
    try:
        time = dt.datetime.strptime(text, source.datetime_format)  # noqa: DTZ007 - a time without zone is UTC, below
    except ValueError as error:
        raise InputError(f"{text!r} in its name is not a time of the form {source.datetime_format}") from error
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
