"""The viewer as readers use it, in a real browser: colours, names that mean harm, keys, addresses, small screens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support.browser import CHROMIUM, Page, chromium
from support.serving import Served, served
from support.viewing import BARE, FULL, HARM, SITE, N, build_bare, build_full

from s4c_hpc.serve.roles import Role
from s4c_hpc.serve.themes import _CATEGORIES, _LIGHTS, _MONTHS, _OTHER, _STEPS, _VERDICTS

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (Debian's package)")

HERE = f"sites/{SITE}/seasons/{FULL}"
READY = "document.body.dataset.state === 'ready'"
TOLD = "document.querySelector('#told').innerText"
PANEL = "document.querySelector('#panel').innerText.replaceAll('\\u202f', ' ')"
SIZES = {"desk": (1400, 900), "small": (900, 700), "phone": (390, 844)}
WIDTH = 1000
"""Of the page unless the test is about it: fewer pixels are drawn sooner."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("viewed")
    root.joinpath("service").mkdir()
    with served(root / "service", build_bare(root / "bare"), build_full(root / "full")) as one:
        for role in ("operator", "viewer"):
            one.held[role] = one.tokens.add(f"seen-{role}", {SITE: Role(role)})
        yield one


@pytest.fixture(scope="module")
def new_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Page]]:
    with chromium(tmp_path_factory.mktemp("chromium")) as new:
        yield new


@pytest.fixture
def tab(service: Served, new_page: Callable[[], Page]) -> Iterator[Page]:
    """The map as an operator opens it; nothing may have gone wrong, or have been asked of others, in the end."""
    page = new_page()
    page.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=640, deviceScaleFactor=1, mobile=False)
    enter(page, service)
    yield page
    assert not [one for one in page.requests if not one.startswith((service.url, "data:", "blob:", "about:"))]
    assert not [one for one in page.complaints if "Failed to load resource" not in one]


def enter(page: Page, service: Served, address: str = "") -> None:
    page.open("about:blank")
    page.open(f"{service.url}/v1/view/#token={service.held['operator']}{address}")
    page.wait(READY)


def field(page: Page, new_id: int) -> None:
    page.type("#parcel", str(new_id))
    page.wait(f"document.querySelector('#panel').dataset.parcel === '{new_id}'")


def middle(page: Page) -> tuple[float, float]:
    at = page.place("#map")
    return at["x"] + at["width"] / 2, at["y"] + at["height"] / 2


def press(page: Page, key: str, code: int, text: str = "") -> None:
    more = {"text": text} if text else {}
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)


def colours(image: Any) -> set[tuple[int, ...]]:
    found, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(one) for one in found[counts > 20].tolist()}


def test_every_theme_is_painted_counted_and_told(service: Served, tab: Page) -> None:
    themes = service.get(f"/{HERE}/map").json()["themes"]
    assert {one["name"] for one in themes} == {"crop", "class", "confidence", "light", "harvest", "practice", "mowings"}
    for theme in themes:
        tab.choose("#theme", theme["name"])
        kinds = tab.value("[...document.querySelectorAll('#kinds label')].map((one) => one.textContent)")
        expected = [f"{one['name']}({one['parcels']})" for one in theme["kinds"]]
        unknown = N - sum(one["parcels"] for one in theme["kinds"])
        assert kinds == expected + ([f"nothing is known({unknown})"] if unknown else [])
        wanted = {tuple(bytes.fromhex(one["colour"][1:])) for one in theme["kinds"]}
        for _ in range(40):
            if wanted <= (seen := colours(tab.screenshot("#map"))):
                break
        assert wanted <= seen, theme["name"]
    # Of a parcel, the panel says what each of them says, and what it stands on.
    field(tab, 2)
    words = tab.value(PANEL).replace("\n\n", "\n")
    for said in (
        "Most likely crop type\ngrass",
        "Confidence of the crop type\n0 to 20 %",
        "Check of the declaration\ngreen",
    ):
        assert said in words
    for said in ("Month of the harvest\nJuly", "Evidence of the declared practice\nstrong", "Number of mowings\n1"):
        assert said in words
    assert "Harvest: found between 2019-07-01 and 2019-07-07, confidence 75 %, seen by S1+S2" in words
    assert "Catch crop: evidence weak from 2019-08-01 to 2019-09-15" in words
    assert "Reason: too few looks" in words
    assert "Mowing: found between 2019-06-08 and 2019-06-13" in words
    assert "NDVI of the last look before the event = 0.25" in words
    assert "Not known, and why" in words
    assert "Rain: no weather was imported." in words


