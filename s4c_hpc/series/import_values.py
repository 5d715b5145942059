"""What cells of a table from elsewhere mean: numbers, days, passes; what means nothing is told apart, not guessed."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.config.imports import ImportedVariable, ImportMapping
from s4c_hpc.parcels.columns import as_text, is_text

NO_DAY: Final = np.iinfo(np.int32).min
"""Stands for a day that cannot be read."""
UNKNOWN: Final = -1
"""Stands for a year, pass or orbit that cannot be read."""

_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_PASSES: Final = {"ascending": 1, "asc": 1, "a": 1, "descending": 2, "desc": 2, "d": 2}
PASSES: Final = (None, "ascending", "descending")
"""Pass by its code."""
_EPOCH: Final = dt.date(1970, 1, 1)

Bools = NDArray[np.bool_]


def numbers(column: pa.ChunkedArray, mapping: ImportMapping) -> tuple[NDArray[np.float64], Bools]:
    """Numbers of a column.

    Returns
    -------
    (n,) NaN where there is none; (n,) whether there is something that is no number
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan), np.zeros(len(column), bool)
    if not is_text(column.type):
        values = column.cast(pa.float64(), safe=False).to_numpy()
        return np.where(np.isfinite(values), values, np.nan), np.isinf(values)
    texts = pc.utf8_trim_whitespace(column)
    if mapping.decimal_point != ".":
        texts = pc.replace_substring(texts, mapping.decimal_point, ".")
    nothing = pc.is_in(texts, pa.array(["", *mapping.missing], texts.type))
    known = pc.if_else(nothing, pa.scalar(None, texts.type), texts)
    is_number = pc.match_substring_regex(known, _NUMBER)
    values = pc.if_else(is_number, known, pa.scalar(None, texts.type)).cast(pa.float64()).to_numpy()
    readable = pc.fill_null(is_number, pa.scalar(True)).to_numpy()  # noqa: FBT003 - pyarrow's signature
    return np.where(np.isfinite(values), values, np.nan), ~readable | np.isinf(values)


def scaled(values: NDArray[np.float64], variable: ImportedVariable, statistic: str) -> NDArray[np.float32]:
    """(n,) physical values of stored ones; a number of pixels stays as it is."""
    if statistic == "count":
        return np.where(values >= 0, values, np.nan).astype(np.float32)
    stored = np.where(np.isin(values, variable.nodata), np.nan, values)
    offset = variable.offset if statistic == "mean" else 0.0
    factor = variable.scale if statistic == "mean" else abs(variable.scale)
    with np.errstate(over="ignore"):
        result = (stored * factor + offset).astype(np.float32)
    return np.where(np.isfinite(result), result, np.float32(np.nan))


def coded(column: pa.ChunkedArray) -> tuple[pa.StringArray, NDArray[np.int64]]:
    """What occurs in a column, as texts, and (n,) the place of what stands in each row, -1 for nothing.

    Of millions of rows only what differs is looked at as text.
    """
    if pa.types.is_null(column.type) or not len(column):
        return pa.array([], pa.string()), np.full(len(column), -1, np.int64)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.dictionary_encode().unify_dictionaries()
    places = [chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.chunks]
    return as_text(encoded.chunk(0).dictionary), np.concatenate(places).astype(np.int64)


def whole_numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """(n,) of a column of years or orbits; ``UNKNOWN`` where there is none that is whole and positive."""
    texts, place = coded(column)
    # pandas writes whole numbers as 2018.0 where a column has gaps.
    texts = pc.replace_substring_regex(texts, r"\.0+$", "")
    good = pc.match_substring_regex(texts, r"^[0-9]{1,9}$")
    known = pc.if_else(good, texts, pa.scalar(None, texts.type)).cast(pa.int64())
    return np.append(np.asarray(known.fill_null(UNKNOWN), np.int64), UNKNOWN)[place]


def passes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """(n,) code of each pass, see ``PASSES``; ``UNKNOWN`` where it is none."""
    texts, place = coded(column)
    codes = [_PASSES.get((text or "").lower(), UNKNOWN) for text in texts.to_pylist()]
    return np.array([*codes, UNKNOWN], np.int64)[place]


def days(column: pa.ChunkedArray, years: NDArray[np.int64] | None, mapping: ImportMapping) -> NDArray[np.int32]:
    """(n,) days since 1970 of a column of dates; ``NO_DAY`` where it is none.

    Parameters
    ----------
    years : (n,) year that each row belongs to; ``None``: dates tell theirs
    """
    if pa.types.is_temporal(column.type):
        known = column.cast(pa.date32(), safe=False).cast(pa.int32())
        found = known.fill_null(NO_DAY).to_numpy().astype(np.int32)
        return found if years is None else _in_season_year(found, years, mapping)
    texts, place = coded(column)
    return days_of_texts([*(text or "" for text in texts.to_pylist()), ""], place, years, mapping)


def days_of_texts(
    texts: list[str], place: NDArray[np.int64], years: NDArray[np.int64] | None, mapping: ImportMapping
) -> NDArray[np.int32]:
    """(n,) days since 1970; see ``days``.

    Parameters
    ----------
    place : (n,) place of each row's date in ``texts``; each text is read once a year
    """
    if mapping.has_year:
        found = np.array([_day(text, None, mapping.date_format) for text in texts], np.int32)[place]
    else:
        assert years is not None  # noqa: S101 - the mapping is checked
        of_year, row = np.unique(years, return_inverse=True)
        table = [[_day(text, int(year), mapping.date_format) for text in texts] for year in of_year]
        found = np.array(table, np.int32)[row, place]
    return found if years is None else _in_season_year(found, years, mapping)


def _day(text: str, year: int | None, form: str) -> int:
    try:
        if year is None:
            found = dt.datetime.strptime(text, form)  # noqa: DTZ007 - a day
        else:
            if not dt.MINYEAR <= year <= dt.MAXYEAR:
                return NO_DAY
            found = dt.datetime.strptime(f"{year:04d} {text}", f"%Y {form}")  # noqa: DTZ007 - a day
            if found.year != year:  # day 366 of a year that has none
                return NO_DAY
    except ValueError:
        return NO_DAY
    return (found.date() - _EPOCH).days


def _in_season_year(found: NDArray[np.int32], years: NDArray[np.int64], mapping: ImportMapping) -> NDArray[np.int32]:
    """Days with the year that each row belongs to moved onto ``season_year``; the day of the year stays.

    A day of the year before stays one of the year before: a season may begin in autumn. Day 366 becomes 365 where the
    year has no more.
    """
    if mapping.season_year is None:
        return found
    known = (found != NO_DAY) & (years > 0)
    calendar_years = np.where(known, found, 0).astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    first = (calendar_years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    of_year = np.where(known, found, 0) - first
    target = np.where(known, calendar_years - years + mapping.season_year, 1970)
    length = np.array([365 + calendar.isleap(int(y)) for y in range(int(target.min()), int(target.max()) + 1)])
    most = length[target - target.min()] - 1
    begin = (target - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    moved = begin + np.minimum(of_year, most)
    return np.where(known, moved, NO_DAY).astype(np.int32)
