"""A product as a row of stac-geoparquet, and back."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import shapely

from s4c_hpc.catalog.footprint import outline
from s4c_hpc.catalog.model import UNKNOWN_TIME, Band, Product
from s4c_hpc.core.grid import Grid

STAC_VERSION = "1.1.0"

_EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("eo/v2.0.0", "grid/v1.1.0", "projection/v2.0.0", "raster/v2.0.0", "sat/v1.1.0", "sentinel-2/v1.0.0")
]
_TIME = pa.timestamp("us", tz="UTC")
_BBOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
_MEDIA_TYPES = {".jp2": "image/jp2"}

_ASSET = pa.struct(
    [
        ("href", pa.string()),
        ("type", pa.string()),
        ("roles", pa.list_(pa.string())),
        ("gsd", pa.float64()),
        ("data_type", pa.string()),
        ("nodata", pa.float64()),
        ("proj:code", pa.string()),
        ("proj:shape", pa.list_(pa.int64())),
        ("proj:transform", pa.list_(pa.float64())),
        ("raster:scale", pa.float64()),
        ("raster:offset", pa.float64()),
        ("s4c:index", pa.int32()),
        ("s4c:saturated", pa.float64()),
    ]
)

FIXED_COLUMNS: tuple[pa.Field, ...] = tuple(
    pa.field(name, kind)
    for name, kind in (
        ("type", pa.string()),
        ("stac_version", pa.string()),
        ("stac_extensions", pa.list_(pa.string())),
        ("id", pa.string()),
        ("geometry", pa.binary()),
        ("bbox", _BBOX),
        ("links", pa.list_(pa.struct([("href", pa.string()), ("rel", pa.string())]))),
        ("collection", pa.string()),
        ("datetime", _TIME),
        ("platform", pa.string()),
        ("constellation", pa.string()),
        ("instruments", pa.list_(pa.string())),
        ("eo:cloud_cover", pa.float64()),
        ("proj:code", pa.string()),
        ("grid:code", pa.string()),
        ("sat:relative_orbit", pa.int32()),
        ("sat:orbit_state", pa.string()),
        ("s2:mgrs_tile", pa.string()),
        ("s2:processing_baseline", pa.string()),
        ("s2:generation_time", _TIME),
        ("s2:product_uri", pa.string()),
        ("s4c:source", pa.string()),
        ("s4c:sensor", pa.string()),
        ("s4c:tile", pa.string()),
        ("s4c:datatake", pa.string()),
        ("s4c:size_bytes", pa.int64()),
        ("s4c:revision", pa.string()),
        ("s4c:class_assets", pa.list_(pa.string())),
        ("s4c:class_kind", pa.string()),
        ("s4c:class_table", pa.string()),
        ("s4c:external_mask_asset", pa.string()),
        ("s4c:angles_file", pa.string()),
        ("s4c:mean_angles", pa.list_(pa.float64())),
        ("s4c:status", pa.string()),
        ("s4c:reason", pa.string()),
    )
)
"""All columns but ``assets``, whose fields depend on the products."""


ASSET_FIELDS: frozenset[str] = frozenset(field.name for field in _ASSET)
"""What ``assets`` has of each layer."""


def asset_type(products: Iterable[Product]) -> pa.StructType:
    """Type of ``assets``: a field for every layer that any product has, as stac-geoparquet asks."""
    names = {band.name for product in products for band in _layers(product)}
    return pa.struct([(name, _ASSET) for name in sorted(names) or ["none"]])  # Parquet has no empty struct


def geo_metadata(products: Iterable[Product]) -> dict[str, str]:
    """Schema metadata of GeoParquet 1.1; without ``crs`` it means longitude and latitude, OGC:CRS84."""
    kinds = sorted({outline(p.bands[0].grid)[0].geom_type for p in products if p.bands})
    covering = {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}
    column = {"encoding": "WKB", "geometry_types": kinds, "covering": {"bbox": covering}}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {"geo": json.dumps(geo, sort_keys=True), "stac-geoparquet": json.dumps({"version": "1.0.0"})}


def row_of(product: Product) -> dict[str, Any]:
    """Values of one row, by column."""
    is_sentinel2 = product.platform.startswith("sentinel-2")
    geometry, bbox = outline(product.bands[0].grid) if product.bands else (None, None)
    is_mgrs = len(product.tile) == 5 and product.tile[:2].isdigit()
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": _EXTENSIONS,
        "id": product.id,
        "geometry": None if geometry is None else shapely.to_wkb(geometry),
        "bbox": None if bbox is None else dict(zip(("xmin", "ymin", "xmax", "ymax"), bbox, strict=True)),
        "links": [],
        "collection": product.source,
        "datetime": None if product.datetime == UNKNOWN_TIME else product.datetime,
        "platform": product.platform or None,
        "constellation": "sentinel-2" if is_sentinel2 else None,
        "instruments": ["msi"] if is_sentinel2 else [],
        "eo:cloud_cover": product.cloud_cover,
        "proj:code": product.bands[0].grid.crs if product.bands else None,
        "grid:code": f"MGRS-{product.tile}" if is_mgrs else None,
        "sat:relative_orbit": product.relative_orbit,
        "sat:orbit_state": product.orbit_direction,
        "s2:mgrs_tile": product.tile if is_mgrs else None,
        "s2:processing_baseline": product.baseline,
        "s2:generation_time": product.generation_time,
        "s2:product_uri": f"{product.id}.SAFE" if product.source == "sentinel2-l2a" else None,
        "s4c:source": product.source,
        "s4c:sensor": product.sensor,
        "s4c:tile": product.tile,
        "s4c:datatake": product.datatake,
        "s4c:size_bytes": product.size_bytes,
        "s4c:revision": product.revision,
        "s4c:class_assets": [layer.name for layer in product.class_layers],
        "s4c:class_kind": product.class_kind,
        "s4c:class_table": None if product.class_table is None else json.dumps(dict(product.class_table)),
        "s4c:external_mask_asset": product.external_mask.name if product.external_mask else None,
        "s4c:angles_file": product.angles_file or None,
        "s4c:mean_angles": None if product.mean_angles is None else list(product.mean_angles),
        "s4c:status": product.status,
        "s4c:reason": product.reason,
        "assets": {band.name: _asset(band, product) for band in _layers(product)},
    }


def product_of(row: Mapping[str, Any]) -> Product:
    """The product of a row: the inverse of ``row_of``."""
    layers = {name: _band(name, asset) for name, asset in row["assets"].items() if asset is not None}
    class_layers = tuple(layers.pop(name) for name in row["s4c:class_assets"])
    external_mask = layers.pop(row["s4c:external_mask_asset"], None)
    table = row["s4c:class_table"]
    return Product(
        id=row["id"],
        source=row["s4c:source"],
        sensor=row["s4c:sensor"],
        platform=row["platform"] or "",
        tile=row["s4c:tile"],
        datetime=_utc(row["datetime"]) or UNKNOWN_TIME,
        relative_orbit=row["sat:relative_orbit"],
        orbit_direction=row["sat:orbit_state"],
        baseline=row["s2:processing_baseline"],
        generation_time=_utc(row["s2:generation_time"]),
        size_bytes=row["s4c:size_bytes"],
        datatake=row["s4c:datatake"],
        bands=tuple(layers[name] for name in sorted(layers)),
        class_layers=class_layers,
        class_kind=row["s4c:class_kind"],
        class_table=None if table is None else {int(value): name for value, name in json.loads(table).items()},
        external_mask=external_mask,
        cloud_cover=row["eo:cloud_cover"],
        angles_file=row["s4c:angles_file"] or "",
        mean_angles=None if row["s4c:mean_angles"] is None else tuple(row["s4c:mean_angles"]),
        revision=row["s4c:revision"],
        status=row["s4c:status"],
        reason=row["s4c:reason"],
    )


def _utc(time: dt.datetime | None) -> dt.datetime | None:
    """The same time with the zone object of the standard library, not the one that Arrow chose."""
    return None if time is None else time.astimezone(dt.UTC)


def _layers(product: Product) -> tuple[Band, ...]:
    return (*product.bands, *_masks(product))


def _masks(product: Product) -> tuple[Band, ...]:
    return (*product.class_layers, product.external_mask) if product.external_mask else product.class_layers


def _asset(band: Band, product: Product) -> dict[str, Any]:
    is_class = any(band is layer for layer in _masks(product))
    suffix = band.path[band.path.rfind(".") :].lower()
    return {
        "href": band.path,
        "type": _MEDIA_TYPES.get(suffix, "image/tiff; application=geotiff"),
        "roles": ["data", "classification"] if is_class else ["data", "reflectance"],
        "gsd": band.grid.res_m,
        "data_type": band.dtype,
        "nodata": band.nodata,
        "proj:code": band.grid.crs,
        "proj:shape": [band.grid.height, band.grid.width],
        "proj:transform": list(band.grid.transform),
        "raster:scale": band.scale,
        "raster:offset": band.offset,
        "s4c:index": band.index,
        "s4c:saturated": band.saturated,
    }


def _band(name: str, asset: Mapping[str, Any]) -> Band:
    res_m, _, ulx, _, _, uly = asset["proj:transform"]
    height, width = asset["proj:shape"]
    return Band(
        name=name,
        path=asset["href"],
        index=asset["s4c:index"],
        grid=Grid(crs=asset["proj:code"], ulx=ulx, uly=uly, res_m=res_m, width=width, height=height),
        dtype=asset["data_type"],
        scale=asset["raster:scale"],
        offset=asset["raster:offset"],
        nodata=asset["nodata"],
        saturated=asset["s4c:saturated"],
    )