def test_names_that_mean_harm_are_text(tab: Page) -> None:
    field(tab, 1)
    tab.wait("document.querySelector('#panel img')?.naturalWidth > 0")
    assert HARM in tab.value("document.querySelector('#panel h2').textContent")
    assert HARM in tab.value("document.querySelector('#kinds').textContent")
    field(tab, 8)  # declared as harmful, and nothing lies over it
    x, y = middle(tab)
    for shift in range(100):  # tiles may be on their way
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + shift % 2, y=y)
        if HARM in tab.value(
            "new Promise(requestAnimationFrame).then(() => document.querySelector('#tip').textContent)"
        ):
            break
    assert HARM in tab.value("document.querySelector('#tip').textContent")
    assert tab.value("window.harmed === undefined")
    assert tab.value("document.querySelectorAll('header img, #legend img, #legend script, #panel script').length") == 0
    # The longest name breaks: nothing leaves its place.
    assert tab.value("document.documentElement.scrollWidth") <= WIDTH
    assert tab.place("#legend")["width"] <= 245
    assert tab.place("#legend")["height"] <= 0.45 * tab.place("#map")["height"], "the field in the middle stays free"
    assert tab.place("#panel")["width"] <= 860
    assert tab.value("document.querySelector('#panel').scrollWidth <= document.querySelector('#panel').clientWidth")
    tallest = tab.value("Math.max(...[...document.querySelectorAll('#kinds label')].map((one) => one.offsetHeight))")
    assert tallest < 70, "three lines of a name are enough"


@pytest.mark.parametrize("size", SIZES)
def test_it_fits_the_screen(service: Served, tab: Page, size: str) -> None:
    width, height = SIZES[size]
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
    enter(tab, service, "&parcel=2")
    tab.wait("document.querySelector('#panel img')?.naturalWidth > 0")
    assert tab.value("document.documentElement.scrollWidth") <= width
    assert tab.value("document.documentElement.scrollHeight") <= height
    for selector in ("#season", "#theme", "#parcel", "#condition", "#help summary", "#map", "#panel"):
        at = tab.place(selector)
        assert at["width"] > 40, selector
        assert at["height"] > 15, selector
        assert at["x"] >= 0, selector
        assert at["x"] + at["width"] <= width, selector
    assert tab.place("#map")["height"] > 180
    assert tab.place("#condition")["width"] > 120
    assert tab.place("#panel img")["width"] >= 600, "words of the picture can be read"
    tab.value("document.querySelector('#panel button').click()")
    if size == "phone":
        assert not tab.value("document.querySelector('#legend').open"), "the map is seen first"
        tab.value("document.querySelector('#legend summary').click()")
    assert tab.place("#kinds")["height"] > 50


def test_the_keyboard_is_enough_and_all_has_a_name(tab: Page) -> None:
    field(tab, 3)
    assert tab.value("document.activeElement.tagName") == "H2", "what was opened is read out"
    press(tab, "Escape", 27)
    assert tab.value("document.querySelector('#panel').hidden")
    assert tab.value("document.activeElement.id") == "parcel", "back to where it was asked for"
    for _ in range(12):  # forwards to the map
        press(tab, "Tab", 9)
        if tab.value("document.activeElement.tagName") == "CANVAS":
            break
    assert "Enter opens" in tab.value("document.activeElement.ariaLabel")
    press(tab, "Enter", 13, "\r")
    tab.wait("document.querySelector('#panel').dataset.parcel === '3'")
    press(tab, "Escape", 27)
    assert tab.value("document.activeElement.tagName") == "CANVAS"
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    asked = {"button", "combobox", "textbox", "checkbox", "DisclosureTriangle"}
    mute = [n for n in nodes if n.get("role", {}).get("value") in asked and not n.get("name", {}).get("value")]
    assert not mute
    assert len([n for n in nodes if n.get("role", {}).get("value") in asked]) > 12


def test_an_address_names_what_is_shown(service: Served, tab: Page) -> None:
    tab.choose("#theme", "light")
    field(tab, 4)
    address = tab.value("location.hash")
    assert address == f"#season={SITE}/{FULL}&colour=light&parcel=4"
    assert tab.value("document.title") == f"Parcel 4 · {SITE} · {FULL}"
    field(tab, 5)
    tab.value("history.back()")
    tab.wait("document.querySelector('#panel').dataset.parcel === '4'")
    tab.value("history.back()")
    tab.wait("document.querySelector('#panel').hidden")
    tab.value("history.forward()")
    tab.wait("document.querySelector('#panel').dataset.parcel === '4'")
    enter(tab, service, "&" + address[1:])
    tab.wait("document.querySelector('#panel').dataset.parcel === '4'")
    assert tab.value("document.querySelector('#theme').value") == "light"
    assert tab.value("location.hash") == address
    tab.type("#condition", "NewID < 6")
    tab.wait(f"{TOLD} === '5 parcels'")
    assert "only=NewID" in tab.value("location.hash")
    assert service.held["operator"] not in tab.value("location.href")


