"""Tables from elsewhere become series: every value where it belongs, everything else counted with its reason."""

from __future__ import annotations

import datetime as dt
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.imports import LONG, ImportSpace
from support.parcels import make_config, squares, write_layer

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, S4cError, TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.series import import_table as module
from s4c_hpc.series.contract import ID
from s4c_hpc.series.import_write import write_files
from s4c_hpc.series.imported import Imported, imported_set, imports_of, read_imported
from s4c_hpc.series.read import read_series

WIDE = """
    name = "test"
    sensor = "s2"
    form = "wide"
    parcel = "id"
    [variables.ndvi]
    column = "ndvi {date}"
"""
KEYED = """
    name = "test"
    sensor = "s2"
    form = "long"
    parcel = "id"
    date = "date"
    variable = "kind"
    value = "value"
    count = "n"
    [variables.ndvi]
    label = "NDVI"
    [variables.lai]
"""
DAY = dt.date(2018, 5, 1)


@pytest.fixture
def space(tmp_path: Path) -> ImportSpace:
    return ImportSpace(tmp_path)


@pytest.fixture(scope="module")
def two_tiles(tmp_path_factory: pytest.TempPathFactory) -> ImportSpace:
    return ImportSpace(tmp_path_factory.mktemp("tiles"), n=24)


def reasons(imported: Imported) -> dict[str, int]:
    return {f"{one.what}: {one.reason}": one.n for one in imported.left_out}


# Any parcels, days and values, some of the parcels unknown: what a dictionary makes of them has to be there.
rows = st.lists(
    st.tuples(
        st.integers(1, 26).map(lambda i: f"F{i:03d}"),
        st.dates(dt.date(2017, 12, 25), dt.date(2018, 1, 5)),
        st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)),
    ),
    min_size=1,
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows)
def test_long_wide_and_every_kind_of_file_hold_the_same(
    two_tiles: ImportSpace, rows: list[tuple[str, dt.date, float | None]]
) -> None:
    assert len(two_tiles.tiles) == 2
    expected: dict[tuple[str, dt.date, str, str], float] = {}
    for parcel, day, value in rows:
        if value is not None and int(parcel[1:]) <= 24:
            expected.setdefault((parcel, day, "", "ndvi_mean"), float(np.float32(value)))
    long = {"id": [r[0] for r in rows], "date": [r[1] for r in rows], "ndvi": pa.array([r[2] for r in rows], "f8")}
    days = sorted({day for _, day, _, _ in expected})
    parcels = sorted({parcel for parcel, _, _, _ in expected})
    wide: dict[str, Any] = {"id": parcels}
    for day in days:
        wide[f"ndvi {day}"] = pa.array([expected.get((p, day, "", "ndvi_mean")) for p in parcels], "f8")
    made = []
    for kind in ("csv", "parquet", "arrow"):
        for columns, text in ((long, LONG), (wide, WIDE)):
            path = two_tiles.table(columns, kind)
            if not expected:
                with pytest.raises((NoInputsError, InputError)):
                    two_tiles.bring(path, text)
                continue
            imported, _ = two_tiles.bring(path, text)
            assert two_tiles.values(imported) == expected
            made.append(imported.edition)
    assert len(set(made)) <= 1  # not a byte depends on the form or the kind of file


def test_a_file_is_a_row_for_each_parcel_of_the_tile_in_blocks(tmp_path: Path) -> None:
    space = ImportSpace(tmp_path, n=20)
    imported, _ = space.bring(space.table({"id": ["F001"], "date": [DAY], "ndvi": [0.5]}))
    ((tile, n),) = imported.tiles.items()
    assert n == 1
    (acquisition,) = imported_set(space.workspace, imported, tile).acquisitions
    file = read_series(tmp_path / acquisition.layers[0])
    assert file.schema.names == [ID, "ndvi_mean"]
    assert file.n_rows == 20
    assert file.header.grid == "test"
    assert file.header.sensor == "s2"
    assert file.header.datetime == dt.datetime(2018, 5, 1, tzinfo=dt.UTC)
    assert file.describe("ndvi_mean")["unit"] == "1"
    assert file.header.parcels.startswith("parcels:")


