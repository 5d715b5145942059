"""Who is who, on demand: a table from pseudonyms back to ids, made from the declaration and the key."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from s4c_hpc.config.model import Parcels
from s4c_hpc.config.secrets import without_password
from s4c_hpc.core.atomic import publish_new
from s4c_hpc.core.errors import ConfigError, InputError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.columns import as_text
from s4c_hpc.parcels.ids import joined, original_ids
from s4c_hpc.parcels.modes import Previous, previous_version
from s4c_hpc.parcels.pseudonyms import Key, outside, read_key
from s4c_hpc.parcels.store import read_attributes, versions
from s4c_hpc.parcels.table import DELETED


@dataclass(frozen=True, slots=True)
class Identified:
    """What a table of pseudonyms and ids holds."""

    n_parcels: int
    missing: str
    """A sentence on parcels of the latest version that are not in it; empty if all are."""


def identify(workspace: Workspace, settings: Parcels, out: Path, *, files: Sequence[Path] | None = None) -> Identified:
    """Write a table of ids, pseudonyms and ``NewID`` of the parcels of a declaration.

    The table is a CSV file that only its owner can read; it cannot lie in the workspace.

    Parameters
    ----------
    settings : with the declaration, its columns and the key
    out : file that is made
    files : declarations instead of that of the settings; of a parcel in several of them the last one counts

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
    sources = list(files or ([] if settings.file is None else [settings.file]))
    if settings.pseudonyms is None or not sources:
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
    table = _last_of_each(pa.concat_tables([_table(settings.model_copy(update={"file": f}), key) for f in sources]))
    numbers, missing = pa.nulls(table.num_rows, pa.int32()), ""
    if previous is not None:
        known = read_attributes(workspace, previous.name, ["ori_id", "NewID", "reason"])
        numbers = known["NewID"].take(pc.index_in(table["ori_id"], known["ori_id"].combine_chunks()))
        missing = _missing(workspace, previous, known, table["ori_id"], [without_password(str(f)) for f in sources])
    _write_private(table.add_column(0, "NewID", numbers), out)
    return Identified(table.num_rows, missing)


def _last_of_each(table: pa.Table) -> pa.Table:
    """The last row of each parcel, in the order of the rows."""
    row = pa.array(range(table.num_rows), pa.int64())
    last = table.select(["ori_id"]).append_column("row", row).group_by("ori_id").aggregate([("row", "max")])
    return table.take(last.sort_by("row_max")["row_max"])


def _missing(workspace: Workspace, latest: Previous, known: pa.Table, told: pa.ChunkedArray, files: list[str]) -> str:
    """What to say of parcels of the latest version that no file has, and the files of versions that may have them."""
    known = known.filter(pc.not_equal(known["reason"], DELETED))
    n = pc.sum(pc.invert(pc.is_in(known["ori_id"], value_set=told.combine_chunks()))).as_py() or 0
    if not n:
        return ""
    names = [Path(f).name for f in files]
    reports = [Previous(v, workspace.parcels / v).report for v in versions(workspace)]
    others = sorted({r["source"]["file"] for r in reports} - set(names))
    more = f"; add {' '.join(f'--file {name}' for name in others)}" if others else ""
    return f"{n} of {known.num_rows} parcels of {latest.name} {'is' if n == 1 else 'are'} not in {listing(names)}{more}"


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
