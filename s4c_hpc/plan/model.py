"""A plan: rows, what is to do and why, what it costs; written once and never changed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
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
from s4c_hpc.plan.forecast import Span, makespan
from s4c_hpc.plan.graph import coded
from s4c_hpc.plan.inodes import chunk_seconds, free_inodes, inodes_to_write
from s4c_hpc.plan.machine import Machine
from s4c_hpc.plan.run_folder import RunFolder
from s4c_hpc.plan.space import Passing, check_space, passing_outputs, space_text
from s4c_hpc.plan.summary import StageSummary, add_up, summarize
from s4c_hpc.plan.workers import worker_count
from s4c_hpc.plan.workload import Workload

ROW_GROUP = 4096
"""Rows of a plan that a worker reads to find one."""
_REPEATED = ["stage", "tile", "params", "state", "reason"]
"""Columns of few texts."""


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
    spent: tuple[str, ...] = ()
    """Workspace-relative files of stages whose files are removed after use, which nothing to do reads: the end of a
    run removes them as well. Sorted; none in a plan of some stages only."""
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

    def makespan(self, machine: Machine | int) -> Span:
        """Predicted time for what is to do on ``machine``, or on so many workers of this one."""
        if isinstance(machine, int):
            machine = Machine.local(machine, self.config.execute.memory)
        return makespan(self.workload, machine)

    @cached_property
    def workload(self) -> Workload:
        """What is to do, with its estimates."""
        todo = np.asarray(pc.equal(self.status["state"], PlanState.TODO.value)).astype(bool)
        return Workload.of(self.tasks, self.estimates, todo)

    def reasons(self) -> dict[str, dict[str, int]]:
        """By stage, how many tasks run (or do not) for which reason, for readers.

        A reason is the kind, ``parameters changed``, and what follows it where that is the same for all tasks of
        the stage and kind: ``parameters changed: variables.ndvi``.
        """
        return {
            name: {next(iter(texts)) if len(texts) == 1 else kind: texts.total() for kind, texts in kinds.items()}
            for name, kinds in self._reasons_by_kind.items()
        }

    @cached_property
    def _reasons_by_kind(self) -> dict[str, dict[str, Counter[str]]]:
        """By stage and kind (the text before a colon), the reasons of all tasks that are not done, in their order."""
        (stage, stages), (state, states) = coded(self.tasks["stage"]), coded(self.status["state"])
        reason, reasons = coded(self.status["reason"].dictionary_encode())
        keys = (stage.astype(np.int64) * len(states) + state) * len(reasons) + reason
        distinct, first, counts = np.unique(keys, return_index=True, return_counts=True)
        found: dict[str, dict[str, Counter[str]]] = {}
        for at in np.argsort(first).tolist():
            key, code = divmod(int(distinct[at]), len(reasons))
            name, planned = stages[key // len(states)].as_py(), states[key % len(states)].as_py()
            if planned == PlanState.DONE.value:
                continue
            text = reasons[code].as_py()
            text = f"blocked: {text}" if planned == PlanState.BLOCKED.value else text
            found.setdefault(name, {}).setdefault(text.partition(":")[0], Counter())[text] += int(counts[at])
        return found

    def to_json(self, machine: Machine | int = 1) -> dict[str, Any]:
        """The plan as values for ``json.dumps``; keys are stable, counts and bytes are whole numbers.

        ``reasons`` counts by kind alone (``parameters changed``), since the texts that ``reasons()`` gives to
        readers may change. ``obsolete`` and ``spent`` are numbers of files that the end of a run will remove.
        ``workers`` are the cores of the machine that the makespan is predicted for.
        """
        span = self.makespan(machine)
        total = self.total
        return {
            "format": 1,
            "workspace": str(self.workspace.root),
            "up_to_date": self.is_up_to_date,
            "stages": [line.to_json() for line in self.summary],
            "total": total.to_json(),
            "reasons": {
                name: {kind: texts.total() for kind, texts in kinds.items()}
                for name, kinds in self._reasons_by_kind.items()
            },
            "obsolete": len(self.obsolete),
            "spent": len(self.spent),
            "workers": machine if isinstance(machine, int) else machine.n_cpus,
            "makespan_s": {"expected": span.seconds, "low": span.low_s, "high": span.high_s},
            "rough": self.rough,
            "quota": {
                "max_bytes": self.config.quota.max_bytes,
                "max_files": self.config.quota.max_files,
                "free_bytes": self.free_bytes(),
                "inodes_out": self.inodes_out,
                "free_inodes": self.free_inodes(),
            },
        }

    def free_bytes(self) -> int:
        """Free space on the workspace's file system."""
        return shutil.disk_usage(self.workspace.root).free

    def free_inodes(self) -> int | None:
        """Files that may still be made on the workspace's file system; ``None`` where it has no such limit."""
        return free_inodes(self.workspace.root)

    @cached_property
    def inodes_out(self) -> int:
        """Files and folders that the plan makes, at most: its outputs and what the machinery keeps beside them."""
        todo = np.asarray(pc.equal(self.status["state"], PlanState.TODO.value)).astype(bool)
        chunk_s = chunk_seconds(self.config, [line.stage for line in self.summary])
        return inodes_to_write(self.tasks, todo, self.estimates["seconds"], chunk_s)

    def space_text(self) -> str:
        """What is written against what is free and allowed, for readers."""
        quota = self.config.quota
        return space_text(
            self.total,
            inodes=self.inodes_out,
            free_bytes=self.free_bytes(),
            free_inodes=self.free_inodes(),
            max_bytes=quota.max_bytes,
            max_files=quota.max_files,
            passing=self.passing,
        )

    @cached_property
    def passing(self) -> Passing:
        """What is removed before the run ends, so that it need not fit beside the rest."""
        stages = self.config.retention.spent_stages
        if not (self.is_whole and stages):  # a run of some stages removes nothing
            return Passing()
        todo = np.asarray(pc.equal(self.status["state"], PlanState.TODO.value)).astype(bool)
        return passing_outputs(self.tasks, todo, stages, worker_count(self.config))

    def check_space(self) -> None:
        """Refuse a plan over quota (``ConfigError``), or over free space or inodes (``TemporaryError``)."""
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
            inodes=self.inodes_out,
            free_inodes=self.free_inodes(),
            passing=self.passing,
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
                # Identities do not compress: to try costs those who read them.
                pq.write_table(table, path, row_group_size=ROW_GROUP, compression="lz4", use_dictionary=_REPEATED)
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