def test_the_same_place_in_another_season(tab: Page) -> None:
    field(tab, 4)  # the fourth field from the west, which was the ninth from the other end
    tab.value("[...document.querySelectorAll('#panel section button')].at(-1).click()")
    tab.wait("document.querySelectorAll('#panel img').length === 2")
    assert "NewID 9 ·" in tab.value(PANEL)
    assert "2018-03-01 to 2018-10-31" in tab.value(PANEL)
    tab.choose("#season", f"sites/{SITE}/seasons/{BARE}")
    tab.wait("document.querySelector('#panel').dataset.parcel === '9'")
    assert tab.value("document.querySelector('#theme').options.length") == 1, "nothing was found out in this season"
    words = tab.value(PANEL)
    assert "Not known, and why" in words
    assert "Decisions: none was made" in words
    # A field that no image has seen: what was declared, and why there is no more.
    field(tab, 1)
    words = tab.value(PANEL)
    assert "Nothing was observed of it: 's4c run' computes series" in words
    assert tab.value("document.querySelectorAll('#panel img').length") == 0


def test_fields_that_lie_over_each_other_and_tiny_ones(tab: Page) -> None:
    field(tab, 10)  # over the first two
    press(tab, "Escape", 27)
    tab.wait("document.querySelector('#panel').hidden")
    tab.wait("new Promise(r => setTimeout(() => r(true), 500))")
    place = tab.place("#map")
    tab.click(place["x"] + place["width"] / 2 + 40, place["y"] + place["height"] / 2)
    tab.wait("document.querySelector('#panel').dataset.parcel")
    words = tab.value(PANEL)
    assert "Also here: " in words
    other = tab.value("[...document.querySelectorAll('#panel p button')].map((one) => one.textContent)")
    assert len(other) == 1
    tab.value("document.querySelector('#panel p button').click()")
    number = other[0].removeprefix("Parcel ")
    tab.wait(f"document.querySelector('#panel').dataset.parcel === '{number}'")
    assert "Also here: " in tab.value(PANEL), "and back"
    # Far out, all are one square; a click there comes nearer and opens none of them.
    press(tab, "Escape", 27)
    for _ in range(9):
        tab.value("document.querySelector('.maplibregl-ctrl-zoom-out').click()")
        tab.wait("new Promise(r => setTimeout(() => r(true), 350))")
    tab.wait("new Promise(r => setTimeout(() => r(true), 500))")
    scale = tab.value("document.querySelector('.maplibregl-ctrl-scale').innerText")
    place = tab.place("#map")
    found = ""
    for dx in (0, -4, 4, -8, 8, -12, 12):
        at = {"x": place["x"] + place["width"] / 2 + dx, "y": place["y"] + place["height"] / 2}
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
        tab.wait("new Promise(r => setTimeout(() => r(true), 100))")
        if found := tab.value("document.querySelector('#tip').hidden ? '' : document.querySelector('#tip').innerText"):
            tab.click(at["x"], at["y"])
            break
    assert re.match(r"\d+ parcels, mostly ", found)
    tab.wait(f"document.querySelector('.maplibregl-ctrl-scale').innerText !== {scale!r}")
    assert tab.value("document.querySelector('#panel').hidden")


def test_what_is_shown_can_be_taken_along(tab: Page) -> None:
    field(tab, 4)
    for name, path in (("Values (CSV)", "/parcels/4/series?format=csv"), ("Picture (SVG)", "/parcels/4/picture")):
        tab.value(f"[...document.querySelectorAll('.tools button')].find((b) => b.innerText === '{name}').click()")
        for _ in range(100):
            if any(one.endswith(path) for one in tab.requests):
                break
            tab.value("new Promise((done) => setTimeout(done, 30))")
        assert any(one.endswith(path) for one in tab.requests), name
    assert tab.value(TOLD) == ""
    # A name from right to left turns nothing around but itself.
    assert tab.value("[...document.querySelectorAll('#panel p bdi')].at(-1).innerText") == "2019-03-01 to 2019-10-31"
    tab.call("Emulation.setEmulatedMedia", media="print")
    seen = "[...document.querySelectorAll('{}')].some((one) => getComputedStyle(one).display !== 'none')"
    assert [tab.value(seen.format(one)) for one in ("header", "#map", "#legend", ".tools", "#panel img")] == [
        *[False] * 4,
        True,
    ]
    assert tab.value("getComputedStyle(document.querySelector('#panel')).overflow") == "visible"
    tab.call("Emulation.setEmulatedMedia", media="")


