"""Complete, small Sentinel-2 L2A products for tests: the real metadata, moved, with generated JPEG2000 bands.

The real XML of ``tests/data/safe-sentinel2`` is changed as text, only where the product is moved to another tile,
size, date or generation time, so that everything else stays as ESA's processor wrote it. The product of baseline
02.12 is published without granule metadata; its ``MTD_TL.xml`` is made here from that of baseline 02.14, which has
the same format (PSD 14), by writing the other baseline into it.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS

DATA = Path(__file__).resolve().parents[1] / "data" / "safe-sentinel2"

Baseline = Literal["02.12", "02.14", "04.00", "05.09"]

REAL: Mapping[str, str] = {
    "02.12": "S2A_MSIL2A_20180721T053721_N0212_R062_T43MDV_20201011T181419.SAFE",
    "02.14": "S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500.SAFE",
    "04.00": "S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126.SAFE",
    "05.09": "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157.SAFE",
}
"""Folder of the real metadata by processing baseline."""

REAL_L1C = "S2A_MSIL1C_20210908T042701_N0301_R133_T46RER_20210908T070248.SAFE"

NATIVE_M: Mapping[str, int] = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20),
    **dict.fromkeys(("B01", "B09"), 60),
}
"""Native pixel size of each L2A band, in metres."""

DN_OFFSET: Mapping[str, int] = {"02.12": 0, "02.14": 0, "04.00": 1000, "05.09": 1000}
"""What is added to reflectance * 10000 in the files of each baseline."""

_STAMP = "%Y%m%dT%H%M%S"
_ISO = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True)
class _Names:
    """The parts of a product's name that also stand inside its files."""

    tile: str
    baseline: str
    sensing: dt.datetime
    generation: dt.datetime
    platform: str
    orbit: int
    absolute_orbit: str
    datastrip: dt.datetime

    @classmethod
    def of(cls, safe_name: str) -> _Names:
        platform, _, sensing, baseline, orbit, tile, generation = safe_name.removesuffix(".SAFE").split("_")
        text = _real_text(safe_name)
        return cls(
            tile=tile[1:],
            baseline=f"{baseline[1:3]}.{baseline[3:]}",
            sensing=_time(sensing),
            generation=_time(generation),
            platform=platform,
            orbit=int(orbit[1:]),
            absolute_orbit=re.findall(rf"G{platform}_\d{{8}}T\d{{6}}_(\d{{6}})_", text)[0],
            datastrip=_time(re.findall(r"_S(\d{8}T\d{6})_N", text)[0]),
        )

    @property
    def safe(self) -> str:
        return (
            f"{self.platform}_MSIL2A_{self.sensing:{_STAMP}}_N{self.baseline.replace('.', '')}"
            f"_R{self.orbit:03d}_T{self.tile}_{self.generation:{_STAMP}}.SAFE"
        )


@dataclass(frozen=True)
class _Place:
    """Where a product lies and how large it is."""

    epsg: int
    ulx: float
    uly: float
    size_m: int


def build_safe(
    folder: Path,
    *,
    baseline: Baseline = "05.09",
    sensing: dt.datetime | None = None,
    generation: dt.datetime | None = None,
    datastrip: dt.datetime | None = None,
    tile: str | None = None,
    datatake_of: Baseline | None = None,
    epsg: int = 32601,
    ulx: float = 300_000.0,
    uly: float = 7_400_040.0,
    size_m: int = 2400,
    dn: Mapping[str, NDArray[np.uint16]] | None = None,
    scl: NDArray[np.uint8] | None = None,
    seed: int = 0,
) -> Path:
    """Write a complete product below ``folder`` and return its ``.SAFE`` folder.

    Parameters
    ----------
    folder : where the SAFE folder is made; created if need be
    baseline : which of the real products it is made from
    sensing, generation : UTC, whole seconds; those of the real product if not given
    datastrip : start of the datastrip, UTC, whole seconds; as far from ``sensing`` as in the real product if not given
    tile : MGRS without T; that of the real product if not given. Say ``epsg``, ``ulx``, ``uly`` as well
    datatake_of : take platform and orbits of that real product, so that two baselines with the same ``sensing``
        are processings of one datatake
    epsg, ulx, uly : zone and upper left corner (m) of the image
    size_m : edge of the square image; a multiple of 60
    dn : (rows, columns) uint16 at native resolution by band name, e.g. ``B04``; what is not given is generated:
        reflectance 0.02 ... 0.5, a smooth ramp plus noise, no nodata
    scl : (rows, columns) uint8 at 20 m; generated as vegetation and bare soil (4, 5) if not given
    seed : of what is generated
    """
    if size_m % 60:
        raise ValueError(f"size_m {size_m} is not a multiple of 60")
    old = _Names.of(REAL[baseline])
    like = _Names.of(REAL[datatake_of]) if datatake_of else old
    new = _Names(
        tile=tile or old.tile,
        baseline=baseline,
        sensing=sensing or old.sensing,
        generation=generation or (old.generation if sensing is None else sensing + dt.timedelta(hours=3)),
        platform=like.platform,
        orbit=like.orbit,
        absolute_orbit=like.absolute_orbit,
        datastrip=datastrip or old.datastrip + ((sensing or old.sensing) - old.sensing),
    )
    place = _Place(epsg, ulx, uly, size_m)
    safe = folder / new.safe
    _write_metadata(safe, old, new, place)
    rng = np.random.default_rng(seed)
    for name, res_m in NATIVE_M.items():
        n = size_m // res_m
        values = (dn or {}).get(name)
        values = _generated(rng, n, DN_OFFSET[baseline]) if values is None else np.asarray(values, np.uint16)
        _write_jp2(image_path(safe, name, res_m), values, place, res_m)
    n = size_m // 20
    classes = rng.choice(np.array([4, 5], np.uint8), (n, n)) if scl is None else np.asarray(scl, np.uint8)
    _write_jp2(image_path(safe, "SCL", 20), classes, place, 20)
    return safe


