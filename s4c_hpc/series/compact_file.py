"""Reading compacted months: memory-mapped, a parcel at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.series.compact import CONTRACT, Kind
from s4c_hpc.series.contract import ID
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.layers import Ids, RowFinder

Matrix = NDArray[np.generic]


class CompactFile:
    """An open compacted month; what it hands out shares the pages of the file."""

    def __init__(self, path: Path) -> None:
        """Map the file and read what it says of itself.

        Raises
        ------
        MissingDataError
            If there is no such file.
        InputError
            If it is not a whole compacted month of this contract.
        """
        self.path = path
        self._reader = open_ipc(path)
        self.metadata = read_metadata(self._reader.schema)
        if self.metadata.get("contract") != CONTRACT:
            raise InputError(
                f"not a compacted month of contract {CONTRACT}", where=str(path), hint="delete it and run 's4c run'"
            )
        self.acquisitions = tuple(Acquisition.from_json(a) for a in json.loads(self.metadata["acquisitions"]))
        """By time: the last axis of the matrices."""
        fields = [f for f in self._reader.schema if f.name != ID]
        self.columns: dict[Kind, tuple[str, ...]] = {
            f.name: tuple(json.loads(read_metadata(f)["columns"])) for f in fields
        }
        """Names by type: the first axis of the matrices."""
        self._places = [self._reader.schema.get_field_index(name) for name in (ID, *self.columns)]
        self._blocks: dict[int, tuple[Ids, tuple[Matrix, ...]]] = {}
        self._finder = RowFinder(self._reader.num_record_batches, lambda number: self.block(number)[0])

    @cached_property
    def described(self) -> Mapping[str, Mapping[str, str]]:
        """What is said of each column (unit, long_name, method ...), in the order of the series files."""
        described: dict[str, dict[str, str]] = json.loads(self.metadata["columns"])
        return described

    @property
    def n_blocks(self) -> int:
        """Number of parcel blocks."""
        return int(self._reader.num_record_batches)

    def block(self, number: int) -> tuple[Ids, tuple[Matrix, ...]]:
        """(n,) parcels of a block, and for each of ``columns`` the (n, columns, acquisitions) values; no copy."""
        if number not in self._blocks:
            batch = self._reader.get_batch(number)
            ids, *tensors = (batch.column(place) for place in self._places)
            self._blocks[number] = ids.to_numpy(), tuple(tensor.to_numpy_ndarray() for tensor in tensors)
        return self._blocks[number]

    def parcel(self, new_id: int, hint: int = -1) -> tuple[Matrix, ...] | None:
        """(columns, acquisitions) values of a parcel for each of ``columns``, without a copy; ``None``: not here.

        Parameters
        ----------
        hint : the row where it stands in files of the current parcels
        """
        place = self._finder.find(new_id, hint)
        if place is None:
            return None
        number, row = place
        return tuple([matrix[row] for matrix in self.block(number)[1]])
