"""Import a declaration into an immutable version of the workspace's parcels.

A version is a folder ``parcels/v0001`` with ``parcels.parquet`` (GeoParquet 1.1), ``tiles.parquet`` and
``report.json``. It appears whole or not at all, is never changed, and holds every row of the file: what cannot be
used has a reason. The same content gives the same bytes, whatever the order of rows in the file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from s4c_hpc.config import Config
from s4c_hpc.core.atomic import sync_directory, sync_file
from s4c_hpc.core.errors import ConfigError, NoInputsError, TemporaryError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.columns import as_text
from s4c_hpc.parcels.findings import summary
from s4c_hpc.parcels.geoparquet import write_geoparquet
from s4c_hpc.parcels.ids import number, original_ids
from s4c_hpc.parcels.store import PARCELS, REPORT, TILES, latest_version, versions
from s4c_hpc.parcels.table import Built, build, tile_table

if TYPE_CHECKING:
    from s4c_hpc.parcels.read import Layer

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did."""

    version: str
    """Name of the version that now holds this content, e.g. ``v0001``."""
    path: Path
    """Its folder."""
    new_version: bool
    """``False`` if the latest version had this content already."""
    n_parcels: int
    """Rows of the version: all rows of the file."""
    n_usable: int
    """Rows with a polygon and a tile."""
    counts: Mapping[str, int]
    """Rows (or pairs) of each finding; see ``report.json``."""
    tiles: Mapping[str, int]
    """Number of parcels of each tile."""
    notes: tuple[str, ...]
    """Sentences for the user: renamed columns, what the reader had to say."""


def import_parcels(
    file: Path | None,
    workspace: Workspace,
    config: Config,
    *,
    layer: str | None = None,
    id_columns: Sequence[str] | None = None,
    crop_column: str | None = None,
) -> ImportReport:
    """Make a version of the parcels in ``file``, or find that the latest version is the same.

    Parameters
    ----------
    file, layer, id_columns, crop_column : as in the configuration, which they override

    Raises
    ------
    ConfigError
        No file is named, or an own tile is not in metres.
    InputError, MissingDataError
        The file cannot be used, with what to do about it.
    NoInputsError
        The layer is empty, has no usable polygon, or none lies in a tile.
    TemporaryError
        The disk is full, or another import was faster.
    """
    settings = config.parcels
    file = settings.file if file is None else file
    if file is None:
        raise ConfigError("no parcel file is named", where="parcels.file", hint="set it or name a file")
    ids = tuple(settings.id_columns if id_columns is None else id_columns)
    crop = settings.crop_column if crop_column is None else crop_column
    from s4c_hpc.parcels.read import read_layer  # noqa: PLC0415 - loads GDAL and pandas, which workers do without

    source = read_layer(file, settings.layer if layer is None else layer, [*ids, *([crop] if crop else [])])
    ori_id = original_ids(source.attributes, ids, str(file))
    ori_crop = as_text(source.attributes.column(crop)) if crop else np.full(len(ori_id), None, dtype=object)
    built = build(source, ori_id, ori_crop, number(ori_id, _known_ids(workspace)), config)
    _require_some(built, source, str(file))
    previous = latest_version(workspace)
    following = f"v{int(previous[1:]) + 1:04d}" if previous else "v0001"
    with _disk_full_is_temporary(workspace), _temporary_folder(workspace) as folder:
        write_geoparquet(folder / PARCELS, built.table, built.geometry, source.crs, built.row_groups)
        tiles = tile_table(built, source.crs.to_string())
        pq.write_table(tiles, folder / TILES, compression="zstd", version="2.6")
        counts, report = summary(built, source, ids, crop, config)
        (folder / REPORT).write_text(
            json.dumps({"version": following, **report}, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
        same = previous is not None and _same_content(workspace.parcels / previous, folder)
        if not same:
            _publish(folder, workspace.parcels / following)
    version = previous if same and previous is not None else following
    return ImportReport(
        version=version,
        path=workspace.parcels / version,
        new_version=not same,
        n_parcels=built.table.num_rows,
        n_usable=counts["usable"],
        counts=counts,
        tiles=dict(zip(tiles["tile"].to_pylist(), tiles["n_parcels"].to_pylist(), strict=True)),
        notes=(*source.notes, *built.notes),
    )


def _known_ids(workspace: Workspace) -> dict[str, int]:
    """Number of every id that any version has held."""
    known: dict[str, int] = {}
    for version in versions(workspace):
        table = _read(workspace.parcels / version / PARCELS, ["ori_id", "NewID"])
        known.update(zip(table["ori_id"].to_pylist(), table["NewID"].to_pylist(), strict=True))
    return known


def _require_some(built: Built, source: Layer, where: str) -> None:
    if not built.assignment.tiles:
        usable = ~shapely.is_missing(built.geometry)
        if usable.any():
            reasons = [f"bounds {np.round(shapely.total_bounds(built.geometry), 3).tolist()} in {source.crs.name}"]
            what = f"none of {int(usable.sum())} parcels lies in a tile"
            hint = "check the CRS of the file and the tiles in the section grid"
        else:
            reasons = sorted({str(r) for r in built.reason})
            what = f"none of {len(usable)} features is a polygon that can be used"
            hint = "choose another layer or file"
        raise NoInputsError(f"{what}: {listing(reasons)}", where=where, hint=hint)


def _same_content(old: Path, new: Path) -> bool:
    """Whether both folders hold the same parcels and tiles."""
    return _read(old / TILES).equals(_read(new / TILES)) and (
        (old / PARCELS).read_bytes() == (new / PARCELS).read_bytes()
        # Another version of the library may have written the same values in other bytes.
        or _read(old / PARCELS).equals(_read(new / PARCELS), check_metadata=True)
    )


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    # Without partitioning: a folder called a=b somewhere above must not become a column.
    return pq.read_table(path, columns=columns, partitioning=None)


def _publish(folder: Path, final: Path) -> None:
    """Give a finished folder its final name, durable and in one step."""
    for name in (PARCELS, TILES, REPORT):
        sync_file(folder / name)
    sync_directory(folder)
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(final)
    except OSError as error:
        if final.exists():
            raise TemporaryError(
                f"another import has just made {final.name}", where=str(final), hint="run the import again"
            ) from error
        raise
    sync_directory(final.parent)


@contextlib.contextmanager
def _temporary_folder(workspace: Workspace) -> Iterator[Path]:
    folder = workspace.temporary / f"parcels-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _disk_full_is_temporary(workspace: Workspace) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise TemporaryError(
            f"the disk is full ({error.strerror})",
            where=str(workspace.root),
            hint="make room and run the import again; nothing was changed",
        ) from error
