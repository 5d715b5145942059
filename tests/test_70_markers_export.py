"""Exports: every format holds the same season, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyogrio.errors
import pyogrio.raw
import pytest
from support.markers import MarkerSpace, make_config

from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError, TemporaryError
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.markers import ExportFormat, export_markers, query
from s4c_hpc.markers import export as export_module
from s4c_hpc.markers.attributes import Geometry
from s4c_hpc.markers.writers import Writer, unknown_to_null, write_arrow, write_csv, write_parquet

FORMATS = list(ExportFormat)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    made = MarkerSpace(tmp_path_factory.mktemp("export"))
    made.acquire("20180507T102648", grids=("10m", "20m"))
    made.acquire("20180603T101329")
    made.merge()
    return made


@pytest.fixture(scope="module")
def wide(space: MarkerSpace) -> pd.DataFrame:
    frame: pd.DataFrame = query(space.workspace).to_pandas().set_index("NewID")
    return frame


def read_back(path: Path, fmt: ExportFormat) -> pd.DataFrame:
    """An export with a reader that is not ours."""
    if fmt is ExportFormat.CSV:
        return pd.read_csv(path)
    if fmt is ExportFormat.PARQUET:
        return pd.read_parquet(path)
    if fmt is ExportFormat.GEOPARQUET:
        return pd.DataFrame(geopandas.read_parquet(path))
    if fmt is ExportFormat.GPKG:
        return pd.DataFrame(geopandas.read_file(path, layer="markers"))
    return pd.read_feather(path)


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_season_in_every_format(space: MarkerSpace, wide: pd.DataFrame, tmp_path: Path, fmt: ExportFormat) -> None:
    out = tmp_path / "new folder" / f"season.{fmt}"
    report = export_markers(space.workspace, out, attributes=["ori_id"])
    assert (report.path, report.format, report.n_rows, report.n_columns) == (out, fmt, 18, wide.shape[1])
    assert report.n_bytes == out.stat().st_size
    assert report.left_out == ()
    table = read_back(out, fmt).set_index("NewID")
    last = ["geometry"] if fmt.has_geometry else []
    assert list(table.columns) == ["ori_id", *wide.columns, *last]
    assert table.index.tolist() == wide.index.tolist()
    assert table["ori_id"].notna().all()
    values = table[wide.columns].to_numpy(np.float64).astype(np.float32)
    assert np.array_equal(values, wide.to_numpy(np.float64).astype(np.float32), equal_nan=True)
    assert [p.name for p in out.parent.iterdir()] == [out.name], "nothing else is left"


@pytest.mark.parametrize("fmt", FORMATS)
def test_chosen_parcels_and_columns(space: MarkerSpace, tmp_path: Path, fmt: ExportFormat) -> None:
    out = tmp_path / f"some.{fmt}"
    report = export_markers(space.workspace, out, ids=[3, 7], columns=["*_ndvi_mean__*"], periods=["2018-05"])
    assert (report.n_rows, report.n_columns) == (2, 1)
    table = read_back(out, fmt)
    assert table["NewID"].tolist() == [3, 7]
    assert "s2_ndvi_mean__20180507" in table.columns


def test_geometries_are_those_of_the_parcels(space: MarkerSpace, tmp_path: Path) -> None:
    parcels = geopandas.read_parquet(space.workspace.parcels / "v0001" / "parcels.parquet").set_index("NewID")
    for fmt in (ExportFormat.GEOPARQUET, ExportFormat.GPKG):
        out = tmp_path / f"some.{fmt}"
        export_markers(space.workspace, out, ids=[2, 5, 18], columns=["*_ndvi_mean__*"])
        read = (geopandas.read_parquet(out) if fmt is ExportFormat.GEOPARQUET else geopandas.read_file(out)).set_index(
            "NewID"
        )
        assert read.crs == parcels.crs
        assert read.geometry.geom_equals(parcels.geometry.loc[[2, 5, 18]]).all()
    geo = json.loads(pq.read_schema(tmp_path / "some.geoparquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert pyogrio.read_info(tmp_path / "some.gpkg")["geometry_type"] == "MultiPolygon"


def test_formats_keep_what_they_can_of_units(space: MarkerSpace, tmp_path: Path) -> None:
    export_markers(space.workspace, tmp_path / "season.parquet")
    export_markers(space.workspace, tmp_path / "season.arrow")
    for schema in (pq.read_schema(tmp_path / "season.parquet"), open_ipc(tmp_path / "season.arrow").schema):
        field = schema.field("s2_ndvi_mean__20180507")
        assert field.metadata[b"unit"] == b"1"
        assert field.metadata[b"formula"] == b"(B08 - B04) / (B08 + B04)"


def test_unknown_values_are_empty_in_csv_and_null_in_gpkg(
    space: MarkerSpace, wide: pd.DataFrame, tmp_path: Path
) -> None:
    column = "s2_ndvi_mean__20180507"
    unknown = int(wide.index[wide[column].isna()][0])
    export_markers(space.workspace, tmp_path / "a.csv", ids=[unknown], columns=[column])
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == f"{unknown},"
    export_markers(space.workspace, tmp_path / "a.gpkg", ids=[unknown], columns=[column])
    _, table = pyogrio.read_arrow(tmp_path / "a.gpkg")
    assert table[column].to_pylist() == [None]


def test_unknown_to_null(space: MarkerSpace) -> None:
    table = query(space.workspace)
    cleared = unknown_to_null(table)
    for name in table.column_names:
        values = table[name].to_numpy()
        assert cleared[name].null_count == (np.isnan(values).sum() if values.dtype.kind == "f" else 0)
        assert np.array_equal(cleared[name].drop_null().to_numpy(), values[~np.isnan(values)])


def test_texts_that_csv_must_quote(tmp_path: Path) -> None:
    data = geopandas.read_file(make_config().parcels.file)
    data.loc[0, "parcel_id"] = 'Feld "oben", links'
    data.to_file(tmp_path / "p.gpkg")
    section = {"file": str(tmp_path / "p.gpkg"), "id_columns": ["parcel_id"]}
    space = MarkerSpace(tmp_path / "ws", make_config(parcels=section))
    space.acquire("20180507T102648")
    space.merge()
    export_markers(space.workspace, tmp_path / "a.csv", attributes=["ori_id"], columns=["*_ndvi_mean__*"])
    assert 'Feld "oben", links' in pd.read_csv(tmp_path / "a.csv")["ori_id"].tolist()


class TestCompat:
    def test_reference_names_in_their_order(self, space: MarkerSpace, wide: pd.DataFrame, tmp_path: Path) -> None:
        out = tmp_path / "reference.csv"
        report = export_markers(space.workspace, out, compat=True)
        table = pd.read_csv(out)
        assert list(table.columns[:4]) == [
            "NewID",
            "20180507_valid_pixels_cnt_L2A_FREISING_B11",
            "20180507_mean_L2A_FREISING_B11",
            "20180507_p25_L2A_FREISING_B11",
        ]
        assert "20180603_mean_NDVI" in table.columns
        assert np.allclose(table["20180603_mean_NDVI"], wide["s2_ndvi_mean__20180603"], equal_nan=True)
        assert len(table.columns) == 1 + report.n_columns
        assert set(report.left_out) == {name for name in wide.columns if "_n_" in name}

    def test_nothing_left(self, space: MarkerSpace, tmp_path: Path) -> None:
        with pytest.raises(NoInputsError, match="no column is left"):
            export_markers(space.workspace, tmp_path / "a.csv", columns=["*_n_valid__*"], compat=True)

    def test_two_acquisitions_of_a_day(self, tmp_path: Path) -> None:
        space = MarkerSpace(tmp_path / "ws")
        space.acquire("20180507T102648")
        space.acquire("20180507T101012")
        space.merge()
        with pytest.raises(InputError, match="reference names that are not unique"):
            export_markers(space.workspace, tmp_path / "a.csv", compat=True)
        export_markers(space.workspace, tmp_path / "a.csv", compat=True, columns=["*t102648"])
        assert not (tmp_path / "b.csv").exists()


class TestWholeOrNot:
    @pytest.mark.parametrize("fmt", FORMATS)
    def test_an_existing_file_is_kept_unless_forced(
        self, space: MarkerSpace, tmp_path: Path, fmt: ExportFormat
    ) -> None:
        out = tmp_path / f"season.{fmt}"
        out.write_text("precious")
        with pytest.raises(InputError, match=r"exists already; .*--force"):
            export_markers(space.workspace, out)
        assert out.read_text() == "precious"
        export_markers(space.workspace, out, force=True)
        assert len(read_back(out, fmt)) == 18

    def test_a_file_that_appears_meanwhile_is_kept(
        self, space: MarkerSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "season.csv"

        def slow(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], geometry: Geometry | None) -> None:
            path.write_text("mine")
            out.write_text("of another")

        monkeypatch.setattr(export_module, "WRITERS", {ExportFormat.CSV: slow})
        with pytest.raises(InputError, match="exists already"):
            export_markers(space.workspace, out)
        assert out.read_text() == "of another"

    @pytest.mark.parametrize(
        ("failure", "error", "message"),
        [
            (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), TemporaryError, "the disk is full"),
            (OSError(errno.EIO, os.strerror(errno.EIO)), InputError, "cannot be written"),
            (KeyboardInterrupt("stopped"), KeyboardInterrupt, "stopped"),
        ],
    )
    def test_a_failure_leaves_nothing(
        self,
        space: MarkerSpace,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        failure: BaseException,
        error: type[BaseException],
        message: str,
    ) -> None:
        def broken(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch], geometry: Geometry | None) -> None:
            path.write_text("half")
            raise failure

        monkeypatch.setattr(export_module, "WRITERS", {ExportFormat.CSV: broken})
        (tmp_path / "season.csv").write_text("old")
        with pytest.raises(error, match=message):
            export_markers(space.workspace, tmp_path / "season.csv", force=True)
        assert [p.name for p in tmp_path.iterdir()] == ["season.csv"]
        assert (tmp_path / "season.csv").read_text() == "old"

    @pytest.mark.parametrize("write", [write_csv, write_parquet, write_arrow])
    def test_a_disk_that_is_really_full(self, space: MarkerSpace, tmp_path: Path, write: Writer) -> None:
        """/dev/full refuses every byte as a full disk does; the real writer must say so."""
        assert Path("/dev/full").is_char_device()
        # Through a link of our own: a writer that tidies up after itself removes the link and not the device.
        full = tmp_path / "full"
        full.symlink_to("/dev/full")
        table = query(space.workspace)
        with pytest.raises(OSError, match="No space left") as caught:
            write(full, table.schema, iter(table.to_batches()), None)
        assert caught.value.errno == errno.ENOSPC

    def test_a_full_disk_as_sqlite_tells_it(
        self, space: MarkerSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*arguments: object, **options: object) -> None:
            raise pyogrio.errors.DataSourceError("sqlite3_exec failed: database or disk is full")

        monkeypatch.setattr(pyogrio.raw, "write_arrow", full)
        with pytest.raises(TemporaryError, match=r"a.gpkg: the disk is full"):
            export_markers(space.workspace, tmp_path / "a.gpkg")
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_cannot_be_made(self, space: MarkerSpace, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot be written"):
            export_markers(space.workspace, tmp_path / "file" / "season.csv")


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("season.xlsx", {}, ConfigError, r"'.xlsx' does not name a format; known are .csv, .parquet"),
        ("season", {}, ConfigError, r"'no ending' does not name a format"),
        ("a.csv", {"columns": ["*evi*"]}, NoInputsError, r"no marker column matches '\*evi\*'"),
        ("a.csv", {"ids": [400]}, InputError, r"NewID 400"),
        ("a.csv", {"periods": ["2017-*"]}, NoInputsError, r"periods are 2018-05, 2018-06"),
        ("a.csv", {"attributes": ["nothing"]}, NoInputsError, r"no parcel attribute"),
    ],
)
def test_bad_arguments(
    space: MarkerSpace, tmp_path: Path, name: str, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export_markers(space.workspace, tmp_path / name, **arguments)
    assert not list(tmp_path.iterdir())


def test_more_columns_than_a_geopackage_holds(tmp_path: Path) -> None:
    """Said before anything is written, with what to do; every other format takes them."""
    percentiles = [f"p{i}" for i in range(101)]
    variables = {"bands": ["B02", "B03", "B04", "B08"], "indices": [], "statistics": percentiles}
    space = MarkerSpace(tmp_path / "ws", make_config(variables=variables))
    for day in range(1, 6):
        space.acquire(f"201805{day:02d}T101010")
    space.merge()
    with pytest.raises(
        InputError, match=r"/a.gpkg: a gpkg file holds at most 1999 columns, these are 2062; choose columns or periods"
    ):
        export_markers(space.workspace, tmp_path / "a.gpkg")
    assert export_markers(space.workspace, tmp_path / "a.parquet").n_columns == 2060
    # The limit is the real one: NewID, the geometry and 1997 markers just fit.
    kept = [name for name in query(space.workspace).column_names if name != "NewID"][:1998]
    with pytest.raises(InputError, match="these are 2000"):
        export_markers(space.workspace, tmp_path / "a.gpkg", columns=kept)
    export_markers(space.workspace, tmp_path / "a.gpkg", columns=kept[:-1])
    assert len(geopandas.read_file(tmp_path / "a.gpkg").columns) == 1999


def test_parquet_row_groups_are_large(space: MarkerSpace, tmp_path: Path) -> None:
    """A row group a batch of 1024 rows would cost readers dearly."""
    table = pa.table({"NewID": pa.array(range(50_000), pa.int32()), "x": pa.array(np.ones(50_000, np.float32))})
    write_parquet(tmp_path / "a.parquet", table.schema, iter(table.to_batches(max_chunksize=1024)), None)
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 1
