"""Values for a set of parcels: by id, by column, or by SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.attributes import attribute_columns, parcels_version
from s4c_hpc.markers.files import MarkerFile, choose_files
from s4c_hpc.markers.part import ID_COLUMN, Ids
from s4c_hpc.markers.season import wide_season
from s4c_hpc.parcels import Selection, numbers_of, read_attributes, select
from s4c_hpc.parcels.modes import Previous
from s4c_hpc.parcels.table import DELETED


def query(
    workspace: Workspace,
    *,
    ids: Sequence[int] | None = None,
    ori_ids: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    attributes: Sequence[str] | None = None,
    set_name: str | None = None,
    tiles: Sequence[str] | None = None,
    periods: Sequence[str] | None = None,
    sql: str | None = None,
    parcels: Selection | None = None,
    tell: Callable[[str], None] | None = None,
) -> pa.Table:
    """Marker values of a whole season, wide; or the result of a query.

    Parameters
    ----------
    ids : NewIDs; all parcels when neither these nor ``ori_ids`` are given
    ori_ids : the user's own parcel ids
    columns : patterns of column names, ``s2_ndvi_mean__*``
    attributes : patterns of parcel attributes that follow ``NewID``; with ``sql`` use the table ``parcels``
    set_name : marker set; needed when there are several
    tiles, periods : names or patterns, ``2018-0[5-7]``
    parcels : further conditions: attributes, a rectangle, a polygon
    tell : takes a sentence on parcels that have no markers; without it a list that names such parcels is refused
    sql : a query over ``markers``, ``observations``, ``dictionary`` and ``parcels``, see ``markers.sql.run_sql``

    Returns
    -------
    (n_parcels,) rows by NewID, of sets of events a row an event; float columns have NaN where nothing is known. With
    ``sql``, what it says.

    Raises
    ------
    NoInputsError
        If no marker file, column or parcel matches.
    InputError
        If a parcel is in none of the files, or the SQL cannot be run.
    ConfigError
        If there are several marker sets and none is named, or arguments contradict each other.
    """
    if sql is not None and attributes:
        raise ConfigError("attributes and sql cannot be combined", where="query", hint="join the table parcels in SQL")
    files = choose_files(workspace, set_name, tiles, periods)
    wanted = chosen_ids(workspace, files, ids, ori_ids, parcels, tell, of_files=tiles is not None)
    if sql is not None:
        known = read_attributes(workspace, parcels_version(workspace, files))
        from s4c_hpc.markers.sql import run_sql  # noqa: PLC0415 - DuckDB is heavy, other commands do without

        return run_sql(files, sql, known, columns=columns, ids=wanted)
    table = wide_season(files, columns=columns, ids=wanted).merged.table()
    if not attributes:
        return table
    added = attribute_columns(workspace, parcels_version(workspace, files), attributes)
    rows = added.rows(table.column(0).to_numpy())
    for i, (field, values) in enumerate(zip(added.fields, rows, strict=True)):
        table = table.add_column(1 + i, field, values)
    return table


def chosen_ids(
    workspace: Workspace,
    files: Sequence[MarkerFile],
    ids: Sequence[int] | None,
    ori_ids: Sequence[str] | None,
    parcels: Selection | None = None,
    tell: Callable[[str], None] | None = None,
    *,
    of_files: bool = False,
) -> Ids | None:
    """NewIDs that were asked for in any way; ``None`` means all.

    Parcels of either list of ids count, and of these (or of all, without a list) those that meet the conditions. Those
    without markers are left out and told of.

    Parameters
    ----------
    of_files : whether parcels on tiles that no file is of do not meet the conditions, because tiles were chosen

    Raises
    ------
    NoInputsError
        If no parcel meets them, or none of those that do has markers.
    InputError
        If a parcel of a list has no markers, and nobody is told.
    """
    listed = None
    if ids is not None or ori_ids is not None:
        listed = as_new_ids(ids or ())
        if ori_ids is not None:
            named = numbers_of(workspace, parcels_version(workspace, files), ori_ids)
            listed = np.union1d(listed, named).astype(np.int32)
        listed = np.unique(listed)
    if parcels is None or parcels.is_everything:
        return listed if listed is None else _with_markers(workspace, files, listed, tell)
    version = parcels_version(workspace, files)
    found = select(workspace, version, replace(parcels, deleted=True))
    if of_files:
        places = read_attributes(workspace, version, [ID_COLUMN, "tile"])
        on_tiles = pc.is_in(places["tile"], value_set=pa.array(sorted({f.tile for f in files}), pa.string()))
        found = np.intersect1d(found, places[ID_COLUMN].filter(on_tiles).to_numpy())
    found = found if listed is None else np.intersect1d(found, listed)
    if not len(found):
        raise NoInputsError(
            "no parcel meets the conditions", where=f"parcels {version}", hint="'s4c parcels query' tries them out"
        )
    return _with_markers(workspace, files, found.astype(np.int32), tell, parcels)


def as_new_ids(ids: Sequence[int]) -> Ids:
    """Numbers (n,) as NewIDs.

    Raises
    ------
    InputError
        If a number is none.
    """
    known = np.iinfo(np.int32)
    if impossible := [str(i) for i in ids if not known.min <= i <= known.max]:
        raise InputError(f"not NewIDs, which are int32: {listing(impossible)}", hint="ask for your own ids instead")
    return np.asarray(ids, dtype=np.int32)


def _parcels_of(workspace: Workspace, file: MarkerFile) -> Ids:
    """(n,) parcels that a file speaks of; without an event a parcel has no row, and that is an answer."""
    ids: Ids = open_ipc(file.path).read_all().column(ID_COLUMN).to_numpy()
    if not file.is_of_events:
        return ids
    table = read_attributes(workspace, parcels_version(workspace, [file]), [ID_COLUMN, "tile"])
    of_tile: Ids = table[ID_COLUMN].filter(pc.equal(table["tile"], file.tile)).to_numpy()
    return np.union1d(ids, of_tile)


def _with_markers(
    workspace: Workspace,
    files: Sequence[MarkerFile],
    wanted: Ids,
    tell: Callable[[str], None] | None,
    conditions: Selection | None = None,
) -> Ids:
    """Those of the parcels (n,) that have markers, and those that no version knows, which are refused later."""
    has = np.zeros(len(wanted), dtype=bool)
    for file in files:
        has |= np.isin(wanted, _parcels_of(workspace, file))
    if conditions is None and has.all():
        return wanted
    version = parcels_version(workspace, files)
    table = read_attributes(workspace, version, [ID_COLUMN, "ori_id", "tile", "reason"])
    table = table.filter(pc.is_in(table[ID_COLUMN], value_set=pa.array(wanted))).sort_by(ID_COLUMN)
    if conditions is not None and not conditions.deleted:
        # Files of a run before the update still have them.
        has &= ~np.isin(wanted, table[ID_COLUMN].filter(pc.equal(table["reason"], DELETED)).to_numpy())
    lost = table.filter(pc.invert(pc.is_in(table[ID_COLUMN], value_set=pa.array(wanted[has]))))
    if not lost.num_rows:
        return wanted
    own = "pseudonyms" not in Previous(version, workspace.parcels / version).report
    who = [
        f"{row['ori_id'] if own else f'NewID {row[ID_COLUMN]}'} "
        f"({row['reason'] or 'not in the chosen marker files of tile ' + row['tile']})"
        for row in lost.to_pylist()
    ]
    parcels = "1 parcel has" if len(wanted) == 1 else f"{len(wanted)} parcels {'has' if len(who) == 1 else 'have'}"
    sentence = f"{len(who)} of {parcels} no markers: {listing(who)}"
    if len(who) == len(wanted):
        raise NoInputsError(sentence, where=f"parcels {version}")
    if tell is not None:
        tell(sentence)
    elif conditions is None:
        raise InputError(sentence, where=f"parcels {version}", hint="check the ids, or choose other tiles and periods")
    return np.setdiff1d(wanted, lost[ID_COLUMN].to_numpy())
