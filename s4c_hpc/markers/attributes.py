"""What is known of parcels besides their markers: the user's own id, the crop, the geometry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from s4c_hpc.core.errors import MissingDataError, NoInputsError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.files import MarkerFile
from s4c_hpc.markers.part import ID_COLUMN, Ids
from s4c_hpc.parcels import latest_version, read_attributes, versions_by_key

GEOMETRY = "geometry"


def parcels_version(workspace: Workspace, files: Sequence[MarkerFile]) -> str:
    """The newest parcel version that has the outlines of any of the files; the latest one if none of them says.

    Attributes may be corrected by a later import, which leaves outlines and markers as they are.
    """
    known = versions_by_key(workspace)
    newest = (known.get((f.tile, f.parcels_key or ""), [f.parcels_version])[-1] for f in files)
    versions = [version for version in newest if version is not None]
    # Numbers behind a "v", filled with zeros to four digits: a longer one is a higher one.
    version = max(versions, key=lambda v: (len(v), v)) if versions else latest_version(workspace)
    if version is None:
        raise MissingDataError("there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import'")
    return version


@dataclass(frozen=True)
class ParcelColumns:
    """Columns of a parcel version, looked up by NewID."""

    table: pa.Table
    """``NewID`` ascending, then the columns."""

    @classmethod
    def of(cls, table: pa.Table, names: Sequence[str]) -> ParcelColumns:
        """Columns ``names`` of a table that has ``NewID``."""
        return cls(table.select([ID_COLUMN, *names]).sort_by(ID_COLUMN).combine_chunks())

    @property
    def fields(self) -> list[pa.Field]:
        """Fields of the columns, without ``NewID``."""
        return [f.with_nullable(True) for f in self.table.schema if f.name != ID_COLUMN]  # noqa: FBT003 - pyarrow's signature

    def rows(self, ids: Ids) -> list[pa.Array]:
        """The columns for ``ids`` (n,), each (n,); null for a parcel that this version does not have."""
        known = self.table.column(ID_COLUMN).to_numpy()
        if not known.size:
            return [pa.nulls(ids.size, f.type) for f in self.fields]
        places = np.minimum(np.searchsorted(known, ids), known.size - 1)
        taken = self.table.take(pa.array(places, mask=known[places] != ids)).combine_chunks()
        return [taken.column(f.name).combine_chunks() for f in self.fields]


def attribute_columns(workspace: Workspace, version: str, patterns: Sequence[str]) -> ParcelColumns:
    """Attributes of a parcel version whose names match a pattern.

    Raises
    ------
    NoInputsError
        Names a pattern that matches nothing, and what there is.
    """
    table = read_attributes(workspace, version)
    names = [n for n in table.column_names if n != ID_COLUMN]
    for pattern in patterns:
        if not any(fnmatchcase(n, pattern) for n in names):
            raise NoInputsError(
                f"no parcel attribute matches {pattern!r}",
                where=f"parcels {version}",
                hint=f"there are {listing(names, 30)}",
            )
    return ParcelColumns.of(table, [n for n in names if any(fnmatchcase(n, p) for p in patterns)])


@dataclass(frozen=True, slots=True)
class Geometry:
    """Geometries of a parcel version."""

    columns: ParcelColumns
    """WKB by NewID."""
    crs: Any
    """PROJJSON as GeoParquet holds it; ``None`` means longitude and latitude."""
    types: tuple[str, ...]
    """GeoParquet's names of the geometry types that occur."""

    def geoparquet_metadata(self) -> str:
        """Value of the key ``geo`` in a GeoParquet 1.1 file."""
        column: dict[str, Any] = {"encoding": "WKB", "geometry_types": list(self.types)}
        if self.crs is not None:
            column["crs"] = self.crs
        return json.dumps({"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}})


def read_geometry(workspace: Workspace, version: str) -> Geometry:
    """Geometries of a parcel version, in its own CRS."""
    path = workspace.parcels / version / "parcels.parquet"
    try:
        table = pq.read_table(path, columns=[ID_COLUMN, GEOMETRY], partitioning=None)
    except FileNotFoundError as error:
        raise MissingDataError("no such parcel version", where=str(path), hint="run 's4c parcels import'") from error
    # Extension types would be re-read as such; the column is plain WKB and its CRS travels beside it.
    plain = pa.table({ID_COLUMN: table[ID_COLUMN], GEOMETRY: table[GEOMETRY].cast(pa.binary())})
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])["columns"][GEOMETRY]
    return Geometry(ParcelColumns.of(plain, [GEOMETRY]), geo.get("crs"), tuple(geo.get("geometry_types", ())))
