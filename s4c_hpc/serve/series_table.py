"""The series of some parcels as one table: a row an acquisition (or day) and parcel."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa

from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.series import ID, ParcelSeries, filled_parcel
from s4c_hpc.serve.problems import Problem, public
from s4c_hpc.serve.sites import Look

COUNTS = ("n_valid", "n_total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which values of a series."""

    variables: tuple[str, ...] = ("*",)
    """Names or patterns."""
    statistics: tuple[str, ...] = ("mean",)
    """Names or patterns."""
    sensor: str | None = None
    grid: str | None = None
    """``10m``, or the name of an import."""
    first: dt.date | None = None
    last: dt.date | None = None
    max_gap_days: float | None = None
    """Fill gaps up to this long, beside what was observed; ``None``: as observed."""
    every_days: int | None = None
    """With filled gaps: values every so many days."""


@dataclass(frozen=True, slots=True)
class Found:
    """Values, and parcels that have none."""

    table: pa.Table
    missing: tuple[tuple[int, str], ...]
    """NewID and reason."""


def series_table(look: Look, ids: Sequence[int], wanted: Wanted, values_max: int) -> Found:
    """Rows by parcel, sensor, grid and time; a column that a row's sensor does not have is null there.

    Raises
    ------
    NoInputsError
        No parcel has a series, or no series has such a column.
    MissingDataError
        A file is gone since the look was taken.
    Problem
        400, if the answer would have more than ``values_max`` values.
    """
    parts: list[pa.Table] = []
    missing: list[tuple[int, str]] = []
    strands: tuple[ParcelSeries, ...] = ()
    n_values = 0
    for new_id in ids:
        try:
            strands = look.parcel(new_id, wanted.sensor, wanted.grid)
        except MissingDataError:
            raise  # a run has replaced a file: no fault of the parcel
        except InputError as error:
            missing.append((new_id, public(error.what) or ""))
            continue
        for one in strands:
            if names := columns_of(one, wanted):
                part = _part(one, names, wanted)
                parts.append(part)
                n_values += part.num_rows * len(names)
        if n_values > values_max:
            raise Problem(
                400,
                f"the answer has more than {values_max} values",
                where="parcels, variables, dates",
                hint="ask for fewer at a time, or take the marker files: they have no limit",
            )
    if not parts and strands:
        said = [one for strand in strands for one in strand.described.values() if "variable" in one]
        raise NoInputsError(
            f"no column is {listing(list(wanted.variables))} and {listing(list(wanted.statistics))}",
            where="variables, statistics",
            hint=f"variables are {listing(list(dict.fromkeys(one['variable'] for one in said)), 30)}; "
            f"statistics {listing(list(dict.fromkeys(one['statistic'] for one in said)))}",
        )
    if not parts:
        raise NoInputsError(
            listing(list(dict.fromkeys(reason for _, reason in missing)), 3),
            where="parcels",
            hint="ask for the items of parcels",
        )
    return Found(pa.concat_tables(parts, promote_options="default").replace_schema_metadata(None), tuple(missing))


def columns_of(one: ParcelSeries, wanted: Wanted) -> list[str]:
    """Columns of a sensor and grid that are asked for."""
    return [
        name
        for name, said in one.described.items()
        if "variable" in said
        and any(fnmatchcase(said["variable"], pattern) for pattern in wanted.variables)
        and any(fnmatchcase(said["statistic"], pattern) for pattern in wanted.statistics)
    ]


def _part(one: ParcelSeries, names: list[str], wanted: Wanted) -> pa.Table:
    if wanted.max_gap_days is None:
        table = one.table([*(n for n in COUNTS if n in one.columns), *names])
    else:
        table = filled_parcel(one, names, max_gap_days=wanted.max_gap_days, every_days=wanted.every_days)
    if wanted.first is not None or wanted.last is not None:
        # Gaps were filled from what lies outside of the dates, too.
        days = table["datetime"].to_numpy().astype("datetime64[D]")
        chosen = np.ones(len(days), dtype=bool)
        if wanted.first is not None:
            chosen &= days >= np.datetime64(wanted.first)
        if wanted.last is not None:
            chosen &= days <= np.datetime64(wanted.last)
        table = table.filter(pa.array(chosen))
    fields = [f.with_nullable(True) for f in table.schema]  # noqa: FBT003 - pyarrow's signature
    number = pa.array(np.full(table.num_rows, one.new_id, np.int32))
    first = pa.field(ID, pa.int32(), metadata={"long_name": "Parcel"})
    return pa.table([number, *table.columns], schema=pa.schema([first, *fields]))
