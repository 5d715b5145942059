"""The table of declared practices: a row a parcel, as the reference's tables of practices have it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.practices.codes import NO_DAY, PRACTICE_NAMES, Practice
from s4c_hpc.practices.days import Days, day_number
from s4c_hpc.practices.declared import Declared

_DAYS: Final = ("VEG_START", "H_START", "H_END", "P_START", "P_END")
MAIN_CROP: Final = "MAIN_CROP"
P_TYPE: Final = "P_TYPE"
_COLUMNS: Final = ("FIELD_ID", "PRACTICE", P_TYPE, *_DAYS)
_NONE: Final = ("", "NA", "NULL", "0")

UNKNOWN: Final = np.int8(-1)
"""Practice of a parcel that the table does not have, or has with one that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PracticeTable:
    """What is declared of parcels."""

    practice: NDArray[np.int8]
    """(n,) codes, ``UNKNOWN`` where there is none."""
    p_type: NDArray[np.str_]
    days: dict[str, Days]
    notes: tuple[str, ...]

    def declared(self, rows: NDArray[np.int64], practice: Practice, country: str, year: int) -> Declared:
        """Those of some rows, which have one practice."""
        days = {name: self.days[name][rows] for name in _DAYS}
        return Declared(
            practice=practice,
            country=country,
            year=year,
            veg_start=days["VEG_START"],
            h_start=days["H_START"],
            h_end=days["H_END"],
            p_type=self.p_type[rows],
            p_start=days["P_START"],
            p_end=days["P_END"],
        )


