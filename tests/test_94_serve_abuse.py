"""Requests that cost much more than they look: each is refused, or bounded, before the work is done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.serving import SITE, Served, build_small, served

from s4c_hpc.core.workspace import Workspace

SEARCH = f"/sites/{SITE}/collections/parcels/search"
ITEMS = f"/sites/{SITE}/collections/parcels/items"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return build_small(tmp_path_factory.mktemp("abuse") / "ws").workspace


@pytest.fixture(scope="module")
def service(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("service"), workspace) as one:
        yield one


def search(service: Served, body: Any, name: str = "operator") -> tuple[int, Any]:
    with service.client(name) as client:
        text = body if isinstance(body, str) else json.dumps(body)
        answer = client.post(SEARCH, content=text, headers={"Content-Type": "application/json"})
    return answer.status_code, answer.json()


def ring(*points: tuple[float, float]) -> dict[str, Any]:
    return {"geometry": {"type": "Polygon", "coordinates": [[*points, points[0]]]}}


def test_a_polygon_that_crosses_itself_is_refused_and_not_mended(service: Served) -> None:
    """Mending takes 100 vertices of which all edges cross each other 14 s, and 20 000 would never end."""
    crossing = [(10 + (i if i % 2 else 600 - i) * 1e-5, 48.0 + i % 2) for i in range(600)]
    began = time.monotonic()
    status, problem = search(service, ring(*crossing))
    assert time.monotonic() - began < 5
    assert (status, problem["where"]) == (400, "geometry")
    status, problem = search(service, ring((10, 48), (11, 49), (11, 48), (10, 49)))
    assert status == 400
    assert "Self-intersection" in problem["detail"]
