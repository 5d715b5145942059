"""A GeoPackage for maps: parcels with all that is said of them, mowings, and styles that QGIS finds by itself."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.export import styles
from s4c_hpc.export.contract import fact_schemas
from s4c_hpc.export.map_views import (
    MOWING_MAP_COLUMNS,
    PARCEL_MAP_COLUMNS,
    mowing_map,
    parcel_map,
)
from s4c_hpc.markers.attributes import GEOMETRY, Geometry, read_geometry
from s4c_hpc.markers.export import whole_file
from s4c_hpc.markers.files import MarkerFile
from s4c_hpc.markers.relations import FACTS, PARCELS, Meaning, Relation, files_of
from s4c_hpc.markers.workspace_sql import open_sql
from s4c_hpc.markers.writers import write_layer
from s4c_hpc.parcels import latest_version

PARCEL_LAYER: Final = "parcels"
MOWING_LAYER: Final = "mowings"

_LAYER_STYLES: Final = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
  f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)"""
"""As QGIS makes it (src/core/providers/ogr/qgsogrprovider.cpp, saveStyle)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpkgReport:
    """What was written."""

    path: Path
    n_parcels: int
    n_mowings: int
    styles: tuple[str, ...]
    n_bytes: int


def export_gpkg(workspace: Workspace, out: Path, *, force: bool = False) -> GpkgReport:
    """Write a GeoPackage; a kind of facts that the workspace does not have leaves its columns empty.

    Parameters
    ----------
    out : a file that ends in ``.gpkg``
    force : replace it if it is there

    Raises
    ------
    NoInputsError
        If there are no parcels.
    ConfigError
        If the file ends otherwise.
    InputError
        If it is there, or cannot be written.
    """
    if out.suffix.lower() != ".gpkg":
        raise ConfigError("a GeoPackage ends in .gpkg", where=str(out))
    if out.exists() and not force:
        raise InputError("exists already", where=str(out), hint="choose another name, or replace it with --force")
    version = latest_version(workspace)
    if version is None:
        raise NoInputsError("there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import'")
    facts = files_of(workspace).facts
    parcels, mowings = _maps(workspace, facts)
    if not parcels.num_rows:
        raise NoInputsError("there is no parcel", where=f"parcels {version}", hint="run 's4c parcels import'")
    geometry = read_geometry(workspace, version)
    chosen = _styles(parcels, _class_names(facts))
    with whole_file(out, force=force) as path:
        _layer(path, PARCEL_LAYER, parcels, PARCEL_MAP_COLUMNS, geometry)
        if mowings.num_rows:
            _layer(path, MOWING_LAYER, mowings, MOWING_MAP_COLUMNS, geometry)
        by_layer = {PARCEL_LAYER: (chosen, PARCEL_MAP_COLUMNS)}
        if mowings.num_rows:
            by_layer[MOWING_LAYER] = ([styles.MOWING_MONTH], MOWING_MAP_COLUMNS)
        _write_styles(path, by_layer)
    return GpkgReport(
        path=out,
        n_parcels=parcels.num_rows,
        n_mowings=mowings.num_rows,
        styles=tuple(s.name for listed, _ in by_layer.values() for s in listed),
        n_bytes=out.stat().st_size,
    )


def _maps(workspace: Workspace, facts: Mapping[Relation, list[MarkerFile]]) -> tuple[pa.Table, pa.Table]:
    """Parcels, and mowings."""
    names = {PARCELS.name, *(r.name for r in FACTS.values())}
    there = {relation.name for relation in facts}
    connection = open_sql(workspace, names=names.__contains__)
    try:
        for folder, schema in fact_schemas().items():
            relation = FACTS[folder].name
            if relation not in there:
                before = [pa.field("period", pa.string()), pa.field("tile", pa.string())]
                connection.register(relation, pa.schema([*before, *schema]).empty_table())
        parcels = connection.sql(f"{parcel_map()} ORDER BY 1").to_arrow_table()
        mowings = connection.sql(f"{mowing_map()} ORDER BY 1").to_arrow_table()
    finally:
        connection.close()
    return parcels.rename_columns(list(PARCEL_MAP_COLUMNS)), mowings.rename_columns(list(MOWING_MAP_COLUMNS))


def _styles(parcels: pa.Table, names: Mapping[str, str]) -> list[styles.Style]:
    """Styles of what is known of any parcel; the first is the one that a map opens with."""
    classes = [c for c in pc.unique(parcels["crop_found"]).to_pylist() if c]
    listed = [styles.LIGHTS, styles.crops(classes, names), styles.MOWINGS, styles.PRACTICES, styles.HARVEST]
    return [s for s in listed if parcels[s.column].null_count < parcels.num_rows] or [styles.PLAIN]


def _class_names(facts: Mapping[Relation, list[MarkerFile]]) -> dict[str, str]:
    """Names of classes, as the newest files of crop types have them."""
    names: dict[str, str] = {}
    for file in facts.get(FACTS["l4a"], []):
        names |= json.loads(read_metadata(open_ipc(file.path).schema).get("classes", "{}"))
    return names


def _layer(path: Path, name: str, table: pa.Table, columns: Mapping[str, Meaning], geometry: Geometry) -> None:
    fields = [
        pa.field(n, pa.binary() if n == GEOMETRY else table.schema.field(n).type, metadata={"long_name": m.text})
        for n, m in columns.items()
    ]
    schema = pa.schema(fields)
    write_layer(path, name, schema, iter(table.cast(schema).to_batches()), geometry)


def _write_styles(path: Path, by_layer: Mapping[str, tuple[Sequence[styles.Style], Mapping[str, Meaning]]]) -> None:
    """The table by which QGIS finds styles: by layer and the name of its column of outlines."""
    connection = connect(path)
    try:
        with connection:
            connection.execute(_LAYER_STYLES)
            outlines = dict(connection.execute("SELECT table_name, column_name FROM gpkg_geometry_columns"))
            rows = [
                (layer, outlines[layer], style.name, styles.qml(style, columns), number == 0, style.name)
                for layer, (listed, columns) in by_layer.items()
                for number, style in enumerate(listed)
            ]
            connection.executemany(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
                " styleQML, useAsDefault, description, owner) VALUES ('', '', ?, ?, ?, ?, ?, ?, '')",
                rows,
            )
            connection.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change) "
                "VALUES ('layer_styles', 'attributes', 'layer_styles', 'Styles of QGIS', "
                "strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
            )
    except sqlite3.OperationalError as error:
        # A full disk is told from others by its number, as in the writer of layers.
        raise OSError(errno.ENOSPC if "full" in str(error) else errno.EIO, str(error)) from error
    finally:
        connection.close()
