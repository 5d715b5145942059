"""What is declared of the parcels of a version, and what it is known by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.classify.selection import Declared, Texts
from s4c_hpc.config.classify import Classify
from s4c_hpc.core.errors import ConfigError, MissingDataError, NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import read_attributes, versions
from s4c_hpc.parcels.store import PARCELS

_NAMES: Final = {"CTnumL4A": "CTL4A", "CTnum": "CT", "CTnumDIV": "CTDIV"}
"""Column with the names of classes, by that with their numbers."""
_ALWAYS: Final = ("NewID", "tile", "ori_id", "ori_crop", "GeomValid", "Duplic", "Overlap", "Area_meters", "is_deleted")
_IF_THERE: Final = ("LC", "stratum")


@dataclass(frozen=True, eq=False)
class Declarations:
    """The parcels of a version that lie on a tile and are not deleted."""

    version: str
    parcels: Declared
    names: dict[str, str]
    """Class -> its name, where it has one."""
    key: str
    """``declared:<16 hex>``, from all that decides what is classified: outlines are not part of it."""


def read_declarations(workspace: Workspace, version: str, config: Classify) -> Declarations:
    """What a version declares.

    Raises
    ------
    ConfigError
        If classes are those of a table of crop codes, and the version has none, or not this column.
    NoInputsError
        If no parcel lies on a tile.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - only the names of columns

    path = workspace.parcels / version / PARCELS
    if not path.is_file():
        raise MissingDataError("no such parcel version", where=str(path), hint="run 's4c parcels import'")
    there = set(pq.read_schema(path).names)
    label = "ori_crop" if config.classes == "declared" else config.class_column
    if label not in there:
        raise ConfigError(
            f"parcels {version} have no column {label}: no table of crop codes (LUT) says which crops are one class",
            where="classify.class_column",
            hint="name one in parcels.crop_table (columns ori_crop, CTnum, LC, CTnumL4A, CTL4A) and import the parcels "
            "again, or say classify.classes = 'declared' to tell crop codes apart as they are",
        )
    wanted = dict.fromkeys([*_ALWAYS, label, *(n for n in (*_IF_THERE, _NAMES.get(label, "")) if n in there)])
    table = read_attributes(workspace, version, wanted)
    on_tile = pc.and_(pc.invert(table["is_deleted"]), pc.not_equal(pc.fill_null(table["tile"], ""), ""))
    table = table.filter(on_tile).drop_columns(["is_deleted"]).sort_by("NewID").combine_chunks()
    if not table.num_rows:
        raise NoInputsError("no parcel lies on a tile", where=f"parcels {version}", hint="see 's4c parcels check'")
    labels = _texts(table[label])
    land_cover = _numbers(table["LC"].fill_null(-1), np.int64) if "LC" in there and label != "ori_crop" else None
    parcels = Declared(
        new_id=_numbers(table["NewID"], np.int32),
        tile=_texts(table["tile"]),
        ori_id=_texts(table["ori_id"]),
        label=labels,
        land_cover=land_cover,
        stratum=_texts(table["stratum"]) if "stratum" in there else np.full(table.num_rows, "", object),
        is_valid=_numbers(table["GeomValid"].fill_null(False), np.bool_),  # noqa: FBT003 - pyarrow's signature
        is_duplicate=_numbers(table["Duplic"].fill_null(False), np.bool_),  # noqa: FBT003 - as above
        is_overlapping=_numbers(table["Overlap"].fill_null(False), np.bool_),  # noqa: FBT003 - as above
        area_m2=_numbers(table["Area_meters"].fill_null(np.nan), np.float64),
    )
    names: dict[str, str] = {}
    if _NAMES.get(label, "") in there:
        for code, name in zip(labels.tolist(), _texts(table[_NAMES[label]]).tolist(), strict=True):
            if code and name:
                names.setdefault(code, name)
    return Declarations(version, parcels, names, _key(table))


def find_declarations(workspace: Workspace, key: str, config: Classify) -> Declarations:
    """Those with a key, of the newest version that has them.

    Raises
    ------
    MissingDataError
        If no version has.
    """
    for version in reversed(versions(workspace)):
        try:
            found = read_declarations(workspace, version, config)
        except (ConfigError, NoInputsError):
            continue  # one without classes or parcels, which came after the plan
        if found.key == key:
            return found
    raise MissingDataError(
        f"no parcel version declares {key}",
        where=str(workspace.parcels),
        hint="a version was deleted: put it back, or plan again",
    )


def _key(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"\x1e{name}\x1e".encode())
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            digest.update("\x1f".join(v or "" for v in column.to_pylist()).encode())
        else:
            fill = np.nan if pa.types.is_floating(column.type) else False if pa.types.is_boolean(column.type) else -1
            digest.update(np.ascontiguousarray(column.fill_null(fill).to_numpy()).tobytes())
    return f"declared:{digest.hexdigest()[:16]}"


def _texts(column: pa.ChunkedArray) -> Texts:
    return np.array(["" if v is None else str(v) for v in column.to_pylist()], object)


def _numbers(column: pa.ChunkedArray, kind: Any) -> Any:
    return column.to_numpy().astype(kind)
