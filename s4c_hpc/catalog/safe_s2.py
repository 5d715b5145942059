"""Sentinel-2 level 2A products in ESA's SAFE format: everything from the metadata, no pixel read.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), versions 14.x, level 2A; tested with
processing baselines 02.12, 02.14, 04.00 and 05.09.
"""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from s4c_hpc.catalog.broken import DAMAGE, why_broken
from s4c_hpc.catalog.discover import Measure
from s4c_hpc.catalog.model import UNKNOWN_TIME, Band, Product
from s4c_hpc.catalog.safe_layers import CLASS_LAYER, chosen_images, granule_files, pixel_grids
from s4c_hpc.catalog.supersede import baseline_number
from s4c_hpc.catalog.xml import optional_text, read_xml, text_of
from s4c_hpc.core.errors import InputError

SOURCE = "sentinel2-l2a"
SENSOR = "s2"
_BAND_IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Band names in the order of the attributes ``band_id``."""

_OFFSET_SINCE = (4, 0)
"""Baseline from which on ``BOA_ADD_OFFSET`` must be there."""

_LOCAL_BASELINE = 99
"""Major number that Sen2Cor writes when a user runs it; it says nothing about an offset."""

_FIRST_STRIP = dt.timedelta(seconds=10)
"""The first datastrip begins this long after its datatake at most; 5 s before to 3 s after have been seen."""

_NAME = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<sensing>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\d{2}[C-X][A-Z]{2})_\d{8}T\d{6}"
)
_METADATA = re.compile(r"MTD_MSI(L1C|L2A)\.xml", re.IGNORECASE)


def is_product(name: str) -> bool:
    """Whether a folder of this name is a product to be looked at: a SAFE folder, not of Sentinel-1, 3 or 5.

    Some archives leave the ending out; then only the full name of a Sentinel-2 product will do.
    """
    if name.lower().endswith(".safe"):
        return name[:2].upper() not in {"S1", "S3", "S5"}
    return _NAME.fullmatch(name) is not None


def read_safe(folder: Path, measure: Measure) -> Product:
    """The product in a SAFE folder; one that cannot be used is broken, with the reason.

    Parameters
    ----------
    folder : the ``.SAFE`` folder, absolute
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


def unreadable_safe(folder: Path, reason: str) -> Product:
    """The row of a folder that cannot even be listed."""
    return _from_name(folder, Measure(size_bytes=0, stamp=0)).broken(reason)


def _read(folder: Path, measure: Measure, known: Product) -> Product:
    root = read_xml(folder / _metadata_file(measure))
    where = _metadata_file(measure)
    granule = _only_granule(root, where)
    name = text_of(root, "PRODUCT_URI", where).removesuffix(".SAFE")
    baseline = text_of(root, "PROCESSING_BASELINE", where)
    datatake = root.find(".//Datatake")
    tile = re.search(r"_T(\d{2}[C-X][A-Z]{2})_", granule.get("granuleIdentifier", ""))
    if datatake is None or tile is None:
        raise InputError("has no Datatake or no granuleIdentifier", where=where)
    images = chosen_images(granule, measure)
    grids = pixel_grids(folder, measure, images)
    offsets = _offsets(root, baseline, where)
    quantification = float(text_of(root, "BOA_QUANTIFICATION_VALUE", where))
    special = _special_values(root)
    bands = tuple(
        Band(
            name=image.layer,
            path=str(folder / image.file),
            index=1,
            grid=grids[image.res_m],
            dtype="uint16",
            scale=1.0 / quantification,
            offset=offsets[image.layer] / quantification,
            nodata=special.get("NODATA", 0.0),
            saturated=special.get("SATURATED"),
        )
        for image in images
        if image.layer != CLASS_LAYER
    )
    scl = next(image for image in images if image.layer == CLASS_LAYER)
    time, acquisition = _acquired(_utc(text_of(root, "PRODUCT_START_TIME", where)), granule)
    cloud = optional_text(root, "Cloud_Coverage_Assessment")
    return Product(
        # The name inside the metadata is the product's own; that of the folder may have been changed.
        id=name if _NAME.fullmatch(name) else known.id,
        source=SOURCE,
        sensor=SENSOR,
        platform=text_of(datatake, "SPACECRAFT_NAME", where).lower(),
        tile=tile[1],
        datetime=time,
        relative_orbit=int(text_of(datatake, "SENSING_ORBIT_NUMBER", where)),
        orbit_direction=text_of(datatake, "SENSING_ORBIT_DIRECTION", where).lower(),
        baseline=baseline,
        generation_time=_utc(text_of(root, "GENERATION_TIME", where)),
        size_bytes=sum(measure.files[file] for file in {where, *granule_files(measure), *(i.file for i in images)}),
        # GS2A_20230625T234621_041826_N05.09: the last part is the processing, not the acquisition.
        datatake=(re.sub(r"_N\d+\.\d+$", "", datatake.get("datatakeIdentifier", "")) or known.datatake) + acquisition,
        bands=bands,
        class_layers=(
            Band(
                name=CLASS_LAYER,
                path=str(folder / scl.file),
                index=1,
                grid=grids[scl.res_m],
                dtype="uint8",
                scale=1.0,
                offset=0.0,
                nodata=0.0,
            ),
        ),
        class_kind="scl",
        cloud_cover=float(cloud) if cloud else None,
        angles_file=str(folder / angles[0]) if (angles := granule_files(measure)) else "",
    )


