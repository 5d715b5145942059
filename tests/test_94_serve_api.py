"""What the service answers is what the files hold: two seasons, two versions of parcels, three forms, page by page."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyproj import Transformer
from support.serving import CUT, N_NEW, NEW, OLD, SITE, Served, build_new, build_old, build_small, served

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers import query
from s4c_hpc.mowing.contract import read_mowings
from s4c_hpc.parcels import Selection, import_parcels, read_attributes, read_tile_parcels, read_tiles, select
from s4c_hpc.practices.improved.evidence import evidence_schema
from s4c_hpc.series import open_series

HERE = f"/sites/{SITE}"
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Workspace]:
    root = tmp_path_factory.mktemp("served")
    return build_old(root / "old"), build_new(root / "new")


@pytest.fixture(scope="module")
def service(workspaces: tuple[Workspace, Workspace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("service"), *workspaces) as one:
        yield one


def document(service: Served, path: str, **params: Any) -> Any:
    answer = service.get(HERE + path, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def arrow(service: Served, path: str, **params: Any) -> pa.Table:
    answer = service.get(HERE + path, format="arrow", **params)
    assert answer.headers["content-type"] == ARROW
    return pa.ipc.open_stream(answer.content).read_all()


def ids_of(collection: Any) -> list[int]:
    return [one["id"] for one in collection["features"]]


def test_a_site_has_seasons_and_every_version_is_a_collection(service: Served) -> None:
    assert [one["season"] for one in document(service, "")["seasons"]] == [OLD, NEW]
    names = [one["id"] for one in document(service, "/collections")["collections"]]
    assert names == ["parcels", f"parcels.{NEW}.v0001", f"parcels.{OLD}.v0002", f"parcels.{OLD}.v0001"]
    assert document(service, "/collections/parcels")["season"] == NEW
    for text in (OLD, "2018"):
        assert document(service, f"/seasons/{text}")["versions"] == ["v0001", "v0002"]
    assert document(service, "/seasons/latest")["season"] == NEW
    unknown = service.get(f"{HERE}/seasons/2017")
    assert (unknown.status_code, unknown.json()["hint"]) == (404, f"seasons are {OLD}, {NEW}")


def test_links_of_the_landing_page_lead_somewhere(service: Served) -> None:
    links = [*document(service, "")["links"], *document(service, "/collections/parcels")["links"]]
    assert {"self", "service-desc", "conformance", "data", "items"} <= {one["rel"] for one in links}
    with service.client("viewer") as client:
        for one in links:
            assert client.get(one["href"]).status_code == 200, one


def test_pages_hold_every_parcel_once(service: Served) -> None:
    with service.client("viewer") as client:
        client.headers["Accept"] = "application/geo+json"
        found, address, pages = [], f"{HERE}/collections/parcels/items?limit=7", 0
        while address:
            page = client.get(address).json()
            assert page["numberMatched"] == N_NEW
            assert page["numberReturned"] == len(page["features"]) <= 7
            found += ids_of(page)
            address = next((one["href"] for one in page["links"] if one["rel"] == "next"), "")
            pages += 1
    assert found == sorted(set(found))
    assert (len(found), pages) == (N_NEW, 5)


GDAL = """
import sys, pyogrio
url, token, layer = sys.argv[1:]
pyogrio.set_gdal_config_options({"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": token})
every = pyogrio.read_dataframe(url, layer=layer, PAGE_SIZE=7)
near = pyogrio.read_dataframe(url, layer=layer, bbox=(10.36, 48.733, 10.37, 48.745))
print(*every["NewID"], "/", *near["NewID"], "/", *every.columns)
"""


def test_gdal_reads_the_features(service: Served, workspaces: tuple[Workspace, Workspace]) -> None:
    """A client of OGC API Features that somebody else wrote, in a process of its own."""
    arguments = [f"OAPIF:{service.url}/v1{HERE}", service.held["viewer"], f"parcels.{OLD}.v0001"]
    done = subprocess.run(
        [sys.executable, "-c", GDAL, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    every, near, columns = (part.split() for part in done.stdout.split("/"))
    assert sorted(map(int, every)) == list(range(1, 21)), "page after page"
    expected = select(workspaces[0], "v0001", Selection(box=(10.36, 48.733, 10.37, 48.745)))
    assert sorted(map(int, near)) == expected.tolist()
    assert "ori_crop" in columns
    assert "ori_id" not in columns


def test_a_feature_is_the_parcel_in_degrees(service: Served, workspaces: tuple[Workspace, Workspace]) -> None:
    one = document(service, f"/collections/parcels.{OLD}.v0001/items/3")
    (tile,) = [t.tile for t in read_tiles(workspaces[0], "v0001") if t.tile.id == one["properties"]["tile"]]
    parcels = read_tile_parcels(workspaces[0], "v0001", tile)
    outline = parcels.geometry[parcels.new_id.tolist().index(3)]
    shape = shapely.from_geojson(json.dumps(one["geometry"]))
    assert shapely.is_ccw(shape.exterior), "RFC 7946"
    back = Transformer.from_crs("OGC:CRS84", tile.crs, always_xy=True)
    again = shapely.transform(shape, lambda xy: np.column_stack(back.transform(*xy.T)))
    assert shapely.area(shapely.symmetric_difference(again, outline)) < 1e-3 * shapely.area(outline)
    assert one["properties"]["ori_id"] == "P003"


@pytest.mark.parametrize("seed", range(6))
def test_a_box_holds_what_select_says(service: Served, workspaces: tuple[Workspace, Workspace], seed: int) -> None:
    generator = np.random.default_rng(seed)
    west, south = generator.uniform([10.360, 48.733], [10.390, 48.745])
    east, north = west + generator.uniform(0.0005, 0.01), south + generator.uniform(0.0005, 0.01)
    box = (float(west), float(south), float(east), float(north))
    expected = select(workspaces[0], "v0001", Selection(box=box)).tolist()
    text = ",".join(f"{v!r}" for v in box)
    assert ids_of(document(service, f"/collections/parcels.{OLD}.v0001/items", bbox=text)) == expected
    high = f"{box[0]!r},{box[1]!r},0,{box[2]!r},{box[3]!r},9"
    assert ids_of(document(service, f"/collections/parcels.{OLD}.v0001/items", bbox=high)) == expected
    corners = [[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]], [box[0], box[1]]]
    with service.client("viewer") as client:
        body = {"geometry": {"type": "Polygon", "coordinates": [corners]}}
        searched = client.post(f"{HERE}/collections/parcels.{OLD}.v0001/search", json=body).json()
    assert ids_of(searched) == expected


@pytest.mark.parametrize(
    ("condition", "n"),
    [
        ("ori_crop = 'maize'", 2),
        ("ori_crop LIKE 'ma%' AND Area_meters < 5e3", 1),
        ("NewID BETWEEN 4 AND 6 OR NewID IN (1, 2)", 5),
        ("NOT GeomValid = true", 0),
        ("Area_meters / 1e4 > 0.6 AND geom_change_ratio IS NOT NULL", 19),
    ],
)
def test_conditions_on_properties(
    service: Served, workspaces: tuple[Workspace, Workspace], condition: str, n: int
) -> None:
    found = ids_of(document(service, f"/collections/parcels.{OLD}.v0002/items", filter=condition))
    assert found == select(workspaces[0], "v0002", Selection(where=condition)).tolist()
    assert len(found) == n


def test_own_ids_holdings_and_deleted_parcels(service: Served) -> None:
    items = f"/collections/parcels.{OLD}.v0002/items"
    assert ids_of(document(service, items, ori_id="P001,P005")) == [1, 5]
    assert len(ids_of(document(service, items, ori_hold="HOLD-0"))) == 4
    assert 3 not in ids_of(document(service, items))
    assert 3 in ids_of(document(service, items, deleted="true"))
    assert document(service, items, datetime="2017-01-01/2017-12-31")["numberMatched"] == 0
    assert document(service, items, datetime="2018-05-01T00:00:00Z/..")["numberMatched"] == 20


def test_three_forms_of_a_series_hold_what_the_reader_reads(
    service: Served, workspaces: tuple[Workspace, Workspace]
) -> None:
    path = f"{HERE}/seasons/2018/parcels/5/series"
    asked = {"variables": "ndvi,b*", "statistics": "mean,count", "grid": "10m"}
    (read,) = open_series(workspaces[0]).parcel(5, grid="10m")
    expected = read.values("ndvi_mean")
    as_json = service.get(path, **asked).json()
    assert as_json["rows"] == 3
    assert np.array_equal(np.array(as_json["values"]["ndvi_mean"], np.float32), expected), "to the last bit"
    assert as_json["columns"]["ndvi_mean"]["formula"]
    table = arrow(service, "/seasons/2018/parcels/5/series", **asked)
    assert np.array_equal(table["ndvi_mean"].to_numpy(), expected)
    rows = list(csv.DictReader(io.StringIO(service.get(path, format="csv", **asked).text)))
    assert np.array_equal(np.array([row["ndvi_mean"] for row in rows], np.float32), expected)
    assert [row["datetime"][:10] for row in rows] == [str(a.day) for a in read.acquisitions]
    assert set(table.column_names) == set(rows[0]) == set(as_json["values"])


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv"),
        (f"text/html, {ARROW};q=0.5", ARROW),
        ("*/*", "application/json"),
        ("", "application/json"),
    ],
)
def test_the_header_accept_chooses_the_form(service: Served, accept: str, kind: str) -> None:
    with service.client("viewer") as client:
        answer = client.get(f"{HERE}/seasons/2018/parcels/5/series", headers={"Accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == kind
        refused = client.get(f"{HERE}/seasons/2018/parcels/5/series", headers={"Accept": "image/png"})
    assert (refused.status_code, refused.headers["content-type"]) == (406, "application/problem+json")


def test_gaps_are_filled_beside_what_was_seen(service: Served) -> None:
    path = "/seasons/2019/parcels/1/series"
    asked = {"variables": "ndvi", "from": "2019-06-01", "to": "2019-06-30", "fill": "linear", "every_days": "1"}
    found = document(service, path, **asked, max_gap_days="10")
    assert found["filled"] == {"gap_fill": "linear", "max_gap_days": "10"}
    values = dict(zip(found["values"]["datetime"], found["values"]["ndvi_mean__linear_10d"], strict=True))
    assert values["2019-06-07T12:00:00Z"] == pytest.approx(0.85, abs=1e-6), "before the cut"
    assert 0.45 < values["2019-06-10T12:00:00Z"] < 0.85, "between the looks around it"
    short = document(service, path, **asked, max_gap_days="2")
    assert set(short["values"]["ndvi_mean__linear_2d"]) == {None}, "looks are five days apart"


def test_series_of_several_and_of_none(service: Served) -> None:
    answer = service.get(f"{HERE}/seasons/2018/series", ids="5,3,1,99", variables="ndvi")
    found = answer.json()
    assert sorted(set(found["values"]["NewID"])) == [1, 5]
    assert [(one["parcel"], one["reason"].split()[0]) for one in found["missing"]] == [(3, "parcel"), (99, "there")]
    assert answer.headers["S4C-Missing"] == "2"
    none = service.get(f"{HERE}/seasons/2018/series", ids="99", variables="ndvi")
    assert (none.status_code, none.json()["detail"]) == (404, "there is no parcel 99")
    unknown = service.get(f"{HERE}/seasons/2018/series", ids="5", variables="lai")
    assert unknown.status_code == 404
    assert "ndvi" in unknown.json()["hint"]


def test_events_are_those_of_the_files(service: Served, workspaces: tuple[Workspace, Workspace]) -> None:
    expected = {i: events for i, events in read_mowings(workspaces[1]).events.items() if events}
    found = document(service, "/seasons/latest/events", limit=1000)
    assert found["values"]["NewID"] == sorted(expected)
    for i, (new_id, start, end) in enumerate(
        zip(*(found["values"][name] for name in ("NewID", "start", "end")), strict=True)
    ):
        assert [(str(e[0]), str(e[1])) for e in expected[new_id]] == [(start, end)]
        assert dt.date.fromisoformat(start) <= CUT <= dt.date.fromisoformat(end), i
    one = document(service, "/seasons/latest/parcels/1")
    assert [row["event"] for row in one["results"]["events"]] == [1]
    assert one["results"]["mowing"][0]["mow_n"] == 1
    assert service.get(f"{HERE}/seasons/2018/events").json()["hint"] == "set mowing.enabled = true and run it"


def test_results_page_by_parcel(service: Served) -> None:
    with service.client("viewer") as client:
        address, found = f"{HERE}/seasons/2018/evidence?limit=6", []
        while address:
            answer = client.get(address)
            page = answer.json()["values"]["NewID"]
            assert len(set(page)) <= 6
            found += page
            address = answer.links.get("next", {}).get("url", "")
    assert found == sorted(i for i in range(1, 22) for _ in range(2) if i != 3), (
        "both decisions of each, on the same page"
    )
    rows = arrow(service, "/seasons/2018/evidence", ids="2,5")
    assert rows.column_names == ["NewID", "period", *evidence_schema({}).names[1:]]
    assert rows["start"].type == pa.date32()
    assert document(service, "/seasons/2018/evidence", ids="2,5")["values"]["start"] == ["2018-07-01"] * 2 + [None] * 2


def test_what_versions_say_of_a_parcel(service: Served) -> None:
    found = document(service, "/seasons/2018/parcels/5/versions")["values"]
    assert (found["version"], found["ori_crop"]) == (["v0001", "v0002"], ["grass", "maize"])
    gone = document(service, "/seasons/2018/parcels/3/versions")["values"]
    assert gone["is_deleted"] == [False, True]
    assert document(service, "/seasons/2018/parcels/21/versions")["values"]["version"] == ["v0002"]


def test_peers_are_the_nearest_of_the_crop(service: Served, workspaces: tuple[Workspace, Workspace]) -> None:
    found = document(service, "/seasons/2018/parcels/1/peers", distance_m=900, limit=5)["values"]
    crops = read_attributes(workspaces[0], "v0002", ["NewID", "ori_crop", "is_deleted"]).to_pylist()
    grass = {row["NewID"] for row in crops if row["ori_crop"] == "grass" and not row["is_deleted"]}
    shapes: dict[int, Any] = {}
    for one in read_tiles(workspaces[0], "v0002"):
        parcels = read_tile_parcels(workspaces[0], "v0002", one.tile)  # both tiles are of one zone
        shapes |= dict(zip(parcels.new_id.tolist(), parcels.geometry, strict=True))
    metres = {i: shapely.distance(shapes[1], shapes[i]) for i in grass & set(shapes) - {1}}
    expected = sorted((m, i) for i, m in metres.items() if m <= 900)[:5]
    assert found["NewID"] == [i for _, i in expected]
    assert found["distance_m"] == pytest.approx([m for m, _ in expected], abs=1e-2)
    assert len(expected) >= 3


def test_marker_values_and_where_the_files_are(service: Served, workspaces: tuple[Workspace, Workspace]) -> None:
    files = document(service, "/seasons/2018/files")["values"]
    for name, size in zip(files["file"], files["bytes"], strict=True):
        assert (workspaces[0].root / name).stat().st_size == size
    expected = query(workspaces[0], ids=[1, 2], set_name="mdb1", columns=["*ndvi*"])
    found = arrow(service, "/seasons/2018/markers/mdb1", ids="1,2", columns="*ndvi*")
    assert found.replace_schema_metadata(None).equals(expected.replace_schema_metadata(None))
    assert service.get(f"{HERE}/seasons/2018/markers/nothing", ids="1").status_code == 404


def test_an_update_is_seen_without_a_restart(tmp_path: Path) -> None:
    space = build_small(tmp_path / "ws")
    with served(tmp_path, space.workspace) as service:
        before = document(service, "/seasons/latest")
        assert before["versions"] == ["v0001"]
        assert [one["n"] for one in before["series"]] == [46, 46]
        file = space.table({"id": ["F001"], "date": [dt.date(2019, 10, 30)], "ndvi": [0.5]}, name="late")
        space.bring(file)
        frame = gpd.read_file(space.file)
        frame["crop"] = "maize"
        frame.to_file(space.file)
        import_parcels(None, space.workspace, space.config)
        until = time.monotonic() + 10
        while document(service, "/seasons/latest")["versions"] != ["v0001", "v0002"] and time.monotonic() < until:
            time.sleep(0.1)
        assert document(service, "/collections/parcels/items/1")["properties"]["ori_crop"] == "maize"
        assert document(service, f"/collections/parcels.{NEW}.v0001/items/1")["properties"]["ori_crop"] == "grass"
        assert document(service, "/seasons/latest/parcels/1/series")["values"]["datetime"] == ["2019-10-30T00:00:00Z"]
