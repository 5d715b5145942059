"""The pixels of all parcels in a file, so that a further date need not reckon them again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.extract.zonal_arrow import column
from s4c_hpc.extract.zonal_windows import Pixels

VERSION: Final = "zonal-index/2"
"""What stands under ``s4c`` in the metadata of the schema: nothing else is ever replaced."""

_TYPES: Final[Mapping[str, Any]] = {
    "parcel": pa.int32(),
    "last": pa.int32(),
    "is_cut": pa.uint8(),
    "used": pa.uint8(),
    "run_offsets": pa.int64(),
    "run_place": pa.int32(),
    "run_length": pa.int32(),
    "edge_offsets": pa.int64(),
    "edge_place": pa.int32(),
    "edge_fraction": pa.float32(),
}
"""A record batch is a window; every column holds one list."""

SCHEMA: Final = pa.schema(
    [pa.field(name, pa.large_list(pa.field("item", kind)), nullable=False) for name, kind in _TYPES.items()]
)

_SIDES: Final = (".shp", ".shx", ".dbf", ".prj", ".cpg")
"""Files that belong together under one name."""


def batch_of(pixels: Pixels) -> pa.RecordBatch:
    """A window's pixels as a record batch."""
    columns = []
    for field in fields(pixels):
        values = getattr(pixels, field.name)
        values = values.view("uint8") if values.dtype == bool else values
        offsets = column(np.array([0, values.size], np.int64))
        columns.append(pa.LargeListArray.from_arrays(offsets, column(values), type=SCHEMA.field(field.name).type))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


class IndexFile:
    """An index that was written earlier; windows are read one by one."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises
        ------
        InputError
            If the file is not an index, of whatever version.
        """
        try:
            self._reader = open_ipc(path)
            self.metadata = read_metadata(self._reader.schema)
        except InputError:
            self.metadata = {}
        if not self.metadata.get("s4c", "").startswith(VERSION.partition("/")[0] + "/"):
            raise InputError(
                "is not an index of 's4c zonal' and is not replaced",
                where=str(path),
                hint="name another file for --index, or delete this one if it is not needed",
            )

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return int(self._reader.num_record_batches)

    def pixels(self, i: int) -> Pixels:
        """The ``i``-th window, copied: mapped arrays are read-only, another type to compiled code."""
        batch = self._reader.get_batch(i)
        arrays = {name: np.array(batch.column(name).values.to_numpy(zero_copy_only=True)) for name in _TYPES}
        for name in ("is_cut", "used"):
            arrays[name] = arrays[name].view("bool")
        return Pixels(**arrays)


def digest_of(path: Path) -> str:
    """Digest of the bytes of a file of parcels and of those that belong to it, whatever they are called."""
    digest = hashlib.sha256()
    for part in _parts(path):
        with part.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(part for part in path.rglob("*") if part.is_file())
    elif path.suffix.lower() == ".shp":
        yield from (part for side in _SIDES if (part := path.with_suffix(side)).is_file())
    else:
        yield path