def _stem(name: str) -> str:
    return name[: -len(".SAFE")] if name.lower().endswith(".safe") else name


def _from_name(folder: Path, measure: Measure) -> Product:
    """What the folder's name tells, for products whose metadata cannot be read."""
    stem = _stem(folder.name)
    parts = _NAME.search(stem)
    return Product(
        id=re.sub(r"[^A-Za-z0-9._-]", "-", stem) or "unnamed",
        source=SOURCE,
        sensor=SENSOR,
        platform=f"sentinel-{parts['platform'][1:].lower()}" if parts else "",
        tile=parts["tile"] if parts else "",
        datetime=_utc(parts["sensing"]) if parts else UNKNOWN_TIME,
        relative_orbit=int(parts["orbit"]) if parts else None,
        baseline=f"{parts['baseline'][:2]}.{parts['baseline'][2:]}" if parts else None,
        size_bytes=measure.size_bytes,
        datatake=stem,
    )


def _acquired(datatake_start: dt.datetime, granule: ET.Element) -> tuple[dt.datetime, str]:
    """When a product was acquired, and what tells it from others of the same datatake and tile.

    A tile at the seam of two datastrips of a datatake comes as two products with a part of it each, and both state the
    start of the datatake as their own. The start of the datastrip tells them apart; it stands in its identifier,
    in whole seconds, and is the same after reprocessing. In the first datastrip, which begins within some seconds
    before or after the datatake, the start of the datatake is kept: the time that the product's name has.

    Returns
    -------
    The time, UTC, and an ending of the datatake's identity such as ``_S20180721T054512``; empty in the first datastrip.
    """
    found = re.search(r"_S(\d{8}T\d{6})(?=_|$)", granule.get("datastripIdentifier", ""))
    start = _utc(found[1]) if found else datatake_start
    if start - datatake_start <= _FIRST_STRIP:
        return datatake_start, ""
    return start, f"_S{start:%Y%m%dT%H%M%S}"


def _utc(text: str) -> dt.datetime:
    time = dt.datetime.fromisoformat(text)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _metadata_file(measure: Measure) -> str:
    """Name of the product's metadata file, however it is spelt (``MTD_MSIL2a.xml`` exists)."""
    names = [name for name in measure.files if _METADATA.fullmatch(name)]
    if not names:
        raise InputError("holds no MTD_MSIL2A.xml", hint="fetch the product again; formats before 2017 are not read")
    if names[0].upper().startswith("MTD_MSIL1C"):
        raise InputError("level 1C, needs L2A", hint="run MAJA or Sen2Cor on it")
    return names[0]


def _only_granule(root: ET.Element, where: str) -> ET.Element:
    level = optional_text(root, "PROCESSING_LEVEL")
    if not level.upper().startswith("LEVEL-2A"):
        raise InputError(f"level {level.removeprefix('Level-') or 'unknown'}, needs L2A", where=where)
    granules = root.findall(".//Granule")
    if len(granules) != 1:
        raise InputError(f"holds {len(granules)} granules instead of one tile", where=where)
    return granules[0]


def _offsets(root: ET.Element, baseline: str, where: str) -> dict[str, float]:
    """Radiometric offset by band name, in DN; zero before baseline 04.00."""
    found = {
        _BAND_IDS[int(element.get("band_id", ""))]: float(element.text or "") for element in root.iter("BOA_ADD_OFFSET")
    }
    if not found:
        number = baseline_number(baseline)
        if number >= _OFFSET_SINCE and number[0] != _LOCAL_BASELINE:
            raise InputError(f"has no BOA_ADD_OFFSET, which baseline {baseline} needs", where=where)
        return dict.fromkeys(_BAND_IDS, 0.0)
    return found


def _special_values(root: ET.Element) -> dict[str, float]:
    """DN by name, ``NODATA`` and ``SATURATED``."""
    return {
        optional_text(element, "SPECIAL_VALUE_TEXT"): float(optional_text(element, "SPECIAL_VALUE_INDEX"))
        for element in root.iter("Special_Values")
    }
