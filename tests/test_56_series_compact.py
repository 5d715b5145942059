"""Compacted months: the same values as the series files, turned round; the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.markers import BLOCK_ROWS, TILE, make_config
from support.season import SeasonSpace, same

from s4c_hpc.core.errors import InputError, MissingDataError, TemporaryError
from s4c_hpc.core.stage import Stage
from s4c_hpc.series import Acquisition, read_set
from s4c_hpc.series.compact import write_compact
from s4c_hpc.series.compact_file import CompactFile
from s4c_hpc.series.contract import ID
from s4c_hpc.series.layers import Layered, open_layers
from s4c_hpc.series.stage_compact import CompactStage
from s4c_hpc.series.stage_series import SeriesStage

MAY = ("20180507T102648", "20180512T102148", "20180517T102350")
JUNE = ("20180603T101329",)


@pytest.fixture
def space(tmp_path: Path) -> SeasonSpace:
    made = SeasonSpace(tmp_path)
    for when in (*MAY, *JUNE):
        made.acquire(when)
    return made


def inputs(space: SeasonSpace, products: list[str] | None = None) -> list[tuple[Acquisition, Layered]]:
    found = []
    for task in space.stats:
        if products is None or task.subject in products:
            (path,) = task.outputs
            layered = open_layers([space.root / path])
            found.append((Acquisition.of(layered.header, path), layered))
    return found


def compacted(space: SeasonSpace, pairs: list[tuple[Acquisition, Layered]], **options: Any) -> CompactFile:
    path = space.root / "compacted.arrow"
    write_compact(path, pairs, tile=TILE, month="2018-05", task="t", **options)
    return CompactFile(path)


def check(file: CompactFile, tables: Mapping[str, pa.Table]) -> int:
    """Every value of every parcel against the tables of the products, by pandas; how many were compared."""
    frames = {product: table.to_pandas().set_index(ID) for product, table in tables.items()}
    kinds = {name: kind for kind, names in file.columns.items() for name in names}
    n = 0
    for number in range(file.n_blocks):
        for new_id in file.block(number)[0].tolist():
            matrices = dict(zip(file.columns, file.parcel(new_id) or (), strict=True))
            for i, acquisition in enumerate(file.acquisitions):
                frame = frames[acquisition.product]
                for name, kind in kinds.items():
                    missing = np.nan if kind.startswith("float") else 0
                    has = name in frame.columns and new_id in frame.index
                    expected = frame.loc[new_id, name] if has else missing
                    found = matrices[kind][file.columns[kind].index(name), i]
                    assert same(np.array(found), np.array(expected, dtype=kind)), (new_id, acquisition.product, name)
                    n += 1
    return n


def test_every_value_is_where_it_belongs(space: SeasonSpace) -> None:
    file = compacted(space, inputs(space), block_rows=BLOCK_ROWS)
    assert file.n_blocks == 4
    assert set(file.columns) == {"int32", "float32"}
    assert check(file, {key.split()[0]: t for key, t in space.tables.items()}) == 18 * 4 * 14


@pytest.mark.parametrize("block_rows", [1, 4, 1024])
def test_blocks_of_another_size_than_the_files(space: SeasonSpace, block_rows: int) -> None:
    file = compacted(space, inputs(space), block_rows=block_rows)
    assert file.n_blocks == -(-18 // block_rows)
    check(file, {key.split()[0]: t for key, t in space.tables.items()})


def test_files_of_other_parcels_orders_and_columns(tmp_path: Path) -> None:
    """A parcel that an acquisition does not have is NaN there, and 0 in counts; so is a column."""
    space = SeasonSpace(tmp_path)
    space.acquire(MAY[0], ids=[4, 3, 9])
    space.acquire(MAY[1], ids=[9, 5, 1, 2, 7, 8])
    space.config = make_config(
        variables={"bands": ["B04"], "indices": ["ndvi", "MNDWI"], "statistics": ["mean", "count", "max"]}
    )
    space.acquire(MAY[2])
    file = compacted(space, inputs(space), block_rows=BLOCK_ROWS)
    assert check(file, {key.split()[0]: t for key, t in space.tables.items()}) == 18 * 3 * (8 + 11)
    assert file.parcel(4711) is None
    assert file.described["ndvi_mean"]["unit"] == "1"


def test_layers_are_folded_in(space: SeasonSpace) -> None:
    """The last layer that has a parcel counts; a parcel that was added has values from the layer alone."""
    product = f"S2_{MAY[1]}"
    (_, base), *_ = inputs(space, [product])
    paths = [base.files[0].path, space.layer(product, [2, 17, 40], 31), space.layer(product, [17, 41], 32)]
    layered = open_layers(paths)
    others = inputs(space, [f"S2_{MAY[0]}", f"S2_{JUNE[0]}"])
    both = [*others, (Acquisition.of(layered.header, *(str(p) for p in paths)), layered)]
    file = compacted(space, both, block_rows=BLOCK_ROWS)
    assert sorted(np.concatenate([file.block(i)[0] for i in range(file.n_blocks)]).tolist()) == [*range(1, 19), 40, 41]
    check(file, {key.split()[0]: t for key, t in space.tables.items()})


def test_same_bytes_whatever_the_order_of_inputs(space: SeasonSpace) -> None:
    path = space.root / "compacted.arrow"
    compacted(space, inputs(space))
    first = path.read_bytes()
    compacted(space, inputs(space)[::-1])
    assert path.read_bytes() == first


def test_a_parcel_is_a_view_of_the_file(space: SeasonSpace) -> None:
    before = pa.total_allocated_bytes()
    file = compacted(space, inputs(space))
    matrices = file.parcel(7, hint=6)
    assert matrices is not None
    assert not any(m.flags.owndata or m.flags.writeable for m in matrices)
    assert pa.total_allocated_bytes() == before
    assert all(same(a, b) for a, b in zip(matrices, file.parcel(7, hint=3) or (), strict=True)), (
        "a wrong hint is no harm"
    )


def test_other_readers_see_plain_lists(space: SeasonSpace) -> None:
    """The tensors are Arrow's own type over fixed-size lists: columns first, then acquisitions."""
    compacted(space, inputs(space))
    table = pa.ipc.open_file(space.root / "compacted.arrow").read_all()
    field = table.schema.field("float32")
    assert (field.type.shape, field.type.dim_names) == ([4, 4], ["column", "acquisition"])
    assert json.loads(field.metadata[b"columns"]) == ["b04_mean", "b04_p25", "ndvi_mean", "ndvi_p25"]
    flat = table["float32"].chunk(0).storage.to_pylist()[2]
    expected = [space.tables[f"S2_{when} 10m"]["b04_mean"][2].as_py() for when in (*MAY, *JUNE)]
    assert same(np.array(flat[:4], np.float32), np.array(expected, np.float32))


