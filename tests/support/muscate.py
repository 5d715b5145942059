"""Complete, small Sentinel-2 L2A products as MAJA writes them in the format of MUSCATE.

No product of that format may be bundled, so the metadata are written here after the published description of the
format (see ``s4c_hpc.catalog.maja``): elements, names and units are those of Theia's ``*_MTD_ALL.xml``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

GROUPS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "R1": (10, ("B2", "B3", "B4", "B8")),
    "R2": (20, ("B5", "B6", "B7", "B8A", "B11", "B12")),
}
"""Pixel size (m) and bands of each group; the order is that of the bits of SAT."""

NODATA = -10_000


def product_name(
    time: dt.datetime, tile: str = "32UPU", unit: str = "A", version: str = "1.0", completeness: str = "C"
) -> str:
    """``SENTINEL2A_20180710-104540-458_L2A_T32UPU_C_V1-0``."""
    stamp = f"{time:%Y%m%d-%H%M%S}-{time.microsecond // 1000:03d}"
    return f"SENTINEL2{unit}_{stamp}_L2A_T{tile}_{completeness}_V{version.replace('.', '-')}"


def build_muscate(
    folder: Path,
    *,
    time: dt.datetime = dt.datetime(2018, 7, 10, 10, 45, 40, 458_000, tzinfo=dt.UTC),
    produced: dt.datetime | None = None,
    tile: str = "32UPU",
    unit: str = "A",
    version: str = "1.0",
    completeness: str = "C",
    absolute_orbit: int = 15_929,
    cloud_percent: int = 12,
    epsg: int = 32632,
    ulx: float = 600_000.0,
    uly: float = 5_400_000.0,
    size_m: int = 1200,
    dn: Mapping[str, NDArray[np.int16]] | None = None,
    masks: Mapping[str, NDArray[np.uint8]] | None = None,
    blocks: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a product below ``folder`` and return its own folder.

    Parameters
    ----------
    time : of acquisition, UTC, whole milliseconds
    produced : when it was processed; a day later if not given
    tile : MGRS without T
    unit : A, B ... of the satellite
    version : of the product, as in ``V1-0``
    epsg, ulx, uly : zone and upper left corner (m) of the image
    size_m : edge of the square image; a multiple of 20
    dn : (rows, columns) int16 by band name, ``B2``; what is not given is generated, reflectance 0.02 ... 0.5
    masks : (rows, columns) uint8 by ``MG2_R1``, ``EDG_R2``, ``SAT_R1`` ...; zero where not given
    blocks : edge of the files' tiles in pixels, a multiple of 16; in strips if not given
    seed : of what is generated
    """
    name = product_name(time, tile, unit, version, completeness)
    product = folder / name
    (product / "MASKS").mkdir(parents=True)
    (product / "DATA").mkdir()
    produced = produced or time + dt.timedelta(days=1)
    xml = _metadata(name, time, produced, version, unit, absolute_orbit, cloud_percent, epsg, ulx, uly, size_m)
    (product / f"{name}_MTD_ALL.xml").write_text(xml, encoding="utf-8")
    rng = np.random.default_rng(seed)
    for group, (res_m, bands) in GROUPS.items():
        n = size_m // res_m
        corner = rasterio.Affine(res_m, 0.0, ulx, 0.0, -res_m, uly)
        for band in bands:
            values = (dn or {}).get(band)
            values = rng.integers(200, 5000, (n, n)).astype(np.int16) if values is None else values
            _write(product / f"{name}_FRE_{band}.tif", values, epsg, corner, blocks)
        for mask in ("MG2", "EDG", "SAT", "CLM"):
            flags = (masks or {}).get(f"{mask}_{group}", np.zeros((n, n), np.uint8))
            _write(product / "MASKS" / f"{name}_{mask}_{group}.tif", flags, epsg, corner, blocks)
    return product


def metadata_file(product: Path) -> Path:
    """The ``*_MTD_ALL.xml`` of a product."""
    return next(product.glob("*_MTD_ALL.xml"))


def layer_file(product: Path, layer: str) -> Path:
    """The file of ``FRE_B4`` or ``MG2_R1``."""
    return next(product.rglob(f"*_{layer}.tif"))


