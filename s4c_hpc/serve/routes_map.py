"""What a map of the parcels needs: how it may be coloured, tiles, and the season of a parcel as picture and words."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final

import numpy as np
import shapely
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from s4c_hpc.config import load_config
from s4c_hpc.core.errors import NoInputsError
from s4c_hpc.report.decision import Decision
from s4c_hpc.report.parcel_picture import parcel_svg, subtitle
from s4c_hpc.report.parcel_season import ParcelSeason, parcel_season
from s4c_hpc.serve.access import AtSeason, ParcelPath, SeasonDep, ServiceDep
from s4c_hpc.serve.book import CRS84, Asked
from s4c_hpc.serve.documents import DecisionWords, Link, MapInfo, MapKind, MapTheme, Timeline, problems
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.roles import Role, visible
from s4c_hpc.serve.routes_features import expression_of
from s4c_hpc.serve.tiles import LAYER, ZOOM_MAX

router = APIRouter(tags=["map"])

MVT: Final = "application/vnd.mapbox-vector-tile"
SVG: Final = "image/svg+xml"

_BINARY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
_TILE_MAX: Final = 2**ZOOM_MAX - 1


@router.get("/map", operation_id="map", responses=problems(404))
def map_(request: Request, at: SeasonDep, service: ServiceDep) -> MapInfo:
    """By what the newest parcels may be coloured: declared crop and results of the last period."""
    sheet = service.sheets.sheet(at.season, at.look)
    extent = sheet.book.extent()
    base = str(request.url).partition("?")[0].removesuffix("/map")
    return MapInfo(
        site=at.site.name,
        season=at.season.id,
        version=sheet.book.version,
        parcels=len(sheet.rows),
        bbox=None if extent is None else list(extent),
        layer=LAYER,
        columns=visible(sheet.book.table.column_names, at.role),
        themes=[
            MapTheme(
                name=theme.name,
                title=theme.title,
                kinds=[
                    MapKind(code=kind.code, name=kind.name, colour=kind.colour, parcels=n)
                    for kind, n in zip(theme.kinds, theme.counts(sheet.rows), strict=True)
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
    responses={200: {"description": "The tile.", "content": {MVT: _BINARY}}, **problems(404)},
)
def tile(
    z: Annotated[int, Path(ge=0, le=ZOOM_MAX, description="Zoom.")],
    x: Annotated[int, Path(ge=0, le=_TILE_MAX, description="Column, from the west.")],
    y: Annotated[int, Path(ge=0, le=_TILE_MAX, description="Row, from the north.")],
    at: SeasonDep,
    service: ServiceDep,
    filter_: Annotated[
        str | None, Query(alias="filter", description="A condition on properties, see items; of parcels to show.")
    ] = None,
) -> Response:
    """Parcels as a vector tile of the usual grid in Web Mercator; where they are tiny, one a cell stands for others."""
    if max(x, y) >> z:
        raise Problem(404, "there is no such tile", where="x, y", hint=f"at zoom {z} they are below {1 << z}")
    sheet = service.sheets.sheet(at.season, at.look)
    columns = tuple(visible(sheet.book.table.column_names, at.role))
    asked = Asked(columns=columns, expression=expression_of(filter_ or None, service.limits))
    return Response(sheet.tile(z, x, y, asked), media_type=MVT)


@router.get("/parcels/{parcel}/timeline", operation_id="timeline", responses=problems(404))
def timeline(request: Request, parcel: ParcelPath, at: SeasonDep) -> Timeline:
    """What was declared and decided of a parcel's season, in words, with what decisions stand on."""
    season = _season(parcel, at)
    base = str(request.url).partition("?")[0].removesuffix("/timeline")
    return Timeline(
        parcel=parcel,
        title=season.title,
        subtitle=subtitle(season),
        declared=[one.sentence() for one in season.periods],
        decisions=[_words(one) for one in season.decisions],
        missing=list(season.missing),
        bbox=_bbox(parcel, at),
        links=[Link(rel="alternate", href=f"{base}/picture", type=SVG), Link(rel="related", href=base)],
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
) -> Response:
    """The time line of a parcel's season, with its legend, as ``s4c report parcel`` draws it."""
    return Response(str(parcel_svg(_season(parcel, at), dark=dark, titled=titled)), media_type=SVG)


def _season(parcel: int, at: AtSeason) -> ParcelSeason:
    """All that is known of a parcel, without what the role may not see.

    Raises
    ------
    Problem
        404
    """
    book, workspace = at.look.book(), at.season.workspace
    # Asked first: the report would take the number for an id of the declaration.
    if book.row(parcel) is None:
        raise Problem(404, "there is no such parcel", where=f"parcels {book.version}", hint="see /versions")
    try:
        found = parcel_season(workspace, load_config(workspace.config).config, str(parcel))
    except NoInputsError as error:  # its words name the parcel as the declaration does
        raise Problem(
            404, "nothing is known of this parcel", where=f"season {at.season.id}", hint="'s4c run' computes series"
        ) from error
    return found if at.role.may(Role.OPERATOR) else replace(found, name=str(parcel))


def _bbox(parcel: int, at: AtSeason) -> list[float] | None:
    book = at.look.book()
    row = book.row(parcel)
    if row is None or np.isnan(book.bounds[row, 0]):
        return None
    found: list[float] = shapely.bounds(book.outlines(np.array([row]), CRS84)[0]).tolist()
    return found


def _words(one: Decision) -> DecisionWords:
    return DecisionWords(
        verdict=one.verdict_words,
        reason=one.reason,
        doubts=one.doubts_beyond_reason,
        seen=[e.words() for e in one.seen],
        thresholds=[t.limit() for t in one.thresholds],
        origin=one.origin,
    )
