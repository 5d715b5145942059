"""Stages run one after the other in this process, without executor: plan rows, run them, collect what they wrote."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from s4c_hpc.config import Config
from s4c_hpc.core.plan_schema import PLAN_SCHEMA, tasks_from_table
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import PlanContext, Stage, TaskIO, stage
from s4c_hpc.core.task import Outcome, Task
from s4c_hpc.core.workspace import Workspace


@dataclass
class Chain:
    """A workspace and what was done in it; a task that was done before is not done again."""

    workspace: Workspace
    done: dict[str, Outcome] = field(default_factory=dict)
    ran: list[Task] = field(default_factory=list)
    """Tasks of the last call of ``run``, in order."""
    names: dict[str, str] = field(default_factory=dict)
    """``stage tile subject`` of every task that was planned, by id."""
    twins_discarded: int = 0
    """Outputs of the last task that were there before."""

    def plan(self, config: Config, names: Iterable[str]) -> dict[str, list[Task]]:
        """Rows by stage."""
        upstream: dict[str, pa.Table] = {}
        for name in names:
            context = PlanContext(self.workspace, config, dict(upstream))
            upstream[name] = pa.Table.from_batches(list(stage(name).tasks(context)), PLAN_SCHEMA)
        return {name: tasks_from_table(table) for name, table in upstream.items()}

    def run(self, config: Config, names: Iterable[str]) -> dict[str, list[Task]]:
        """Plan, and run what was not run before."""
        rows = self.plan(config, names)
        run_dir = self.workspace.runs / "chain"
        run_dir.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.workspace.catalog, run_dir / "products.parquet")
        self.ran = []
        for name, tasks in rows.items():
            for task in tasks:
                self.names[task.id] = f"{task.stage} {task.tile} {task.subject}"
                if task.id not in self.done:
                    self.done[task.id] = self.run_task(stage(name), task, config)
                    self.ran.append(task)
        return rows

    def run_task(self, one: Stage, task: Task, config: Config) -> Outcome:
        """Run one row, whether it was run before or not."""
        io = TaskIO(
            workspace=self.workspace,
            run_dir=self.workspace.runs / "chain",
            config=config,
            publisher=Publisher(self.workspace.root, self.workspace.temporary / task.id),
            upstream_outputs={key: self.done[key].outputs for key in task.depends_on},
            upstream_subjects={key: self.names[key] for key in task.depends_on if key in self.names},
        )
        outcome = one.run(task, io)
        self.twins_discarded = io.publisher.twins_discarded
        return outcome

    def sizes(self, task: Task) -> tuple[int, int]:
        """Bytes that a task has written, and the most that it was said to write."""
        return sum(self.path(output).stat().st_size for output in task.outputs), task.bytes_out

    def path(self, relative: str) -> Path:
        """A file of the workspace."""
        return self.workspace.root / relative
