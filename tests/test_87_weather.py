"""Precipitation from tables, NetCDF and GRIB: by cell and day, with every doubt told."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cli import s4c, s4c_json
from support.weather import LAT, LON, hours, write_grib, write_netcdf

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.weather import Weather, rain_of, read_weather, weather_key
from s4c_hpc.weather.cells import nearest, reaches
from s4c_hpc.weather.daily import Accumulation, daily, told
from s4c_hpc.weather.field import Field, Tally
from s4c_hpc.weather.import_weather import Reading, import_weather

MAY = dt.date(2020, 5, 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "s4c.toml").write_text("")
    return Workspace(tmp_path)


def bring(workspace: Workspace, text: str, name: str = "rain.csv", **reading: object) -> Weather:
    path = workspace.root / name
    path.write_text(text)
    return import_weather([path], Reading(**reading), workspace)[0]  # type: ignore[arg-type]


def rain(workspace: Workspace, lon: float, lat: float, n_days: int = 3, first: dt.date = MAY) -> list[float]:
    found = rain_of(workspace, [lon], [lat], first, first + dt.timedelta(days=n_days - 1))
    assert found is not None
    assert found.day.tolist() == [(first - dt.date(1970, 1, 1)).days + i for i in range(n_days)]
    assert found.mm.dtype == np.float32
    return [round(float(value), 4) for value in found.mm[0]]


def same(found: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(found, expected, atol=1e-3)


TABLE = """date,lon,lat,precipitation_mm
2020-05-01,11.0,48.5,0
2020-05-03,11.0,48.5,12.5
2020-05-01,11.25,48.5,3
2020-05-02,11.25,48.5,4
2020-05-03,11.25,48.5,5
2020-05-01,11.0,48.25,1
2020-05-03,11.0,48.25,1
"""


def test_a_table_is_read_by_the_nearest_cell_and_gaps_are_nan(workspace: Workspace) -> None:
    weather = bring(workspace, TABLE)
    assert (weather.n_cells, weather.n_days, weather.n_values, weather.n_gaps) == (3, 3, 7, 2)
    assert weather.missing_days == ()
    same(rain(workspace, 11.02, 48.45), [0, np.nan, 12.5])
    same(rain(workspace, 11.2, 48.45), [3, 4, 5])
    same(rain(workspace, 11.2, 48.45, 2, MAY - dt.timedelta(days=1)), [np.nan, 3])
    same(rain(workspace, 11.2, 48.45, 2, MAY + dt.timedelta(days=40)), [np.nan, np.nan])


def test_a_parcel_beyond_half_a_diagonal_has_no_rain(workspace: Workspace) -> None:
    bring(workspace, TABLE)
    # The cell of 11.25 48.5 ends at 11.375 48.625: its corner is half a diagonal away, what lies behind is further.
    same(rain(workspace, 11.3749, 48.6249), [3, 4, 5])
    assert np.isnan(rain(workspace, 11.45, 48.7)).all()
    bring(workspace, TABLE, max_distance_km=100.0)
    same(rain(workspace, 11.45, 48.7), [3, 4, 5])
    assert np.isnan(rain(workspace, float("nan"), 48.5)).all()


def test_nothing_imported_is_none_and_show_says_what_to_do(workspace: Workspace) -> None:
    assert rain_of(workspace, [11.0], [48.0], MAY, MAY) is None
    assert weather_key(workspace) is None
    shown = s4c("weather", "show", workspace=workspace.root)
    assert shown.returncode == 4
    assert "no weather was imported; run 's4c weather import'" in shown.stderr


def test_rows_of_no_use_are_counted_with_the_reason(workspace: Workspace) -> None:
    weather = bring(
        workspace,
        TABLE + "2020-05-02,11.0,48.5,-3\n2020-05-02,11.0,48.25,5000\n2020-05-32,11.0,48.5,1\n2020-05-02,11.0,99,1\n"
        "2020-05-02,11.0,48.5,wet\n2020-05-02,11.0,48.5,1,1\n2020-05-01,11.25,48.5,9\n",
    )
    assert {one.reason: one.n for one in weather.left_out} == {
        "less than 0 mm": 1,
        "more than 2000 mm": 1,
        "rows whose date cannot be read": 1,
        "rows whose place is not known": 1,
        "rows without a number": 1,
        "rows with another number of cells than the first line": 1,
        "said before, with another value": 1,
    }
    assert {one.examples for one in weather.left_out if one.reason == "less than 0 mm"} == {
        ("-3 mm at 11 48.5 on 2020-05-02T00:00",)
    }
    same(rain(workspace, 11.0, 48.5), [0, np.nan, 12.5])
    same(rain(workspace, 11.25, 48.5), [3, 4, 5])


def test_columns_cells_dates_and_units_of_another_table(workspace: Workspace) -> None:
    cells = workspace.root / "cells.csv"
    cells.write_text("station;lon;lat\nA;11,0;48,5\nB;12,0;48,5\n")
    text = "Datum;station;RR\n01.05.2020;A;0,002\n02.05.2020;A;0\n01.05.2020;C;0,1\n"
    names = {"date": "Datum", "cell": "station", "precipitation_mm": "RR"}
    weather = bring(workspace, text, columns=names, cells=cells, unit="m", date_format="%d.%m.%Y")
    same(rain(workspace, 11.0, 48.5, 2), [2, 0])
    assert [(one.reason, one.n) for one in weather.left_out] == [("rows whose place is not known", 1)]
    assert any("one cell only" in note for note in weather.notes)


@pytest.mark.parametrize(
    ("text", "reading", "error", "words"),
    [
        ("", {}, NoInputsError, "has no rows"),
        ("date,lon,lat,precipitation_mm\n", {}, NoInputsError, "has no rows"),
        ("date,lon,lat,precipitation_mm\n2020-05-01,11,48,-9\n", {}, NoInputsError, "1 less than 0 mm"),
        ("date,lon,lat,rr\n2020-05-01,11,48,9\n", {}, InputError, "no column 'precipitation_mm'"),
        ("date,lon,lat,rr\n2020-05-01,11,48,9\n", {"unit": "inch"}, ConfigError, "'inch' is no unit"),
        ("date,lon,lat,rr\n2020-05-01,11,48,9\n", {"columns": {"rain": "rr"}}, ConfigError, "no such column of ours"),
        ("date,lon,lat,rr\n\xff\xfe", {}, InputError, "no column"),
    ],
)
def test_a_table_of_no_use_changes_nothing(
    workspace: Workspace, text: str, reading: dict[str, object], error: type[Exception], words: str
) -> None:
    bring(workspace, TABLE)
    before = weather_key(workspace)
    with pytest.raises(error, match=words):
        bring(workspace, text, "other.csv", **reading)
    assert weather_key(workspace) == before
    same(rain(workspace, 11.2, 48.45), [3, 4, 5])


def test_an_import_is_replaced_and_the_same_one_is_nothing_new(workspace: Workspace) -> None:
    path = workspace.root / "rain.csv"
    path.write_text(TABLE)
    first, is_new = import_weather([path], Reading(), workspace)
    again, is_new_again = import_weather([path], Reading(), workspace)
    assert (is_new, is_new_again, again) == (True, False, first)
    path.write_text(TABLE.replace("12.5", "0.5"))
    second, _ = import_weather([path], Reading(), workspace)
    assert second.edition != first.edition
    assert sorted(p.name for p in (workspace.root / "weather").iterdir()) == sorted(["current.json", second.edition])
    with pytest.raises(MissingDataError, match="weather import"):
        rain_of(workspace, [11.0], [48.5], MAY, MAY, key=first.key)
    bring(workspace, TABLE, max_distance_km=5.0)
    assert read_weather(workspace).edition != first.edition  # how far a cell counts is part of the weather


def test_what_a_killed_import_has_left_is_not_believed_and_goes(workspace: Workspace) -> None:
    """It had made a folder, or an edition to which nothing points yet."""
    weather = bring(workspace, TABLE)
    home = workspace.root / "weather"
    for left in (".0123", "0123456789abcdef"):
        (home / left).mkdir()
        (home / left / "rain.arrow").write_bytes(b"half")
    assert read_weather(workspace) == weather
    same(rain(workspace, 11.2, 48.45), [3, 4, 5])
    bring(workspace, TABLE.replace("12.5", "0.5"))
    assert sorted(path.name for path in home.iterdir()) == sorted(["current.json", read_weather(workspace).edition])


def test_a_damaged_file_says_what_where_and_what_to_do(workspace: Workspace) -> None:
    weather = bring(workspace, TABLE)
    path = workspace.root / "weather" / weather.edition / "rain.arrow"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError) as caught:
        rain_of(workspace, [11.0], [48.5], MAY, MAY)
    assert "not a whole Arrow file" in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.hint == "run 's4c weather import' again"
    # The same import mends it.
    assert bring(workspace, TABLE).edition == weather.edition
    same(rain(workspace, 11.2, 48.45), [3, 4, 5])
    (workspace.root / "weather" / "current.json").write_text("{}")
    with pytest.raises(InputError, match="not weather of contract"):
        weather_key(workspace)


def of_hours(n_days: int, seed: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(24 n, 2, 3) metres of each hour; most of them dry."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((24 * n_days, 2, 3)) < 0.7, 0.0, rng.gamma(1, 0.001, (24 * n_days, 2, 3)))


@pytest.mark.parametrize("kind", ["h5netcdf", "scipy"])
def test_hours_of_era5_make_the_day_that_they_fell_in(workspace: Workspace, kind: str) -> None:
    metres = of_hours(4)
    # The hour that ends at 00:00 of 1 May is the last one of 30 April, which is not known as a whole.
    path = write_netcdf(workspace.root / "era5.nc", hours("2020-05-01T00", 96), metres, kind=kind)
    weather, _ = import_weather([path], Reading(), workspace)
    expected = metres[1:73].reshape(3, 24, 2, 3).sum(axis=1) * 1000
    for i, lat in enumerate(LAT):
        for j, lon in enumerate(LON):
            same(rain(workspace, lon, lat), expected[:, i, j].tolist())
    assert (weather.first, weather.last) == ("2020-05-01", "2020-05-03")
    (partial,) = weather.left_out
    assert (partial.reason, partial.n) == ("days of cells of which hours are missing", 12)
    assert partial.examples == ("2020-04-30", "2020-05-04")
    assert "of the hour that ends at their time" in weather.notes[0]


def test_two_files_are_one_and_the_day_between_them_is_whole(workspace: Workspace) -> None:
    metres, time = of_hours(4), hours("2020-05-01T00", 96)
    paths = [write_netcdf(workspace.root / f"{i}.nc", time[i::2][:48], metres[i::2]) for i in (0, 1)]
    weather, _ = import_weather(paths, Reading(accumulation=Accumulation.HOUR), workspace)
    same(rain(workspace, 11.0, 48.5), (metres[1:73, 0, 0].reshape(3, 24).sum(axis=1) * 1000).tolist())
    assert weather.n_gaps == 0


def test_accumulations_of_era5_land_make_the_same_days(workspace: Workspace) -> None:
    metres = of_hours(3)
    running = metres.reshape(3, 24, 2, 3).cumsum(axis=1).reshape(72, 2, 3)
    path = write_netcdf(workspace.root / "land.nc", hours("2020-05-01T01", 72), running)
    weather, _ = import_weather([path], Reading(), workspace)
    same(rain(workspace, 11.25, 48.25), (metres[:, 1, 1].reshape(3, 24).sum(axis=1) * 1000).tolist())
    assert "since midnight" in weather.notes[0]
    # Only 00:00 of each day was downloaded: it has to be said that it is the day before's.
    path = write_netcdf(workspace.root / "land.nc", hours("2020-05-01T01", 72)[23::24], running[23::24])
    import_weather([path], Reading(accumulation=Accumulation.MIDNIGHT), workspace)
    same(rain(workspace, 11.25, 48.25), (metres[:, 1, 1].reshape(3, 24).sum(axis=1) * 1000).tolist())


def test_grib_of_era5_land(workspace: Workspace) -> None:
    metres = of_hours(1).cumsum(axis=0)
    path = write_grib(workspace.root / "land.grib", 20200501, range(1, 25), metres)
    weather, _ = import_weather([path], Reading(), workspace)
    assert (weather.n_cells, weather.first, weather.last) == (6, "2020-05-01", "2020-05-01")
    for i, lat in enumerate(LAT):
        for j, lon in enumerate(LON):
            same(rain(workspace, lon, lat, 1), [metres[-1, i, j] * 1000])
    assert sorted(p.name for p in workspace.root.glob("land*")) == ["land.grib"]  # no index beside it
    with pytest.raises(InputError, match="no variable 'lsp'"):
        import_weather([path], Reading(columns={"precipitation_mm": "lsp"}), workspace)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"land\.grib: cannot be read as GRIB"):
        import_weather([path], Reading(), workspace)
    same(rain(workspace, 11.0, 48.5, 1), [metres[-1, 0, 0] * 1000])


def test_grids_that_do_not_tell_are_refused(workspace: Workspace) -> None:
    day = write_netcdf(workspace.root / "day.nc", hours("2020-05-01T00", 1), np.full((1, 2, 3), 4.0), units=None)
    with pytest.raises(InputError, match="does not say the unit"):
        import_weather([day], Reading(), workspace)
    import_weather([day], Reading(unit="mm"), workspace)
    same(rain(workspace, 11.0, 48.5, 1), [4])
    with pytest.raises(InputError, match="no variable 'rr'"):
        import_weather([day], Reading(columns={"precipitation_mm": "rr"}), workspace)
    path = write_netcdf(workspace.root / "two.nc", hours("2020-05-01T00", 2), np.zeros((2, 2, 3)))
    with pytest.raises(InputError, match="cannot all be its total"):
        import_weather([path], Reading(accumulation=Accumulation.DAY), workspace)
    for name in ("cut.nc", "cut.grib"):
        (workspace.root / name).write_bytes(day.read_bytes()[:700])
        with pytest.raises(InputError, match=r"cut\.(nc|grib): cannot be read as .*download it again"):
            import_weather([workspace.root / name], Reading(), workspace)
    same(rain(workspace, 11.0, 48.5, 1), [4])


def test_the_command_tells_cells_days_and_gaps(workspace: Workspace) -> None:
    path = workspace.root / "rain.csv"
    path.write_text(TABLE.replace("2020-05-03,11.25", "2020-05-05,11.25"))
    done = s4c("weather", "import", path, workspace=workspace.root)
    assert done.returncode == 0, done.stderr
    assert "rain.csv: 7 days of 3 cells, 2020-05-01 to 2020-05-05" in done.stderr
    assert "8 days of cells are not known; no cell at all on 2020-05-04" in done.stderr
    shown = s4c_json("weather", "show", workspace=workspace.root)
    assert (shown["n_cells"], shown["n_days"], shown["n_gaps"]) == (3, 5, 8)
    assert "3  2020-05-01" in s4c("weather", "show", workspace=workspace.root).stdout
    path.write_text("date,lon,lat,precipitation_mm\n")
    assert s4c("weather", "import", path, workspace=workspace.root).returncode == 6
    assert s4c("weather", "import", path, "--column", "date", workspace=workspace.root).returncode == 2
    assert json.loads((workspace.root / "weather" / "current.json").read_text())["n_days"] == 5


@given(
    lon=st.floats(-180, 179.9),
    lat=st.floats(-80, 79),
    step=st.sampled_from([0.1, 0.25, 1.0]),
    at=st.tuples(st.floats(-0.499, 0.499), st.floats(-0.499, 0.499)),
)
def test_whoever_lies_in_a_cell_has_its_rain(lon: float, lat: float, step: float, at: tuple[float, float]) -> None:
    x, y = np.meshgrid(lon + step * np.arange(3), lat + step * np.arange(3))
    cells_lon, cells_lat = (x.ravel() + 180) % 360 - 180, y.ravel()
    if np.ptp(cells_lon) > 180:
        return  # the lattice has its seam in the Pacific; places there are found, cells there are told by distance
    reach = reaches(cells_lon, cells_lat)
    place = np.array([cells_lon[4] + at[0] * step]), np.array([cells_lat[4] + at[1] * step])
    found = nearest(cells_lon, cells_lat, reach, *place)
    assert found[0] >= 0
    # The nearest one on the sphere is its own cell, but for a sliver at high latitudes.
    assert abs(cells_lat[found[0]] - place[1][0]) <= 0.52 * step


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_both_kinds_of_accumulation_say_the_same_rain(seed: int, n_days: int) -> None:
    mm = (of_hours(n_days, seed).reshape(24 * n_days, 6).T * 1000).astype(np.float32)
    hour = np.arange(24 * n_days) + 1
    running = mm.reshape(6, n_days, 24).cumsum(axis=2).reshape(6, -1)
    place = np.arange(6.0)
    each, since = (Field(place, place, hour, values) for values in (mm, running))
    assert told(each) is Accumulation.HOUR
    assert told(since) is Accumulation.MIDNIGHT
    days, totals = daily(each, Accumulation.HOUR, Tally())
    days_too, totals_too = daily(since, Accumulation.MIDNIGHT, Tally())
    assert days.tolist() == days_too.tolist() == list(range(n_days))
    np.testing.assert_allclose(totals, totals_too, rtol=1e-4, atol=1e-4)