def test_variables_in_a_column(space: ImportSpace) -> None:
    columns = {
        "id": ["F001", "F001", "F001", "F002", "F002"],
        "date": ["2018-05-01"] * 5,
        "kind": ["NDVI", "lai", "ndre", "NDVI", "NDVI"],
        "value": [0.5, 2.5, 1.0, 0.7, 0.9],
        "n": [10, 11, 12, 0, 5],
    }
    imported, _ = space.bring(space.table(columns), KEYED)
    assert space.values(imported) == {
        ("F001", DAY, "", "ndvi_mean"): 0.5,
        ("F001", DAY, "", "ndvi_count"): 10.0,
        ("F001", DAY, "", "lai_mean"): 2.5,
        ("F001", DAY, "", "lai_count"): 11.0,
        ("F002", DAY, "", "ndvi_mean"): float(np.float32(0.7)),
        ("F002", DAY, "", "ndvi_count"): 0.0,
    }
    assert reasons(imported) == {
        "rows: variable is not in the mapping": 1,
        "rows: a row of the same parcel, date and variable ndvi came before": 1,
    }


def test_stdev_count_scale_offset_and_nodata(space: ImportSpace) -> None:
    text = (
        LONG.replace('date = "date"', 'date = "date"\n    count = "n"')
        + """
    stdev = "sd"
    scale = 0.5
    offset = 1.0
    nodata = [-999.0]
    unit = "m"
"""
    )
    columns = {"id": ["F001", "F002"], "date": [DAY, DAY], "ndvi": [4.0, -999.0], "sd": [2.0, 1.0], "n": [9, 9]}
    imported, _ = space.bring(space.table(columns), text)
    assert space.values(imported) == {
        ("F001", DAY, "", "ndvi_mean"): 3.0,
        ("F001", DAY, "", "ndvi_stdev"): 1.0,
        ("F001", DAY, "", "n_valid"): 9.0,
    }
    assert reasons(imported) == {"rows: no value": 1}
    assert imported.variables[0].unit == "m"


def test_wide_with_deviations_and_counts(space: ImportSpace) -> None:
    text = (
        WIDE.replace("ndvi {date}", "m {date}")
        + """
    stdev = "s {date}"
    count = "n {date}"
    scale = -0.5
"""
    )
    columns = {"id": ["F001", "F002"], "m 2018-05-01": [4.0, None], "s 2018-05-01": [2.0, 1.0], "n 2018-05-01": [9, 8]}
    columns |= {"m 2018-05-11": [None, 6.0], "n 2018-05-11": [3, 7], "s 2018-06-01": [1.0, 1.0]}
    imported, _ = space.bring(space.table(columns), text)
    later = dt.date(2018, 5, 11)
    assert space.values(imported) == {
        ("F001", DAY, "", "ndvi_mean"): -2.0,
        ("F001", DAY, "", "ndvi_stdev"): 1.0,  # a deviation has no sign
        ("F001", DAY, "", "ndvi_count"): 9.0,
        ("F002", later, "", "ndvi_mean"): -3.0,
        ("F002", later, "", "ndvi_count"): 7.0,
    }
    assert reasons(imported) == {"values: no value of ndvi": 2}


def test_passes_and_orbits_are_acquisitions_of_their_own(space: ImportSpace) -> None:
    text = """
        name = "test"
        sensor = "s1"
        form = "long"
        parcel = "id"
        date = "date"
        pass_column = "pass"
        orbit_column = "orbit"
        [variables.vv]
        column = "vv"
    """
    columns = {
        "id": ["F001"] * 5,
        "date": [DAY] * 5,
        "pass": ["ASC", "descending", "d", "up", "A"],
        "orbit": [117, 66, 139, 117, 44444],
        "vv": [0.1, 0.2, 0.3, 0.4, 0.5],
    }
    imported, _ = space.bring(space.table(columns), text)
    assert imported.passes == ("ascending", "descending")
    (tile,) = imported.tiles
    found = imported_set(space.workspace, imported, tile).acquisitions
    assert [(a.orbit_direction, a.relative_orbit) for a in found] == [
        ("ascending", 117),
        ("descending", 66),
        ("descending", 139),
    ]
    assert reasons(imported) == {"rows: pass is neither ascending nor descending": 1, "rows: no relative orbit": 1}


