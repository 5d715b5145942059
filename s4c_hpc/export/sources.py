"""What of a workspace goes into a database: a list of files, each with what tells whether it has changed."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from s4c_hpc.core.errors import NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc, read_metadata
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.export.contract import CONTRACT, VALUES
from s4c_hpc.markers.files import MarkerFile
from s4c_hpc.markers.relations import ACQUISITIONS, PARCEL_VERSIONS, files_of
from s4c_hpc.markers.workspace_sql import acquisitions_table
from s4c_hpc.parcels import versions
from s4c_hpc.parcels.store import PARCELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file, or what stands for one."""

    name: str
    """Relative to the workspace."""
    relation: str
    """Table that its rows go to."""
    folder: str = ""
    """Set of markers or facts; empty of parcels and acquisitions."""
    period: str = ""
    tile: str = ""
    path: Path
    digest: str
    """Changes when its rows would."""


def sources_of(workspace: Workspace, *, all_versions: bool, columns: Sequence[str] | None) -> list[Source]:
    """Everything that can be exported: parcels first, then facts, then values.

    Parameters
    ----------
    all_versions : whether older versions of parcels are exported, too
    columns : patterns of columns of marker files

    Raises
    ------
    NoInputsError
        If there are no parcels.
    """
    found = parcel_sources(workspace, all_versions=all_versions)
    table = acquisitions_table(workspace)
    if table.num_rows:
        text = _digest(json.dumps(table.to_pylist(), default=str))
        found.append(
            Source(name=ACQUISITIONS.name, relation=ACQUISITIONS.name, path=workspace.root, digest=text),
        )
    there = files_of(workspace)
    for relation, files in there.facts.items():
        found += [_marker_source(workspace, file, relation.name, "") for file in files]
    for files in there.sets.values():
        found += [_marker_source(workspace, file, VALUES.name, json.dumps(columns)) for file in files]
    return found


def parcel_sources(workspace: Workspace, *, all_versions: bool) -> list[Source]:
    """Parcels of the newest version, or of all.

    Raises
    ------
    NoInputsError
        If there are no parcels.
    """
    kept = versions(workspace)
    if not kept:
        raise NoInputsError("there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import'")
    paths = [workspace.parcels / version / PARCELS for version in (kept if all_versions else kept[-1:])]
    return [
        Source(
            name=workspace.relative(path.parent),
            relation=PARCEL_VERSIONS.name,
            path=path,
            digest=_digest(_of_file(path)),
        )
        for path in paths
    ]


def chosen(sources: Sequence[Source], sets: Sequence[str] | None, since: dt.date | None) -> list[Source]:
    """Sources of some sets and of seasons that were not over on a day; parcels and acquisitions always.

    Raises
    ------
    NoInputsError
        If there is no such set, or nothing but parcels is left where sets are named.
    """
    there = sorted({s.folder for s in sources if s.folder})
    if unknown := sorted(set(sets or ()) - set(there)):
        raise NoInputsError(
            f"there is no marker set {listing(unknown)}",
            where="--marker-set",
            hint=f"there are {listing(there) or 'none'}",
        )
    return [
        s
        for s in sources
        if not s.folder or ((sets is None or s.folder in sets) and (since is None or last_day(s.period) >= since))
    ]


def last_day(period: str) -> dt.date:
    """The last day of a folder's period: a month, a year, or ``<first>_<last>``; far ahead where it says neither."""
    last = period.rpartition("_")[2]
    if re.fullmatch(r"\d{4}", last):
        return dt.date(int(last), 12, 31)
    if re.fullmatch(r"\d{4}-\d{2}", last):
        year, month = int(last[:4]), int(last[5:])
        return dt.date(year + month // 12, month % 12 + 1, 1) - dt.timedelta(days=1)
    return dt.date.fromisoformat(last) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", last) else dt.date.max


def _marker_source(workspace: Workspace, file: MarkerFile, relation: str, choice: str) -> Source:
    # The id of its task says what a file is made of; one without is known by its content.
    task = read_metadata(open_ipc(file.path).schema).get("task") or _of_file(file.path)
    return Source(
        name=workspace.relative(file.path),
        relation=relation,
        folder=file.set,
        period=file.period,
        tile=file.tile,
        path=file.path,
        digest=_digest(f"{task} {file.n_bytes} {choice}"),
    )


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(f"{CONTRACT} {text}".encode()).hexdigest()[:32]
