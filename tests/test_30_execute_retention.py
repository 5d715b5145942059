"""Files that are removed after use: gone when everyone has read them, made again when someone new wants to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.probe_stage import PROBES, describe_probe, tree_hash
from support.runs import InlineExecutor, probe_config, probe_workspace, ran, run_inline, states

from s4c_hpc.config import Config
from s4c_hpc.config.model import Retention
from s4c_hpc.core.errors import TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import current_plan
from s4c_hpc.execute.advance import Run
from s4c_hpc.execute.manifest import Wave
from s4c_hpc.execute.retire import retire_spent
from s4c_hpc.plan import Plan, RunFolder

pytestmark = pytest.mark.usefixtures("probes")

MIDS = ["mid a", "mid b", "mid c"]
EVERYTHING = ["leaf a", "leaf b", "leaf c", *MIDS, "root mask", "sum set 2018-05"]
AGAIN = "removed after use ([retention]) and needed again"


class DropMids(Retention):
    """Probes stand in for the stages of a site: what ``mid`` makes goes after use, as stacks do."""

    @property
    def spent_stages(self) -> frozenset[str]:
        return frozenset({"probe-mid"} if self.keep_stacks == "none" else ())


def dropping(keep_stacks: str = "none", **execute: Any) -> Config:
    retention = DropMids.model_validate({"keep_stacks": keep_stacks})
    return probe_config(**execute).model_copy(update={"retention": retention})


def plan_of(workspace: Workspace, config: Config, **options: Any) -> Plan:
    return current_plan(workspace, config, registry=PROBES, **options)


def files(workspace: Workspace, kind: str) -> dict[str, str]:
    """Digest of each file that a stage left, by path."""
    return {path: digest for path, digest in tree_hash(workspace.root).items() if f"/{kind}/" in path}


def test_only_stacks_are_removed_after_use_and_only_where_asked() -> None:
    assert Retention().spent_stages == frozenset()
    assert Retention(keep_stacks="none").spent_stages == {"gather"}


def test_they_go_at_the_end_of_the_run_and_their_tasks_stay_done(tmp_path: Path) -> None:
    workspace, kept = probe_workspace(tmp_path / "dropped"), probe_workspace(tmp_path / "kept")
    run_inline(kept)
    result = run_inline(workspace, dropping())
    assert ran(result) == EVERYTHING
    assert result.spent == tuple(sorted(files(kept, "mid")))
    assert not files(workspace, "mid")
    assert files(workspace, "leaf") == files(kept, "leaf")
    plan = plan_of(workspace, dropping())
    assert plan.is_up_to_date
    assert (plan.spent, plan.obsolete) == ((), ())
    again = run_inline(workspace, dropping())
    assert (again.status, again.spent) == (None, ())


def test_by_default_nothing_goes(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    assert run_inline(workspace, dropping("season")).spent == ()
    assert len(files(workspace, "mid")) == 6


def test_files_of_before_go_when_it_is_asked_for(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    plan = plan_of(workspace, dropping())
    assert plan.spent == tuple(sorted(files(workspace, "mid")))
    assert plan.to_json()["spent"] == 6
    assert len(files(workspace, "mid")) == 6, "a plan removes nothing"
    assert plan_of(workspace, dropping(), stages=["probe-mid"]).spent == (), "nor does a part of the stages"
    assert run_inline(workspace, dropping(), stages=["probe-leaf"]).spent == ()
    result = run_inline(workspace, dropping())
    assert (result.status, len(result.spent)) == (None, 6)


def test_what_was_removed_is_made_again_for_whoever_needs_it_and_for_nobody_else(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    first = run_inline(workspace, dropping())
    before = tree_hash(workspace.root / "markers")
    lost = next(path for path in files(workspace, "leaf") if "/b_" in path)
    (workspace.root / lost).unlink()
    todo = states(plan_of(workspace, dropping()), "todo")
    assert todo == {"mid b": AGAIN, "leaf b": f"output missing: {lost}", "sum set 2018-05": "upstream re-runs"}
    result = run_inline(workspace, dropping())
    assert ran(result) == ["leaf b", "mid b", "sum set 2018-05"]
    assert result.spent == tuple(path for path in first.spent if "/b_" in path)
    assert tree_hash(workspace.root / "markers") == before


def test_a_plan_says_that_imagery_is_read_again(tmp_path: Path) -> None:
    """New parameters of a later stage, a new index say: with stacks it would open no raster."""
    workspace = probe_workspace(tmp_path)
    run_inline(workspace, dropping())
    describe_probe(tmp_path, params={"probe-leaf": {"index": 2}})
    plan = plan_of(workspace, dropping())
    assert set(states(plan, "todo")) == {*EVERYTHING} - {"root mask"}
    assert plan.reasons()["probe-mid"] == {AGAIN: 3}
    assert plan.total.opens_imagery == 3
    run_inline(workspace, dropping())
    assert not files(workspace, "mid")


def test_what_someone_still_waits_for_stays(tmp_path: Path) -> None:
    """A task that failed, or whose input is bad, may be tried again."""
    workspace = probe_workspace(tmp_path)
    describe_probe(tmp_path, behaviour={"probe-leaf 32UPU b": {"end": "internal"}})
    result = run_inline(workspace, dropping(max_attempts=1))
    assert {Path(path).name[0] for path in result.spent} == {"a", "c"}
    assert {Path(path).name[0] for path in files(workspace, "mid")} == {"b"}
    describe_probe(tmp_path, behaviour={})
    mended = run_inline(workspace, dropping(max_attempts=1), retry_quarantined=True)
    assert ran(mended) == ["leaf b", "sum set 2018-05"]
    assert {Path(path).name[0] for path in mended.spent} == {"b"}


def test_files_of_a_task_that_is_not_planned_any_more_go_too(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace)
    describe_probe(tmp_path, products=["a", "b"])
    result = run_inline(workspace, dropping())
    assert {Path(path).name[0] for path in result.spent} == {"a", "b", "c"}


def test_an_input_that_is_made_again_makes_them_again(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace, dropping())
    (root,) = files(workspace, "root")
    (workspace.root / root).unlink()
    result = run_inline(workspace, dropping())
    assert ran(result) == EVERYTHING
    assert not files(workspace, "mid")


def test_they_are_all_made_again_when_they_are_to_be_kept(tmp_path: Path) -> None:
    workspace = probe_workspace(tmp_path)
    run_inline(workspace, dropping())
    result = run_inline(workspace, dropping("season"))
    assert set(MIDS) <= set(ran(result))
    assert len(files(workspace, "mid")) == 6


def test_room_is_made_while_the_run_goes_on(tmp_path: Path) -> None:
    """What all have read goes before the end; what somebody waits for never does."""
    workspace = probe_workspace(tmp_path)
    left: list[set[str]] = []

    class Tidying(InlineExecutor):
        """Tidies after every wave, as a driver does once a minute."""

        def submit(self, run: RunFolder, wave: Wave) -> None:
            super().submit(run, wave)
            now = Run(run, 3)
            now.refresh()
            if retire_spent(run, now.board, {"probe-mid"}):
                assert (tmp_path / "tiles/32UPU/mid").is_dir(), "a worker may be about to publish there"
            left.append({Path(path).name[0] for path in files(workspace, "mid")})

    result = run_inline(workspace, dropping(), executor=Tidying(slots=1))
    assert result.exit_code == 0
    assert {"a"} in left, "while its leaf waits"
    assert max(map(len, left)) < len(MIDS), "never all of them at a time"
    assert (left[-1], result.spent) == (set(), ()), "there was nothing left for the end"


def test_what_goes_on_the_way_need_not_fit_beside_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the files of four tasks: two workers write, and two sets are being read."""
    workspace = probe_workspace(tmp_path, products=[f"p{i}" for i in range(10)], claimed_bytes=1 << 20)
    monkeypatch.setattr(Plan, "free_bytes", lambda _: 21 << 20)
    with pytest.raises(TemporaryError, match=r"needs 32\.0 MiB of disk, 21\.0 MiB is free"):
        plan_of(workspace, dropping("season", workers=2)).check_space()
    plan = plan_of(workspace, dropping(workers=2))
    plan.check_space()
    assert "of which [retention] removes 12.0 MiB in 12 files on the way" in plan.space_text()
    with pytest.raises(TemporaryError, match=r"needs 24\.0 MiB of disk \(without 8\.0 MiB that \[retention\] removes"):
        plan_of(workspace, dropping(workers=3)).check_space()
    with pytest.raises(TemporaryError, match=r"needs 31\.0 MiB"):
        plan_of(workspace, dropping(workers=2), stages=["probe-leaf"]).check_space()
