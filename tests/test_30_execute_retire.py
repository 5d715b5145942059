"""Deliverables of an earlier configuration do not stay beside those of the current one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.probe_stage import PROBES, LeafProbe, SumProbe, describe_probe, tree_hash
from support.runs import InlineExecutor, probe_config, probe_workspace, run_inline, states

from s4c_hpc.core.errors import NoInputsError, TemporaryError
from s4c_hpc.core.stage import Stage, stages
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import current_plan, run
from s4c_hpc.execute.retire import retire
from s4c_hpc.plan import Plan

pytestmark = pytest.mark.usefixtures("probes")


class StrictSum(SumProbe):
    """Does not run without all of its input."""

    tolerates_missing = False


STRICT: dict[str, Stage] = {**PROBES, "probe-sum": StrictSum()}
OLD, NEW = "markers/set/2018-05/site_32UPU.arrow", "markers/set/2018-05/site_33UUP.arrow"


def plan_of(workspace: Workspace, registry: dict[str, Stage] = PROBES, stages: list[str] | None = None) -> Plan:
    return current_plan(workspace, probe_config(), registry=registry, stages=stages)


@pytest.fixture
def moved(tmp_path: Path) -> Workspace:
    """A workspace in which everything was done once, and whose parcels now lie in another tile."""
    workspace = probe_workspace(tmp_path / "ws")
    assert run_inline(workspace).retired == ()
    describe_probe(workspace.root, tiles=["33UUP"])
    return workspace


def test_what_the_plan_no_longer_makes_is_announced_and_removed_after_the_run(moved: Workspace) -> None:
    intermediates = {path for path in tree_hash(moved.root) if path.startswith("tiles/")}
    plan = plan_of(moved)
    assert plan.obsolete == (OLD,)
    assert plan.to_json()["obsolete"] == 1
    assert (moved.root / OLD).is_file(), "a plan removes nothing"
    assert run_inline(moved).retired == (OLD,)
    now = set(tree_hash(moved.root))
    assert {path for path in now if path.startswith("markers/")} == {NEW}
    assert intermediates <= now, "only deliverables go"
    assert plan_of(moved).obsolete == ()
    assert run_inline(moved).retired == ()


def test_also_when_everything_is_up_to_date(moved: Workspace) -> None:
    describe_probe(moved.root, tiles=["32UPU", "33UUP"])
    run_inline(moved)
    describe_probe(moved.root, tiles=["33UUP"])
    result = run_inline(moved)
    assert (result.status, result.retired) == (None, (OLD,))


def test_there_and_back_again(moved: Workspace) -> None:
    first = {path: digest for path, digest in tree_hash(moved.root).items() if path.startswith("markers/")}
    run_inline(moved)
    describe_probe(moved.root, tiles=["32UPU"])
    assert states(plan_of(moved), "todo") == {"sum set 2018-05": f"output missing: {OLD}"}
    assert run_inline(moved).retired == (NEW,)
    assert {p: d for p, d in tree_hash(moved.root).items() if p.startswith("markers/")} == first


def test_a_run_of_some_stages_removes_nothing(moved: Workspace) -> None:
    assert plan_of(moved, stages=["probe-leaf"]).obsolete == ()
    assert run_inline(moved, stages=["probe-leaf"]).retired == ()
    assert run_inline(moved, stages=["probe-leaf"]).retired == (), "nor one that has nothing to do"
    assert (moved.root / OLD).is_file()
    assert run_inline(moved, stages=list(PROBES)).retired == (OLD,), "all of them by name is a whole run"


def test_files_that_no_run_has_written_are_never_touched(moved: Workspace) -> None:
    own = moved.root / "markers/set/2018-05/site_99XXX.arrow"
    own.write_bytes(b"mine")
    run_inline(moved)
    assert own.read_bytes() == b"mine"


def test_empty_folders_go_with_their_last_file(tmp_path: Path) -> None:
    for path in ("markers/set/2018-05/a.arrow", "markers/set/2018-06/a.arrow", "markers/set/2018-06/b.arrow"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    gone = ("markers/set/2018-05/a.arrow", "markers/set/2018-06/a.arrow")
    assert retire(Workspace(tmp_path), (*gone, "markers/set/2018-06/was-never-there.arrow")) == gone
    assert [path.name for path in sorted((tmp_path / "markers/set").rglob("*"))] == ["2018-06", "b.arrow"]
    assert retire(Workspace(tmp_path), gone) == ()
    retire(Workspace(tmp_path), ("markers/set/2018-06/b.arrow",))
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.is_dir(), "the workspace itself stays"


def test_a_task_whose_input_is_bad_now_loses_its_older_file(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    bad = {"probe-sum 32UPU set 2018-05": {"end": "input"}}
    describe_probe(tmp_path, products=["a", "b", "c", "d"], behaviour=bad)
    assert plan_of(workspace).obsolete == (), "not known yet"
    result = run_inline(workspace)
    assert (result.exit_code, result.retired) == (5, (OLD,))
    again = run_inline(workspace)
    assert (again.exit_code, again.status, again.retired) == (5, None, ())


def test_a_task_that_is_done_and_then_stale_and_bad_loses_its_file_too(tmp_path: Path) -> None:
    """The same task wrote the file: its last word is the failure, only the history knows what it made."""
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    lost = next(path for path in tree_hash(tmp_path) if "/leaf/a_0" in path)
    (tmp_path / lost).unlink()
    describe_probe(tmp_path, behaviour={"probe-sum 32UPU set 2018-05": {"end": "input"}})
    assert run_inline(workspace).retired == (OLD,)


def test_a_task_that_cannot_run_since_its_input_is_bad_loses_its_file(tmp_path: Path) -> None:
    """Blocked, at the end of a chain of stages that do not tolerate missing input."""
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    bad = {"probe-mid 32UPU d": {"end": "input"}}
    describe_probe(tmp_path, products=["a", "b", "c", "d"], behaviour=bad)
    run_inline(workspace, stages=["probe-leaf"])
    plan = plan_of(workspace, STRICT)
    assert list(states(plan, "blocked")) == ["leaf d", "sum set 2018-05"]
    assert plan.obsolete == (OLD,)
    retried = current_plan(workspace, probe_config(), registry=STRICT, retry_quarantined=True)
    assert retried.obsolete == (), "it may come out well this time"


@pytest.mark.parametrize("end", ["temporary", "internal"])
@pytest.mark.parametrize(("task", "stages"), [("sum 32UPU set 2018-05", None), ("leaf 32UPU d", ["probe-leaf"])])
def test_a_failure_that_is_not_the_inputs_keeps_the_older_file(
    tmp_path: Path, end: str, task: str, stages: list[str] | None
) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    before = (tmp_path / OLD).read_bytes()
    describe_probe(tmp_path, products=["a", "b", "c", "d"], behaviour={f"probe-{task}": {"end": end}})
    once = probe_config(max_attempts=1)
    assert run_inline(workspace, once, stages=stages).exit_code == 5
    for config in (once, probe_config()):
        assert current_plan(workspace, config, registry=STRICT).obsolete == ()
    assert (tmp_path / OLD).read_bytes() == before


def test_a_run_that_stops_removes_nothing(moved: Workspace) -> None:
    describe_probe(moved.root, behaviour={"probe-leaf 33UUP b": {"end": "full"}})
    with pytest.raises(TemporaryError, match="the disk is full"):
        run_inline(moved)
    assert (moved.root / OLD).is_file()


def test_a_plan_without_a_single_task_removes_nothing(moved: Workspace) -> None:
    """More likely a slip in the configuration than the wish to have no results."""
    describe_probe(moved.root, tiles=[])
    with pytest.raises(NoInputsError):
        run_inline(moved)
    assert (moved.root / OLD).is_file()


def test_deliverables_are_what_people_read() -> None:
    found = {name for name, stage in stages().items() if stage.deliverable and not name.startswith("probe-")}
    assert found == {
        "classify",
        "compact",
        "confounders",
        "l3b",
        "merge",
        "mowing",
        "practices",
        "series",
        "series-features",
    }


def test_the_ledger_may_be_lost(moved: Workspace) -> None:
    """It is made again from the journals, which know what was written."""
    for path in moved.state.glob("*.parquet"):
        path.unlink()
    assert run_inline(moved).retired == (OLD,)


class NamedLeaf(LeafProbe):
    """A deliverable whose files have the task's id in their names, as rasters do."""

    deliverable = True


