"""What a map of the parcels needs: how it may be coloured, tiles, and the season of a parcel as picture and words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Final

import numpy as np
import shapely
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from s4c_hpc.config import load_config
from s4c_hpc.core.errors import ConfigError, NoInputsError
from s4c_hpc.report.decision import Decision
from s4c_hpc.report.parcel_picture import parcel_svg, subtitle
from s4c_hpc.report.parcel_season import ParcelSeason, parcel_season
from s4c_hpc.serve.access import AtSeason, ParcelPath, SeasonDep, Service, ServiceDep
from s4c_hpc.serve.book import CRS84, Asked, Book
from s4c_hpc.serve.conditions import expression_of
from s4c_hpc.serve.documents import DecisionWords, Link, MapInfo, MapKind, MapTheme, ThemeWords, Timeline, problems
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.roles import Role, visible
from s4c_hpc.serve.tiles import LAYER, ZOOM_MAX, Sheet

router = APIRouter(tags=["map"])

MVT: Final = "application/vnd.mapbox-vector-tile"
SVG: Final = "image/svg+xml"

_BINARY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
_TILE_MAX: Final = 2**ZOOM_MAX - 1


FilterQuery = Annotated[
    str | None, Query(alias="filter", description="A condition on properties, see items; of parcels to show.")
]


@router.get("/map", operation_id="map", responses=problems(404))
def map_(request: Request, at: SeasonDep, service: ServiceDep, filter_: FilterQuery = None) -> MapInfo:
    """By what the newest parcels may be coloured: declared crop and results of the last period."""
    sheet = service.sheets.sheet(at.season, at.look)
    asked = _asked(sheet, at, service, filter_)
    rows = sheet.book.select(asked)
    extent = sheet.extent(rows)
    base = str(request.url).partition("?")[0].removesuffix("/map")
    return MapInfo(
        site=at.site.name,
        season=at.season.id,
        version=sheet.book.version,
        parcels=len(rows),
        bbox=None if extent is None else list(extent),
        layer=LAYER,
        columns=list(asked.columns),
        themes=[
            MapTheme(
                name=theme.name,
                title=theme.title,
                kinds=[
                    MapKind(code=kind.code, name=kind.name, colour=kind.colour, parcels=n)
                    for kind, n in zip(theme.kinds, theme.counts(rows), strict=True)
                ],
            )
            for theme in sheet.themes
        ],
        links=[Link(rel="item", href=f"{base}/tiles/{{z}}/{{x}}/{{y}}", type=MVT)],
    )


@router.get(
    "/tiles/{z}/{x}/{y}",
    operation_id="tile",
    response_class=Response,
    responses={
        200: {"description": "The tile.", "content": {MVT: _BINARY}},
        304: {"description": "It is the one that is known."},
        **problems(404),
    },
)
def tile(
    z: Annotated[int, Path(ge=0, le=ZOOM_MAX, description="Zoom.")],
    x: Annotated[int, Path(ge=0, le=_TILE_MAX, description="Column, from the west.")],
    y: Annotated[int, Path(ge=0, le=_TILE_MAX, description="Row, from the north.")],
    request: Request,
    at: SeasonDep,
    service: ServiceDep,
    filter_: FilterQuery = None,
) -> Response:
    """Parcels as a vector tile of the usual grid in Web Mercator; where they are tiny, cells that count them."""
    if max(x, y) >> z:
        raise Problem(404, "there is no such tile", where="x, y", hint=f"at zoom {z} they are below {1 << z}")
    sheet = service.sheets.sheet(at.season, at.look)
    found = sheet.tile(z, x, y, _asked(sheet, at, service, filter_))
    # A browser keeps nothing (no-store, see the door); programs that do may ask whether theirs is still right.
    headers = {"ETag": f'W/"{found.tag}"', "Vary": "Accept-Encoding, Authorization"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, media_type=MVT, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.content, media_type=MVT, headers=headers)


@router.get("/parcels/{parcel}/timeline", operation_id="timeline", responses=problems(404))
def timeline(request: Request, parcel: ParcelPath, at: SeasonDep, service: ServiceDep) -> Timeline:
    """What was declared and decided of a parcel's season, in words, with what decisions stand on."""
    sheet = service.sheets.sheet(at.season, at.look)
    row = _row(parcel, sheet.book)
    base = str(request.url).partition("?")[0].removesuffix("/timeline")
    links = [Link(rel="related", href=base)]
    try:
        season = _season(parcel, at)
        links.append(Link(rel="alternate", href=f"{base}/picture", type=SVG))
    except _NothingKnownError as problem:
        season = _bare(parcel, row, sheet.book, at, f"Nothing was observed of it: {problem.hint}.")
    outline = sheet.book.outlines(np.array([row]), CRS84)[0]
    has_outline = outline is not None and not outline.is_empty
    return Timeline(
        parcel=parcel,
        title=season.title,
        subtitle=subtitle(season),
        themes=[
            ThemeWords(theme=theme.title, kind=kind.name, colour=kind.colour)
            for theme in sheet.themes
            if (kind := theme.kind(row)) is not None
        ],
        declared=[one.sentence() for one in season.periods],
        decisions=[_words(one) for one in season.decisions],
        missing=list(season.missing),
        outline=json.loads(shapely.to_geojson(outline)) if has_outline else None,
        inside=shapely.get_coordinates(shapely.point_on_surface(outline))[0].tolist() if has_outline else None,
        links=links,
    )


