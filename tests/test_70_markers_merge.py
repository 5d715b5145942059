"""Merging: a function of the set of sources, equal to a plain join, in bounded memory."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import ArrayLike

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.markers import merge_tables
from s4c_hpc.markers.merge import BATCH_ROWS, merge_parts
from s4c_hpc.markers.part import part_from_file, part_from_table

NDVI, COUNT = "s2_ndvi_mean__2018050{}", "s2_10m_n_valid__2018050{}"


@st.composite
def sources(draw: st.DrawFn, day: int) -> pa.Table:
    """One acquisition: some parcels in some order, a float and a count column of its own day."""
    ids = draw(st.lists(st.integers(1, 12), unique=True, max_size=12))
    n = len(ids)
    values = draw(hnp.arrays(np.float32, n, elements=st.floats(-1, 1, width=32) | st.just(float("nan"))))
    counts = draw(hnp.arrays(np.int32, n, elements=st.integers(0, 9)))
    return table_of(ids, values, counts, day)


def table_of(ids: ArrayLike, values: ArrayLike, counts: ArrayLike, day: int = 1) -> pa.Table:
    return pa.table(
        {
            "NewID": pa.array(ids, pa.int32()),
            NDVI.format(day): pa.array(np.asarray(values, np.float32)),
            COUNT.format(day): pa.array(counts, pa.int32()),
        }
    )


THREE = st.tuples(sources(1), sources(2), sources(3))


def same(one: pa.Table, other: pa.Table) -> bool:
    """Equal in schema and in every bit."""
    return bool(one.schema.equals(other.schema, check_metadata=True)) and all(
        one[n].to_numpy().tobytes() == other[n].to_numpy().tobytes() for n in one.column_names
    )


@given(THREE)
def test_commutative(tables: tuple[pa.Table, ...]) -> None:
    a, b, c = tables
    expected = merge_tables([a, b, c])
    assert same(merge_tables([c, a, b]), expected)
    assert same(merge_tables([b, a, c]), expected)


@given(THREE)
def test_associative(tables: tuple[pa.Table, ...]) -> None:
    a, b, c = tables
    expected = merge_tables([a, b, c])
    assert same(merge_tables([merge_tables([a, b]), c]), expected)
    assert same(merge_tables([a, merge_tables([b, c])]), expected)
    # A source that is in both halves counts once.
    assert same(merge_tables([merge_tables([a, b]), merge_tables([b, c])]), expected)


@given(THREE)
def test_idempotent(tables: tuple[pa.Table, ...]) -> None:
    once = merge_tables(tables)
    assert same(merge_tables([once]), once)
    assert same(merge_tables([once, once, *tables]), once)


@given(THREE)
def test_equals_a_plain_join(tables: tuple[pa.Table, ...]) -> None:
    frames = [t.to_pandas().set_index("NewID") for t in tables]
    expected = pd.concat(frames, axis=1).sort_index()
    merged = merge_tables(tables).to_pandas().set_index("NewID")
    assert list(merged.index) == list(expected.index)
    for name in expected.columns:
        known = expected[name].fillna(0) if "_n_" in name else expected[name]
        assert np.array_equal(merged[name].to_numpy(), known.to_numpy().astype(merged[name].dtype), equal_nan=True)


def test_what_a_source_does_not_have_is_nan_or_zero() -> None:
    merged = merge_tables([table_of([7, 3], [0.5, 0.25], [4, 5]), table_of([9], [1.0], [6], day=2)])
    assert merged["NewID"].to_pylist() == [3, 7, 9]
    assert merged.schema.field("NewID").type == pa.int32()
    assert merged[COUNT.format(1)].to_pylist() == [5, 4, 0]
    assert np.array_equal(merged[NDVI.format(2)].to_numpy(), np.array([np.nan, np.nan, 1], np.float32), equal_nan=True)
    assert merged[NDVI.format(2)].null_count == 0


def test_fractional_counts_are_zero_too_where_metadata_say_so() -> None:
    described = pa.field(COUNT.format(1), pa.float32(), metadata={"missing": "0"})
    coverage = pa.table(
        [pa.array([1], pa.int32()), pa.array([2.5], pa.float32())], pa.schema([("NewID", pa.int32()), described])
    )
    merged = merge_tables([coverage, table_of([2], [0.5], [1], day=2)])
    assert merged[COUNT.format(1)].to_pylist() == [2.5, 0.0]


def test_two_values_for_one_parcel_are_an_error() -> None:
    one, other = table_of([1, 2], [0.5, 0.25], [1, 1]), table_of([2, 3], [0.75, 0.5], [1, 1])
    with pytest.raises(InputError, match=r"different values in column s2_ndvi_mean__20180501 for NewID 2;"):
        merge_tables([one, other])
    agreeing = table_of([2, 3], [0.25, 0.5], [1, 1])
    assert merge_tables([one, agreeing])[NDVI.format(1)].to_pylist() == [0.5, 0.25, 0.5]


def test_one_column_of_two_types_is_an_error() -> None:
    other = table_of([3], [0.5], [1])
    other = other.set_column(2, COUNT.format(1), pa.array([1.0], pa.float32()))
    with pytest.raises(InputError, match="is float here and int32 elsewhere"):
        merge_tables([table_of([1], [0.5], [1]), other])


def test_a_parcel_twice_in_one_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "twice.arrow"
    table = table_of([4, 2, 4], [0.1, 0.2, 0.3], [1, 1, 1])
    write_ipc(path, table.schema, table.to_batches())
    with pytest.raises(InputError, match=r"twice.arrow: NewID stands more than once: 4"):
        part_from_file(path, lambda schema: {})


def test_nulls_are_an_error() -> None:
    table = pa.table({"NewID": pa.array([1], pa.int32()), NDVI.format(1): pa.array([None], pa.float32())})
    with pytest.raises(InputError, match="holds nulls"):
        merge_tables([table])


def test_a_file_without_parcels_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "other.arrow"
    table = pa.table({"a": [1]})
    write_ipc(path, table.schema, table.to_batches())
    with pytest.raises(InputError, match="has no column NewID"):
        part_from_file(path, lambda schema: {})


def test_nothing_merged_is_nothing() -> None:
    merged = merge_tables([])
    assert merged.num_rows == 0
    assert merged.column_names == ["NewID"]


def test_batches_of_1024_and_the_same_bytes_whatever_the_strip_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    tables = []
    for day in (1, 2, 3):
        ids = rng.permutation(np.arange(5000, dtype=np.int32))[: 5000 - 700 * day]
        tables.append(table_of(ids, rng.random(ids.size), rng.integers(0, 9, ids.size), day))
    files = []
    for strip_bytes in (1, 50_000, 2**27):
        # Blocks of another size, as series files have them.
        parts = [part_from_table(pa.Table.from_batches(t.to_batches(max_chunksize=333))) for t in tables]
        merged = merge_parts(parts, strip_bytes=strip_bytes)
        path = tmp_path / f"{strip_bytes}.arrow"
        assert write_ipc(path, merged.schema, merged.batches) == merged.n_rows
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]
    reader = pa.ipc.open_file(tmp_path / "1.arrow")
    sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    assert set(sizes[:-1]) == {BATCH_ROWS}
    assert 0 < sizes[-1] <= BATCH_ROWS
    assert same(reader.read_all(), merge_tables(tables))


def test_only_wanted_parcels() -> None:
    tables = [table_of([5, 1, 3], [0.1, 0.2, 0.3], [1, 2, 3]), table_of([3, 9], [0.4, 0.5], [4, 5], day=2)]
    parts = [part_from_table(t) for t in tables]
    some = merge_parts(parts, ids=np.array([9, 3, 3], np.int32)).table()
    every = merge_tables(tables).to_pylist()
    assert some["NewID"].to_pylist() == [3, 9]
    assert [r[COUNT.format(1)] for r in some.to_pylist()] == [r[COUNT.format(1)] for r in every if r["NewID"] in {3, 9}]


MEASURE = """
import sys
from pathlib import Path
import pandas  # pyarrow loads it at the first array, whatever the size: not the merge's memory
import pyarrow as pa
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.markers.merge import merge_parts
from s4c_hpc.markers.part import part_from_file

