"""Imported series beside our own: both are read through one door, and neither changes what the other says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from support.markers import TILE
from support.season import SeasonSpace

from s4c_hpc.config.imports import load_mapping
from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError
from s4c_hpc.series import open_series
from s4c_hpc.series.import_table import import_table
from s4c_hpc.series.imported import POINTER, imports_of, read_imported

MAPPING = """
name = "other"
sensor = "s2"
form = "long"
parcel = "parcel"
match = "NewID"
date = "date"
[variables.ndvi]
column = "ndvi"
"""


@pytest.fixture
def space(tmp_path: Path) -> SeasonSpace:
    """Three acquisitions of ours and, for parcels 3 and 4, a table of two days, one of them ours as well."""
    made = SeasonSpace(tmp_path)
    made.workspace.config.write_text("")
    for when in ("20180507T102648", "20180512T102148", "20180603T101329"):
        made.acquire(when)
    made.season()
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "table.csv").write_text("parcel,date,ndvi\n3,2018-05-07,0.25\n4,2018-05-07,0.5\n3,2018-05-20,0.75\n")
    import_table(tmp_path / "table.csv", load_mapping(tmp_path / "mapping.toml"), made.workspace, made.config)
    return made


def test_a_parcel_has_both(space: SeasonSpace) -> None:
    series = open_series(space.root)
    ours, theirs = series.parcel(3)
    assert (ours.grid, theirs.grid) == ("10m", "other")
    assert len(ours.acquisitions) == 3
    assert theirs.values("ndvi_mean").tolist() == [0.25, 0.75]
    assert [a.day for a in theirs.acquisitions] == [dt.date(2018, 5, 7), dt.date(2018, 5, 20)]
    (only,) = series.parcel(3, grid="other")
    assert only.values("ndvi_mean").tolist() == [0.25, 0.75]
    (without,) = open_series(space.root, imports=False).parcel(3)
    assert without.acquisitions == ours.acquisitions


def test_dates_variables_and_tables_have_both(space: SeasonSpace) -> None:
    series = open_series(space.root)
    assert [one.acquisition.grid for one in series.date(dt.date(2018, 5, 7))] == ["10m", "other"]
    (only,) = series.date(dt.date(2018, 5, 20))
    values = dict(zip(only.new_id.tolist(), only.values("ndvi_mean").tolist(), strict=True))
    assert values.pop(3) == 0.75
    assert np.isnan(list(values.values())).all()
    grids = {one.grid: one.matrix.shape for one in series.variable("ndvi", "mean")}
    assert grids == {"10m": (3, 18), "other": (2, 18)}
    assert series.table(["ndvi_mean"]).num_rows == 5 * 18
    assert series.table(["ndvi_mean"], grid="other").num_rows == 2 * 18


def test_an_import_that_is_damaged_is_told(space: SeasonSpace) -> None:
    (imported,) = imports_of(space.workspace)
    assert read_imported(space.workspace, "other") == imported
    with pytest.raises(MissingDataError, match="nothing was imported as 'else'"):
        read_imported(space.workspace, "else")
    pointer = space.workspace.imported / "other" / imported.edition / TILE / POINTER
    pointer.unlink()
    with pytest.raises(MissingDataError, match="import the table again"):
        open_series(space.root).parcel(3)
    (space.workspace.imported / "other" / POINTER).write_text("{}")
    with pytest.raises(InputError, match="not an import of contract"):
        open_series(space.root).parcel(3)
    assert len(open_series(space.root, imports=False).parcel(3)) == 1


def test_our_own_tiles_stay_those_of_runs(space: SeasonSpace) -> None:
    (space.root / "tiles" / TILE / "series" / "current.json").unlink()
    assert open_series(space.root).tiles == [TILE]
    (theirs,) = open_series(space.root).parcel(4)
    assert theirs.grid == "other"
    with pytest.raises(NoInputsError, match="there are no series yet"):
        _ = open_series(space.root, imports=False).tiles
