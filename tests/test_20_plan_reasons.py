"""What re-runs, and the sentence that says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.probe_stage import PROBES, SumProbe, describe_probe, tree_hash
from support.runs import InlineExecutor, probe_config, probe_workspace, ran, run_inline, states

from s4c_hpc.core.errors import ConfigError, InputError, InternalError, NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import current_plan, task_attempts, tasks_called
from s4c_hpc.plan import Plan, make_plan
from s4c_hpc.plan.reason import changed_keys

pytestmark = pytest.mark.usefixtures("probes")


def plan_of(workspace: Workspace, *, retry_quarantined: bool = False) -> Plan:
    return current_plan(workspace, probe_config(), registry=PROBES, retry_quarantined=retry_quarantined)


@pytest.fixture
def finished(tmp_path: Path) -> Workspace:
    """A workspace in which everything was done once."""
    workspace = probe_workspace(tmp_path / "ws")
    run_inline(workspace)
    assert plan_of(workspace).is_up_to_date
    return workspace


def test_everything_is_new_at_first(tmp_path: Path) -> None:
    plan = plan_of(probe_workspace(tmp_path))
    assert set(states(plan, "todo").values()) == {"new"}
    assert len(states(plan, "todo")) == 8


def test_a_new_product_is_gathered_and_summed(finished: Workspace) -> None:
    describe_probe(finished.root, products=["a", "b", "c", "d"])
    assert states(plan_of(finished), "todo") == {
        "mid d": "new",
        "leaf d": "new",
        "sum set 2018-05": "a new input: probe-leaf 32UPU d",
    }


def test_a_product_that_is_gone_leaves_the_sum(finished: Workspace) -> None:
    describe_probe(finished.root, products=["a", "c"])
    (reason,) = states(plan_of(finished), "todo").values()
    assert reason.startswith("an input is gone: ")


def test_changed_parameters_are_named_and_pass_on(finished: Workspace) -> None:
    describe_probe(finished.root, params={"probe-leaf": {"statistics": {"p25": 1}, "use": ["valid"]}})
    reasons = states(plan_of(finished), "todo")
    assert reasons["leaf a"] == "parameters changed: statistics.p25, use"
    assert reasons["sum set 2018-05"] == ("input changed: probe-leaf 32UPU a, probe-leaf 32UPU b, probe-leaf 32UPU c")
    assert set(reasons) == {"leaf a", "leaf b", "leaf c", "sum set 2018-05"}, "nothing is gathered again"


def test_a_lost_output_runs_again_with_what_depends_on_it(finished: Workspace) -> None:
    before = tree_hash(finished.root)
    lost = next(path for path in before if "/mid/b_1" in path)
    (finished.root / lost).unlink()
    assert states(plan_of(finished), "todo") == {
        "mid b": f"output missing: {lost}",
        "leaf b": "upstream re-runs",
        "sum set 2018-05": "upstream re-runs",
    }
    result = run_inline(finished)
    assert ran(result) == ["leaf b", "mid b", "sum set 2018-05"]
    assert tree_hash(finished.root) == before
    assert plan_of(finished).is_up_to_date


def test_a_whole_folder_of_outputs_may_be_lost(finished: Workspace) -> None:
    before = tree_hash(finished.root)
    shutil.rmtree(finished.root / "tiles")
    assert len(ran(run_inline(finished))) == 8
    assert tree_hash(finished.root) == before


def test_there_and_back_again_with_a_file_of_fixed_name(finished: Workspace) -> None:
    """Task A wrote the file, then B, then A is asked for again: its journal says done, the file is B's."""
    first = tree_hash(finished.root)
    marker = "markers/set/2018-05/site_32UPU.arrow"
    describe_probe(finished.root, params={"probe-sum": {"set": "other"}})
    run_inline(finished)
    assert tree_hash(finished.root)[marker] != first[marker]
    describe_probe(finished.root, params={})
    assert states(plan_of(finished), "todo") == {"sum set 2018-05": "parameters changed: set"}
    run_inline(finished)
    assert tree_hash(finished.root) == first
    describe_probe(finished.root, params={"probe-sum": {"set": "other"}})
    assert states(plan_of(finished), "todo") == {"sum set 2018-05": "parameters changed: set"}