def test_a_layer_of_ones_own(service: Served, tab: Page) -> None:
    west, south, east, _ = service.get(f"/{HERE}/map").json()["bbox"]
    road = [[west, south - 0.001], [east, south - 0.001]]
    give = """(text) => {
      const files = new DataTransfer();
      files.items.add(new File([text], "own.geojson"));
      document.querySelector("#own").files = files.files;
      document.querySelector("#own").dispatchEvent(new Event("change"));
    }"""
    before = tab.screenshot("#map")
    for wrong in ("no JSON", '{"type": "Nothing"}'):
        tab.value(f"({give})({json.dumps(wrong)})")
        tab.wait(f"{TOLD} === 'This file is not GeoJSON.'")
    tab.value(f"({give})({json.dumps(json.dumps({'type': 'LineString', 'coordinates': road}))})")
    tab.wait(f"{TOLD} === ''")
    drawn = 0
    for _ in range(40):
        if (drawn := (tab.screenshot("#map") != before).any(axis=2).sum()) > 300:
            break
    assert drawn > 300, "a line from side to side"


def test_trouble_is_told_and_passes(service: Served, tab: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    # The service is away, and comes back.
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    tab.call("Network.emulateNetworkConditions", offline=True, **offline)
    tab.type("#condition", "NewID < 4")
    tab.wait(f"{TOLD}.includes('does not answer')")
    assert not tab.value("document.querySelector('#again').hidden")
    tab.call("Network.emulateNetworkConditions", offline=False, **offline)
    tab.value("document.querySelector('#again').click()")
    tab.wait(READY)
    assert tab.value(TOLD) == ""
    # Tiles alone are not answered.
    with monkeypatch.context() as broken:
        broken.setattr("s4c_hpc.serve.tiles.encode", None)
        tab.type("#condition", "NewID < 5")
        tab.wait(f"{TOLD} === 'Part of the map was not answered (500).'")
    tab.value("document.querySelector('#again').click()")
    tab.wait(READY)
    # A parcel that there is not.
    tab.type("#parcel", "4000")
    tab.wait("document.querySelector('#panel').innerText.includes('there is no such parcel')")
    # The token ends while the page is open: it is asked for, and what was shown comes back.
    token = service.tokens.add("brief", {SITE: Role.VIEWER})
    tab.open("about:blank")
    tab.open(f"{service.url}/v1/view/#token={token}")
    tab.wait(READY)
    service.tokens.revoke("brief")
    tab.type("#parcel", "3")
    tab.wait("document.querySelector('#door').open")
    assert "not valid" in tab.value("document.querySelector('#refused').innerText")
    tab.type("#token", service.held["viewer"])
    tab.wait("document.querySelector('#panel').dataset.parcel === '3'")
    assert not tab.value("document.querySelector('#door').open")


def test_a_condition_of_an_address_that_cannot_be_used_can_be_mended(service: Served, tab: Page) -> None:
    tab.open("about:blank")
    tab.open(f"{service.url}/v1/view/#token={service.held['viewer']}&only=ori_hold+%3D+1")
    tab.wait("document.body.dataset.state === 'failed'")
    assert tab.value("document.querySelector('#condition').value") == "ori_hold = 1"
    assert tab.value("document.querySelector('#condition').ariaInvalid") == "true"
    tab.type("#condition", "NewID < 4")
    tab.wait(f"{TOLD} === '3 parcels'")
    assert tab.value("document.querySelector('#condition').ariaInvalid") is None


def test_of_two_seasons_the_last_one_counts(tab: Page) -> None:
    # The place in the first one is found only after the second one is there.
    tab.value("""{
      const ask = fetch;
      window.fetch = async (...what) => {
        if (String(what[0]).includes("/collections/")) await new Promise((done) => (window.go = done));
        return ask(...what);
      };
    }""")
    field(tab, 4)
    tab.choose("#season", f"sites/{SITE}/seasons/{BARE}")
    tab.wait("window.go !== undefined")
    tab.choose("#season", HERE)
    tab.wait(f"{READY} && location.hash.includes('{FULL}')")
    tab.value("window.go()")
    tab.wait("new Promise((done) => setTimeout(() => done(true), 300))")
    assert tab.value("document.querySelector('#panel').hidden"), "the number is that of the other season"


SIGHT = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""Machado, Oliveira and Fernandes 2009, severity 1, of linear RGB."""


def lab(colour: str, sight: Any) -> Any:
    """CIE L*a*b* of a colour as somebody sees it."""
    share = np.array(list(bytes.fromhex(colour[1:]))) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(np.asarray(sight) @ linear, 0, 1) / (0.9505, 1, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("palette", [_CATEGORIES, _STEPS, (*_LIGHTS.values(),), (*_VERDICTS.values(),), _MONTHS[4:10]])
def test_colours_are_told_apart_by_everybody(palette: tuple[str, ...], sight: str) -> None:
    every = [lab(one, SIGHT[sight]) for one in dict.fromkeys((*palette, _OTHER, "#ecece6"))]
    apart = min(float(np.linalg.norm(a - b)) for i, a in enumerate(every) for b in every[:i])
    assert apart > 10, "2.3 is just seen, side by side"
