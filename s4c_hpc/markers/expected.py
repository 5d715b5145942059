"""Which products a tile and period should have, whether or not they can be used."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.markers.inputs import orbit_name
from s4c_hpc.markers.naming import Acquisition

# Not catalog.read_products: it reads the whole index, every product's layers included, once a task.
_COLUMNS = ["id", "datetime", "s4c:sensor", "s4c:status", "s4c:reason", "sat:relative_orbit", "sat:orbit_state"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One row of the catalog, as far as a marker file is concerned."""

    acquisition: Acquisition
    status: str
    """``catalog.OK``, ``BROKEN`` or ``SUPERSEDED``."""
    reason: str


def expected_products(catalog: Path, tile: str, period: str) -> dict[str, Expected]:
    """Catalogued products of a tile and month whose acquisition time is known, by product id.

    Parameters
    ----------
    catalog : product index
    tile : tile id
    period : ``YYYY-MM``, of the acquisition time in UTC
    """
    try:
        table = pq.read_table(catalog, columns=_COLUMNS, filters=[("s4c:tile", "==", tile)], partitioning=None)
    except FileNotFoundError as error:
        raise MissingDataError("there is no product index", where=str(catalog), hint="run 's4c plan' again") from error
    except pa.ArrowInvalid as error:
        raise InputError(
            f"is not a product index ({error})", where=str(catalog), hint="run 's4c plan' again"
        ) from error
    found: dict[str, Expected] = {}
    for row in table.to_pylist():
        time: dt.datetime | None = row["datetime"]
        if time is None or f"{time:%Y-%m}" != period:
            continue
        acquisition = Acquisition(
            product=row["id"],
            sensor=row["s4c:sensor"],
            datetime=time,
            orbit=orbit_name(row["s4c:sensor"], row["sat:relative_orbit"], row["sat:orbit_state"]),
        )
        found[row["id"]] = Expected(
            acquisition=acquisition, status=row["s4c:status"], reason=row["s4c:reason"] or "not usable"
        )
    return found