def test_everything_left_out_is_counted_with_its_reason(space: ImportSpace) -> None:
    path = space.root / "table.csv"
    path.write_text(
        "id,date,ndvi\nF001,2018-05-01, 0.5 \nF002,2018-05-01,much\nF003,2018-05-01,NA\nF004,2018-05-01,\n"
        "F005,2018-02-30,1\nF006,,1\nF099,2018-05-01,1\n,2018-05-01,1\nF001,2018-05-01,0.6\nF007\nF008,2018-05-01,1e99\n"
        "F009,2018-05-01,inf\nF010,2018-05-01,-.5e-1\n"
    )
    imported, _ = space.bring(path)
    assert space.values(imported) == {
        ("F001", DAY, "", "ndvi_mean"): 0.5,
        ("F010", DAY, "", "ndvi_mean"): float(np.float32(-0.05)),
    }
    assert reasons(imported) == {
        "rows: has another number of cells than the first line": 1,
        "rows: parcel is not in the declaration": 2,
        "rows: date cannot be read as %Y-%m-%d": 2,
        "rows: no value": 5,
        "rows: a row of the same parcel and date came before": 1,
        "values: is no number": 2,
    }
    by_reason = {one.reason: one.examples for one in imported.left_out}
    assert by_reason["is no number"] == ("much", "inf")
    assert "2018-02-30" in by_reason["date cannot be read as %Y-%m-%d"]
    assert "F099" in by_reason["parcel is not in the declaration"]
    assert imported.n_rows == 13
    assert imported.n_values == imported.n_parcels == 2


@pytest.mark.parametrize("first_row", [0, 1])
def test_rows_of_the_declaration(tmp_path: Path, first_row: int) -> None:
    # Ids that are sorted in another way than the rows of the file.
    space = ImportSpace(tmp_path, n=5, columns={"id": ["Z", "M", "A", "B", "C"]})
    text = LONG.replace('parcel = "id"', f'parcel = "row"\n    match = "row"\n    first_row = {first_row}')
    table = {"row": [0, 1, 2, 5], "date": [DAY] * 4, "ndvi": [0.0, 1.0, 2.0, 5.0]}
    imported, _ = space.bring(space.table(table), text)
    found = {parcel: value for (parcel, _, _, _), value in space.values(imported).items()}
    assert found == ({"Z": 0.0, "M": 1.0, "A": 2.0} if first_row == 0 else {"Z": 1.0, "M": 2.0, "C": 5.0})


def test_numbers_of_ours_and_other_columns(tmp_path: Path) -> None:
    space = ImportSpace(tmp_path, n=3, columns={"plot": [70, 80, 80], "code": ["x", "y", None]})
    own = {ori: new for new, ori in space.own_id().items()}
    table = {"id": [own["F002"]], "date": [DAY], "ndvi": [1.0]}
    imported, _ = space.bring(space.table(table), LONG.replace('parcel = "id"', 'parcel = "id"\n    match = "NewID"'))
    assert {key[0] for key in space.values(imported)} == {"F002"}
    by_code = LONG.replace('parcel = "id"', 'parcel = "id"\n    match = "code"')
    imported, _ = space.bring(
        space.table({"id": ["x", None], "date": [DAY] * 2, "ndvi": [1.0, 2.0]}, "parquet"), by_code
    )
    assert {key[0] for key in space.values(imported)} == {"F001"}
    with pytest.raises(ConfigError, match="several parcels have the same 'plot'"):
        space.bring(space.table(table), by_code.replace("code", "plot"))
    with pytest.raises(ConfigError, match="parcels have no column 'plott'"):
        space.bring(space.table(table), by_code.replace("code", "plott"))


