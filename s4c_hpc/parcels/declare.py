"""From a declaration file to the rows of a version: ids, numbers, pseudonyms, polygons in the version's system."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.config.model import Parcels
from s4c_hpc.config.secrets import without_password
from s4c_hpc.core.errors import ConfigError, InputError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.checks import repair_outlines
from s4c_hpc.parcels.columns import as_text, plain, without_clashes
from s4c_hpc.parcels.croptable import COLUMNS as CROP_COLUMNS
from s4c_hpc.parcels.croptable import HCAT_COLUMNS
from s4c_hpc.parcels.geoparquet import BBOX, GEOMETRY
from s4c_hpc.parcels.ids import Register, joined, original_ids
from s4c_hpc.parcels.modes import Previous, reference_system
from s4c_hpc.parcels.projection import reproject
from s4c_hpc.parcels.pseudonyms import Key, read_key
from s4c_hpc.parcels.revealing import revealing
from s4c_hpc.parcels.store import PARCELS, versions
from s4c_hpc.parcels.table import COLUMNS, HOLDING, STRATUM, Declared

if TYPE_CHECKING:
    from s4c_hpc.parcels.read import Layer


@dataclass(frozen=True)
class Source:
    """A declaration file that was read."""

    layer: Layer
    """As delivered; without what names somebody, if pseudonyms are asked for."""
    declared: Declared
    pseudonyms: dict[str, Any]
    """For ``report.json``: fingerprint of the key and columns that were left out; empty without pseudonyms."""


def declare(settings: Parcels, workspace: Workspace, previous: Previous | None, spool: Path) -> Source:
    """Read the declaration that the settings name.

    Parameters
    ----------
    spool : folder for outlines while they are in use

    Raises
    ------
    ConfigError
        No file is named, or the key of pseudonyms cannot be used or is not that of the version before.
    InputError, MissingDataError, NoInputsError
        The file cannot be used.
    """
    file = settings.file
    if file is None:
        raise ConfigError("no parcel file is named", where="parcels.file", hint="set it or name a file")
    where = without_password(str(file))
    key = None if settings.pseudonyms is None else read_key(settings.pseudonyms, workspace)
    _require_key(previous, key)
    layer = _read(settings, spool, quote_values=key is None)
    ids = original_ids(layer.attributes, settings.id_columns, where, quote_values=key is None)
    hold = joined(layer.attributes, settings.holding_columns, where) if settings.holding_columns else None
    crop = (
        as_text(layer.attributes.column(settings.crop_column)).fill_null("")
        if settings.crop_column
        else pa.array([""] * len(ids), pa.string())
    )
    notes = layer.notes
    pseudonyms: dict[str, Any] = {}
    if key is not None and settings.pseudonyms is not None:
        own = [*settings.id_columns, *settings.holding_columns]
        clear = [ids, *([] if hold is None else [hold]), *(as_text(layer.attributes.column(n)) for n in own)]
        left_out = revealing(layer.attributes, own, clear, settings.pseudonyms.drop_columns)
        if settings.crop_column in left_out:
            raise ConfigError(
                f"the crop column {settings.crop_column!r} would be kept, and it gives ids away",
                where=where,
                hint="name another one with parcels.crop_column, or a file in which it holds crop codes only",
            )
        ids, hold = key.parcels(ids), None if hold is None else key.holdings(hold)
        pseudonyms = {"key": key.fingerprint, "columns_left_out": left_out}
        notes = (f"under pseudonyms these columns are left out: {listing(left_out, 40)}",)
        layer = replace(layer, attributes=layer.attributes.drop_columns(left_out), notes=notes)
    attributes, renamed = without_clashes(plain(layer.attributes), reserved(settings))
    crs, crs_text = reference_system(settings.mode, previous, layer.crs)
    outlines, moved = layer.outlines, []
    if crs != layer.crs:
        outlines = outlines.mapped(lambda geometry: reproject(geometry, layer.crs, crs.to_wkt()), spool)
        moved = [f"outlines were moved from {layer.crs.name} to {crs.name}"]
    n = len(ids)
    declared = Declared(
        new_id=_register(workspace).number(ids),
        ori_id=ids,
        ori_hold=hold,
        ori_crop=crop,
        attributes=attributes,
        repaired=repair_outlines(outlines, layer.unreadable),
        is_deleted=np.zeros(n, dtype=bool),
        crs=crs,
        crs_text=crs_text,
        notes=(
            *(f"column {old!r} of the file is kept as {new!r}: its name is taken" for new, old in renamed.items()),
            *moved,
        ),
    )
    return Source(layer, declared, pseudonyms)


def _read(settings: Parcels, spool: Path, *, quote_values: bool) -> Layer:
    from s4c_hpc.parcels.read import read_layer  # noqa: PLC0415 - loads GDAL and pandas, which workers do without

    crop = [settings.crop_column] if settings.crop_column else []
    columns = [*settings.id_columns, *settings.holding_columns, *crop]
    file = settings.file
    if file is None:
        raise ConfigError("no parcel file is named", where="parcels.file", hint="set it or name a file")
    try:
        return read_layer(file, settings.layer, columns, spool)
    except InputError as error:
        if quote_values or error.__cause__ is None:
            raise
        # What GDAL and Arrow say of a value that they cannot read has the value in it.
        raise type(error)(
            "cannot be read; why is not shown, because it may quote an id",
            where=error.where,
            hint="try 'ogrinfo' on it",
        ) from None


def _require_key(previous: Previous | None, key: Key | None) -> None:
    """Refuse another key than that of the version before: every parcel would be another one."""
    if previous is None:
        return
    before = previous.report.get("pseudonyms", {}).get("key")
    now = None if key is None else key.fingerprint
    if before == now:
        return
    where = f"parcels {previous.name}"
    if before is None:
        raise ConfigError(
            "these parcels have clear ids, and pseudonyms are asked for now",
            where=where,
            hint="begin a new workspace: clear ids would stay in this one",
        )
    if now is None:
        raise ConfigError(
            "these parcels have pseudonyms, and no key is configured",
            where=where,
            hint="set parcels.pseudonyms; without it clear ids would get into this workspace",
        )
    raise ConfigError(
        f"the key is not the one of these parcels (fingerprint {now}, theirs is {before})",
        where=where,
        hint="use the key of old, or begin a new workspace: no parcel would be known again",
    )


def reserved(settings: Parcels) -> list[str]:
    """Names that a user's column cannot keep."""
    names = [*COLUMNS.names, BBOX, GEOMETRY, HOLDING.name]
    names += [STRATUM.name] if settings.strata else []
    names += [*CROP_COLUMNS] if settings.crop_table else []
    return names + ([*HCAT_COLUMNS] if settings.hcat_table else [])


def _register(workspace: Workspace) -> Register:
    """Numbers of every id that any version has held."""
    register = Register()
    for version in versions(workspace):
        with pq.ParquetFile(workspace.parcels / version / PARCELS) as file:
            table = file.read(["ori_id", "NewID"])
        register.add(table["ori_id"].combine_chunks(), table["NewID"].to_numpy())
    return register
