"""What practices and mowing have to go by: told before a run, from series, imports and the product index."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.cli import s4c, s4c_json
from support.imports import LONG, ImportSpace, site_text

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import latest_version, read_tiles
from s4c_hpc.series.inputs import Kind, RuleInput, rule_inputs
from s4c_hpc.series.radar_names import radar_name

FIRST, UNTIL = dt.date(2018, 3, 1), dt.date(2018, 10, 31)
SITE = site_text("mowing")
RADAR = """
    name = "{name}"
    sensor = "s1"
    form = "long"
    parcel = "id"
    date = "date"
    orbit_column = "orbit"
    orbit_direction = "ascending"
    [variables.{variable}]
    column = "value"
"""


class Space(ImportSpace):
    """Two tiles with fields, and tables of some of them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, n=4)
        (root / "s4c.toml").write_text(SITE)

    def optical(self, days: list[dt.date]) -> Space:
        names = [f"F{i + 1:03d}" for i in range(4)]
        table = {"id": np.repeat(names, len(days)), "date": pa.array(days * 4), "ndvi": [0.5] * len(days) * 4}
        self.bring(self.table(table, name="ndvi"), LONG)
        return self

    def radar(self, variable: str, orbit: int, every: int, n: int = 20) -> Space:
        days = [FIRST + dt.timedelta(days=orbit + every * i) for i in range(n)]
        names = [f"F{i + 1:03d}" for i in range(4)]
        name = f"{variable.replace('_', '-')}-{orbit}"
        table = {
            "id": np.repeat(names, n),
            "date": pa.array(days * 4),
            "value": [0.5] * n * 4,
            "orbit": [orbit] * n * 4,
        }
        self.bring(self.table(table, name=name), RADAR.format(name=name, variable=variable))
        return self

    def inputs(self, indexed: dict[tuple[str, str], int] | None = None) -> dict[Kind, RuleInput]:
        """Of the first tile."""
        workspace = Workspace(self.root)
        version = latest_version(workspace)
        assert version is not None
        tiles = [one.tile.id for one in read_tiles(workspace, version)]
        found = rule_inputs(workspace, tiles, "ndvi", FIRST, UNTIL, indexed or {})
        return {one.kind: one for one in found if one.tile == min(tiles)}


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return Space(tmp_path)


def days(*texts: str) -> list[dt.date]:
    return [dt.date.fromisoformat(f"2018-{text}") for text in texts]


def test_nothing_at_all(space: Space) -> None:
    found = space.inputs()
    assert [found[kind].notes for kind in Kind] == [
        ("no NDVI: only radar tells of events",),
        ("no backscatter: a harvest is told without it",),
        ("no coherence: nothing confirms what NDVI shows",),
    ]


def test_products_that_are_not_processed_yet(space: Space) -> None:
    tile = space.inputs()[Kind.NDVI].tile
    found = space.inputs({(tile, "s2"): 23, (tile, "s1"): 40, ("elsewhere", "s2"): 5})
    assert found[Kind.NDVI].waiting == 23
    assert found[Kind.COHERENCE].notes == (
        "no coherence: nothing confirms what NDVI shows; 40 dates are not processed yet",
    )


def test_a_long_gap_of_ndvi(space: Space) -> None:
    ndvi = space.optical(days("03-10", "04-01", "06-20", "07-10", "08-01", "08-20", "09-15", "10-10")).inputs()[
        Kind.NDVI
    ]
    assert (ndvi.days, ndvi.first, ndvi.last, ndvi.longest_gap_days) == (
        8,
        dt.date(2018, 3, 10),
        dt.date(2018, 10, 10),
        80,
    )
    assert ndvi.notes == ("no NDVI for 80 days: what happens then has no date",)


def test_the_end_of_the_season_is_a_gap_as_well(space: Space) -> None:
    assert space.optical(days("03-10", "04-01")).inputs()[Kind.NDVI].longest_gap_days == 214


def test_pairs_of_one_satellite_and_one_orbit(space: Space) -> None:
    one = space.radar("coherence_vv", 15, 12).inputs()[Kind.COHERENCE]
    assert (one.orbits, one.pair_days) == (("15",), (12,))
    assert one.notes == (
        "coherence over 12 days only: it sees less than that over 6",
        "coherence of one orbit only: nothing confirms it but NDVI",
    )
    two = space.radar("coherence_vv", 22, 6).inputs()[Kind.COHERENCE]
    assert (two.orbits, sorted(two.pair_days)) == (("15", "22"), [6, 12])
    assert two.notes == ()


def test_backscatter_is_not_coherence(space: Space) -> None:
    found = space.radar("sigma0_vv", 15, 6).inputs()
    assert found[Kind.BACKSCATTER].days == 20
    assert found[Kind.COHERENCE].days == 0


@pytest.mark.parametrize("name", ["cohvv", "coh_vv", "coherence_vv", "vv_coh", "vv_coherence", "cohe_vv"])
def test_coherence_under_its_many_names(name: str) -> None:
    """Stacks call the bands COHVV and COHVH, tables what they like."""
    found = radar_name(name, "1")
    assert found is not None
    assert (found.polarisation, found.is_coherence) == ("VV", True)


def test_what_is_said_before_a_run(space: Space) -> None:
    space.optical(days("03-10", "04-01"))
    told = s4c("plan", workspace=space.root)
    assert told.returncode == 0
    assert "no coherence: nothing confirms what NDVI shows" in told.stderr
    assert "no NDVI for 214 days" in told.stderr
    table = s4c("catalog", "readiness", workspace=space.root)
    assert table.returncode == 0
    assert table.stdout.splitlines()[0].split()[:3] == ["tile", "for", "rules"]
    rows: list[dict[str, Any]] = s4c_json("catalog", "readiness", workspace=space.root)["rule_inputs"]
    assert {row["kind"] for row in rows} == {"NDVI", "backscatter", "coherence"}
