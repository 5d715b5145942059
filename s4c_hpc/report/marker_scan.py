"""One pass over the marker files: sums over all parcels, values of a few.

Files are mapped, not loaded, and read one record batch at a time; only the columns of one variable and the pixel
counts are touched. Memory grows with the parcels (a few bytes each) and with parcels shown x dates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.config import Config
from s4c_hpc.report.marker_files import Acquisition, MarkerColumn, MarkerFile
from s4c_hpc.report.sky import CATEGORIES, Sky, sky_states, usable_columns

_CATEGORY_SLOT = {category.value: i for i, category in enumerate(CATEGORIES)}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What of the markers the report shows."""

    variable: str = ""
    """``ndvi`` where there is one, else the first; empty if there is no variable at all."""
    statistic: str = ""
    """``mean``, or ``median`` where there is no mean."""
    value_set: str = ""
    count_set: str = ""
    grid: str = ""
    """The finest that has pixel counts, e.g. ``10m``."""
    acquisitions: tuple[Acquisition, ...] = ()
    """In the order of time."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The parcels that get a time line."""

    new_id: NDArray[np.int32]
    """(n_shown,) sorted."""
    value: NDArray[np.float32]
    """(n_shown, n_acquisitions) mean or median of the variable; NaN where there is none."""
    low: NDArray[np.float32]
    """25th percentile, likewise."""
    high: NDArray[np.float32]
    """75th percentile, likewise."""
    counts: NDArray[np.float64]
    """(n_shown, n_acquisitions, n_categories) pixels; NaN where the acquisition has no column for the parcel."""


@dataclass(frozen=True, kw_only=True)
class MarkerScan:
    """What the marker files of a workspace say."""

    files: tuple[MarkerFile, ...]
    choice: Choice
    tiles: tuple[str, ...]
    totals: NDArray[np.float64]
    """(n_tiles, n_acquisitions, n_categories) pixels of all parcels; where parcels overlap, a pixel counts twice."""
    new_id: NDArray[np.int32]
    """(n_parcels,) sorted; every parcel that stands in a marker file."""
    n_dates: NDArray[np.int32]
    """(n_parcels,) acquisitions that reached the parcel: some of its pixels hold data."""
    n_clear: NDArray[np.int32]
    """(n_parcels,) acquisitions on which it was clear."""
    pixels: dict[str, NDArray[np.float64]]
    """Grid -> (n_parcels,) pixels inside the parcel."""
    shown: Shown


def scan_markers(files: tuple[MarkerFile, ...], config: Config, shown: Iterable[int]) -> MarkerScan:
    """Read the marker files once.

    Parameters
    ----------
    files : from ``marker_files``
    shown : NewIDs of the parcels whose values are kept
    """
    choice = _choose(files)
    # Every period of a tile holds the same parcels; one file of each is enough.
    one_per_tile = {(f.set_name, f.tile): f for f in files}.values()
    new_id = np.unique(np.concatenate([np.empty(0, np.int32), *(f.new_ids() for f in one_per_tile)]))
    tiles = tuple(sorted({f.tile for f in files}))
    wanted = np.intersect1d(np.fromiter(shown, np.int32), new_id)
    n_shown, n_dates = len(wanted), len(choice.acquisitions)
    scan = MarkerScan(
        files=files,
        choice=choice,
        tiles=tiles,
        totals=np.zeros((len(tiles), n_dates, len(CATEGORIES))),
        new_id=new_id,
        n_dates=np.zeros(len(new_id), np.int32),
        n_clear=np.zeros(len(new_id), np.int32),
        pixels={},
        shown=Shown(
            new_id=wanted,
            value=np.full((n_shown, n_dates), np.nan, np.float32),
            low=np.full((n_shown, n_dates), np.nan, np.float32),
            high=np.full((n_shown, n_dates), np.nan, np.float32),
            counts=np.full((n_shown, n_dates, len(CATEGORIES)), np.nan),
        ),
    )
    usable = usable_columns(config.validity.use)
    for file in files:
        if file.set_name == choice.count_set:
            _scan_counts(scan, file, usable)
        if file.set_name == choice.value_set:
            _scan_values(scan, file)
    return scan


