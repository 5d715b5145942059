"""Landsat 8 and 9, Collection 2 Level 2 (L2SP): everything from the metadata, no pixel read.

Sources: USGS LSDS-1619 (Landsat 8-9 Collection 2 Level 2 Science Product Guide: scale, offset, quality bits) and
LSDS-1328 (Data Format Control Book: file names, metadata); product names from the Landsat Collection 2 pages of the
USGS. What the bits of QA_PIXEL and QA_RADSAT mean is said in ``optical.classes``.

A scene covers several tiles: there is a product for each one that it touches, with the same files. Its pixels of 30 m
are taken as they are and are never resampled, so a scene of the next UTM zone cannot serve a tile.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import shapely

from s4c_hpc.catalog.broken import DAMAGE, why_broken
from s4c_hpc.catalog.discover import Measure
from s4c_hpc.catalog.footprint import outline
from s4c_hpc.catalog.landsat_mtl import ENDINGS, Mtl, read_mtl
from s4c_hpc.catalog.model import UNKNOWN_TIME, Band, Product
from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.core.grid import LANDSAT_RES_M, Grid, Tile
from s4c_hpc.core.mgrs import tiles_at, utm_crs

SOURCE = "landsat-c2l2"
CLASS_LAYERS: Final = ("QA_PIXEL", "QA_RADSAT")

BANDS: Final[Mapping[str, str]] = {
    "1": "B01",
    "2": "B02",
    "3": "B03",
    "4": "B04",
    "5": "B08",
    "6": "B11",
    "7": "B12",
}
"""Number of OLI's band -> name of the Sentinel-2 band of the same role, so that one formula serves all sensors:
coastal aerosol 0.44 um, blue 0.48, green 0.56, red 0.65, near infrared 0.87, shortwave infrared 1.61 and 2.2. Band 5
is as narrow as B8A; it is called B08 because indices of the near infrared are written with that. (Band tables:
LSDS-1619 and the Sentinel-2 Products Specification Document.)"""

_NAME = re.compile(r"LC(?P<unit>0[89])_L2SP_(?P<scene>\d{6})_(?P<day>\d{8})_(?P<processed>\d{8})_02_(?P<tier>T1|T2|RT)")
_CONTENTS, _IMAGE, _PROJECTION = "PRODUCT_CONTENTS", "IMAGE_ATTRIBUTES", "PROJECTION_ATTRIBUTES"
_PROCESSING, _REFLECTANCE = "LEVEL2_PROCESSING_RECORD", "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"
_FILL: Final = 0.0
"""DN of surface reflectance where there is none (LSDS-1619); the metadata do not tell it, valid ones begin with 1."""


def is_product(name: str) -> bool:
    """Whether a folder of this name is a product."""
    return _NAME.fullmatch(name) is not None


def read_landsat(folder: Path, measure: Measure, tiles: Sequence[Tile] | None) -> list[Product]:
    """The products in a folder, one for each tile that the scene touches; broken ones with the reason.

    Parameters
    ----------
    folder : absolute
    measure : its files and their sizes
    tiles : those that count; all of the Sentinel-2 grid in the scene's zone if not given

    Returns
    -------
    One that says so for a scene that cannot be read; none where the scene touches no tile that it could serve.

    Raises
    ------
    OSError
        If a file of it must not be read, or is not there.
    TemporaryError
        If it cannot be read just now: that says nothing of the product.
    """
    known = _from_name(folder, measure)
    try:
        scene = _read(folder, measure, known)
        return _on_tiles(scene, tiles)
    except DAMAGE as error:
        return [known.broken(why_broken(error, folder))]


def unreadable_landsat(folder: Path, reason: str) -> Product:
    """The row of a folder that cannot even be listed."""
    return _from_name(folder, Measure(size_bytes=0, stamp=0)).broken(reason)


def _read(folder: Path, measure: Measure, known: Product) -> Product:
    """The scene, without a tile."""
    where = _metadata_file(measure)
    mtl = read_mtl(folder / where)
    level = f"{mtl.text(_CONTENTS, 'PROCESSING_LEVEL')} of collection {mtl.text(_CONTENTS, 'COLLECTION_NUMBER')}"
    if level != "L2SP of collection 02":
        raise InputError(f"level {level}, needs L2SP of collection 02", where=where)
    name = mtl.text(_CONTENTS, "LANDSAT_PRODUCT_ID")
    unit = mtl.text(_IMAGE, "SPACECRAFT_ID").rpartition("_")[2]
    grid = _grid(mtl, where)
    keys = {band: f"FILE_NAME_BAND_{number}" for number, band in BANDS.items()}
    keys |= {"QA_PIXEL": "FILE_NAME_QUALITY_L1_PIXEL", "QA_RADSAT": "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION"}
    files = {layer: mtl.text(_CONTENTS, key) for layer, key in keys.items()}
    if missing := [file for file in files.values() if file not in measure.files]:
        raise InputError(f"holds no {listing(missing)}", where="", hint="fetch the product again")

    def layer(name: str, scale: float, offset: float, nodata: float | None) -> Band:
        path = str(folder / files[name])
        return Band(name=name, path=path, index=1, grid=grid, dtype="uint16", scale=scale, offset=offset, nodata=nodata)

    day = dt.date.fromisoformat(mtl.text(_IMAGE, "DATE_ACQUIRED"))
    path, row = (int(mtl.text(_IMAGE, key)) for key in ("WRS_PATH", "WRS_ROW"))
    return Product(
        id=name if is_product(name) else known.id,
        source=SOURCE,
        sensor=f"l{unit}",
        platform=f"landsat-{unit}",
        tile="",
        datetime=_utc(f"{day}T{mtl.text(_IMAGE, 'SCENE_CENTER_TIME')}"),
        relative_orbit=path,
        orbit_direction="descending",  # the day side; surface reflectance is not made of night scenes
        baseline=f"02-{mtl.text(_CONTENTS, 'COLLECTION_CATEGORY')}",
        generation_time=_utc(mtl.text(_PROCESSING, "DATE_PRODUCT_GENERATED")),
        size_bytes=sum(measure.files[file] for file in (where, *files.values())),
        datatake=f"LC0{unit}_{path:03d}{row:03d}_{day:%Y%m%d}",
        bands=tuple(
            layer(
                band,
                mtl.number(_REFLECTANCE, f"REFLECTANCE_MULT_BAND_{number}"),
                mtl.number(_REFLECTANCE, f"REFLECTANCE_ADD_BAND_{number}"),
                _FILL,
            )
            for number, band in BANDS.items()
        ),
        class_layers=tuple(layer(name, 1.0, 0.0, None) for name in CLASS_LAYERS),
        class_kind="landsat",
        mean_angles=_angles(mtl),
        cloud_cover=_cloud_cover(mtl),
    )


def _on_tiles(scene: Product, tiles: Sequence[Tile] | None) -> list[Product]:
    """The scene as a product of each tile that it touches."""
    grid = scene.bands[0].grid
    near = tiles_at(*outline(grid)[1]) if tiles is None else tiles
    return [
        replace(scene, id=f"{scene.id}_{tile.id}", tile=tile.id)
        for tile in sorted(near, key=lambda tile: tile.id)
        if (own := grid.on_crs(tile.crs)).crs == tile.crs and _overlaps(own, tile)
    ]


def of_other_zone(products: Sequence[Product], tiles: Sequence[Tile]) -> tuple[int, list[str]]:
    """Scenes that touch tiles of another UTM zone, which they cannot serve: their number, and the tiles, by id."""
    scenes, touched = set(), set()
    for grid, scene in {(product.bands[0].grid, product.datatake) for product in products if product.bands}:
        for tile in tiles:
            is_other = grid.on_crs(tile.crs).crs != tile.crs
            if is_other and shapely.intersects(outline(grid)[0], outline(tile.grid(10.0))[0]):
                scenes.add(scene)
                touched.add(tile.id)
    return len(scenes), sorted(touched)


def _overlaps(grid: Grid, tile: Tile) -> bool:
    west, south, east, north = grid.bounds
    xmin, ymin, xmax, ymax = tile.bounds
    return west < xmax and east > xmin and south < ymax and north > ymin


def _from_name(folder: Path, measure: Measure) -> Product:
    """What the folder's name tells, for products whose metadata cannot be read."""
    parts = _NAME.fullmatch(folder.name)
    unit = parts["unit"][1:] if parts else ""
    return Product(
        id=re.sub(r"[^A-Za-z0-9._-]", "-", folder.name) or "unnamed",
        source=SOURCE,
        sensor=f"l{unit or 8}",
        platform=f"landsat-{unit}" if unit else "",
        tile="",
        datetime=_time_of_name(parts),
        baseline=f"02-{parts['tier']}" if parts else None,
        size_bytes=measure.size_bytes,
        datatake=f"LC0{unit}_{parts['scene']}_{parts['day']}" if parts else folder.name,
        class_kind="landsat",
    )


