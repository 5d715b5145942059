"""What a plan costs: prediction, sums, quota, free space."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.probe_stage import PROBES, describe_probe
from support.runs import probe_config, probe_workspace, run_inline

from s4c_hpc.core.errors import ConfigError, TemporaryError
from s4c_hpc.core.text import human_bytes
from s4c_hpc.plan import Plan, make_plan, worker_count
from s4c_hpc.plan.space import check_space


def test_without_history_a_share_of_the_time_asked_for_is_predicted(tmp_path: Path) -> None:
    plan = make_plan(probe_workspace(tmp_path), probe_config(), registry=PROBES)
    assert set(np.asarray(plan.estimates["seconds"])) == {0.18}  # a share of the 60 s asked for
    assert set(np.asarray(plan.estimates["high_s"])) == {18.0}
    assert plan.rough
    assert plan.to_json()["rough"] is True


def test_the_summary_counts_what_is_to_do(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, tiles=["32UPU", "33UUP"])
    plan = make_plan(workspace, probe_config(), registry=PROBES)
    lines = {line.stage: line for line in plan.summary}
    assert list(lines) == ["probe-root", "probe-mid", "probe-leaf", "probe-sum"]
    mid = lines["probe-mid"]
    assert (mid.todo, mid.done, mid.files_out, mid.bytes_out, mid.opens_imagery) == (6, 0, 12, 6 * 4000, 6)
    assert mid.cpu_hours == pytest.approx(6 * 0.18 / 3600)
    assert mid.max_mem_bytes == 512 << 20
    assert (plan.total.todo, plan.total.files_out) == (16, 22)
    values = json.loads(json.dumps(plan.to_json(machine=2)))
    assert values["total"]["todo"] == 16
    assert values["reasons"]["probe-mid"] == {"new": 6}
    assert values["makespan_s"]["low"] < values["makespan_s"]["expected"] < values["makespan_s"]["high"]


@pytest.mark.usefixtures("probes")
def test_a_finished_workspace_is_up_to_date_and_costs_nothing(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    plan = make_plan(workspace, probe_config(), registry=PROBES)
    assert plan.is_up_to_date
    assert (plan.total.todo, plan.total.done, plan.total.files_out, plan.total.cpu_hours) == (0, 8, 0, 0.0)
    assert plan.to_json()["up_to_date"] is True
    assert plan.makespan(2).seconds == 0.0


def test_a_plan_over_quota_is_refused_with_its_figures(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    describe_probe(tmp_path, claimed_bytes=3 << 20)
    for quota, text in (({"max_bytes": 1 << 20}, r"33\.0 MiB.*1\.0 MiB"), ({"max_files": 5}, "11 files.*is 5")):
        config = probe_config().model_copy(update={"quota": type(probe_config().quota).model_validate(quota)})
        with pytest.raises(ConfigError, match=text):
            make_plan(workspace, config, registry=PROBES).check_space()
        with pytest.raises(ConfigError, match=text):
            run_inline(workspace, config)
    assert not workspace.runs.exists(), "nothing was begun"


def test_every_worker_may_need_scratch_space_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "free_bytes", lambda _: 1 << 30)

    def plan_for(workers: int) -> Plan:
        plan = make_plan(probe_workspace(tmp_path), probe_config(workers=workers), registry=PROBES)
        at = plan.tasks.schema.get_field_index("scratch_bytes")
        scratch = pa.array([400 << 20] * plan.tasks.num_rows)
        return dataclasses.replace(plan, tasks=plan.tasks.set_column(at, plan.tasks.schema.field(at), scratch))

    plan_for(2).check_space()
    with pytest.raises(TemporaryError, match=r"needs 1\.2 GiB of disk"):
        plan_for(3).check_space()


def test_workers_are_the_cores_that_may_be_used_unless_the_site_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5})
    assert worker_count(probe_config()) == 3
    assert worker_count(probe_config(workers=7)) == 7


def test_a_plan_larger_than_the_disk_is_refused_for_now(tmp_path: Path) -> None:
    plan = make_plan(probe_workspace(tmp_path), probe_config(), registry=PROBES)

    def check(scratch_bytes: int, free_bytes: int) -> None:
        check_space(
            plan.total, max_bytes=None, max_files=None, scratch_bytes=scratch_bytes, free_bytes=free_bytes, where="ws"
        )

    check(scratch_bytes=0, free_bytes=plan.total.bytes_out)
    with pytest.raises(TemporaryError, match=r"needs 21\.6 KiB of disk, 21\.5 KiB is free; free 100 B"):
        check(scratch_bytes=99, free_bytes=plan.total.bytes_out - 1)


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")]
)
def test_bytes_for_readers(n_bytes: int, text: str) -> None:
    assert human_bytes(n_bytes) == text
