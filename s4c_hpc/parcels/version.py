"""Import a declaration into an immutable version of the workspace's parcels.

A version is a folder ``parcels/v0001`` with ``parcels.parquet`` (GeoParquet 1.1), ``tiles.parquet`` and
``report.json``; behind the first also ``layers.parquet``, what it adds to the layers of each tile. It appears whole or
not at all, is never changed, and holds every row of the file: what cannot be used has a reason. The same content gives
the same bytes, whatever the order of rows in the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from s4c_hpc.config import Config, ImportMode
from s4c_hpc.config.model import Parcels
from s4c_hpc.core.errors import NoInputsError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.compare import Compared, compare
from s4c_hpc.parcels.croptable import CropTable, join, read_crop_table, read_hcat_table
from s4c_hpc.parcels.declare import declare, reserved
from s4c_hpc.parcels.diff import changes
from s4c_hpc.parcels.findings import site_report, strata_notes, summary
from s4c_hpc.parcels.geoparquet import write_geoparquet
from s4c_hpc.parcels.layers import write_layers
from s4c_hpc.parcels.modes import Previous, previous_version, with_previous
from s4c_hpc.parcels.projection import Geometries
from s4c_hpc.parcels.publish import disk_full_is_temporary, publish, temporary_folder
from s4c_hpc.parcels.site import read_site
from s4c_hpc.parcels.store import PARCELS, REPORT, TILES, same_content
from s4c_hpc.parcels.table import Built, Declared, build, tile_table

_MANY_FROM, _MANY_SHARE = 20, 0.2
"""Parcels that a version has at least, and the share of them, above which an update deletes suspiciously many."""


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
    """Parcels of the version, without deleted ones."""
    n_usable: int
    """Rows with a polygon and a tile."""
    counts: Mapping[str, int]
    """Rows (or pairs) of each finding; see ``report.json``."""
    mode: ImportMode
    diff: Mapping[str, int]
    """Parcels by what became of them since the version before, see ``diff.KINDS``."""
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
    mode: ImportMode | None = None,
) -> ImportReport:
    """Make a version of the parcels in ``file``, or find that the latest version is the same.

    Parameters
    ----------
    file, layer, id_columns, crop_column, mode : as in the configuration, which they override

    Raises
    ------
    ConfigError
        No file is named, an own tile is not in metres, or the key of pseudonyms cannot be used.
    InputError, MissingDataError
        The file cannot be used, with what to do about it.
    NoInputsError
        The layer is empty, has no usable polygon, or none lies in a tile.
    TemporaryError
        The disk is full, or another import was faster.
    """
    settings = config.parcels.model_copy(
        update={
            name: value
            for name, value in (
                ("file", file),
                ("layer", layer),
                ("id_columns", None if id_columns is None else tuple(id_columns)),
                ("crop_column", crop_column),
                ("mode", mode),
            )
            if value is not None
        }
    )
    with disk_full_is_temporary(workspace), temporary_folder(workspace) as folder:
        return _import(workspace, config, settings, folder)


def _import(workspace: Workspace, config: Config, settings: Parcels, folder: Path) -> ImportReport:
    previous = previous_version(workspace)
    site = read_site(settings)
    source = declare(settings, workspace, previous, folder)
    declared = with_previous(source.declared, previous, settings.mode, reserved(settings))
    crops = join(declared.ori_crop, *_tables(settings))
    declared, earlier = _beside_previous(declared, previous, settings)
    built = build(declared, crops.columns, earlier, config, site)
    _require_some(built, declared, source.layer.file)
    following = f"v{int(previous.name[1:]) + 1:04d}" if previous else "v0001"
    earlier = None if earlier is None else earlier.taken(built.rows)
    changed = changes(previous, following, built.table, earlier)
    write_geoparquet(
        folder / PARCELS, built.table, built.outlines, built.bounds, built.kinds, declared.crs, built.row_groups
    )
    tiles = tile_table(built, declared.crs_text)
    pq.write_table(tiles, folder / TILES, compression="zstd", version="2.6")
    if previous is not None and earlier is not None:
        write_layers(
            folder,
            workspace,
            previous.name,
            built,
            tiles,
            declared.crs_text,
            unchanged=earlier.same & (earlier.tile == built.table.column("tile").to_numpy()),
            limits=settings,
        )
    present = built.present()
    counts, report = summary(
        present,
        source.layer,
        settings.id_columns,
        settings.crop_column,
        config,
        declared.crs,
        filters=site.filters,
    )
    placed = site_report(site, present)
    report |= {
        "version": following,
        "mode": settings.mode.value,
        "crs": declared.crs_text,
        "diff": changed.report(),
        "notes": [
            *report["notes"],
            *crops.notes,
            *site.notes,
            *strata_notes(placed, counts["parcels"]),
            *_deletion_note(previous, changed.counts["deleted"], settings.mode, source.layer.file),
        ],
        **placed,
        **({"crop_table": crops.report} if crops.report else {}),
        **({"pseudonyms": source.pseudonyms} if source.pseudonyms else {}),
    }
    text = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8")
    same = previous is not None and changed.is_empty and same_content(previous.path, folder)
    if not same:
        publish(folder, workspace.parcels / following)
    version = previous.name if same and previous is not None else following
    return ImportReport(
        version=version,
        path=workspace.parcels / version,
        new_version=not same,
        mode=settings.mode,
        n_parcels=counts["parcels"],
        n_usable=counts["usable"],
        counts=counts,
        diff=changed.counts,
        tiles=dict(zip(tiles["tile"].to_pylist(), tiles["n_parcels"].to_pylist(), strict=True)),
        notes=tuple(report["notes"]),
    )


def _tables(settings: Parcels) -> tuple[CropTable | None, CropTable | None]:
    return (
        None if settings.crop_table is None else read_crop_table(settings.crop_table),
        None if settings.hcat_table is None else read_hcat_table(settings.hcat_table),
    )


def _beside_previous(
    declared: Declared, previous: Previous | None, settings: Parcels
) -> tuple[Declared, Compared | None]:
    """Outlines beside those of the version before, and those within the tolerance replaced by them."""
    if previous is None:
        return declared, None
    outlines, reason = declared.repaired.outlines, declared.repaired.reason.copy()
    kept: list[tuple[NDArray[np.int64], Geometries]] = [(np.empty(0, np.int64), np.empty(0, dtype=object))]
    earlier = compare(
        previous.path / PARCELS,
        declared.new_id,
        declared.crs,
        outlines.wkb,
        lambda rows, old: kept.append((rows, old)),
        settings.geometry_tolerance_m,
    )
    rows = np.concatenate([rows for rows, _ in kept])
    reason[rows] = ""
    outlines = outlines.replaced(rows, np.concatenate([old for _, old in kept]))
    return replace(declared, repaired=replace(declared.repaired, outlines=outlines, reason=reason)), earlier


def _deletion_note(previous: Previous | None, n_deleted: int, mode: ImportMode, file: str) -> list[str]:
    """What to say of an update that deletes so much that its file may hold changes only."""
    if previous is None or mode is not ImportMode.UPDATE:
        return []
    n = previous.report["counts"]["parcels"]
    if n < _MANY_FROM or n_deleted <= _MANY_SHARE * n:
        return []
    what = f"{n_deleted} of {n} parcels are missing from {file} and count as deleted"
    back = "to go back, import the earlier declaration again first"
    return [f"{what}; if it holds changes only, import it with --mode incremental ({back})"]


def _require_some(built: Built, declared: Declared, where: str) -> None:
    if not built.assignment.tiles:
        built = built.present()  # what an update deletes is not in the file, whose fault this is
        usable = ~built.outlines.missing
        if built.off_site.any() and (built.off_site | ~usable).all():
            reasons = sorted({str(r) for r in built.reason[built.off_site]})
            what = f"none of {int(usable.sum())} parcels belongs to the site"
            hint = "check parcels.within and its reference system, and parcels.where"
        elif usable.any():
            bounds = [*np.nanmin(built.bounds[:, :2], axis=0), *np.nanmax(built.bounds[:, 2:], axis=0)]
            reasons = [f"bounds {np.round(bounds, 3).tolist()} in {declared.crs.name}"]
            what = f"none of {int(usable.sum())} parcels lies in a tile"
            hint = "check the CRS of the file and the tiles in the section grid"
        else:
            reasons = sorted({str(r) for r in built.reason})
            what = f"none of {len(usable)} features is a polygon that can be used"
            hint = "choose another layer or file"
        raise NoInputsError(f"{what}: {listing(reasons)}", where=where, hint=hint)
