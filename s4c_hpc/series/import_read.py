"""Reading a table from elsewhere: the columns that a mapping names, from CSV, Parquet or Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from s4c_hpc.config.imports import DATE, Form, ImportMapping
from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.parcels.read import nearest

_CSV: Final = frozenset({".csv", ".tsv", ".txt"})
_PARQUET: Final = frozenset({".parquet", ".pq", ".geoparquet"})
_ARROW: Final = frozenset({".arrow", ".ipc", ".feather"})


@dataclass(frozen=True, eq=False)
class SourceTable:
    """The columns of a table that are of use."""

    path: Path
    columns: pa.Table
    """All that are named; of CSV as texts."""
    dated: dict[str, tuple[tuple[str, str], ...]]
    """Of a wide table: pattern -> columns that meet it, each with the text in the place of the date."""
    n_broken: int
    """Lines of a CSV file that have another number of cells than its first one, and are left out."""

    @property
    def n_rows(self) -> int:
        """Rows of the table, broken ones as well."""
        return int(self.columns.num_rows) + self.n_broken


def read_table(path: Path, mapping: ImportMapping) -> SourceTable:
    """Read a table.

    Raises
    ------
    MissingDataError, InputError
        If there is no such file, it cannot be read, is of no known kind, or does not have a column.
    NoInputsError
        If it has no rows.
    """
    if not path.is_file():
        raise MissingDataError("no such table", where=str(path), hint="check the path")
    kind = path.suffix.lower()
    if kind not in _CSV | _PARQUET | _ARROW:
        raise InputError(
            f"a file that ends in {kind or 'nothing'!r} is no table that can be read",
            where=str(path),
            hint=f"write {', '.join(sorted(_CSV | _PARQUET | _ARROW))}",
        )
    try:
        names = _names(path, kind, mapping)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"has two columns {twice[0]!r}", where=str(path), hint="give each another name")
        dated = _dated(names, mapping, path)
        wanted = list(dict.fromkeys([*_named(mapping), *(name for found in dated.values() for name, _ in found)]))
        _require(names, wanted, path)
        table, n_broken = _read(path, kind, wanted, mapping)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"cannot be read as {kind[1:]} ({error})", where=str(path), hint="the file is damaged, or of another kind"
        ) from error
    if not table.num_rows:
        raise NoInputsError("has no rows", where=str(path), hint="nothing to import")
    return SourceTable(path, table, dated, n_broken)


def _named(mapping: ImportMapping) -> list[str]:
    """Columns that a mapping names as they are."""
    keys = ("date", "year_column", "variable", "value", "stdev", "count", "pass_column", "orbit_column")
    named = [mapping.parcel, *(getattr(mapping, key) for key in keys)]
    if mapping.form is Form.LONG:
        named += [column for one in mapping.variables.values() for _, column in one.columns]
    return [name for name in named if name is not None]


def _dated(names: list[str], mapping: ImportMapping, path: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """Columns of a wide table by the pattern that they meet."""
    if mapping.form is Form.LONG:
        return {}
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for one in mapping.variables.values():
        for _, pattern in one.columns:
            before, _, after = pattern.partition(DATE)
            match = re.compile(f"{re.escape(before)}(.+){re.escape(after)}").fullmatch
            found[pattern] = tuple((name, hit[1]) for name in names if (hit := match(name)))
            if not found[pattern]:
                raise InputError(
                    f"no column looks like {pattern!r}", where=str(path), hint=f"it has {listing(names, 30)}"
                )
    return found


def _require(names: list[str], wanted: Iterable[str], path: Path) -> None:
    for name in wanted:
        if name not in names:
            # A table with another delimiter has one column, whose name holds all others.
            hint = "check 'delimiter' of the mapping; " if len(names) == 1 else ""
            raise InputError(f"has no column {name!r}", where=str(path), hint=hint + nearest(name, names))


def _names(path: Path, kind: str, mapping: ImportMapping) -> list[str]:
    if kind in _CSV:
        parse = pa.csv.ParseOptions(delimiter=mapping.delimiter, invalid_row_handler=lambda _: "skip")
        with pa.csv.open_csv(path, parse_options=parse) as reader:
            return list(reader.schema.names)
    if kind in _PARQUET:
        return list(pq.read_schema(path).names)
    return list(_arrow(path).schema.names)


def _read(path: Path, kind: str, wanted: list[str], mapping: ImportMapping) -> tuple[pa.Table, int]:
    if kind in _PARQUET:
        return pq.read_table(path, columns=wanted, partitioning=None), 0
    if kind in _ARROW:
        return _arrow(path).select(wanted), 0
    n_broken = 0

    def broken(_: object) -> str:
        nonlocal n_broken
        n_broken += 1
        return "skip"

    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(
            delimiter=mapping.delimiter, newlines_in_values=False, invalid_row_handler=broken
        ),
        convert_options=pa.csv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
        ),
    )
    return table, n_broken


def _arrow(path: Path) -> pa.Table:
    source = pa.memory_map(str(path), "r")
    try:
        return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source).read_all()
