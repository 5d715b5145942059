"""What was found out about parcels, every season, version and period of it; and where the files are for more."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Final

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from s4c_hpc.core.errors import NoInputsError, S4cError
from s4c_hpc.core.text import finite
from s4c_hpc.markers import list_markers, query
from s4c_hpc.serve.access import (
    AtSeason,
    FormatDep,
    IdsQuery,
    ParcelPath,
    SeasonDep,
    ServiceDep,
    names,
    numbers,
    with_query,
)
from s4c_hpc.serve.documents import Link, ParcelDetails, SeasonDetails, Table, problems, table_answers
from s4c_hpc.serve.features import feature_texts, parcels_table
from s4c_hpc.serve.formats import table_response
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.results import KINDS, leads_out, periods_of, read_rows
from s4c_hpc.serve.roles import visible
from s4c_hpc.serve.routes_features import AfterQuery, LimitQuery
from s4c_hpc.serve.routes_service import season_info

router = APIRouter(tags=["results"])

PEER_DISTANCE_M: Final = 2_000.0
PEERS: Final = 10
"""Defaults of JRC's code (its documents say 1000 m); its documents' bounds, 5000 m and 100, hold here."""


class Kind(StrEnum):
    """Kinds of results, the keys of ``KINDS``."""

    EVENTS = "events"
    MOWING = "mowing"
    CLASSES = "classes"
    PRACTICES = "practices"
    EVIDENCE = "evidence"


PeriodQuery = Annotated[
    str | None, Query(description="Period of the files; the last by default, * for all.", max_length=30)
]


@router.get("", operation_id="season", responses=problems(404))
def season(request: Request, at: SeasonDep) -> SeasonDetails:
    """What there is of a season: versions of the parcels, periods of results, series."""
    info = season_info(request, at.season)
    base = info.links[0].href
    more = [Link(rel="related", href=f"{base}/{name}") for name in (*KINDS, "files")]
    try:
        tiles = at.look.series.tiles
    except NoInputsError:
        tiles = []
    return SeasonDetails(
        **info.model_dump(exclude={"links"}),
        links=[*info.links, *more],
        site=at.site.name,
        versions=list(at.look.versions),
        periods={kind: periods_of(at.season, one[0]) for kind, one in KINDS.items()},
        series=[row for tile in tiles for row in _series_of(at, tile)],
    )


@router.get(
    "/parcels/{parcel}",
    operation_id="parcel",
    response_model=None,
    responses={200: {"model": ParcelDetails, "description": "A parcel."}, **problems(404)},
)
def parcel(request: Request, parcel: ParcelPath, at: SeasonDep) -> dict[str, Any]:
    """All that was found out about one parcel, of the newest version and the last period of each result."""
    book = at.look.book()
    row = book.row(parcel)
    if row is None:
        raise Problem(404, "there is no such parcel", where=f"parcels {book.version}", hint="see /versions")
    (text,) = feature_texts(book, np.array([row]), visible(book.table.column_names, at.role))
    results = {}
    for kind in KINDS:
        try:
            results[kind] = [finite(one) for one in read_rows(at.season, kind, ids=[parcel]).table.to_pylist()]
        except NoInputsError:
            continue
    base = str(request.url).partition("?")[0]
    return {
        "site": at.site.name,
        "season": at.season.id,
        "version": book.version,
        "parcel": json.loads(text),
        "results": results,
        "links": [{"rel": "related", "href": f"{base}/{name}"} for name in ("series", "peers", "versions")],
    }


@router.get("/parcels/{parcel}/versions", operation_id="versions", response_model=None, responses=table_answers(Table))
def versions(parcel: ParcelPath, at: SeasonDep, form: FormatDep) -> Response:
    """What each version of the parcels says of one, oldest first; Arrow brings outlines."""
    parts = []
    for name in at.look.versions:
        book = at.look.book(name)
        row = book.row(parcel)
        if row is None:
            continue
        table = parcels_table(
            book, np.array([row]), visible(book.table.column_names, at.role), outlines=form == "arrow"
        )
        parts.append(table.add_column(0, "version", pa.array([name])))
    if not parts:
        raise Problem(404, "there is no such parcel in any version", where="parcel", hint="see /items")
    about = {"site": at.site.name, "season": at.season.id}
    return table_response(pa.concat_tables(parts, promote_options="permissive"), form, about)


@router.get("/parcels/{parcel}/peers", operation_id="peers", response_model=None, responses=table_answers(Table))
def peers(
    parcel: ParcelPath,
    at: SeasonDep,
    form: FormatDep,
    distance_m: Annotated[
        float, Query(gt=0, le=5_000, description="Farthest, in metres between outlines.")
    ] = PEER_DISTANCE_M,
    limit: Annotated[int, Query(ge=1, le=100, description="Most parcels.")] = PEERS,
) -> Response:
    """Parcels of the same declared crop near one, the nearest first."""
    book = at.look.book()
    if book.row(parcel) is None:
        raise Problem(404, "there is no such parcel", where=f"parcels {book.version}", hint="see /versions")
    rows, metres = book.peers(parcel, distance_m, limit)
    table = parcels_table(book, rows, visible(book.table.column_names, at.role), outlines=form == "arrow")
    field = pa.field("distance_m", pa.float32(), metadata={"unit": "m", "long_name": "Between outlines"})
    table = table.add_column(1, field, pa.array(metres.astype(np.float32)))
    return table_response(table, form, {"site": at.site.name, "season": at.season.id, "version": book.version})


@router.get("/files", operation_id="files", response_model=None, responses=table_answers(Table))
def files(
    request: Request,
    at: SeasonDep,
    service: ServiceDep,
    form: FormatDep,
    limit: LimitQuery = None,
    skip: Annotated[int, Query(ge=0, le=10**9, description="Files that are left out before.")] = 0,
) -> Response:
    """Marker files of the season, for those who want all parcels: take these, they have no limits."""
    size = min(limit or service.limits.page_default, service.limits.page_max)
    every = list_markers(at.season.workspace)
    found = [one for one in every if one.site == at.site.name and not leads_out(at.season, one.path)]
    page = found[skip : skip + size]
    columns = {
        "file": pa.array([at.season.workspace.relative(one.path) for one in page], pa.string()),
        "set": pa.array([one.set for one in page], pa.string()),
        "period": pa.array([one.period for one in page], pa.string()),
        "tile": pa.array([one.tile for one in page], pa.string()),
        "bytes": pa.array([one.n_bytes for one in page], pa.int64()),
        "n_columns": pa.array([one.n_columns for one in page], pa.int32()),
        "n_parcels": pa.array([one.n_parcels for one in page], pa.int32()),
        "n_missing": pa.array([one.n_missing for one in page], pa.int32()),
        "parcels_version": pa.array([one.parcels_version for one in page], pa.string()),
        "is_whole": pa.array([not one.problem for one in page], pa.bool_()),
    }
    following = with_query(request, skip=skip + size) if len(found) > skip + size else None
    about = {"site": at.site.name, "season": at.season.id}
    return table_response(pa.table(columns), form, about, next_link=following)


@router.get("/markers/{marker_set}", operation_id="markers", response_model=None, responses=table_answers(Table))
def markers(
    marker_set: Annotated[str, Path(max_length=100)],
    ids: IdsQuery,
    at: SeasonDep,
    service: ServiceDep,
    form: FormatDep,
    columns: Annotated[
        str | None, Query(description="Columns or patterns, separated by commas.", examples=["*ndvi_mean*"])
    ] = None,
    period: Annotated[str | None, Query(description="Periods or patterns, separated by commas.")] = None,
) -> Response:
    """Marker values of some parcels, wide, as in the files: a row a parcel."""
    there = [one for one in list_markers(at.season.workspace, set_name=marker_set) if one.site == at.site.name]
    if not there or any(leads_out(at.season, one.path) for one in there):
        raise Problem(404, "there is no such marker set", where="marker_set", hint="see /files")
    notes: list[str] = []
    table = query(
        at.season.workspace,
        ids=numbers(ids, service.limits),
        set_name=marker_set,
        columns=None if columns is None else names(columns, ("*",)),
        periods=None if period is None else names(period, ("*",)),
        tell=notes.append,
    )
    _check_size(table, service.limits, "ids, columns, period")
    about = {"site": at.site.name, "season": at.season.id, "set": marker_set, "notes": notes}
    return table_response(table, form, about)


@router.get("/{kind}", operation_id="results", response_model=None, responses=table_answers(Table))
def results(
    request: Request,
    kind: Kind,
    at: SeasonDep,
    service: ServiceDep,
    form: FormatDep,
    ids: Annotated[str | None, Query(description="NewIDs, separated by commas; else page after page.")] = None,
    period: PeriodQuery = None,
    limit: LimitQuery = None,
    after: AfterQuery = None,
) -> Response:
    """Mowings (events), what is said of mowing, crop types, practices, or evidence; a page is of so many parcels."""
    size = min(limit or service.limits.page_default, service.limits.page_max)
    listed = None if ids is None else numbers(ids, service.limits)
    rows = read_rows(at.season, kind.value, period=period, ids=listed, after=after, limit=size)
    _check_size(rows.table, service.limits, "limit, period")
    following = None if rows.after is None else with_query(request, after=rows.after, limit=size)
    about = {"site": at.site.name, "season": at.season.id, "what": KINDS[kind.value][1]}
    return table_response(rows.table, form, about, next_link=following)


def _check_size(table: pa.Table, limits: Limits, where: str) -> None:
    """Refuse answers of more values than the limit.

    Raises
    ------
    Problem
        400
    """
    if table.num_rows * table.num_columns > limits.values_max:
        raise Problem(
            400,
            f"the answer has more than {limits.values_max} values",
            where=where,
            hint="ask for fewer at a time, or take the marker files: they have no limit",
        )


def _series_of(at: AtSeason, tile: str) -> list[dict[str, Any]]:
    try:
        known = at.look.series.set_of(tile)
    except S4cError:
        return []
    rows = []
    for sensor, grid in dict.fromkeys((a.sensor, a.grid) for a in known.acquisitions):
        mine = [a for a in known.acquisitions if (a.sensor, a.grid) == (sensor, grid)]
        first, last = str(mine[0].day), str(mine[-1].day)
        rows.append({"tile": tile, "sensor": sensor, "grid": grid, "n": len(mine), "first": first, "last": last})
    return rows
