"""Time and memory in the report, against the state files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.report_workspace import RUN, freising_config, write_state

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.report.sources import read_sources
from s4c_hpc.report.usage import MAX_POINTS, Usage, usage
from s4c_hpc.report.usage_plot import Point, byte_ticks, second_ticks, usage_plot

PRODUCTS = [f"S2_L2A_2018{month:02d}{day:02d}T101500Z" for month in (4, 5) for day in (2, 12, 22)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    write_state(workspace, freising_config(), PRODUCTS)
    return workspace


def measured(workspace: Workspace) -> Usage:
    found = usage(read_sources(workspace))
    assert found is not None
    return found


def change(workspace: Workspace, column: str, stage: str, value: object) -> None:
    """Set a column of all tasks of a stage in ``done.parquet``."""
    path = workspace.state / "done.parquet"
    table = pq.read_table(path)
    i = table.schema.get_field_index(column)
    mask = pc.equal(table["stage"].cast(pa.string()), stage)
    new = pc.if_else(mask, pa.scalar(value, table.schema.field(i).type), table[column])
    pq.write_table(table.set_column(i, table.schema.field(i), new), path)


def test_sums_by_stage_equal_the_state_file(workspace: Workspace) -> None:
    done = pq.read_table(workspace.state / "done.parquet").to_pandas()
    done["stage"] = done["stage"].astype(str)
    found = measured(workspace)
    assert [s.stage for s in found.stages] == ["mask", "index", "gather", "stats", "merge"]
    for stage in found.stages:
        rows = done[done["stage"] == stage.stage]
        assert stage.n == len(rows)
        assert stage.cpu_s == pytest.approx(rows["cpu_s"].sum())
        assert stage.wall_s == pytest.approx(rows["wall_s"].sum())
        assert stage.longest_s == rows["wall_s"].max()
        assert stage.peak_bytes == rows["peak_anon_bytes"].max()
        assert stage.asked_bytes == rows["mem_bytes"].max()
        assert stage.bytes_out == rows["bytes"].sum()
        assert stage.predicted_s == pytest.approx(rows["work"].sum())
    starts = done["finished"].astype("int64") / 1e6 - done["wall_s"]
    assert found.elapsed_s == pytest.approx(done["finished"].astype("int64").max() / 1e6 - starts.min(), abs=1e-3)


def test_each_image_decoded_once_is_checked_not_claimed(workspace: Workspace) -> None:
    assert measured(workspace).decoded_once
    change(workspace, "rasters_opened", "stats", 1)
    assert not measured(workspace).decoded_once


def test_a_second_reading_for_rasters_is_no_reproach_and_is_counted(workspace: Workspace) -> None:
    assert measured(workspace).opened_for_rasters == 0
    change(workspace, "stage", "merge", "l3b")
    change(workspace, "rasters_opened", "l3b", 4)
    found = measured(workspace)
    assert found.decoded_once
    assert found.opened_for_rasters == sum(s.n * 4 for s in found.stages if s.stage == "l3b") > 0


def test_a_product_gathered_twice_is_seen(workspace: Workspace) -> None:
    change(workspace, "subject", "gather", PRODUCTS[0])
    assert not measured(workspace).decoded_once


def test_tasks_over_their_memory_are_counted(workspace: Workspace) -> None:
    assert not any(s.n_over for s in measured(workspace).stages)
    change(workspace, "peak_anon_bytes", "merge", 10**9)
    assert [s.n_over for s in measured(workspace).stages] == [0, 0, 0, 0, 2]


def test_without_the_plan_of_a_run_nothing_is_predicted(workspace: Workspace) -> None:
    (workspace.runs / RUN / "estimates.parquet").unlink()
    found = measured(workspace)
    assert all(s.predicted_s != s.predicted_s for s in found.stages)
    assert "<circle" not in found.time_plot


def test_before_the_first_task_there_is_nothing(tmp_path: Path) -> None:
    assert usage(read_sources(Workspace(tmp_path))) is None


def test_a_state_file_of_another_version_is_named(workspace: Workspace) -> None:
    path = workspace.state / "done.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["cpu_s"]), path)
    with pytest.raises(InputError, match=r"done\.parquet.*cpu_s"):
        read_sources(workspace)


def test_the_plot_holds_every_task_up_to_its_limit(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    many = [f"S2_L2A_20180401T{i:06d}Z" for i in range(600)]
    write_state(workspace, freising_config(), many)
    found = measured(workspace)
    assert found.n_tasks == 1203
    assert found.n_points <= MAX_POINTS
    assert found.memory_plot.count("<title>") == found.n_points
    # The task that took most of all is among them.
    largest = pc.max(read_sources(workspace).done["peak_anon_bytes"]).as_py()
    assert f"{largest / 1e6:.0f}\u202fMB</title>" in found.memory_plot


def test_points_lie_on_the_line_when_they_are_as_expected() -> None:
    plot = usage_plot({"a": [Point(expected=10.0, taken=10.0, name="x")]}, second_ticks, str, "e", "t")
    assert 'class="mark stage0"' in plot
    assert usage_plot({}, byte_ticks, str, "e", "t").count("mark") == 0


def test_ticks_are_round() -> None:
    assert byte_ticks(5.5, 9.2) == [(1e6, "1 MB"), (1e7, "10 MB"), (1e8, "100 MB"), (1e9, "1 GB")]
    assert [name for _, name in byte_ticks(7.5, 9)] == ["50 MB", "100 MB", "200 MB", "500 MB", "1 GB"]
    assert [name for _, name in second_ticks(-1.2, 2)] == ["0.1 s", "1 s", "10 s", "1 min"]


def test_a_product_gathered_again_after_its_stack_was_removed_is_seen(workspace: Workspace) -> None:
    """The same task: one row among those done, two attempts in the history."""
    path = workspace.state / "history.parquet"
    history = pq.read_table(path)
    again = history.filter(pc.equal(history["stage"].cast(pa.string()), "gather")).slice(0, 1)
    pq.write_table(pa.concat_tables([history, again]), path)
    assert not measured(workspace).decoded_once