def build_skeleton(folder: Path, baseline: Baseline = "05.09") -> Path:
    """The real product as it is, full-sized grid and all; each listed image is a placeholder of a few bytes.

    Those of baselines 02.12 and 04.00 come from an archive that keeps the images as ``.tif``.
    """
    real = _Names.of(REAL[baseline])
    safe = folder / real.safe
    shutil.copytree(DATA / real.safe, safe, ignore=shutil.ignore_patterns("expected_output.json"))
    if baseline == "02.12":
        tile_xml = safe / next(listed_images(safe)).split("/IMG_DATA")[0] / "MTD_TL.xml"
        tile_xml.parent.mkdir(parents=True)
        tile_xml.write_text(_tile_xml_0212(), encoding="utf-8")
    extension = "tif" if 'imageFormat="GeoTIFF"' in product_xml(safe).read_text(encoding="utf-8") else "jp2"
    for image in listed_images(safe):
        path = safe / f"{image}.{extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"placeholder")
    return safe


def product_xml(safe: Path) -> Path:
    """The product's metadata file, however it is spelt."""
    return next(p for p in safe.iterdir() if p.name.lower() == "mtd_msil2a.xml")


def tile_xml(safe: Path) -> Path:
    """The granule's metadata file."""
    return next(safe.glob("GRANULE/*/MTD_TL.xml"))


def image_path(safe: Path, name: str, res_m: int | None = None) -> Path:
    """File of a band or of ``SCL``; at its native resolution if none is given."""
    res_m = res_m or (20 if name == "SCL" else NATIVE_M[name])
    return next(safe / f"{image}.jp2" for image in listed_images(safe) if image.endswith(f"_{name}_{res_m}m"))


def listed_images(safe: Path) -> Iterator[str]:
    """Entries of the product's list of images, without extension."""
    yield from re.findall(r"<IMAGE_FILE>([^<]+)</IMAGE_FILE>", product_xml(safe).read_text(encoding="utf-8"))


