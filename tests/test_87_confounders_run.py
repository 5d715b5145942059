"""From imported coherence and rain to mowings whose confidence tells of doubts, as a user types it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import pytest
from support.cli import s4c, s4c_json, tree_bytes
from support.imports import COHERENCE, LONG, ImportSpace, site_text
from support.runs import InlineExecutor

from s4c_hpc import execute
from s4c_hpc.config import load_config
from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import read_centroids, read_tiles
from s4c_hpc.weather import rain_of

SITE = site_text("mowing")
N = 12
CUT = dt.date(2018, 6, 10)
MOWN = range(2)
PAIRS = [dt.date(2018, 3, 4) + dt.timedelta(days=6 * i) for i in range(40)]
"""One of them is 14 June, the first after the cut whose whole pair lies behind it is 20 June."""
STORM = dt.date(2018, 6, 14)


def optical_table() -> dict[str, Any]:
    """A look every five days: .85, and after the cut .55 that is back after 30 days."""
    days = [dt.date(2018, 3, 5) + dt.timedelta(days=5 * i) for i in range(46)]
    rows = []
    for i in range(N):
        for day in days:
            since = (day - CUT).days
            low = 0.55 + 0.01 * since if i in MOWN and since >= 0 else 1.0
            rows.append((f"F{i + 1:03d}", day, min(0.85, low)))
    return dict(zip(("id", "date", "ndvi"), map(list, zip(*rows, strict=True)), strict=True))


def radar_table(everywhere: bool) -> dict[str, Any]:
    """Coherence rises after the cut, of the fields that are cut or of all."""
    rng = np.random.default_rng(4)
    rises = [everywhere or i in MOWN for i in range(N)]
    values = [
        (0.6 if rises[i] and 5 < (d - CUT).days < 40 else 0.3) + rng.normal(0, 0.004) for i in range(N) for d in PAIRS
    ]
    return {
        "id": np.repeat([f"F{i + 1:03d}" for i in range(N)], len(PAIRS)),
        "date": pa.array(PAIRS * N),
        "coh": values,
    }


def places(root: Path) -> list[tuple[float, float]]:
    """Longitudes and latitudes of all fields."""
    found = []
    for one in read_tiles(Workspace(root), "v0001"):
        xy = read_centroids(Workspace(root), "v0001", one.tile)
        to_degrees = pyproj.Transformer.from_crs(one.tile.crs, "EPSG:4326", always_xy=True)
        found += [to_degrees.transform(x, y) for x, y in xy]
    return found


def rain_file(root: Path, mm: float, *, east: float = 0.0) -> Path:
    """A cell over the fields, and one beside it; it rains in one of them on a day."""
    lon, lat = np.mean(places(root), axis=0)
    days = [dt.date(2018, 2, 20) + dt.timedelta(days=i) for i in range(260)]
    lines = ["date,lon,lat,precipitation_mm"]
    for k in range(2):
        wet = k == (1 if east else 0)
        lines += [f"{d},{lon + 0.25 * k:.5f},{lat:.5f},{mm if d == STORM and wet else 0}" for d in days]
    path = root / "rain.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def space(root: Path, *, everywhere: bool = False) -> Path:
    made = ImportSpace(root, n=N)
    for name, table, text in (("ndvi", optical_table(), LONG), ("radar", radar_table(everywhere), COHERENCE)):
        made.bring(made.table(table, name=name), text)
    (root / "s4c.toml").write_text(SITE)
    return root


def run(root: Path, *flags: str) -> None:
    """What ``s4c run`` does, in this process."""
    config = load_config(root / "s4c.toml", flags=flags).config
    result = execute.run(Workspace(root), config, executor=InlineExecutor())
    assert result.exit_code is ExitCode.OK, result.status


def bring_rain(root: Path, path: Path) -> None:
    done = s4c("weather", "import", path, workspace=root)
    assert done.returncode == 0, done.stderr


def events(root: Path) -> list[dict[str, Any]]:
    files = sorted(root.glob("markers/l4b/*/*.arrow"))
    return [row for path in files for row in pa.ipc.open_file(path).read_all().to_pylist()]


def planned(root: Path) -> dict[str, int]:
    """Tasks to do by stage."""
    stages = s4c_json("plan", workspace=root)["stages"]
    return {one["stage"]: one["todo"] for one in stages if one["todo"]}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without weather."""
    root = space(tmp_path_factory.mktemp("plain"))
    run(root)
    return root


