"""The reference's values beside ours: joined by parcel, day, orbit, variable and statistic."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, NoInputsError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.compat_import import ImportReport, list_imports
from s4c_hpc.markers.compat_write import INTERPOLATED
from s4c_hpc.series import ID, AcquisitionSeries, Series, SeriesFile, read_series

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One variable and statistic, over all parcels and days that both have."""

    sensor: str
    variable: str
    statistic: str
    n: int
    """Pairs of values."""
    days: int
    """Days that both have."""
    only_theirs: int
    """Values of the reference for which we have none: the day, the parcel, or no valid pixel."""
    ambiguous: int
    """Values left out because two of our acquisitions of that day have the parcel."""
    median_difference: float
    """Of ours minus theirs; this and the following NaN where there is no pair."""
    p95_abs_difference: float
    r: float
    """Pearson's correlation; NaN below two pairs, or where one side is constant."""


def find_import(workspace: Workspace, text: str) -> ImportReport:
    """An import by its name, its folder, or the file that was imported.

    Raises
    ------
    NoInputsError
        If there is none.
    InputError
        If it is not the only one.
    """
    reports = list_imports(workspace)
    name = Path(text).name
    found = [r for r in reports if name in {r.name, Path(r.source).name}]
    if not found:
        known = [f"{r.name} ({Path(r.source).name})" for r in reports]
        raise NoInputsError(
            "was not imported",
            where=text,
            hint=f"there are {listing(known)}" if known else f"run 's4c series import {text}'",
        )
    if len(found) > 1:
        raise InputError(
            f"was imported {len(found)} times, with other options or content",
            where=text,
            hint=f"name one of {listing([r.name for r in found])}",
        )
    return found[0]


def compare_import(report: ImportReport, series: Series) -> Iterator[Comparison]:
    """Each variable and statistic of an import, by sensor and name; one at a time is in memory.

    Interpolated values are of no acquisition and are not compared.

    Raises
    ------
    NoInputsError
        If there is nothing to compare.
    """
    files = [read_series(series.workspace.root / path) for path in report.series]
    having: dict[tuple[str, str, str], list[SeriesFile]] = defaultdict(list)
    for file in files:
        if file.header.grid != INTERPOLATED:
            for name in file.names:
                said = file.describe(name)
                having[file.header.sensor, said["variable"], said["statistic"]].append(file)
    if not having:
        raise NoInputsError("holds interpolated values only", where=report.name, hint="they are of no acquisition")
    days: dict[tuple[str, dt.date], tuple[AcquisitionSeries, ...]] = {}
    for sensor, day in sorted({(a.sensor, a.day) for _, a in series.acquisitions()}):
        days[sensor, day] = series.date(day, sensor=sensor)
    for (sensor, variable, statistic), of in sorted(having.items()):
        column = f"{variable}_{statistic}"
        pairs = []
        for file in of:
            mine = days.get((sensor, file.header.datetime.date()), ())
            orbit = file.header.relative_orbit
            wanted = [a for a in mine if orbit in {None, a.acquisition.relative_orbit}]
            theirs = file.values(column).astype(np.float64)
            ours, n = _ours(wanted, column, file.values(ID))
            pairs.append((ours, theirs, n))
        yield _compared(sensor, variable, statistic, pairs)


def _ours(
    acquisitions: Sequence[AcquisitionSeries], column: str, ids: NDArray[np.generic]
) -> tuple[Values, NDArray[np.int64]]:
    """(n,) our value for each of ``ids`` (n,) in rising order, NaN where there is none, and how many there are."""
    values, n = np.full(ids.size, np.nan), np.zeros(ids.size, np.int64)
    for one in acquisitions:
        if column not in one.files.schema.names:
            continue
        at = np.searchsorted(ids, one.new_id)
        own = one.values(column).astype(np.float64)
        known = (at < ids.size) & ~np.isnan(own)
        known[known] = ids[at[known]] == one.new_id[known]
        values[at[known]] = own[known]
        n[at[known]] += 1
    return values, n


def _compared(
    sensor: str, variable: str, statistic: str, pairs: Sequence[tuple[Values, Values, NDArray[np.int64]]]
) -> Comparison:
    ours, theirs, n = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    has_theirs = ~np.isnan(theirs)
    both = has_theirs & (n == 1)
    x, y = ours[both], theirs[both]
    difference = x - y
    varies = x.size > 1 and np.ptp(x) > 0 and np.ptp(y) > 0
    return Comparison(
        sensor=sensor,
        variable=variable,
        statistic=statistic,
        n=int(both.sum()),
        days=sum(bool((~np.isnan(t) & (k == 1)).any()) for _, t, k in pairs),
        only_theirs=int((has_theirs & (n == 0)).sum()),
        ambiguous=int((has_theirs & (n > 1)).sum()),
        median_difference=float(np.median(difference)) if x.size else float("nan"),
        p95_abs_difference=float(np.percentile(np.abs(difference), 95)) if x.size else float("nan"),
        r=float(np.corrcoef(x, y)[0, 1]) if varies else float("nan"),
    )