def test_years_of_parcels_become_one_season(tmp_path: Path) -> None:
    space = ImportSpace(tmp_path, n=4, columns={"season": ["2015", "2016", "2017", "?"]})
    text = """
        name = "test"
        sensor = "modis"
        form = "wide"
        parcel = "id"
        date_format = "%j"
        parcel_year_column = "season"
        [variables.ndvi]
        column = "d{date}"
    """
    table = {"id": ["F001", "F002", "F003", "F004"], "d060": [1.0, 2.0, 3.0, 4.0], "d366": [5.0, 6.0, 7.0, 8.0]}
    imported, _ = space.bring(space.table(table), text)
    assert space.values(imported) == {
        ("F001", dt.date(2015, 3, 1), "", "ndvi_mean"): 1.0,
        ("F002", dt.date(2016, 2, 29), "", "ndvi_mean"): 2.0,
        ("F003", dt.date(2017, 3, 1), "", "ndvi_mean"): 3.0,
        ("F002", dt.date(2016, 12, 31), "", "ndvi_mean"): 6.0,
    }
    assert reasons(imported) == {"rows: no year": 1, "values: day is not in the year": 2}
    moved, _ = space.bring(space.table(table), text.replace("date_format", "season_year = 2018\n        date_format"))
    assert {(key[0], key[1]): value for key, value in space.values(moved).items()} == {
        ("F001", dt.date(2018, 3, 1)): 1.0,
        ("F002", dt.date(2018, 3, 1)): 2.0,
        ("F003", dt.date(2018, 3, 1)): 3.0,
        ("F002", dt.date(2018, 12, 31)): 6.0,
    }
    (tile,) = moved.tiles
    (layer, *_) = imported_set(space.workspace, moved, tile).acquisitions[0].layers
    assert read_series(tmp_path / layer).metadata["season_year"].startswith("2018: ")
    assert any("moved onto 2018" in note for note in moved.notes)


def test_a_season_that_begins_in_autumn_stays_whole(space: ImportSpace) -> None:
    text = LONG.replace('date = "date"', 'date = "date"\n    year_column = "harvest"\n    season_year = 2018')
    columns = {
        "id": ["F001", "F001", "F002"],
        "date": ["2011-10-15", "2012-03-01", "2013-03-01"],
        "harvest": [2012, 2012, 2013],
        "ndvi": [1.0, 2.0, 3.0],
    }
    for kind in ("csv", "parquet"):
        imported, _ = space.bring(space.table(columns, kind), text)
        assert {(key[0], key[1]) for key in space.values(imported)} == {
            ("F001", dt.date(2017, 10, 15)),
            ("F001", dt.date(2018, 3, 2)),  # day 61 of a leap year
            ("F002", dt.date(2018, 3, 1)),
        }


def test_a_column_whose_date_is_none_is_told(space: ImportSpace) -> None:
    columns = {"id": ["F001"], "ndvi 2018-05-01": [1.0], "ndvi quality": [3.0]}
    imported, _ = space.bring(space.table(columns), WIDE)
    assert reasons(imported) == {"columns: date cannot be read as %Y-%m-%d": 1}
    assert imported.left_out[0].examples == ("ndvi quality",)


Table = dict[str, list[Any]]
GOOD: Table = {"id": ["F001"], "date": ["2018-05-01"], "ndvi": [0.5]}


@pytest.mark.parametrize(
    ("table", "kind", "error", "said"),
    [
        ({**GOOD, "ndvi": ["x"]}, "csv", NoInputsError, "not one value of 1 rows can be used: 1 rows: no value"),
        ({**GOOD, "id": ["G1"]}, "csv", NoInputsError, "1 rows: parcel is not in the declaration"),
        ({"ID": ["F001"], "date": [DAY], "ndvi": [1.0]}, "csv", InputError, "has no column 'id'; did you mean 'ID'?"),
        ({"id": [], "date": [], "ndvi": []}, "csv", NoInputsError, "has no rows"),
        ({"id": [], "date": [], "ndvi": []}, "parquet", NoInputsError, "has no rows"),
    ],
)
def test_refused_with_the_reason(space: ImportSpace, table: Table, kind: str, error: type[S4cError], said: str) -> None:
    space.bring(space.table(GOOD, name="good"))
    before = space.bytes_of()
    with pytest.raises(error) as caught:
        space.bring(space.table(table, kind))
    assert said in str(caught.value)
    assert str(space.root / f"table.{kind}") in str(caught.value)
    assert space.bytes_of() == before


