"""Reading the series of a workspace: compacted or not, and a set that stays whole while files are replaced."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from support.markers import TILE, make_config
from support.season import SeasonSpace, same

from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import read_attributes
from s4c_hpc.series import Acquisition, ParcelSeries, SeriesSet, open_series, read_series, read_set
from s4c_hpc.series.contract import ID
from s4c_hpc.series.generation import pointer_path

MAY = ("20180507T102648", "20180512T102148", "20180517T102350")
JUNE = ("20180603T101329",)
COLUMNS = 14


@pytest.fixture
def space(tmp_path: Path) -> SeasonSpace:
    made = SeasonSpace(tmp_path)
    made.workspace.config.write_text("")
    for when in (*MAY, *JUNE):
        made.acquire(when)
    made.season()
    return made


def compacted_files(space: SeasonSpace) -> list[Path]:
    return sorted((space.root / "tiles" / TILE / "compact").rglob("*.arrow"))


def check(space: SeasonSpace, series: ParcelSeries) -> None:
    """All values of a parcel against the tables that were written, by pandas."""
    assert [a.datetime for a in series.acquisitions] == sorted(a.datetime for a in series.acquisitions)
    for i, acquisition in enumerate(series.acquisitions):
        frame = space.tables[f"{acquisition.product} {series.grid}"].to_pandas().set_index(ID)
        row = frame.loc[series.new_id]
        for name in frame.columns:
            value = np.asarray(row[name], dtype=frame[name].dtype)
            assert same(series.values(name)[i], value), (series.new_id, acquisition.product, name)


def check_all(space: SeasonSpace) -> int:
    """Every parcel; how many acquisitions each has."""
    opened = open_series(space.root)
    lengths = set()
    for new_id in space.ids:
        for series in opened.parcel(new_id):
            check(space, series)
            lengths.add(len(series.acquisitions))
    (length,) = lengths
    return length


class TestOneParcel:
    def test_equals_the_files(self, space: SeasonSpace) -> None:
        assert len(compacted_files(space)) == 2
        assert check_all(space) == 4

    def test_is_read_from_the_compacted_months_alone(self, space: SeasonSpace) -> None:
        for task in space.stats:
            (space.root / task.outputs[0]).unlink()
        assert check_all(space) == 4

    def test_without_compaction(self, space: SeasonSpace) -> None:
        space.season(config=make_config(series={"compact": False}))
        for path in compacted_files(space):
            path.unlink()
        assert check_all(space) == 4

    def test_compacted_months_mixed_with_files(self, space: SeasonSpace) -> None:
        """A month that is not compacted, and a product that came after its month was."""
        first, second = compacted_files(space)
        assert "2018-05" in first.name
        space.acquire("20180510T101000")  # between two that are compacted
        named = read_set(space.workspace, TILE)
        (path,) = space.stats[-1].outputs
        late = Acquisition.of(read_series(space.root / path).header, path)
        write_pointer(space, [*named.acquisitions, late], named)
        second.unlink()
        assert check_all(space) == 5

    @pytest.mark.parametrize("damage", ["gone", "cut", "foreign"])
    def test_a_compacted_month_that_cannot_be_used_is_passed_over(self, space: SeasonSpace, damage: str) -> None:
        first, _ = compacted_files(space)
        if damage == "cut":
            first.write_bytes(first.read_bytes()[:-64])
        else:
            first.unlink()
            if damage == "foreign":
                first.write_bytes((space.root / space.stats[0].outputs[0]).read_bytes())
        assert check_all(space) == 4

    def test_several_grids(self, tmp_path: Path) -> None:
        space = SeasonSpace(tmp_path)
        space.workspace.config.write_text("")
        space.acquire(MAY[0], grids=("10m", "20m"))
        space.acquire(MAY[1], grids=("10m", "20m"))
        space.season()
        opened = open_series(space.root)
        assert [s.grid for s in opened.parcel(3)] == ["10m", "20m"]
        (coarse,) = opened.parcel(3, grid="20m")
        check(space, coarse)
        assert "b11_mean" in coarse.columns
        with pytest.raises(InputError, match=r"parcel 3 has no such series; the tile has s2 10m, s2 20m"):
            opened.parcel(3, sensor="l8")

    def test_layers(self, space: SeasonSpace) -> None:
        """The last layer that has a parcel counts, whether its month is compacted or not."""
        product = f"S2_{MAY[1]}"
        path = space.layer(product, [2, 17], 31)
        named = read_set(space.workspace, TILE)
        old = next(a for a in named.acquisitions if a.product == product)
        new = Acquisition.from_json({**old.to_json(), "layers": [*old.layers, space.workspace.relative(path)]})
        write_pointer(space, [new if a == old else a for a in named.acquisitions], named)
        assert check_all(space) == 4

    def test_as_a_table(self, space: SeasonSpace) -> None:
        (series,) = open_series(space.root).parcel(5)
        table = series.table(["ndvi_mean", "n_valid"])
        assert table.column_names[-2:] == ["ndvi_mean", "n_valid"]
        assert table.schema.field("ndvi_mean").metadata[b"unit"] == b"1"
        assert table["datetime"][0].as_py() == dt.datetime(2018, 5, 7, 10, 26, 48, tzinfo=dt.UTC)
        assert series.table().num_columns == 7 + COLUMNS
        assert same(table["ndvi_mean"].to_numpy(), series.values("ndvi_mean"))
        with pytest.raises(InputError, match="has no column 'ndvi'"):
            series.values("ndvi")

    def test_by_the_declaration_s_id(self, space: SeasonSpace) -> None:
        opened = open_series(space.workspace)
        names = {t: i for i, t in _declared(space)}
        assert opened.new_id(names[7]) == 7
        with pytest.raises(InputError, match="no parcel has the id 'nowhere'"):
            opened.new_id("nowhere")

    def test_who_is_not_there_is_named(self, space: SeasonSpace, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="there is no parcel 99"):
            open_series(space.root).parcel(99)
        with pytest.raises(MissingDataError, match=r"no s4c\.toml here"):
            open_series(tmp_path / "nowhere")
        (space.root / pointer_path(TILE)).unlink()
        with pytest.raises(MissingDataError, match=rf"tile {TILE} has no series yet"):
            open_series(space.root).parcel(1)
        with pytest.raises(NoInputsError, match="there are no series yet"):
            _ = open_series(space.root).tiles


class TestAllParcels:
    def test_a_date_is_the_file(self, space: SeasonSpace) -> None:
        before = pa.total_allocated_bytes()
        (found,) = open_series(space.root).date(dt.date(2018, 5, 12))
        table = found.table()
        assert pa.total_allocated_bytes() == before, "mapped, not read"
        written = space.tables[f"S2_{MAY[1]} 10m"]
        assert table.schema.equals(written.schema, check_metadata=True)
        for name in written.column_names:
            assert same(table[name].to_numpy(), written[name].to_numpy())
            assert same(found.values(name), written[name].to_numpy())
        with pytest.raises(NoInputsError, match=r"no such acquisition on 2018-05-13; there are 2018-05-07"):
            open_series(space.root).date(dt.date(2018, 5, 13))

    def test_a_variable(self, space: SeasonSpace) -> None:
        (found,) = open_series(space.root).variable("ndvi", "mean")
        assert found.matrix.shape == (4, 18)
        for i, acquisition in enumerate(found.acquisitions):
            frame = space.tables[f"{acquisition.product} 10m"].to_pandas().set_index(ID)
            assert same(found.matrix[i], frame.loc[found.new_id, "ndvi_mean"].to_numpy())
        assert found.described["unit"] == "1"
        table = found.table()
        assert (table.num_rows, table.column_names) == (72, [ID, "datetime", "ndvi_mean"])
        (counts,) = open_series(space.root).variable("n_valid")
        assert counts.matrix.dtype == np.int32
        with pytest.raises(NoInputsError, match="no series has a column 'evi_mean'"):
            list(open_series(space.root).variable("evi", "mean"))

    def test_a_variable_of_files_with_other_parcels(self, tmp_path: Path) -> None:
        space = SeasonSpace(tmp_path)
        space.workspace.config.write_text("")
        space.acquire(MAY[0], ids=[1, 2, 3])
        space.acquire(MAY[1], ids=[5, 2])
        space.season()
        (found,) = open_series(space.root).variable("ndvi_mean")
        assert found.new_id.tolist() == [1, 2, 3, 5]
        for i, product in enumerate((f"S2_{MAY[0]}", f"S2_{MAY[1]}")):
            frame = space.tables[f"{product} 10m"].to_pandas().set_index(ID)
            assert same(found.matrix[i], frame["ndvi_mean"].reindex(found.new_id).to_numpy())

    def test_everything_as_one_table(self, space: SeasonSpace) -> None:
        table = open_series(space.root).table(["ndvi_mean", "n_valid"])
        frame = table.to_pandas().astype({"product": str}).set_index(["product", ID])
        assert len(frame) == 72
        for key, written in space.tables.items():
            expected = written.to_pandas().set_index(ID)[["ndvi_mean", "n_valid"]]
            pd.testing.assert_frame_equal(
                frame.loc[key.split()[0]][["ndvi_mean", "n_valid"]], expected, check_index_type=False
            )

    def test_a_selection(self, space: SeasonSpace) -> None:
        opened = open_series(space.root)
        assert len(opened.acquisitions(tile=TILE, sensor="s2", grid="10m")) == 4
        assert opened.acquisitions(sensor="l8") == []
        with pytest.raises(NoInputsError, match="there are no such series"):
            opened.table(sensor="l8")


class TestGenerations:
    def test_an_open_set_stays_what_it_was(self, space: SeasonSpace) -> None:
        """A new configuration replaces the pointer and removes the compacted months: who has the old set keeps it."""
        opened = open_series(space.root)
        assert len(opened.set_of(TILE).acquisitions) == 4
        kept = dict(space.tables)
        for path in compacted_files(space):
            path.unlink()
        space.stats.clear()
        space.acquire("20180603T101330")
        space.season()
        (old,), (new,) = opened.parcel(4), open_series(space.root).parcel(4)
        assert (len(old.acquisitions), len(new.acquisitions)) == (4, 1)
        space.tables = kept
        check(space, old)

    def test_a_month_that_was_made_again_with_other_files_is_not_taken_for_the_named_ones(
        self, space: SeasonSpace
    ) -> None:
        """The file of a month is replaced before the pointer is: values are those that the pointer names."""
        named = read_set(space.workspace, TILE)
        first, _ = compacted_files(space)
        kept = dict(space.tables)
        product = f"S2_{MAY[0]}"
        space.stats.clear()
        space.acquire(MAY[0], product=product, task="00000000-aaaa")  # another configuration, the same product
        space.season()
        other = next(p for p in compacted_files(space) if p != first and "2018-05" in p.name)
        first.write_bytes(other.read_bytes())
        write_pointer(space, list(named.acquisitions), named)
        space.tables = kept
        assert check_all(space) == 4

    def test_readers_see_one_set_or_the_other_while_it_is_replaced(self, space: SeasonSpace) -> None:
        """A writer that is killed at any moment leaves the old pointer or the new one, whole."""
        sets = {}
        for n in (1, 4):
            named = read_set(space.workspace, TILE)
            sets[n] = SeriesSet(tile=TILE, task=str(n), acquisitions=named.acquisitions[:n], blocks=named.blocks)
        path = space.root / pointer_path(TILE)
        texts = [one.to_json() for one in sets.values()]
        program = (
            "import sys; from pathlib import Path; from s4c_hpc.core.atomic import write_text\n"
            "path, texts = Path(sys.argv[1]), sys.argv[2:]\n"
            "print('ready', flush=True)\n"
            "while True:\n"
            "    for text in texts: write_text(path, text)\n"
        )
        seen = set()
        for _ in range(3):
            writer = subprocess.Popen(
                [sys.executable, "-c", program, str(path), *texts], stdout=subprocess.PIPE, text=True
            )
            try:
                assert writer.stdout is not None
                assert writer.stdout.readline() == "ready\n"
                for _ in range(20):
                    (series,) = open_series(space.root).parcel(8)
                    check(space, series)
                    seen.add(len(series.acquisitions))
            finally:
                os.kill(writer.pid, signal.SIGKILL)
                writer.communicate()
            assert path.read_text() in texts
        assert seen <= {1, 4}

    def test_a_pointer_of_another_contract_is_refused(self, space: SeasonSpace) -> None:
        write_text(space.root / pointer_path(TILE), '{"contract": "s4c-series-set-0"}')
        with pytest.raises(InputError, match=r"not a list of series of contract s4c-series-set-1"):
            read_set(space.workspace, TILE)

    def test_the_text_is_a_function_of_the_set(self, space: SeasonSpace) -> None:
        named = read_set(space.workspace, TILE)
        turned = SeriesSet(tile=TILE, task=named.task, acquisitions=named.acquisitions[::-1], blocks=named.blocks[::-1])
        assert turned.to_json() == named.to_json() == (space.root / pointer_path(TILE)).read_text()


def write_pointer(space: SeasonSpace, acquisitions: list[Acquisition], named: SeriesSet) -> None:
    changed = SeriesSet(tile=TILE, task="t", acquisitions=tuple(acquisitions), blocks=named.blocks)
    write_text(space.root / pointer_path(TILE), changed.to_json())


def _declared(space: SeasonSpace) -> Iterator[tuple[str, int]]:
    table = read_attributes(Workspace(space.root), "v0001", ["NewID", "ori_id"])
    yield from zip(table["ori_id"].to_pylist(), table["NewID"].to_pylist(), strict=True)


def test_no_file_stays_open_for_what_was_read_whole(space: SeasonSpace) -> None:
    """A season of a country has more files than a process may have open."""

    def n_open() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    opened = open_series(space.root)
    before = n_open()
    kept = [opened.date(a.day) for _, a in opened.acquisitions()]
    table = opened.table()
    matrices = list(opened.variable("ndvi", "mean"))
    assert n_open() <= before, "what others had open may be closed meanwhile"
    assert table.num_rows == sum(part.table().num_rows for day in kept for part in day) == matrices[0].matrix.size