def test_intermediates_are_not_made_again_when_parameters_come_back(finished: Workspace) -> None:
    describe_probe(finished.root, params={"probe-leaf": {"k": 1}})
    run_inline(finished)
    describe_probe(finished.root, params={})
    assert list(states(plan_of(finished), "todo")) == ["sum set 2018-05"]


def test_bad_input_is_quarantined_and_the_rest_goes_on(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, behaviour={"probe-mid 32UPU b": {"end": "input"}})
    result = run_inline(workspace)
    assert result.exit_code == 5
    assert result.status is not None
    assert {p.name: (p.state, p.reason) for p in result.status.problems} == {
        "probe-mid 32UPU b": ("quarantined", "/data/b.jp2: cannot be decoded; fetch it again"),
        "probe-leaf 32UPU b": (
            "blocked",
            "probe-mid 32UPU b is not there: /data/b.jp2: cannot be decoded; fetch it again",
        ),
    }
    plan = plan_of(workspace)
    assert plan.is_up_to_date, "bad input is not tried again unasked"
    assert states(plan, "quarantined") == {"mid b": "quarantined: /data/b.jp2: cannot be decoded; fetch it again"}
    assert list(states(plan, "blocked")) == ["leaf b"]
    again = run_inline(workspace)
    assert (again.exit_code, again.status) == (5, None)


def test_quarantined_input_is_tried_again_on_request_and_the_sum_follows(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path / "ws", behaviour={"probe-mid 32UPU b": {"end": "input"}})
    run_inline(workspace)
    partial = tree_hash(workspace.root)
    assert ran(run_inline(workspace, retry_quarantined=True)) == ["leaf b", "mid b", "sum set 2018-05"]
    assert tree_hash(workspace.root) == partial, "still bad: the same result as before"

    describe_probe(workspace.root, behaviour={})
    reasons = states(plan_of(workspace, retry_quarantined=True), "todo")
    assert reasons["mid b"] == "tried again on request: /data/b.jp2: cannot be decoded; fetch it again"
    assert run_inline(workspace, retry_quarantined=True).exit_code == 0
    whole = probe_workspace(tmp_path / "whole")
    run_inline(whole)
    assert tree_hash(workspace.root) == tree_hash(whole.root), "as if it had never been bad"


def test_quarantine_ends_when_the_input_is_made_again(tmp_path: Path) -> None:
    """A damaged intermediate: whoever deletes it has it made again, and what could not read it runs too."""
    workspace = probe_workspace(tmp_path / "ws", behaviour={"probe-leaf 32UPU b": {"end": "input"}})
    assert run_inline(workspace).exit_code == 5
    assert plan_of(workspace).is_up_to_date
    describe_probe(workspace.root, behaviour={})
    for damaged in workspace.root.glob("tiles/32UPU/mid/b_*"):
        damaged.unlink()
    assert states(plan_of(workspace), "todo")["leaf b"] == "input is made again"
    assert run_inline(workspace).exit_code == 0
    whole = probe_workspace(tmp_path / "whole")
    run_inline(whole)
    assert tree_hash(workspace.root) == tree_hash(whole.root)


def test_quarantine_ends_also_when_another_run_made_the_input_again(tmp_path: Path) -> None:
    """The sum could not read a leaf; a run of some stages makes the leaf again, and the next one is of all."""
    bad = {"probe-sum 32UPU set 2018-05": {"end": "input"}}
    workspace = probe_workspace(tmp_path / "ws", behaviour=bad)
    assert run_inline(workspace).exit_code == 5
    assert plan_of(workspace).is_up_to_date
    describe_probe(workspace.root, behaviour={})
    for damaged in workspace.root.glob("tiles/32UPU/leaf/b_*"):
        damaged.unlink()
    assert run_inline(workspace, stages=["probe-leaf"]).exit_code == 0
    assert states(plan_of(workspace), "todo") == {"sum set 2018-05": "input was made again"}
    describe_probe(workspace.root, behaviour=bad)
    assert run_inline(workspace).exit_code == 5
    assert plan_of(workspace).is_up_to_date, "still bad: once is enough"