def test_files_that_are_none(space: ImportSpace) -> None:
    with pytest.raises(MissingDataError, match="no such table"):
        space.bring(space.root / "absent.csv")
    odd = space.root / "table.xlsx"
    odd.write_text("x")
    with pytest.raises(InputError, match=r"ends in '\.xlsx'"):
        space.bring(odd)
    for kind in ("parquet", "arrow"):
        broken = space.root / f"broken.{kind}"
        broken.write_text("no table")
        with pytest.raises(InputError, match=f"cannot be read as {kind}"):
            space.bring(broken)
    twice = space.root / "twice.csv"
    twice.write_text("id,date,ndvi,ndvi\nF001,2018-05-01,1,2\n")
    with pytest.raises(InputError, match="has two columns 'ndvi'"):
        space.bring(twice)
    with pytest.raises(InputError, match=r"no column looks like 'ndvi \{date\}'"):
        space.bring(space.table(GOOD), WIDE)


def test_without_parcels(tmp_path: Path, space: ImportSpace) -> None:
    empty = Workspace(tmp_path / "empty")
    with pytest.raises(MissingDataError, match="there are no parcels"):
        module.import_table(space.table(GOOD), space.mapping(), empty, space.config)


def test_rows_need_a_file_to_be_counted_in(space: ImportSpace) -> None:
    text = LONG.replace('parcel = "id"', 'parcel = "id"\n    match = "row"')
    with pytest.raises(ConfigError, match="no file is named"):
        module.import_table(space.table(GOOD), space.mapping(text), space.workspace, make_config())


def test_again_is_nothing_new_and_another_table_replaces_all(two_tiles: ImportSpace) -> None:
    first, is_new = two_tiles.bring(
        two_tiles.table({"id": ["F001", "F024"], "date": [DAY, DAY], "ndvi": [1.0, 2.0]}), WIDE_NAME
    )
    assert is_new
    assert len(first.tiles) == 2
    before = two_tiles.bytes_of()
    assert two_tiles.bring(two_tiles.root / "table.csv", WIDE_NAME) == (first, False)
    assert two_tiles.bytes_of() == before
    second, is_new = two_tiles.bring(two_tiles.table({"id": ["F001"], "date": [DAY], "ndvi": [3.0]}), WIDE_NAME)
    assert is_new
    assert second.edition != first.edition
    assert len(second.tiles) == 1
    assert not any(first.edition in path for path in two_tiles.bytes_of())
    assert list(two_tiles.values(read_imported(two_tiles.workspace, "again")).values()) == [3.0]


WIDE_NAME = LONG.replace('"test"', '"again"')


def test_an_edition_that_lost_a_file_is_mended(space: ImportSpace) -> None:
    imported, _ = space.bring(space.table(GOOD))
    before = space.bytes_of()
    next(space.workspace.imported.rglob("*.arrow")).unlink()
    assert space.bring(space.root / "table.csv") == (imported, True)
    assert space.bytes_of() == before


def _import_and_die(root: Path, step: str, call: int) -> None:
    """Import another table in a process that is killed just before a step, when it comes for the ``call``th time."""
    space = ImportSpace.__new__(ImportSpace)
    space.root, space.workspace = root, Workspace(root)
    space.config = make_config(file=str(root / "fields.gpkg"))

    calls, own = itertools.count(1), getattr(module, step)

    def die(*arguments: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return own(*arguments)

    setattr(module, step, die)
    space.bring(root / "second.csv")


@pytest.mark.parametrize(
    ("step", "call", "value"),
    [("_edition", 1, 0.5), ("_publish", 1, 0.5), ("write_text", 1, 0.5), ("_put_away", 2, 0.75)],
)
def test_a_killed_import_leaves_the_old_one_or_the_new_one_whole(
    space: ImportSpace, step: str, call: int, value: float
) -> None:
    space.bring(space.table(GOOD))
    space.table({**GOOD, "ndvi": [0.75]}, name="second")
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_import_and_die, args=(space.root, step, call))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    (now,) = imports_of(space.workspace)
    assert list(space.values(now).values()) == [value]
    second, _ = space.bring(space.root / "second.csv")
    assert list(space.values(second).values()) == [0.75]
    # Nothing of what was killed is left.
    files = {path.split("/")[1] for path in space.bytes_of() if path.count("/")}
    assert files == {"current.json", second.edition}
    assert not list(space.workspace.temporary.iterdir())


