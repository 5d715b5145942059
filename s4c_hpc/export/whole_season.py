"""A season as one folder: a file a marker set, a file a kind of facts, the parcels, and a list of what there is."""

from __future__ import annotations

import datetime as dt
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from s4c_hpc.config import Config
from s4c_hpc.core.errors import InputError, NoInputsError, TemporaryError, is_disk_full, listing
from s4c_hpc.core.ipc import open_ipc, read_metadata, write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.export.sources import last_day
from s4c_hpc.markers.export import export_markers
from s4c_hpc.markers.files import MarkerFile
from s4c_hpc.markers.part import ID_COLUMN, Ids
from s4c_hpc.markers.query import as_new_ids
from s4c_hpc.markers.relations import PARCELS, files_of, name_of
from s4c_hpc.markers.sql_views import DICTIONARY, described
from s4c_hpc.parcels import Selection, latest_version, numbers_of, read_attributes, select, store

CONTENTS: Final = "season.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file of the folder."""

    file: str
    about: str
    n_rows: int
    n_columns: int
    n_bytes: int


def export_season(
    workspace: Workspace,
    config: Config,
    out: Path,
    *,
    fmt: str = "parquet",
    ids: Sequence[int] | None = None,
    ori_ids: Sequence[str] | None = None,
    parcels: Selection | None = None,
    force: bool = False,
    tell: Callable[[str], None] | None = None,
) -> list[Written]:
    """Write everything of the configured season that is a table.

    Parameters
    ----------
    out : folder, which is there afterwards as a whole or not at all
    fmt : ``parquet`` or ``arrow``; parcels are GeoParquet in either case
    ids, ori_ids, parcels : as in ``markers.query``
    force : replace a folder that an earlier export has made
    tell : takes a sentence on parcels that have no markers

    Raises
    ------
    NoInputsError
        If there is nothing of that season, or no parcel is chosen.
    InputError
        If a parcel is not known, or the folder is there.
    """
    start, end = config.site.season_start, config.site.season_end
    version = latest_version(workspace)
    if version is None:
        raise NoInputsError("there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import'")
    there = files_of(workspace)
    sets = {name: _of_season(files, start, end) for name, files in there.sets.items()}
    facts = {relation: _of_season(files, start, end) for relation, files in there.facts.items()}
    if not any(sets.values()) and not any(facts.values()):
        raise NoInputsError(
            f"there is nothing of the season {start} to {end}", where=str(workspace.markers), hint="run 's4c run' first"
        )
    wanted = _wanted(workspace, version, ids, ori_ids, parcels)
    written: list[Written] = []
    told = tell or (lambda _: None)

    with _whole_folder(out, force=force) as folder:

        def add(name: str, about: str, table: pa.Table) -> None:
            written.append(_write(folder / f"{name}.{fmt}", about, table))

        written.append(_write_parcels(workspace, version, folder / f"{PARCELS.name}.parquet", wanted))
        for folder_name, files in sets.items():
            if not files:
                continue
            name = name_of(folder_name)
            rows = [row for f in files for row in described(f.tile, open_ipc(f.path).schema)]
            listed = None if wanted is None else _with_markers(files, wanted, name, told)
            if listed is not None and not listed.size:
                continue
            report = export_markers(
                workspace,
                folder / f"{name}.{fmt}",
                set_name=folder_name,
                periods=sorted({f.period for f in files}),
                ids=None if listed is None else listed.tolist(),
            )
            about = f"Markers of set {name}: a row a parcel, a column a day"
            written.append(_said(report.path, about, report.n_rows, 1 + report.n_columns))
            add(f"{name}_columns", f"Columns of set {name}: what each holds", pa.Table.from_pylist(rows, DICTIONARY))
        for relation, files in facts.items():
            if files:
                add(relation.name, relation.about, _facts(files, wanted))
        contents = {
            "site": config.site.name,
            "season": [start.isoformat(), end.isoformat()],
            "parcels_version": version,
            "files": [asdict(w) for w in written],
            "sources": [_source(workspace, f) for files in (*sets.values(), *facts.values()) for f in files],
        }
        (folder / CONTENTS).write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return written


def _source(workspace: Workspace, file: MarkerFile) -> dict[str, str | int | None]:
    """A file that went in, and what its manifest says; null where it has none of its own."""
    return {
        "file": workspace.relative(file.path),
        "task": read_metadata(open_ipc(file.path).schema).get("task"),
        "parcels_version": file.parcels_version,
        "products": file.n_products,
        "missing": file.n_missing,
    }


