"""Declared GeoTIFF sets: one file per acquisition, what it holds said by the configuration."""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from s4c_hpc.catalog.discover import Measure
from s4c_hpc.catalog.model import UNKNOWN_TIME, Band, Product
from s4c_hpc.catalog.rasters import Header, read_header
from s4c_hpc.config import GeoTiffSource, OwnTile
from s4c_hpc.config.model import BAND_NAME
from s4c_hpc.core.errors import ConfigError, InputError, S4cError, listing
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.ids import canonical_json

SOURCE = "geotiff"
CLASS_LAYER = "MASK"

_MGRS = re.compile(r"\d{2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V]")
_EDGE_BYTES = 65_536


def check_declaration(source: GeoTiffSource, tiles: Sequence[OwnTile], where: str) -> None:
    """Raise a ``ConfigError`` for what no file could ever satisfy.

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
    names = [tile.id for tile in tiles]
    if names and source.tile not in names:
        nearest = difflib.get_close_matches(source.tile, names, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"[[grid.tiles]] has {listing(names)}"
        raise ConfigError(f"no own tile is called {source.tile!r}", where=f"{where}.tile", hint=hint)
    if not names and not _MGRS.fullmatch(source.tile):
        raise ConfigError(
            f"{source.tile!r} is not an MGRS tile such as 32UPU",
            where=f"{where}.tile",
            hint="declare it under [[grid.tiles]] if it is one of your own",
        )


def find_geotiffs(source: GeoTiffSource) -> list[Path]:
    """Files of the set, sorted: those in its folder whose name fits the pattern."""
    pattern = _name_pattern(source)
    return sorted(p for p in source.root.iterdir() if pattern.fullmatch(p.name) and p.is_file())


def read_geotiff(path: Path, measure: Measure, source: GeoTiffSource, tile: OwnTile | None) -> Product:
    """The product in a GeoTIFF, from its name, its header and the declaration; broken if it cannot be used.

    Parameters
    ----------
    path : absolute
    measure : its size
    source : the declaration that its name fits
    tile : the own tile that it must fit, if the declaration names one
    """
    known = _from_name(path, measure, source)
    try:
        time = _acquired(path, source)
        header = read_header(path)
        _check_numbers(header, source)
        if tile is not None:
            _check_tile(header.grid, tile)
        return _product(path, measure, source, header, time)
    except S4cError as error:
        return known.broken(error.what)
    except OSError as error:
        return known.broken(f"cannot be read ({error.strerror})")


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


def _check_tile(grid: Grid, tile: OwnTile) -> None:
    if grid.crs != tile.crs.upper():
        raise InputError(f"its CRS is {grid.crs}, that of tile {tile.id} is {tile.crs}")
    west, south, east, north = grid.bounds
    overlaps = (
        west < tile.ulx + tile.width_m and east > tile.ulx and south < tile.uly and north > tile.uly - tile.height_m
    )
    if not overlaps:
        raise InputError(f"lies outside of tile {tile.id}")
    # The cells of a tile are parents and children of its pixels by arithmetic: pixels must fall on its corner.
    shift_m = max(_shift(grid.ulx - tile.ulx, grid.res_m), _shift(grid.uly - tile.uly, grid.res_m))
    if shift_m > 1e-3 * grid.res_m:
        raise InputError(f"its pixels lie {shift_m:g} m beside the grid of tile {tile.id}")


def _shift(distance_m: float, res_m: float) -> float:
    return abs(distance_m - round(distance_m / res_m) * res_m)


def _product(path: Path, measure: Measure, source: GeoTiffSource, header: Header, time: dt.datetime) -> Product:
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
            nodata=None if is_class else source.nodata,
        )

    classes = layer(CLASS_LAYER, source.mask_band) if source.mask_band else None
    return Product(
        id=path.stem,
        source=SOURCE,
        sensor=source.sensor,
        platform="",
        tile=source.tile,
        datetime=time,
        size_bytes=measure.size_bytes,
        datatake=path.stem,
        bands=tuple(layer(name, source.bands[name]) for name in sorted(source.bands)),
        classes=classes,
        class_kind="declared",
        class_table={value: str(category) for value, category in sorted(source.mask_classes.items())},
        revision=_revision(path, source),
    )


def _revision(path: Path, source: GeoTiffSource) -> str:
    """12 hex digits of how the file is read and of both its ends: it has no generation time to tell it by.

    The ends hold the directory with the offsets and lengths of all compressed blocks, so other pixels of the same
    compressed size hardly ever go unnoticed. Which class means what is left out: that is decided after decoding.
    """
    declared = {
        "bands": source.bands,
        "mask_band": source.mask_band,
        "scale": float(source.scale),
        "offset": float(source.offset),
        "nodata": None if source.nodata is None else float(source.nodata),
    }
    digest = hashlib.sha256(canonical_json(declared).encode())
    with path.open("rb") as stream:
        digest.update(stream.read(_EDGE_BYTES))
        stream.seek(max(stream.seek(0, 2) - _EDGE_BYTES, 0))
        digest.update(stream.read())
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
        size_bytes=measure.size_bytes,
        datatake=path.stem,
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
