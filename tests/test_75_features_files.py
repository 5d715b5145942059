"""A feature file that is laid out and filled in is the one that a single writer makes; many of them are one table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from s4c_hpc.config.model import Weighting
from s4c_hpc.core.errors import InputError, InternalError, MissingDataError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.features import Feature, FeatureHeader, collect, feature_schema, read_features
from s4c_hpc.features.write import BlockWriter, lay_out

HEADER = FeatureHeader(
    tile="32UPU",
    set="optical",
    sensor="s2",
    grid="10m",
    parcels="parcels:0123456789abcdef",
    weighting=Weighting.CENTRE,
    buffer_m=5.0,
    method="by hand",
    task="one",
)


def column(name: str, **changes: Any) -> Feature:
    day = dt.date(2018, 3, 2)
    return replace(
        Feature(name=name, feature=name, statistic="mean", first=day, last=day, unit="1", source="B04"), **changes
    )


def blocks_of(rng: np.random.Generator, sizes: Sequence[int], n_columns: int) -> list[NDArray[np.float32]]:
    return [rng.normal(size=(n_columns, n)).astype(np.float32) for n in sizes]


def write(path: Path, ids: Sequence[int], columns: dict[str, Sequence[float]], **changes: str) -> Path:
    """A file of one block."""
    schema = feature_schema(HEADER, [column(name, **changes) for name in columns])
    lay_out(path, schema, [np.array(ids, np.int32)])
    with BlockWriter(path) as writer:
        writer.write(0, np.array(list(columns.values()), np.float32))
    return path


@given(
    sizes=st.lists(st.integers(0, 70), max_size=6), n_columns=st.integers(1, 5), seed=st.integers(0, 99), data=st.data()
)
def test_the_bytes_are_those_of_a_single_writer(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], n_columns: int, seed: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("files")
    values = blocks_of(np.random.default_rng(seed), sizes, n_columns)
    ids = [np.arange(n, dtype=np.int32) + 100 * i for i, n in enumerate(sizes)]
    schema = feature_schema(HEADER, [column(f"c{i}") for i in range(n_columns)])
    batches = [
        pa.RecordBatch.from_arrays([pa.array(a), *map(pa.array, b)], schema=schema)
        for a, b in zip(ids, values, strict=True)
    ]
    write_ipc(folder / "alone.arrow", schema, batches)
    assert lay_out(folder / "together.arrow", schema, iter(ids)) == sum(sizes)
    order = data.draw(st.permutations(range(len(sizes))))
    with BlockWriter(folder / "together.arrow") as one, BlockWriter(folder / "together.arrow") as other:
        for i in order:
            (one, other)[i % 2].write(i, values[i])
    assert (folder / "together.arrow").read_bytes() == (folder / "alone.arrow").read_bytes()
    assert read_features(folder / "together.arrow").new_id.tolist() == [i for part in ids for i in part.tolist()]


def test_a_block_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    lay_out(path, feature_schema(HEADER, [column("a")]), [np.arange(3, dtype=np.int32)])
    with BlockWriter(path) as writer, pytest.raises(InternalError, match="has room for"):
        writer.write(0, np.zeros((1, 4), np.float32))


def test_what_a_column_means_stands_in_the_file(tmp_path: Path) -> None:
    wanted = [
        column("XX_s2_pixels", statistic="pixels", feature=""),
        column("m", observed="o"),
        Feature(name="n", feature="asc_vv_bck", statistic="stdev"),
    ]
    header = replace(HEADER, weighting=None, buffer_m=-2.5)
    lay_out(tmp_path / "a.arrow", feature_schema(header, wanted), [np.arange(3, dtype=np.int32)])
    found = read_features(tmp_path / "a.arrow")
    assert list(found.features) == wanted
    assert [one.is_feature for one in found.features] == [False, True, True]
    assert found.header == header
    with pytest.raises(InputError, match="two features are called m"):
        feature_schema(HEADER, [wanted[1], wanted[1]])


def test_what_is_no_feature_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        read_features(tmp_path / "none.arrow")
    write_ipc(tmp_path / "other.arrow", pa.schema([pa.field("NewID", pa.int32())]), [])
    with pytest.raises(InputError, match="not a feature file"):
        read_features(tmp_path / "other.arrow")
    whole = write(tmp_path / "whole.arrow", [1, 2], {"a": [1, 2]}).read_bytes()
    (tmp_path / "half.arrow").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a whole Arrow file"):
        read_features(tmp_path / "half.arrow")


def test_files_stand_side_by_side_and_the_last_layer_wins(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "tile1.arrow", [1, 2, 3], {"a": [10, 20, 30], "b": [1, 2, 3]}),
        write(tmp_path / "tile2.arrow", [5, 4], {"a": [50, 40]}),
        write(tmp_path / "layer.arrow", [2, 9], {"a": [21, 90], "b": [np.nan, 9]}),
        write(tmp_path / "red-edge.arrow", [4, 1], {"c": [4, 1]}),
    ]
    only = np.array([5, 2, 1, 77], np.int32)  # 3, 4 and 9 are no parcels of the declaration any more
    found = collect(files, only)
    assert found.new_id.tolist() == only.tolist()
    assert [one.name for one in found.columns] == ["a", "b", "c"]
    nan = np.nan
    np.testing.assert_array_equal(found.values, [[50, nan, nan], [21, nan, nan], [10, 1, 1], [nan, nan, nan]])
    chosen = found.chosen([2, 0])
    assert [one.name for one in chosen.columns] == ["c", "a"]
    np.testing.assert_array_equal(chosen.values[:, 1], found.values[:, 0])
    assert collect(files, np.empty(0, np.int32)).values.shape == (0, 3)
    assert collect([], only).values.shape == (4, 0)


def test_what_another_tile_says_of_a_parcel_is_of_where_it_was(tmp_path: Path) -> None:
    files = []
    for tile, ids, values in [("T1", [1, 2], [11, 12]), ("T2", [2, 3], [22, 23]), ("", [3], [33])]:
        lay_out(
            tmp_path / f"{tile}.arrow",
            feature_schema(replace(HEADER, tile=tile), [column("a")]),
            [np.array(ids, np.int32)],
        )
        with BlockWriter(tmp_path / f"{tile}.arrow") as writer:
            writer.write(0, np.array([values], np.float32))
        files.append(tmp_path / f"{tile}.arrow")
    only = np.array([3, 2, 1], np.int32)
    assert collect(files, only).values.ravel().tolist() == [33, 22, 11]
    assert collect(files, only, ["T2", "T1", "T1"]).values.ravel().tolist() == [33, 12, 11], "of no tile: of all"
    np.testing.assert_array_equal(collect(files, only, ["T2", "T2", "T2"]).values.ravel(), [33, 22, np.nan])
    assert collect(files, only[:0], []).values.shape == (0, 1)


@pytest.mark.parametrize("change", [{"source": "B04 + B08"}, {"unit": "1e-4"}, {"observed": "o"}])
def test_one_name_for_two_things_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    files = [
        write(tmp_path / "one.arrow", [1], {"a": [1]}),
        write(tmp_path / "two.arrow", [2], {"a": [2]}, **change),
    ]
    with pytest.raises(InputError, match="two files mean different things by a") as refused:
        collect(files, np.array([1, 2], np.int32))
    assert refused.value.where == str(files[1])
