"""From a parcel to its tile and row: a table that is read once, when the first parcel is asked for."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import latest_version, read_attributes, read_places, version_of


def parcels_of(workspace: Workspace, tile: str, key: str) -> NDArray[np.int32]:
    """(n,) parcels of a tile in row order.

    Parameters
    ----------
    key : of the tile's parcels

    Raises
    ------
    MissingDataError
        If no version has them.
    """
    ids, begins = read_places(workspace, version_of(workspace, tile, key))
    place = [name for _, name in begins].index(tile)
    end = begins[place + 1][0] if place + 1 < len(begins) else ids.size
    return ids[begins[place][0] : end]


class Locator:
    """Where the parcels of the newest version are; 4 bytes for each number that was ever given to a parcel."""

    def __init__(self, workspace: Workspace) -> None:
        """Nothing is read yet."""
        self._workspace = workspace

    @cached_property
    def version(self) -> str:
        """The newest parcel version.

        Raises
        ------
        MissingDataError
            If there is none.
        """
        version = latest_version(self._workspace)
        if version is None:
            raise MissingDataError(
                "there are no parcels", where=str(self._workspace.parcels), hint="run 's4c parcels import'"
            )
        return version

    def locate(self, new_id: int) -> tuple[str, int]:
        """Tile of a parcel, and its row among the parcels of that tile.

        Raises
        ------
        InputError
            If there is no such parcel, or it lies on no tile.
        """
        rows, begins, names = self._table
        row = int(rows[new_id]) if 0 <= new_id < rows.size else -1
        if row < 0:
            raise InputError(
                f"there is no parcel {new_id}", where=f"parcels {self.version}", hint="'s4c parcels list' counts them"
            )
        tile = bisect_right(begins, row) - 1
        if not names[tile]:
            raise InputError(
                f"parcel {new_id} lies on no tile and has no values",
                where=f"parcels {self.version}",
                hint="its column 'reason' says why",
            )
        return names[tile], row - begins[tile]

    def new_id(self, ori_id: str) -> int:
        """NewID of a parcel by the id of the declaration.

        Raises
        ------
        InputError
            If no parcel, or more than one, has it.
        """
        table = read_attributes(self._workspace, self.version, ["NewID", "ori_id"])
        found = table["NewID"].filter(pc.equal(table["ori_id"].cast(pa.string()), ori_id)).to_pylist()
        if len(found) != 1:
            what = f"parcels {found} have" if found else "no parcel has"
            raise InputError(
                f"{what} the id {ori_id!r}",
                where=f"parcels {self.version}",
                hint="ids are those of the declaration's id columns, joined by '-'",
            )
        return int(found[0])

    @cached_property
    def _table(self) -> tuple[NDArray[np.int32], list[int], list[str]]:
        """Row of each NewID, -1 where there is no such parcel; first row and name of each tile."""
        ids, begins = read_places(self._workspace, self.version)
        # Numbers are given one after the other: a table by number is smaller than a sorted list, and needs no search.
        rows = np.full(int(ids.max(initial=-1)) + 1, -1, np.int32)
        rows[ids] = np.arange(ids.size, dtype=np.int32)
        return rows, [row for row, _ in begins], [name for _, name in begins]
