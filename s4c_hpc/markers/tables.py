"""Marker sets whose columns are facts of the whole season and no values of dates, one file a tile.

A row is a parcel (crop types, practices), or an event or a decision, of which a parcel may have several or none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import InputError, NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.markers.files import MarkerFile, choose_columns
from s4c_hpc.markers.merge import BATCH_ROWS, Merged
from s4c_hpc.markers.part import ID_COLUMN, Ids


def joined(files: Sequence[MarkerFile], columns: Sequence[str] | None = None, ids: Ids | None = None) -> Merged:
    """Files of tiles below each other, rows by NewID and then as they stand in the file, columns in their order.

    Parameters
    ----------
    files : of one set, all ``is_table``
    columns : patterns of names; all when not given
    ids : (n,) NewIDs, all of which are there (of events: those without any have no row); all when not given

    Raises
    ------
    NoInputsError
        If no column or no parcel is left.
    InputError
        If files are of several seasons, whose columns have the same names.
    """
    periods = sorted({f.period for f in files})
    if len(periods) > 1:
        raise InputError(
            f"there are files of {len(periods)} seasons: {listing(periods)}",
            where=f"marker set {files[0].set}",
            hint="choose one with --period",
        )
    first = open_ipc(files[0].path).schema
    names = choose_columns([n for n in first.names if n != ID_COLUMN], columns)
    tables = [open_ipc(f.path).read_all().select([ID_COLUMN, *names]) for f in files]
    # What is said of a tile is not true of all of them.
    schema = tables[0].schema.with_metadata(_common([t.schema for t in tables]))
    table = pa.concat_tables([t.replace_schema_metadata(schema.metadata) for t in tables])
    if ids is not None:
        table = table.filter(pc.is_in(table[ID_COLUMN], value_set=pa.array(np.unique(ids), pa.int32())))
    if not table.num_rows and not files[0].is_of_events:
        raise NoInputsError("there is no parcel in the chosen marker files", hint="choose other tiles")
    table = table.sort_by(ID_COLUMN).cast(schema).combine_chunks()
    return Merged(schema=schema, n_rows=table.num_rows, batches=iter(table.to_batches(BATCH_ROWS)))


def _common(schemas: Sequence[pa.Schema]) -> dict[bytes, bytes]:
    """Metadata that all schemas share."""
    first = schemas[0].metadata or {}
    return {k: v for k, v in first.items() if all((s.metadata or {}).get(k) == v for s in schemas)}
