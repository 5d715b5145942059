"""Series that were imported: where they are, and what belongs together.

``imported/<name>/current.json`` says what an import has made and which *edition* of it counts. An edition is a folder
beside it, named by its content, with a folder a tile: series files and a pointer to them, as of our own series. So an
import of many tiles is replaced in one step, and one that was killed has changed nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.series.generation import Acquisition, SeriesSet, read_pointer

CONTRACT: Final = "s4c-imported-series-1"
"""Changes when the meaning of the file's keys changes."""

POINTER: Final = "current.json"
FOLDER: Final = "imported"
N_VALID: Final = "n_valid"
"""Column of the number of pixels that a row as a whole stands on."""

_KEY: Final = "import"

_AGAIN: Final = "import the table again"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is of no use for one reason."""

    reason: str
    what: str
    """``rows``, ``values`` or ``columns``."""
    n: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedColumns:
    """A variable of an import."""

    name: str
    statistics: tuple[str, ...]
    """``mean``, and ``stdev`` and ``count`` where the table has them."""
    unit: str
    long_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import has made."""

    name: str
    sensor: str
    edition: str
    """16 hex digits of the content of all files."""
    source: str
    """Name of the table's file."""
    sha256: str
    """Of the table."""
    parcels_version: str
    """Version of the parcels when it was made."""
    season_year: int | None
    """Year onto which the years of all rows were moved."""
    variables: tuple[ImportedColumns, ...]
    tiles: Mapping[str, int]
    """Number of series files of each tile."""
    first: str
    """First day, ``2018-02-15``."""
    last: str
    n_rows: int
    """Of the table."""
    n_values: int
    """Means that were imported."""
    n_parcels: int
    """Parcels that have a value."""
    has_count: bool
    """Whether rows say on how many pixels they stand (``n_valid``)."""
    passes: tuple[str, ...]
    """``ascending``, ``descending``: which occur; none where rows have no pass."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    mapping: Mapping[str, Any]
    """The mapping file, as values."""

    @property
    def key(self) -> str:
        """As an input of tasks; see ``acquisitions_of``."""
        return f"{_KEY}:{self.name}:{self.edition}"

    def to_json(self) -> str:
        """Text of the file; equal imports give equal text."""
        return json.dumps({"contract": CONTRACT, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Imported:
        """The inverse of ``to_json``."""
        values = json.loads(text)
        if values.pop("contract") != CONTRACT:
            raise ValueError("it is of another contract")
        columns = [{**one, "statistics": tuple(one["statistics"])} for one in values["variables"]]
        left_out = [{**one, "examples": tuple(one["examples"])} for one in values["left_out"]]
        return cls(
            **{
                **values,
                "variables": tuple(ImportedColumns(**one) for one in columns),
                "left_out": tuple(LeftOut(**one) for one in left_out),
                "notes": tuple(values["notes"]),
                "passes": tuple(values["passes"]),
            }
        )


def edition_dir(name: str, edition: str) -> str:
    """Workspace-relative folder of an edition."""
    return f"{FOLDER}/{name}/{edition}"


def is_imported(path: str) -> bool:
    """Whether a workspace-relative path is that of an imported series file."""
    return path.startswith(f"{FOLDER}/")


def read_imported(workspace: Workspace, name: str) -> Imported:
    """What an import has made.

    Raises
    ------
    MissingDataError, InputError
        If there is none of this name, or its file is none of this contract.
    """
    path = workspace.imported / name / POINTER
    try:
        return Imported.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError(f"nothing was imported as {name!r}", where=str(path), hint=_AGAIN) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"not an import of contract {CONTRACT} ({error})", where=str(path), hint=f"delete it, {_AGAIN}"
        ) from error


def imports_of(workspace: Workspace) -> tuple[Imported, ...]:
    """All imports of a workspace by name; none is fine."""
    names = sorted(path.parent.name for path in workspace.imported.glob(f"*/{POINTER}"))
    return tuple(read_imported(workspace, name) for name in names)


def imported_set(workspace: Workspace, imported: Imported, tile: str) -> SeriesSet:
    """The series of a tile that an import has made.

    Raises
    ------
    MissingDataError, InputError
        If the tile has none, or the pointer is damaged.
    """
    path = workspace.root / edition_dir(imported.name, imported.edition) / tile / POINTER
    return read_pointer(path, tile, _AGAIN)


def is_import_key(key: str) -> bool:
    """Whether an input of a task is an import."""
    return key.startswith(f"{_KEY}:")


def acquisitions_of(workspace: Workspace, key: str, tile: str) -> tuple[Acquisition, ...]:
    """What the edition that a task was planned with has of a tile.

    Parameters
    ----------
    key : see ``Imported.key``

    Raises
    ------
    MissingDataError, InputError
        If the edition has been replaced, or its pointer is damaged.
    """
    _, name, edition = key.split(":")
    return read_pointer(workspace.root / edition_dir(name, edition) / tile / POINTER, tile, "plan again").acquisitions
