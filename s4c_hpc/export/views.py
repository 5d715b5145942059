"""Views of the database: what each is about, its query, and what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from s4c_hpc.export.contract import tables
from s4c_hpc.export.map_views import (
    MOWING_MAP,
    MOWING_MAP_COLUMNS,
    PARCEL_MAP,
    PARCEL_MAP_COLUMNS,
    mowing_map,
    parcel_map,
)
from s4c_hpc.markers.relations import OBSERVATION_COLUMNS, PARCEL_VERSIONS, PARCELS, Meaning

_MARKERS: Final = """
SELECT v.newid, c.tile, c.marker_set, c.sensor, c.orbit, c.grid, v.date, c.datetime, c.variable, c.statistic, c.unit,
       v.value
FROM marker_values v JOIN marker_columns c USING (export_id, position)"""

_NEWEST: Final = f"""
SELECT * FROM {PARCEL_VERSIONS.name}
WHERE version = (SELECT version FROM {PARCEL_VERSIONS.name} ORDER BY length(version) DESC, version DESC LIMIT 1)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseView:
    """A view of the database."""

    name: str
    about: str
    query: str
    columns: Mapping[str, Meaning]


def database_views() -> list[DatabaseView]:
    """All views, each after those that it needs."""
    (parcels,) = (t for t in tables() if t.name == PARCEL_VERSIONS.name)
    unsaid = {"marker_set": Meaning(text="Set of markers"), "newid": OBSERVATION_COLUMNS["NewID"]}
    of_markers = [
        "newid",
        "tile",
        "marker_set",
        "sensor",
        "orbit",
        "grid",
        "date",
        "datetime",
        "variable",
        "statistic",
        "unit",
        "value",
    ]
    return [
        DatabaseView(
            name=PARCELS.name,
            about=PARCELS.about,
            query=_NEWEST,
            columns={c.name: c.meaning for c in parcels.columns},
        ),
        DatabaseView(
            name="markers",
            about="Values of markers with what they are; a condition on newid or date reads little",
            query=_MARKERS,
            columns={n: unsaid.get(n) or OBSERVATION_COLUMNS[n] for n in of_markers},
        ),
        DatabaseView(
            name=PARCEL_MAP,
            about="For maps: a row a parcel with the newest of all that is said of it; key newid",
            query=parcel_map(),
            columns=PARCEL_MAP_COLUMNS,
        ),
        DatabaseView(
            name=MOWING_MAP,
            about="For maps: a row a mowing of the newest season; key id",
            query=mowing_map(),
            columns=MOWING_MAP_COLUMNS,
        ),
    ]
