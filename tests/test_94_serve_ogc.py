"""OGC API Features, Part 1 (OGC 17-069r4), requirement by requirement: Core and GeoJSON; then other people's clients.

The suite of OGC CITE is a Java program; these are its questions as they stand in Annex A of the standard.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.serving import N_NEW, NEW, SITE, Served, build_small, served

from s4c_hpc.core.workspace import Workspace

HERE = f"/sites/{SITE}"
ITEMS = f"{HERE}/collections/parcels/items"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return build_small(tmp_path_factory.mktemp("ogc") / "ws").workspace


@pytest.fixture(scope="module")
def service(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("service"), workspace) as one:
        yield one


def items(service: Served, **params: Any) -> Any:
    answer = service.get(ITEMS, "viewer", **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("bbox", "n"),
    [
        ("-180,-90,180,90", N_NEW),
        ("-20,30,40,70", N_NEW),
        ("170,-80,60,80", N_NEW),  # from the east across the antimeridian
        ("177.0,65.0,-177.0,70.0", 0),
        ("-10,40,5,60", 0),
        ("100,-45,120,-40", 0),
        ("-180,-90,-100,180,90,9000", N_NEW),
        ("11,48,11,48", 0),
    ],
)
def test_boxes_of_any_size(service: Served, bbox: str, n: int) -> None:
    """/req/core/fc-bbox-definition and fc-bbox-response."""
    assert items(service, bbox=bbox)["numberMatched"] == n


def test_a_polygon_around_the_world_holds_all(service: Served) -> None:
    ring = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]
    with service.client("viewer") as client:
        body = {"geometry": {"type": "Polygon", "coordinates": [ring]}}
        found = client.post(f"{HERE}/collections/parcels/search", json=body).json()
    assert found["numberMatched"] == N_NEW


@pytest.mark.parametrize(
    "bbox", ["1,2,3", "10,50,11,40", "nan,0,1,1", "-200,0,200,10", "1e400,0,1,1", "1_0,4,11,9", "١,٢,٣,٤", ""]
)
def test_what_is_no_box(service: Served, bbox: str) -> None:
    """/req/core/query-param-invalid."""
    answer = service.get(ITEMS, "viewer", bbox=bbox)
    assert (answer.status_code, answer.json()["where"]) == (400, "bbox")


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("2019-03-01", N_NEW),
        ("2019-02-28", 0),
        ("2019-10-31T23:59:59Z", N_NEW),
        ("2019-10-31T23:59:60Z", N_NEW),  # a leap second
        ("2019-10-31T23:30:00-05:00", 0),  # which is November in UTC
        ("2019-11-01T00:30:00+05:00", N_NEW),
        ("2018-01-01/2019-03-01", N_NEW),
        ("../2019-02-28T23:59:59.999Z", 0),
        ("2019-10-31/..", N_NEW),
        ("2019-11-01/", 0),
    ],
)
def test_times_of_any_zone(service: Served, text: str, n: int) -> None:
    """/req/core/fc-time-definition and fc-time-response; days of a season are of UTC."""
    assert items(service, datetime=text)["numberMatched"] == n


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "2019",
        "20190501",
        "2019-W20",
        "2019-05-02/2019-05-01",
        "2019-05-01T10:00:00",
        "2019-13-01",
        "0001-01-01T00:00:00+23:00",
    ],
)
def test_what_is_no_time(service: Served, text: str) -> None:
    answer = service.get(ITEMS, "viewer", datetime=text)
    assert (answer.status_code, answer.json()["where"]) == (400, "datetime")


def test_what_there_is_of_core(service: Served) -> None:
    """/req/core/root-success, conformance-success, fc-md-success, sfc-md-success and the links that they want."""
    landing = service.get(HERE, "viewer").json()
    assert {"service-desc", "conformance", "data"} <= {one["rel"] for one in landing["links"]}
    classes = service.get(f"{HERE}/conformance", "viewer").json()["conformsTo"]
    assert [one.rpartition("/")[2] for one in classes] == ["core", "geojson"], (
        "OpenAPI is 3.1 here: class oas30 is not claimed"
    )
    every = service.get(f"{HERE}/collections", "viewer").json()
    assert "self" in {one["rel"] for one in every["links"]}
    for one in every["collections"]:
        alone = service.get(f"{HERE}/collections/{one['id']}", "viewer").json()
        assert alone == one, "/req/core/sfc-md-success: the same in both places"
        assert all(link.get("rel") and link.get("type") for link in one["links"]), "/rec/core/link-header"
        assert "items" in {link["rel"] for link in one["links"]}
        west, south, east, north = one["extent"]["spatial"]["bbox"][0]
        assert west < east
        assert south < north
    assert service.get(f"{HERE}/collections/nothing", "viewer").status_code == 404


def test_a_page_of_features(service: Served) -> None:
    """/req/core/fc-response, fc-links, fc-numberMatched, fc-numberReturned; /req/geojson/content."""
    answer = service.get(ITEMS, "viewer", limit=7)
    assert answer.headers["content-type"] == "application/geo+json"
    page = answer.json()
    assert (page["type"], page["numberMatched"], page["numberReturned"]) == ("FeatureCollection", N_NEW, 7)
    links = {one["rel"]: one for one in page["links"]}
    assert set(links) == {"self", "alternate", "next"}
    assert all(one["type"] for one in page["links"])
    with service.client("viewer") as client:
        kinds = [
            (client.get(one["href"]).headers["content-type"].partition(";")[0], one["type"]) for one in page["links"]
        ]
    assert len(kinds) == 4
    assert all(answered == said for answered, said in kinds), "each leads to what it says"
    one = page["features"][0]
    alone = service.get(f"{ITEMS}/{one['id']}", "viewer").json()
    assert {"self", "collection"} <= {link["rel"] for link in alone["links"]}, "/req/core/f-links"
    assert {name: alone[name] for name in one} == one
    assert service.get(f"{ITEMS}/999999", "viewer").status_code == 404


@pytest.mark.parametrize("params", [{"limit": "0"}, {"limit": "x"}, {"nothing": "1"}, {"bbox-crs": "x"}])
def test_parameters_that_are_wrong_or_unknown(service: Served, params: dict[str, str]) -> None:
    """/req/core/query-param-invalid and query-param-unknown."""
    assert service.get(ITEMS, "viewer", **params).status_code == 400


def test_limits_beyond_the_most_are_the_most(service: Served) -> None:
    """/req/core/fc-limit-response-1: no error."""
    assert items(service, limit=10**7)["numberReturned"] == N_NEW


def test_a_season_without_parcels_hides_no_other(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "s4c.toml").write_text(
        f'[site]\nname = "{SITE}"\nseason_start = 2020-03-01\nseason_end = 2020-10-31\n'
    )
    with served(tmp_path, workspace, Workspace(tmp_path / "next")) as service:
        every = service.get(f"{HERE}/collections", "viewer").json()["collections"]
        assert [one["id"] for one in every] == ["parcels", f"parcels.{NEW}.v0001"]
        assert items(service)["numberMatched"] == N_NEW
        assert service.get(f"{HERE}/seasons/2020", "viewer").status_code == 404
