"""The marker files of a workspace: which there are, and what one holds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, S4cError, listing
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.manifest import Manifest, read_manifest

DATED = "s4c-markers-"
"""How the contracts of files begin whose columns are values of dates."""

EVENT_KEYS = frozenset({"event", "decision"})
"""Columns that tell rows of one parcel apart."""
EVIDENCE = "s4c-practices-evidence"
"""Contract of files that have no manifest of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerFile:
    """One marker file, from its path, its header and its manifest."""

    path: Path
    set: str
    period: str
    """``YYYY-MM``; of a table the year in which the season ends."""
    site: str
    tile: str
    n_bytes: int
    n_columns: int
    """Marker columns, without ``NewID``."""
    n_parcels: int | None
    """This and the following are ``None`` where the manifest cannot be read."""
    n_products: int | None
    n_missing: int | None
    """Products of this tile and month that are not in the file."""
    parcels_version: str | None
    """The first with these outlines: a later one may have the same, and other attributes."""
    parcels_key: str | None
    """``parcels:<16 hex>``; ``None`` where the file cannot be read."""
    created: str | None
    """ISO 8601, UTC."""
    is_table: bool
    """Whether its columns are facts of the whole season, such as crop types, and not values of dates."""
    is_of_events: bool
    """Whether a row is an event or a decision: a parcel may have several, or none."""
    problem: str
    """What is wrong with the file or its manifest; empty if nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerDetails:
    """One marker file with all that is said about it."""

    file: MarkerFile
    metadata: dict[str, str]
    """Schema metadata of the file."""
    columns: dict[str, dict[str, str]]
    """Column -> type, variable, statistic, unit, date, sensor, formula ..., in the file's order."""
    manifest: Manifest | None


def marker_stem(set_name: str, period: str, site: str, tile: str) -> str:
    """Path of a marker file relative to the workspace, without ``.arrow``; its manifest has the same stem."""
    return f"markers/{set_name}/{period}/{site}_{tile}"


def list_markers(
    workspace: Workspace,
    *,
    set_name: str | None = None,
    tiles: Sequence[str] | None = None,
    periods: Sequence[str] | None = None,
) -> list[MarkerFile]:
    """Marker files by set, period and tile; none is fine.

    Parameters
    ----------
    set_name : one set; all when not given
    tiles, periods : names or patterns (``32U*``, ``2018-0[5-7]``); all when not given
    """
    found = []
    for path in sorted(workspace.markers.glob("*/*/*.arrow")):
        name, period, (site, _, tile) = path.parts[-3], path.parts[-2], path.stem.partition("_")
        if set_name in {None, name} and _matches(tile, tiles) and _matches(period, periods):
            found.append(_inspect(path, name, period, site, tile))
    return found


def show_marker(path: Path) -> MarkerDetails:
    """Everything about one marker file.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InputError
        If it is not a marker file.
    """
    if not path.exists():
        raise MissingDataError("no such file", where=str(path), hint="'s4c markers list' shows which there are")
    schema = open_ipc(path).schema
    metadata = read_metadata(schema)
    if "contract" not in metadata or "period" not in metadata:
        raise InputError(
            "is an Arrow file but not a marker file", where=str(path), hint="'s4c markers list' shows which there are"
        )
    try:
        manifest = read_manifest(path)
    except InputError:
        manifest = None
    columns = {
        f.name: {"type": str(f.type)} | {k.decode(): v.decode() for k, v in (f.metadata or {}).items()} for f in schema
    }
    file = _inspect(path, metadata["set"], metadata["period"], metadata["site"], metadata["tile"])
    return MarkerDetails(file=file, metadata=metadata, columns=columns, manifest=manifest)


