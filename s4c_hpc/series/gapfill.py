"""A view of a series without its gaps; the series itself is never changed.

Linear interpolation in time between the two observations around, and only where these are no further apart than a
given number of days: a longer gap stays a gap. Nothing is guessed before the first and after the last observation.
Every result says by which method and up to which gap it was filled, in its metadata and in the names of its columns.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError
from s4c_hpc.series.contract import ID, PIXEL
from s4c_hpc.series.parcel import ParcelSeries, acquisition_columns

METHOD: Final = "linear"
Times = NDArray[np.datetime64]


def gap_filled(
    times: Times, values: NDArray[Any], *, max_gap_days: float, at: Times | None = None
) -> NDArray[np.float32]:
    """Values at ``at``, interpolated where the observations around are close enough.

    Parameters
    ----------
    times : (m,) ascending
    values : (m,) or (m, n); NaN where nothing was observed, and an infinite value is no observation either
    max_gap_days : longest time between two observations that is bridged, in days
    at : (k,) times of the result; those of the observations by default

    Returns
    -------
    (k,) or (k, n) float32; an observation stays as it is, a gap that is too long is NaN. Of several observations of
    one instant the last counts.
    """
    if not max_gap_days >= 0:
        raise InputError(f"a gap of {max_gap_days} days", where="max_gap_days", hint="give a number of days, 30 say")
    at = times if at is None else at
    if not len(times):
        return np.full((len(at), *values.shape[1:]), np.nan, np.float32)
    flat = values.reshape(len(times), -1)
    seen = np.isfinite(flat)
    rows = np.arange(len(times))[:, None]
    last = np.maximum.accumulate(np.where(seen, rows, -1))
    following = np.minimum.accumulate(np.where(seen, rows, len(times))[::-1])[::-1]
    # The last observation up to each time wanted, and the first one from then on.
    before = _picked(last, np.searchsorted(times, at, side="right") - 1, -1)
    after = _picked(following, np.searchsorted(times, at, side="left"), len(times))
    inside = (before >= 0) & (after < len(times))
    i, j = np.where(inside, before, 0), np.where(inside, after, 0)
    clock = times.astype("datetime64[us]").astype(np.int64)
    now = at.astype("datetime64[us]").astype(np.int64)[:, None]
    own = inside & (clock[i] == now)
    gap = clock[j] - clock[i]
    share = (now - clock[i]) / np.where(gap > 0, gap, 1)
    low, high = np.take_along_axis(flat, i, 0), np.take_along_axis(flat, j, 0)
    between = low + (high.astype(np.float64) - low) * share
    bridged = inside & (gap <= max_gap_days * 86_400_000_000)
    result = np.where(own, low, np.where(bridged, between, np.nan)).astype(np.float32)
    return result.reshape(len(at), *values.shape[1:])


def filled_name(name: str, max_gap_days: float) -> str:
    """What a filled column is called: ``ndvi_mean__linear_30d``."""
    return f"{name}__{METHOD}_{max_gap_days:g}d"


def filled_parcel(
    series: ParcelSeries, names: Iterable[str], *, max_gap_days: float, every_days: int | None = None
) -> pa.Table:
    """Columns of a parcel's season as observed and, beside each, filled.

    Parameters
    ----------
    names : columns; counts of pixels cannot be filled
    max_gap_days : see ``gap_filled``
    every_days : give the filled values every so many days from the first acquisition's on, at noon UTC, instead of at
        the acquisitions; the observed ones are then not in the table

    Raises
    ------
    InputError
        If the series does not have a column, or it cannot be filled.

    Returns
    -------
    Method and longest gap stand in the metadata of every filled column and of the table.
    """
    wanted = {name: series.values(name) for name in names}
    for name in wanted:
        if series.described[name].get("unit") == PIXEL:
            raise InputError(
                f"{name!r} counts pixels and has no gaps to fill", where=f"parcel {series.new_id}", hint="leave it out"
            )
    if every_days is None:
        at = series.times
        about = acquisition_columns(series.acquisitions)
    else:
        first, last = (np.datetime64(series.acquisitions[i].day) for i in (0, -1))
        at = (np.arange(first, last + 1, every_days) + np.timedelta64(12, "h")).astype("datetime64[us]")
        about = pa.table(
            {
                "datetime": pa.array([t.replace(tzinfo=dt.UTC) for t in at.tolist()]),
                "sensor": pa.array([series.sensor] * len(at)),
                "grid": pa.array([series.grid] * len(at)),
            }
        )
    how = {"gap_fill": METHOD, "max_gap_days": f"{max_gap_days:g}"}
    fields, arrays = [*about.schema], [*about.columns]
    for name, values in wanted.items():
        said = dict(series.described[name])
        if every_days is None:
            fields.append(pa.field(name, pa.from_numpy_dtype(values.dtype), nullable=False, metadata=said))
            arrays.append(pa.chunked_array([pa.array(values)]))
        filled = gap_filled(series.times, values, max_gap_days=max_gap_days, at=at)
        fields.append(pa.field(filled_name(name, max_gap_days), pa.float32(), nullable=False, metadata={**said, **how}))
        arrays.append(pa.chunked_array([pa.array(filled)]))
    metadata = {ID: str(series.new_id), "tile": series.tile, "sensor": series.sensor, "grid": series.grid, **how}
    return pa.table(arrays, schema=pa.schema(fields, metadata=metadata))


def _picked(places: NDArray[np.int64], rows: NDArray[np.int64], outside: int) -> NDArray[np.int64]:
    """Rows of ``places``; ``outside`` where there is no such row."""
    there = (rows >= 0) & (rows < len(places))
    picked = places[np.where(there, rows, 0)]
    return np.where(there[:, None], picked, outside)
