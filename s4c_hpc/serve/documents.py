"""Answers in JSON as types: what the OpenAPI document says of them."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel

from s4c_hpc.serve.formats import MEDIA_TYPES
from s4c_hpc.serve.problems import MEDIA_TYPE


class Link(BaseModel):
    """A link, as OGC API has them."""

    rel: str
    href: str
    type: str = "application/json"
    title: str | None = None


class ProblemDetail(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    """What is wrong."""
    where: str | None = None
    hint: str | None = None
    """What to do."""


class Health(BaseModel):
    """The service answers."""

    status: Literal["ok"]


class ServiceInfo(BaseModel):
    """What this is."""

    title: str
    version: str
    who: str
    limits: dict[str, int | float]
    links: list[Link]


class SeasonInfo(BaseModel):
    """A season of a site."""

    season: str
    start: str
    end: str
    links: list[Link]


class SiteInfo(BaseModel):
    """A site, and OGC API's landing page of it."""

    title: str
    description: str
    site: str
    role: str
    seasons: list[SeasonInfo]
    links: list[Link]


class SiteList(BaseModel):
    """Sites that the caller may see."""

    sites: list[SiteInfo]


class Conformance(BaseModel):
    """Classes of OGC API that hold here."""

    conformsTo: list[str]  # noqa: N815 - OGC's name


class Collection(BaseModel):
    """Parcels of a version."""

    id: str
    title: str
    description: str
    itemType: Literal["feature"]  # noqa: N815 - OGC's name
    crs: list[str]
    extent: dict[str, Any]
    properties: dict[str, str]
    """Name and type; what the caller may see."""
    season: str
    version: str
    links: list[Link]


class Collections(BaseModel):
    """All versions of all seasons."""

    collections: list[Collection]
    links: list[Link]


class Feature(BaseModel):
    """A parcel."""

    type: Literal["Feature"]
    id: int
    geometry: dict[str, Any] | None
    properties: dict[str, Any]
    links: list[Link] = []


class FeatureCollection(BaseModel):
    """A page of parcels."""

    type: Literal["FeatureCollection"]
    features: list[Feature]
    numberMatched: int  # noqa: N815 - OGC's name
    numberReturned: int  # noqa: N815 - OGC's name
    links: list[Link]


class Table(BaseModel):
    """A table: a list of values a column."""

    rows: int
    columns: dict[str, dict[str, str]]
    """Type, unit, meaning ... of each column."""
    values: dict[str, list[Any]]
    links: list[Link]


class Missing(BaseModel):
    """A parcel without values."""

    parcel: int
    reason: str


class SeriesTable(Table):
    """Series of parcels."""

    site: str
    season: str
    filled: dict[str, str] | None
    """How gaps were filled."""
    missing: list[Missing]


class SeasonDetails(SeasonInfo):
    """What there is of a season."""

    site: str
    versions: list[str]
    periods: dict[str, list[str]]
    """Periods of each kind of result."""
    series: list[dict[str, Any]]
    """Sensors and grids of each tile."""


class ParcelDetails(BaseModel):
    """All that was found out about a parcel."""

    site: str
    season: str
    version: str
    parcel: Feature
    results: dict[str, list[dict[str, Any]]]
    """Rows of each kind of result, of its last period."""
    links: list[Link]


class MapKind(BaseModel):
    """One colour of a theme."""

    code: int
    """What tiles say."""
    name: str
    colour: str
    parcels: int


class MapTheme(BaseModel):
    """A way to colour parcels: ``name`` is that of the tiles' property."""

    name: str
    title: str
    kinds: list[MapKind]


class MapInfo(BaseModel):
    """What a map of the parcels needs to know before its first tile."""

    site: str
    season: str
    version: str
    parcels: int
    """That meet the condition; all without one. Kinds are counted of them."""
    bbox: list[float] | None
    """Of these parcels: west, south, east, north; degrees."""
    layer: str
    columns: list[str]
    """By which a condition may ask."""
    themes: list[MapTheme]
    links: list[Link]


class DecisionWords(BaseModel):
    """A decision in words, and what it stands on."""

    verdict: str
    reason: str
    doubts: str
    seen: list[str]
    thresholds: list[str]
    origin: str
    """The marker set that says so."""


class ThemeWords(BaseModel):
    """What a theme of the map says of a parcel."""

    theme: str
    kind: str
    colour: str


class Timeline(BaseModel):
    """A parcel's season in words; its picture is the link ``alternate``, which there is if anything was observed."""

    parcel: int
    title: str
    subtitle: str
    themes: list[ThemeWords]
    """Those that know something of it."""
    declared: list[str]
    decisions: list[DecisionWords]
    missing: list[str]
    """What is not known, and why."""
    outline: dict[str, Any] | None
    """GeoJSON."""
    inside: list[float] | None
    """A point within the outline, by which the field is found in other seasons; degrees."""
    links: list[Link]


class Lines(BaseModel):
    """Lines of the audit log, newest first."""

    site: str
    lines: list[dict[str, Any]]


class TokenInfo(BaseModel):
    """Somebody who may see a site."""

    name: str
    role: str
    state: str
    created: str
    expires: str | None


class Administration(BaseModel):
    """Limits in force, and who has a token."""

    site: str
    limits: dict[str, int | float]
    tokens: list[TokenInfo]


_PROBLEM: Final = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetail"}}}}
_WORDS: Final = {
    400: "A parameter is wrong.",
    401: "There is no valid token.",
    403: "The role does not suffice.",
    404: "There is no such thing, or not for this token.",
    406: "There is no such form of the answer.",
    413: "The body is too large.",
    414: "The address is too long.",
    429: "Too many requests.",
    500: "A bug.",
    503: "Try again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers that are errors: those that every route may give, and these."""
    return {
        status: {"description": _WORDS[status], **_PROBLEM}
        for status in sorted({400, 401, 414, 429, 500, 503, *statuses})
    }


def table_answers(model: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers of a route that gives a table in any form."""
    others: dict[str, Any] = {
        MEDIA_TYPES["csv"]: {"schema": {"type": "string"}},
        MEDIA_TYPES["arrow"]: {"schema": {"type": "string", "format": "binary"}},
    }
    return {200: {"model": model, "description": "The table.", "content": others}, **problems(404, 406, *statuses)}
