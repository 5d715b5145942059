"""Series of parcels: variables, statistics, dates, sensor and grid; as observed or with gaps filled."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from s4c_hpc.serve.access import AtSeason, FormatDep, IdsQuery, ParcelPath, SeasonDep, ServiceDep, names, numbers
from s4c_hpc.serve.documents import SeriesTable, table_answers
from s4c_hpc.serve.formats import Format, table_response
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.series_table import Wanted, series_table

router = APIRouter(tags=["series"])


async def wanted(
    variables: Annotated[
        str | None,
        Query(description="Variables or patterns, separated by commas; all by default.", examples=["ndvi,b0*"]),
    ] = None,
    statistics: Annotated[
        str | None, Query(description="Statistics or patterns, separated by commas; mean by default.")
    ] = None,
    sensor: Annotated[str | None, Query(description="Only this sensor: s1, s2.")] = None,
    grid: Annotated[str | None, Query(description="Only this grid: 10m, or the name of an import.")] = None,
    from_: Annotated[dt.date | None, Query(alias="from", description="First day (UTC).")] = None,
    to: Annotated[dt.date | None, Query(description="Last day (UTC).")] = None,
    fill: Annotated[
        str | None, Query(pattern="^linear$", description="Gaps filled as well, in columns beside the observed ones.")
    ] = None,
    max_gap_days: Annotated[float, Query(ge=0, le=366, description="Longest gap that is filled.")] = 30.0,
    every_days: Annotated[
        int | None, Query(ge=1, le=366, description="With fill: values every so many days, not at acquisitions.")
    ] = None,
) -> Wanted:
    """Which values of a series.

    Raises
    ------
    Problem
        400, if they contradict each other.
    """
    if every_days is not None and fill is None:
        raise Problem(400, "every_days needs fill", where="every_days", hint="give fill=linear")
    if from_ is not None and to is not None and to < from_:
        raise Problem(400, "ends before it begins", where="from, to")
    return Wanted(
        variables=names(variables, ("*",)),
        statistics=names(statistics, ("mean",)),
        sensor=sensor,
        grid=grid,
        first=from_,
        last=to,
        max_gap_days=None if fill is None else max_gap_days,
        every_days=every_days,
    )


WantedDep = Annotated[Wanted, Depends(wanted)]


@router.get(
    "/parcels/{parcel}/series", operation_id="parcel_series", response_model=None, responses=table_answers(SeriesTable)
)
def parcel_series(
    parcel: ParcelPath, at: SeasonDep, service: ServiceDep, asked: WantedDep, form: FormatDep
) -> Response:
    """One parcel's season, a row an acquisition."""
    return _answer(at, (parcel,), asked, form, service.limits)


@router.get("/series", operation_id="series", response_model=None, responses=table_answers(SeriesTable))
def series(ids: IdsQuery, at: SeasonDep, service: ServiceDep, asked: WantedDep, form: FormatDep) -> Response:
    """Series of several parcels; those without one are named in ``missing`` (JSON, Arrow) and counted in a header."""
    return _answer(at, numbers(ids, service.limits), asked, form, service.limits)


def _answer(at: AtSeason, ids: tuple[int, ...], asked: Wanted, form: Format, limits: Limits) -> Response:
    found = series_table(at.look, ids, asked, limits.values_max)
    filled = None
    if asked.max_gap_days is not None:
        filled = {"gap_fill": "linear", "max_gap_days": f"{asked.max_gap_days:g}"}
    about = {
        "site": at.site.name,
        "season": at.season.id,
        "filled": filled,
        "missing": [{"parcel": new_id, "reason": reason} for new_id, reason in found.missing],
    }
    response = table_response(found.table, form, about)
    response.headers["S4C-Missing"] = str(len(found.missing))
    return response
