"""Marker files of the reference become series beside ours, and are compared with them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pytest
from support.cli import s4c
from support.markers import DATA, MarkerSpace, make_config, read
from support.season import SeasonSpace, same

from s4c_hpc.config import Weighting
from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, S4cError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers import compat_write, export_markers, parse_name
from s4c_hpc.markers.compat_compare import compare_import, find_import
from s4c_hpc.markers.compat_import import import_foreign, list_imports, read_report
from s4c_hpc.markers.compat_values import Scales
from s4c_hpc.parcels import read_attributes
from s4c_hpc.series import SeriesFile, open_series, read_series

MDB1 = """NewID,20180507_mean_NDVI,20180507_min_NDVI,20180507_valid_pixels_cnt_NDVI,20180508_mean_AMP_VV_088,\
20180508_mean_AMP_VVVH_088,20180508_stdev_AMP_VVVH_088,19700101_mean_L3B,20180507_M1,20180507_mean_L2A_32UPU_B1,note
3,0.5,0,41,-11.25,6.5,-0.25,0.1,1,0.1,wet
1,0.25,0.125,17,-13.5,5.5,0.5,0.1,0,0.1,
99,0.125,0.0625,5,,,,,,,
"""


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> SeasonSpace:
    """18 parcels with series of two days; imports beside them change nothing of theirs."""
    made = SeasonSpace(tmp_path_factory.mktemp("import"))
    made.workspace.config.write_text("")
    for when in ("20180507T102648", "20180603T101329"):
        made.acquire(when)
    made.season()
    made.merge()
    return made


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def write_ipc(path: Path, columns: Mapping[str, Sequence[Any]], rows: int = 2) -> Path:
    """As the reference does: int32, float32 with nulls, batches, and an index of big-endian integers beside."""
    names = list(columns)
    arrays = [pa.array(columns[n], pa.int32() if n == "NewID" else pa.float32()) for n in names]
    batches = pa.table(arrays, names=names).to_batches(max_chunksize=rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    ids = [b.column(0).to_pylist() for b in batches]
    index = np.array([(i, of[0], of[-1]) for i, of in enumerate(ids)], dtype=">i4")
    path.with_name(f"{path.name}.idx").write_bytes(index.tobytes())
    return path


def opened(space: SeasonSpace, series: Sequence[str]) -> dict[str, SeriesFile]:
    return {Path(path).name: read_series(space.root / path) for path in series}


def test_a_literal_file(season: SeasonSpace, tmp_path: Path) -> None:
    report = import_foreign(write_csv(tmp_path / "mdb1.csv", MDB1), season.workspace, tile="FREISING")
    assert (report.n_rows, report.n_parcels, report.n_strangers, report.strangers) == (3, 2, 1, (99,))
    files = opened(season, report.series)
    assert sorted(files) == ["20180507_s2.arrow", "20180508_s1_088.arrow"]
    optical, radar = files["20180507_s2.arrow"], files["20180508_s1_088.arrow"]
    assert optical.new_id.tolist() == radar.new_id.tolist() == [1, 3]
    assert optical.names == ["ndvi_count", "ndvi_mean", "ndvi_min"]
    assert optical.values("ndvi_count").tolist() == [17, 41]
    assert optical.values("ndvi_mean").tolist() == [0.25, 0.5]
    assert same(optical.values("ndvi_min"), np.array([0.125, np.nan], np.float32))  # a false 0
    assert radar.values("vv_sigma0_db_mean").tolist() == [-13.5, -11.25]
    assert radar.values("vv_minus_vh_db_mean").tolist() == [5.5, 6.5]
    assert set(report.left_out) == {
        "20180508_stdev_AMP_VVVH_088",
        "19700101_mean_L3B",
        "20180507_M1",
        "20180507_mean_L2A_32UPU_B1",
        "note",
    }
    assert any("1 zeros in NDVI min taken out" in note for note in report.notes)
    assert read_report(season.workspace, report.name) == report


def test_imported_files_say_what_they_are(season: SeasonSpace, tmp_path: Path) -> None:
    report = import_foreign(write_csv(tmp_path / "mdb1.csv", MDB1), season.workspace, tile="FREISING")
    file = opened(season, report.series)["20180508_s1_088.arrow"]
    head = file.header
    assert head.product == f"sen4cap-import-{report.name.removeprefix('sen4cap-')}"
    assert (head.sensor, head.relative_orbit, head.tile, head.grid) == ("s1", 88, "FREISING", "unknown")
    assert head.weighting is Weighting.CENTRE
    assert np.isnan(head.buffer_m)
    assert head.datetime.isoformat() == "2018-05-08T00:00:00+00:00"
    said = file.describe("vv_sigma0_db_mean")
    assert (said["unit"], said["source"]) == ("dB", "Sen4CAP marker file, column 20180508_mean_AMP_VV_088")
    assert file.metadata["imported_from"] == "mdb1.csv"


def test_ipc_in_batches_with_nulls_read_a_few_columns_at_a_time(
    season: SeasonSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [f"201805{day:02d}" for day in range(1, 29)]
    rng = np.random.default_rng(4)
    values = {f"{d}_{s}_NDVI": rng.random(18).astype(np.float32) for d in days for s in ("mean", "stdev")}
    nulls = {name: [None if v < 0.2 else float(v) for v in column] for name, column in values.items()}
    path = write_ipc(tmp_path / "mdb1.ipc", {"NewID": list(range(18, 0, -1)), **nulls}, rows=5)
    monkeypatch.setattr(compat_write, "PASS_BYTES", 4 * 18 * 5)
    report = import_foreign(path, season.workspace)
    assert len(report.series) == 28
    assert not any("index" in note for note in report.notes)
    for name, column in values.items():
        file = read_series(season.root / f"imported/{report.name}/{name[:8]}_s2.arrow")
        statistic = name[9:-5]
        expected = np.where(column < np.float32(0.2), np.float32(np.nan), column)[::-1]
        assert same(file.values(f"ndvi_{statistic}"), expected)


def test_an_index_of_another_file_is_told_and_not_used(season: SeasonSpace, tmp_path: Path) -> None:
    path = write_ipc(tmp_path / "other.ipc", {"NewID": [1, 2, 3], "20180507_mean_NDVI": [0.1, 0.2, 0.3]})
    (tmp_path / "other.ipc.idx").write_bytes(b"\0" * 12)
    assert any("other.ipc.idx is the index of another file" in n for n in import_foreign(path, season.workspace).notes)


def test_a_factor_is_never_guessed(season: SeasonSpace, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "ints.csv", "NewID,20180507_mean_NDVI,20180507_stdev_NDVI\n1,7312,250\n2,-104,31\n")
    before = sorted((season.root / "imported").glob("*")) if (season.root / "imported").exists() else []
    with pytest.raises(
        InputError, match=r"20180507_mean_NDVI: 2 values lie outside of -1 to 1: 7312, -104; .*--scale NDVI"
    ):
        import_foreign(path, season.workspace)
    with pytest.raises(InputError, match=r"after the factor 0\.5"):
        import_foreign(path, season.workspace, scale=Scales.parse(["NDVI=0.5"]))
    assert sorted((season.root / "imported").glob("*")) == before
    report = import_foreign(path, season.workspace, scale=Scales.parse(["NDVI=0.0001"]))
    (file,) = opened(season, report.series).values()
    np.testing.assert_allclose(file.values("ndvi_mean").astype(np.float64), [0.7312, -0.0104], rtol=1e-6)
    np.testing.assert_allclose(file.values("ndvi_stdev").astype(np.float64), [0.025, 0.0031], rtol=1e-6)
    assert "NDVI multiplied by 0.0001" in report.notes


def test_a_factor_shows_in_spreads_alone_as_well(season: SeasonSpace, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "stdev.csv", "NewID,20180507_stdev_NDVI\n1,250\n")
    with pytest.raises(InputError, match="outside of 0 to 2"):
        import_foreign(path, season.workspace)


def test_the_same_file_is_imported_once(season: SeasonSpace, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "once.csv", "NewID,20180507_mean_LAI\n1,2.5\n")
    first = import_foreign(path, season.workspace)
    number = len(list_imports(season.workspace))
    assert import_foreign(path, season.workspace) == first
    assert len(list_imports(season.workspace)) == number
    assert import_foreign(path, season.workspace, tile="FREISING").name != first.name


def test_our_parcels_by_another_column(season: SeasonSpace, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "own.csv", "NewID,20180507_mean_LAI\n1,2.5\n")
    with pytest.raises(ConfigError, match="no column 'number'"):
        import_foreign(path, season.workspace, parcels_by="number")
    with pytest.raises(ConfigError, match="several parcels have the same 'tile'"):
        import_foreign(path, season.workspace, parcels_by="tile")
    with pytest.raises(NoInputsError, match="ori_id of parcels v0001 is compared"):
        import_foreign(path, season.workspace, parcels_by="ori_id")


def test_the_ids_of_our_declaration_may_be_the_numbers_of_the_reference(tmp_path: Path) -> None:
    declared = geopandas.read_file(DATA / "parcels.gpkg")
    declared["number"] = np.arange(900, 900 - len(declared), -1)
    declared.to_file(tmp_path / "numbered.gpkg")
    parcels = {"file": str(tmp_path / "numbered.gpkg"), "id_columns": ["number"]}
    space = MarkerSpace(tmp_path / "site", config=make_config(parcels=parcels))
    path = write_csv(tmp_path / "own.csv", "NewID,20180507_mean_LAI\n900,2.5\n890,3.5\n1,4.5\n")
    report = import_foreign(path, space.workspace, parcels_by="ori_id")
    assert (report.n_parcels, report.strangers) == (2, (1,))
    (file,) = (read_series(space.root / one) for one in report.series)
    of = read_attributes(space.workspace, "v0001", ["NewID", "ori_id"]).to_pydict()
    own = dict(zip(of["NewID"], of["ori_id"], strict=True))
    lai = {own[i]: v for i, v in zip(file.new_id.tolist(), file.values("lai_mean").tolist(), strict=True)}
    assert lai == {"900": 2.5, "890": 3.5}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", NoInputsError, "empty"),
        ("NewID,20180507_mean_NDVI\n", NoInputsError, "no rows|0 rows"),
        ("NewID\n1\n", NoInputsError, "0 columns"),
        ("id,20180507_mean_NDVI\n1,0.5\n", InputError, "0 columns NewID"),
        ("NewID,NewID,20180507_mean_NDVI\n1,1,0.5\n", InputError, "2 columns NewID"),
        ("NewID,20180507_mean_NDVI\n1,0.5\n1,0.6\n", InputError, "two rows: 1"),
        ("NewID,20180507_mean_NDVI\n,0.5\n", InputError, "whole number in every row"),
        ("NewID,20180507_mean_NDVI\n1.5,0.5\n", InputError, "1.5"),
        ("NewID,20180507_mean_NDVI\n1,green\n", InputError, "green"),
        ("NewID;20180507_mean_NDVI\n1;0.5\n", InputError, "0 columns NewID"),
        ("NewID,20180507_mean_NDVI\n1,0.5,0.6\n", InputError, "not a marker file"),
        ("NewID,20180507_mean_NDVI\n1,inf\n", InputError, "outside"),
        ("NewID,20180507_M1\n1,0\n", NoInputsError, "20180507_M1 .not a name"),
        ("NewID,20180507_mean_NDVI\n777,0.5\n", NoInputsError, "none of its 1 parcels is one of ours"),
    ],
)
def test_files_of_no_use(season: SeasonSpace, tmp_path: Path, text: str, error: type[S4cError], message: str) -> None:
    with pytest.raises(error, match=message):
        import_foreign(write_csv(tmp_path / "bad.csv", text), season.workspace)


def test_files_that_are_none(season: SeasonSpace, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        import_foreign(tmp_path / "none.ipc", season.workspace)
    with pytest.raises(InputError, match="names no format"):
        import_foreign(write_csv(tmp_path / "a.txt", "x"), season.workspace)
    cut = write_ipc(tmp_path / "cut.ipc", {"NewID": [1, 2], "20180507_mean_NDVI": [0.1, 0.2]})
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a whole Arrow file"):
        import_foreign(cut, season.workspace)
    with pytest.raises(MissingDataError, match="there are no parcels"):
        import_foreign(cut, Workspace(tmp_path))


@pytest.mark.parametrize("ending", ["csv", "arrow"])
def test_our_export_by_the_reference_names_comes_back_as_our_series(
    season: SeasonSpace, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"export.{ending}"
    columns = [
        name
        for period in ("2018-05", "2018-06")
        for name in read(season.marker(period)).column_names
        if name != "NewID" and "_b11_" not in name and parse_name(name).variable is not None
    ]
    export_markers(season.workspace, out, compat=True, columns=columns)
    report = import_foreign(out, season.workspace)
    assert not report.left_out
    assert (report.n_columns, report.n_parcels) == (len(columns), 18)
    compared = 0
    files = opened(season, report.series).values()
    ours = {
        str(one.acquisition.day): one for a in files for one in open_series(season.root).date(a.header.datetime.date())
    }
    for file in files:
        own = ours[str(file.header.datetime.date())]
        order = np.argsort(own.new_id)
        for name in file.names:
            mine = own.values(name)[order].astype(np.float32)
            if ending == "csv":  # all digits that tell float32 apart
                np.testing.assert_array_equal(file.values(name), mine)
            assert same(file.values(name), mine)
            compared += 1
    assert compared == len(columns)
    for one in compare_import(report, open_series(season.root)):
        assert one.n > 10
        assert one.days == 2
        assert one.median_difference == one.p95_abs_difference == one.ambiguous == one.only_theirs == 0
        assert one.r == pytest.approx(1)


def test_comparison_by_hand(season: SeasonSpace, tmp_path: Path) -> None:
    (own,) = open_series(season.root).date(dt.date(2018, 5, 7), grid="10m")
    ids, mine = own.new_id, own.values("ndvi_mean").astype(np.float64)
    theirs = np.where(np.arange(ids.size) % 2, mine * 0.5, mine * 0.25)
    text = "".join(f"{i},{'' if np.isnan(v) else float(np.float32(v))},0.5\n" for i, v in zip(ids, theirs, strict=True))
    path = write_csv(tmp_path / "other.csv", f"NewID,20180507_mean_NDVI,20180509_mean_NDVI\n{text}")
    report = import_foreign(path, season.workspace)
    (one,) = compare_import(report, open_series(season.root))
    known = ~np.isnan(mine)
    difference = (mine - theirs)[known]
    assert (one.sensor, one.variable, one.statistic, one.n, one.days) == ("s2", "ndvi", "mean", int(known.sum()), 1)
    assert one.only_theirs == ids.size  # the day that we do not have
    assert one.median_difference == pytest.approx(np.median(difference), abs=1e-6)
    assert one.p95_abs_difference == pytest.approx(np.percentile(abs(difference), 95), abs=1e-6)
    assert one.r == pytest.approx(np.corrcoef(mine[known], theirs[known])[0, 1], abs=1e-5)


def test_two_of_ours_on_a_day_are_not_compared(tmp_path: Path) -> None:
    space = SeasonSpace(tmp_path / "twice")
    space.workspace.config.write_text("")
    for when in ("20180507T102648", "20180507T103012"):
        space.acquire(when, product=f"S2_{when}")
    space.season()
    rows = "".join(f"{i},0.5\n" for i in space.ids)
    report = import_foreign(write_csv(tmp_path / "a.csv", f"NewID,20180507_mean_NDVI\n{rows}"), space.workspace)
    (one,) = compare_import(report, open_series(space.root))
    assert one.n + one.ambiguous + one.only_theirs == 18
    assert one.ambiguous > one.n


def test_interpolated_values_are_not_compared(season: SeasonSpace, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "crop.csv", "NewID,XX_2018_05_07_s2_mean_ndvi\n1,0.5\n")
    report = import_foreign(path, season.workspace)
    (file,) = opened(season, report.series).values()
    assert (file.header.grid, file.path.name) == ("interpolated", "20180507_s2-interpolated.arrow")
    with pytest.raises(NoInputsError, match="interpolated"):
        list(compare_import(report, open_series(season.root)))


def test_imports_are_found_by_file_or_name(season: SeasonSpace, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "found.csv", "NewID,20180507_mean_LAI\n1,1.5\n")
    report = import_foreign(path, season.workspace)
    assert find_import(season.workspace, str(path)) == find_import(season.workspace, report.name) == report
    import_foreign(path, season.workspace, scale=Scales.parse(["LAI=0.5"]))
    with pytest.raises(InputError, match="imported 2 times"):
        find_import(season.workspace, "found.csv")
    with pytest.raises(NoInputsError, match="s4c series import other"):
        find_import(Workspace(tmp_path), "other")


def test_on_the_command_line(season: SeasonSpace, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "cli.csv", MDB1)
    done = s4c("series", "import", path, workspace=season.root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("imported/sen4cap-")
    assert "1 of 3 parcels are not ours and were left out: 99" in done.stderr
    assert "19700101_mean_L3B" in done.stderr
    compared = s4c("series", "compare", path, "--csv", workspace=season.root)
    assert compared.returncode == 0, compared.stderr
    rows = list(csv.DictReader(io.StringIO(compared.stdout)))
    assert {(r["sensor"], r["variable"], r["statistic"]) for r in rows} >= {("s2", "ndvi", "mean")}
    assert {r["n"] for r in rows if r["sensor"] == "s1"} == {"0"}
    listed = s4c("series", "import", path, "--json", workspace=season.root)
    assert json.loads(listed.stdout)[0]["n_strangers"] == 1
    bad = s4c("series", "import", path, "--scale", "NDVI=ten", workspace=season.root)
    assert (bad.returncode, "NDVI=0.0001" in bad.stderr) == (3, True)
