"""Marker files of the reference system as series files, beside our own and never among them.

``imported/<name>/`` holds a series file an acquisition, which ``read_series`` opens like any other, and ``import.json``
with what was left out and why. Nothing else of the workspace knows of them: no plan, no marker file, no pointer. The
name is that of what went in (bytes, factors, parcels), so that the same import is made once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from s4c_hpc.core.atomic import sha256_file, sync_directory, sync_file
from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError, listing
from s4c_hpc.core.ids import canonical_json
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers.compat_parse import ForeignColumns, read_compat_names
from s4c_hpc.markers.compat_source import ID_COLUMN, ForeignTable, open_foreign
from s4c_hpc.markers.compat_values import Scales
from s4c_hpc.markers.compat_write import ImportWriter
from s4c_hpc.parcels import latest_version, read_attributes
from s4c_hpc.series.contract import ID

CONTRACT: Final = "s4c-import-1"
FOLDER: Final = "imported"
REPORT: Final = "import.json"
_NO_NUMBERS: Final = "does not hold numbers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of a file of the reference."""

    name: str
    """Folder below ``imported``."""
    source: str
    """The file as it was given."""
    n_rows: int
    n_parcels: int
    """Rows whose parcel is one of ours."""
    n_strangers: int
    """Rows whose parcel is not, and which are left out."""
    strangers: tuple[int, ...]
    """The first of their numbers."""
    n_columns: int
    """Columns that were imported."""
    series: tuple[str, ...]
    """Series files, relative to the workspace."""
    left_out: Mapping[str, str]
    """Column -> why it was not imported."""
    notes: tuple[str, ...]
    scale: Mapping[str, float]

    @property
    def reasons(self) -> list[tuple[str, list[str]]]:
        """Why columns were left out, and which, most first."""
        counted = Counter(self.left_out.values())
        return [(r, [c for c, why in self.left_out.items() if why == r]) for r, _ in counted.most_common()]


def import_foreign(
    path: Path, workspace: Workspace, *, tile: str | None = None, parcels_by: str = ID, scale: Scales | None = None
) -> ImportReport:
    """Import a marker file of the reference; the same file again gives what is there.

    Parameters
    ----------
    path : ``.ipc`` or ``.csv``
    tile : tile of columns whose name has none
    parcels_by : column of our parcels that has the numbers which the file calls ``NewID``
    scale : factors by which stored values become physical ones

    Raises
    ------
    MissingDataError, InputError, NoInputsError
        If the file cannot be read, holds values that cannot be what its columns say, or has no parcel or no column of
        use. Nothing is left then.
    """
    scale = scale or Scales({})
    version = latest_version(workspace)
    if version is None:
        raise MissingDataError(
            "there are no parcels", where=str(workspace.parcels), hint="run 's4c parcels import' first"
        )
    home = workspace.root / FOLDER
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=home) as folder:
        scratch, made = Path(folder) / "scratch", Path(folder) / "made"
        scratch.mkdir()
        made.mkdir()
        table = open_foreign(path, scratch)
        sha = sha256_file(path)
        identity = canonical_json([CONTRACT, sha, tile, parcels_by, version, dict(scale.factors)])
        name = f"sen4cap-{_digest(identity)}"
        if (home / name).is_dir():
            return read_report(workspace, name)
        rows, new_ids, strangers = _our_rows(table.ids, workspace, version, parcels_by, path)
        columns = _usable(table)
        if not columns.kept:
            raise NoInputsError(
                f"no column of {len(table.names)} can be imported: {_reasons(columns.left_out)}",
                where=str(path),
                hint="they look like 20180507_mean_NDVI",
            )
        writer = ImportWriter(made, path, name, sha, version, tile, scale)
        files = list(writer.write(table, columns, rows, new_ids))
        report = ImportReport(
            name=name,
            source=str(path),
            n_rows=int(table.ids.size),
            n_parcels=int(rows.size),
            n_strangers=int(strangers.size),
            strangers=tuple(int(i) for i in strangers[:10]),
            n_columns=len(columns.kept),
            series=tuple(f"{FOLDER}/{name}/{file}" for file in files),
            left_out=dict(columns.left_out),
            notes=(*table.notes, *_notes(columns), *writer.notes()),
            scale=dict(scale.factors),
        )
        said = {"contract": CONTRACT, "sha256": sha, "parcels_version": version, "parcels_by": parcels_by}
        (made / REPORT).write_text(
            json.dumps({**said, **dataclasses.asdict(report)}, indent=1) + "\n", encoding="utf-8"
        )
        _publish(made, home / name)
    return report


