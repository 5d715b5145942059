"""From rows of a table from elsewhere to observations: which parcel, when, which value; what is of no use, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.config.imports import Form, ImportedVariable, ImportMapping
from s4c_hpc.series.import_parcels import Declaration
from s4c_hpc.series.import_read import SourceTable
from s4c_hpc.series.import_values import (
    NO_DAY,
    PASSES,
    UNKNOWN,
    coded,
    days,
    days_of_texts,
    numbers,
    passes,
    scaled,
    whole_numbers,
)
from s4c_hpc.series.imported import N_VALID, LeftOut

_EXAMPLES: Final = 5
_WHAT: Final = ("rows", "columns", "values")
_ORBITS: Final = 4096
"""Relative orbits (Sentinel-1 has 175, Landsat 233 paths) are below this."""

Bools = NDArray[np.bool_]
Places = NDArray[np.int64]
Columns = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Observations:
    """Values of some variables that stand in the same rows."""

    place: Places
    """(n,) place of the parcel in the declaration."""
    when: Places
    """(n,) day, pass and orbit, see ``Moment``."""
    columns: Columns
    """(n,) values by name of the column."""


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """When and from where something was observed."""

    day: int
    """Days since 1970."""
    passed: int
    """Code of the pass."""
    orbit: int
    """Relative orbit, -1 if it is not known."""

    @classmethod
    def of(cls, code: int) -> Moment:
        """The inverse of ``code``."""
        rest, orbit = divmod(int(code), _ORBITS)
        day, passed = divmod(rest, len(PASSES))
        return cls(day, passed, orbit - 1)

    @staticmethod
    def codes(day: NDArray[np.int32], passed: Places, orbit: Places) -> Places:
        """(n,) one number for each, in the same order."""
        return (day.astype(np.int64) * len(PASSES) + passed) * _ORBITS + orbit + 1


@dataclass
class Tally:
    """Counts what is left out."""

    found: list[LeftOut] = field(default_factory=list)

    def add(self, reason: str, what: str, mask: Bools, column: pa.ChunkedArray | None = None) -> None:
        """Count what a mask marks; with up to five examples of what stands there in a column."""
        if not (n := int(mask.sum())):
            return
        shown: list[str] = []
        if column is not None:
            texts, place = coded(column.filter(pa.array(mask)))
            first = np.unique(place, return_index=True)[1][: _EXAMPLES + 1]
            shown = [str(texts[i].as_py()) for i in place[np.sort(first)].tolist() if i >= 0][:_EXAMPLES]
        self.found.append(LeftOut(reason, what, n, tuple(shown)))

    def folded(self) -> tuple[LeftOut, ...]:
        """One of each reason, rows before columns and values, in the order in which they were found."""
        groups: dict[tuple[str, str], list[LeftOut]] = {}
        for one in self.found:
            groups.setdefault((one.reason, one.what), []).append(one)
        folded = [
            LeftOut(reason, what, sum(one.n for one in same), _first(same)) for (reason, what), same in groups.items()
        ]
        return tuple(sorted(folded, key=lambda one: _WHAT.index(one.what)))


def _first(same: list[LeftOut]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for one in same for text in one.examples))[:_EXAMPLES]


@dataclass(eq=False)
class _Rows:
    """Rows of the table that are still of use, and what is known of each."""

    table: pa.Table
    place: Places
    years: Places | None
    passed: Places
    orbit: Places

    def keep(self, mask: Bools) -> None:
        """Go on with some of them only."""
        if mask.all():
            return
        self.table = self.table.filter(pa.array(mask))
        self.place, self.passed, self.orbit = self.place[mask], self.passed[mask], self.orbit[mask]
        self.years = None if self.years is None else self.years[mask]


def observations(
    source: SourceTable, mapping: ImportMapping, declaration: Declaration, tally: Tally
) -> list[Observations]:
    """All values that are of use; each parcel, moment and column once, the first one that there is.

    Parameters
    ----------
    tally : what is left out is added here
    """
    rows = _rows(source, mapping, declaration, tally)
    if mapping.form is Form.WIDE:
        return [one for name in mapping.variables for one in _wide(rows, source, mapping, name, tally)]
    day = days(rows.table[mapping.date], rows.years, mapping)
    readable = day != NO_DAY
    tally.add(_no_date(mapping), "rows", ~readable, rows.table[mapping.date])
    rows.keep(readable)
    when = Moment.codes(day[readable], rows.passed, rows.orbit)
    if mapping.variable is None:
        return [_long(rows, when, mapping, tally)]
    return list(_by_variable(rows, when, mapping, tally))


def _rows(source: SourceTable, mapping: ImportMapping, declaration: Declaration, tally: Tally) -> _Rows:
    if source.n_broken:
        tally.found.append(LeftOut("has another number of cells than the first line", "rows", source.n_broken))
    table = source.columns
    place = declaration.places_of(table[mapping.parcel], mapping.match)
    n = table.num_rows
    rows = _Rows(table, place, None, np.zeros(n, np.int64), np.full(n, UNKNOWN, np.int64))
    tally.add("parcel is not in the declaration", "rows", place < 0, _ids(table, mapping, declaration))
    rows.keep(place >= 0)
    on_tile = declaration.has_tile()[rows.place]
    tally.add("parcel lies on no tile", "rows", ~on_tile, _ids(rows.table, mapping, declaration))
    rows.keep(on_tile)
    if mapping.year is not None:
        rows.years = np.full(rows.place.size, mapping.year, np.int64)
    elif declaration.years is not None:
        rows.years = declaration.years[rows.place]
    elif mapping.year_column is not None:
        years = whole_numbers(rows.table[mapping.year_column])
        rows.years = np.where((years >= 1900) & (years <= 2200), years, UNKNOWN)
    if rows.years is not None:
        known = rows.years != UNKNOWN
        is_told = mapping.year_column is not None
        shown = rows.table[mapping.year_column] if is_told else _ids(rows.table, mapping, declaration)
        tally.add("no year", "rows", ~known, shown)
        rows.keep(known)
    if mapping.orbit_direction is not None:
        rows.passed = np.full(rows.place.size, PASSES.index(mapping.orbit_direction), np.int64)
    elif mapping.pass_column is not None:
        rows.passed = passes(rows.table[mapping.pass_column])
        known = rows.passed != UNKNOWN
        tally.add("pass is neither ascending nor descending", "rows", ~known, rows.table[mapping.pass_column])
        rows.keep(known)
    if mapping.orbit_column is not None:
        rows.orbit = whole_numbers(rows.table[mapping.orbit_column])
        known = (rows.orbit >= 0) & (rows.orbit < _ORBITS - 1)
        tally.add("no relative orbit", "rows", ~known, rows.table[mapping.orbit_column])
        rows.keep(known)
    return rows


def _ids(table: pa.Table, mapping: ImportMapping, declaration: Declaration) -> pa.ChunkedArray | None:
    """What the table calls parcels, where that may be told."""
    return table[mapping.parcel] if declaration.may_quote else None


def _long(rows: _Rows, when: Places, mapping: ImportMapping, tally: Tally) -> Observations:
    """A row a parcel and date, a column a variable."""
    columns: Columns = {}
    if mapping.count is not None:
        columns[N_VALID] = _values(rows.table[mapping.count], mapping, ImportedVariable(), "count", tally)
    for name, variable in mapping.variables.items():
        for statistic, column in variable.columns:
            columns[f"{name}_{statistic}"] = _values(rows.table[column], mapping, variable, statistic, tally)
    means = [columns[f"{name}_mean"] for name in mapping.variables]
    has = np.zeros(rows.place.size, bool)
    for values in means:
        has |= np.isfinite(values)
    tally.add("no value", "rows", ~has)
    found = Observations(rows.place[has], when[has], {name: values[has] for name, values in columns.items()})
    return _once(found, "a row of the same parcel and date came before", "rows", tally)


def _by_variable(rows: _Rows, when: Places, mapping: ImportMapping, tally: Tally) -> list[Observations]:
    """A row a parcel, date and variable."""
    label_of = mapping.label_of
    labels, row = coded(rows.table[mapping.variable])
    known = pc.index_in(labels, value_set=pa.array(list(label_of))).fill_null(-1).to_numpy()
    number = np.append(known, -1)[row]
    tally.add("variable is not in the mapping", "rows", number < 0, rows.table[mapping.variable])
    found = []
    cells = (("mean", mapping.value), ("stdev", mapping.stdev), ("count", mapping.count))
    for i, name in enumerate(label_of.values()):
        mine = number == i
        part = rows.table.filter(pa.array(mine))
        columns = {
            f"{name}_{statistic}": _values(part[column], mapping, mapping.variables[name], statistic, tally)
            for statistic, column in cells
            if column is not None
        }
        has = np.isfinite(columns[f"{name}_mean"])
        tally.add(f"no value of {name}", "rows", ~has)
        kept = {column: values[has] for column, values in columns.items()}
        one = Observations(rows.place[mine][has], when[mine][has], kept)
        found.append(_once(one, f"a row of the same parcel, date and variable {name} came before", "rows", tally))
    return found


def _wide(rows: _Rows, source: SourceTable, mapping: ImportMapping, name: str, tally: Tally) -> list[Observations]:
    """A row a parcel, a column a date."""
    variable = mapping.variables[name]
    by_text = {
        statistic: {text: column for column, text in source.dated[pattern]} for statistic, pattern in variable.columns
    }
    parts: list[Observations] = []
    for text, column in by_text["mean"].items():
        day = days_of_texts([text], np.zeros(rows.place.size, np.int64), rows.years, mapping)
        if rows.place.size and (day == NO_DAY).all():
            tally.found.append(LeftOut(_no_date(mapping), "columns", 1, (column,)))
            continue
        values = {
            f"{name}_{statistic}": _values(rows.table[columns[text]], mapping, variable, statistic, tally)
            if text in columns
            else np.full(rows.place.size, np.nan, np.float32)
            for statistic, columns in by_text.items()
        }
        seen = np.isfinite(values[f"{name}_mean"])
        tally.add(f"no value of {name}", "values", ~seen)
        tally.add("day is not in the year", "values", seen & (day == NO_DAY))
        has = seen & (day != NO_DAY)
        when = Moment.codes(day[has], rows.passed[has], rows.orbit[has])
        parts.append(Observations(rows.place[has], when, {n: v[has] for n, v in values.items()}))
    if not parts:
        return []
    every = Observations(
        np.concatenate([part.place for part in parts]),
        np.concatenate([part.when for part in parts]),
        {column: np.concatenate([part.columns[column] for part in parts]) for column in parts[0].columns},
    )
    return [_once(every, f"a value of the same parcel, date and variable {name} came before", "values", tally)]


def _values(
    column: pa.ChunkedArray, mapping: ImportMapping, variable: ImportedVariable, statistic: str, tally: Tally
) -> NDArray[np.float32]:
    stored, bad = numbers(column, mapping)
    tally.add("is no number", "values", bad, column)
    return scaled(stored, variable, statistic)


def _once(found: Observations, reason: str, what: str, tally: Tally) -> Observations:
    """Each parcel and moment once: the first one."""
    order = np.lexsort((found.when, found.place))  # stable: of the same ones the first stays first
    place, when = found.place[order], found.when[order]
    again = np.zeros(order.size, bool)
    again[1:] = (place[1:] == place[:-1]) & (when[1:] == when[:-1])
    if again.any():
        repeated = np.zeros(order.size, bool)
        repeated[order[again]] = True
        tally.add(reason, what, repeated)
        kept: Any = ~repeated
        return Observations(found.place[kept], found.when[kept], {n: v[kept] for n, v in found.columns.items()})
    return found


def _no_date(mapping: ImportMapping) -> str:
    return f"date cannot be read as {mapping.date_format}"
