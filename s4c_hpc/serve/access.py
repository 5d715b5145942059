"""What routes are given: the service, who asks, and the site and season that the caller may see.

What only looks at the request is ``async``, for a step into the pool of threads costs more than it; what may read files
is not, so that nobody waits for somebody else's disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from s4c_hpc.serve.audit import AuditLog
from s4c_hpc.serve.formats import Format, wanted_format
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.roles import Caller, Role
from s4c_hpc.serve.sites import Look, Season, Site
from s4c_hpc.serve.tiles import Sheets
from s4c_hpc.serve.tokens import TokenFile

MAX_ID: Final = 2**31 - 1
_NUMBER: Final = re.compile(r"\d{1,10}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Service:
    """What all requests share."""

    sites: Mapping[str, Site]
    limits: Limits
    audit: AuditLog
    tokens: TokenFile | None
    sheets: Sheets = field(default_factory=Sheets)


@dataclass(frozen=True, slots=True)
class AtSite:
    """A site, and what the caller may do there."""

    site: Site
    role: Role

    def require(self, role: Role) -> None:
        """Refuse those of a lower role.

        Raises
        ------
        Problem
            403
        """
        if not self.role.may(role):
            raise Problem(403, f"role {role} is needed", where=f"site {self.site.name}", hint="ask an administrator")


@dataclass(frozen=True, slots=True)
class AtSeason:
    """A season of such a site, as it is now."""

    site: Site
    role: Role
    season: Season
    look: Look


async def service_of(request: Request) -> Service:
    """What all requests share."""
    found: Service = request.app.state.service
    return found


async def caller_of(request: Request) -> Caller:
    """Who asks; the door has seen to it that somebody does."""
    found: Caller = request.state.caller
    return found


async def declared_only(request: Request) -> None:
    """Refuse parameters that a route does not have, so that nobody takes an answer for one to another question.

    Raises
    ------
    Problem
        400
    """
    path, known = request.app.state.operations[request.scope["route"].operation_id]
    # For the audit log.
    request.state.route, request.state.declared = path, known
    if unknown := set(request.query_params) - known:
        count = f"{len(unknown)} parameters are" if len(unknown) > 1 else "a parameter is"
        raise Problem(
            400, f"{count} not known here", where="query", hint=f"known are {', '.join(sorted(known)) or '-'}"
        )


ServiceDep = Annotated[Service, Depends(service_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]

SitePath = Annotated[str, Path(description="Name of the site.", max_length=100)]
SeasonPath = Annotated[
    str, Path(description="First and last day (2018-03-01_2018-10-31), the year it ends, or latest.", max_length=30)
]
ParcelPath = Annotated[int, Path(description="NewID of the parcel.", ge=0, le=MAX_ID)]


async def at_site(site: SitePath, request: Request, service: ServiceDep, caller: CallerDep) -> AtSite:
    """The site, if the caller has a role there; one that there is not and one of others are told alike.

    Raises
    ------
    Problem
        404
    """
    role = caller.role_at(site)
    found = service.sites.get(site)
    if role is None or found is None:
        raise Problem(404, "there is no such site for this token", where="site", hint="see /v1/sites")
    request.state.site = site
    return AtSite(found, role)


SiteDep = Annotated[AtSite, Depends(at_site)]


async def at_season(season: SeasonPath, at: SiteDep, request: Request) -> AtSeason:
    """The season of the site.

    Raises
    ------
    Problem
        404
    """
    found = at.site.season(season)
    if found is None:
        ids = ", ".join(one.id for one in at.site.seasons)
        raise Problem(404, "there is no such season", where="season", hint=f"seasons are {ids}")
    request.state.forget = found.forget
    look = found.fresh()
    if look is None:
        look = await run_in_threadpool(found.look)
    return AtSeason(at.site, at.role, found, look)


def place(at: AtSite, season: Season, request: Request) -> AtSeason:
    """A season of a site, as it is now."""
    request.state.forget = season.forget
    return AtSeason(at.site, at.role, season, season.look())


SeasonDep = Annotated[AtSeason, Depends(at_season)]


async def format_of(
    request: Request,
    form: Annotated[
        Format | None, Query(alias="format", description="Form of the answer; counts before the header Accept.")
    ] = None,
) -> Format:
    """The form that the caller wants."""
    return wanted_format(request.headers.get("accept", ""), form)


FormatDep = Annotated[Format, Depends(format_of)]

IdsQuery = Annotated[str, Query(description="NewIDs, separated by commas.", min_length=1, examples=["1,2,3"])]


def numbers(text: str, limits: Limits) -> tuple[int, ...]:
    """NewIDs of a list, each once, in their order.

    Raises
    ------
    Problem
        400, if they are none, or too many.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(_NUMBER.fullmatch(part) and int(part) <= MAX_ID for part in parts):
        raise Problem(400, "not NewIDs, which are whole numbers", where="ids", hint="separate them by commas")
    found = tuple(dict.fromkeys(map(int, parts)))
    if len(found) > limits.parcels_max:
        raise Problem(
            400,
            f"more than {limits.parcels_max} parcels",
            where="ids",
            hint="ask for fewer at a time, or take the marker files: they have no limit",
        )
    return found


def names(text: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    """A list of names or patterns, separated by commas."""
    return default if text is None else tuple(part.strip() for part in text.split(",") if part.strip()) or default


def with_query(request: Request, **changed: object) -> str:
    """The address of this request with other values of some parameters."""
    return str(request.url.include_query_params(**changed))
