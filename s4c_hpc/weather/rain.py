"""Rain of places and days, from the weather that was imported."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.weather.cells import nearest
from s4c_hpc.weather.edition import CONTRACT, rain_path, weather_key

EPOCH: Final = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Rain:
    """Daily precipitation of n places."""

    day: NDArray[np.int64]
    """(t,) days since 1970, without a gap. A day is one of UTC, unless the table that was imported had others."""
    mm: NDArray[np.float32]
    """(n, t); NaN where it is not known: no cell near enough, or a day that is missing."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Rain by cell, mapped."""

    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    reach_km: NDArray[np.float64]
    """(c,) distance from its centre at which a cell still counts."""
    first: int
    """First day, since 1970."""
    mm: NDArray[np.float32]
    """(c, t)"""

    def at(self, lon: ArrayLike, lat: ArrayLike, first: dt.date, last: dt.date) -> Rain:
        """Rain at places (n,) from one day to another, both inclusive."""
        places = (np.atleast_1d(np.asarray(one, np.float64)) for one in (lon, lat))
        cell = nearest(self.lon, self.lat, self.reach_km, *places)
        days = np.arange((first - EPOCH).days, (last - EPOCH).days + 1, dtype=np.int64)
        mm = np.full((cell.size, days.size), np.nan, np.float32)
        begin, end = max(self.first, (first - EPOCH).days), min(self.first + self.mm.shape[1], (last - EPOCH).days + 1)
        near = np.flatnonzero(cell >= 0)
        if near.size and end > begin:
            offset = begin - (first - EPOCH).days
            mm[near, offset : offset + end - begin] = self.mm[cell[near], begin - self.first : end - self.first]
        return Rain(day=days, mm=mm)


def rain_of(
    workspace: Workspace, lon: ArrayLike, lat: ArrayLike, first: dt.date, last: dt.date, *, key: str | None = None
) -> Rain | None:
    """Rain at places from one day to another; ``None`` when nothing was imported.

    Parameters
    ----------
    lon, lat : (n,) in degrees (EPSG:4326); NaN for a place that is not known
    first, last : both inclusive
    key : ``weather:<edition>`` that a task was planned with; by default what counts now

    Raises
    ------
    MissingDataError, InputError
        If the edition has been replaced, or a file is damaged.

    Notes
    -----
    Memory: 4 bytes for each place and day; of the file, pages of the cells that are near.
    """
    key = key or weather_key(workspace)
    return None if key is None else read_cells(workspace, key).at(lon, lat, first, last)


def read_cells(workspace: Workspace, key: str) -> Cells:
    """The cells of an edition.

    Raises
    ------
    MissingDataError
        If it has been replaced.
    InputError
        If its file is damaged, or of another contract.
    """
    path = rain_path(workspace, key.partition(":")[2])
    again = "run 's4c weather import' again"
    try:
        with open_ipc(path) as reader:
            said, batch = read_metadata(reader.schema), reader.get_batch(0)
    except MissingDataError as error:
        raise MissingDataError(error.what, where=error.where, hint=again) from error
    except (InputError, OSError, IndexError, pa.ArrowException) as error:
        what = error.what if isinstance(error, InputError) else str(error)
        raise InputError(what, where=str(path), hint=again) from error
    if said.get("contract") != CONTRACT:
        raise InputError(f"not a file of contract {CONTRACT}", where=str(path), hint=again)
    lon, lat, reach = (batch.column(name).to_numpy() for name in ("lon", "lat", "reach_km"))
    mm = batch.column("mm")
    return Cells(lon, lat, reach, int(said["first"]), mm.values.to_numpy().reshape(len(mm), mm.type.list_size))
