"""Grids, plan rows, Arrow files, errors: the values that everything else is made of."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.errors import ExitCode, InputError, MissingDataError, S4cError, listing
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.ipc import open_ipc, read_metadata, write_ipc
from s4c_hpc.core.plan_schema import PLAN_SCHEMA, tasks_from_table, tasks_to_batch
from s4c_hpc.core.task import Resources, Task

TILE = Tile(id="32UPU", crs="EPSG:32632", ulx=600000, uly=5400000, width_m=109800, height_m=109800)


@pytest.mark.parametrize(("res_m", "pixels"), [(10, 10980), (20, 5490), (60, 1830)])
def test_grids_of_a_sentinel_2_tile(res_m: float, pixels: int) -> None:
    grid = TILE.grid(res_m)
    assert (grid.width, grid.height) == (pixels, pixels)
    assert grid.bounds == TILE.bounds
    assert grid.bounds == (600000.0, 5290200.0, 709800.0, 5400000.0)
    assert grid.transform == (res_m, 0.0, 600000.0, 0.0, -res_m, 5400000.0)


def test_the_grid_of_landsat_is_its_own() -> None:
    """Pixels of 30 m begin 15 m beside multiples of 30, whatever the tile; the outermost ones reach over its edge."""
    west, south, east, north = TILE.grid(30).bounds
    assert all(edge % 30 == 15 for edge in (west, south, east, north))
    assert (west, north) == (599985.0, 5400015.0)
    assert 0 < east - 709800 < 30
    assert 0 < 5290200 - south < 30


def test_a_grid_covers_a_tile_whose_size_is_no_multiple_of_the_pixel() -> None:
    tile = Tile(id="X", crs="EPSG:32632", ulx=0, uly=0, width_m=5885, height_m=10)
    assert (tile.grid(10).width, tile.grid(10).height) == (589, 1)


def test_a_pixel_has_a_size() -> None:
    with pytest.raises(InputError, match="not positive"):
        TILE.grid(0)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
tasks = st.builds(
    Task,
    id=texts,
    stage=texts,
    tile=texts,
    subject=texts,
    input_keys=st.lists(texts, max_size=3).map(tuple),
    params=texts,
    depends_on=st.lists(texts, max_size=3).map(tuple),
    outputs=st.lists(texts, max_size=3).map(tuple),
    work=st.floats(0, 1e12),
    bytes_out=st.integers(0, 2**50),
    opens_imagery=st.integers(0, 100),
    resources=st.builds(
        Resources,
        cpus=st.integers(1, 128),
        mem_bytes=st.integers(0, 2**40),
        walltime_s=st.integers(1, 10**6),
        scratch_bytes=st.integers(0, 2**50),
    ),
)


@given(st.lists(tasks, max_size=5))
def test_plan_rows_round_trip(rows: list[Task]) -> None:
    batch = tasks_to_batch(rows)
    assert batch.schema == PLAN_SCHEMA
    assert tasks_from_table(batch) == rows


def test_ipc_is_mapped_not_loaded_and_has_the_same_bytes_twice(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("value", pa.float32())], metadata={"unit": "1"})
    batch = pa.RecordBatch.from_arrays([pa.array(range(100_000), pa.float32())], schema=schema)
    paths = [tmp_path / "a.arrow", tmp_path / "b.arrow"]
    for path in paths:
        assert write_ipc(path, schema, [batch, batch]) == 200_000
    assert paths[0].read_bytes() == paths[1].read_bytes()
    before = pa.total_allocated_bytes()
    reader = open_ipc(paths[0])
    column = reader.get_batch(1).column("value").to_numpy()
    assert pa.total_allocated_bytes() - before < 10_000
    assert column[-1] == 99_999
    assert read_metadata(reader.schema) == {"unit": "1"}


def test_a_torn_arrow_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.arrow"
    path.write_bytes(b"ARROW1\0\0 and then nothing")
    with pytest.raises(InputError, match=r"torn\.arrow.*run again"):
        open_ipc(path)
    with pytest.raises(MissingDataError, match=r"nothing\.arrow"):
        open_ipc(tmp_path / "nothing.arrow")


def test_a_message_says_what_where_and_what_to_do() -> None:
    error = InputError("no such column 'NewId'", where="parcels.gpkg", hint="did you mean 'NewID'?")
    assert str(error) == "parcels.gpkg: no such column 'NewId'; did you mean 'NewID'?"
    assert isinstance(error, ValueError)
    assert listing([str(i) for i in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (12 in all)"


def test_exit_codes_are_the_documented_ones() -> None:
    """Of the general errors; those of one room (Slurm) inherit theirs."""

    def family(cls: type[S4cError]) -> set[type[S4cError]]:
        here = {cls} if cls.__module__ == S4cError.__module__ else set()
        return here.union(*(family(sub) for sub in cls.__subclasses__()))

    codes = {cls.__name__: int(cls.exit_code) for cls in family(S4cError)}
    assert codes == {
        "S4cError": 9,
        "ConfigError": 3,
        "InputError": 4,
        "MissingDataError": 4,
        "NoInputsError": 6,
        "SchedulerError": 7,
        "ExternalToolError": 8,
        "TemporaryError": 75,
        "ResourceExceeded": 75,
        "InternalError": 9,
    }
    assert {code.name: int(code) for code in ExitCode if code in {2, 5}} == {"USAGE": 2, "PARTIAL": 5}
