"""The application: routers, each in a file of its own, behind one door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp

from s4c_hpc import __version__
from s4c_hpc.serve import (
    page,
    problems,
    routes_admin,
    routes_features,
    routes_map,
    routes_results,
    routes_series,
    routes_service,
)
from s4c_hpc.serve.access import Service, declared_only
from s4c_hpc.serve.audit import AuditLog
from s4c_hpc.serve.documents import ProblemDetail
from s4c_hpc.serve.guard import Door, Guard
from s4c_hpc.serve.limits import Limits
from s4c_hpc.serve.roles import Caller
from s4c_hpc.serve.sites import Site
from s4c_hpc.serve.tokens import SessionToken, TokenFile

VERSION: Final = "/v1"
OPENAPI: Final = f"{VERSION}/openapi.json"
OPEN_PATHS: Final = (f"{VERSION}/health", OPENAPI, f"{VERSION}{page.PATH}/")
"""Answered without a token; they say nothing of sites. Static files of a page belong here, with a final ``/``."""

_GZIP_BYTES: Final = 2_048
_DESCRIPTION: Final = """\
Farmland monitoring, read-only: parcels, their series, and what was found out about them.

Send `Authorization: Bearer <token>`. Tables come as JSON (a list a column), CSV or Arrow stream, by `Accept` or
`?format=`. Pages are linked (`rel="next"` in `links`, and in the header `Link`). Limits are in `/v1`; whoever wants all
parcels takes the marker files, which have none (`/files` of a season).
"""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """From where the service may be called."""

    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """Names by which it may be called."""
    cors_origins: tuple[str, ...] = ()
    """Pages of other origins whose scripts may read answers."""
    is_tls: bool = False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an application is made of."""

    sites: Mapping[str, Site]
    audit: AuditLog
    tokens: TokenFile | None = None
    anonymous: Caller | None = None
    """Who somebody without a token is."""
    session: SessionToken | None = None
    limits: Limits = field(default_factory=Limits)
    exposure: Exposure = field(default_factory=Exposure)


def create_app(settings: Settings) -> ASGIApp:
    """The application, behind the door."""
    app = build_api()
    app.state.service = Service(
        sites=settings.sites, limits=settings.limits, audit=settings.audit, tokens=settings.tokens
    )
    inner = GZipMiddleware(app, minimum_size=_GZIP_BYTES, compresslevel=4)
    door = Door(
        limits=settings.limits,
        who=_who(settings),
        anonymous=settings.anonymous,
        audit=settings.audit,
        hosts=settings.exposure.hosts,
        open_paths=OPEN_PATHS,
        is_tls=settings.exposure.is_tls,
    )
    guarded: ASGIApp = Guard(inner, door)
    if settings.exposure.cors_origins:
        # Outside of the door: a browser asks whether it may ask before it shows its token.
        guarded = CORSMiddleware(
            guarded,
            allow_origins=list(settings.exposure.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Link", "S4C-Missing", "Retry-After"],
        )
    return guarded


def build_api() -> FastAPI:
    """All routes, without door and sites: what the OpenAPI document is made from."""
    app = FastAPI(
        title=routes_service.TITLE,
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=OPENAPI,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    site, season = f"{VERSION}/sites/{{site}}", f"{VERSION}/sites/{{site}}/seasons/{{season}}"
    strict = [Depends(declared_only)]
    app.include_router(routes_service.router, prefix=VERSION, dependencies=strict)
    app.include_router(routes_service.landing, prefix=site, dependencies=strict)
    app.include_router(routes_features.router, prefix=site, dependencies=strict)
    app.include_router(routes_admin.router, prefix=site, dependencies=strict)
    app.include_router(routes_series.router, prefix=season, dependencies=strict)
    app.include_router(routes_map.router, prefix=season, dependencies=strict)
    # Last: its first step is a kind of result, whatever it is called.
    app.include_router(routes_results.router, prefix=season, dependencies=strict)
    app.include_router(page.router, prefix=VERSION)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.state.operations = _operations(app.openapi())
    return app


def _who(settings: Settings) -> Callable[[str], Caller | None]:
    holders = [one for one in (settings.session, settings.tokens) if one is not None]

    def caller(token: str) -> Caller | None:
        return next((found for one in holders if (found := one.caller(token)) is not None), None)

    return caller


def _operations(document: Mapping[str, Any]) -> dict[str, tuple[str, frozenset[str]]]:
    """Path and names of parameters of the query, by operation."""
    found = {
        one["operationId"]: (path, frozenset(p["name"] for p in one.get("parameters", ()) if p["in"] == "query"))
        for path, operations in document["paths"].items()
        for one in operations.values()
    }
    return {**found, "service_": found["service"]}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with errors as they are here, and the token."""
    if app.openapi_schema:
        return app.openapi_schema
    document: dict[str, Any] = FastAPI.openapi(app)
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["ProblemDetail"] = ProblemDetail.model_json_schema()
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            if path not in OPEN_PATHS:
                operation["security"] = [{"token": []}]
    return document
