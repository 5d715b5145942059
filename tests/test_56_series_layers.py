"""Layers: where several files of an acquisition have a parcel, the last one counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.markers import TILE, header, make_config, random_series, write_series
from support.season import SeasonSpace, same, time_of

from s4c_hpc.core.errors import InputError
from s4c_hpc.series.contract import ID
from s4c_hpc.series.layers import RowFinder, open_layers

WHEN = "20180507T102648"
IDS = st.lists(st.integers(1, 12), unique=True, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.lists(IDS, min_size=1, max_size=4))
def test_merging_is_a_dictionary_that_is_updated(tmp_path: Path, layers: list[list[int]]) -> None:
    config = make_config()
    head = header("S2", time_of(WHEN))
    tables = [random_series(head, ids, config, seed) for seed, ids in enumerate(layers)]
    for i, table in enumerate(tables):
        write_series(tmp_path / f"{i}.arrow", table)
    found = open_layers([tmp_path / f"{i}.arrow" for i in range(len(tables))])
    expected: dict[int, dict[str, float]] = {}
    for table in tables:
        for row in table.to_pylist():
            expected[row[ID]] = row  # a parcel keeps its place
    assert found.new_id.tolist() == list(expected)
    merged = found.table()
    assert merged.schema.equals(tables[0].schema, check_metadata=True)
    for name in tables[0].column_names:
        values = np.array([row[name] for row in expected.values()], merged[name].type.to_pandas_dtype())
        assert same(merged[name].to_numpy(), values)
        assert same(found.values(name), values)
    wanted = np.arange(14, dtype=np.int32)
    rows = found.rows_of(wanted)
    assert [i for i in wanted.tolist() if rows[i] >= 0] == sorted(expected)
    for new_id in wanted.tolist():
        place = found.find(new_id, hint=new_id)
        assert (place is None) == (new_id not in expected)
        if place is not None:
            batch, row = place
            value = np.float32(expected[new_id]["ndvi_mean"])
            assert same(batch.column("ndvi_mean").to_numpy()[row], value)
            assert same(found.stacked["ndvi_mean"].to_numpy()[rows[new_id]], value)


def test_one_file_is_not_copied(tmp_path: Path) -> None:
    space = SeasonSpace(tmp_path)
    space.acquire(WHEN)
    before = pa.total_allocated_bytes()
    table = open_layers([tmp_path / space.stats[0].outputs[0]]).table()
    assert table.num_rows == 18
    assert pa.total_allocated_bytes() == before


def test_files_that_are_no_layers_of_each_other_are_refused(tmp_path: Path) -> None:
    space = SeasonSpace(tmp_path)
    space.acquire(WHEN, grids=("10m", "20m"))
    space.acquire("20180512T102148")
    (fine, coarse), (other,) = (task.outputs for task in space.stats)
    for layer in (coarse, other):
        with pytest.raises(InputError, match=r"is no layer over .*: another product, grid or other columns"):
            open_layers([tmp_path / fine, tmp_path / layer])


def test_a_wrong_hint_costs_time_and_nothing_else() -> None:
    blocks = [np.array(ids, np.int32) for ids in ([5, 2, 9], [7, 1], [], [3, 8, 6, 10], [4])]
    finder = RowFinder(len(blocks), blocks.__getitem__)
    for hint in (-1, 0, 3, 4, 6, 7, 9, 1000):
        assert finder.find(1, hint) == (1, 1)
        assert finder.find(6, hint) == (3, 2)
        assert finder.find(4, hint) == (4, 0)
        assert finder.find(11, hint) is None
    assert RowFinder(0, blocks.__getitem__).find(1, 0) is None


def test_layers_by_pandas(tmp_path: Path) -> None:
    space = SeasonSpace(tmp_path)
    product = space.acquire(WHEN)
    base = tmp_path / space.stats[0].outputs[0]
    layered = open_layers([base, space.layer(product, [3, 40], 5), space.layer(product, [40, 18], 6)])
    assert layered.header.tile == TILE
    frame = layered.table().to_pandas().set_index(ID)
    pd.testing.assert_frame_equal(
        frame.sort_index(), space.tables[f"{product} 10m"].to_pandas().set_index(ID).sort_index()
    )