def test_an_input_that_was_done_without_makes_the_sum_stale_once_it_is_there(tmp_path: Path) -> None:
    """The leaf is made by a run that does not include the sum."""
    workspace = probe_workspace(tmp_path, behaviour={"probe-mid 32UPU b": {"end": "input"}})
    run_inline(workspace)
    describe_probe(workspace.root, behaviour={})
    run_inline(workspace, stages=["probe-leaf"], retry_quarantined=True)
    assert states(plan_of(workspace), "todo") == {"sum set 2018-05": "a new input: probe-leaf 32UPU b"}


def test_a_bug_is_tried_as_often_as_allowed_then_given_up(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, behaviour={"probe-leaf 32UPU a": {"end": "internal"}})
    executor = InlineExecutor()
    result = run_inline(workspace, executor=executor)
    assert result.exit_code == 5
    tries = [chunk.numbers for chunk in executor.submitted if chunk.stage == "probe-leaf" and len(chunk.ids) == 1]
    assert (3,) in tries
    assert result.status is not None
    (problem,) = result.status.problems
    assert problem.state == "failed"
    log = Path(problem.reason.rpartition("; see ")[2])
    assert "KeyError: 'bug'" in log.read_text()
    assert "Traceback" in log.read_text()
    (named,) = tasks_called(workspace, problem.id[:13])
    assert (named.id, named.name) == (problem.id, problem.name)
    attempts = task_attempts(workspace, problem.id)
    assert [attempt.number for attempt in attempts] == [1, 2, 3]
    assert attempts[-1].log == log
    assert all(attempt.end.startswith("failed (internal): KeyError: 'bug'; see ") for attempt in attempts)
    assert tasks_called(workspace, "nothing like it") == []
    assert states(plan_of(workspace), "quarantined")["leaf a"].startswith("quarantined: KeyError: 'bug'")


def test_a_task_that_failed_less_often_than_allowed_says_so(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, behaviour={"probe-leaf 32UPU a": {"end": "internal"}})
    run_inline(workspace, probe_config(max_attempts=1))
    assert states(plan_of(workspace), "todo")["leaf a"].startswith("retry (attempt 2 of 3): internal: KeyError: 'bug'")


