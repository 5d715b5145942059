"""A workspace with parcels, a table of crop codes and feature files: what the stage classify finds."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from support.parcels import squares, write_layer

from s4c_hpc.classify.stage_classify import ClassifyStage
from s4c_hpc.config import Config
from s4c_hpc.core.ids import task_id
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.plan_schema import PLAN_SCHEMA, tasks_from_table, tasks_to_batch
from s4c_hpc.core.publish import Publisher
from s4c_hpc.core.stage import PlanContext, TaskIO
from s4c_hpc.core.task import Outcome, Resources, Task
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.features import Feature, FeatureHeader, feature_schema
from s4c_hpc.parcels import import_parcels, latest_version, read_attributes, read_tiles

SEASON = dt.date(2018, 1, 1)
LUT = """ori_crop,CTnum,CT,LC,CTnumL4A,CTL4A
W,1,Wheat,1,11,Wheat
M,2,Maize,1,12,Maize
R,3,Rape,1,13,Rape
G,4,Grass,3,14,Grass
F,5,Forest,5,15,Forest
"""
"""Five crops; forest is of a land cover that is left out by default."""
PIXELS = Feature(name="XX_s2_pixels", feature="", statistic="pixels", unit="1")


def columns_of(n: int, *, start: dt.date = SEASON, feature: str = "ndvi", days: int = 10) -> list[Feature]:
    """Features of ``n`` periods."""
    found = []
    for i in range(n):
        first = start + dt.timedelta(days=days * i)
        name = f"XX_{first:%Y_%m_%d}_s2_mean_{feature}"
        last = first + dt.timedelta(days=days - 1)
        found.append(Feature(name=name, feature=feature, statistic="mean", first=first, last=last, unit="1"))
    return found


def crop_values(crops: Sequence[str], n: int, seed: int = 0, noise: float = 0.08) -> NDArray[np.float32]:
    """(m, n) curves, one of each crop's own shape, with noise: to be told apart, but not always."""
    rng = np.random.default_rng(seed)
    peak = {c: (i + 1) / 6 for i, c in enumerate("WMRGF")}
    times = np.linspace(0, 1, n)
    curves = [np.exp(-((times - peak.get(c, 0.5)) ** 2) / 0.02) for c in crops]
    return (np.array(curves) + rng.normal(0, noise * 4, (len(crops), n))).astype(np.float32)


