"""Marker files: the deliverable. One wide Arrow table a tile, month and marker set, and ways to read it."""

from typing import TYPE_CHECKING

from s4c_hpc.core.lazy import lazily
from s4c_hpc.markers.blocked import Blocked, blocked
from s4c_hpc.markers.compat import CompatNames, compat_name, compat_names
from s4c_hpc.markers.export import ExportReport, export_markers
from s4c_hpc.markers.files import MarkerDetails, MarkerFile, list_markers, show_marker
from s4c_hpc.markers.manifest import Manifest, read_manifest
from s4c_hpc.markers.merge import merge_tables
from s4c_hpc.markers.naming import MarkerName, is_marker_name, parse_name
from s4c_hpc.markers.query import query
from s4c_hpc.markers.writers import ExportFormat, unknown_to_null

if TYPE_CHECKING:
    from s4c_hpc.markers.workspace_sql import open_sql

__getattr__ = lazily(__name__, {"workspace_sql": ["open_sql"]})  # DuckDB is heavy, most commands do without

__all__ = [
    "Blocked",
    "CompatNames",
    "ExportFormat",
    "ExportReport",
    "Manifest",
    "MarkerDetails",
    "MarkerFile",
    "MarkerName",
    "blocked",
    "compat_name",
    "compat_names",
    "export_markers",
    "is_marker_name",
    "list_markers",
    "merge_tables",
    "open_sql",
    "parse_name",
    "query",
    "read_manifest",
    "show_marker",
    "unknown_to_null",
]
