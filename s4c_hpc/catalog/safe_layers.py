"""Which file and which pixel grid each layer of a Sentinel-2 SAFE product has."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from s4c_hpc.catalog.discover import Measure
from s4c_hpc.catalog.rasters import read_header
from s4c_hpc.catalog.xml import read_xml, text_of
from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.core.grid import Grid

CLASS_LAYER = "SCL"

NATIVE_M: Mapping[str, int] = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12", CLASS_LAYER), 20),
    **dict.fromkeys(("B01", "B09"), 60),
}
"""Pixel size in metres at which a layer is measured; finer and coarser copies in a product are resampled ones."""

BAND_NAMES = frozenset(NATIVE_M) - {CLASS_LAYER}
"""What bands of level 2A are called; other formats take these names for their own."""

_EXTENSIONS = (".jp2", ".tif")
"""ESA delivers JPEG2000; some archives keep the same folders with GeoTIFF."""

_LAYER = re.compile(r"_(B\d[0-9A]|SCL)_(10|20|60)m$")


@dataclass(frozen=True, slots=True)
class LayerFile:
    """One layer and the file that holds it."""

    layer: str
    """``B04``, ``SCL``."""
    res_m: int
    """Pixel size in metres."""
    file: str
    """Relative to the SAFE folder."""


def chosen_images(granule: ET.Element, measure: Measure) -> list[LayerFile]:
    """One file a layer: the native resolution, or the next coarser one where the product does not list it.

    Parameters
    ----------
    granule : the element ``Granule`` of the product's metadata, with its list of images
    measure : the files that are there

    Raises
    ------
    InputError
        If there is no scene classification, no spectral band, or a chosen file is missing or empty.
    """
    listed: dict[str, dict[int, str]] = {}
    for entry in granule.iter("IMAGE_FILE"):
        path = (entry.text or "").strip()
        match = _LAYER.search(path)
        if match and match[1] in NATIVE_M and int(match[2]) >= NATIVE_M[match[1]]:
            listed.setdefault(match[1], {})[int(match[2])] = path
    if CLASS_LAYER not in listed:
        raise InputError("lists no scene classification (SCL)")
    images: list[LayerFile] = []
    missing: list[str] = []
    for layer in sorted(listed):
        res_m = min(listed[layer])
        file = _file_of(listed[layer][res_m], measure)
        if measure.files.get(file, 0) == 0:
            missing.append(f"{layer} {res_m} m ({'empty' if file in measure.files else 'missing'})")
        images.append(LayerFile(layer, res_m, file))
    if len(images) == 1:
        raise InputError("lists no spectral band")
    if missing:
        raise InputError(f"files of {listing(missing)} are not there", hint="fetch the product again")
    return images


def _file_of(entry: str, measure: Measure) -> str:
    """File of an entry of the list, which has no extension; found by its last part where the folders differ."""
    for extension in _EXTENSIONS:
        if f"{entry}{extension}" in measure.files:
            return f"{entry}{extension}"
    ending = _LAYER.search(entry)
    endings = tuple(f"{ending[0]}{extension}" for extension in _EXTENSIONS) if ending else ()
    return next((f for f in measure.files if f.startswith("GRANULE/") and f.endswith(endings)), entry)


def granule_files(measure: Measure) -> list[str]:
    """The granule's metadata file, relative to the SAFE folder, or nothing if it is missing."""
    return [file for file in measure.files if PurePosixPath(file).match("GRANULE/*/MTD_TL.xml")][:1]


def pixel_grids(folder: Path, measure: Measure, images: list[LayerFile]) -> dict[int, Grid]:
    """Pixel grid by pixel size in metres, from the granule's metadata ``MTD_TL.xml``.

    Where that file is missing, from the header of one image a pixel size.
    """
    files = granule_files(measure)
    if not files:
        one_each = {image.res_m: image.file for image in images}
        return {res_m: read_header(folder / file).grid for res_m, file in one_each.items()}
    geocoding = read_xml(folder / files[0]).find(".//Tile_Geocoding")
    if geocoding is None:
        raise InputError("has no Tile_Geocoding", where=files[0])
    crs = text_of(geocoding, "HORIZONTAL_CS_CODE", files[0]).upper()
    if not re.fullmatch(r"EPSG:\d{4,6}", crs):
        raise InputError(f"has the CRS {crs!r}, not an EPSG code", where=files[0])
    return {res_m: _grid(geocoding, crs, res_m, files[0]) for res_m in sorted({image.res_m for image in images})}


def _grid(geocoding: ET.Element, crs: str, res_m: int, where: str) -> Grid:
    size = geocoding.find(f"Size[@resolution='{res_m}']")
    position = geocoding.find(f"Geoposition[@resolution='{res_m}']")
    if size is None or position is None:
        raise InputError(f"has no Size or no Geoposition of {res_m} m", where=where)
    if (float(text_of(position, "XDIM", where)), float(text_of(position, "YDIM", where))) != (res_m, -res_m):
        raise InputError(f"pixels of the {res_m} m grid are not {res_m} m squares, north up", where=where)
    return Grid(
        crs=crs,
        ulx=float(text_of(position, "ULX", where)),
        uly=float(text_of(position, "ULY", where)),
        res_m=float(res_m),
        width=int(text_of(size, "NCOLS", where)),
        height=int(text_of(size, "NROWS", where)),
    )