@dataclass
class CropSpace:
    """A workspace up to and including features."""

    root: Path
    crops: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the section classify."""
    parcels: Mapping[str, Any] = field(default_factory=dict)
    lut: str | None = LUT
    grid: Mapping[str, Any] = field(default_factory=dict)
    geometry: Any = None
    start: dt.date = SEASON
    feature_tasks: list[Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.root / "ws")
        self.workspace.root.mkdir(parents=True)
        shapes = squares(len(self.crops)) if self.geometry is None else self.geometry
        ids = [f"F{i + 1:04d}" for i in range(len(self.crops))]
        layer = write_layer(self.root / "fields.gpkg", shapes, columns={"id": ids, "crop": list(self.crops)})
        parcels: dict[str, Any] = {"file": str(layer), "id_columns": ["id"], "crop_column": "crop", **self.parcels}
        if self.lut is not None:
            (self.root / "lut.csv").write_text(self.lut)
            parcels["crop_table"] = str(self.root / "lut.csv")
        self.values: dict[str, Any] = {
            "site": {
                "name": "site",
                "season_start": self.start.isoformat(),
                "season_end": self.start.replace(month=12, day=31).isoformat(),
            },
            "parcels": parcels,
            "grid": dict(self.grid),
            "features": {"sets": ["series"]},
        }
        self.config = self.configured()
        import_parcels(None, self.workspace, self.config)
        self.version = latest_version(self.workspace) or ""
        table = read_attributes(self.workspace, self.version, ["NewID", "ori_id", "tile"]).to_pylist()
        self.new_id = {row["ori_id"]: row["NewID"] for row in table}
        self.tile_of = {row["ori_id"]: row["tile"] for row in table}
        self.ids = ids

    def configured(self, **changes: Any) -> Config:
        """The configuration, with some settings of classify changed."""
        small = {"enabled": True, "class_min_parcels": 5, "trees": 15, "folds": 3, "smote_target": 20}
        return Config.model_validate({**self.values, "classify": {**small, **self.settings, **changes}})

    def features(
        self,
        values: NDArray[np.float32],
        columns: Sequence[Feature],
        *,
        pixels: NDArray[np.float32] | None = None,
        only: Sequence[int] | None = None,
        set_name: str = "series test",
        sensor: str = "s2",
    ) -> None:
        """Write feature files, one a tile, of the parcels in the order of the declaration (or some rows of it)."""
        rows = list(range(len(self.ids))) if only is None else list(only)
        if pixels is not None:
            values, columns = np.column_stack([values, pixels]), [*columns, PIXELS]
        for parcels in read_tiles(self.workspace, self.version):
            tile = parcels.tile.id
            mine = [i for i, row in enumerate(rows) if self.tile_of[self.ids[row]] == tile]
            if not mine:
                continue
            identity = task_id("series-features", "1", (tile, set_name, str(len(self.feature_tasks))), "{}")
            head = FeatureHeader(
                tile=tile,
                set=set_name,
                sensor=sensor,
                grid="",
                parcels=parcels.key,
                weighting=None,
                buffer_m=0,
                method="made up",
                task=identity,
            )
            schema = feature_schema(head, columns)
            path = f"tiles/{tile}/features/{len(self.feature_tasks)}.arrow"
            (self.workspace.root / path).parent.mkdir(parents=True, exist_ok=True)
            new_id = np.array([self.new_id[self.ids[rows[i]]] for i in mine], np.int32)
            order = np.argsort(new_id)
            laid = np.ascontiguousarray(values[mine][order].T.astype(np.float32))
            arrays = [pa.array(new_id[order]), *(pa.array(column, from_pandas=False) for column in laid)]
            write_ipc(self.workspace.root / path, schema, [pa.RecordBatch.from_arrays(arrays, schema=schema)])
            self.feature_tasks.append(_feature_task(identity, tile, set_name, path, laid.nbytes))

    def plan(self, config: Config | None = None) -> Task:
        """The row of the stage."""
        upstream = {"series-features": pa.Table.from_batches([tasks_to_batch(self.feature_tasks)], PLAN_SCHEMA)}
        context = PlanContext(self.workspace, config or self.config, upstream)
        (task,) = tasks_from_table(pa.Table.from_batches(list(ClassifyStage().tasks(context)), PLAN_SCHEMA))
        return task

    def run(self, config: Config | None = None, lost: Mapping[str, str] | None = None) -> Outcome:
        """Plan and run; ``lost`` feature tasks (by id, with reasons) have no output."""
        task, lost = self.plan(config), lost or {}
        io = TaskIO(
            workspace=self.workspace,
            run_dir=self.root,
            config=config or self.config,
            publisher=Publisher(self.workspace.root, self.workspace.temporary / task.id),
            settled=frozenset(lost),
            upstream_outputs={t.id: t.outputs for t in self.feature_tasks if t.id not in lost},
            upstream_subjects={t.id: f"{t.stage} {t.tile} {t.subject}" for t in self.feature_tasks},
            upstream_reasons=lost,
        )
        return ClassifyStage().run(task, io)

    def path(self, end: str, period: str = "2018") -> Path:
        """A file of the site."""
        return self.workspace.markers / "l4a" / period / f"site{end}"

    def accuracy(self, period: str = "2018") -> Any:
        """What was measured."""
        return json.loads(self.path(".accuracy.json", period).read_text())

    def rows(self) -> dict[str, dict[str, Any]]:
        """What was found of each parcel, by the user's id."""
        by_number = {number: own for own, number in self.new_id.items()}
        found = {}
        for path in sorted(self.workspace.markers.glob("l4a/*/*.arrow")):
            with pa.ipc.open_file(path) as reader:
                found.update({by_number[row["NewID"]]: row for row in reader.read_all().to_pylist()})
        return found


def _feature_task(identity: str, tile: str, set_name: str, path: str, n_bytes: int) -> Task:
    return Task(
        id=identity,
        stage="series-features",
        tile=tile,
        subject=set_name,
        input_keys=(tile,),
        params="{}",
        depends_on=(),
        outputs=(path,),
        work=1.0,
        bytes_out=n_bytes + 4096,
        opens_imagery=0,
        resources=Resources(cpus=1, mem_bytes=1, walltime_s=1),
    )
