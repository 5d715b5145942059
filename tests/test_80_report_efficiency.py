"""Asked for, predicted and used, against numbers worked out by hand."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.probe_stage import describe_probe
from support.report_workspace import RUN, freising_config, write_state
from support.runs import probe_workspace, run_inline

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import fold_journals
from s4c_hpc.plan.ledger import HISTORY_SCHEMA
from s4c_hpc.report.efficiency import Efficiency, efficiency
from s4c_hpc.report.write import write_report

PRODUCTS = [f"S2_L2A_2018{month:02d}{day:02d}T101500Z" for month in (4, 5) for day in (2, 12, 22)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    write_state(workspace, freising_config(), PRODUCTS)
    return workspace


def rewrite(path: Path, **columns: Any) -> None:
    """Set columns of all rows: a value for all, or a list."""
    table = pq.read_table(path)
    for name, values in columns.items():
        field = table.schema.field(name)
        listed = values if isinstance(values, list) else [values] * table.num_rows
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        new = pa.array(listed, kind)
        new = new.dictionary_encode() if pa.types.is_dictionary(field.type) else new
        table = table.set_column(table.column_names.index(name), field, new.cast(field.type))
    pq.write_table(table, path)


def lose(workspace: Workspace, stage: str, *kinds: str) -> None:
    """Add failed attempts of the first task of a stage before its success."""
    path = workspace.state / "history.parquet"
    rows = pq.read_table(path).to_pylist()
    done = next(row for row in rows if row["stage"] == stage)
    for i, kind in enumerate(kinds):
        earlier = done["finished"] - dt.timedelta(seconds=len(kinds) - i)
        rows.append({**done, "attempt": f"x{i}", "kind": kind, "reason": f"why <{kind}>", "finished": earlier})
    pq.write_table(pa.Table.from_pylist(rows, HISTORY_SCHEMA), path)


def of(found: Efficiency, stage: str) -> dict[str, Any]:
    (row,) = (s for s in found.to_json()["stages"] if s["stage"] == stage)
    return row  # type: ignore[no-any-return]


def test_each_figure_is_the_one_it_says(workspace: Workspace) -> None:
    n = pq.read_table(workspace.state / "done.parquet").num_rows
    rewrite(workspace.state / "done.parquet", wall_s=10.0, cpu_s=15.0, peak_anon_bytes=list(range(n)), mem_bytes=500)
    rewrite(workspace.runs / RUN / "plan.parquet", cpus=2)
    rewrite(workspace.runs / RUN / "estimates.parquet", seconds=8.0, mem_bytes=400)
    gather = of(efficiency(workspace), "gather")
    assert (gather["tasks"], gather["asked_s"], gather["predicted_s"], gather["wall_s"]) == (6, 60.0, 8.0, 10.0)
    assert (gather["asked_bytes"], gather["predicted_bytes"]) == (500.0, 400.0)
    assert gather["peak_p90_bytes"] == gather["peak_max_bytes"] - 0.5, "six peaks in a row: 2, 3, ... 7"
    assert gather["cpu_share"] == pytest.approx(15 / (10 * 2))
    assert (gather["retries"], gather["evictions"], gather["twins"]) == ({}, 0, 0)


def test_attempts_that_failed_are_counted_by_kind_and_all_are_listed(workspace: Workspace) -> None:
    lose(workspace, "gather", "resource", "evicted", "evicted")
    rewrite(workspace.state / "history.parquet", twins=1)
    found = efficiency(workspace)
    gather = of(found, "gather")
    assert (gather["retries"], gather["evictions"]) == ({"evicted": 2, "resource": 1}, 2)
    assert gather["twins"] == 9
    assert of(found, "stats")["retries"] == {}
    (task,) = found.tried_again
    assert task.name == f"gather FREISING {PRODUCTS[0]}"
    assert [(a.kind, a.reason) for a in task.attempts] == [
        ("resource", "why <resource>"),
        ("evicted", "why <evicted>"),
        ("evicted", "why <evicted>"),
        ("done", ""),
    ]


def test_the_page_shows_every_attempt_with_its_reason(workspace: Workspace) -> None:
    lose(workspace, "stats", "lost")
    page = write_report(workspace, freising_config(), workspace.root / "report.html").read_text()
    assert "1 task tried more than once" in page.replace("\u202f", " ")
    assert "why &lt;lost&gt;" in page
    assert "why <lost>" not in page


def test_without_the_plan_nothing_is_made_up(workspace: Workspace) -> None:
    for name in ("plan", "estimates"):
        (workspace.runs / RUN / f"{name}.parquet").unlink()
    gather = of(efficiency(workspace), "gather")
    assert [gather[key] != gather[key] for key in ("predicted_s", "predicted_bytes", "cpu_share")] == [True] * 3
    assert gather["asked_s"] == 60.0


def test_before_the_first_task_there_is_nothing(tmp_path: Path) -> None:
    assert efficiency(Workspace(tmp_path)) == Efficiency(stages=(), tried_again=())


@pytest.mark.usefixtures("probes")
def test_a_real_run_and_its_second_try(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, behaviour={"probe-mid 32UPU a": {"end": "internal", "times": 1}})
    run_inline(workspace)
    describe_probe(tmp_path, products=["a", "b", "c", "d"])
    run_inline(workspace)
    fold_journals(workspace)
    found = efficiency(workspace)
    assert [stage.stage for stage in found.stages] == ["probe-leaf", "probe-mid", "probe-root", "probe-sum"]
    mid = of(found, "probe-mid")
    assert (mid["tasks"], mid["asked_s"], mid["retries"]) == (4, 60.0, {"internal": 1})
    assert 0 < mid["cpu_share"] < 2
    assert [[a.kind for a in task.attempts] for task in found.tried_again] == [["internal", "done"]]
