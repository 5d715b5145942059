"""Parcels as OGC API Features (Part 1, core and GeoJSON): every version of every season is a collection.

``parcels`` is the newest version of the latest season that has any, ``parcels.<season>.<version>`` each of them. Pages
are ordered by NewID and begin behind one, so that an import between two of them neither repeats nor skips a parcel.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from s4c_hpc.serve.access import (
    MAX_ID,
    AtSeason,
    AtSite,
    FormatDep,
    ParcelPath,
    ServiceDep,
    SiteDep,
    names,
    numbers,
    place,
    with_query,
)
from s4c_hpc.serve.book import Asked, Book
from s4c_hpc.serve.conditions import box_of, expression_of, is_in_season, listed
from s4c_hpc.serve.documents import Collection, Collections, Conformance, Feature, FeatureCollection, Link, problems
from s4c_hpc.serve.features import collection_text, feature_texts, parcels_table, polygon_of
from s4c_hpc.serve.formats import GEOJSON, MEDIA_TYPES, Format, table_response
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.roles import Role, visible

router = APIRouter(tags=["parcels"])

NEWEST: Final = "parcels"
_CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_CONFORMS: Final = [f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{name}" for name in ("core", "geojson")]

LimitQuery = Annotated[int | None, Query(ge=1, description="Most of a page; more than page_max are page_max.")]
AfterQuery = Annotated[int | None, Query(ge=-1, le=MAX_ID, description="Begin behind this NewID.")]
_PAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "model": FeatureCollection,
        "description": "A page of parcels.",
        "content": {
            GEOJSON: {"schema": {"$ref": "#/components/schemas/FeatureCollection"}},
            MEDIA_TYPES["csv"]: {"schema": {"type": "string"}},
            MEDIA_TYPES["arrow"]: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    **problems(403, 404, 406),
}


class Search(BaseModel, extra="forbid"):
    """Conditions on parcels; all that are given must hold."""

    geometry: dict[str, Any] | None = Field(None, description="A Polygon or MultiPolygon of GeoJSON that parcels meet.")
    ids: list[Annotated[int, Field(ge=0, le=MAX_ID)]] | None = Field(None, description="NewIDs.")
    ori_ids: list[str] | None = Field(None, description="Ids of the declaration; operators only.")
    filter: str | None = Field(None, description="A condition on properties, see items.")
    deleted: bool = Field(default=False, description="Whether deleted parcels count.")
    limit: int | None = Field(None, ge=1)
    after: int | None = Field(None, ge=-1, le=MAX_ID)


@router.get("/conformance", operation_id="conformance", responses=problems(404))
def conformance(_at: SiteDep) -> Conformance:
    """Classes of OGC API that hold here."""
    return Conformance(conformsTo=_CONFORMS)


@router.get("/collections", operation_id="collections", responses=problems(404))
def collections(request: Request, at: SiteDep) -> Collections:
    """All versions of all seasons."""
    places = _with_parcels(request, at)
    found = [_collection(request, places[0], places[0].look.versions[-1], NEWEST)]
    found += [_collection(request, one, name, None) for one in places for name in reversed(one.look.versions)]
    return Collections(collections=found, links=[Link(rel="self", href=str(request.url))])


@router.get("/collections/{collection}", operation_id="collection", responses=problems(404))
def collection(request: Request, collection: str, at: SiteDep) -> Collection:
    """One version of the parcels."""
    found, version = _found(request, at, collection)
    return _collection(request, found, version, collection)


@router.get("/collections/{collection}/items", operation_id="items", response_model=None, responses=_PAGE)
def items(
    request: Request,
    collection: str,
    at: SiteDep,
    service: ServiceDep,
    form: FormatDep,
    bbox: Annotated[
        str | None, Query(description="West, south, east, north; degrees.", examples=["11.1,48.2,11.3,48.4"])
    ] = None,
    datetime: Annotated[
        str | None, Query(description="A day or interval (2018-05-01/..); parcels are of their whole season.")
    ] = None,
    ids: Annotated[str | None, Query(description="NewIDs, separated by commas.")] = None,
    ori_id: Annotated[
        str | None, Query(description="Ids of the declaration, separated by commas; operators only.")
    ] = None,
    ori_hold: Annotated[str | None, Query(description="Id of the holding; operators only.")] = None,
    ori_crop: Annotated[str | None, Query(description="Declared crop.")] = None,
    tile: Annotated[str | None, Query(description="Tile.")] = None,
    filter_: Annotated[
        str | None,
        Query(
            alias="filter",
            description="A condition on properties: comparisons, LIKE, IN, BETWEEN, IS NULL, AND, OR, NOT.",
            examples=["ori_crop = '115' AND Area_meters > 1e4"],
        ),
    ] = None,
    deleted: Annotated[bool, Query(description="Whether deleted parcels count.")] = False,
    limit: LimitQuery = None,
    after: AfterQuery = None,
) -> Response:
    """Parcels, by box, number, property or condition. In CSV without outlines, in Arrow with WKB."""
    found, version = _found(request, at, collection)
    book = found.look.book(version)
    equal = {"ori_hold": ori_hold, "ori_crop": ori_crop, "tile": tile}
    if ori_id is not None or ori_hold is not None:
        at.require(Role.OPERATOR)
    asked = Asked(
        columns=tuple(visible(book.table.column_names, at.role)),
        ids=None if ids is None else numbers(ids, service.limits),
        ori_ids=None if ori_id is None else listed(names(ori_id, ()), service.limits),
        box=None if bbox is None else box_of(bbox),
        expression=expression_of(filter_, service.limits),
        equal=tuple((name, text) for name, text in equal.items() if text is not None),
        deleted=deleted,
    )
    in_time = datetime is None or is_in_season(datetime, found.season)
    return _page(request, found, book, asked if in_time else None, form, service.limits, limit, after)


@router.post(
    "/collections/{collection}/search", operation_id="search", response_model=None, responses={**_PAGE, **problems(413)}
)
def search(
    request: Request, collection: str, body: Search, at: SiteDep, service: ServiceDep, form: FormatDep
) -> Response:
    """Parcels that meet a polygon, or a longer list of conditions than an address holds; changes nothing."""
    found, version = _found(request, at, collection)
    book = found.look.book(version)
    limits = service.limits
    if body.ori_ids is not None:
        at.require(Role.OPERATOR)
    if body.ids is not None and len(body.ids) > limits.page_max:
        raise Problem(400, f"more than {limits.page_max} parcels", where="ids", hint="ask for fewer at a time")
    asked = Asked(
        columns=tuple(visible(book.table.column_names, at.role)),
        ids=None if body.ids is None else tuple(body.ids),
        ori_ids=None if body.ori_ids is None else listed(tuple(body.ori_ids), limits, limits.page_max),
        polygon=None if body.geometry is None else polygon_of(body.geometry, limits.vertices_max),
        expression=expression_of(body.filter, limits),
        deleted=body.deleted,
    )
    return _page(request, found, book, asked, form, limits, body.limit, body.after)


@router.get(
    "/collections/{collection}/items/{parcel}",
    operation_id="item",
    response_model=None,
    responses={
        200: {
            "model": Feature,
            "description": "A parcel.",
            "content": {GEOJSON: {"schema": {"$ref": "#/components/schemas/Feature"}}},
        },
        **problems(404),
    },
)
def item(request: Request, collection: str, parcel: ParcelPath, at: SiteDep) -> Response:
    """A parcel by its NewID."""
    found, version = _found(request, at, collection)
    book = found.look.book(version)
    row = book.row(parcel)
    if row is None:
        raise Problem(404, "there is no such parcel in this version", where=f"parcels {version}", hint="see /items")
    (text,) = feature_texts(book, np.array([row]), visible(book.table.column_names, at.role))
    links = [Link(rel="self", href=str(request.url), type=GEOJSON)]
    links.append(Link(rel="collection", href=str(request.url).partition("/items")[0]))
    joined = ",".join(link.model_dump_json(exclude_none=True) for link in links)
    return Response(f'{text[:-1]},"links":[{joined}]}}', media_type=GEOJSON)


def _page(
    request: Request,
    found: AtSeason,
    book: Book,
    asked: Asked | None,
    form: Format,
    limits: Limits,
    limit: int | None,
    after: int | None,
) -> Response:
    rows = book.select(asked) if asked is not None else np.empty(0, np.int64)
    n_matched = len(rows)
    if after is not None:
        rows = rows[np.searchsorted(book.ids[rows], after, side="right") :]
    size = min(limit or limits.page_default, limits.page_max)
    page, has_more = rows[:size], len(rows) > size
    following = with_query(request, after=int(book.ids[page[-1]]), limit=size) if has_more else None
    columns = visible(book.table.column_names, found.role)
    if form != "json":
        about = {"site": found.site.name, "season": found.season.id, "version": book.version}
        return table_response(
            parcels_table(book, page, columns, outlines=form == "arrow"), form, about, next_link=following
        )
    links = [Link(rel="self", href=str(request.url), type=GEOJSON)]
    links += [
        Link(rel="alternate", href=with_query(request, format=one), type=MEDIA_TYPES[one]) for one in ("csv", "arrow")
    ]
    if following is not None:
        links.append(Link(rel="next", href=following, type=GEOJSON))
    counted: dict[str, Any] = {
        "numberMatched": n_matched,
        "numberReturned": len(page),
        "links": [link.model_dump(exclude_none=True) for link in links],
    }
    headers = {"Vary": "Accept, Authorization", "Content-Crs": f"<{_CRS84}>"}
    return Response(collection_text(feature_texts(book, page, columns), counted), headers=headers, media_type=GEOJSON)


def _found(request: Request, at: AtSite, collection: str) -> tuple[AtSeason, str]:
    """Season and version of a collection.

    Raises
    ------
    Problem
        404, if there is no such collection.
    """
    if collection == NEWEST:
        found = _with_parcels(request, at)[0]
        return found, found.look.versions[-1]
    kind, _, rest = collection.partition(".")
    season_id, _, version = rest.partition(".")
    season = at.site.season(season_id)
    if kind == NEWEST and season is not None and season_id == season.id:
        found = place(at, season, request)
        if version in found.look.versions:
            return found, version
    raise Problem(404, "there is no such collection", where="collection", hint="see /collections of the site")


def _with_parcels(request: Request, at: AtSite) -> list[AtSeason]:
    """Seasons that have parcels, the latest first: a new one is empty for a while, and hides no other.

    Raises
    ------
    Problem
        404, if none has.
    """
    found, empty = [], None
    for season in reversed(at.site.seasons):
        try:
            found.append(place(at, season, request))
        except Problem as problem:
            empty = empty or problem
    if empty is not None and not found:
        raise empty
    return found


def _collection(request: Request, found: AtSeason, version: str, name: str | None) -> Collection:
    book = found.look.book(version)
    extent = book.extent()
    collection = name or f"{NEWEST}.{found.season.id}.{version}"
    base = f"{request.base_url}v1/sites/{found.site.name}/collections/{collection}"
    schema = book.table.schema
    return Collection(
        id=collection,
        title=f"Parcels of {found.site.name}, season {found.season.id}, {version}",
        description=f"{book.ids.size} parcels",
        itemType="feature",
        crs=[_CRS84],
        extent={
            **({} if extent is None else {"spatial": {"bbox": [list(extent)], "crs": _CRS84}}),
            "temporal": {"interval": [[f"{found.season.start}T00:00:00Z", f"{found.season.end}T23:59:59Z"]]},
        },
        properties={n: str(schema.field(n).type) for n in visible(schema.names, found.role)},
        season=found.season.id,
        version=version,
        links=[
            Link(rel="self", href=base),
            Link(rel="items", href=f"{base}/items", type=GEOJSON),
            Link(rel="items", href=f"{base}/items?format=arrow", type=MEDIA_TYPES["arrow"], title="with WKB"),
        ],
    )
