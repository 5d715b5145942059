"""Weather that was imported: where it is, and what is said of it.

``weather/current.json`` says which *edition* counts: a folder beside it, named by its content, with one file. It is
replaced last and alone, so an import changes everything in one step, and one that was killed has changed nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.workspace import Workspace

CONTRACT: Final = "s4c-weather-1"
"""Changes when the meaning of the files changes."""

FOLDER: Final = "weather"
POINTER: Final = "current.json"
RAIN: Final = "rain.arrow"
_KEY: Final = "weather"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Values that are of no use for one reason."""

    reason: str
    n: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What an import has made."""

    edition: str
    """16 hex digits of the content."""
    sources: tuple[str, ...]
    """Names of the files."""
    n_cells: int
    first: str
    """First day, ``2020-03-01``."""
    last: str
    n_days: int
    """From the first day to the last one."""
    n_values: int
    """Days of cells that are known."""
    missing_days: tuple[str, ...]
    """Days of which no cell is known, as spans ``2020-05-03..2020-05-07``."""
    reach_km: tuple[float, float]
    """Least and greatest distance from a cell's centre at which it still counts."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]

    @property
    def key(self) -> str:
        """As an input of tasks."""
        return f"{_KEY}:{self.edition}"

    @property
    def n_gaps(self) -> int:
        """Days of cells that are not known."""
        return self.n_cells * self.n_days - self.n_values

    def to_json(self) -> str:
        """Text of the file; equal imports give equal text."""
        return json.dumps({"contract": CONTRACT, **dataclasses.asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Weather:
        """The inverse of ``to_json``."""
        values = json.loads(text)
        if values.pop("contract") != CONTRACT:
            raise ValueError("it is of another contract")
        lists = {name: tuple(values[name]) for name in ("sources", "missing_days", "reach_km", "notes")}
        left_out = tuple(LeftOut(**{**one, "examples": tuple(one["examples"])}) for one in values["left_out"])
        return cls(**{**values, **lists, "left_out": left_out})


def folder_of(workspace: Workspace) -> Path:
    """Folder of the weather."""
    return workspace.root / FOLDER


def rain_path(workspace: Workspace, edition: str) -> Path:
    """File of an edition."""
    return folder_of(workspace) / edition / RAIN


def read_weather(workspace: Workspace) -> Weather:
    """What was imported.

    Raises
    ------
    MissingDataError, InputError
        If nothing was, or the file is none of this contract.
    """
    path = folder_of(workspace) / POINTER
    try:
        return Weather.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingDataError("no weather was imported", where=str(path), hint="run 's4c weather import'") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"not weather of contract {CONTRACT} ({error})", where=str(path), hint="run 's4c weather import' again"
        ) from error


def weather_now(workspace: Workspace) -> Weather | None:
    """What was imported; ``None`` if nothing was."""
    return read_weather(workspace) if (folder_of(workspace) / POINTER).exists() else None


def weather_key(workspace: Workspace) -> str | None:
    """Key of what was imported, ``weather:<edition>``, as an input of tasks; ``None`` if nothing was."""
    found = weather_now(workspace)
    return None if found is None else found.key


def is_weather_key(key: str) -> bool:
    """Whether an input of a task is weather."""
    return key.startswith(f"{_KEY}:")
