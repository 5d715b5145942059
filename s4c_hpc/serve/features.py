"""Parcels as GeoJSON (RFC 7946): longitude and latitude to 1 cm, outer rings counter-clockwise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import shapely

from s4c_hpc.core.text import finite
from s4c_hpc.serve.book import CRS84, Book, Rows
from s4c_hpc.serve.problems import Problem

_DECIMALS: Final = 7
_GEOMETRY: Final = pa.field(
    "geometry",
    pa.binary(),
    metadata={"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": json.dumps({"crs": CRS84})},
)


def feature_texts(book: Book, rows: Rows, columns: Sequence[str]) -> list[str]:
    """A feature a row, as text."""
    shapes = _degrees(book, rows)
    outlines = shapely.to_geojson(shapes)
    properties = book.table.select(columns).take(pa.array(rows)).to_pylist()
    return [
        f'{{"type":"Feature","id":{one["NewID"]},"geometry":{outline or "null"},"properties":{_text(one)}}}'
        for one, outline in zip(properties, outlines.tolist(), strict=True)
    ]


def collection_text(features: Sequence[str], about: Mapping[str, Any]) -> str:
    """A collection of features with ``about`` beside them."""
    head = json.dumps({"type": "FeatureCollection", **about}, ensure_ascii=False)
    return f'{head[:-1]}, "features":[{",".join(features)}]}}'


def parcels_table(book: Book, rows: Rows, columns: Sequence[str], *, outlines: bool) -> pa.Table:
    """Attributes, and outlines as WKB if asked for."""
    table = book.table.select(columns).take(pa.array(rows))
    if not outlines:
        return table
    return table.append_column(_GEOMETRY, pa.array(shapely.to_wkb(_degrees(book, rows)), pa.binary()))


def polygon_of(geometry: Mapping[str, Any], vertices_max: int) -> bytes:
    """WKB of a Polygon or MultiPolygon of GeoJSON.

    Raises
    ------
    Problem
        400, if it is none.
    """
    where = "geometry"
    try:
        shape = shapely.from_geojson(json.dumps(geometry))
    except (shapely.GEOSException, ValueError, TypeError) as error:
        raise Problem(
            400, "is no GeoJSON geometry", where=where, hint="a Polygon or MultiPolygon in degrees"
        ) from error
    if shape is None or shape.geom_type not in {"Polygon", "MultiPolygon"} or shape.is_empty:
        raise Problem(400, "is no polygon", where=where, hint="a Polygon or MultiPolygon in degrees")
    if shapely.get_num_coordinates(shape) > vertices_max:
        raise Problem(400, f"has more than {vertices_max} vertices", where=where, hint="simplify it")
    shape = shapely.force_2d(shape)
    west, south, east, north = shapely.bounds(shape).tolist()
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise Problem(400, "its coordinates are no longitudes and latitudes", where=where, hint="CRS84, in degrees")
    # Not mended: of edges that all cross each other, mending a few hundred takes minutes.
    if not shapely.is_valid(shape):
        raise Problem(
            400,
            f"is no valid polygon: {shapely.is_valid_reason(shape)}",
            where=where,
            hint="mend it first, e.g. ST_MakeValid",
        )
    wkb: bytes = shapely.to_wkb(shape)
    return wkb


def _degrees(book: Book, rows: Rows) -> Any:
    shapes = book.outlines(rows, CRS84)
    rounded = shapely.transform(shapes, lambda xy: np.round(xy, _DECIMALS))
    return shapely.orient_polygons(rounded)


def _text(properties: Mapping[str, Any]) -> str:
    return json.dumps(finite(properties), ensure_ascii=False, default=str)
