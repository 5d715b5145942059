"""What two versions have in common, and what not: by parcel, which are told apart by their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from s4c_hpc.core.errors import MissingDataError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.columns import as_text, is_text
from s4c_hpc.parcels.compare import Compared, compare
from s4c_hpc.parcels.geoparquet import BBOX, GEOMETRY
from s4c_hpc.parcels.modes import Previous
from s4c_hpc.parcels.outlines import Outlines
from s4c_hpc.parcels.store import PARCELS, read_attributes, versions
from s4c_hpc.parcels.table import COLUMNS

Ids = NDArray[np.int32]
KINDS: Final = ("added", "deleted", "outline_changed", "attributes_only", "unchanged")
"""Every parcel of either version is one of these. Deleted ones of the earlier version are in neither."""

_OURS = {*COLUMNS.names, BBOX, GEOMETRY} - {"ori_crop"}
"""Columns that follow from outlines and neighbours, and say nothing of their own."""


@dataclass(frozen=True)
class Diff:
    """Parcels of two versions by what became of them."""

    before: str | None
    """Name of the earlier version; ``None`` if there is none."""
    after: str
    ids: dict[str, Ids]
    """``NewID`` of each of ``KINDS``, ascending."""
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    ratio: NDArray[np.float32]
    """``geom_change_ratio`` of each parcel whose outline has changed."""

    @property
    def counts(self) -> dict[str, int]:
        """Parcels of each kind."""
        return {kind: len(self.ids[kind]) for kind in KINDS}

    @property
    def is_empty(self) -> bool:
        """Whether both hold the same parcels with the same outlines and attributes."""
        return not (self.columns_added or self.columns_removed or any(len(self.ids[k]) for k in KINDS[:-1]))

    def report(self) -> dict[str, Any]:
        """For ``report.json``."""
        return {
            "before": self.before,
            **self.counts,
            "columns_added": list(self.columns_added),
            "columns_removed": list(self.columns_removed),
        }


def diff(workspace: Workspace, before: str, after: str) -> Diff:
    """Compare two versions of a workspace, in either order.

    Raises
    ------
    MissingDataError
        If one of them is not there.
    """
    for name in (before, after):
        require_version(workspace, name)
    old, new = (Previous(name, workspace.parcels / name) for name in (before, after))
    table = read_attributes(workspace, after)
    column = pq.read_table(new.path / PARCELS, columns=[GEOMETRY], partitioning=None)[GEOMETRY]
    outlines = Outlines.of_column(column)
    compared = compare(old.path / PARCELS, table["NewID"].to_numpy(), new.crs, outlines.wkb)
    return changes(old, after, table, compared)


def require_version(workspace: Workspace, name: str) -> None:
    """Refuse the name of a version that is not there.

    Raises
    ------
    MissingDataError
        Says which versions there are.
    """
    known = versions(workspace)
    if name not in known:
        raise MissingDataError(
            f"there is no parcel version {name}",
            where=str(workspace.parcels),
            hint=f"versions are {', '.join(known) or 'none'}",
        )


def changes(previous: Previous | None, after: str, table: pa.Table, compared: Compared | None) -> Diff:
    """What became of the parcels of an earlier version.

    Parameters
    ----------
    previous : the earlier version, ``None`` if there is none
    after, table : name, and (n,) rows with all columns but geometry, of the later one
    compared : (n,) their outlines beside those of the earlier one
    """
    ids = table["NewID"].to_numpy()
    there = ~_deleted(table, len(ids))
    if previous is None or compared is None:
        empty = np.empty(0, np.int32)
        kinds = dict.fromkeys(KINDS, empty) | {"added": np.sort(ids[there])}
        return Diff(None, after, kinds, (), (), np.empty(0, np.float32))
    old = previous.path / PARCELS
    known, same = compared.known & there, compared.same & there
    with pq.ParquetFile(old) as file:
        names = file.schema_arrow.names
    earlier = _column_reader(old)
    old_ids = earlier("NewID").to_numpy()
    was_there = ~_deleted(pa.table({n: earlier(n) for n in ("is_deleted",) if n in names}), len(old_ids))
    other = _attributes_differ(table, same, names, old_ids, earlier)
    kinds = {
        "added": ids[there & ~known],
        "deleted": old_ids[was_there & ~np.isin(old_ids, ids[there])],
        "outline_changed": ids[known & ~same],
        "attributes_only": ids[same & other],
        "unchanged": ids[same & ~other],
    }
    changed = np.flatnonzero(known & ~same)
    changed = changed[np.argsort(ids[changed])]
    return Diff(
        previous.name,
        after,
        {kind: np.sort(found).astype(np.int32) for kind, found in kinds.items()},
        tuple(n for n in table.column_names if n not in names and n not in _OURS),
        tuple(n for n in names if n not in table.column_names and n not in _OURS),
        compared.ratio[changed],
    )


def _column_reader(path: Path) -> Callable[[str], pa.ChunkedArray]:
    return lambda name: pq.read_table(path, columns=[name], partitioning=None)[name]


def _deleted(table: pa.Table, n: int) -> NDArray[np.bool_]:
    # Versions of earlier releases have no such column, and no deleted parcels.
    if "is_deleted" not in table.column_names:
        return np.zeros(n, dtype=bool)
    flags: NDArray[np.bool_] = table["is_deleted"].to_numpy()
    return flags


def _attributes_differ(
    table: pa.Table,
    rows: NDArray[np.bool_],
    old_names: list[str],
    old_ids: Ids,
    earlier: Callable[[str], pa.ChunkedArray],
) -> NDArray[np.bool_]:
    """Whether an attribute that both versions have differs (n,), of the rows that are asked for."""
    differ = np.zeros(len(rows), dtype=bool)
    asked = np.flatnonzero(rows)
    order = np.argsort(old_ids, kind="stable")
    at = pa.array(order[np.searchsorted(old_ids, table["NewID"].to_numpy()[asked], sorter=order)])
    take = pa.array(asked)
    for name in table.column_names:
        if name in old_names and name not in _OURS:
            differ[asked] |= _differ(table[name].take(take), earlier(name).take(at))
    return differ


def _differ(one: pa.ChunkedArray, other: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Whether two values are not the same (n,); unknown is the same as unknown, be it null or not a number."""
    if pa.types.is_nested(one.type) or pa.types.is_nested(other.type):
        return np.array([a != b for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True)], dtype=bool)
    if pa.types.is_large_string(one.type) or pa.types.is_large_string(other.type):
        one, other = (c.cast(pa.large_string()) if is_text(c.type) else c for c in (one, other))
    if one.type != other.type:
        one, other = (pa.chunked_array([as_text(c)]) for c in (one, other))
    unknown = [pc.is_null(c, nan_is_null=True) for c in (one, other)]
    different = pc.fill_null(pc.not_equal(one, other), False)  # noqa: FBT003 - pyarrow's signature
    both = pc.and_(*unknown)
    found: NDArray[np.bool_] = pc.or_(pc.xor(*unknown), pc.and_not(different, both)).to_numpy()
    return found