def test_one_import_at_a_time(space: ImportSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    path, inside = space.table(GOOD), write_files

    def meanwhile(*arguments: Any) -> Any:
        with pytest.raises(TemporaryError, match="another import is at work"):
            space.bring(path, WIDE_NAME)
        return inside(*arguments)

    monkeypatch.setattr(module, "write_files", meanwhile)
    space.bring(path)


def test_parcels_without_a_tile_are_told(tmp_path: Path) -> None:
    tile = {"id": "OWN", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_300_420, "width_m": 420, "height_m": 420}
    file = write_layer(tmp_path / "fields.gpkg", squares(10))
    space = ImportSpace.__new__(ImportSpace)
    space.root, space.workspace = tmp_path, Workspace(tmp_path)
    space.config = make_config(file=str(file), tiles=[tile])
    import_parcels(None, space.workspace, space.config)
    imported, _ = space.bring(space.table({"id": ["F001", "F010"], "date": [DAY] * 2, "ndvi": [1.0, 2.0]}))
    assert {key[0] for key in space.values(imported)} == {"F001"}
    assert reasons(imported) == {"rows: parcel lies on no tile": 1}


def test_semicolons_and_decimal_commas(space: ImportSpace) -> None:
    path = space.root / "table.csv"
    path.write_text("id;date;ndvi\nF001;01.05.2018;0,25\n")
    extra = 'date_format = "%d.%m.%Y"\n    delimiter = ";"\n    decimal_point = ","'
    imported, _ = space.bring(path, LONG.replace('date = "date"', f'date = "date"\n    {extra}'))
    assert space.values(imported) == {("F001", DAY, "", "ndvi_mean"): 0.25}


kinds: list[Callable[[dt.date], Any]] = [
    lambda day: pa.array([day], pa.date32()),
    lambda day: pa.array([dt.datetime.combine(day, dt.time(10, 30))], pa.timestamp("us")),
    lambda day: pa.array([int(f"{day:%Y%m%d}")]),
]


@pytest.mark.parametrize("kind", range(len(kinds)))
def test_dates_of_any_type(space: ImportSpace, kind: int) -> None:
    columns = {"id": ["F001"], "date": kinds[kind](DAY), "ndvi": [0.5]}
    text = LONG.replace('date = "date"', 'date = "date"\n    date_format = "%Y%m%d"')
    imported, _ = space.bring(space.table(columns, "parquet"), text)
    assert space.values(imported) == {("F001", DAY, "", "ndvi_mean"): 0.5}


@pytest.mark.parametrize("match", ["ori_id", "row"])
def test_ids_of_a_table_become_pseudonyms_and_are_not_quoted(tmp_path: Path, match: str) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef")
    key.chmod(0o600)
    root = tmp_path / "workspace"
    root.mkdir()
    file = write_layer(tmp_path / "fields.gpkg", squares(3))
    space = ImportSpace.__new__(ImportSpace)
    space.root, space.workspace = root, Workspace(root)
    space.config = make_config(file=str(file), pseudonyms={"key_file": str(key)})
    import_parcels(None, space.workspace, space.config)
    ids = ["F002", "SECRET", "F003"] if match == "ori_id" else ["1", "SECRET", "2"]
    text = LONG.replace('parcel = "id"', f'parcel = "id"\n    match = "{match}"')
    (tmp_path / "tables").mkdir()
    space.root = tmp_path / "tables"  # who has the table knows the ids; the workspace does not
    imported, _ = space.bring(space.table({"id": ids, "date": [DAY] * 3, "ndvi": [2.0, 9.0, 3.0]}), text)
    space.root = root
    assert sorted(space.values(imported).values()) == [2.0, 3.0]
    assert reasons(imported) == {"rows: parcel is not in the declaration": 1}
    assert not any(b"SECRET" in content or b"F002" in content for content in space.bytes_of().values())
