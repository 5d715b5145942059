"""Sentinel-2 level 2A products that MAJA made, in the format of MUSCATE: all from the metadata, no pixel read.

Sources: CNES/CESBIO, "Sentinel-2 L2A product format" of Theia (labo.obs-mip.fr/multitemp/sentinel-2/
theias-sentinel-2-l2a-product-format) and "MAJA, Sentinel-2 output format" (cesbio.cnrs.fr/maja/
sentinel-2-output-format), CNES PSC-NT-411-0362; element names as CNES's own readers (MAJA, WASP) use them. What the
bits of the masks mean is said in ``optical.classes``. Slope-corrected reflectance (FRE) is read, as the reference
system does.
"""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from s4c_hpc.catalog.broken import DAMAGE, why_broken
from s4c_hpc.catalog.discover import Measure
from s4c_hpc.catalog.model import UNKNOWN_TIME, Band, Product
from s4c_hpc.catalog.xml import read_xml, text_of
from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.core.grid import Grid

SOURCE = "maja"
SENSOR = "s2"

MASKS: Final = ("MG2", "EDG", "SAT")
"""Layers that classes are made of, each at both pixel sizes: ``MG2_R1`` at 10 m, ``MG2_R2`` at 20 m."""

BANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "R1": ("B2", "B3", "B4", "B8"),
    "R2": ("B5", "B6", "B7", "B8A", "B11", "B12"),
}
"""Bands of each group of pixels, in the order of the bits of SAT."""

_NAME = re.compile(
    r"SENTINEL2(?P<unit>[A-D])_(?P<day>\d{8})-(?P<time>\d{6})-\d{3}_L2A_T(?P<tile>\d{2}[C-X][A-Z]{2})"
    r"_[A-Z]_V(?P<version>\d+-\d+)"
)
_FILE = re.compile(r"(?:[^/]*_(?=FRE)|MASKS?/[^/]*_(?!FRE))(?P<layer>FRE_B\d+A?|(?:MG2|EDG|SAT)_R[12])\.tif")
_LEVELS = {"L2A", "N2A"}

_ORBIT_PHASE: Final = {"A": 2, "B": -27}
"""Relative orbit = (absolute orbit + phase) mod 143 + 1; the absolute one is all that the metadata tell."""


def is_product(name: str) -> bool:
    """Whether a folder of this name is a product."""
    return _NAME.fullmatch(name) is not None


def read_maja(folder: Path, measure: Measure) -> Product:
    """The product in a folder; one that cannot be used is broken, with the reason.

    Parameters
    ----------
    folder : absolute
    measure : its files and their sizes

    Raises
    ------
    OSError
        If a file of it must not be read, or is not there.
    TemporaryError
        If it cannot be read just now: that says nothing of the product.
    """
    known = _from_name(folder, measure)
    try:
        return _read(folder, measure, known)
    except DAMAGE as error:
        return known.broken(why_broken(error, folder))


def unreadable_maja(folder: Path, reason: str) -> Product:
    """The row of a folder that cannot even be listed."""
    return _from_name(folder, Measure(size_bytes=0, stamp=0)).broken(reason)


def _read(folder: Path, measure: Measure, known: Product) -> Product:
    where = _metadata_file(measure)
    root = read_xml(folder / where)
    level = text_of(root, "PRODUCT_LEVEL", where)
    if level not in _LEVELS:
        raise InputError(f"level {level}, needs L2A", where=where)
    files = _files(measure)
    grids = {group: _grid(root, group, where) for group in BANDS}
    scale = 1.0 / float(text_of(root, "REFLECTANCE_QUANTIFICATION_VALUE", where))
    nodata = _nodata(root, where)
    platform = text_of(root, "PLATFORM", where).upper()
    orbit = int(text_of(root, "ORBIT_NUMBER", where))
    acquired = _utc(text_of(root, "ACQUISITION_DATE", where))
    cloud = root.find(".//QUALITY_INDEX[@name='CloudPercent']")
    return Product(
        id=known.id,
        source=SOURCE,
        sensor=SENSOR,
        platform=f"sentinel-{platform.removeprefix('SENTINEL').removeprefix('-').lower()}",
        tile=known.tile,
        datetime=acquired,
        relative_orbit=_relative_orbit(platform, orbit),
        orbit_direction="descending",  # Sentinel-2 sees the day side on its descending half; nothing else is made L2A
        baseline=text_of(root, "PRODUCT_VERSION", where),
        generation_time=_utc(text_of(root, "PRODUCTION_DATE", where)),
        size_bytes=sum(measure.files[file] for file in (where, *files.values())),
        # One orbit is one pass over all of its tiles; the time tells two strips of a tile apart, as in safe_s2.
        datatake=f"{platform}_A{orbit:06d}_S{acquired:%Y%m%dT%H%M%S}",
        bands=tuple(
            Band(
                name=_band_name(name),
                path=str(folder / files[f"FRE_{name}"]),
                index=1,
                grid=grids[group],
                dtype="int16",
                scale=scale,
                offset=0.0,
                nodata=nodata,
            )
            for name, group in sorted(
                ((name, group) for group, names in BANDS.items() for name in names), key=lambda b: _band_name(b[0])
            )
        ),
        class_layers=tuple(
            Band(
                name=f"{mask}_{group}",
                path=str(folder / files[f"{mask}_{group}"]),
                index=1,
                grid=grids[group],
                dtype="uint8",
                scale=1.0,
                offset=0.0,
                nodata=None,
            )
            for group in BANDS
            for mask in MASKS
        ),
        class_kind="maja",
        angles_file=str(folder / where) if root.find(".//Angles_Grids_List") is not None else "",
        cloud_cover=None if cloud is None or not (cloud.text or "").strip() else float(cloud.text or ""),
    )


