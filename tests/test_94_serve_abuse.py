"""Requests that cost much more than they look: each is refused, or bounded, before the work is done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import shapely
from support.serving import SITE, Served, build_small, served

from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.serve.book import Asked, Book, Outlines
from s4c_hpc.serve.formats import csv_bytes

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


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """20 000 fields side by side."""
    folder = tmp_path_factory.mktemp("many")
    n = 20_000
    x, y = 500_000 + np.arange(n) % 200 * 70.0, 5_300_000 + np.arange(n) // 200 * 70.0
    fields = gpd.GeoDataFrame(
        {"id": [f"F{i}" for i in range(n)], "crop": "115"}, geometry=shapely.box(x, y, x + 65, y + 65), crs="EPSG:32632"
    )
    fields.to_parquet(folder / "fields.parquet")
    values = {
        "site": {"name": SITE, "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "parcels": {"file": str(folder / "fields.parquet"), "id_columns": ["id"], "crop_column": "crop"},
    }
    workspace = Workspace(folder)
    import_parcels(None, workspace, Config.model_validate(values))
    return Book(workspace, "v0001", Outlines())


def box_of(book: Book) -> tuple[float, float, float, float]:
    found = book.extent()
    assert found is not None
    return found


def selected(book: Book, area: shapely.Geometry) -> Any:
    assert area.is_valid
    return book.select(Asked(columns=(), polygon=shapely.to_wkb(area)))


def test_a_polygon_of_many_teeth_costs_no_more_than_its_vertices(book: Book) -> None:
    """A comb across all parcels, at the limit of vertices: each of them would be compared with each tooth."""
    west, south, east, north = box_of(book)
    edges = np.linspace(west - 0.01, east + 0.01, 2_480)
    low, high = south - 0.01, north + 0.01
    teeth = [
        point for a, b in zip(edges[::2], edges[1::2], strict=True)
        for point in ((a, low + 1e-4), (a, high), (b, high), (b, low + 1e-4))
    ]  # fmt: skip
    comb = shapely.Polygon([(west - 0.01, low), *teeth, (east + 0.01, low)])
    began = time.process_time()
    found = selected(book, comb)
    assert time.process_time() - began < 6, "1.5 s; compared one by one half a minute"
    assert found.size == book.ids.size, "teeth are closer than fields are wide"


@pytest.mark.parametrize("seed", range(4))
def test_pieces_of_an_area_meet_what_the_area_meets(book: Book, seed: int) -> None:
    generator = np.random.default_rng(seed)
    west, south, east, north = box_of(book)
    around = np.sort(generator.uniform(0, 2 * np.pi, 1_500))
    far = generator.uniform(0.3, 0.9, around.size) / 2
    corners = np.column_stack((np.cos(around) * (east - west), np.sin(around) * (north - south))) * far[:, None]
    star = shapely.Polygon(corners + np.array(((west + east) / 2, (south + north) / 2)))
    expected = np.flatnonzero(shapely.intersects(star, book.outlines(np.arange(book.ids.size), "OGC:CRS84")))
    assert 1_000 < expected.size < 0.9 * book.ids.size
    others = np.setxor1d(selected(book, star), expected)
    touched = shapely.intersection(star, book.outlines(others, "OGC:CRS84"))
    assert np.sqrt(shapely.area(touched)).max(initial=0) < 1e-6, (
        "10 cm: sides that are straight in degrees are not in UTM"
    )


def test_csv_holds_no_formulas() -> None:
    texts = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "wheat = 1", "", None]
    lines = csv_bytes(pa.table({"crop": texts, "value": pa.array([-1.5] * 8)})).decode().splitlines()
    assert lines[1:5] == ["\"'=cmd|' /C calc'!A0\",-1.5", '"\'+1",-1.5', '"\'-1",-1.5', '"\'@SUM(A1)",-1.5']
    assert lines[5:] == ['"\'\t=1",-1.5', '"wheat = 1",-1.5', '"",-1.5', ",-1.5"]
