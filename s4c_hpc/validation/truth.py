"""What people know of parcels, from a table of theirs: days of events, or crops."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import latest_version, read_attributes
from s4c_hpc.series.contract import ID

Value = TypeVar("Value")


def read_days(path: Path) -> dict[str, list[dt.date]]:
    """Known days by parcel; none of a parcel that was seen to have no event.

    Parameters
    ----------
    path : CSV with the columns ``parcel`` and ``date`` (2021-06-30); a row with no date says: there was none

    Raises
    ------
    MissingDataError, InputError, NoInputsError
        If there is no such file, a column is missing, a row cannot be read, or there is no row.
    """
    return _read(path, "date", dt.date.fromisoformat, "dates are like 2021-06-30")


def read_crops(path: Path) -> dict[str, str]:
    """The known crop of each parcel.

    Parameters
    ----------
    path : CSV with the columns ``parcel`` and ``crop``; a row with no crop tells nothing

    Raises
    ------
    MissingDataError, InputError, NoInputsError
        As of ``read_days``; InputError as well if a parcel has two crops.
    """
    known = _read(path, "crop", str, "write one crop a row")
    for parcel, crops in known.items():
        if len(set(crops)) > 1:
            raise InputError(
                f"parcel {parcel} has {len(set(crops))} crops", where=str(path), hint="leave one row for each parcel"
            )
    return {parcel: crops[0] for parcel, crops in known.items() if crops}


def numbers(workspace: Workspace, by: str) -> dict[str, int]:
    """NewID of each parcel of the newest version by what a truth calls it.

    Parameters
    ----------
    by : column of the parcels: ``ori_id`` or ``NewID``
    """
    version = latest_version(workspace)
    if version is None:
        raise MissingDataError("there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import'")
    table = read_attributes(workspace, version, list(dict.fromkeys([ID, by])))
    return dict(zip(map(str, table[by].to_pylist()), table[ID].to_pylist(), strict=True))


def _read(path: Path, column: str, parse: Callable[[str], Value], hint: str) -> dict[str, list[Value]]:
    """Values by parcel, in the order of the rows; none where the column is empty."""
    found: dict[str, list[Value]] = {}
    needed = f"parcel,{column}"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if missing := {"parcel", column} - set(rows.fieldnames or ()):
                raise InputError(f"there is no column {min(missing)!r}", where=str(path), hint=f"it needs: {needed}")
            for row in rows:
                own = found.setdefault((row["parcel"] or "").strip(), [])
                if text := (row[column] or "").strip():
                    own.append(parse(text))
    except FileNotFoundError as error:
        raise MissingDataError("no such file", where=str(path), hint="check the name") from error
    except (ValueError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read ({error})", where=f"{path}, line {rows.line_num}", hint=hint) from error
    if not found:
        raise NoInputsError("there is no row", where=str(path), hint=f"it needs rows: {needed}")
    return found