def _from_name(folder: Path, measure: Measure) -> Product:
    """What the folder's name tells, for products whose metadata cannot be read."""
    parts = _NAME.fullmatch(folder.name)
    return Product(
        id=re.sub(r"[^A-Za-z0-9._-]", "-", folder.name) or "unnamed",
        source=SOURCE,
        sensor=SENSOR,
        platform=f"sentinel-2{parts['unit'].lower()}" if parts else "",
        tile=parts["tile"] if parts else "",
        datetime=_time_of_name(parts),
        baseline=parts["version"].replace("-", ".") if parts else None,
        size_bytes=measure.size_bytes,
        datatake=folder.name,
        class_kind="maja",
    )


def _time_of_name(parts: re.Match[str] | None) -> dt.datetime:
    try:
        return _utc(f"{parts['day']}T{parts['time']}") if parts else UNKNOWN_TIME
    except ValueError:
        return UNKNOWN_TIME


def _metadata_file(measure: Measure) -> str:
    found = [name for name in measure.files if name.endswith("_MTD_ALL.xml") and "/" not in name]
    if not found:
        raise InputError("holds no *_MTD_ALL.xml", hint="fetch the product again")
    return found[0]


def _files(measure: Measure) -> dict[str, str]:
    """File of each layer, ``FRE_B2`` or ``MG2_R1``, relative to the folder; an ``InputError`` if one is missing."""
    found = {match["layer"]: file for file in measure.files if (match := _FILE.fullmatch(file))}
    if not any(layer.startswith("FRE_") for layer in found):
        raise InputError(
            "holds no FRE images (MAJA writes none where nearly all is cloud)",
            hint="let MAJA correct for slopes",
        )
    wanted = [f"FRE_{name}" for names in BANDS.values() for name in names]
    wanted += [f"{mask}_{group}" for mask in MASKS for group in BANDS]
    if missing := [layer for layer in wanted if layer not in found]:
        raise InputError(f"holds no {listing(missing)}", hint="fetch the product again")
    return {layer: found[layer] for layer in wanted}


def _band_name(name: str) -> str:
    """``B2`` as ``B02``; ``B8A`` and ``B11`` as they are."""
    return f"B0{name[1:]}" if len(name) == len("B2") else name


def _grid(root: ET.Element, group: str, where: str) -> Grid:
    position = root.find(f".//Group_Geopositioning[@group_id='{group}']")
    code = text_of(root, "HORIZONTAL_CS_CODE", where).upper().removeprefix("EPSG:")
    if position is None:
        raise InputError(f"has no Group_Geopositioning of {group}", where=where)
    if not re.fullmatch(r"\d{4,6}", code):
        raise InputError(f"has the CRS {code!r}, not an EPSG code", where=where)
    res_m = float(text_of(position, "XDIM", where))
    if float(text_of(position, "YDIM", where)) != -res_m:
        raise InputError(f"pixels of {group} are not squares, north up", where=where)
    return Grid(
        crs=f"EPSG:{code}",
        ulx=float(text_of(position, "ULX", where)),
        uly=float(text_of(position, "ULY", where)),
        res_m=res_m,
        width=int(text_of(position, "NCOLS", where)),
        height=int(text_of(position, "NROWS", where)),
    )


def _nodata(root: ET.Element, where: str) -> float:
    found = [value for value in root.iter("SPECIAL_VALUE") if value.get("name", "").lower() == "nodata"]
    if not found:
        raise InputError("has no SPECIAL_VALUE nodata", where=where, hint="fetch the product again")
    return float(found[0].text or "")


def _relative_orbit(platform: str, absolute: int) -> int | None:
    phase = _ORBIT_PHASE.get(platform[-1:])
    return None if phase is None else (absolute + phase) % 143 + 1


def _utc(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
