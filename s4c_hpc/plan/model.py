"""A plan: rows, what is to do and why, what it costs; written once and never changed."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from s4c_hpc.config import Config
from s4c_hpc.core.atomic import sync_directory, sync_file
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.plan.classify import PlanState, count_states
from s4c_hpc.plan.predict import Span, makespan
from s4c_hpc.plan.run_folder import RunFolder
from s4c_hpc.plan.space import check_space
from s4c_hpc.plan.summary import StageSummary, add_up, summarize
from s4c_hpc.plan.workers import worker_count

ROW_GROUP = 4096
"""Rows of a plan that a worker reads to find one."""


@dataclass(frozen=True)
class Plan:
    """Every task that the workspace's inputs and configuration call for."""

    workspace: Workspace
    config: Config
    tasks: pa.Table
    """(n_tasks,) rows in ``core.plan_schema.PLAN_SCHEMA``; each after the rows that it depends on."""
    status: pa.Table
    """(n_tasks,) rows in ``STATUS_SCHEMA``: done or to do, and why."""
    estimates: pa.Table
    """(n_tasks,) rows in ``ESTIMATE_SCHEMA``."""
    obsolete: tuple[str, ...] = ()
    """Workspace-relative files that deliverable stages made and that this plan does not: the end of a run removes
    them. Sorted; none in a plan of some stages only."""
    is_whole: bool = True
    """Whether every stage was asked for its rows."""
    measured: frozenset[str] = frozenset()
    """Stages whose estimates rest on tasks that were done here; those of others are shares of the time asked for."""

    @cached_property
    def counts(self) -> dict[PlanState, int]:
        """Number of rows in each state."""
        return count_states(self.status)

    @property
    def is_up_to_date(self) -> bool:
        """Whether there is nothing to do."""
        return self.counts[PlanState.TODO] == 0

    @cached_property
    def summary(self) -> list[StageSummary]:
        """One line per stage."""
        return summarize(self.tasks, self.status, self.estimates)

    @property
    def total(self) -> StageSummary:
        """The sum of all lines."""
        return add_up(self.summary)

    @cached_property
    def rough(self) -> bool:
        """Whether estimates of anything to do rest on no measurement."""
        return any(line.todo and line.stage not in self.measured for line in self.summary)

    def makespan(self, n_workers: int) -> Span:
        """Predicted time for what is to do on ``n_workers`` workers."""
        todo = pc.equal(self.status["state"], PlanState.TODO.value)
        return makespan(self.tasks["stage"].filter(todo).to_pylist(), self.estimates.filter(todo), n_workers)

    def reasons(self) -> dict[str, dict[str, int]]:
        """By stage, how many tasks run (or do not) for which reason, for readers.

        A reason is the kind, ``parameters changed``, and what follows it where that is the same for all tasks of
        the stage and kind: ``parameters changed: variables.ndvi``.
        """
        return {
            name: {texts[0] if len(set(texts)) == 1 else kind: len(texts) for kind, texts in kinds.items()}
            for name, kinds in self._reasons_by_kind.items()
        }

    @cached_property
    def _reasons_by_kind(self) -> dict[str, dict[str, list[str]]]:
        """By stage and kind (the text before a colon), the reasons of all tasks that are not done."""
        found: dict[str, dict[str, list[str]]] = {}
        for name, state, reason in zip(
            self.tasks["stage"].to_pylist(),
            self.status["state"].to_pylist(),
            self.status["reason"].to_pylist(),
            strict=True,
        ):
            if state == PlanState.DONE.value:
                continue
            text = f"blocked: {reason}" if state == PlanState.BLOCKED.value else reason
            found.setdefault(name, {}).setdefault(text.partition(":")[0], []).append(text)
        return found

    def to_json(self, n_workers: int = 1) -> dict[str, Any]:
        """The plan as values for ``json.dumps``; keys are stable, counts and bytes are whole numbers.

        ``reasons`` counts by kind alone (``parameters changed``), since the texts that ``reasons()`` gives to
        readers may change. ``obsolete`` is the number of files that the end of a run will remove.
        """
        span = self.makespan(n_workers)
        total = self.total
        return {
            "format": 1,
            "workspace": str(self.workspace.root),
            "up_to_date": self.is_up_to_date,
            "stages": [line.to_json() for line in self.summary],
            "total": total.to_json(),
            "reasons": {
                name: {kind: len(texts) for kind, texts in kinds.items()}
                for name, kinds in self._reasons_by_kind.items()
            },
            "obsolete": len(self.obsolete),
            "workers": n_workers,
            "makespan_s": {"expected": span.seconds, "low": span.low_s, "high": span.high_s},
            "rough": self.rough,
            "quota": {
                "max_bytes": self.config.quota.max_bytes,
                "max_files": self.config.quota.max_files,
                "free_bytes": self.free_bytes(),
            },
        }

    def free_bytes(self) -> int:
        """Free space on the workspace's file system."""
        return shutil.disk_usage(self.workspace.root).free

    def check_space(self) -> None:
        """Refuse a plan over quota (``ConfigError``) or over the free space (``TemporaryError``)."""
        todo = pc.equal(self.status["state"], PlanState.TODO.value)
        scratch = np.asarray(self.tasks["scratch_bytes"].filter(todo))
        at_once = min(worker_count(self.config), len(scratch))
        check_space(
            self.total,
            max_bytes=self.config.quota.max_bytes,
            max_files=self.config.quota.max_files,
            scratch_bytes=int(scratch.max(initial=0)) * at_once,
            free_bytes=self.free_bytes(),
            where=str(self.workspace.root),
        )

    def write(self, run_dir: Path) -> RunFolder:
        """Write the plan as a new run folder, whole or not at all.

        Parameters
        ----------
        run_dir : ``run/<uuid>`` of the workspace; must not exist
        """
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        draft = RunFolder(run_dir.with_name(f".{run_dir.name}.{uuid.uuid4().hex[:8]}.tmp"))
        draft.root.mkdir()
        try:
            for path, table in (
                (draft.plan, self.tasks),
                (draft.status, self.status),
                (draft.estimates, self.estimates),
            ):
                pq.write_table(table, path, row_group_size=ROW_GROUP, compression="zstd")
            draft.config.write_text(self.config.model_dump_json(indent=1), encoding="utf-8")
            _link_or_copy(self.workspace.catalog, draft.products)
            for folder in (draft.journals, draft.manifests):
                folder.mkdir()
            for path in (draft.plan, draft.status, draft.estimates, draft.config):
                sync_file(path)
            draft.root.rename(run_dir)
            sync_directory(run_dir.parent)
        finally:
            shutil.rmtree(draft.root, ignore_errors=True)
        return RunFolder(run_dir)


def _link_or_copy(source: Path, copy: Path) -> None:
    """Keep the catalog as it is now: it is replaced, never changed, so a link does. Without a catalog, nothing."""
    try:
        os.link(source, copy)
    except FileNotFoundError:
        return
    except OSError:  # a file system without links, or another one
        shutil.copyfile(source, copy)
