"""The report as a file: whole, self-contained, safe, and true to the marker files."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import pyarrow as pa
import pytest
from support.html import by_class, by_id, parse, text_of
from support.report_workspace import FREISING, freising, freising_config, squares, write_state

from s4c_hpc.catalog import scan
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.report import write_report

NOW = dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)
HOSTILE = '"><script>alert(1)</script>'
PRODUCTS = [f"S2_L2A_201804{day:02d}T101500Z" for day in (2, 12, 22)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return freising(tmp_path_factory.mktemp("freising"), freising_config())


@pytest.fixture(scope="module")
def html(workspace: Workspace) -> str:
    path = write_report(workspace, freising_config(), workspace.root / "report.html", now=NOW)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Element:
    return parse(html)


def marker_table(workspace: Workspace) -> dict[str, np.ndarray]:
    """All marker columns, read without our code."""
    columns: dict[str, np.ndarray] = {}
    for path in sorted((workspace.root / "markers").rglob("*.arrow")):
        table = pa.ipc.open_file(path).read_all()
        columns |= {name: table[name].to_numpy() for name in table.column_names}
    return columns


def test_the_page_loads_nothing_from_anywhere(html: str) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|<link|<img|<iframe|\bsrc\s*=", html)
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {"#no-data", *(f"#crop-{i}" for i in range(8))}
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', html))


def test_links_and_labels_lead_somewhere(page: Element) -> None:
    ids = [e.get("id") for e in page.iter() if e.get("id")]
    assert len(set(ids)) == len(ids)
    assert {e.get("href", "")[1:] for e in page.iter("a")} <= set(ids)
    assert {e.get("for") for e in page.iter("label")} <= set(ids)
    assert all(e.get("aria-label") or e.get("aria-hidden") for e in page.iter("svg"))


def test_the_browser_is_told_to_run_our_script_only(page: Element) -> None:
    (script,) = page.iter("script")
    (policy,) = (e.get("content", "") for e in page.iter("meta") if e.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256((script.text or "").encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_head_says_how_it_stands(page: Element, workspace: Workspace) -> None:
    (outcome,) = by_class(page, "outcome")
    assert text_of(outcome) == "✓All 55 tasks done."
    facts = {text_of(dt_)[:20]: text_of(div) for div in page.iter("div") for dt_ in div.findall("dt")}
    assert facts["Parcels"].startswith("Parcels18")
    assert "FREISING" in facts["Tile"]
    assert facts["Products used"].startswith("Products used23")
    assert facts["Dates"].startswith("Dates23")
    columns = marker_table(workspace)
    total = sum(v.sum() for k, v in columns.items() if "_n_total__" in k)
    usable = sum(v.sum() for k, v in columns.items() if "_n_valid__" in k or "_n_water__" in k)
    assert f"{usable / total:.0%}"[:-1] in facts["Usable pixels"]


def test_every_parcel_has_a_card_and_an_outline(page: Element) -> None:
    names = {"Baumacker", "D4", "Grafenfeld", "Krohberg", "Radarstation", "Sieblerfeld", "Itzling5", "Feldhof1a"}
    cards = {text_of(h3) for card in by_class(page, "parcel-card") for h3 in card.iter("h3")}
    assert len(cards) == 18
    assert names <= cards
    outlines = [p for p in by_id(page, "map").iter("path") if p.get("data-parcel")]
    assert len({p.get("data-parcel") for p in outlines}) == 18
    assert {text_of(p).split(" (NewID")[0] for p in outlines} == cards


def test_numbers_on_the_page_are_those_of_the_marker_files(page: Element, workspace: Workspace) -> None:
    columns = marker_table(workspace)
    rows = {new_id: i for i, new_id in enumerate(columns["NewID"].tolist())}
    seen = 0
    for card in by_class(page, "parcel-card"):
        row = rows[int(card.get("id", "").removeprefix("parcel-"))]
        for date in by_class(card, "date"):
            stamp = date.get("data-day", "").replace("-", "")
            expected = columns[f"s2_ndvi_mean__{stamp}"][row]
            text = date.get("data-value")
            assert np.isnan(expected) if text is None else float(text) == pytest.approx(float(expected), abs=1e-6)
            seen += 1
        for cells in ([text_of(td) for td in tr.findall("td")] for tr in card.iter("tr") if tr.findall("td")):
            stamp = cells[0].replace("-", "")
            mean = columns[f"s2_ndvi_mean__{stamp}"][row]
            assert cells[2] == ("–" if np.isnan(mean) else f"{mean:.4f}")
            assert int(cells[5].replace(" ", "")) == columns[f"s2_10m_n_valid__{stamp}"][row]
            assert int(cells[9].replace(" ", "")) == columns[f"s2_10m_n_cloud__{stamp}"][row]
    assert seen == 18 * 23


def test_clear_dates_are_counted_as_the_legend_says(page: Element, workspace: Workspace) -> None:
    columns = marker_table(workspace)
    stamps = sorted({k.partition("__")[2] for k in columns if "__" in k})
    for card in by_class(page, "parcel-card"):
        row = columns["NewID"].tolist().index(int(card.get("id", "").removeprefix("parcel-")))
        counts = [{c: columns[f"s2_10m_n_{c}__{s}"][row] for c in ("total", "valid", "nodata")} for s in stamps]
        clear = sum(c["valid"] >= 0.9 * c["total"] for c in counts)
        reached = sum(c["nodata"] < c["total"] for c in counts)
        (sentence,) = (text_of(p) for p in by_class(card, "right"))
        assert sentence == f"{clear} clear of {reached} dates"


def test_the_python_example_of_the_page_runs(page: Element, workspace: Workspace) -> None:
    (code,) = ("".join(pre.itertext()) for pre in by_id(page, "dictionary").iter("pre") if "import" in text_of(pre))
    program = f"{code}\nprint(len(markers), *markers.columns)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=workspace.root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["18", "NewID", "s2_ndvi_mean__20180507"]


def test_the_same_workspace_gives_the_same_page(workspace: Workspace, html: str, tmp_path: Path) -> None:
    again = write_report(workspace, freising_config(), tmp_path / "again.html", now=NOW)
    assert again.read_text(encoding="utf-8") == html
    later = write_report(workspace, freising_config(), tmp_path / "later.html", now=NOW + dt.timedelta(days=1))
    changed = [new for old, new in zip(html.splitlines(), later.read_text().splitlines(), strict=True) if old != new]
    assert len(changed) == 1
    assert "2026-03-02 12:30 UTC" in changed[0]


def test_parcels_that_are_not_shown_are_named_as_such(workspace: Workspace, tmp_path: Path) -> None:
    page = parse(write_report(workspace, freising_config(report__parcels=3), tmp_path / "few.html").read_text())
    assert len(list(by_class(page, "parcel-card"))) == 3
    assert "15 other parcels have no time line here" in text_of(by_id(page, "timelines"))
    # First, middle and last of the list.
    assert [c.get("id") for c in by_class(page, "parcel-card")] == ["parcel-1", "parcel-9", "parcel-18"]


def test_text_from_files_stays_text(tmp_path: Path) -> None:
    config = freising_config()
    names = {0: HOSTILE, 1: "a' onclick='x", 2: "{{ 7 * 7 }}", 3: "&lt;b&gt;"}
    workspace = squares(tmp_path, config, 9, 3, names=names)
    write_state(workspace, config, PRODUCTS, failed={PRODUCTS[1]: ("input", f"cannot be decoded {HOSTILE}")})
    page = parse(write_report(workspace, config, tmp_path / "report.html").read_text())
    assert len(list(page.iter("script"))) == 1
    assert not [k for e in page.iter() for k in e.keys() if k.startswith("on")]  # noqa: SIM118 - an element is no dict
    headings = {text_of(h3) for card in by_class(page, "parcel-card") for h3 in card.iter("h3")}
    assert set(names.values()) <= headings
    assert f"cannot be decoded {HOSTILE}" in text_of(by_id(page, "findings"))


def test_an_empty_workspace_says_what_is_missing(tmp_path: Path) -> None:
    page = parse(write_report(Workspace(tmp_path), freising_config(), tmp_path / "report.html").read_text())
    (outcome,) = by_class(page, "outcome")
    assert "Nothing has run yet." in text_of(outcome)
    for section in ("map", "timelines", "coverage", "findings", "usage", "dictionary"):
        assert list(by_class(by_id(page, section), "empty")), section
    assert "s4c parcels import" in text_of(by_id(page, "map"))
    assert "s4c catalog scan" in text_of(by_id(page, "coverage"))


def test_parcels_without_markers_are_shown_and_wait(tmp_path: Path) -> None:
    config = freising_config()
    workspace = Workspace(tmp_path)
    import_parcels(None, workspace, config)
    page = parse(write_report(workspace, config, tmp_path / "report.html").read_text())
    assert "s4c run" in text_of(by_id(page, "timelines"))
    assert "Waiting for values: Baumacker" in text_of(by_id(page, "timelines"))
    assert "0 clear of 0 dates" in text_of(by_id(page, "map"))


def test_failures_come_with_their_reason(tmp_path: Path) -> None:
    config = freising_config()
    workspace = squares(tmp_path, config, 4, 2)
    reason = "cannot be decoded: unexpected end of file"
    write_state(workspace, config, PRODUCTS, failed={PRODUCTS[0]: ("input", reason)}, waiting=2)
    page = parse(write_report(workspace, config, tmp_path / "report.html").read_text())
    (outcome,) = by_class(page, "outcome")
    assert "Needs attention: 1 task of 9 failed, 2 other tasks not done." in text_of(outcome)
    rows = [[text_of(td) for td in tr.findall("td")] for tr in by_id(page, "findings").iter("tr")]
    assert ["gather", "FREISING", PRODUCTS[0], "input", reason, "1"] in rows


def test_a_broken_product_is_listed_with_its_reason(tmp_path: Path) -> None:
    shutil.copytree(FREISING, tmp_path / "data")
    image = sorted((tmp_path / "data" / "images").glob("*.tif"))[3]
    image.write_bytes(b"not an image")
    flags = {
        "sources": f"[{{kind='geotiff',root='{image.parent}',pattern='S2_L2A_{{datetime}}.tif',tile='FREISING',"
        "bands={B04=4,B08=8}}]"
    }
    config = freising_config(**flags)
    workspace = Workspace(tmp_path / "ws")
    scan(config, workspace)
    page = parse(write_report(workspace, config, tmp_path / "report.html").read_text())
    (row,) = (tr for tr in by_id(page, "findings").iter("tr") if image.stem in text_of(tr))
    assert len(text_of(row.findall("td")[2])) > 10
    assert "22 products used" in text_of(by_id(page, "coverage"))


def test_a_damaged_marker_file_is_named(tmp_path: Path) -> None:
    config = freising_config()
    workspace = squares(tmp_path, config, 4, 2)
    (path,) = workspace.markers.rglob("*.arrow")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=re.escape(path.name)):
        write_report(workspace, config, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_two_thousand_parcels_make_a_page_that_opens(tmp_path: Path) -> None:
    config = freising_config()
    workspace = squares(tmp_path, config, 2000, 40)
    start = time.perf_counter()
    path = write_report(workspace, config, tmp_path / "report.html")
    # Generous: it takes some 2 s. What this catches is work that grows with parcels x dates.
    assert time.perf_counter() - start < 30
    assert path.stat().st_size < 4_000_000
    page = parse(path.read_text())
    assert len(list(by_class(page, "parcel-card"))) == config.report.parcels
    assert len([p for p in by_id(page, "map").iter("path") if p.get("data-parcel")]) == 2000


def test_more_parcels_than_can_be_drawn_become_a_density_map(tmp_path: Path) -> None:
    config = freising_config(report__parcels=2)
    workspace = squares(tmp_path, config, 5001, 1)
    page = parse(write_report(workspace, config, tmp_path / "report.html").read_text())
    section = by_id(page, "map")
    assert "too many to tell apart" in text_of(section)
    cells = [int(text_of(e).split()[0]) for e in section.iter("rect") if e.get("class") == "density"]
    assert sum(cells) == 5001
