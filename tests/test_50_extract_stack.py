"""Stacks: written in pieces, mapped without a copy."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, InternalError, MissingDataError
from s4c_hpc.extract import STACK_BATCH_ROWS, RowRanges, Stack, StackColumn, StackWriter

COLUMNS = [
    StackColumn(name="B04", dtype="uint16", scale=1e-4, offset=-0.1, nodata=0),
    StackColumn(name="VV", dtype="float32", nodata=float("nan")),
    StackColumn(name="class", dtype="uint8", nodata=0),
]
N = 2 * STACK_BATCH_ROWS + 1234


def pixels(n: int = N) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(1)
    return {
        "B04": rng.integers(0, 65_536, n).astype(np.uint16),
        "VV": rng.random(n, dtype=np.float32),
        "class": rng.integers(0, 12, n).astype(np.uint8),
    }


def write(path: Path, values: dict[str, NDArray[Any]], cuts: list[int]) -> Path:
    n = values["B04"].size
    with StackWriter(path, COLUMNS, {"product": "P"}) as writer:
        edges = sorted({0, n, *cuts})
        for a, b in itertools.pairwise(edges):
            writer.append({name: array[a:b] for name, array in values.items()})
        assert writer.n_rows == n
    return path


@pytest.fixture(scope="module")
def stack_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("stack") / "s.arrow", pixels(), [5, 100_000, STACK_BATCH_ROWS])


def test_batches_have_a_fixed_number_of_rows(stack_file: Path) -> None:
    reader = pa.ipc.open_file(str(stack_file))
    sizes = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    assert sizes == [STACK_BATCH_ROWS, STACK_BATCH_ROWS, 1234]


@settings(max_examples=5)
@given(cuts=st.lists(st.integers(0, N), max_size=4))
def test_pieces_do_not_show_in_the_bytes(
    stack_file: Path, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = write(tmp_path_factory.mktemp("again") / "s.arrow", pixels(), cuts)
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (stack_file, other)}
    assert len(digests) == 1


@given(a=st.integers(0, N), b=st.integers(0, N), c=st.integers(0, N), d=st.integers(0, N))
def test_any_range_reads_back(stack_file: Path, a: int, b: int, c: int, d: int) -> None:
    stack, values = Stack(stack_file), pixels()
    a, b, c, d = sorted((a, b, c, d))
    ranges = RowRanges(np.array([a, c]), np.array([b, d]))
    for name, array in values.items():
        assert np.array_equal(stack.read(name, a, d), array[a:d])
        assert stack.read(name, a, d).dtype == array.dtype
        assert np.array_equal(stack.read_ranges(name, ranges), np.r_[array[a:b], array[c:d]])


def test_opening_and_reading_leaves_the_file_where_it_is(stack_file: Path) -> None:
    before = pa.total_allocated_bytes()
    stack = Stack(stack_file)
    assert pa.total_allocated_bytes() == before
    start, stop = _mapping_of(stack_file)
    for views in stack._pages.values():
        for view in views:
            assert start <= view.ctypes.data < stop
    assert stack.n_rows == N
    copy = stack.read("B04", 0, 10)
    assert copy.flags.owndata
    assert not start <= copy.ctypes.data < stop


def _mapping_of(path: Path) -> tuple[int, int]:
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    edges = [int(edge, 16) for line in lines for edge in line.split()[0].split("-")]
    return min(edges), max(edges)


def test_what_the_columns_mean_is_kept(stack_file: Path) -> None:
    stack = Stack(stack_file)
    assert list(stack.bands) == ["B04", "VV", "class"]
    assert stack.bands["B04"] == COLUMNS[0]
    assert np.isnan(stack.bands["VV"].nodata or 0.0)
    assert stack.metadata["product"] == "P"


def test_a_stack_without_rows_can_be_read(tmp_path: Path) -> None:
    stack = Stack(write(tmp_path / "s", {name: array[:0] for name, array in pixels(0).items()}, []))
    assert stack.n_rows == 0
    assert stack.read("B04", 0, 0).size == 0


@pytest.mark.parametrize(
    "change",
    [
        {"B04": np.zeros(3, np.int16)},
        {"B04": np.zeros(4, np.uint16)},
        {"B99": np.zeros(3, np.uint16)},
    ],
)
def test_rows_that_do_not_match_the_columns_are_a_bug(tmp_path: Path, change: dict[str, NDArray[Any]]) -> None:
    good = {name: array[:3] for name, array in pixels(3).items()}
    with (
        pytest.raises(InternalError, match="do not match the columns"),
        StackWriter(tmp_path / "s", COLUMNS, {}) as writer,
    ):
        writer.append({**good, **change})


def test_rows_outside_of_a_stack_are_a_bug(stack_file: Path) -> None:
    with pytest.raises(InternalError, match="not within"):
        Stack(stack_file).read("B04", 0, N + 1)


def test_a_missing_and_a_cut_stack_are_told(tmp_path: Path, stack_file: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        Stack(tmp_path / "absent")
    (tmp_path / "cut").write_bytes(stack_file.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole Arrow file"):
        Stack(tmp_path / "cut")
