"""Tables of the database: columns, types, keys, and what each means; made from what the files say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from s4c_hpc.classify.outputs import crop_schema
from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.markers.relations import (
    ACQUISITION_COLUMNS,
    ACQUISITIONS,
    FACTS,
    MARKER_COLUMNS,
    OBSERVATION_COLUMNS,
    PARCEL_COLUMNS,
    PARCEL_VERSIONS,
    PERIOD,
    TILE,
    Meaning,
    Relation,
)
from s4c_hpc.markers.sql_views import DICTIONARY
from s4c_hpc.mowing.contract import EVENTS, PARCELS, MowingHeader, event_schema, parcel_schema
from s4c_hpc.parcels.geoparquet import GEOMETRY
from s4c_hpc.parcels.table import COLUMNS, HOLDING, STRATUM
from s4c_hpc.practices.improved.evidence import EVIDENCE_SET, evidence_schema
from s4c_hpc.practices.product import product_schema

CONTRACT: Final = "s4c-postgis-1"
"""Changes when tables or the meaning of columns change."""

MARK: Final = f"Made by s4c export postgis, {CONTRACT}"
"""How the comment of the table ``exports`` begins, by which a schema of ours is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    kind: str
    """Type of PostgreSQL."""
    meaning: Meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table."""

    name: str
    about: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """Primary key."""
    indexes: tuple[str, ...] = ()
    """Columns, or expressions, each with an index of its own."""
    partition_by: str = ""

    def of_srid(self, srid: int) -> Table:
        """The same with outlines in a reference system."""
        columns = tuple(replace(c, kind=c.kind.replace("SRID", str(srid))) for c in self.columns)
        return replace(self, columns=columns)


PARCEL_FIELDS: Final = (*COLUMNS, HOLDING, STRATUM)
"""Columns of parcels that are ours; a declaration may have others of any name."""

EXPORT_ID: Final = Column(
    name="export_id", kind="integer", meaning=Meaning(text="File that the row is of, see exports")
)

EXPORTS: Final = Table(
    name="exports",
    about=f"{MARK}. What was exported, a row a file of the workspace; whoever changes it has files exported again",
    columns=(
        Column(name="export_id", kind="integer", meaning=Meaning(text="Number of the export of this file")),
        Column(name="name", kind="text", meaning=Meaning(text="File of the workspace")),
        Column(name="relation", kind="text", meaning=Meaning(text="Table that its rows are in")),
        Column(name="period", kind="text", meaning=PERIOD),
        Column(name="digest", kind="text", meaning=Meaning(text="Tells whether the file has changed")),
        Column(name="n_rows", kind="bigint", meaning=Meaning(text="Rows of it")),
        Column(name="exported", kind="timestamptz", meaning=Meaning(text="When it was exported")),
    ),
    key=("export_id",),
)

VALUES: Final = Table(
    name="marker_values",
    about="Values of markers, a row each that is known; view markers says what they are. A partition a marker file",
    columns=(
        EXPORT_ID,
        Column(name="position", kind="integer", meaning=Meaning(text="Column of the marker file, see marker_columns")),
        Column(name="newid", kind="integer", meaning=PARCEL_COLUMNS["NewID"]),
        Column(name="date", kind="date", meaning=OBSERVATION_COLUMNS["date"]),
        Column(name="value", kind="real", meaning=OBSERVATION_COLUMNS["value"]),
    ),
    indexes=("newid",),
    partition_by="LIST (export_id)",
)

_KINDS: Final[Mapping[pa.DataType, str]] = {
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.uint8(): "smallint",
    pa.int16(): "smallint",
    pa.uint16(): "integer",
    pa.int32(): "integer",
    pa.uint32(): "bigint",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "text",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp",
    pa.timestamp("us", "UTC"): "timestamptz",
}


def column_of(field: pa.Field, meaning: Meaning | None = None) -> Column:
    """The column of a field of a file: its name in small letters.

    Raises
    ------
    InputError
        If PostgreSQL has no such type.
    """
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if kind not in _KINDS:
        raise InputError(f"columns of type {kind} cannot be exported", where=f"column {field.name}")
    return Column(name=field.name.lower(), kind=_KINDS[kind], meaning=meaning or Meaning.of(field))


def fact_table(relation: Relation, schema: pa.Schema) -> Table:
    """The table of facts whose files have this schema."""
    before = (
        EXPORT_ID,
        Column(name="period", kind="text", meaning=PERIOD),
        Column(name="tile", kind="text", meaning=TILE),
    )
    columns = [column_of(f, PARCEL_COLUMNS["NewID"] if f.name == "NewID" else None) for f in schema]
    names = [c.name for c in (*before, *columns)]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise InputError(
            f"columns would have the same name: {listing(twice)}", where=f"table {relation.name}", hint="rename them"
        )
    return Table(name=relation.name, about=relation.about, columns=(*before, *columns), indexes=("newid", "export_id"))


def tables() -> list[Table]:
    """All tables, in the order in which they are made; outlines are of type ``geometry(MultiPolygon, SRID)``."""
    columns = [EXPORT_ID, Column(name="position", kind="integer", meaning=Meaning(text="Position of the column"))]
    columns.append(Column(name="marker_set", kind="text", meaning=Meaning(text="Set of markers")))
    columns += [column_of(f, OBSERVATION_COLUMNS[f.name]) for f in DICTIONARY]
    acquired = (EXPORT_ID, *(column_of(f) for f in ACQUISITION_COLUMNS))
    return [
        EXPORTS,
        parcel_table(),
        Table(name=ACQUISITIONS.name, about=ACQUISITIONS.about, columns=acquired, indexes=("datetime",)),
        Table(
            name=MARKER_COLUMNS.name,
            about=MARKER_COLUMNS.about,
            columns=tuple(columns),
            key=("export_id", "position"),
            indexes=("variable",),
        ),
        VALUES,
        *(fact_table(FACTS[folder], schema) for folder, schema in fact_schemas().items()),
    ]


def parcel_table() -> Table:
    """The table of parcels: our columns, what else is declared as JSON, and outlines."""
    columns = [EXPORT_ID, Column(name="version", kind="text", meaning=PARCEL_COLUMNS["version"])]
    columns += [column_of(f, PARCEL_COLUMNS[f.name]) for f in PARCEL_FIELDS]
    columns.append(Column(name="attributes", kind="jsonb", meaning=Meaning(text="All else that is declared")))
    outline = Meaning(text="Outline, valid; NULL where there is none")
    columns.append(Column(name=GEOMETRY, kind="geometry(MultiPolygon, SRID)", meaning=outline))
    return Table(
        name=PARCEL_VERSIONS.name,
        about=f"{PARCEL_VERSIONS.about} that was exported",
        columns=tuple(columns),
        key=("version", "newid"),
        indexes=("ori_id", GEOMETRY),
    )


def fact_schemas() -> dict[str, pa.Schema]:
    """What files of facts hold at least, by folder; what a file has beyond is added to its table."""
    header = MowingHeader(set="", period="", site="", tile="", parcels="", mode="", rules="", task="")
    return {
        "l4a": crop_schema({}),
        EVENTS: event_schema(header),
        PARCELS: parcel_schema(header),
        "l4c": product_schema({}, tillage=True, improved=True),
        EVIDENCE_SET: evidence_schema({}),
    }