def test_a_damaged_or_foreign_file_is_named(space: SeasonSpace) -> None:
    compacted(space, inputs(space))
    path = space.root / "compacted.arrow"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a whole Arrow file"):
        CompactFile(path)
    with pytest.raises(InputError, match="not a compacted month of contract"):
        CompactFile(space.root / space.stats[0].outputs[0])
    with pytest.raises(MissingDataError):
        CompactFile(space.root / "none.arrow")


class TestStages:
    def test_they_are_stages(self) -> None:
        stages: list[Stage] = [CompactStage(), SeriesStage()]
        assert [(s.name, list(s.after), s.tolerates_missing, s.deliverable) for s in stages] == [
            ("compact", ["stats"], True, True),
            ("series", ["stats", "compact"], True, True),
        ]

    def test_a_task_a_month_sensor_and_grid_and_a_pointer_a_tile(self, tmp_path: Path) -> None:
        space = SeasonSpace(tmp_path)
        space.acquire(MAY[0], grids=("10m", "20m"))
        space.acquire(MAY[1])
        space.acquire(JUNE[0])
        rows = space.season_rows()
        assert [t.subject for t in rows["compact"]] == ["s2 10m 2018-05", "s2 10m 2018-06", "s2 20m 2018-05"]
        assert [len(t.depends_on) for t in rows["compact"]] == [2, 1, 1]
        (pointer,) = rows["series"]
        assert pointer.outputs == (f"tiles/{TILE}/series/current.json",)
        assert len(pointer.depends_on) == 6

    def test_a_late_product_touches_its_month_alone(self, space: SeasonSpace) -> None:
        before = {t.subject: t.id for t in space.season_rows()["compact"]}
        space.acquire("20180616T102021")
        after = {t.subject: t.id for t in space.season_rows()["compact"]}
        assert before["s2 10m 2018-05"] == after["s2 10m 2018-05"]
        assert before["s2 10m 2018-06"] != after["s2 10m 2018-06"]

    def test_files_are_no_larger_than_promised(self, space: SeasonSpace) -> None:
        space.season()
        for tasks in space.season_rows().values():
            for task in tasks:
                written = sum((space.root / path).stat().st_size for path in task.outputs)
                assert 0 < written <= task.bytes_out, task.subject

    def test_again_gives_the_same_bytes(self, space: SeasonSpace) -> None:
        outcomes = space.season()
        paths = [space.root / path for outcome in outcomes.values() for path in outcome.outputs]
        before = [path.read_bytes() for path in paths]
        space.stats.reverse()
        space.season()
        assert [path.read_bytes() for path in paths] == before

    def test_without_compaction_the_pointer_names_the_files_alone(self, space: SeasonSpace) -> None:
        config = make_config(series={"compact": False})
        assert space.season_rows(config)["compact"] == []
        space.season(config=config)
        current = read_set(space.workspace, TILE)
        assert (len(current.acquisitions), current.blocks) == (4, ())

    def test_a_product_that_was_given_up_is_named_and_comes_later(self, space: SeasonSpace) -> None:
        lost = f"S2_{MAY[1]}"
        partial = space.season({lost: "the file is broken"})
        assert partial["s2 10m 2018-05"].absent == partial["current"].absent == (space.stats[1].id,)
        current = read_set(space.workspace, TILE)
        assert current.missing == ((lost, "the file is broken"),)
        assert len(current.acquisitions) == 3
        whole = space.season()
        assert whole["s2 10m 2018-05"].outputs == partial["s2 10m 2018-05"].outputs, "the same file, fuller"
        assert len(CompactFile(space.root / whole["s2 10m 2018-05"].outputs[0]).acquisitions) == 3
        assert read_set(space.workspace, TILE).missing == ()

    def test_a_month_without_any_product_is_bad_input(self, space: SeasonSpace) -> None:
        with pytest.raises(InputError, match="no usable product"):
            space.season({f"S2_{when}": "broken" for when in MAY})

    def test_a_series_file_that_has_gone_is_made_again_by_the_next_run(self, space: SeasonSpace) -> None:
        (space.root / space.stats[0].outputs[0]).unlink()
        with pytest.raises(TemporaryError, match=r"delete the file and run 's4c run' again"):
            space.season()