def test_stages_can_be_asked_for_alone_and_bring_what_they_need(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    assert ran(run_inline(workspace, stages=["probe-mid"])) == ["mid a", "mid b", "mid c", "root mask"]
    assert ran(run_inline(workspace)) == ["leaf a", "leaf b", "leaf c", "sum set 2018-05"]


def test_what_all_tasks_of_a_stage_have_in_common_is_told_and_else_the_kind_only(finished: Workspace) -> None:
    changes = {"probe-leaf": {"statistics": {"p25": 1}}, "probe-sum": {"set": "other"}}
    describe_probe(finished.root, products=["a", "b", "c", "d"], params=changes)
    plan = plan_of(finished)
    assert plan.reasons() == {
        "probe-mid": {"new": 1},
        "probe-leaf": {"parameters changed: statistics.p25": 3, "new": 1},
        "probe-sum": {"parameters changed: set": 1},
    }
    assert plan.to_json()["reasons"] == {
        "probe-mid": {"new": 1},
        "probe-leaf": {"parameters changed": 3, "new": 1},
        "probe-sum": {"parameters changed": 1},
    }, "scripts see kinds"
    lost = sorted(path for path in tree_hash(finished.root) if "/mid/" in path)
    describe_probe(finished.root, products=["a", "b", "c"], params={})
    for path in (lost[0], lost[2]):
        (finished.root / path).unlink()
    assert plan_of(finished).reasons()["probe-mid"] == {"output missing": 2}


def test_an_unreadable_product_is_told_with_all_that_it_holds_up(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, behaviour={"probe-mid 32UPU b": {"end": "input"}})
    run_inline(workspace)
    why = "/data/b.jp2: cannot be decoded; fetch it again"
    assert plan_of(workspace).reasons() == {
        "probe-mid": {f"quarantined: {why}": 1},
        "probe-leaf": {f"blocked: probe-mid 32UPU b is not there: {why}": 1},
    }
    assert plan_of(workspace).to_json()["reasons"] == {"probe-mid": {"quarantined": 1}, "probe-leaf": {"blocked": 1}}


def test_an_unknown_stage_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no stage is called gaher; stages are probe-root, probe-mid"):
        make_plan(probe_workspace(tmp_path), probe_config(), registry=PROBES, stages=["gaher"])


def test_no_task_at_all_is_an_error_not_success(tmp_path: Path) -> None:
    with pytest.raises(NoInputsError) as caught:
        make_plan(probe_workspace(tmp_path, tiles=[]), probe_config(), registry=PROBES)
    assert caught.value.exit_code == 6
    assert "'s4c parcels list'" in str(caught.value)


def test_two_tasks_that_write_one_file_are_a_bug_that_names_both(tmp_path: Path) -> None:
    class Clumsy(SumProbe):
        def _outputs(self, tile: str, subject: str, identity: str) -> tuple[str, ...]:
            return ("markers/one.arrow",)

    workspace = probe_workspace(tmp_path, tiles=["32UPU", "33UUP"])
    with pytest.raises(InternalError, match=r"probe-sum 32UPU set 2018-05 .* and probe-sum 33UUP") as caught:
        make_plan(workspace, probe_config(), registry={**PROBES, "probe-sum": Clumsy()})
    assert caught.value.where == "markers/one.arrow"


def test_two_tasks_with_one_id_are_a_bug(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path, products=["a", "a"])
    with pytest.raises(InternalError, match=r"same id: probe-mid 32UPU a .* and probe-mid 32UPU a"):
        make_plan(workspace, probe_config(), registry=PROBES)


def test_a_damaged_state_table_says_that_it_can_be_deleted(finished: Workspace) -> None:
    (finished.state / "done.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="delete it: it is made again from the journals"):
        make_plan(finished, probe_config(), registry=PROBES)
    assert plan_of(finished).is_up_to_date, "folding makes it again"


def test_a_written_plan_is_whole_and_holds_what_it_was_made_from(finished: Workspace) -> None:
    finished.catalog.parent.mkdir(exist_ok=True)
    finished.catalog.write_bytes(b"index one")
    describe_probe(finished.root, products=["a", "b", "c", "d"])
    folder = plan_of(finished).write(finished.runs / "0197f2a0-0000-7000-8000-000000000000")
    replacement = finished.catalog.with_suffix(".new")
    replacement.write_bytes(b"index two")
    replacement.replace(finished.catalog)
    assert folder.products.read_bytes() == b"index one"
    assert probe_config().model_validate_json(folder.config.read_bytes()) == probe_config()
    assert sorted(path.name for path in folder.root.iterdir()) == [
        "config.json", "estimates.parquet", "journal", "manifest", "plan.parquet", "products.parquet", "status.parquet",
    ]  # fmt: skip
    with pytest.raises(OSError, match=r"not empty|exists"):
        plan_of(finished).write(folder.root)


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("{}", "{}", []),
        ('{"a":{"b":1,"c":2}}', '{"a":{"b":1,"c":3}}', ["a.c"]),
        ('{"a":1}', '{"b":1}', ["a", "b"]),
        ('{"a":{}}', '{"a":{"x":null}}', ["a", "a.x"]),
        ('{"a":[1,2]}', '{"a":[2,1]}', ["a"]),
    ],
)
def test_changed_keys(old: str, new: str, keys: list[str]) -> None:
    assert changed_keys(old, new) == keys
