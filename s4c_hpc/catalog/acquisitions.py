"""The product index in the few columns that tell when which satellite has seen which tile; no layer is looked at."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.catalog.footprint import Bounds
from s4c_hpc.core.errors import InputError, MissingDataError

_HINT = "run 's4c catalog scan'"
_COLUMNS = {
    "id": "product",
    "s4c:sensor": "sensor",
    "platform": "mission",
    "s4c:tile": "tile",
    "sat:relative_orbit": "orbit",
    "datetime": "day",
    "s4c:datatake": "datatake",
    "s4c:status": "status",
    "s4c:reason": "reason",
}
_STRIP = re.compile(r"_S\d{8}T\d{6}$")
"""What a later datastrip adds to the identity of its datatake."""


class Acquisition(NamedTuple):
    """One row of the index. A tuple: a country's year has tens of thousands."""

    product: str
    sensor: str
    mission: str
    """``sentinel-2a``; empty where it is not known."""
    tile: str
    """Empty in some broken products."""
    orbit: int | None
    """Relative orbit."""
    day: dt.date | None
    """UTC; ``None`` in some broken products."""
    datatake: str
    """Empty where the source does not tell it."""
    status: str
    """``catalog.OK``, ``BROKEN`` or ``SUPERSEDED``."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisitions:
    """Rows of the index and where their tiles lie."""

    rows: tuple[Acquisition, ...]
    bounds: Mapping[str, Bounds]
    """By tile: west, south, east, north in degrees; west > east across the antimeridian."""


def read_acquisitions(catalog: Path) -> Acquisitions:
    """Every row of the product index.

    Raises
    ------
    MissingDataError
        If there is no index yet.
    InputError
        If the file is not one.
    """
    try:
        with pq.ParquetFile(catalog) as file:
            wanted = [*_COLUMNS, "bbox"]
            if missing := sorted(set(wanted) - set(file.schema_arrow.names)):
                raise InputError(f"is not a product index: no column {missing[0]}", where=str(catalog), hint=_HINT)
            table = file.read(columns=wanted)
    except FileNotFoundError as error:
        raise MissingDataError("there is no product index", where=str(catalog), hint=_HINT) from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"is not a product index ({error})", where=str(catalog), hint=_HINT) from error
    columns = [_values(table, name) for name in _COLUMNS]
    return Acquisitions(rows=tuple(map(Acquisition._make, zip(*columns, strict=True))), bounds=_bounds(table))


def pass_days(rows: Iterable[Acquisition]) -> dict[str, dt.date]:
    """First day of each datatake: a pass over midnight is one pass. By its identity without the datastrip's part."""
    first: dict[str, dt.date] = {}
    for row in rows:
        if row.datatake and row.day is not None:
            take = datatake_of(row.datatake)
            first[take] = min(first.get(take, row.day), row.day)
    return first


@lru_cache(maxsize=65_536)
def datatake_of(identity: str) -> str:
    """Identity of a datatake, the same for all its datastrips."""
    return _STRIP.sub("", identity)


def _values(table: pa.Table, name: str) -> list[object]:
    column = table[name]
    if name == "datetime":
        return list(column.cast(pa.date32()).to_pylist())
    return list(column.to_pylist() if name == "sat:relative_orbit" else column.fill_null("").to_pylist())


def _bounds(table: pa.Table) -> dict[str, Bounds]:
    box = table["bbox"].combine_chunks()
    corners = [box.field(name).to_pylist() for name in ("xmin", "ymin", "xmax", "ymax")]
    found = zip(table["s4c:tile"].to_pylist(), box.is_valid().to_pylist(), zip(*corners, strict=True), strict=True)
    return {tile: corner for tile, valid, corner in found if valid and tile}