def test_an_older_file_of_another_name_stays_until_its_successor_is_there(tmp_path: Path) -> None:
    registry: dict[str, Stage] = {**PROBES, "probe-leaf": NamedLeaf()}
    workspace = probe_workspace(tmp_path)

    def leaves() -> dict[str, str]:
        return {path: digest for path, digest in tree_hash(tmp_path).items() if "/leaf/" in path}

    run(workspace, probe_config(), registry=registry, executor=InlineExecutor())
    before = leaves()
    failing = {"probe-leaf 32UPU b": {"end": "internal"}, "probe-leaf 32UPU c": {"end": "input"}}
    describe_probe(tmp_path, params={"probe-leaf": {"index": 2}}, behaviour=failing)
    once = probe_config(max_attempts=1)
    result = run(workspace, once, registry=registry, executor=InlineExecutor())
    assert result.exit_code == 5
    assert {Path(path).name[0] for path in result.retired} == {"a", "c"}
    (kept,) = leaves().keys() & before.keys()
    assert Path(kept).name[0] == "b", "it failed, but not for its input"
    describe_probe(tmp_path, params={"probe-leaf": {"index": 2}}, behaviour={})
    mended = run(workspace, once, registry=registry, executor=InlineExecutor(), retry_quarantined=True)
    assert mended.retired == (kept,)
