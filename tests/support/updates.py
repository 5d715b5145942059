"""A small site whose declaration is updated: two tiles side by side, products of two sensors, edits of parcels."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from support.landsat import build_landsat
from support.runs import InlineExecutor
from support.safe import build_safe

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import RunResult, current_plan, run
from s4c_hpc.parcels import import_parcels, read_attributes
from s4c_hpc.plan import Plan

ULX, ULY, SIZE_M = 600_000, 5_400_000, 1_200
TILES = ("32UPU", "32UQU")
DAYS = (dt.date(2018, 5, 7), dt.date(2018, 5, 20), dt.date(2018, 6, 3))
CRS = "EPSG:32632"


def build_archive(folder: Path) -> Path:
    """A product a tile and day."""
    for number, day in enumerate(DAYS):
        for place, tile in enumerate(TILES):
            build_safe(
                folder,
                baseline="02.14",
                sensing=dt.datetime(day.year, day.month, day.day, 10, 20, tzinfo=dt.UTC),
                tile=tile,
                epsg=32632,
                ulx=ULX + place * SIZE_M,
                uly=ULY,
                size_m=SIZE_M,
                seed=10 * number + place,
            )
    return folder


def build_landsat_archive(folder: Path) -> Path:
    """A scene a day, over both tiles; its pixels lie 15 m beside their edges."""
    for number, day in enumerate(DAYS):
        build_landsat(
            folder,
            time=dt.datetime(day.year, day.month, day.day, 10, 2, tzinfo=dt.UTC),
            ulx=ULX - 15,
            uly=ULY + 15,
            shape=(SIZE_M // 30 + 2, len(TILES) * SIZE_M // 30 + 2),
            block=16,
            seed=number,
        )
    return folder


def make_config(root: Path, kind: str = "sentinel2-l2a", **sections: Any) -> Config:
    """Bands of two grids, an index of one and a formula over both."""
    tiles = [
        {"id": tile, "crs": CRS, "ulx": ULX + i * SIZE_M, "uly": ULY, "width_m": SIZE_M, "height_m": SIZE_M}
        for i, tile in enumerate(TILES)
    ]
    values: dict[str, Any] = {
        "site": {"name": "site", "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "sources": [{"kind": kind, "root": str(root / "archive")}],
        "grid": {"tiles": tiles},
        "parcels": {"file": str(root / "parcels.gpkg"), "id_columns": ["id"], "crop_column": "crop"},
        "extract": {"mask_ring_m": 20.0},
        "variables": {
            "bands": ["B08", "B11"],
            "indices": ["ndvi"],
            "statistics": ["count", "mean", "stdev", "median"],
            "formulas": {"both": "B08 - B11"},
        },
    }
    return Config.model_validate(values | {name: {**values.get(name, {}), **s} for name, s in sections.items()})


@dataclass
class Declaration:
    """Outlines and crops by id; every edit keeps what it does not name."""

    parcels: dict[str, tuple[Any, str]] = field(default_factory=dict)
    n_given: int = 0

    def add(self, outline: Any, crop: str = "wheat") -> str:
        """A new parcel; returns its id."""
        self.n_given += 1
        self.parcels[f"P{self.n_given:03d}"] = (outline, crop)
        return f"P{self.n_given:03d}"

    def delete(self, key: str) -> None:
        """Take a parcel away."""
        del self.parcels[key]

    def move(self, key: str, dx: float, dy: float) -> None:
        """Move a parcel by metres."""
        outline, crop = self.parcels[key]
        self.parcels[key] = (shapely.transform(outline, lambda xy: xy + np.array([dx, dy])), crop)

    def split(self, key: str) -> str:
        """Cut a parcel in two: the western half keeps the id; returns that of the other."""
        outline, crop = self.parcels[key]
        x0, y0, x1, y1 = outline.bounds
        middle = (x0 + x1) / 2
        self.parcels[key] = (shapely.intersection(outline, shapely.box(x0, y0, middle, y1)), crop)
        return self.add(shapely.intersection(outline, shapely.box(middle, y0, x1, y1)), crop)

    def crop(self, key: str, crop: str) -> None:
        """Change an attribute alone."""
        self.parcels[key] = (self.parcels[key][0], crop)

    def write(self, path: Path) -> None:
        """The declaration as a file."""
        outlines, crops = zip(*self.parcels.values(), strict=True)
        path.unlink(missing_ok=True)
        gpd.GeoDataFrame({"id": list(self.parcels), "crop": crops}, geometry=list(outlines), crs=CRS).to_file(path)


def field_at(x: float, y: float, width: float = 90.0, height: float = 70.0, turn: float = 0.2) -> Any:
    """A field whose centre is ``x`` metres east and ``y`` metres south of the site's corner, a little turned."""
    cx, cy = ULX + x, ULY - y
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return shapely.Polygon(np.round(corners @ rotation.T + [cx, cy], 2))


