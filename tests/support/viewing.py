"""A site to look at: two seasons of the same fields, results of every kind, and names that mean harm."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from support.imports import LONG, ImportSpace
from support.runs import InlineExecutor
from support.serving import configure, write_results

from s4c_hpc.config import load_config
from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import run

SITE, BARE, FULL = "seen", "2018-03-01_2018-10-31", "2019-03-01_2019-10-31"
"""Seasons: one of which there are images only, and one with results."""
N = 12
CUT = dt.date(2019, 6, 10)
"""When the first three fields are mown."""
HARM = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>\'";--'
CROPS = (
    "grass",
    HARM,
    "long " * 60 + "x" * 120,
    "\u202eright to left \u05d7\u05d9\u05d8\u05d4 \u0642\u0645\u062d",
    "\N{EAR OF RICE}\N{ZERO WIDTH JOINER}\N{EAR OF MAIZE} bl\u00e9\u0301",
    "javascript:alert(1)",
)
"""Declared crops, in turn."""
UNSEEN = 11
"""Field (counted from 0) of which there is no image."""
FIELDS = tuple(
    shapely.box(600_000 + 110 * i, 5_300_000, 600_000 + 110 * i + side, 5_300_000 + side)
    for i, side in enumerate((100,) * 10 + (4, 100))
)
"""In a row from west to east; the one before the last is tiny."""
OVER = shapely.box(600_060, 5_300_010, 600_200, 5_300_090)
"""Lies over the first two in place of the tenth."""


def build_bare(root: Path) -> Workspace:
    """A season of images; its fields are numbered from the other end."""
    return _build(root, BARE, [f"F{i + 1:03d}" for i in range(N)], "").workspace


def build_full(root: Path) -> Workspace:
    """A season with mowings that were found in its images, and files of crop types, practices and evidence."""
    ids = [f"F{i + 1:03d}" for i in range(N)]
    ids[1] = f"{HARM} \u202e{'y' * 200}"
    space = _build(root, FULL, ids, "[mowing]\nenabled = true\n")
    result = run(space.workspace, load_config(root / "s4c.toml").config, executor=InlineExecutor())
    assert result.exit_code is ExitCode.OK, result.status
    write_results(space.workspace, "2019", SITE)
    own = {name: i for i, name in enumerate(ids)}
    row = {new_id: own[name] for new_id, name in space.own_id().items()}
    turn = {new_id: i % 4 for new_id, i in row.items()}
    _change(
        space.workspace,
        "l4a",
        CT_pred_1=lambda i: CROPS[row[i] % len(CROPS)],
        CT_conf_1=lambda i: float(np.float32((0.1, 0.35, 0.95, np.nan)[turn[i]])),
        light=lambda i: ("green", "yellow", "red", "grey")[turn[i]],
    )
    _change(
        space.workspace,
        "l4c",
        H_W_START=lambda i: (20190701, 20190812, 20190902, -1)[turn[i]],
        H_W_END=lambda i: (20190707, 20190818, 20190908, -1)[turn[i]],
        C_INDEX=lambda i: (4, 3, 2, 1)[turn[i]],
    )
    is_second: dict[int, bool] = {}

    def in_turn(first: Any, second: Any) -> Any:
        def value(i: int) -> Any:
            is_second[i] = not is_second.get(i, True)
            return second if is_second[i] else first

        return value

    _change(
        space.workspace,
        "l4c-evidence",
        decision=in_turn("harvest", "catch-crop"),
        verdict=in_turn("found", "weak"),
        start=in_turn(dt.date(2019, 7, 1), dt.date(2019, 8, 1)),
        end=in_turn(dt.date(2019, 7, 7), dt.date(2019, 9, 15)),
        confidence=in_turn(0.75, 0.5),
        source=in_turn("S1+S2", "S2"),
        doubts=in_turn(0, 0),
        reason=in_turn(HARM, "too few looks"),
    )
    return space.workspace


def _build(root: Path, season: str, ids: Sequence[str], more: str) -> ImportSpace:
    root.mkdir(parents=True)
    year = int(season[:4])
    fields = [*FIELDS[:9], OVER, *FIELDS[10:]]
    order = list(reversed(range(N))) if season == BARE else list(range(N))
    columns = {"id": list(ids), "crop": [CROPS[i % len(CROPS)] for i in order]}
    outlines = [fields[i] for i in order]
    space = ImportSpace(root, N, columns, outlines, crop_column="crop")
    rows = []
    for i, name in zip(order, ids, strict=True):
        for day in (dt.date(year, 3, 5) + dt.timedelta(days=5 * k) for k in range(46)):
            since = (day - CUT).days
            cut = i < 3 and since >= 0
            if i != UNSEEN:
                rows.append((name, day, min(0.85, 0.45 + 0.01 * since) if cut else 0.85))
    values = dict(zip(("id", "date", "ndvi"), map(list, zip(*rows, strict=True)), strict=True))
    space.bring(space.table(values, "parquet"), LONG)
    configure(root, SITE, season, f'[parcels]\nfile = "{space.file}"\nid_columns = ["id"]\n{more}')
    return space


def _change(workspace: Workspace, name: str, **values: Any) -> None:
    """Other values of columns, by NewID."""
    for path in (workspace.markers / name).glob("*/*.arrow"):
        table = pa.ipc.open_file(path.read_bytes()).read_all()  # not mapped: the file is written anew
        ids = table["NewID"].to_pylist()
        columns: Mapping[str, Any] = {one: [value(i) for i in ids] for one, value in values.items()}
        for column, made in columns.items():
            at = table.schema.get_field_index(column)
            field = table.schema.field(column)
            table = table.set_column(at, field, pa.array(made, field.type, from_pandas=False))
        write_ipc(path, table.schema, table.to_batches())
