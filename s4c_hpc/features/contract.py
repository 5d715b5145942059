"""What a feature file holds: a tile, a set of features, a row a parcel, in the order of the parcel blocks.

Columns have the names of Sen4CAP's L4A: ``XX_2018_03_02_s2_mean_ndvi``, ``XX_W201809_ASC_VV_BCK_MEAN``. Two kinds of
columns are ours: how much of a value was observed and not interpolated (``XX_2018_03_02_s2_observed``), and how many
pixels a parcel has (``XX_s2_pixels``). What a column is stands in its metadata; nobody has to parse a name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import pyarrow as pa

from s4c_hpc.config.model import Weighting
from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import read_metadata
from s4c_hpc.series.contract import ID

CONTRACT: Final = "s4c-features-1"
"""Changes when the meaning of columns or metadata changes."""

OBSERVED: Final = "observed"
"""Statistic of columns that say which share of a parcel's pixels was observed in the period, 0 to 1."""

PIXELS: Final = "pixels"
"""Statistic of the column that says how many pixels a parcel has on the grid of the file."""

NO_FEATURES: Final = frozenset({OBSERVED, PIXELS})
"""Statistics that describe features and are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureHeader:
    """Where the numbers of a file come from: its schema metadata, as values."""

    tile: str
    set: str
    """``optical``, ``red-edge``, ``sar``, or ``series`` and the name of what was imported."""
    sensor: str
    """``s2``; of an imported table the one that it names."""
    grid: str
    """``10m``; empty where there are no pixels."""
    parcels: str
    """Key of the parcels, ``parcels:<16 hex>``."""
    weighting: Weighting | None
    """How pixels at a parcel's edge count; ``None`` where there are no pixels."""
    buffer_m: float
    """Inward buffer of the parcels, in metres."""
    method: str
    """How values became features: composite, periods, filling of gaps, in words."""
    task: str
    """Id of the task that made the file."""

    def to_metadata(self) -> dict[str, str]:
        """As schema metadata; an unknown value is an empty text."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["buffer_m"] = f"{self.buffer_m:g}"
        return {"contract": CONTRACT, **{k: "" if v is None else str(v) for k, v in values.items()}}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], where: str) -> FeatureHeader:
        """The inverse of ``to_metadata``.

        Raises
        ------
        InputError
            If the metadata are not those of a feature file of this contract.
        """
        if metadata.get("contract") != CONTRACT:
            raise InputError(
                f"not a feature file of contract {CONTRACT}", where=where, hint="run 's4c run' to make it again"
            )
        values: dict[str, Any] = {f.name: metadata[f.name] for f in fields(cls)}
        values["weighting"] = Weighting(values["weighting"]) if values["weighting"] else None
        values["buffer_m"] = float(values["buffer_m"])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """What a column means."""

    name: str
    """Of the column."""
    feature: str
    """What is measured: ``ndvi``, ``b03``, ``asc_vv_bck``; empty for a number of pixels."""
    statistic: str
    """``mean`` or ``stdev`` over the parcel, ``observed`` or ``pixels``."""
    first: dt.date | None = None
    """First day of the period; of a value at a date that date."""
    last: dt.date | None = None
    """Last day of the period, inclusive."""
    unit: str = ""
    """``1`` for a number without one."""
    long_name: str = ""
    source: str = ""
    """Formula, or bands."""
    observed: str = ""
    """Column that says how much of this one was observed; empty if none does."""

    @property
    def is_feature(self) -> bool:
        """Whether crops may be told apart by it."""
        return self.statistic not in NO_FEATURES

    def to_metadata(self) -> dict[str, str]:
        """As field metadata."""
        values = {k: v for k, v in asdict(self).items() if k != "name"}
        return {k: "" if v is None else str(v) for k, v in values.items()}

    @classmethod
    def from_field(cls, field: pa.Field) -> Feature:
        """The inverse of ``to_metadata``."""
        values: dict[str, Any] = {k: v for k, v in read_metadata(field).items() if k in _NAMES}
        for key in ("first", "last"):
            values[key] = dt.date.fromisoformat(values[key]) if values.get(key) else None
        return cls(name=field.name, **values)


_NAMES: Final = frozenset(f.name for f in fields(Feature)) - {"name"}


def feature_schema(header: FeatureHeader, columns: Sequence[Feature]) -> pa.Schema:
    """Schema of a feature file: int32 ``NewID``, then float32; no column has nulls, what does not exist is NaN."""
    first = pa.field(ID, pa.int32(), nullable=False, metadata={"long_name": "Parcel", "unit": ""})
    others = [pa.field(c.name, pa.float32(), nullable=False, metadata=c.to_metadata()) for c in columns]
    names = [c.name for c in columns]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"two features are called {twice[0]}", where=f"tile {header.tile}, set {header.set}")
    return pa.schema([first, *others], metadata=header.to_metadata())
