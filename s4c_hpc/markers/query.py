"""Values for a set of parcels: by id, by column, or by SQL."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.attributes import attribute_columns, parcels_version
from s4c_hpc.markers.files import MarkerFile, choose_files
from s4c_hpc.markers.part import ID_COLUMN, Ids
from s4c_hpc.markers.season import wide_season
from s4c_hpc.parcels import Selection, numbers_of, read_attributes, select


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
    sql : a query over ``markers``, ``observations``, ``dictionary`` and ``parcels``, see ``markers.sql.run_sql``

    Returns
    -------
    (n_parcels,) rows by NewID; float columns have NaN where nothing is known. With ``sql``, what it says.

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
    wanted = chosen_ids(workspace, files, ids, ori_ids, parcels)
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
) -> Ids | None:
    """NewIDs that were asked for in any way; ``None`` means all.

    Parcels of either list of ids count, and of these (or of all, without a list) those that meet the conditions.

    Raises
    ------
    NoInputsError
        If no parcel meets them.
    """
    listed = None
    if ids is not None or ori_ids is not None:
        known = np.iinfo(np.int32)
        if impossible := [str(i) for i in ids or () if not known.min <= i <= known.max]:
            raise InputError(f"not NewIDs, which are int32: {listing(impossible)}", hint="ask for your own ids instead")
        listed = np.asarray(ids if ids is not None else [], dtype=np.int32)
        if ori_ids is not None:
            named = numbers_of(workspace, parcels_version(workspace, files), ori_ids)
            listed = np.union1d(listed, named).astype(np.int32)
        listed = np.unique(listed)
    if parcels is None or parcels.is_everything:
        return listed
    version = parcels_version(workspace, files)
    found = select(workspace, version, parcels)
    # Parcels on other tiles meet the conditions as well, and have no markers here.
    places = read_attributes(workspace, version, [ID_COLUMN, "tile"])
    on_tiles = pc.is_in(places["tile"], value_set=pa.array(sorted({f.tile for f in files}), pa.string()))
    found = np.intersect1d(found, places[ID_COLUMN].filter(on_tiles).to_numpy())
    found = found if listed is None else np.intersect1d(found, listed)
    if not len(found):
        raise NoInputsError(
            "no parcel meets the conditions", where=f"parcels {version}", hint="'s4c parcels query' tries them out"
        )
    return found.astype(np.int32)
