"""From imported radar, NDVI and rain to harvests whose confidence tells of doubts, as a user types it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.cli import s4c
from support.imports import ImportSpace, site_text
from support.practices import FIRST
from test_85_practices_stage import OPTICAL, RADAR, names, optical, radar
from test_87_confounders_run import places, planned

from s4c_hpc.confounders.doubts import Doubt

SITE = site_text("practices", season=("2021-03-01", "2021-12-31"))
RISE = FIRST + dt.timedelta(days=6 * 14)
"""The acquisition at which the golden parcel's coherence rises most, 26 July."""


def harvests(root: Path) -> list[dict[str, Any]]:
    """Rows of evidence about harvests, by parcel."""
    rows = []
    for path in sorted(root.glob("markers/l4c-evidence/2021/*.arrow")):
        with pa.OSFile(str(path)) as file:
            rows += pa.ipc.open_file(file).read_all().to_pylist()
    return sorted((row for row in rows if row["decision"] == "harvest"), key=lambda row: row["NewID"])


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fields that are the golden parcel, judged without weather."""
    root = tmp_path_factory.mktemp("doubted")
    space = ImportSpace(root, n=4)
    fields = names(1, 2, 3, 4)
    space.bring(space.table(radar(fields), name="radar"), RADAR)
    space.bring(space.table(optical(fields), name="optical"), OPTICAL)
    (root / "s4c.toml").write_text(SITE)
    done = s4c("run", workspace=root)
    assert done.returncode == 0, done.stderr
    return root


def test_rain_at_the_rise_lowers_the_confidence_and_says_why(dry: Path) -> None:
    before = harvests(dry)
    assert {row["verdict"] for row in before} == {"found"}
    assert {row["doubts"] for row in before} == {Doubt.NONE}
    lon, lat = np.mean(places(dry), axis=0)
    days = [dt.date(2021, 3, 1) + dt.timedelta(days=i) for i in range(300)]
    lines = [f"{day},{lon:.5f},{lat:.5f},{12 if day == RISE else 0}" for day in days]
    (dry / "rain.csv").write_text("date,lon,lat,precipitation_mm\n" + "\n".join(lines) + "\n")
    imported = s4c("weather", "import", dry / "rain.csv", workspace=dry)
    assert imported.returncode == 0, imported.stderr
    assert "4 of 4 parcels lie near a cell" in imported.stderr
    assert set(planned(dry)) == {"confounders", "practices"}, "nothing else depends on the weather"
    assert s4c("run", workspace=dry).returncode == 0
    after = harvests(dry)
    assert [(row["verdict"], row["start"], row["end"]) for row in after] == [
        (row["verdict"], row["start"], row["end"]) for row in before
    ], "nothing is deleted"
    for wet, clear in zip(after, before, strict=True):
        assert wet["doubts"] & Doubt.WET
        assert "rain" in wet["reason"]
        assert wet["confidence"] < clear["confidence"]


def test_rain_elsewhere_reaches_nobody_and_says_so(tmp_path: Path) -> None:
    ImportSpace(tmp_path, n=4)
    (tmp_path / "s4c.toml").write_text(SITE)
    (tmp_path / "rain.csv").write_text("date,lon,lat,precipitation_mm\n2021-07-26,-60.0,-30.0,12\n")
    imported = s4c("weather", "import", tmp_path / "rain.csv", "--max-distance-km", "20", workspace=tmp_path)
    assert imported.returncode == 0
    assert "0 of 4 parcels lie near a cell; their rain is not known" in imported.stderr


def test_the_reference_heeds_no_weather(dry: Path) -> None:
    done = s4c("run", "--set", "practices.mode='reference'", workspace=dry)
    assert done.returncode == 0, done.stderr
    assert not harvests(dry), "and leaves no evidence behind"
