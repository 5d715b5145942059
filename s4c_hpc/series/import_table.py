"""Import a table of values from elsewhere as series: whole or not at all, and the same content makes the same files."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from s4c_hpc.config import Config
from s4c_hpc.config.imports import ImportMapping
from s4c_hpc.core.atomic import sha256_file, sync_directory, sync_file, write_text
from s4c_hpc.core.errors import NoInputsError, listing
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels.publish import disk_full_is_temporary, temporary_folder
from s4c_hpc.series.generation import Acquisition, SeriesSet
from s4c_hpc.series.import_parcels import Declaration, read_declaration
from s4c_hpc.series.import_read import read_table
from s4c_hpc.series.import_rows import Observations, Tally, observations
from s4c_hpc.series.import_write import Written, described_columns, write_files
from s4c_hpc.series.imported import N_VALID, POINTER, Imported, ImportedColumns, edition_dir


def import_table(path: Path, mapping: ImportMapping, workspace: Workspace, config: Config) -> tuple[Imported, bool]:
    """Import a table; what an earlier one of the same name has made is replaced in one step.

    Returns
    -------
    What was made, and whether that is new: ``False`` if the same values were there already.

    Raises
    ------
    MissingDataError, InputError
        If the file cannot be read or does not have the columns.
    ConfigError
        If the mapping does not fit the parcels.
    NoInputsError
        If not one value is of use, with the reasons. What was there stays, as after every error.
    TemporaryError
        If another import is at work, or the disk is full.
    """
    source = read_table(path, mapping)
    declaration = read_declaration(workspace, config, mapping)
    tally = Tally()
    found = [one for one in observations(source, mapping, declaration, tally) if one.place.size]
    if not found:
        reasons = [f"{one.n} {one.what}: {one.reason}" for one in tally.folded()]
        raise NoInputsError(
            f"not one value of {source.n_rows} rows can be used: {listing(reasons)}",
            where=str(path),
            hint=f"'match' is {mapping.match!r}; mend the mapping or the table",
        )
    with disk_full_is_temporary(workspace), temporary_folder(workspace) as folder:
        made = folder / "made"
        made.mkdir()
        written = list(write_files(made, found, mapping, declaration))
        edition = _edition(made, written)
        _point(made, written, mapping, edition)
        final = workspace.root / edition_dir(mapping.name, edition)
        imported = _described(path, source.n_rows, found, written, mapping, declaration, tally, edition, config)
        is_new = not _is_there(made, final)
        if is_new:
            _put_away(final, folder)
            _publish(made, final)
        pointer = final.parent / POINTER
        before = pointer.read_text(encoding="utf-8") if pointer.is_file() else ""
        if before != imported.to_json():
            write_text(pointer, imported.to_json())
        for old in final.parent.iterdir():
            if old.is_dir() and old != final:
                _put_away(old, folder)
    return imported, is_new or f'"edition": "{edition}"' not in before


def _edition(made: Path, written: Sequence[Written]) -> str:
    digest = hashlib.sha256()
    for one in written:
        digest.update(f"{one.tile}/{one.file} {sha256_file(made / one.tile / one.file)}\n".encode())
    return digest.hexdigest()[:16]


def _point(made: Path, written: Sequence[Written], mapping: ImportMapping, edition: str) -> None:
    """Write the pointer of each tile."""
    by_tile: dict[str, list[Acquisition]] = {}
    for one in written:
        path = f"{edition_dir(mapping.name, edition)}/{one.tile}/{one.file}"
        by_tile.setdefault(one.tile, []).append(Acquisition.of(one.header, path))
    for tile, acquisitions in by_tile.items():
        current = SeriesSet(tile=tile, task=f"import:{mapping.name}", acquisitions=tuple(acquisitions))
        (made / tile / POINTER).write_text(current.to_json(), encoding="utf-8")


def _described(
    path: Path,
    n_rows: int,
    found: Sequence[Observations],
    written: Sequence[Written],
    mapping: ImportMapping,
    declaration: Declaration,
    tally: Tally,
    edition: str,
    config: Config,
) -> Imported:
    has_count = any(N_VALID in one.columns for one in found)
    said = described_columns(mapping, has_count=has_count).values()
    days = sorted({one.header.datetime.date() for one in written})
    means = [v for one in found for name, v in one.columns.items() if name.endswith("_mean")]
    return Imported(
        name=mapping.name,
        sensor=mapping.sensor,
        edition=edition,
        source=path.name,
        sha256=sha256_file(path),
        parcels_version=declaration.version,
        season_year=mapping.season_year,
        variables=tuple(
            ImportedColumns(
                name=name,
                statistics=tuple(one["statistic"] for one in said if one.get("variable") == name),
                unit=variable.unit,
                long_name=variable.long_name or name,
            )
            for name, variable in mapping.variables.items()
        ),
        tiles=dict(sorted(Counter(one.tile for one in written).items())),
        first=str(days[0]),
        last=str(days[-1]),
        n_rows=n_rows,
        n_values=sum(int(np.isfinite(values).sum()) for values in means),
        n_parcels=len(np.unique(np.concatenate([one.place for one in found]))),
        has_count=has_count,
        passes=tuple(sorted({one.header.orbit_direction for one in written if one.header.orbit_direction})),
        left_out=tally.folded(),
        notes=tuple(_notes(days, mapping, config)),
        mapping=mapping.model_dump(mode="json", exclude_defaults=True),
    )


def _notes(days: Sequence[dt.date], mapping: ImportMapping, config: Config) -> Iterator[str]:
    start, end = config.site.season_start, config.site.season_end
    inside = sum(start <= day <= end for day in days)
    if inside < len(days):
        yield f"{len(days) - inside} of {len(days)} days are not in the season {start} to {end} and make no features"
    if mapping.season_year is not None:
        yield f"years of all rows were moved onto {mapping.season_year}, by day of the year"


def _is_there(made: Path, final: Path) -> bool:
    """Whether an edition is there with every file of its own, none cut off."""
    files = (path for path in made.rglob("*") if path.is_file())
    places = ((path, final / path.relative_to(made)) for path in files)
    return all(there.is_file() and there.stat().st_size == path.stat().st_size for path, there in places)


def _put_away(edition: Path, folder: Path) -> None:
    """Move an edition to where it will be removed: whoever is killed meanwhile leaves none that is half there."""
    if edition.exists():
        edition.rename(folder / f"old-{edition.name}")


def _publish(made: Path, final: Path) -> None:
    """Give a whole folder its name, durable and in one step."""
    for path in sorted(made.rglob("*")):
        sync_directory(path) if path.is_dir() else sync_file(path)
    sync_directory(made)
    final.parent.mkdir(parents=True, exist_ok=True)
    made.rename(final)
    sync_directory(final.parent)
