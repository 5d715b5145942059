"""Marker columns that are made of two others when files are merged: statistics of statistics, not of pixels.

There is one, the column of the reference's marker database 2: the mean of VV in dB minus that of VH. It is made for
sets that name it, because it is not the same as the mean of ``vv_vh_db`` where the two polarisations lack different
pixels; of other statistics than the mean a difference says nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from s4c_hpc.markers.part import Part
from s4c_hpc.markers.sets import DIFFERENCE, Selection

COLUMN: Final = f"{DIFFERENCE}_mean"
_MINUEND: Final = "vv_sigma0_db_mean"
_SUBTRAHEND: Final = "vh_sigma0_db_mean"
_DESCRIBED: Final = {
    "long_name": "Difference of mean backscatter, VV minus VH",
    "unit": "dB",
    "variable": DIFFERENCE,
    "statistic": "mean",
    "formula": f"{_MINUEND} - {_SUBTRAHEND}",
    "method": "difference of two means of the parcel, each over the valid pixels of its polarisation",
    "source": "Sen4CAP marker database 2",
}


def difference_of_means(vv: NDArray[np.float32], vh: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) dB, of (n,) means of VV and VH in dB; NaN where either has none."""
    return np.asarray(vv - vh, dtype=np.float32)


def derived_fields(schema: pa.Schema, selection: Selection) -> list[pa.Field]:
    """Columns that a series file gets in a set beside its own; they are asked for by name only."""
    asked = selection.variables is not None and DIFFERENCE in selection.variables and selection.keeps(COLUMN)
    if not asked or not {_MINUEND, _SUBTRAHEND} <= set(schema.names):
        return []
    return [pa.field(COLUMN, pa.float32(), nullable=False, metadata=_DESCRIBED)]


def n_derived(selection: Selection, variables: Collection[str]) -> int:
    """Most columns that are derived for an acquisition with these variables."""
    fields = [pa.field(f"{name}_mean", pa.float32()) for name in variables]
    return len(derived_fields(pa.schema(fields), selection))


def with_derived(part: Part) -> Part:
    """The part with batches that hold what its columns promise; the file itself does not."""
    if COLUMN not in part.columns:
        return part

    def batch(number: int) -> pa.RecordBatch:
        own = part.batch(number)
        values = difference_of_means(own.column(_MINUEND).to_numpy(), own.column(_SUBTRAHEND).to_numpy())
        return own.append_column(COLUMN, pa.array(values))

    return dataclasses.replace(part, batch=batch)
