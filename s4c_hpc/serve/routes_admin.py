"""For administrators of a site: what was asked of it, limits, who has a token."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from s4c_hpc.serve.access import ServiceDep, SiteDep
from s4c_hpc.serve.documents import Administration, Lines, TokenInfo, problems
from s4c_hpc.serve.roles import Caller, Role

router = APIRouter(tags=["administration"])


@router.get("/audit", operation_id="audit", responses=problems(403, 404))
def audit(at: SiteDep, service: ServiceDep, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Lines:
    """What was asked of this site: the last lines of the audit log, newest first."""
    at.require(Role.ADMIN)
    return Lines(site=at.site.name, lines=service.audit.tail(limit, at.site.name))


@router.get("/administration", operation_id="administration", responses=problems(403, 404))
def administration(at: SiteDep, service: ServiceDep) -> Administration:
    """Limits in force, and whose tokens are for this site."""
    at.require(Role.ADMIN)
    now = dt.datetime.now(dt.UTC)
    entries = [] if service.tokens is None else service.tokens.entries()
    tokens = []
    for entry in entries:
        role = Caller(entry.name, entry.roles, entry.id).role_at(at.site.name)
        if role is not None:
            tokens.append(
                TokenInfo(
                    name=entry.name,
                    role=role.value,
                    state=entry.state(now),
                    created=entry.created,
                    expires=entry.expires,
                )
            )
    return Administration(site=at.site.name, limits=asdict(service.limits), tokens=tokens)
