"""The viewer in a real browser, and its tiles as GDAL reads them: right parcels, rules of roles, no other host."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from support.browser import CHROMIUM, Page, chromium
from support.serving import N_NEW, NEW, OLD, SECRETS, SITE, Served, build_new, build_old, served

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import read_attributes
from s4c_hpc.serve import page
from s4c_hpc.serve.book import CRS84, Asked, Book, Outlines
from s4c_hpc.serve.mvt import EXTENT, NONE, encode
from s4c_hpc.serve.sites import open_sites
from s4c_hpc.serve.themes import Kind, Theme
from s4c_hpc.serve.tiles import MERCATOR, Sheet, Sheets

HERE = f"/sites/{SITE}/seasons/{NEW}"
STATIC = Path(page.__file__).parent / "static"
HALF = 20_037_508.342789244
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian's package)")


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Workspace]:
    root = tmp_path_factory.mktemp("viewed")
    return build_old(root / "old"), build_new(root / "new")


@pytest.fixture(scope="module")
def service(workspaces: tuple[Workspace, Workspace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("service"), *workspaces) as one:
        yield one


@pytest.fixture(scope="module")
def new_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Page]]:
    with chromium(tmp_path_factory.mktemp("chromium")) as new:
        yield new


def tile_around(x: float, y: float, zoom: int) -> tuple[int, int, int]:
    """The tile in which a point in degrees lies."""
    column = (x + 180) / 360
    row = (1 - np.arcsinh(np.tan(np.radians(y))) / np.pi) / 2
    return zoom, int(column * 2**zoom), int(row * 2**zoom)


def tile_of_first(book: Book, zoom: int) -> tuple[int, int, int]:
    """The tile in which the first parcel lies; there are others far away."""
    middle = shapely.centroid(book.outlines(np.array([0]), CRS84)[0])
    return tile_around(middle.x, middle.y, zoom)


def read_tile(content: bytes, zoom: int, x: int, y: int, folder: Path) -> gpd.GeoDataFrame:
    """A tile as GDAL reads it, in Web Mercator."""
    path = folder / "tile.pbf"
    path.write_bytes(content)
    return pyogrio.read_dataframe(f"MVT:{path}", layer="parcels", X=str(x), Y=str(y), Z=str(zoom), CLIP="NO")


def test_tiles_hold_the_outlines_of_the_parcels(service: Served, workspaces: Any, tmp_path: Path) -> None:
    book = Book(workspaces[1], "v0001", Outlines())
    at = tile_of_first(book, 13)
    answer = service.get(f"{HERE}/tiles/{'/'.join(map(str, at))}")
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    found = read_tile(answer.content, *at, tmp_path).set_index("mvt_id").sort_index()
    unit = 2 * HALF / (EXTENT << 13)
    x0, y1 = -HALF + at[1] * EXTENT * unit, HALF - at[2] * EXTENT * unit
    whole = shapely.box(x0, y1 - EXTENT * unit, x0 + EXTENT * unit, y1)
    truth = book.outlines(np.arange(book.ids.size), MERCATOR)
    inside = shapely.contains(whole, truth)
    assert inside.sum() > 10
    assert set(book.ids[shapely.intersects(whole, truth)].tolist()) <= set(found.index)
    for new_id, outline in zip(book.ids[inside].tolist(), truth[inside], strict=True):
        drawn = found.geometry[new_id]
        assert shapely.hausdorff_distance(drawn, outline) < 4 * unit
    mowings = {one["name"]: one for one in service.get(f"{HERE}/map").json()["themes"]}["mowings"]
    once = next(kind["code"] for kind in mowings["kinds"] if kind["name"] == "1")
    assert all(found.mowings[i] == once for i in range(1, 11) if i in found.index)


def test_the_encoder_against_gdal(tmp_path: Path) -> None:
    ring = shapely.Point(2000, 2000).buffer(700)
    shapes = np.array(
        [
            shapely.difference(ring, shapely.box(1900, 1900, 2100, 2100)),
            shapely.MultiPolygon([shapely.box(0, 0, 64, 64), shapely.box(3000, 3000, 4160, 4100)]),
            shapely.box(10, 10, 10.2, 10.2),  # nothing is left of it in whole units
        ]
    )
    ids = np.array([300, 2**31 - 1, 5])
    read = read_tile(encode("parcels", ids, shapes, {"a": np.array([NONE, 200, 1])}), 0, 0, 0, tmp_path)
    assert read.mvt_id.tolist() == [300, 2**31 - 1]
    assert np.isnan(read.a[0])
    assert read.a[1] == 200
    unit = 2 * HALF / EXTENT
    for drawn, shape in zip(read.geometry, shapes[:2], strict=True):
        assert drawn.area / unit**2 == pytest.approx(shape.area, rel=2e-3)
        assert shapely.get_num_interior_rings(shapely.get_parts(drawn)).sum() == (1 if shape is shapes[0] else 0)
    assert encode("parcels", ids[2:], shapes[2:], {}) == b""


def test_from_afar_a_cell_counts_its_parcels(service: Served, workspaces: Any, tmp_path: Path) -> None:
    book = Book(workspaces[1], "v0001", Outlines())
    # The first half of the parcels, which lie together: mostly 7, and what is not known does not count.
    codes = np.full(book.ids.size, 7)
    codes[:3], codes[3:12] = 2, NONE
    near = np.arange(book.ids.size) < book.ids.size // 2
    sheet = Sheet(book, (Theme("kind", "Kind", (Kind(2, "few", "#000000"), Kind(7, "most", "#ffffff")), codes),))
    everybody = Asked(columns=tuple(book.table.column_names))
    at = tile_of_first(book, 4)
    found = read_tile(sheet.tile(*at, everybody).content, *at, tmp_path)
    assert found.n.sum() == book.ids.size, "each parcel is counted once, whatever tiles there are"
    assert found.kind[found.n.argmax()] == 7
    few = sheet.tile(*at, Asked(columns=everybody.columns, ids=tuple(book.ids[:12].tolist()))).content
    assert read_tile(few, *at, tmp_path).kind.tolist() == [2]
    one = read_tile(sheet.tile(*at, Asked(columns=(), ids=(int(book.ids[4]),))).content, *at, tmp_path)
    assert one.mvt_id.tolist() == [book.ids[4]]
    assert "n" not in one or one.n.isna().all(), "a parcel alone is itself"
    assert near.sum() > 12
    assert service.get(f"{HERE}/tiles/3/0/0").content == b"", "nobody farms there"
    assert service.get(f"{HERE}/tiles/3/8/0").status_code == 404


def test_a_tile_that_is_known_is_not_sent_again(service: Served, workspaces: Any) -> None:
    path = f"{HERE}/tiles/{'/'.join(map(str, tile_of_first(Book(workspaces[1], 'v0001', Outlines()), 13)))}"
    with service.client("viewer") as client:
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
        packed = client.get(path, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == plain.content
        assert int(packed.headers["content-length"]) < len(plain.content)
        assert plain.headers["cache-control"] == "no-store", "a browser's disk is no place for it"
        again = client.get(path, headers={"If-None-Match": plain.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = client.get(path, params={"filter": "NewID < 4"}, headers={"If-None-Match": plain.headers["etag"]})
        assert other.status_code == 200


def test_a_map_counts_what_a_condition_leaves(service: Served) -> None:
    whole, some = (service.get(f"{HERE}/map", **asked).json() for asked in ({}, {"filter": "NewID <= 5"}))
    assert (whole["parcels"], some["parcels"]) == (N_NEW, 5)
    for theme in some["themes"]:
        assert sum(kind["parcels"] for kind in theme["kinds"]) == 5
    west, south, east, north = some["bbox"]
    assert whole["bbox"][0] <= west < east <= whole["bbox"][2]
    assert whole["bbox"][1] <= south < north <= whole["bbox"][3]
    assert service.get(f"{HERE}/map", filter="NewID < 0").json()["bbox"] is None
    wrong = service.get(f"{HERE}/map", filter="NewID <")
    assert wrong.status_code == 400
    assert wrong.json()["hint"] or wrong.json()["detail"]


def test_a_run_is_seen_and_few_tiles_are_kept(workspaces: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (season,) = open_sites([workspaces[1].root])[SITE].seasons
    sheets = Sheets()
    first = sheets.sheet(season, season.look())
    assert sheets.sheet(season, season.look()) is first
    (results,) = (workspaces[1].markers / "l4b-parcels").glob("*/*_32UNU.arrow")
    os.utime(results)
    again = sheets.sheet(season, season.look())
    assert again is not first, "a file of results is another"
    monkeypatch.setattr("s4c_hpc.serve.tiles._KEPT_BYTES", 50_000)
    for x in range(100):
        again.tile(10, x, 0, Asked(columns=()))
    assert len(again._tiles) < 20, "empty ones count as well"


def test_tiles_and_time_lines_obey_roles(service: Served, workspaces: Any) -> None:
    book = Book(workspaces[1], "v0001", Outlines())
    tile = f"{HERE}/tiles/{'/'.join(map(str, tile_of_first(book, 8)))}"
    for path in (tile, f"{HERE}/map", f"{HERE}/parcels/1/timeline", f"{HERE}/parcels/1/picture"):
        assert service.get(path, None).status_code == 401
        assert service.get(path, "foreign").status_code == 404
        content = service.get(path, "viewer").content.decode("latin-1")
        assert not [one for one in SECRETS if one in content], path
    names = read_attributes(workspaces[1], "v0001", ["NewID", "ori_id"]).to_pylist()
    (own_id,) = [one["ori_id"] for one in names if one["NewID"] == 1]
    assert own_id in service.get(f"{HERE}/parcels/1/picture", "operator").text
    words = [service.get(f"{HERE}/parcels/1/picture", words=one).text for one in ("true", "false")]
    assert [("What was decided, in words" in one, "Not shown" in one) for one in words] == [
        (True, True),
        (False, False),
    ]
    assert all("How to read it" in one for one in words)
    assert service.get(tile, "viewer", filter="farmer = 'Huber'").status_code == 400
    some = len(service.get(tile, "operator", filter="farmer = 'Huber'").content)
    assert 0 < some <= len(service.get(tile, "operator").content)
    assert service.get(f"{HERE}/parcels/999999/timeline").status_code == 404


def test_a_configuration_broken_meanwhile_is_no_fault_of_the_request(service: Served, workspaces: Any) -> None:
    config: Path = workspaces[1].config
    sound = config.read_bytes()
    config.write_text("[site\n")
    try:
        answer = service.get(f"{HERE}/parcels/1/timeline", "viewer")
    finally:
        config.write_bytes(sound)
    assert (answer.status_code, answer.json()["hint"]) == (503, "tell the operator: 's4c config check'")


def test_the_page_is_open_and_nothing_else(service: Served) -> None:
    answer = service.get("/view/", None)
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    for name in ("", *(f"{one}.js" for one in page.SCRIPTS), "viewer.css", "maplibre-gl.js", "LICENSE.txt"):
        assert service.get(f"/view/{name}", None).status_code == 200
    for name in ("..%2fapp.py", "%2e%2e/app.py", "README.md", "maplibre-gl-5.24.1/maplibre-gl.js"):
        assert service.get(f"/view/{name}", None).status_code in {401, 404}
    ours = "".join((STATIC / name).read_text() for name in (*(f"{one}.js" for one in page.SCRIPTS), "index.html"))
    assert not re.search(r"localStorage|sessionStorage|document\.cookie|innerHTML|https?://", ours)


def test_maplibre_is_what_its_readme_says() -> None:
    folder = STATIC / page.MAPLIBRE
    sums = re.findall(r"^ {4}([0-9a-f]{64}) {2}(\S+)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert len(sums) == 2
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == one for one, name in sums)
    assert sum(one.stat().st_size for one in folder.iterdir()) < 1_200_000


def colours(image: Any) -> set[tuple[int, ...]]:
    """Colours of more than 20 pixels."""
    found, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(one) for one in found[counts > 20].tolist()}


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def enter(tab: Page, service: Served, name: str) -> None:
    tab.open(f"{service.url}/v1/view/#token={service.held[name]}")
    tab.wait("document.body.dataset.state === 'ready'")


@needs_chromium
def test_a_field_that_is_clicked_shows_its_season(service: Served, new_page: Callable[[], Page]) -> None:
    tab = new_page()
    enter(tab, service, "viewer")
    assert tab.value("location.href") == f"{service.url}/v1/view/#season={SITE}/{NEW}&colour=crop", "no token in it"
    themes = {one["name"]: one for one in service.get(f"{HERE}/map").json()["themes"]}
    assert rgb(themes["crop"]["kinds"][0]["colour"]) in colours(tab.screenshot("#map"))

    # Two kinds of parcels, ten that are mown once and the rest.
    tab.choose("#theme", "mowings")
    mown = {rgb(one["colour"]) for one in themes["mowings"]["kinds"] if one["parcels"]}
    tab.wait("/1\\s\\(10\\)/.test(document.querySelector('#legend').innerText)")
    tab.wait("new Promise(r => setTimeout(() => r(true), 700))")
    assert len(mown) == 2
    assert mown <= colours(tab.screenshot("#map"))

    # Found by its number, the parcel lies in the middle of the map; a click there is a click on it.
    tab.type("#parcel", "3")
    tab.wait("document.querySelector('#panel').dataset.parcel === '3'")
    tab.wait("new Promise(r => setTimeout(() => r(true), 700))")
    tab.value("document.querySelector('#panel button').click()")
    assert tab.value("document.querySelector('#panel').hidden")
    tab.wait("new Promise(r => setTimeout(() => r(true), 700))")
    place = tab.place("#map")
    tab.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    tab.wait("document.querySelector('#panel').dataset.parcel === '3'")
    words = tab.value("document.querySelector('#panel').innerText")
    assert "Mowing: found between 2019-06-08 and 2019-06-13" in words.replace("\xa0", " ")
    assert not [one for one in SECRETS if one in words]
    assert tab.value("document.querySelector('#panel img').naturalWidth") > 0
    assert len(colours(tab.screenshot("#panel img"))) > 4, "the picture is drawn, with its colours"

    elsewhere = [one for one in tab.requests if not one.startswith((service.url, "data:", "blob:", "about:"))]
    assert not elsewhere
    assert not tab.complaints


@needs_chromium
def test_a_condition_leaves_parcels_out(service: Served, new_page: Callable[[], Page]) -> None:
    tab = new_page()
    enter(tab, service, "viewer")
    before = tab.screenshot("#map")
    tab.value("document.body.dataset.state = ''")
    tab.type("#condition", "NewID <= 5")
    tab.wait("document.body.dataset.state === 'ready'")
    assert tab.value("document.querySelector('#told').innerText") == "5 parcels"
    assert "(5)" in tab.value("document.querySelector('#kinds').innerText"), "those that are left are counted"
    assert (tab.screenshot("#map") != before).any(axis=2).sum() > 1000, "the map shows them, from near"
    # A condition that cannot be used says why; what was shown stays.
    for wrong, said in (("farmer = 'Huber'", "farmer"), ("NewID <=", "")):
        tab.type("#condition", wrong)
        tab.wait("document.querySelector('#told').className === 'wrong'")
        assert said in tab.value("document.querySelector('#told').innerText")
        assert tab.value("document.querySelector('#condition').ariaInvalid") == "true"
    tab.type("#condition", "NewID < 0")
    tab.wait("document.querySelector('#told').innerText === 'No parcel meets this condition.'")
    tab.type("#condition", "")
    tab.wait("document.querySelector('#told').innerText === '' && document.body.dataset.state === 'ready'")
    assert f"({N_NEW})" in tab.value("document.querySelector('#kinds').innerText")


@needs_chromium
def test_a_token_is_asked_for_and_kept_nowhere(service: Served, new_page: Callable[[], Page]) -> None:
    tab = new_page()
    tab.open(f"{service.url}/v1/view/")
    tab.wait("document.body.dataset.state === 'asking'")
    tab.type("#token", "wrong")
    tab.wait("document.querySelector('#refused').innerText !== ''")
    tab.type("#token", service.held["viewer"])
    tab.wait("document.body.dataset.state === 'ready'")
    assert not tab.value("document.querySelector('#door').open")
    kept = "localStorage.length + sessionStorage.length + document.cookie.length"
    assert tab.value(kept) == 0
    assert service.held["viewer"] not in tab.value("document.documentElement.outerHTML")
    assert not [one for one in tab.requests if service.held["viewer"] in one]
    tab.choose("#season", f"sites/{SITE}/seasons/{OLD}")
    tab.wait("document.querySelector('#theme').options.length > 3")
