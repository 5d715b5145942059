"""``s4c report parcel``: from the bundled images, imported radar and rain to a picture and the words for it."""

from __future__ import annotations

import csv
import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from support.cli import s4c, s4c_json
from support.demo import FinishedDemo
from support.html import by_class, parse, text_of
from support.season_of_demo import write_evidence, write_practices, write_radar

from s4c_hpc.config import load_config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers import read_manifest
from s4c_hpc.report.parcel_season import parcel_season

SVG = "{http://www.w3.org/2000/svg}"
FIELDS = ("Grafenfeld", "Krohberg", "Radarstation")
CATCH = ("2018-03-01", "2018-06-15", "2018-08-01", "CatchCrop", "CatchCrop_1", "2018-08-10", "2018-10-05")


@pytest.fixture(scope="module")
def workspace(finished_demo: FinishedDemo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with radar and rain that were imported, practices and mowing."""
    root = Path(shutil.copytree(finished_demo.workspace, tmp_path_factory.mktemp("demo") / "workspace"))
    table, mapping = write_radar(root, FIELDS)
    practices = write_practices(root, {"Grafenfeld": CATCH, "Krohberg": (*CATCH[:3], "NA", "", "", "")})
    config, _, _ = (root / "s4c.toml").read_text().partition("[practices]")
    own = f'[practices]\nenabled = true\nmode = "reference"\ntable = "{practices}"\n[mowing]\nenabled = true\n'
    (root / "s4c.toml").write_text(config + own)
    days = [dt.date(2018, 1, 1) + dt.timedelta(days=i) for i in range(365)]
    rain = ["date,lon,lat,precipitation_mm", *(f"{d},11.7,48.4,{0 if i % 10 else 12.5}" for i, d in enumerate(days))]
    (root / "rain.csv").write_text("\n".join(rain) + "\n")
    for command in (
        ("series", "import", table, "--config", mapping),
        ("weather", "import", root / "rain.csv", "--max-distance-km", "30"),
        ("run",),
    ):
        done = s4c(*command, workspace=root)
        assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def evidence(workspace: Path) -> Iterator[Path]:
    """A file of decisions with evidence of two fields."""
    ids = {one: s4c_json("report", "parcel", one, workspace=workspace)["parcel"] for one in FIELDS[:2]}
    path = workspace / "markers" / "l4c-evidence" / "2018" / "freising_FREISING.arrow"
    rows = [
        {
            "NewID": ids["Grafenfeld"],
            "decision": "harvest",
            "verdict": "found",
            "start": dt.date(2018, 7, 1),
            "end": dt.date(2018, 7, 26),
            "confidence": 0.71,
            "source": "S1+S2",
            "doubts": 5,
            "reason": "NDVI and coherence",
            "ndvi_before": 0.35,
            "ndvi_after": 0.15,
        },
        {"NewID": ids["Grafenfeld"], "decision": "tillage", "verdict": "undecided", "reason": "no radar after harvest"},
        {"NewID": ids["Krohberg"], "decision": "harvest", "verdict": "not found"},
    ]
    write_evidence(path, rows)
    yield path
    path.unlink()


def test_a_parcel_of_the_demo_with_all_strips(workspace: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "field.svg"
    done = s4c("report", "parcel", "Grafenfeld", "-o", out, workspace=workspace)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert "Harvest: found between 2018-07-02 and 2018-07-08, seen by S1+S2" in done.stderr
    assert "declared  harvest expected: 2018-06-15 to 2018-08-01" in done.stderr
    assert "threshold ndvi_up 350 thousandths" in done.stderr
    svg = ET.parse(out).getroot()  # noqa: S314 - made here
    strips = [e.get("class") for e in svg.iter() if (e.get("class") or "").startswith("strip ")]
    assert strips == [
        *("strip periods", "strip decisions", "strip optical", "strip ratio", "strip ratio"),
        *("strip coherence", "strip coherence", "strip rain"),
    ]
    days = {e.get("data-day") for e in svg.iter() if e.get("class") == "date"}
    assert len(days) == 23
    kinds = [(e.get("data-kind"), e.get("data-verdict")) for e in svg.iter() if e.get("class") == "decision"]
    assert kinds[0] == ("harvest", "found")
    assert ("catch-crop", "moderate") in kinds


def test_evidence_counts_before_codes_and_is_shown_whatever_it_is(workspace: Path, evidence: Path) -> None:
    found = s4c_json("report", "parcel", "Grafenfeld", workspace=workspace)
    practices = [d for d in found["decisions"] if d["decision"] != "mowing"]
    assert [(d["decision"], d["verdict"], d["set"]) for d in practices] == [
        ("harvest", "found", "l4c-evidence"),
        ("tillage", "undecided", "l4c-evidence"),
    ]
    harvest = practices[0]
    assert (harvest["start"], harvest["end"]) == ("2018-07-01", "2018-07-26")
    assert harvest["confidence"] == pytest.approx(0.71)
    assert harvest["doubts"] == ["rain", "common rise"]
    assert harvest["evidence"] == {
        "ndvi_before": pytest.approx(0.35),
        "ndvi_after": pytest.approx(0.15),
        "coherence_rise": None,
        "ratio_rise_db": None,
    }
    assert [p["kind"] for p in found["declared"]] == ["season", "harvest", "practice"]
    told = s4c("report", "parcel", "Grafenfeld", "-o", evidence.parent / "x.svg", workspace=workspace)
    assert "NDVI of the last look before = 0.35" in told.stderr
    assert "doubts: rain, common rise" in told.stderr
    other = s4c_json("report", "parcel", "Krohberg", workspace=workspace)
    assert ("harvest", "not found") in [(d["decision"], d["verdict"]) for d in other["decisions"]]


def test_json_holds_all_that_is_drawn_and_writes_no_file(workspace: Path, tmp_path: Path) -> None:
    found = s4c_json("report", "parcel", "Krohberg", workspace=workspace)
    assert found["season"] == ["2018-01-01", "2018-12-31"]
    (optical,) = found["optical"]
    assert len(optical["values"]) == 23
    assert [(one["orbit"], len(one["values"])) for one in found["coherence"]] == [
        ("orbit 117, ascending", 40),
        ("orbit 168, descending", 40),
    ]
    assert max(v["value"] for v in found["coherence"][0]["values"]) <= 1
    assert sum(v["value"] for v in found["rain_mm"]) == pytest.approx(37 * 12.5)
    assert not list(Path.cwd().glob("parcel-*"))


def test_a_field_far_from_all_weather_is_told_from_no_weather(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "tiles").symlink_to(workspace / "tiles")
    for name in ("catalog", "parcels", "markers", "s4c.toml"):
        (tmp_path / name).symlink_to(workspace / name)
    table = tmp_path / "far.csv"
    table.write_text("date,lon,lat,precipitation_mm\n2018-06-01,1.7,48.4,5\n2018-06-02,1.7,48.4,0\n")
    assert s4c("weather", "import", table, workspace=tmp_path).returncode == 0
    done = s4c("report", "parcel", "Feldhof1", "-o", tmp_path / "x.svg", workspace=tmp_path)
    assert "Rain: no cell of the weather that was imported is near" in done.stderr


def test_several_parcels_a_file_each(workspace: Path, tmp_path: Path) -> None:
    done = s4c("report", "parcel", "1", "Krohberg", "-o", tmp_path, "--format", "html", workspace=workspace)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["parcel-1.html", "parcel-Krohberg.html"]
    page = parse((tmp_path / "parcel-Krohberg.html").read_text())
    assert "Parcel Krohberg" in text_of(page)
    headings = [text_of(e) for e in page.iter("h3")]
    assert any(h.startswith("Harvest: found") for h in headings)
    assert len(list(by_class(page, "strip"))) == 8
    refused = s4c("report", "parcel", "1", "2", "-o", tmp_path / "one.svg", workspace=workspace)
    assert refused.returncode == 3


def test_a_png_is_an_image_on_white_paper(workspace: Path, tmp_path: Path) -> None:
    out = tmp_path / "field.png"
    assert s4c("report", "parcel", "Grafenfeld", "-o", out, workspace=workspace).returncode == 0
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(out) as image:
        pixels = image.read()
    assert pixels.shape[2] == 2000
    assert (pixels[:3, 2, 2] == 255).all()
    assert (pixels[:3].min(axis=0) < 128).any()


def test_a_field_without_radar_says_what_is_missing(workspace: Path, tmp_path: Path) -> None:
    done = s4c("report", "parcel", "Feldhof1", "-o", tmp_path / "x.svg", workspace=workspace)
    assert done.returncode == 0
    assert "not shown: Coherence: no series of radar pairs" in done.stderr
    assert "Harvest: undecided" in done.stderr
    assert "Not shown" in (tmp_path / "x.svg").read_text()


@pytest.mark.parametrize("name", ["Nowhere", "999", "99999999999999"])
def test_an_unknown_parcel_is_exit_6_with_a_hint(workspace: Path, name: str) -> None:
    done = s4c("report", "parcel", name, workspace=workspace)
    assert done.returncode == 6
    assert f"there is no parcel '{name}'" in done.stderr
    assert "NewID" in done.stderr


def test_an_ending_that_is_no_picture_is_refused_before_anything_is_read(workspace: Path, tmp_path: Path) -> None:
    done = s4c("report", "parcel", "1", "-o", tmp_path / "x.pdf", workspace=workspace)
    assert done.returncode == 3
    assert ".svg" in done.stderr


def test_the_report_itself_is_still_written(workspace: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    done = s4c("report", "-o", out, workspace=workspace)
    assert (done.returncode, done.stdout) == (0, f"{out}\n")
    page = parse(out.read_text())
    (card,) = (e for e in page.iter("article") if "grafenfeld" in e.get("data-find", ""))
    assert {e.get("data-kind") for e in by_class(card, "decision")} >= {"harvest", "catch-crop"}
    assert len(list(by_class(card, "declared"))) == 3
    assert "Harvest: found between 2018-07-02" in text_of(card)
    assert "Is the catch crop there?" in text_of(page)
    refused = s4c("report", "-w", workspace, "parcel", "1")
    assert refused.returncode == 2
    assert "behind its name" in refused.stderr


def test_mowing_has_manifests_that_readers_of_markers_read(workspace: Path) -> None:
    for kind in ("l4b", "l4b-parcels"):
        (path,) = (workspace / "markers" / kind).glob("*/*.arrow")
        manifest = read_manifest(path)
        assert (manifest.set, manifest.n_parcels) == (kind, 18)
        assert {one.sensor for one in manifest.inputs} == {"s2", "s1"}
    rows = s4c_json("markers", "list", workspace=workspace)
    assert {row["problem"] for row in rows} == {""}


def test_events_are_asked_for_like_other_sets(workspace: Path, tmp_path: Path) -> None:
    everything = s4c_json("markers", "query", "--marker-set", "l4b", workspace=workspace)
    ids = sorted({row["NewID"] for row in everything})
    without = min(set(range(1, 19)) - set(ids))
    assert s4c_json("markers", "query", "--marker-set", "l4b", "--ids", str(without), workspace=workspace) == []
    both = s4c_json("markers", "query", "--marker-set", "l4b", "--ids", f"{ids[0]},{without}", workspace=workspace)
    assert {row["NewID"] for row in both} == {ids[0]}
    sql = "SELECT count(*) AS n FROM markers WHERE confidence > 0.5"
    (counted,) = s4c_json("markers", "query", "--marker-set", "l4b", "--sql", sql, workspace=workspace)
    assert counted["n"] == sum(row["confidence"] > 0.5 for row in everything)
    out = tmp_path / "x.gpkg"
    done = s4c("markers", "export", out, "--marker-set", "l4b", "--attributes", "ori_id", workspace=workspace)
    assert done.returncode == 0, done.stderr
    assert f"{len(everything)} rows" in done.stderr


def test_practices_are_exported_under_the_reference_names(workspace: Path, tmp_path: Path) -> None:
    out = tmp_path / "l4c.csv"
    done = s4c("markers", "export", out, "--marker-set", "l4c", "--compat", workspace=workspace)
    assert done.returncode == 0, done.stderr
    names = next(csv.reader(out.read_text().splitlines()))
    assert "C_INDEX" in names
    assert "STATUS" not in names
    assert "1 columns have no name" in done.stderr


def test_the_same_bytes_every_time(workspace: Path, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        assert s4c("report", "parcel", "Krohberg", "-o", tmp_path / name, workspace=workspace).returncode == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_from_python(workspace: Path) -> None:
    config = load_config(workspace / "s4c.toml").config
    season = parcel_season(Workspace(workspace), config, "Grafenfeld")
    assert json.dumps(season.to_json()["declared"])
    assert [one.orbit for one in season.ratio] == ["orbit 117, ascending", "orbit 168, descending"]
    # VV - VH grows from some 6.5 to some 9.5 dB at the harvest, whatever the scale that was imported.
    before = [m.value for m in season.ratio[0].measured if m.day < dt.date(2018, 7, 2)]
    after = [m.value for m in season.ratio[0].measured if m.day > dt.date(2018, 7, 2)]
    assert 6 < sum(before) / len(before) < 7
    assert 9 < sum(after) / len(after) < 10
