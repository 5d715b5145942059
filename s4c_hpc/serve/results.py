"""What was found out about parcels, from the files of results: mowings, crop types, practices and their evidence.

The files are those of ``markers/<set>/<period>/<site>_<tile>.arrow``; rows come as they stand there, with the period.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.classify.outputs import SET as CLASSES
from s4c_hpc.core.errors import InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.mowing.contract import EVENTS, PARCELS
from s4c_hpc.parcels.store import Stamp, stamp
from s4c_hpc.practices.improved.evidence import EVIDENCE_SET
from s4c_hpc.serve.problems import Problem
from s4c_hpc.serve.sites import Season

ID: Final = "NewID"
PRACTICES: Final = "l4c"
ALL_PERIODS: Final = "*"

KINDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "events": (EVENTS, "Mowings, a row an event", "mowing.enabled"),
    "mowing": (PARCELS, "What is said of the mowing of each parcel", "mowing.enabled"),
    "classes": (CLASSES, "Crop types with confidence and traffic light", "classify.enabled"),
    "practices": (PRACTICES, "Markers, harvest, practice and what was missing", "practices.enabled"),
    "evidence": (EVIDENCE_SET, "What decisions on practices stand on, a row a decision", "practices.enabled"),
}
"""Kind -> marker set, what it holds, and the setting that makes it."""

_OPEN: Final = 64
"""Files that stay mapped."""
_SAFE: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
"""Names of folders that are looked into; no name that a caller gives becomes part of a path otherwise."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of rows."""

    table: pa.Table
    after: int | None
    """The last parcel of the page if there are more; else ``None``."""


def periods_of(season: Season, set_name: str) -> list[str]:
    """Periods of a set that has files of this site, ascending."""
    return list(_by_period(season, set_name))


def read_rows(
    season: Season,
    kind: str,
    *,
    period: str | None = None,
    ids: Sequence[int] | None = None,
    after: int | None = None,
    limit: int = 100,
) -> Rows:
    """Rows by parcel, in the order of the files within each.

    Parameters
    ----------
    period : of the files; the last one by default, all with ``*``
    ids : of these parcels only; parcels without a row have none
    after, limit : without ``ids`` the next so many parcels

    Raises
    ------
    NoInputsError
        There is nothing of this kind, or of this period.
    Problem
        503, if a file is damaged.
    """
    set_name, _, setting = KINDS[kind]
    files = _by_period(season, set_name)
    there = list(files)
    if not there:
        raise NoInputsError(
            f"there is no {kind} of this season", where=f"season {season.id}", hint=f"set {setting} = true and run it"
        )
    chosen = there if period == ALL_PERIODS else [period or there[-1]]
    if chosen[0] not in there:
        raise NoInputsError(
            f"there is no {kind} of period {chosen[0]}", where="period", hint=f"there is {listing(there)}"
        )
    tables = [(one, _read(path)) for one in chosen for path in files[one]]
    following = None
    if ids is None:
        every = np.unique(np.concatenate([table[ID].to_numpy() for _, table in tables]))
        page = every[every > after] if after is not None else every
        following = int(page[limit - 1]) if page.size > limit else None
        wanted: NDArray[np.int32] = page[:limit]
    else:
        wanted = np.unique(np.asarray(ids, dtype=np.int64)).astype(np.int32)
    parts = [_with_period(period_, table, wanted) for period_, table in tables]
    # Files of another configuration may have further columns.
    joined = pa.concat_tables(parts, promote_options="default").combine_chunks()
    order = np.argsort(joined[ID].to_numpy(), kind="stable")
    return Rows(joined.take(pa.array(order)), following)


def latest_columns(season: Season, kind: str, columns: Sequence[str]) -> pa.Table | None:
    """Some columns of all rows of the last period, beside ``NewID``; ``None`` if there is nothing of the kind.

    Raises
    ------
    Problem
        503, if a file is damaged.
    """
    paths = _latest(season, kind)
    if not paths:
        return None
    tables = [_read(path) for path in paths]
    names = [ID, *(one for one in columns if all(one in table.column_names for table in tables))]
    return pa.concat_tables([table.select(names).replace_schema_metadata(None) for table in tables])


def state_of(season: Season) -> tuple[tuple[Path, Stamp], ...]:
    """What tells whether the last results are those of a moment ago."""
    found = []
    for kind in KINDS:
        for path in _latest(season, kind):
            try:
                found.append((path, stamp(path)))
            except FileNotFoundError:
                continue
    return tuple(found)


def _latest(season: Season, kind: str) -> list[Path]:
    newest_first = reversed(_folders(season, KINDS[kind][0]))
    return next((found for folder in newest_first if (found := _inside(season, folder))), [])


def leads_out(season: Season, path: Path) -> bool:
    """Whether a file is a link, or lies behind one, that leads out of the folder of markers."""
    return not path.resolve().is_relative_to(season.workspace.markers.resolve())


def _read(path: Path) -> pa.Table:
    try:
        return _mapped(path, stamp(path))
    except FileNotFoundError as error:
        raise MissingDataError("a file is gone", where=path.name, hint="ask again") from error
    except InputError as error:
        raise Problem(503, "a file is damaged", where=path.name, hint="tell the operator") from error


@lru_cache(maxsize=_OPEN)
def _mapped(path: Path, _stamp: Stamp) -> pa.Table:
    return open_ipc(path).read_all()


def _with_period(period: str, table: pa.Table, wanted: NDArray[np.int32]) -> pa.Table:
    column = table[ID].to_numpy()
    at = np.flatnonzero(column == wanted[0] if wanted.size == 1 else np.isin(column, wanted))
    # The rows of one parcel stand together, and a slice copies nothing.
    together = at.size > 0 and at[-1] - at[0] == at.size - 1
    rows = table.slice(at[0], at.size) if together else table.take(pa.array(at))
    rows = rows.replace_schema_metadata(None)
    fields = [f.with_nullable(True) for f in rows.schema]  # noqa: FBT003 - pyarrow's signature
    said = pa.field("period", pa.string(), metadata={"long_name": "Period of the file"})
    return pa.table(
        [rows.column(0), pa.array([period] * rows.num_rows, pa.string()), *rows.columns[1:]],
        schema=pa.schema([fields[0], said, *fields[1:]]),
    )


def _by_period(season: Season, set_name: str) -> dict[str, list[Path]]:
    """Files of a set of this site by period, ascending, and tile."""
    return {one.name: found for one in _folders(season, set_name) if (found := _inside(season, one))}


def _folders(season: Season, set_name: str) -> list[Path]:
    """Folders of the periods of a set, ascending; links that lead out of the folder of markers are none."""
    found = sorted((season.workspace.markers / set_name).glob("*/"))
    return [one for one in found if _SAFE.match(one.name) and not leads_out(season, one)]


def _inside(season: Season, folder: Path) -> list[Path]:
    """Files of this site in such a folder, by tile; again without links that lead out."""
    # Every tile of a map asks for this, so the whole way is looked at of links only.
    return [
        path
        for path in sorted(folder.glob("*.arrow"))
        if path.stem.rpartition("_")[0] == season.site and not (path.is_symlink() and leads_out(season, path))
    ]