def twenty_fields() -> Declaration:
    """Ten fields on each tile, with room between them."""
    found = Declaration()
    for row in range(4):
        for column in range(5):
            found.add(field_at(260 + 450 * column, 190 + 260 * row))
    return found


class Site:
    """A workspace of its own archive, to which products are delivered and declarations handed in."""

    def __init__(self, root: Path, products: Path, **sections: Any) -> None:
        """Make the folder, unless it is there; a new archive is empty.

        Parameters
        ----------
        sections : of the configuration, and the ``kind`` of the products; see ``make_config``
        """
        self.root, self.products, self.sections = root, products, sections
        (root / "archive").mkdir(parents=True, exist_ok=True)
        self.workspace = Workspace(root / "ws")
        self.workspace.root.mkdir(exist_ok=True)
        self.workspace.config.touch()
        self.config = make_config(root, **sections)

    def configure(self, **sections: Any) -> None:
        """Change sections of the configuration."""
        self.sections |= sections
        self.config = make_config(self.root, **self.sections)

    def copy(self, root: Path, **sections: Any) -> Site:
        """The same site somewhere else, with all that was made so far; sections of the configuration may be others."""
        shutil.copytree(self.root, root)
        found = Site(root, self.products, **{**self.sections, **sections})
        found.deliver()
        return found

    def deliver(self, *days: int) -> None:
        """Let products arrive, by number of the day, and look for them."""
        for number in days:
            for pattern in ("*MSIL2A_{:%Y%m%d}*", "*L2SP_*_{:%Y%m%d}_*"):
                for path in self.products.glob(pattern.format(DAYS[number])):
                    shutil.copytree(path, self.root / "archive" / path.name, copy_function=os.link, dirs_exist_ok=True)
        scan(self.config, self.workspace)

    def declare(self, declaration: Declaration) -> str:
        """Import a declaration; returns its version."""
        declaration.write(self.root / "parcels.gpkg")
        return import_parcels(None, self.workspace, self.config).version

    def run(self, exit_code: ExitCode = ExitCode.OK) -> RunResult:
        """``s4c run`` in this process."""
        result = run(self.workspace, self.config, executor=InlineExecutor())
        assert result.exit_code is exit_code, result.status
        return result

    def plan(self) -> Plan:
        """``s4c plan``."""
        return current_plan(self.workspace, self.config)

    def files(self) -> dict[str, bytes]:
        """Marker files, compacted months and pointers of series: what people get, byte by byte."""
        root = self.workspace.root
        found = [
            *root.glob("markers/**/*.arrow"),
            *root.glob("tiles/*/compact/**/*.arrow"),
            *root.glob("tiles/*/series/*.json"),
        ]
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(found)}

    def manifests(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Manifests of the marker files, without the time of their making."""
        found = {}
        for path in sorted(self.workspace.markers.rglob("*.manifest.json")):
            found[path.name, path.parent.name] = {**json.loads(path.read_text()), "created": ""}
        return found

    def values(self, version: str) -> dict[tuple[str, str], Any]:
        """Every marker value by the declaration's id of the parcel and the column's name."""
        names = read_attributes(self.workspace, version, ["NewID", "ori_id"]).to_pydict()
        ori_id = dict(zip(names["NewID"], names["ori_id"], strict=True))
        found: dict[tuple[str, str], Any] = {}
        for path in sorted(self.workspace.markers.rglob("*.arrow")):
            table = open_ipc(path).read_all()
            ids = table["NewID"].to_pylist()
            for name in table.column_names[1:]:
                for new_id, value in zip(ids, table[name].to_numpy(), strict=True):
                    key = (ori_id[new_id], name)
                    assert key not in found, "a parcel stands in the files of one tile"
                    found[key] = value.tobytes()
        return found


def opens(plan: Plan, addition: str = "") -> int:
    """Rasters that the tasks to do will open."""
    rows = zip(plan.tasks.to_pylist(), plan.status.to_pylist(), strict=True)
    return sum(row["opens_imagery"] for row, status in rows if status["state"] == "todo" and addition in row["subject"])


def opened(workspace: Workspace) -> int:
    """Rasters that all tasks have opened so far, by what they say of themselves."""
    lines = [line for path in workspace.runs.glob("*/journal/*.jsonl") for line in path.read_text().splitlines()]
    return sum(json.loads(line).get("rasters_opened", 0) for line in lines)


def todo(plan: Plan) -> dict[str, str]:
    """``stage tile subject`` -> reason of the tasks to do."""
    rows = zip(plan.tasks.to_pylist(), plan.status.to_pylist(), strict=True)
    return {
        f"{row['stage']} {row['tile']} {row['subject']}": status["reason"]
        for row, status in rows
        if status["state"] == "todo"
    }


def stages_of(names: Iterable[str]) -> set[str]:
    """Stages of tasks by their names."""
    return {name.partition(" ")[0] for name in names}
