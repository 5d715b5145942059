"""Marker files of a season as one file in another format, whole or not at all."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from s4c_hpc.core.atomic import publish_new, publish_replacing
from s4c_hpc.core.errors import ConfigError, InputError, TemporaryError, is_disk_full
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.attributes import ParcelColumns, attribute_columns, parcels_version, read_geometry
from s4c_hpc.markers.files import choose_files
from s4c_hpc.markers.merge import Merged
from s4c_hpc.markers.query import chosen_ids
from s4c_hpc.markers.season import wide_season
from s4c_hpc.markers.writers import MAX_COLUMNS, WRITERS, ExportFormat
from s4c_hpc.parcels import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written."""

    path: Path
    format: ExportFormat
    n_rows: int
    n_columns: int
    """Marker columns, without ``NewID``, attributes and geometry."""
    n_bytes: int
    is_of_events: bool
    """Whether rows are events or decisions, and not parcels."""
    left_out: tuple[str, ...]
    """With ``compat``: chosen columns that the reference system has no name for."""


def export_markers(
    workspace: Workspace,
    out: Path,
    *,
    fmt: ExportFormat | None = None,
    set_name: str | None = None,
    tiles: Sequence[str] | None = None,
    periods: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    ids: Sequence[int] | None = None,
    ori_ids: Sequence[str] | None = None,
    attributes: Sequence[str] | None = None,
    parcels: Selection | None = None,
    compat: bool = False,
    force: bool = False,
    tell: Callable[[str], None] | None = None,
) -> ExportReport:
    """Write the chosen markers into one file: a row a parcel by NewID, all months side by side.

    Parameters
    ----------
    out : file to write; folders are made
    fmt : by the ending of ``out`` when not given
    compat : name columns as the reference system does; those without such a name are left out
    force : replace ``out`` if it is there
    set_name, tiles, periods, columns, ids, ori_ids, attributes, parcels, tell : as in ``query``

    Raises
    ------
    NoInputsError
        If no file, column or parcel matches.
    ConfigError
        If the ending is not known, or attributes and markers share a name.
    InputError
        If ``out`` exists, cannot be written, or cannot hold so many columns.
    TemporaryError
        If the disk is full.
    """
    fmt = format_of(out) if fmt is None else fmt
    if out.exists() and not force:
        raise _exists(out)
    files = choose_files(workspace, set_name, tiles, periods)
    wanted = chosen_ids(workspace, files, ids, ori_ids, parcels, tell, of_files=tiles is not None)
    season = wide_season(files, columns=columns, ids=wanted, compat=compat)
    before = attribute_columns(workspace, parcels_version(workspace, files), attributes) if attributes else None
    geometry = read_geometry(workspace, parcels_version(workspace, files)) if fmt.has_geometry else None
    n_rows, n_columns = season.merged.n_rows, len(season.merged.schema) - 1
    schema, batches = _with_parcels(season.merged, before, geometry.columns if geometry else None)
    if len(schema) > MAX_COLUMNS.get(fmt, len(schema)):
        raise InputError(
            f"a {fmt} file holds at most {MAX_COLUMNS[fmt]} columns, these are {len(schema)}",
            where=str(out),
            hint="choose columns or periods, or export geoparquet",
        )
    with whole_file(out, force=force) as path:
        WRITERS[fmt](path, schema, batches, geometry)
    return ExportReport(
        path=out,
        format=fmt,
        n_rows=n_rows,
        n_columns=n_columns,
        n_bytes=out.stat().st_size,
        is_of_events=files[0].is_of_events,
        left_out=season.left_out,
    )


def format_of(out: Path) -> ExportFormat:
    """The format that a file's ending says; the content always is what the ending says."""
    try:
        return ExportFormat(out.suffix.lower().removeprefix("."))
    except ValueError:
        known = ", ".join(f".{f}" for f in ExportFormat)
        raise ConfigError(
            f"{out.suffix or 'no ending'!r} does not name a format", where=str(out), hint=f"known are {known}"
        ) from None


def _with_parcels(
    merged: Merged, before: ParcelColumns | None, after: ParcelColumns | None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Marker columns between attributes and geometry."""
    first, *markers = list(merged.schema)
    fields = [first, *(before.fields if before else []), *markers, *(after.fields if after else [])]
    names = [f.name.lower() for f in fields]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"columns would have the same name: {', '.join(twice)}", hint="choose other attributes")
    schema = pa.schema(fields, merged.schema.metadata)

    def joined() -> Iterator[pa.RecordBatch]:
        for batch in merged.batches:
            ids = np.asarray(batch.column(0))
            rows = [
                batch.column(0),
                *(before.rows(ids) if before else []),
                *batch.columns[1:],
                *(after.rows(ids) if after else []),
            ]
            yield pa.RecordBatch.from_arrays(rows, schema=schema)

    return schema, joined()


@contextlib.contextmanager
def whole_file(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield a private path of the same name; on a clean exit it becomes ``out``, else nothing is left."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own, because drivers choose by the ending and put journals beside the file.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as folder:
            path = Path(folder) / out.name
            yield path
            if force:
                publish_replacing(path, out)
            elif not publish_new(path, out):
                raise _exists(out)
    except OSError as error:
        if is_disk_full(error):
            raise TemporaryError("the disk is full", where=str(out), hint="make room, or export elsewhere") from error
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be written ({error})", where=str(out)) from error


def _exists(out: Path) -> InputError:
    return InputError("exists already", where=str(out), hint="choose another name, or replace it with --force")
