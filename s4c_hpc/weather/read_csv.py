"""Daily precipitation from tables: a row a day and place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.weather.field import NEGLIGIBLE_MM, Field, Tally

Floats = NDArray[np.float64]

COLUMNS: Final = ("date", "lon", "lat", "precipitation_mm", "cell")
"""What a table has by default; ``cell`` stands for a place whose coordinates another table has."""

DATE_FORMATS: Final = ("%Y-%m-%d", "%Y%m%d", "%Y-%m-%d 00:00:00", "%Y-%m-%dT00:00:00", "%Y-%m-%dT00:00:00Z")


def read_csv(
    path: Path, names: Mapping[str, str], cells: Path | None, factor: float, date_format: str | None, tally: Tally
) -> Field:
    """Read a table; rows that cannot be used are counted with the reason.

    Parameters
    ----------
    names : our name -> that of the table, for those that differ
    cells : table of ``cell``, ``lon`` and ``lat``, for a table without coordinates
    factor : from the unit of the table to mm

    Raises
    ------
    MissingDataError, InputError
        If a file cannot be read or does not have a column.
    NoInputsError
        If it has no rows.
    """
    if strange := set(names) - set(COLUMNS):
        raise ConfigError(
            f"{listing(sorted(strange))}: no such column of ours", where="--column", hint=", ".join(COLUMNS)
        )
    ours = {one: names.get(one, one) for one in COLUMNS}
    place = ("cell",) if cells is not None else ("lon", "lat")
    table, n_broken = _table(path, [ours[one] for one in ("date", *place, "precipitation_mm")])
    tally.add("rows with another number of cells than the first line", n_broken)
    day = _days(table[ours["date"]], date_format)
    mm = _numbers(table[ours["precipitation_mm"]]) * factor
    if cells is None:
        lon, lat = _numbers(table[ours["lon"]]), _numbers(table[ours["lat"]])
    else:
        lon, lat = _places(table[ours["cell"]], cells, ours)
    with np.errstate(invalid="ignore"):
        off = ~((np.abs(lon) <= 360) & (np.abs(lat) <= 90))
    no_value = np.isnan(mm)
    for reason, bad in (
        ("rows whose date cannot be read", day < 0),
        ("rows whose place is not known", off & (day >= 0)),
        ("rows without a number", no_value & ~off & (day >= 0)),
    ):
        rows = np.flatnonzero(bad)
        tally.add(reason, rows.size, [f"{path.name}, row {row + 2}" for row in rows[:3]])
    kept = np.flatnonzero((day >= 0) & ~off & ~no_value)
    return _field(lon[kept], lat[kept], day[kept], mm[kept], tally)


def _table(path: Path, wanted: Sequence[str]) -> tuple[pa.Table, int]:
    if not path.is_file():
        raise MissingDataError("no such table", where=str(path), hint="check the path")
    n_broken = 0

    def broken(_: object) -> str:
        nonlocal n_broken
        n_broken += 1
        return "skip"

    try:
        with path.open(encoding="utf-8-sig") as stream:
            header = stream.readline().strip()
        if not header:
            raise NoInputsError("has no rows", where=str(path), hint="nothing to import")
        delimiter = max(",;\t", key=header.count)
        have = [name.strip().strip('"') for name in header.split(delimiter)]
        for name in wanted:
            if name not in have:
                raise InputError(
                    f"has no column {name!r}; it has {listing(have)}",
                    where=str(path),
                    hint="name it with --column OURS=THEIRS; for places in a table of their own, --cells",
                )
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(column_names=have, skip_rows=1),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=broken),
            convert_options=pa.csv.ConvertOptions(
                include_columns=list(wanted), column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, InputError):
            raise
        if "Empty CSV" in str(error):
            raise NoInputsError("has no rows", where=str(path), hint="nothing to import") from error
        raise InputError(
            f"cannot be read as CSV ({error})", where=str(path), hint="the file is damaged, or of another kind"
        ) from error
    if not table.num_rows:
        raise NoInputsError("has no rows", where=str(path), hint="nothing to import")
    return table, n_broken


def _days(column: pa.ChunkedArray, date_format: str | None) -> NDArray[np.int64]:
    """(n,) days since 1970, -1 for what cannot be read."""
    texts = pc.utf8_trim_whitespace(column)
    found = np.full(len(texts), -1, np.int64)
    for form in (date_format,) if date_format else DATE_FORMATS:
        read = pc.strptime(texts, format=form, unit="s", error_is_null=True)
        day = pc.fill_null(read.cast(pa.date32()).cast(pa.int32()), -1).to_numpy()
        found = np.where(found < 0, day, found)
    return found


def _numbers(column: pa.ChunkedArray) -> Floats:
    """(n,) NaN for what is no number; a comma is a decimal point."""
    texts = pc.replace_substring(pc.utf8_trim_whitespace(column), ",", ".")
    is_number = pc.match_substring_regex(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    numbers = pc.if_else(is_number, texts, "nan").cast(pa.float64())
    values: Floats = numbers.to_numpy()
    return values


def _places(column: pa.ChunkedArray, cells: Path, ours: Mapping[str, str]) -> tuple[Floats, Floats]:
    table, _ = _table(cells, [ours[one] for one in ("cell", "lon", "lat")])
    known = pc.utf8_trim_whitespace(table[ours["cell"]]).combine_chunks()
    if pc.count_distinct(known).as_py() < len(known):
        raise InputError("names a cell twice", where=str(cells), hint="give each cell one row")
    at = pc.fill_null(pc.index_in(pc.utf8_trim_whitespace(column), value_set=known), -1).to_numpy()
    lon, lat = (np.append(_numbers(table[ours[one]]), np.float64(np.nan)) for one in ("lon", "lat"))
    return lon[at], lat[at]


def _field(
    lon: Floats,
    lat: Floats,
    day: NDArray[np.int64],
    mm: Floats,
    tally: Tally,
) -> Field:
    """Rows as a matrix; of rows of one cell and day the first one counts."""
    places, cell = np.unique(np.round(np.stack([lon, lat], axis=1), 6), axis=0, return_inverse=True)
    days, column = np.unique(day, return_inverse=True)
    out = np.full((len(places), days.size), np.nan, np.float32)
    _, first = np.unique(cell.astype(np.int64) * days.size + column, return_index=True)
    out[cell[first], column[first]] = mm[first]
    again = np.abs(out[cell, column] - mm) > NEGLIGIBLE_MM
    tally.add("said before, with another value", int(again.sum()))
    return Field(lon=places[:, 0].astype(np.float64), lat=places[:, 1].astype(np.float64), hour=days * 24, mm=out)
