"""Sites of which features are made, and what is asked of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from support.runs import InlineExecutor
from support.updates import Site, twenty_fields

from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.plan_schema import tasks_from_table
from s4c_hpc.core.task import Task
from s4c_hpc.execute import current_plan, run
from s4c_hpc.execute.journal import Done, read_events
from s4c_hpc.features import FeatureFile, collect
from s4c_hpc.parcels import read_attributes, read_places

FEATURES: dict[str, Any] = {
    "sets": ["optical", "red-edge"],
    "optical": ["B04", "B08", "ndvi", "B11"],
    "red_edge": ["B05", "B12"],
    "every_days": 20,
}
WIDE = {"parcels": {"layer_share_max": 0.5}, "features": FEATURES}


def finished_site(folder: Path, products: Path) -> Site:
    """Two days of the first declaration, with features and nothing else done."""
    site = Site(folder, products, **WIDE)
    site.deliver(0, 1)
    site.declare(twenty_fields())
    make(site)
    return site


def make(site: Site, exit_code: ExitCode = ExitCode.OK, *, retry_quarantined: bool = False) -> None:
    """Bring the features up to date."""
    result = run(
        site.workspace,
        site.config,
        executor=InlineExecutor(),
        stages=["features"],
        retry_quarantined=retry_quarantined,
    )
    assert result.exit_code is exit_code, result.status


def rows(site: Site, name: str = "features") -> list[Task]:
    """Plan rows of a stage, in order."""
    plan = current_plan(site.workspace, site.config)
    return [task for task in tasks_from_table(plan.tasks) if task.stage == name]


def files(site: Site, chosen: str = "optical") -> list[Path]:
    """Feature files of a set in the order of the plan: layers behind what they lie over."""
    return [site.workspace.root / row.outputs[0] for row in rows(site) if row.subject.startswith(f"{chosen} ")]


def values(site: Site, version: str, chosen: str = "optical") -> dict[str, bytes]:
    """Features of the current parcels by the declaration's id."""
    found = read_attributes(site.workspace, version, ["NewID", "ori_id"]).to_pydict()
    names = dict(zip(found["NewID"], found["ori_id"], strict=True))
    only, begins = read_places(site.workspace, version)
    ends = [*(row for row, _ in begins[1:]), only.size]
    tiles = [tile for (start, tile), end in zip(begins, ends, strict=True) for _ in range(start, end)]
    table = collect(files(site, chosen), only, tiles)
    return {names[key]: line.tobytes() for key, line in zip(only.tolist(), table.values, strict=True)}


def table(file: FeatureFile) -> np.ndarray:
    """(n_columns, n_parcels)"""
    return np.concatenate([[c.to_numpy() for c in batch.columns[1:]] for batch in file.batches], axis=1)


def done(site: Site) -> dict[str, Done]:
    """How tasks ended last, by id."""
    paths = site.workspace.runs.glob("*/journal/*.jsonl")
    events = [event for path in paths for event in read_events(path)[0] if isinstance(event, Done)]
    return {event.id: event for event in sorted(events, key=lambda event: event.t)}
