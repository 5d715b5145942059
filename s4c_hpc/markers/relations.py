"""What a workspace holds, as relations: their names, what they are about, what their columns mean.

SQL over files and tables of a database have the same names; small letters stand for all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.files import MarkerFile, list_markers, require_one_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table of a database, or a view."""

    name: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a column holds."""

    text: str
    unit: str = ""
    codes: str = ""
    """JSON: what each value stands for; empty where values speak for themselves."""

    @classmethod
    def of(cls, field: pa.Field) -> Meaning:
        """What a field of a file says of itself."""
        said = read_metadata(field)
        return cls(text=said.get("long_name", ""), unit=said.get("unit", ""), codes=said.get("codes", ""))

    def __str__(self) -> str:
        """As one line."""
        codes: Mapping[str, str] = json.loads(self.codes) if self.codes else {}
        unit = f", {self.unit}" if self.unit not in {"", "1", "code"} else ""
        said = "; ".join(f"{code} {text}" for code, text in codes.items())
        return f"{self.text}{unit}" + (f" ({said})" if said else "")


PARCELS: Final = Relation(name="parcels", about="Parcels of the newest version, one row each")
PARCEL_VERSIONS: Final = Relation(name="parcel_versions", about="Parcels of every version")
ACQUISITIONS: Final = Relation(name="acquisitions", about="Acquisitions that series hold, by tile and grid")
MARKER_COLUMNS: Final = Relation(name="marker_columns", about="Columns of marker files: what each holds")

FACTS: Final[Mapping[str, Relation]] = {
    "l4a": Relation(name="crop_types", about="Crop types found, beside what is declared"),
    "l4b": Relation(name="mowing_events", about="Mowings, one row each"),
    "l4b-parcels": Relation(name="mowing_parcels", about="What was seen of the mowing of each parcel"),
    "l4c": Relation(name="practices", about="Harvest and agricultural practice of each parcel"),
    "l4c-evidence": Relation(name="practice_evidence", about="Decisions on practices, one row each, and their grounds"),
}
"""Folders below ``markers`` whose columns are no values of dates."""

_TAKEN: Final = frozenset(
    {
        *(r.name for r in (PARCELS, PARCEL_VERSIONS, ACQUISITIONS, MARKER_COLUMNS, *FACTS.values())),
        *("exports", "markers", "marker_values", "parcel_map", "mowing_map", "chosen"),
    }
)
"""Names of tables and views that a folder below ``markers`` does not take away."""

PERIOD: Final = Meaning(text="Season that the row is of, as the folder of the file says")
TILE: Final = Meaning(text="Tile of the parcel")

PARCEL_COLUMNS: Final[Mapping[str, Meaning]] = {
    "version": Meaning(text="Version of the declaration"),
    "NewID": Meaning(text="Number of the parcel"),
    "ori_id": Meaning(text="Id in the declaration"),
    "ori_hold": Meaning(text="Id of the holding in the declaration"),
    "ori_crop": Meaning(text="Declared crop, as the declaration codes it"),
    "tile": TILE,
    "block": Meaning(text="Number of the block of parcels within the tile; -1 without a tile"),
    "crosses": Meaning(text="Whether part of the parcel lies outside of its tile"),
    "GeomValid": Meaning(text="Whether the outline was valid as delivered"),
    "Duplic": Meaning(text="Whether the same outline occurs again"),
    "Overlap": Meaning(text="Whether overlap_share exceeds the limit"),
    "overlap_share": Meaning(text="Area that other parcels share, of the own area", unit="1"),
    "n_overlap": Meaning(text="Other parcels with which more than 1 m2 is shared"),
    "Area_meters": Meaning(text="Area", unit="m2"),
    "ShapeInd": Meaning(text="Perimeter / (2 sqrt(pi area)), 1 for a circle", unit="1"),
    "repair": Meaning(text="What was wrong with the outline, and what was done"),
    "reason": Meaning(text="Why the parcel has no pixels; empty if it has"),
    "is_deleted": Meaning(text="Whether an update did not have the parcel any more"),
    "geom_change_ratio": Meaning(text="How much the outline differs from that of the version before", unit="1"),
    "stratum": Meaning(text="Area of the strata that has most of the parcel"),
    "geometry": Meaning(text="Outline, in the reference system of the declaration"),
}

OBSERVATION_COLUMNS: Final[Mapping[str, Meaning]] = {
    "NewID": PARCEL_COLUMNS["NewID"],
    "tile": TILE,
    "sensor": Meaning(text="Sensor"),
    "orbit": Meaning(text="Relative orbit and pass, where values of orbits must not be mixed"),
    "grid": Meaning(text="Grid of the pixels"),
    "date": Meaning(text="Day of the acquisition, UTC"),
    "datetime": Meaning(text="Time of the acquisition, UTC"),
    "variable": Meaning(text="Variable; n_valid, n_cloud and the like count pixels of a class"),
    "statistic": Meaning(text="Statistic over the pixels of the parcel"),
    "unit": Meaning(text="Unit of the value"),
    "formula": Meaning(text="How the variable is computed from bands"),
    "product": Meaning(text="Product that the value is of"),
    "long_name": Meaning(text="What the column holds"),
    "codes": Meaning(text="JSON: what its values stand for"),
    "rule": Meaning(text="By which rule it was found"),
    "column": Meaning(text="Name of the column in its marker file"),
    "value": Meaning(text="Value; what is not known has no row"),
}

ACQUISITION_COLUMNS: Final = pa.schema(
    [
        pa.field(name, kind, metadata={"long_name": text})
        for name, kind, text in (
            ("tile", pa.string(), "Tile"),
            ("sensor", pa.string(), "Sensor"),
            ("grid", pa.string(), "Grid of the pixels; of imported tables the name of the import"),
            ("product", pa.string(), "Product"),
            ("datetime", pa.timestamp("us", "UTC"), "Time of the acquisition"),
            ("platform", pa.string(), "Satellite"),
            ("relative_orbit", pa.int32(), "Relative orbit"),
            ("orbit_direction", pa.string(), "ascending or descending"),
        )
    ]
)


def relation_of(folder: str) -> Relation:
    """The relation of a folder of facts; a folder that is not known is a relation of its own name."""
    return FACTS.get(folder) or Relation(name=name_of(folder), about=f"Files of markers/{folder}")


def name_of(folder: str) -> str:
    """The name of a folder's relation: its own, unless that is one of ours."""
    name = as_name(folder)
    return f"set_{name}" if name in _TAKEN else name


def as_name(text: str) -> str:
    """A text as a name that SQL takes without quotes."""
    return re.sub(r"[^a-z0-9_]", "_", text.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files of a workspace by what they hold, each list by period and tile."""

    sets: Mapping[str, list[MarkerFile]]
    """By set, whose columns are values of dates."""
    facts: Mapping[Relation, list[MarkerFile]]


def files_of(
    workspace: Workspace, *, tiles: Sequence[str] | None = None, periods: Sequence[str] | None = None
) -> Files:
    """Files of one site, none of which is damaged: what is wrong is told, not left out or counted twice.

    Raises
    ------
    InputError
        If a file is damaged, or they are of several sites.
    """
    files = list_markers(workspace, tiles=tiles, periods=periods)
    require_one_site(workspace, files)
    sets: dict[str, list[MarkerFile]] = {}
    facts: dict[Relation, list[MarkerFile]] = {}
    for file in files:
        open_ipc(file.path)
        if file.is_table:
            facts.setdefault(relation_of(file.set), []).append(file)
        else:
            sets.setdefault(file.set, []).append(file)
    return Files(sets=sets, facts=facts)
