"""A workspace with real parcels and made-up series, on which the stages compact and series are run."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from support.markers import TILE, MarkerSpace, header, random_series, write_series

from s4c_hpc.config import Config
from s4c_hpc.core.plan_schema import PLAN_SCHEMA, tasks_from_table, tasks_to_batch
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import PlanContext, Stage, TaskIO
from s4c_hpc.core.task import Outcome, Task
from s4c_hpc.optical import resolve
from s4c_hpc.series.contract import ID
from s4c_hpc.series.stage_compact import CompactStage
from s4c_hpc.series.stage_series import SeriesStage

STAGES: tuple[Stage, ...] = (CompactStage(), SeriesStage())


class SeasonSpace(MarkerSpace):
    """A workspace up to and including the stage series."""

    def acquire(
        self,
        when: str,
        *,
        product: str | None = None,
        ids: Sequence[int] | None = None,
        grids: Sequence[str] = ("10m",),
        **changes: Any,
    ) -> str:
        """Make a product with series files, rows in the order of a parcel version; returns its id."""
        made = super().acquire(when, product=product, ids=ids, grids=grids, **changes)
        task = self.stats[-1]
        for path in task.outputs:
            grid = Path(path).parts[-2]
            self.tables[f"{made} {grid}"] = ordered = self.tables[f"{made} {grid}"].sort_by(ID)
            write_series(self.root / path, ordered)
        self.stats[-1] = dataclasses.replace(task, params=self._params(grids))
        return made

    def layer(self, product: str, ids: Sequence[int], seed: int, grid: str = "10m") -> Path:
        """A layer over a product's file: other values for some parcels; returns its path."""
        base = self.tables[f"{product} {grid}"]
        when = product.rpartition("_")[2]
        head = header(product, time_of(when), grid=grid, parcels="parcels:fedcba9876543210")
        table = random_series(head, ids, self.config, seed)
        path = self.root / f"tiles/{TILE}/series/s2/{grid}/{when[:8]}_{product}.layer{seed}.arrow"
        write_series(path, table)
        old, new = base.to_pandas().set_index(ID), table.to_pandas().set_index(ID)
        merged = _over(old, new)
        self.tables[f"{product} {grid}"] = pa.table(
            [pa.array(merged.reset_index()[f.name].to_numpy(), f.type) for f in base.schema], schema=base.schema
        )
        return path

    def season_rows(self, config: Config | None = None) -> dict[str, list[Task]]:
        """Rows of the stages compact and series."""
        upstream = {"stats": pa.Table.from_batches([tasks_to_batch(self.stats)], PLAN_SCHEMA)}
        for stage in STAGES:
            context = PlanContext(self.workspace, config or self.config, dict(upstream))
            upstream[stage.name] = pa.Table.from_batches(list(stage.tasks(context)), PLAN_SCHEMA)
        return {stage.name: tasks_from_table(upstream[stage.name]) for stage in STAGES}

    def season(self, given_up: Mapping[str, str] | None = None, config: Config | None = None) -> dict[str, Outcome]:
        """Plan and run both stages; ``given_up`` products (with reasons) have no series. Outcomes by subject."""
        given_up = given_up or {}
        outputs = {t.id: t.outputs for t in self.stats if t.subject not in given_up}
        reasons = {t.id: given_up[t.subject] for t in self.stats if t.subject in given_up}
        subjects = {t.id: f"stats {TILE} {t.subject}" for t in self.stats}
        outcomes = {}
        for stage in STAGES:
            for task in self.season_rows(config)[stage.name]:
                io = TaskIO(
                    workspace=self.workspace,
                    run_dir=self.root / "run" / "x",
                    config=config or self.config,
                    publisher=Publisher(self.root, self.root / "tmp" / task.id),
                    settled=frozenset(reasons),
                    upstream_outputs={i: outputs[i] for i in task.depends_on if i in outputs},
                    upstream_subjects=subjects,
                    upstream_reasons=reasons,
                )
                outcomes[task.subject] = stage.run(task, io)
                outputs[task.id] = outcomes[task.subject].outputs
        return outcomes

    def _params(self, grids: Sequence[str]) -> str:
        """What the stage compact reads of the parameters of stats."""
        names = [v.name for v in resolve(self.config.variables)]
        of = {grid: {"variables": [[n, n] for n in names if (n == "b11") == (grid == "20m")]} for grid in grids}
        return json.dumps({"grids": of, "statistics": list(self.config.variables.statistics)})


def same(left: Any, right: Any) -> bool:
    """Whether two arrays hold the same bits of the same type; all NaN are alike."""
    a, b = np.asarray(left), np.asarray(right)
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _over(old: Any, new: Any) -> Any:
    """Rows of ``new`` in place of those of ``old``, further ones behind."""
    kept = old[~old.index.isin(new.index)]
    return pd.concat([kept, new]).astype(old.dtypes)


def time_of(when: str) -> dt.datetime:
    return dt.datetime.strptime(when, "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
