"""The service itself: whether it answers, what it is, which sites there are."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request

from s4c_hpc import __version__
from s4c_hpc.serve.access import CallerDep, ServiceDep, SiteDep
from s4c_hpc.serve.documents import Health, Link, SeasonInfo, ServiceInfo, SiteInfo, SiteList, problems
from s4c_hpc.serve.roles import Role
from s4c_hpc.serve.sites import Season, Site

router = APIRouter(tags=["service"])
landing = APIRouter(tags=["parcels"])
TITLE = "s4c-hpc"


@router.get("/health", operation_id="health", responses=problems())
async def health() -> Health:
    """Whether the service answers; needs no token."""
    return Health(status="ok")


@router.get("/", operation_id="service_", include_in_schema=False)
@router.get("", operation_id="service", responses=problems())
async def service(request: Request, service: ServiceDep, caller: CallerDep) -> ServiceInfo:
    """What this is, and the limits of requests."""
    base = f"{request.base_url}v1"
    return ServiceInfo(
        title=TITLE,
        version=__version__,
        who=caller.name,
        limits=asdict(service.limits),
        links=[
            Link(rel="self", href=base),
            Link(rel="service-desc", href=f"{base}/openapi.json", type="application/vnd.oai.openapi+json;version=3.1"),
            Link(rel="data", href=f"{base}/sites", title="Sites"),
        ],
    )


@router.get("/sites", operation_id="sites", responses=problems())
async def sites(request: Request, service: ServiceDep, caller: CallerDep) -> SiteList:
    """Sites that the caller may see."""
    seen = [(site, caller.role_at(name)) for name, site in service.sites.items()]
    return SiteList(sites=[_site_info(request, site, role) for site, role in seen if role is not None])


@landing.get("", operation_id="site", responses=problems(404))
async def site(request: Request, at: SiteDep) -> SiteInfo:
    """A site and its seasons: OGC API's landing page."""
    return _site_info(request, at.site, at.role)


def season_info(request: Request, season: Season) -> SeasonInfo:
    """A season, with links."""
    base = f"{request.base_url}v1/sites/{season.site}/seasons/{season.id}"
    return SeasonInfo(
        season=season.id, start=str(season.start), end=str(season.end), links=[Link(rel="self", href=base)]
    )


def _site_info(request: Request, site: Site, role: Role) -> SiteInfo:
    base = f"{request.base_url}v1/sites/{site.name}"
    openapi = f"{request.base_url}v1/openapi.json"
    return SiteInfo(
        title=f"Farmland of {site.name}",
        description="Parcels, their series and what was found out about them",
        site=site.name,
        role=role.value,
        seasons=[season_info(request, one) for one in site.seasons],
        links=[
            Link(rel="self", href=base),
            Link(rel="service-desc", href=openapi, type="application/vnd.oai.openapi+json;version=3.1"),
            Link(rel="conformance", href=f"{base}/conformance"),
            Link(rel="data", href=f"{base}/collections"),
        ],
    )
