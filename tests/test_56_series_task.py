"""What a task over a tile's series reads is what it was planned with, or it is begun again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s4c_hpc.core.errors import TemporaryError
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import TaskIO
from s4c_hpc.core.task import Resources, Task
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.series import SeriesSet
from s4c_hpc.series.generation import pointer_path
from s4c_hpc.series.task_series import task_series

TILE = "32UPU"


def read(root: Path, *, depends_on: str, written_by: str, done: bool = True, imported: str = "") -> Any:
    """Series of a task that depends on one task, where the tile's pointer was written by another."""
    path = root / pointer_path(TILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SeriesSet(tile=TILE, task=written_by, acquisitions=(), missing=(("P", "cut"),)).to_json())
    task = Task(
        id="t",
        stage="mowing",
        tile=TILE,
        subject="2018",
        input_keys=("parcels:1", depends_on, *((imported,) if imported else ())),
        params="{}",
        depends_on=(depends_on,),
        outputs=(),
        work=1.0,
        bytes_out=0,
        opens_imagery=0,
        resources=Resources(cpus=1, mem_bytes=1, walltime_s=1),
    )
    io = TaskIO(
        workspace=Workspace(root),
        run_dir=root,
        config=None,
        publisher=Publisher(root, root / "scratch"),
        upstream_outputs={depends_on: (pointer_path(TILE),)} if done else {},
        upstream_reasons={depends_on: "gave up"},
    )
    return task_series(task, io)


def test_the_pointer_is_the_one_that_was_planned_with(tmp_path: Path) -> None:
    assert read(tmp_path, depends_on="a", written_by="a") == ([], (("P", "cut"),))
    with pytest.raises(TemporaryError, match="have changed since the plan was made"):
        read(tmp_path, depends_on="a", written_by="b")


def test_series_that_were_given_up_are_missing_with_their_reason(tmp_path: Path) -> None:
    assert read(tmp_path, depends_on="a", written_by="b", done=False) == ([], (("series", "gave up"),))


def test_an_edition_that_was_replaced_makes_the_task_wait_for_another_plan(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError) as told:
        read(tmp_path, depends_on="a", written_by="a", imported="import:radar:0123456789abcdef")
    assert "0123456789abcdef" in str(told.value.where)