def choose_files(
    workspace: Workspace, set_name: str | None, tiles: Sequence[str] | None, periods: Sequence[str] | None
) -> list[MarkerFile]:
    """Marker files of one set that can be read.

    Raises
    ------
    NoInputsError
        If nothing matches; says what there is.
    ConfigError
        If there are several sets and none was named.
    InputError
        If one of the files is damaged, or they are of several sites.
    """
    everything = list_markers(workspace)
    if not everything:
        raise NoInputsError("there are no marker files", where=str(workspace.markers), hint="run 's4c run' first")
    sets = sorted({f.set for f in everything})
    if set_name is None:
        # Crop types are asked for by name, so that they do not get in the way of the only set of markers.
        likely = sorted({f.set for f in everything if not f.is_table}) or sets
        if len(likely) > 1:
            raise ConfigError(f"there are {len(sets)} marker sets: {listing(sets)}", hint="name one with --marker-set")
        set_name = likely[0]
    elif set_name not in sets:
        raise NoInputsError(
            f"there is no marker set {set_name!r}", where=str(workspace.markers), hint=f"there are {listing(sets)}"
        )
    of_set = [f for f in everything if f.set == set_name]
    chosen = [f for f in of_set if _matches(f.tile, tiles) and _matches(f.period, periods)]
    if not chosen:
        raise NoInputsError(
            f"no marker file of set {set_name} is of tiles {listing(list(tiles or ['*']))} "
            f"and periods {listing(list(periods or ['*']))}",
            where=str(workspace.markers),
            hint=f"tiles are {listing(sorted({f.tile for f in of_set}))}; "
            f"periods are {listing(sorted({f.period for f in of_set}), 24)}",
        )
    require_one_site(workspace, chosen)
    for file in chosen:
        open_ipc(file.path)
    return chosen


def require_one_site(workspace: Workspace, files: Sequence[MarkerFile]) -> None:
    """Refuse files of several sites, whose rows would be of the same parcels.

    Raises
    ------
    InputError
        If they are.
    """
    sites = sorted({f.site for f in files})
    if len(sites) > 1:
        raise InputError(
            f"there are markers of {len(sites)} sites: {listing(sites)}",
            where=str(workspace.markers),
            hint="run 's4c run', which removes what it made with an earlier configuration",
        )


def choose_columns(names: Sequence[str], patterns: Sequence[str] | None) -> list[str]:
    """Names that match any pattern, in their order; all when there are no patterns.

    Raises
    ------
    NoInputsError
        Names a pattern that matches nothing, and the nearest column.
    """
    if patterns is None:
        return list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            close = difflib.get_close_matches(pattern.replace("*", ""), names, n=3, cutoff=0.3)
            raise NoInputsError(
                f"no marker column matches {pattern!r}",
                hint=f"near are {listing(close)}" if close else f"the first are {listing(list(names), 5)}",
            )
    return [name for name in names if _matches(name, patterns)]


def _matches(name: str, patterns: Sequence[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)


def _inspect(path: Path, set_name: str, period: str, site: str, tile: str) -> MarkerFile:
    problems: list[str] = []
    n_columns, metadata, names = 0, dict[str, str](), frozenset[str]()
    try:
        schema = open_ipc(path).schema
        names = frozenset(schema.names)
        n_columns, metadata = len(schema) - 1, read_metadata(schema)
    except S4cError as error:
        problems.append(str(error))
    manifest = None
    try:
        manifest = read_manifest(path)
        if manifest.task_id != metadata.get("task", manifest.task_id):
            # A run was killed between the two files, or is just writing them.
            problems.append("the manifest is of another version of the file; run 's4c run' again")
    except S4cError as error:
        # Evidence goes with the file that it speaks of, whose manifest says what went in.
        if not metadata.get("contract", "").startswith(EVIDENCE):
            problems.append(str(error))
    return MarkerFile(
        path=path,
        set=set_name,
        period=period,
        site=site,
        tile=tile,
        n_bytes=path.stat().st_size,
        n_columns=n_columns,
        n_parcels=None if manifest is None else manifest.n_parcels,
        n_products=None if manifest is None else len(manifest.inputs),
        n_missing=None if manifest is None else len(manifest.missing),
        parcels_version=None if manifest is None else manifest.parcels_version,
        parcels_key=metadata.get("parcels"),
        created=None if manifest is None else manifest.created,
        is_table=not metadata.get("contract", DATED).startswith(DATED),
        is_of_events=bool(EVENT_KEYS & names),
        problem="; ".join(problems),
    )