def _choose(files: tuple[MarkerFile, ...]) -> Choice:
    columns = [(file.set_name, c) for file in files for c in file.columns]
    acquisitions = tuple(sorted({c.acquisition for _, c in columns}))
    averages = [(s, c) for s, c in columns if c.statistic in {"mean", "median"}]
    counts = [(s, c) for s, c in columns if c.category]
    choice = Choice(acquisitions=acquisitions)
    # min() keeps the first of equals: between other variables the order of sets and columns decides.
    if averages:
        value_set, best = min(averages, key=lambda a: (a[1].variable != "ndvi", a[1].statistic != "mean"))
        choice = Choice(
            variable=best.variable, statistic=best.statistic, value_set=value_set, acquisitions=acquisitions
        )
    if counts:
        count_set, finest = min(counts, key=lambda a: float(a[1].grid[:-1]))
        choice = Choice(**{**vars(choice), "count_set": count_set, "grid": finest.grid})
    return choice


def _scan_counts(scan: MarkerScan, file: MarkerFile, usable: NDArray[np.bool_]) -> None:
    """Add the pixel counts of one file to the sums, and keep those of shown parcels."""
    tile = scan.tiles.index(file.tile)
    by_date: dict[Acquisition, list[MarkerColumn]] = {}
    for column in file.columns:
        if column.grid == scan.choice.grid and column.category in _CATEGORY_SLOT:
            by_date.setdefault(column.acquisition, []).append(column)
    # The number of pixels inside a parcel is the same on every date, so one date per grid tells it.
    totals = list({c.grid: c for c in file.columns if c.category == "total"}.values())
    wanted = [*totals, *(c for columns in by_date.values() for c in columns)]
    for ids, batch in file.batches(wanted):
        rows = np.searchsorted(scan.new_id, ids)
        slots, inside = _slots(scan, ids)
        for acquisition, columns in by_date.items():
            counts = np.zeros((len(ids), len(CATEGORIES)))
            for column in columns:
                counts[:, _CATEGORY_SLOT[column.category]] = _numbers(batch, column)
            date = scan.choice.acquisitions.index(acquisition)
            scan.totals[tile, date] += counts.sum(axis=0)
            scan.n_dates[rows] += counts.sum(axis=1) > counts[:, _CATEGORY_SLOT["nodata"]]
            scan.n_clear[rows] += sky_states(counts, usable) == Sky.CLEAR
            scan.shown.counts[slots, date] = counts[inside]
        for column in totals:
            pixels = scan.pixels.setdefault(column.grid, np.zeros(len(scan.new_id)))
            pixels[rows] = np.maximum(pixels[rows], _numbers(batch, column))


def _scan_values(scan: MarkerScan, file: MarkerFile) -> None:
    """Keep the variable of shown parcels."""
    targets = {scan.choice.statistic: scan.shown.value, "p25": scan.shown.low, "p75": scan.shown.high}
    wanted = [c for c in file.columns if c.variable == scan.choice.variable and c.statistic in targets]
    for ids, batch in file.batches(wanted):
        slots, inside = _slots(scan, ids)
        if len(slots):
            for column in wanted:
                date = scan.choice.acquisitions.index(column.acquisition)
                values = batch.column(column.name).to_numpy(zero_copy_only=False)
                targets[column.statistic][slots, date] = values[inside]


def _numbers(batch: pa.RecordBatch, column: MarkerColumn) -> NDArray[np.float64]:
    """Counts as floats, whatever the weighting stored them as; a missing one is none."""
    values = batch.column(column.name).to_numpy(zero_copy_only=False).astype(np.float64)
    numbers: NDArray[np.float64] = np.nan_to_num(values)
    return numbers


def _slots(scan: MarkerScan, ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the shown arrays, and rows of the batch, of parcels that are in both."""
    _, slots, inside = np.intersect1d(scan.shown.new_id, ids, assume_unique=True, return_indices=True)
    return slots, inside
