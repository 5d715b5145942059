"""A workspace of square fields, tables about them, and mappings."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from support.parcels import make_config, squares, write_layer

from s4c_hpc.config import Config
from s4c_hpc.config.imports import ImportMapping, load_mapping
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels, read_attributes
from s4c_hpc.series.import_table import import_table
from s4c_hpc.series.imported import Imported, imported_set
from s4c_hpc.series.read import read_series

LONG = """
    name = "test"
    sensor = "s2"
    form = "long"
    parcel = "id"
    date = "date"
    [variables.ndvi]
    column = "ndvi"
"""
"""Ids of the declaration, a column of values."""

COHERENCE = """
    name = "radar"
    sensor = "s1"
    form = "long"
    parcel = "id"
    date = "date"
    orbit_direction = "ascending"
    [variables.coh_vv]
    column = "coh"
"""


def site_text(*sections: str, season: tuple[str, str] = ("2018-03-01", "2018-10-31")) -> str:
    """The file of a workspace of ``ImportSpace`` for commands; of ``sections`` each is enabled."""
    start, end = season
    site = f'[site]\nname = "test"\nseason_start = {start}\nseason_end = {end}\n'
    parcels = '[parcels]\nfile = "fields.gpkg"\nid_columns = ["id"]\n'
    return site + parcels + "".join(f"[{name}]\nenabled = true\n" for name in sections)


class ImportSpace:
    """A workspace with fields F001, F002 ... and what is imported into it."""

    def __init__(
        self,
        root: Path,
        n: int = 12,
        columns: Mapping[str, Any] | None = None,
        outlines: Sequence[Any] = (),
        **parcels: Any,
    ) -> None:
        """Import the declaration.

        Half of 21 to 99 fields lie far to the north, on another tile; more of them are smaller, on tiles as it comes.
        ``outlines`` are those of the first fields.
        """
        self.root = root
        geometry = list(squares(n) if n < 100 else squares(n, side=40))
        if 20 < n < 100:
            geometry[n // 2 :] = list(squares(n - n // 2, y0=5_450_000))
        geometry[: len(outlines)] = outlines
        ids = {"id": [f"F{i + 1:03d}" for i in range(n)], **(columns or {})}
        self.file = write_layer(root / "fields.gpkg", geometry, columns=ids)
        self.config: Config = make_config(file=str(self.file), **parcels)
        self.workspace = Workspace(root)
        self.tiles = dict(import_parcels(None, self.workspace, self.config).tiles)

    def mapping(self, text: str = LONG) -> ImportMapping:
        """A mapping from its text."""
        path = self.root / "mapping.toml"
        path.write_text(textwrap.dedent(text))
        return load_mapping(path)

    def table(self, columns: Mapping[str, Any], kind: str = "csv", name: str = "table") -> Path:
        """Write a table into a CSV, Parquet or Arrow file."""
        path = self.root / f"{name}.{kind}"
        made = pa.table(dict(columns))
        if kind == "csv":
            pa.csv.write_csv(made, path)
        elif kind == "parquet":
            pq.write_table(made, path)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, made.schema) as writer:
                writer.write_table(made)
        return path

    def bring(self, path: Path, text: str = LONG) -> tuple[Imported, bool]:
        """Import a table."""
        return import_table(path, self.mapping(text), self.workspace, self.config)

    def own_id(self) -> dict[int, str]:
        """Id in the declaration by NewID."""
        table = read_attributes(self.workspace, "v0001", ["NewID", "ori_id"])
        return dict(zip(table["NewID"].to_pylist(), table["ori_id"].to_pylist(), strict=True))

    def values(self, imported: Imported) -> dict[tuple[str, dt.date, str, str], float]:
        """What series files hold: (parcel, day, pass, column) -> value, what is NaN left out."""
        own = self.own_id()
        found: dict[tuple[str, dt.date, str, str], float] = {}
        for tile in imported.tiles:
            for acquisition in imported_set(self.workspace, imported, tile).acquisitions:
                (layer,) = acquisition.layers
                file = read_series(self.root / layer)
                ids = file.new_id
                for name in file.names:
                    column: NDArray[Any] = file.values(name)
                    for i in np.flatnonzero(np.isfinite(column)).tolist():
                        key = own[int(ids[i])], acquisition.day, acquisition.orbit_direction or "", name
                        assert key not in found
                        found[key] = float(column[i])
        return found

    def bytes_of(self) -> dict[str, bytes]:
        """Everything that imports have left, by relative path."""
        home = self.workspace.imported
        files = (path for path in sorted(home.rglob("*")) if path.is_file())
        return {str(path.relative_to(home)): path.read_bytes() for path in files}
