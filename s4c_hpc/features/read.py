"""Reading feature files: one, or those of many tiles and sets side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.features.contract import Feature, FeatureHeader
from s4c_hpc.series.read import MappedBatches


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """An open feature file; nothing is read before it is asked for."""

    path: Path
    header: FeatureHeader
    features: tuple[Feature, ...]
    """Every column but the parcel, in order."""
    batches: MappedBatches = field(repr=False)
    """One a parcel block."""

    @property
    def new_id(self) -> NDArray[np.int32]:
        """(n,) parcel of each row."""
        parts = [batch.column(0).to_numpy() for batch in self.batches]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def fill(self, out: NDArray[np.float32], rows: NDArray[np.int64], places: Mapping[str, int]) -> None:
        """Lay values into a matrix.

        Parameters
        ----------
        out : (n, p)
        rows : (m,) row of ``out`` for each row of the file, -1 for none
        places : column of ``out`` by name of a column of the file
        """
        start = 0
        for batch in self.batches:
            mine = rows[start : start + batch.num_rows]
            wanted = mine >= 0
            for number, feature in enumerate(self.features, start=1):
                if feature.name in places:
                    out[mine[wanted], places[feature.name]] = batch.column(number).to_numpy()[wanted]
            start += batch.num_rows


def read_features(path: Path) -> FeatureFile:
    """Open a feature file memory-mapped.

    Raises
    ------
    MissingDataError, InputError
        If there is no such file, or it is not a whole feature file.
    """
    reader = open_ipc(path)
    schema = reader.schema
    header = FeatureHeader.from_metadata(read_metadata(schema), str(path))
    return FeatureFile(path, header, tuple(Feature.from_field(f) for f in list(schema)[1:]), MappedBatches(reader))


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of many parcels side by side."""

    new_id: NDArray[np.int32]
    """(n,) parcels, in the order that was asked for."""
    columns: tuple[Feature, ...]
    """(p,) what each column is; also those that are no features."""
    values: NDArray[np.float32]
    """(n, p); NaN where a tile does not have a column, or a parcel no value."""

    def chosen(self, numbers: Sequence[int]) -> FeatureTable:
        """Only some columns, by number."""
        return FeatureTable(self.new_id, tuple(self.columns[i] for i in numbers), self.values[:, list(numbers)])


def collect(files: Iterable[Path], only: NDArray[np.int32], tiles: Sequence[str] | None = None) -> FeatureTable:
    """Features of parcels from files of tiles and sets; for a parcel that several files of a set have, the last one.

    Parameters
    ----------
    files : later ones are layers over earlier ones
    only : (n,) parcels that count, each once
    tiles : (n,) tile of each: what the files of another one say of it is of where it was before. ``None``: no parcel
        has ever moved to another tile

    Notes
    -----
    Memory: 4 bytes a parcel and column of any file.

    Raises
    ------
    InputError
        If two files mean different things by one name.
    """
    opened = [read_features(path) for path in files]
    columns: dict[str, Feature] = {}
    for file in opened:
        for feature in file.features:
            known = columns.setdefault(feature.name, feature)
            if known != feature:
                raise InputError(
                    f"two files mean different things by {feature.name}", where=str(file.path), hint="run 's4c run'"
                )
    places = {name: i for i, name in enumerate(columns)}
    values: NDArray[Any] = np.full((only.size, len(columns)), np.nan, np.float32)
    order = np.argsort(only, kind="stable")
    for file in opened:
        rows = _rows_of(file.new_id, only, order)
        if tiles is not None and file.header.tile:
            is_here = np.append(np.array(tiles, dtype=object) == file.header.tile, False)
            rows = np.where(is_here[rows], rows, -1)
        file.fill(values, rows, places)
    return FeatureTable(only, tuple(columns.values()), values)


def _rows_of(ids: NDArray[np.int32], among: NDArray[np.int32], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m,) place of each id in ``among``, -1 where it is not there."""
    if not among.size:
        return np.full(ids.size, -1, np.int64)
    nearest = order[np.minimum(np.searchsorted(among, ids, sorter=order), among.size - 1)]
    return np.where(among[nearest] == ids, nearest, -1)
