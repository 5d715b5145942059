"""Rows are taken out of many columns at once, bit by bit, whatever lies between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.core.ipc import open_ipc, write_ipc
from s4c_hpc.core.words import as_words, taken


def table_of(n: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    values = rng.random((5, n), np.float32)
    values[rng.random((5, n)) < 0.1] = np.nan
    columns = {f"f{i}": row for i, row in enumerate(values)}
    return pa.table({**columns, "n": rng.integers(-9, 9, n).astype(np.int32), "d": rng.random(n)})


def batches_of(path: Path, table: pa.Table, rows: int) -> list[pa.RecordBatch]:
    write_ipc(path, table.schema, table.to_batches(max_chunksize=rows))
    reader = open_ipc(path)
    return [reader.get_batch(i) for i in range(reader.num_record_batches)]


def test_columns_of_a_batch_in_a_file_are_seen_and_not_copied(tmp_path: Path) -> None:
    table = table_of(100)
    (batch,) = batches_of(tmp_path / "a", table, 100)
    words = as_words(batch.columns[:6])
    for row, column in zip(words, batch.columns[:6], strict=True):
        kind = column.type.to_pandas_dtype()
        assert row.view(kind).tobytes() == column.to_numpy().tobytes()
        assert np.shares_memory(row, column.to_numpy())
    assert as_words([batch.column("d")])[0].view(np.float64).tolist() == table["d"].to_pylist()


@pytest.mark.parametrize("names", [["f4", "f0", "n"], ["f0", "f1", "f3"], ["f1", "f1"], ["n"]])
def test_in_any_order_and_from_the_middle_of_arrays(tmp_path: Path, names: list[str]) -> None:
    (batch,) = batches_of(tmp_path / "a", table_of(100), 100)
    for begin, n in ((0, 100), (7, 50), (99, 1), (3, 0)):
        columns = [batch.column(name).slice(begin, n) for name in names]
        words = as_words(columns)
        assert words.shape == (len(names), n)
        for row, column in zip(words, columns, strict=True):
            assert row.tobytes() == column.to_numpy().tobytes()


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    wanted=st.lists(st.integers(0, 10_000), min_size=1, max_size=30),
)
def test_rows_of_batches_come_in_the_order_asked_for(sizes: list[int], wanted: list[int]) -> None:
    table = table_of(sum(sizes), seed=len(wanted))
    starts = np.cumsum([0, *sizes])
    rows = np.array(wanted) % sum(sizes)
    names = ["f0", "n", "f3"]

    def words(number: int) -> np.ndarray:
        part = table.slice(starts[number], sizes[number]).combine_chunks()
        return as_words([part[name].chunk(0) for name in names])

    for ends in (starts, starts[:-1]):
        found = taken(words, ends, rows)
        for row, name in zip(found, names, strict=True):
            assert row.tobytes() == table[name].to_numpy()[rows].tobytes()