@router.get(
    "/parcels/{parcel}/picture",
    operation_id="picture",
    response_class=Response,
    responses={200: {"description": "The picture.", "content": {SVG: {"schema": {"type": "string"}}}}, **problems(404)},
)
def picture(
    parcel: ParcelPath,
    at: SeasonDep,
    dark: Annotated[bool, Query(description="Whether it has dark colours as well, for screens.")] = False,
    titled: Annotated[bool, Query(description="Whether it says which parcel it is.")] = True,
    words: Annotated[bool, Query(description="Whether it says in words what was decided and is missing.")] = True,
) -> Response:
    """The time line of a parcel's season, with its legend, as ``s4c report parcel`` draws it."""
    _row(parcel, at.look.book())
    drawn = parcel_svg(_season(parcel, at), dark=dark, titled=titled, words=words)
    return Response(str(drawn), media_type=SVG)


class _NothingKnownError(Problem):
    """The parcel is there, and no image has seen it."""


def _asked(sheet: Sheet, at: AtSeason, service: Service, condition: str | None) -> Asked:
    columns = tuple(visible(sheet.book.table.column_names, at.role))
    return Asked(columns=columns, expression=expression_of(condition or None, service.limits))


def _row(parcel: int, book: Book) -> int:
    """Row of a parcel.

    Raises
    ------
    Problem
        404
    """
    row = book.row(parcel)
    if row is None:
        raise Problem(404, "there is no such parcel", where=f"parcels {book.version}", hint="see /versions")
    return row


def _season(parcel: int, at: AtSeason) -> ParcelSeason:
    """All that is known of a parcel, without what the role may not see.

    ``parcel`` must be a NewID that there is: the report would take another number for an id of the declaration.

    Raises
    ------
    _NothingKnownError
        404
    Problem
        503, if somebody has broken the configuration meanwhile
    """
    workspace = at.season.workspace
    try:
        config = load_config(workspace.config).config
    except ConfigError as error:
        what, hint = "the configuration of this season cannot be read", "tell the operator: 's4c config check'"
        raise Problem(503, what, where=f"season {at.season.id}", hint=hint) from error
    try:
        found = parcel_season(workspace, config, str(parcel))
    except NoInputsError as error:  # its words name the parcel as the declaration does
        raise _NothingKnownError(
            404,
            "nothing is known of this parcel",
            where=f"season {at.season.id}",
            hint="'s4c run' computes series, 's4c series import' brings some",
        ) from error
    return found if at.role.may(Role.OPERATOR) else replace(found, name=str(parcel))


def _bare(parcel: int, row: int, book: Book, at: AtSeason, why: str) -> ParcelSeason:
    """What the declaration says of a parcel of which nothing is known otherwise."""
    (own,) = book.table.select(["ori_id", "ori_crop", "tile", "Area_meters"]).slice(row, 1).to_pylist()
    return ParcelSeason(
        new_id=parcel,
        name=str(own["ori_id"] if at.role.may(Role.OPERATOR) else parcel),
        crop=own["ori_crop"] or "",
        tile=own["tile"] or "",
        area_m2=own["Area_meters"],
        start=at.season.start,
        end=at.season.end,
        variable="",
        missing=(why,),
    )


def _words(one: Decision) -> DecisionWords:
    return DecisionWords(
        verdict=one.verdict_words,
        reason=one.reason,
        doubts=one.doubts_beyond_reason,
        seen=[e.words() for e in one.seen],
        thresholds=[t.limit() for t in one.thresholds],
        origin=one.origin,
    )