def anonymous():
    line = next(l for l in open("/proc/self/status") if l.startswith("RssAnon"))
    return int(line.split()[1]) * 1024

def columns(day):
    return lambda s: {f.name: pa.field(f"s2_{f.name}__2018050{day}", f.type) for f in s if f.name != "NewID"}

pa.set_memory_pool(pa.system_memory_pool())
folder, strip = Path(sys.argv[1]), int(sys.argv[2])
before, peak = anonymous(), 0
parts = [part_from_file(folder / f"{day}.arrow", columns(day)) for day in (1, 2, 3)]
merged = merge_parts(parts, strip_bytes=strip)

def watched():
    global peak
    for batch in merged.batches:
        peak = max(peak, anonymous())
        yield batch

write_ipc(folder / "merged.arrow", merged.schema, watched())
print(peak - before)
"""


def test_memory_is_bounded_by_the_strip_not_by_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    ids = rng.permutation(np.arange(30_000, dtype=np.int32))
    for day in (1, 2, 3):
        table = pa.table({"NewID": ids, **{f"v{i}_mean": rng.random(ids.size, np.float32) for i in range(100)}})
        write_ipc(tmp_path / f"{day}.arrow", table.schema, table.to_batches(max_chunksize=1024))
    strip = 4 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), str(strip)], capture_output=True, text=True, check=True
    )
    growth = int(done.stdout)
    size = (tmp_path / "merged.arrow").stat().st_size
    assert size > 35e6
    # Per parcel and file some 40 bytes of ids and order stay; the rest is strips.
    assert growth < 4 * strip + 3 * 40 * ids.size + resource.getpagesize() * 1024
