"""What a declaration makes of the version before it: replace it, update it, or add to it.

=========== =================== ===========================================
mode        parcels in the file parcels that are not in the file
=========== =================== ===========================================
replace     as in the file      are not there
update      as in the file      stay, marked as deleted, and lie on no tile
incremental as in the file      stay as they were
=========== =================== ===========================================

A version that is made in either way is whole: whoever reads it need not know those before it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyproj import CRS

from s4c_hpc.config import ImportMode
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.checks import RepairedOutlines
from s4c_hpc.parcels.columns import stacked, without_clashes
from s4c_hpc.parcels.geoparquet import BBOX, GEOMETRY
from s4c_hpc.parcels.outlines import Outlines
from s4c_hpc.parcels.store import PARCELS, REPORT, latest_version
from s4c_hpc.parcels.table import COLUMNS, HOLDING, STRATUM, Declared


@dataclass(frozen=True)
class Previous:
    """The latest version, which the one that is made follows."""

    name: str
    path: Path
    """Its folder."""

    @cached_property
    def report(self) -> dict[str, Any]:
        """What its ``report.json`` says."""
        return dict(json.loads((self.path / REPORT).read_text(encoding="utf-8")))

    @cached_property
    def crs(self) -> CRS:
        """Reference system of its outlines."""
        # From the text, because what GeoParquet holds of a system reads back as one that is written in other words.
        return CRS.from_user_input(self.crs_text)

    @property
    def crs_text(self) -> str:
        """The same as it stands in the keys of its parcels."""
        return str(self.report.get("crs", self.report["source"]["crs"]))


def previous_version(workspace: Workspace) -> Previous | None:
    """The latest version of a workspace, ``None`` if there is none."""
    name = latest_version(workspace)
    return None if name is None else Previous(name, workspace.parcels / name)


def reference_system(mode: ImportMode, previous: Previous | None, of_file: CRS) -> tuple[CRS, str]:
    """The reference system of the version that is made, and its text for keys.

    Outlines can only be the same as before in the same system; so the file is moved to that of the version before,
    unless it replaces it.
    """
    if previous is None:
        return of_file, of_file.to_string()
    if previous.crs == of_file:
        return of_file, previous.crs_text
    return (of_file, of_file.to_string()) if mode is ImportMode.REPLACE else (previous.crs, previous.crs_text)


def with_previous(
    declared: Declared, previous: Previous | None, mode: ImportMode, reserved: Collection[str] = ()
) -> Declared:
    """The rows of the file and, behind them, those that stay of the version before.

    Parameters
    ----------
    reserved : names that a user's column cannot keep, though it had one of them in the version before
    """
    if previous is None or mode is ImportMode.REPLACE:
        return declared
    stays = _absent(previous.path / PARCELS, declared.new_id)
    if not stays.num_rows:
        return declared
    crop_columns = previous.report.get("crop_table", {}).get("columns", ())
    ours = {*COLUMNS.names, HOLDING.name, BBOX, GEOMETRY, *crop_columns}
    ours |= {STRATUM.name} if "strata" in previous.report else set()
    attributes, _ = without_clashes(stays.select([c for c in stays.column_names if c not in ours]), reserved)
    n = stays.num_rows
    was_deleted = stays["is_deleted"].to_numpy() if "is_deleted" in stays.column_names else np.zeros(n, dtype=bool)
    outlines = Outlines.of_column(stays[GEOMETRY])
    texts = {name: stays[name].to_numpy() for name in ("repair", "reason")}
    # Why a parcel is on no tile is found anew; why it has no polygon is known from when it was delivered.
    texts["reason"] = np.where(outlines.missing, texts["reason"], "")
    hold = stays[HOLDING.name] if HOLDING.name in stays.column_names else pa.nulls(n, pa.string())
    both = declared.ori_hold is not None or HOLDING.name in stays.column_names
    return replace(
        declared,
        new_id=np.concatenate((declared.new_id, stays["NewID"].to_numpy())),
        ori_id=_end_to_end(declared.ori_id, stays["ori_id"]),
        ori_crop=_end_to_end(declared.ori_crop, stays["ori_crop"]),
        ori_hold=_end_to_end(declared.holdings(), hold) if both else None,
        attributes=stacked(declared.attributes, attributes),
        repaired=RepairedOutlines(
            Outlines.concat((declared.repaired.outlines, outlines)),
            np.concatenate((declared.repaired.valid, stays["GeomValid"].to_numpy())),
            np.concatenate((declared.repaired.repair, texts["repair"])),
            np.concatenate((declared.repaired.reason, texts["reason"])),
        ),
        is_deleted=np.concatenate((declared.is_deleted, was_deleted | (mode is ImportMode.UPDATE))),
    )


def _absent(path: Path, new_id: NDArray[np.int32]) -> pa.Table:
    """The rows of an earlier version whose parcels are not among these."""
    is_here = np.zeros(int(new_id.max(initial=0)) + 1, dtype=bool)
    is_here[new_id] = True
    with pq.ParquetFile(path) as file:
        names = [n for n in file.schema_arrow.names if n != BBOX]
        groups = []
        for i in range(file.num_row_groups):
            group = file.read_row_group(i, columns=names)
            ids = group["NewID"].to_numpy()
            groups.append(group.filter((ids >= len(is_here)) | ~is_here[np.minimum(ids, len(is_here) - 1)]))
    return pa.concat_tables(groups).replace_schema_metadata(None)


def _end_to_end(first: pa.Array, second: pa.ChunkedArray | pa.Array) -> pa.Array:
    chunks = second.chunks if isinstance(second, pa.ChunkedArray) else [second]
    return pa.concat_arrays([first, *chunks])