def write_fmask(path: Path, values: NDArray[np.uint8], *, epsg: int, ulx: float, uly: float, res_m: float) -> Path:
    """A mask as FMask 4 writes it: a GeoTIFF of one byte layer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, values, epsg, rasterio.Affine(res_m, 0.0, ulx, 0.0, -res_m, uly), None)
    return path


def _write(path: Path, values: NDArray[Any], epsg: int, corner: rasterio.Affine, blocks: int | None) -> None:
    height, width = values.shape
    tiling = {"tiled": True, "blockxsize": blocks, "blockysize": blocks} if blocks else {}
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": values.dtype.name}
    with rasterio.open(
        path, "w", **profile, crs=f"EPSG:{epsg}", transform=corner, compress="deflate", **tiling
    ) as raster:
        raster.write(values, 1)


def _metadata(
    name: str,
    time: dt.datetime,
    produced: dt.datetime,
    version: str,
    unit: str,
    absolute_orbit: int,
    cloud_percent: int,
    epsg: int,
    ulx: float,
    uly: float,
    size_m: int,
) -> str:
    acquired = f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
    files = [
        f'<IMAGE_FILE band_id="{b}">{name}_FRE_{b}.tif</IMAGE_FILE>' for _, bands in GROUPS.values() for b in bands
    ]
    positions = "".join(
        f"""
      <Group_Geopositioning group_id="{group}">
        <ULX>{ulx:.0f}</ULX>
        <ULY>{uly:.0f}</ULY>
        <XDIM>{res_m}</XDIM>
        <YDIM>-{res_m}</YDIM>
        <NROWS>{size_m // res_m}</NROWS>
        <NCOLS>{size_m // res_m}</NCOLS>
      </Group_Geopositioning>"""
        for group, (res_m, _) in GROUPS.items()
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Muscate_Metadata_Document xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <Metadata_Identification>
    <METADATA_FORMAT version="1.13">METADATA_MUSCATE</METADATA_FORMAT>
    <METADATA_PROFILE>DISTRIBUTED</METADATA_PROFILE>
    <METADATA_INFORMATION>EXPERT</METADATA_INFORMATION>
  </Metadata_Identification>
  <Dataset_Identification>
    <IDENTIFIER>{name.rsplit("_V", 1)[0]}</IDENTIFIER>
    <AUTHORITY>THEIA</AUTHORITY>
    <PRODUCER>MUSCATE</PRODUCER>
    <PROJECT>SENTINEL2</PROJECT>
    <GEOGRAPHICAL_ZONE type="Tile">{name.split("_")[3]}</GEOGRAPHICAL_ZONE>
  </Dataset_Identification>
  <Product_Characteristics>
    <PRODUCT_ID>{name}</PRODUCT_ID>
    <ACQUISITION_DATE>{acquired}</ACQUISITION_DATE>
    <PRODUCTION_DATE>{produced:%Y-%m-%dT%H:%M:%S}.000Z</PRODUCTION_DATE>
    <PRODUCT_VERSION>{version}</PRODUCT_VERSION>
    <PRODUCT_LEVEL>L2A</PRODUCT_LEVEL>
    <PLATFORM>SENTINEL2{unit}</PLATFORM>
    <UTC_Acquisition_Range>
      <MEAN>{acquired}</MEAN>
      <DATE_PRECISION unit="s">0.001</DATE_PRECISION>
    </UTC_Acquisition_Range>
    <ORBIT_NUMBER type="Orbit">{absolute_orbit}</ORBIT_NUMBER>
  </Product_Characteristics>
  <Product_Organisation>
    <Muscate_Product>
      <Image_List>
        <Image>
          <Image_Properties>
            <NATURE>Flat_Reflectance</NATURE>
            <FORMAT>image/tiff</FORMAT>
            <ENCODING>int16</ENCODING>
            <ENDIANNESS>LittleEndian</ENDIANNESS>
          </Image_Properties>
          <Image_File_List>
            {"".join(files)}
          </Image_File_List>
        </Image>
      </Image_List>
    </Muscate_Product>
  </Product_Organisation>
  <Geoposition_Informations>
    <Coordinate_Reference_System>
      <GEO_TABLES>EPSG</GEO_TABLES>
      <Horizontal_Coordinate_System>
        <HORIZONTAL_CS_TYPE>PROJECTED</HORIZONTAL_CS_TYPE>
        <HORIZONTAL_CS_NAME>WGS 84 / UTM zone {epsg % 100}{"N" if epsg // 100 == 326 else "S"}</HORIZONTAL_CS_NAME>
        <HORIZONTAL_CS_CODE>{epsg}</HORIZONTAL_CS_CODE>
      </Horizontal_Coordinate_System>
    </Coordinate_Reference_System>
    <Raster_CS>
      <RASTER_CS_TYPE>CELL</RASTER_CS_TYPE>
      <PIXEL_ORIGIN>0</PIXEL_ORIGIN>
    </Raster_CS>
    <Geopositioning>
      <Group_Geopositioning_List>{positions}
      </Group_Geopositioning_List>
    </Geopositioning>
  </Geoposition_Informations>
  <Geometric_Informations>
    <Mean_Value_List>
      <Sun_Angles>
        <ZENITH_ANGLE unit="deg">28.1</ZENITH_ANGLE>
        <AZIMUTH_ANGLE unit="deg">150.3</AZIMUTH_ANGLE>
      </Sun_Angles>
    </Mean_Value_List>
  </Geometric_Informations>
  <Radiometric_Informations>
    <Quantification_Values_List>
      <REFLECTANCE_QUANTIFICATION_VALUE>10000</REFLECTANCE_QUANTIFICATION_VALUE>
      <AEROSOL_OPTICAL_THICKNESS_QUANTIFICATION_VALUE>200</AEROSOL_OPTICAL_THICKNESS_QUANTIFICATION_VALUE>
      <WATER_VAPOR_CONTENT_QUANTIFICATION_VALUE>20</WATER_VAPOR_CONTENT_QUANTIFICATION_VALUE>
    </Quantification_Values_List>
    <Special_Values_List>
      <SPECIAL_VALUE name="nodata">{NODATA}</SPECIAL_VALUE>
      <SPECIAL_VALUE name="water_vapor_content_nodata">0</SPECIAL_VALUE>
      <SPECIAL_VALUE name="aerosol_optical_thickness_nodata">0</SPECIAL_VALUE>
    </Special_Values_List>
  </Radiometric_Informations>
  <Quality_Informations>
    <Current_Product>
      <Product_Quality_List level="Geo">
        <Product_Quality>
          <ACQUISITION_DATE>{acquired}</ACQUISITION_DATE>
          <Global_Index_List>
            <QUALITY_INDEX name="CloudPercent">{cloud_percent}</QUALITY_INDEX>
            <QUALITY_INDEX name="SnowPercent">0</QUALITY_INDEX>
          </Global_Index_List>
        </Product_Quality>
      </Product_Quality_List>
    </Current_Product>
  </Quality_Informations>
</Muscate_Metadata_Document>
"""