def test_without_weather_there_are_no_confounders_and_no_doubts(plain: Path) -> None:
    assert not list(plain.glob("tiles/*/confounders/*"))
    found = events(plain)
    assert len(found) == len(MOWN)
    assert {(row["doubts"], row["reason"]) for row in found} == {(0, "")}
    for row in found:
        assert row["coherence_rise"] == pytest.approx(row["coherence_after"] - row["coherence_before"], abs=1e-6)


def test_rain_lowers_the_confidence_says_why_and_only_what_depends_on_it_runs_again(plain: Path) -> None:
    before = events(plain)
    bring_rain(plain, rain_file(plain, 12.4))
    assert set(planned(plain)) == {"confounders", "mowing"}
    run(plain)
    assert planned(plain) == {}
    (file,) = plain.glob("tiles/*/confounders/*.arrow")
    found = events(plain)
    assert [row["NewID"] for row in found] == [row["NewID"] for row in before]
    for was, now in zip(before, found, strict=True):
        assert now["doubts"] & 1
        assert now["reason"].startswith("rain 12 mm")
        assert now["confidence"] < was["confidence"]
        assert now["coherence_rise"] == pytest.approx(0.023)  # what tells nothing
        same = ("start", "end", "ndvi_before", "coherence_before", "coherence_after", "source")
        assert {name: now[name] for name in same} == {name: was[name] for name in same}

    # A second run does nothing, and a new one from nothing makes the same bytes.
    again = s4c("run", workspace=plain)
    assert "up to date" in again.stderr
    bytes_before = tree_bytes(plain, "markers", f"tiles/{file.parts[-3]}/confounders")
    file.unlink()
    for path in plain.glob("markers/l4b*/*/*.arrow"):
        path.unlink()
    run(plain)
    assert tree_bytes(plain, "markers", f"tiles/{file.parts[-3]}/confounders") == bytes_before

    # Rain in the wrong cell: no doubt, and the older file has gone with its edition.
    bring_rain(plain, rain_file(plain, 12.4, east=0.25))
    lon, lat = np.mean(places(plain), axis=0)
    rain = rain_of(Workspace(plain), [lon, lon + 0.25], [lat, lat], STORM, STORM)
    assert rain is not None
    assert rain.mm[:, 0].tolist() == [0, pytest.approx(12.4)]
    assert set(planned(plain)) == {"confounders", "mowing"}
    run(plain)
    assert not file.exists()
    assert [(row["doubts"], row["confidence"]) for row in events(plain)] == [(0, row["confidence"]) for row in before]


def test_the_reference_knows_no_doubts(plain: Path) -> None:
    bring_rain(plain, rain_file(plain, 12.4))
    run(plain, "mowing.mode='reference'")
    found = events(plain)
    assert len(found) == len(MOWN)
    assert {(row["doubts"], row["reason"]) for row in found} == {(0, "")}
    assert all(np.isnan(row["coherence_rise"]) for row in found)
    run(plain)


def test_a_rise_of_all_fields_is_common_without_any_weather(tmp_path: Path) -> None:
    root = space(tmp_path, everywhere=True)
    run(root, "confounders.enabled=true")
    found = events(root)
    assert len(found) == len(MOWN)
    for row in found:
        assert "common rise" in row["reason"]
        assert row["doubts"] & 4
        assert row["coherence_rise"] == pytest.approx(0.023)
    wrong = s4c("run", "--set", "confounders.enabled=true", "--set", "confounders.crop='kind'", workspace=root)
    assert wrong.returncode == 3
    assert "confounders.crop: parcels have no column 'kind'; they have NewID" in wrong.stderr


def test_confounders_that_are_asked_for_without_series_are_no_success(tmp_path: Path) -> None:
    ImportSpace(tmp_path, n=N)
    (tmp_path / "s4c.toml").write_text(SITE)
    assert s4c("run", "--set", "confounders.enabled=true", workspace=tmp_path).returncode != 0


def test_damaged_weather_is_told_with_what_to_do(tmp_path: Path) -> None:
    root = space(tmp_path)
    bring_rain(root, rain_file(root, 12.4))
    edition = json.loads((root / "weather" / "current.json").read_text())["edition"]
    path = root / "weather" / edition / "rain.arrow"
    path.write_bytes(path.read_bytes()[:300])
    done = s4c("run", workspace=root)
    assert done.returncode == 5
    assert "rain.arrow" in done.stdout + done.stderr
    assert "run 's4c weather import' again" in done.stdout + done.stderr
    bring_rain(root, root / "rain.csv")
    assert s4c("run", "--retry-quarantined", workspace=root).returncode == 0
    assert events(root)
