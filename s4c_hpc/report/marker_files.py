"""The marker files of a workspace and what their column names say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.naming import is_marker_name, parse_name

ID_COLUMN = "NewID"


@dataclass(frozen=True, slots=True, order=True)
class Acquisition:
    """One image of a sensor, as marker column names tell it apart."""

    when: str
    """``20180507``, or ``20180507t102648`` where a day has several."""
    sensor: str
    orbit: str
    """``088d``; empty where orbits need not be told apart."""

    @property
    def day(self) -> dt.date:
        """Acquisition day, UTC."""
        return dt.date(int(self.when[:4]), int(self.when[4:6]), int(self.when[6:8]))


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerColumn:
    """One column: either a statistic of a variable, or a pixel count of a grid."""

    index: int
    """Position in the file."""
    name: str
    acquisition: Acquisition
    variable: str = ""
    statistic: str = ""
    grid: str = ""
    category: str = ""
    """``total``, ``valid``, ``cloud`` ...; empty for a statistic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerFile:
    """A marker file and what its name says."""

    path: Path
    set_name: str
    period: str
    tile: str
    size_bytes: int
    schema: pa.Schema
    columns: tuple[MarkerColumn, ...]
    """Those whose name follows the native pattern, in file order."""

    def batches(self, columns: Iterable[MarkerColumn]) -> Iterator[tuple[NDArray[np.int32], pa.RecordBatch]]:
        """NewIDs and the given columns, one record batch at a time.

        Whole batches are mapped; reading chosen fields only (``included_fields``) would copy them into memory.
        """
        names = [ID_COLUMN, *(c.name for c in columns)]
        with open_ipc(self.path) as reader:
            for i in range(reader.num_record_batches):
                batch = reader.get_batch(i).select(names)
                yield batch.column(ID_COLUMN).to_numpy(), batch

    def new_ids(self) -> NDArray[np.int32]:
        """(n_rows,) NewIDs, in file order."""
        ids = [ids.copy() for ids, _ in self.batches(())]
        return np.concatenate(ids) if ids else np.empty(0, np.int32)


def marker_files(workspace: Workspace, config: Config) -> tuple[MarkerFile, ...]:
    """Marker files of this site, sets in the order of the configuration, then by period and tile.

    Raises
    ------
    InputError
        If a file is not a whole Arrow IPC file.
    """
    order = [s.name for s in config.markers.sets]
    found = []
    for path in workspace.markers.glob(f"*/*/{config.site.name}_*.arrow"):
        set_name, period = path.parts[-3:-1]
        if set_name not in order:
            continue
        with open_ipc(path) as reader:
            schema = reader.schema
        found.append(
            MarkerFile(
                path=path,
                set_name=set_name,
                period=period,
                tile=path.stem.removeprefix(f"{config.site.name}_"),
                size_bytes=path.stat().st_size,
                schema=schema,
                columns=tuple(_parse(schema.names)),
            )
        )
    return tuple(sorted(found, key=lambda f: (order.index(f.set_name), f.period, f.tile)))


def _parse(names: Iterable[str]) -> Iterator[MarkerColumn]:
    for index, name in enumerate(names):
        if is_marker_name(name):
            parsed = parse_name(name)
            yield MarkerColumn(
                index=index,
                name=name,
                acquisition=Acquisition(parsed.stamp, parsed.sensor, parsed.orbit or ""),
                variable=parsed.variable or "",
                statistic="" if parsed.is_class_count else parsed.statistic,
                grid=parsed.grid or "",
                category=parsed.statistic if parsed.is_class_count else "",
            )