def _time_of_name(parts: re.Match[str] | None) -> dt.datetime:
    try:
        return _utc(parts["day"]) if parts else UNKNOWN_TIME
    except ValueError:
        return UNKNOWN_TIME


def _metadata_file(measure: Measure) -> str:
    for ending in ENDINGS:
        if found := [name for name in measure.files if name.endswith(ending) and "/" not in name]:
            return found[0]
    raise InputError("holds no *_MTL.xml, .json or .txt", hint="fetch the product again")


def _grid(mtl: Mtl, where: str) -> Grid:
    """Pixels of the scene; northings are negative south of the equator."""
    if (projection := mtl.text(_PROJECTION, "MAP_PROJECTION")) != "UTM":
        raise InputError(f"projection {projection}, needs UTM", where=where)
    res_m = mtl.number(_PROJECTION, "GRID_CELL_SIZE_REFLECTIVE")
    if res_m != LANDSAT_RES_M or mtl.text(_PROJECTION, "ORIENTATION") != "NORTH_UP":
        raise InputError(f"pixels are not of {LANDSAT_RES_M:g} m, north up", where=where)
    return Grid(
        crs=utm_crs(int(mtl.text(_PROJECTION, "UTM_ZONE")), south=False),
        # The corner is told by the centre of its pixel.
        ulx=mtl.number(_PROJECTION, "CORNER_UL_PROJECTION_X_PRODUCT") - res_m / 2.0,
        uly=mtl.number(_PROJECTION, "CORNER_UL_PROJECTION_Y_PRODUCT") + res_m / 2.0,
        res_m=res_m,
        width=int(mtl.text(_PROJECTION, "REFLECTIVE_SAMPLES")),
        height=int(mtl.text(_PROJECTION, "REFLECTIVE_LINES")),
    )


def _angles(mtl: Mtl) -> tuple[float, float, float, float] | None:
    """Sun at the scene's centre, view from above; none where the satellite looked aside.

    Level 2 holds no raster of view angles. They are 7.5 degrees at most where the satellite looks down, at the edges of
    the swath (cosine 0.991).
    """
    if mtl.text(_IMAGE, "NADIR_OFFNADIR") != "NADIR":
        return None
    return (90.0 - mtl.number(_IMAGE, "SUN_ELEVATION"), mtl.number(_IMAGE, "SUN_AZIMUTH") % 360.0, 0.0, 0.0)


def _cloud_cover(mtl: Mtl) -> float | None:
    """In percent; -1 in the metadata means that it was not determined."""
    cover = mtl.number(_IMAGE, "CLOUD_COVER")
    return cover if cover >= 0 else None


def _utc(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
