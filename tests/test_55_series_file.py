"""What a series file promises its readers: types, units, order, no copies, the same bytes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.series import TILE, Scene, config, read_table

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.extract import BlockReader
from s4c_hpc.extract.bounds import Sizes
from s4c_hpc.extract.index import IndexBlock
from s4c_hpc.extract.pieces import pieces
from s4c_hpc.optical import class_lut, resolve, usable_codes
from s4c_hpc.series import CLASS_COUNTS, SeriesHeader, column_names, read_series, series_schema
from s4c_hpc.series.assign import assign
from s4c_hpc.series.compute import PixelRules, series_batches
from s4c_hpc.series.stage_stats import StatsStage


@pytest.mark.parametrize("weighting", ["centre", "coverage"])
def test_every_column_has_unit_method_and_source_and_a_type_that_r_reads(tmp_path: Path, weighting: str) -> None:
    settings = config(extract={"weighting": weighting}, variables={"formulas": {"mine": "B04 * 2"}})
    files = Scene().run(tmp_path, settings)
    for path in files.values():
        schema = read_table(path).schema
        assert schema.field(0).equals(pa.field("NewID", pa.int32(), nullable=False))
        for field in schema:
            assert field.type in (pa.int32(), pa.float32())
            assert not field.nullable
            assert {b"unit", b"long_name"} <= field.metadata.keys()
        count = pa.int32() if weighting == "centre" else pa.float32()
        assert {schema.field(name).type for name in CLASS_COUNTS} == {count}
        for field in schema:
            if field.name.endswith("_count"):
                assert (field.type, field.metadata[b"unit"]) == (count, b"pixel")
            elif field.name not in {"NewID", *CLASS_COUNTS}:
                assert field.metadata[b"unit"] == b"1"
                assert field.metadata[b"source"]
                assert field.metadata[b"formula"]
                assert field.metadata[b"method"]
    described = read_series(files["10m"]).describe("ndwi_gao_stdev")
    wanted = "sample standard deviation (n - 1)" if weighting == "centre" else "population standard deviation"
    assert wanted in described["method"]
    assert described["resampling"] == "nearest: B11 from 20m"
    assert "Gao" in described["source"]
    assert read_series(files["10m"]).describe("ndvi_p25")["resampling"] == "none"
    assert read_series(files["10m"]).describe("mine_mean")["formula"] == "B04 * 2"


def test_there_are_no_nulls_only_nan(tmp_path: Path) -> None:
    table = read_table(Scene().run(tmp_path, config())["10m"])
    assert all(column.null_count == 0 for column in table.columns)
    assert all(buffer is None for column in table.columns for chunk in column.chunks for buffer in chunk.buffers()[:1])
    empty = table["n_total"].to_numpy() == 0
    assert empty.sum() >= 2  # the parcel without a geometry and the sliver
    assert np.isnan(table["ndvi_mean"].to_numpy()[empty]).all()
    assert (table["ndvi_count"].to_numpy()[empty] == 0).all()


def test_one_record_batch_a_parcel_block_in_row_order(tmp_path: Path) -> None:
    scene = Scene(block_size=7)
    series = read_series(scene.run(tmp_path, config())["10m"])
    assert [batch.num_rows for batch in series.batches] == [7, 7, 7, 7, 2]
    np.testing.assert_array_equal(series.new_id, scene.new_id)
    assert series.n_rows == 30


def test_the_header_comes_back(tmp_path: Path) -> None:
    settings = config()
    scene = Scene()
    header = read_series(scene.run(tmp_path, settings)["20m"]).header
    product = scene.product
    assert (header.product, header.product_key, header.datetime) == (product.id, product.key, product.datetime)
    assert (header.sensor, header.platform, header.grid, header.tile) == ("s2", "sentinel-2a", "20m", TILE.id)
    assert (header.relative_orbit, header.orbit_direction) == (65, "descending")
    assert (header.parcels, header.buffer_m, header.task) == ("parcels:test", 10.0, "task-1")
    assert '"4":"valid"' in header.validity
    assert SeriesHeader.from_metadata(header.to_metadata(), "here") == header


def test_what_is_not_known_of_a_product_stays_unknown(tmp_path: Path) -> None:
    series = read_series(Scene().run(tmp_path, config())["20m"])
    metadata = {**series.header.to_metadata(), "relative_orbit": "", "orbit_direction": ""}
    header = SeriesHeader.from_metadata(metadata, "here")
    assert (header.relative_orbit, header.orbit_direction) == (None, None)


def test_reading_copies_nothing(tmp_path: Path) -> None:
    path = Scene(block_size=50).run(tmp_path, config())["10m"]
    before = pa.total_allocated_bytes()
    series = read_series(path)
    views = [chunk for name in series.names for chunk in series.chunks(name)]
    assert pa.total_allocated_bytes() == before
    assert all(not view.flags.owndata for view in views)
    np.testing.assert_array_equal(series.values("ndvi_mean"), read_table(path)["ndvi_mean"])
    assert np.shares_memory(series.values("ndvi_mean"), next(series.chunks("ndvi_mean")))
    assert series.table().num_rows == 30


def test_columns_are_in_the_promised_order(tmp_path: Path) -> None:
    settings = config()
    names = read_series(Scene().run(tmp_path, settings)["20m"]).schema.names
    wanted = [v for v in resolve(settings.variables) if v.name == "b11"]
    assert names == column_names(wanted, settings.variables.statistics)
    assert names[:4] == ["NewID", "n_total", "n_valid", "n_cloud"]


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    series = read_series(Scene().run(tmp_path, config())["20m"])
    with pytest.raises(InputError, match=r"no column 'ndvi_mean'; it has NewID, n_total"):
        series.column("ndvi_mean")


def test_files_that_are_not_series(tmp_path: Path) -> None:
    path = Scene().run(tmp_path, config())["20m"]
    with pytest.raises(MissingDataError, match="no such file"):
        read_series(tmp_path / "none.arrow")
    (tmp_path / "cut.arrow").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole Arrow file"):
        read_series(tmp_path / "cut.arrow")
    with pytest.raises(InputError, match="not a series file of contract"):
        read_series(tmp_path / "stack_20m.arrow")


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (Scene().run(tmp_path / name, config()) for name in ("a", "b"))
    assert {g: p.read_bytes() for g, p in first.items()} == {g: p.read_bytes() for g, p in second.items()}


@pytest.fixture(scope="module", params=["centre", "coverage"])
def whole_block(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> IndexBlock:
    settings = config(extract={"weighting": request.param})
    return Scene(block_size=99).write(tmp_path_factory.mktemp("block"), settings).indices["10m"].block(0)


@given(limit=st.integers(1, 3000))
def test_pieces_hold_every_pixel_once_in_index_order(whole_block: IndexBlock, limit: int) -> None:
    parts = list(pieces(whole_block, limit))
    np.testing.assert_array_equal(np.concatenate([p.block.new_id for p in parts]), whole_block.new_id)
    assert all(p.n_pixels <= limit or p.block.n_parcels == 1 for p in parts)
    done = 0
    for part in parts:
        for parcel in range(part.block.n_parcels):
            here, there = part.block, done + parcel
            runs = slice(whole_block.run_offsets[there], whole_block.run_offsets[there + 1])
            wanted = [
                row
                for start, length in zip(whole_block.run_start[runs], whole_block.run_length[runs], strict=True)
                for row in range(start, start + length)
            ]
            first = here.run_start[here.run_offsets[parcel]]
            assert part.row[first : first + here.run_length[parcel]].tolist() == wanted
            edges = slice(here.edge_offsets[parcel], here.edge_offsets[parcel + 1])
            whole = slice(whole_block.edge_offsets[there], whole_block.edge_offsets[there + 1])
            assert part.row[here.edge_row[edges]].tolist() == whole_block.edge_row[whole].tolist()
            assert here.edge_fraction[edges].tolist() == whole_block.edge_fraction[whole].tolist()
        done += part.block.n_parcels


@pytest.mark.parametrize("weighting", ["centre", "coverage"])
def test_how_work_is_cut_does_not_show(tmp_path: Path, weighting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(extract={"weighting": weighting})
    scene = Scene()
    inputs = scene.write(tmp_path, settings)
    whole = scene.run(tmp_path, settings, inputs)["10m"].read_bytes()
    monkeypatch.setattr("s4c_hpc.extract.spans.SPAN_ROWS", 97)
    work = assign(scene.product, resolve(settings.variables)).grids[0]
    reader = BlockReader(inputs.stacks, inputs.mask, work.grid)
    rules = PixelRules(class_lut("scl", settings.validity), usable_codes(settings.validity))
    series = read_series(tmp_path / "series_10m.arrow")
    statistics = settings.variables.statistics
    batches = series_batches(
        inputs.indices["10m"], reader, work.variables, rules, statistics, series.schema, piece_pixels=50
    )
    write_ipc(tmp_path / "cut.arrow", series.schema, batches)
    assert (tmp_path / "cut.arrow").read_bytes() == whole


def test_memory_stays_below_what_is_asked_for(tmp_path: Path) -> None:
    settings = config()
    scene = Scene(block_size=1000)
    inputs = scene.write(tmp_path, settings)
    scene.run(tmp_path, settings, inputs)  # compile
    tracemalloc.start()
    try:
        scene.run(tmp_path, settings, inputs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    pixels = sum(int(b.run_length.sum()) for b in inputs.indices["10m"])
    params = {"grids": {"10m": {"variables": [0] * 4, "bands": [0] * 3}}}
    sizes = Sizes(boundary_m=0.0, width_m=TILE.width_m)
    stage = StatsStage()
    asked = stage.resources(7.0 * pixels, params, sizes).mem_bytes - stage.resources(0.0, params, sizes).mem_bytes
    spans = 64 * sum(stack.n_rows for stack in inputs.stacks.values())
    assert peak < asked + spans + 1_000_000  # the rest is the texts of the schema


def test_a_schema_can_be_made_without_pixels() -> None:
    settings = config()
    variables = resolve(settings.variables)
    scene = Scene(geometry=np.array([None], dtype=object))
    header = SeriesHeader(
        product="p",
        product_key="k",
        sensor="s2",
        platform="",
        datetime=scene.product.datetime,
        relative_orbit=None,
        orbit_direction=None,
        tile="T",
        grid="10m",
        parcels="parcels:x",
        weighting=settings.extract.weighting,
        buffer_m=5.0,
        validity="{}",
        task="t",
    )
    schema = series_schema(header, variables, ("mean",), {})
    assert schema.names == column_names(variables, ("mean",))