def is_of_season(period: str, start: dt.date, end: dt.date) -> bool:
    """Whether files of a folder belong to a season: months and spans that end in it, the year in which it ends."""
    if re.fullmatch(r"\d{4}", period):
        return int(period) == end.year
    return start <= last_day(period) <= last_day(f"{end:%Y-%m}")


def _of_season(files: Sequence[MarkerFile], start: dt.date, end: dt.date) -> list[MarkerFile]:
    return [f for f in files if is_of_season(f.period, start, end)]


def _wanted(
    workspace: Workspace,
    version: str,
    ids: Sequence[int] | None,
    ori_ids: Sequence[str] | None,
    parcels: Selection | None,
) -> Ids | None:
    """NewIDs that are asked for, all of which are parcels; ``None``: all."""
    listed: Ids | None = None
    if ids is not None or ori_ids is not None:
        named = [] if ori_ids is None else numbers_of(workspace, version, ori_ids).tolist()
        listed = np.union1d(as_new_ids(ids or ()), named).astype(np.int32)
        known = read_attributes(workspace, version, [ID_COLUMN])[ID_COLUMN].to_numpy()
        if unknown := np.setdiff1d(listed, known).tolist():
            raise InputError(
                f"{len(unknown)} of {listed.size} are no parcels: NewID {listing([str(i) for i in unknown])}"
            )
    if parcels is not None and not parcels.is_everything:
        found: Ids = np.unique(select(workspace, version, parcels)).astype(np.int32)
        listed = found if listed is None else np.intersect1d(listed, found)
    if listed is not None and not listed.size:
        raise NoInputsError("no parcel is chosen", hint="choose other parcels")
    return listed


def _with_markers(files: Sequence[MarkerFile], wanted: Ids, name: str, tell: Callable[[str], None]) -> Ids:
    """Those that the files of a set have, perhaps none; the others are told of."""
    known = np.unique(np.concatenate([open_ipc(f.path).read_all()[ID_COLUMN].to_numpy() for f in files]))
    there = np.intersect1d(wanted, known)
    if there.size < wanted.size:
        missing = [str(i) for i in np.setdiff1d(wanted, known)]
        tell(f"{len(missing)} of {wanted.size} parcels have no markers of set {name}: NewID {listing(missing)}")
    return there.astype(np.int32)


def _facts(files: Sequence[MarkerFile], wanted: Ids | None) -> pa.Table:
    """Files below each other, with their season and tile."""
    tables = []
    for file in files:
        table = open_ipc(file.path).read_all().replace_schema_metadata(None)
        if wanted is not None:
            table = table.filter(pc.is_in(table[ID_COLUMN], value_set=pa.array(wanted)))
        for place, (name, text) in enumerate((("period", file.period), ("tile", file.tile))):
            table = table.add_column(1 + place, name, pa.array([text] * table.num_rows, pa.string()))
        tables.append(table)
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def _write_parcels(workspace: Workspace, version: str, path: Path, wanted: Ids | None) -> Written:
    source = workspace.parcels / version / store.PARCELS
    table = pq.read_table(source, partitioning=None)
    if wanted is not None:
        table = table.filter(pc.is_in(table[ID_COLUMN], value_set=pa.array(wanted)))
    pq.write_table(table.sort_by(ID_COLUMN), path, compression="zstd")
    return _said(path, f"{PARCELS.about}, with outlines (GeoParquet)", table.num_rows, table.num_columns)


def _write(path: Path, about: str, table: pa.Table) -> Written:
    if path.suffix == ".arrow":
        write_ipc(path, table.schema, table.to_batches())
    else:
        pq.write_table(table, path, compression="zstd")
    return _said(path, about, table.num_rows, table.num_columns)


def _said(path: Path, about: str, n_rows: int, n_columns: int) -> Written:
    return Written(file=path.name, about=about, n_rows=n_rows, n_columns=n_columns, n_bytes=path.stat().st_size)


@contextmanager
def _whole_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """A private folder that becomes ``out`` on a clean exit."""
    if out.exists() and not (force and (out / CONTENTS).is_file()):
        hint = (
            "replace it with --force" if (out / CONTENTS).is_file() else "it is no export of a season: choose another"
        )
        raise InputError("exists already", where=str(out), hint=hint)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as temporary:
            folder = Path(temporary) / "new"
            folder.mkdir()
            yield folder
            if force and out.exists():
                out.rename(Path(temporary) / "old")
            folder.rename(out)
    except OSError as error:
        if is_disk_full(error):
            raise TemporaryError("the disk is full", where=str(out), hint="make room, or export elsewhere") from error
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be written ({error})", where=str(out)) from error