def truncate(path: Path, keep: float = 0.5) -> None:
    """Cut a file off after a share of its bytes, as an interrupted transfer does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def drop_band(safe: Path, name: str) -> None:
    """Delete the file of a band."""
    image_path(safe, name).unlink()


def corrupt_band(safe: Path, name: str) -> None:
    """Overwrite a band's file with zeros from its first tile-part on: it cannot be opened any more.

    The marker of a tile-part is SOT, FF90 (ISO/IEC 15444-1 A.4.2). Damage further on may well be decoded to wrong
    pixels in silence; a file that was cut off (``truncate``) opens and fails when it is read.
    """
    path = image_path(safe, name)
    content = path.read_bytes()
    start = content.index(b"\xff\x90")
    path.write_bytes(content[:start] + b"\x00" * (len(content) - start))


def _write_metadata(safe: Path, old: _Names, new: _Names, place: _Place) -> None:
    source = DATA / old.safe
    text = _renamed(product_xml(source).read_text(encoding="utf-8"), old, new)
    text = re.sub(r"(<EXT_POS_LIST>).*?(</EXT_POS_LIST>)", rf"\g<1>{_footprint(place)}\g<2>", text)
    safe.mkdir(parents=True)
    (safe / product_xml(source).name).write_text(text, encoding="utf-8")
    for image in listed_images(safe):
        (safe / image).parent.mkdir(parents=True, exist_ok=True)
    raw = _tile_xml_0212() if new.baseline == "02.12" else tile_xml(source).read_text(encoding="utf-8")
    granule = next(safe.glob("GRANULE/*"))
    text = _placed(_renamed(raw, old, new), place)
    (granule / "MTD_TL.xml").write_text(text, encoding="utf-8")


def _time(stamp: str) -> dt.datetime:
    return dt.datetime.strptime(stamp, _STAMP).replace(tzinfo=dt.UTC)


def _real_text(safe_name: str) -> str:
    return product_xml(DATA / safe_name).read_text(encoding="utf-8")


def _renamed(text: str, old: _Names, new: _Names) -> str:
    """Other tile, datatake and times: everywhere in the text, in names and as ISO times."""
    text = text.replace(f"{old.platform}_", f"{new.platform}_").replace(
        f"Sentinel-{old.platform[1:]}", f"Sentinel-{new.platform[1:]}"
    )
    text = re.sub(rf"(?<=_)A?{old.absolute_orbit}(?=_)", lambda m: m[0][:-6] + new.absolute_orbit, text)
    text = text.replace(f"_R{old.orbit:03d}_", f"_R{new.orbit:03d}_")
    text = re.sub(r"(<SENSING_ORBIT_NUMBER>)\d+", rf"\g<1>{new.orbit}", text)
    text = re.sub(rf"\bT{old.tile}|(?<=_)T{old.tile}", f"T{new.tile}", text)
    text = text.replace(f"_S{old.datastrip:{_STAMP}}", f"_S{new.datastrip:{_STAMP}}")
    text = text.replace(f"{old.sensing:{_STAMP}}", f"{new.sensing:{_STAMP}}")
    text = text.replace(f"{old.sensing:{_ISO}}", f"{new.sensing:{_ISO}}")
    text = text.replace(f"{old.generation:{_STAMP}}", f"{new.generation:{_STAMP}}")
    return text.replace(f"{old.generation:{_ISO}}", f"{new.generation:{_ISO}}")


def _placed(text: str, place: _Place) -> str:
    """Other zone, corner and number of pixels in a granule's geocoding."""
    zone = f"{place.epsg % 100:02d}{'N' if place.epsg // 100 == 326 else 'S'}"
    text = re.sub(r"(<HORIZONTAL_CS_NAME>)[^<]*", rf"\g<1>WGS84 / UTM zone {zone}", text)
    text = re.sub(r"(<HORIZONTAL_CS_CODE>)[^<]*", rf"\g<1>EPSG:{place.epsg}", text)
    text = re.sub(r"(<ULX>)[^<]*", rf"\g<1>{place.ulx:.0f}", text)
    text = re.sub(r"(<ULY>)[^<]*", rf"\g<1>{place.uly:.0f}", text)
    for res_m in (10, 20, 60):
        n = place.size_m // res_m
        pattern = rf'(<Size resolution="{res_m}">\s*<NROWS>)\d+(</NROWS>\s*<NCOLS>)\d+'
        text = re.sub(pattern, rf"\g<1>{n}\g<2>{n}", text)
    return text


def _tile_xml_0212() -> str:
    """Granule metadata for the product of baseline 02.12, in the format of 02.14."""
    source, target = _Names.of(REAL["02.14"]), _Names.of(REAL["02.12"])
    text = tile_xml(DATA / source.safe).read_text(encoding="utf-8").replace("_N02.14", "_N02.12")
    text = _renamed(text, source, target)
    return _placed(text, _Place(32743, 399_960.0, 10_000_000.0, 109_800))


def _footprint(place: _Place) -> str:
    """Corners as ESA lists them: latitude and longitude in turn, closed."""
    to_degrees = pyproj.Transformer.from_crs(place.epsg, 4326, always_xy=True)
    west, north, east, south = place.ulx, place.uly, place.ulx + place.size_m, place.uly - place.size_m
    xs, ys = [west, west, east, east, west], [north, south, south, north, north]
    longitudes, latitudes = to_degrees.transform(xs, ys)
    return "".join(f"{lat:.9f} {lon:.9f} " for lon, lat in zip(longitudes, latitudes, strict=True))


def _generated(rng: np.random.Generator, n: int, dn_offset: int) -> NDArray[np.uint16]:
    ramp = np.linspace(200.0, 4500.0, n)
    surface = (ramp[:, None] + ramp[None, ::-1]) / 2 + rng.uniform(-100.0, 100.0, (n, n))
    return (np.clip(surface, 200.0, 5000.0) + dn_offset).astype(np.uint16)


def _write_jp2(path: Path, values: NDArray[Any], place: _Place, res_m: int) -> None:
    n = place.size_m // res_m
    if values.shape != (n, n):
        raise ValueError(f"{path.name}: {values.shape} pixels given, {(n, n)} needed")
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        width=n,
        height=n,
        count=1,
        dtype=values.dtype.name,
        crs=CRS.from_epsg(place.epsg),
        transform=rasterio.Affine(res_m, 0.0, place.ulx, 0.0, -res_m, place.uly),
        QUALITY="100",
        REVERSIBLE="YES",
    ) as raster:
        raster.write(values, 1)