def digest(path: Path) -> str:
    """16 hex digits of the table's content.

    Raises
    ------
    MissingDataError
        If there is no such file.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise MissingDataError(
            f"the table of practices cannot be read ({error.strerror})", where=str(path), hint="check practices.table"
        ) from error


def read_practices(path: Path, delimiter: str, own_ids: Sequence[str]) -> PracticeTable:
    """What is declared of parcels, in their order.

    Parameters
    ----------
    own_ids : (n,) ids of the declaration

    Raises
    ------
    InputError
        If it is no table of practices; a row that cannot be understood is told in the notes.
    """
    table = _read(path, delimiter)
    ids = table["FIELD_ID"]
    if not len(ids):
        raise InputError("the table of practices has no rows", where=str(path), hint="check practices.table")
    at = _rows(own_ids, ids)
    there = at >= 0
    notes = []
    if twice := len(ids) - len(ids.unique()):
        notes.append(f"{twice} rows of the table of practices are of a parcel that it has already: the first counts")
    if without := int((~there).sum()):
        notes.append(f"{without} of {at.size} parcels are not in the table of practices")
    names = list(PRACTICE_NAMES)
    # Codes count from 0 in this order, and what is not among them is UNKNOWN.
    named = pc.index_in(table["PRACTICE"], pa.array(names)).fill_null(int(UNKNOWN)).to_numpy().astype(np.int8)
    n = int((named == UNKNOWN).sum())
    if n == named.size:
        raise InputError(
            "no row of the table of practices has a practice that is known",
            where=str(path),
            hint=f"PRACTICE is one of {listing(names)}; there is {listing(table['PRACTICE'].unique().to_pylist(), 5)}",
        )
    if n:
        notes.append(f"{n} rows of the table of practices have a practice other than {listing(names)}")
    days: dict[str, Days] = {}
    for name in _DAYS:
        found, wrong = _days(table[name])
        days[name] = np.append(found, NO_DAY)[at]
        if wrong:
            notes.append(f"{wrong} values of {name} in the table of practices are no days such as 2021-07-05")
    for begin, end in (("H_START", "H_END"), ("P_START", "P_END")):
        if n := int(((days[end] >= 0) & (days[end] < days[begin])).sum()):
            notes.append(f"{n} parcels have {end} before {begin} in the table of practices: that period is not judged")
    types = _at(table[P_TYPE], at)
    return PracticeTable(practice=np.append(named, UNKNOWN)[at], p_type=types, days=days, notes=tuple(notes))


def check_table(path: Path, delimiter: str, own_ids: Sequence[str], first: dt.date, last: dt.date) -> None:
    """Refuse a table that says nothing of the parcels of a site.

    Parameters
    ----------
    own_ids : of all parcels
    first, last : the season

    Raises
    ------
    MissingDataError, InputError
        If it cannot be read, or no harvest is expected in the season.
    NoInputsError
        If it has none of the parcels.
    """
    table = read_practices(path, delimiter, own_ids)
    there = table.practice != UNKNOWN
    if not there.any():
        raise NoInputsError(
            "the table of practices has none of the parcels",
            where=str(path),
            hint="FIELD_ID has to be the id in the declaration, or its pseudonym where [parcels.pseudonyms] is set; "
            f"there are {listing(list(own_ids), 3)}",
        )
    begin, end = table.days["H_START"][there], table.days["H_END"][there]
    touches = (begin >= 0) & (begin <= day_number(last)) & (end >= day_number(first))
    if not touches.any():
        raise InputError(
            f"no harvest of the table of practices is expected between {first} and {last}",
            where=str(path),
            hint="check H_START and H_END, which are days such as 2021-07-05, and [site]",
        )


def texts_of(path: Path, delimiter: str, own_ids: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """What parcels have in columns that no rule needs, in their order; the main crop only if the table has it."""
    table = _read(path, delimiter)
    at = _rows(own_ids, table["FIELD_ID"])
    names = [name for name in (MAIN_CROP, P_TYPE) if name in table.column_names]
    return {name: _at(table[name], at) for name in names}


def _at(column: pa.ChunkedArray, at: NDArray[np.int64]) -> NDArray[np.str_]:
    """Texts of rows; empty for -1."""
    taken = column.take(pa.array(np.where(at < 0, 0, at))).to_pylist() if len(column) else [""] * at.size
    return np.where(at < 0, "", np.array(taken, np.str_))


def _rows(own_ids: Sequence[str], ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """(n,) the first row of each parcel, -1 for one that the table does not have."""
    at: NDArray[np.int64] = pc.index_in(pa.array(own_ids, pa.string()), ids.combine_chunks()).fill_null(-1).to_numpy()
    return at


def _read(path: Path, delimiter: str) -> pa.Table:
    """All columns as texts, without blanks around them."""
    digest(path)
    try:
        header = pa.csv.open_csv(path, parse_options=pa.csv.ParseOptions(delimiter=delimiter)).schema.names
        if missing := [name for name in _COLUMNS if name not in header]:
            raise InputError(
                f"is no table of practices: it lacks {listing(missing)}",
                where=str(path),
                hint="check practices.delimiter",
            )
        names = [*_COLUMNS, *(name for name in (MAIN_CROP,) if name in header)]
        table = pa.csv.read_csv(
            path,
            parse_options=pa.csv.ParseOptions(delimiter=delimiter),
            convert_options=pa.csv.ConvertOptions(
                include_columns=names, column_types=dict.fromkeys(names, pa.string())
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"is no table of practices ({error})", where=str(path)) from error
    return pa.table({name: pc.utf8_trim_whitespace(table[name]) for name in names})


def _days(column: pa.ChunkedArray) -> tuple[Days, int]:
    """Days since 1970-01-01, ``NO_DAY`` where there is none; how many cannot be read."""
    is_given = pc.invert(pc.is_in(column, pa.array(_NONE)))
    parsed = pc.strptime(pc.if_else(is_given, column, None), format="%Y-%m-%d", unit="s", error_is_null=True)
    days = parsed.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    wrong = int(pc.sum(is_given).as_py() or 0) - (len(days) - days.null_count)
    return days.fill_null(int(NO_DAY)).to_numpy().astype(np.int64), wrong