def read_report(workspace: Workspace, name: str) -> ImportReport:
    """What an import says of itself.

    Raises
    ------
    InputError
        If it is not there or not whole.
    """
    path = workspace.root / FOLDER / name / REPORT
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name: values[f.name] for f in dataclasses.fields(ImportReport)}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"not a whole import ({error})", where=str(path), hint="remove its folder and import again"
        ) from error
    lists = {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
    return ImportReport(**{**known, **lists})


def list_imports(workspace: Workspace) -> list[ImportReport]:
    """All imports of a workspace; none is fine."""
    return [read_report(workspace, path.parent.name) for path in sorted((workspace.root / FOLDER).glob(f"*/{REPORT}"))]


def _usable(table: ForeignTable) -> ForeignColumns:
    found = read_compat_names(table.names)
    texts = {place for place in found.kept if place not in table.numeric}
    left_out = {**found.left_out, **{table.names[p]: _NO_NUMBERS for p in texts}}
    return ForeignColumns(kept={p: c for p, c in found.kept.items() if p not in texts}, left_out=left_out)


def _our_rows(
    ids: NDArray[np.int64], workspace: Workspace, version: str, parcels_by: str, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Rows of our parcels by their number, those numbers, and the numbers that are not ours."""
    attributes = read_attributes(workspace, version)
    if parcels_by not in attributes.column_names:
        raise ConfigError(
            f"parcels have no column {parcels_by!r}",
            where=f"--parcels-by, parcels {version}",
            hint=f"they have {listing(attributes.column_names, 30)}",
        )
    keys = attributes[parcels_by].cast(pa.string())
    if len(pc.unique(keys.drop_null())) < len(keys.drop_null()):
        raise ConfigError(
            f"several parcels have the same {parcels_by!r}",
            where=f"--parcels-by, parcels {version}",
            hint="name a column that tells parcels apart",
        )
    place = pc.index_in(pa.array(ids).cast(pa.string()), value_set=keys.combine_chunks())
    at = place.fill_null(-1).to_numpy()
    rows = np.flatnonzero(at >= 0)
    if not rows.size:
        raise NoInputsError(
            f"none of its {ids.size} parcels is one of ours",
            where=str(path),
            hint=f"{parcels_by} of parcels {version} is compared with its {ID_COLUMN}; another column: --parcels-by",
        )
    new_ids = attributes[ID].to_numpy()[at[rows]].astype(np.int32)
    order = np.argsort(new_ids)
    return rows[order], new_ids[order], ids[at < 0]


def _notes(columns: ForeignColumns) -> Iterator[str]:
    kept = list(columns.kept.values())
    statistics = {c.statistic for c in kept}
    yield "days have no time; of two acquisitions of a day over a parcel the reference keeps the one it reads last"
    if {c.kind for c in kept} & {"NDVI", "LAI", "FAPAR", "FCOVER"}:
        yield "indices and LAI may be of Sentinel-2 or Landsat: the file does not say; all are taken for s2"
    if statistics & {"median", "p25", "p75"}:
        yield "median, p25 and p75 of the reference are one rank too high among the distinct values of a parcel"
    if any(c.kind == "AMP" for c in kept):
        yield "AMP is in dB, averaged in dB per pixel: vv_sigma0_db, vh_sigma0_db"
    if any(c.source.interpolated for c in kept):
        yield "columns of crop types are interpolated to a ten-day rhythm: no acquisitions, and not compared as such"


def _reasons(left_out: Mapping[str, str]) -> str:
    return listing([f"{column} ({reason})" for column, reason in left_out.items()], 5)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _publish(made: Path, final: Path) -> None:
    """Give a whole folder its name; of two imports of the same file the first one's stays."""
    for path in made.iterdir():
        sync_file(path)
    sync_directory(made)
    try:
        made.rename(final)
    except OSError:
        if not final.is_dir():
            raise
    sync_directory(final.parent)
