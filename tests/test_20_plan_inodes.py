"""Files and folders that a plan makes, against what is free and allowed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from support.probe_stage import PROBES
from support.runs import probe_config, probe_workspace, run_inline

from s4c_hpc.core.errors import ConfigError, TemporaryError
from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.plan import Plan, make_plan
from s4c_hpc.plan.inodes import CHUNK_INODES, FIRST_CHUNKS, RUN_INODES, free_inodes, inodes_to_write


def tasks(*outputs: list[str]) -> pa.Table:
    return pa.table(
        {
            "stage": pa.array(["a"] * len(outputs)).dictionary_encode(),
            "outputs": pa.array(list(outputs), PLAN_SCHEMA.field("outputs").type),
        }
    )


def count(table: pa.Table, todo: list[bool], seconds: float = 1.0, chunk_s: float = 10.0) -> int:
    rows = table.num_rows
    return inodes_to_write(table, np.asarray(todo, bool), pa.chunked_array([[seconds] * rows]), {"a": chunk_s})


def test_outputs_folders_and_what_each_chunk_and_run_keeps() -> None:
    table = tasks(["tiles/A/x/1.arrow", "tiles/A/x/1.json"], ["tiles/B/y/1.arrow"], ["top.txt"])
    one_log_folder = 1
    folders = len(["tiles", "tiles/A", "tiles/A/x", "tiles/B", "tiles/B/y"])
    assert count(table, [True] * 3) == 4 + folders + 3 * CHUNK_INODES + one_log_folder + RUN_INODES
    assert count(table, [False, True, False]) == 1 + 3 + CHUNK_INODES + one_log_folder + RUN_INODES
    assert count(table, [False] * 3) == 0


def test_short_tasks_share_a_chunk() -> None:
    table = tasks(*([f"tiles/A/{i}.arrow"] for i in range(100_000)))
    made = count(table, [True] * 100_000, seconds=0.1, chunk_s=300.0)
    assert made == 100_000 + 2 + (67 + FIRST_CHUNKS) * CHUNK_INODES + 1 + RUN_INODES


@pytest.mark.usefixtures("probes")
def test_a_run_makes_no_more_than_was_foretold_and_not_far_less(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, tiles=["32UPU", "33UUP"])
    before = sum(1 for _ in workspace.root.rglob("*"))
    foretold = make_plan(workspace, probe_config(), registry=PROBES).inodes_out
    run_inline(workspace)
    made = sum(1 for _ in workspace.root.rglob("*")) - before
    assert foretold / 3 <= made <= foretold


def test_too_few_free_inodes_refuse_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(probe_workspace(tmp_path), probe_config(), registry=PROBES)
    monkeypatch.setattr(Plan, "free_inodes", lambda _: plan.inodes_out)
    plan.check_space()
    monkeypatch.setattr(Plan, "free_inodes", lambda _: plan.inodes_out - 1)
    with pytest.raises(TemporaryError, match=rf"11 files \(up to {plan.inodes_out} .*, {plan.inodes_out - 1} inodes"):
        plan.check_space()
    with pytest.raises(TemporaryError, match=r"'df -i'"):
        run_inline(plan.workspace)
    monkeypatch.setattr(Plan, "free_inodes", lambda _: None)
    plan.check_space()


def test_journals_and_folders_count_against_the_quota(tmp_path: Path) -> None:
    plan = make_plan(probe_workspace(tmp_path), probe_config(), registry=PROBES)
    config = probe_config().model_copy(
        update={"quota": type(probe_config().quota).model_validate({"max_files": plan.inodes_out - 1})}
    )
    with pytest.raises(ConfigError, match="11 files"):
        make_plan(plan.workspace, config, registry=PROBES).check_space()


def test_a_file_system_without_a_number_of_inodes_has_no_such_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=0, f_favail=0))
    assert free_inodes(tmp_path) is None
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=10, f_favail=0))
    assert free_inodes(tmp_path) == 0


def test_the_plan_tells_what_it_writes_and_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "free_bytes", lambda _: 3 << 30)
    monkeypatch.setattr(Plan, "free_inodes", lambda _: 5000)
    plan = make_plan(probe_workspace(tmp_path), probe_config(), registry=PROBES)
    made = plan.inodes_out
    assert plan.space_text() == (
        f"to be written: 21.5 KiB in 11 files (up to {made} with folders, journals and logs); "
        "free: 3.0 GiB and 5000 inodes; quota: none"
    )
    assert plan.to_json()["quota"] == {
        "max_bytes": None,
        "max_files": None,
        "free_bytes": 3 << 30,
        "inodes_out": made,
        "free_inodes": 5000,
    }
