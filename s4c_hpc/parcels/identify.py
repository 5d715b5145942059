"""Who is who, on demand: a table from pseudonyms back to ids, made from the declaration and the key."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from s4c_hpc.config.model import Parcels
from s4c_hpc.config.secrets import without_password
from s4c_hpc.core.atomic import publish_new
from s4c_hpc.core.errors import ConfigError, InputError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.columns import as_text
from s4c_hpc.parcels.ids import joined, original_ids
from s4c_hpc.parcels.modes import previous_version
from s4c_hpc.parcels.pseudonyms import Key, outside, read_key
from s4c_hpc.parcels.store import read_attributes


def identify(workspace: Workspace, settings: Parcels, out: Path) -> int:
    """Write a table of ids, pseudonyms and ``NewID`` of the parcels of a declaration.

    The table is a CSV file that only its owner can read; it cannot lie in the workspace.

    Parameters
    ----------
    settings : with the declaration, its columns and the key
    out : file that is made

    Returns
    -------
    number of parcels

    Raises
    ------
    ConfigError
        There is no key, it is not the key of these parcels, or ``out`` lies in the workspace.
    InputError
        The declaration cannot be used, or ``out`` exists already.
    """
    if not outside(out, workspace):
        raise ConfigError(
            "the table would lie in the workspace", where=str(out), hint="name a file elsewhere: it tells who is who"
        )
    if os.path.lexists(out):
        raise InputError("exists already", where=str(out), hint="remove it or name another file")
    if settings.pseudonyms is None or settings.file is None:
        what = "no key is named" if settings.pseudonyms is None else "no declaration is named"
        raise ConfigError(what, where=str(workspace.config), hint="give --key-file and a FILE, or set [parcels]")
    key = read_key(settings.pseudonyms, workspace)
    previous = previous_version(workspace)
    theirs = previous.report.get("pseudonyms", {}).get("key") if previous else None
    if previous is not None and theirs != key.fingerprint:
        raise ConfigError(
            f"the key is not the one of these parcels (fingerprint {key.fingerprint}, theirs is {theirs})",
            where=f"parcels {previous.name}",
        )
    table = _table(settings, key)
    numbers = pa.nulls(table.num_rows, pa.int32())
    if previous is not None:
        known = read_attributes(workspace, previous.name, ["ori_id", "NewID"])
        numbers = known["NewID"].take(pc.index_in(table["ori_id"], known["ori_id"].combine_chunks()))
    _write_private(table.add_column(0, "NewID", numbers), out)
    return len(numbers)


def _table(settings: Parcels, key: Key) -> pa.Table:
    from s4c_hpc.parcels.read import read_layer  # noqa: PLC0415 - loads GDAL and pandas, which workers do without

    where, named = without_password(str(settings.file)), [*settings.id_columns, *settings.holding_columns]
    read = read_layer(Path(settings.file or ""), settings.layer, named).attributes
    columns = {"ori_id": key.parcels(original_ids(read, settings.id_columns, where, quote_values=False))}
    if settings.holding_columns:
        columns["ori_hold"] = key.holdings(joined(read, settings.holding_columns, where))
    return pa.table(columns | {f"clear_{name}": as_text(read.column(name)) for name in dict.fromkeys(named)})


def _write_private(table: pa.Table, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    # Made for its owner alone from the first byte on.
    descriptor, name = tempfile.mkstemp(prefix=".identify-", dir=out.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            pyarrow.csv.write_csv(table, stream)
        if not publish_new(temporary, out):
            raise InputError("exists already", where=str(out), hint="remove it or name another file")
    finally:
        temporary.unlink(missing_ok=True)
