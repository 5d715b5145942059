"""``<site>_<tile>.manifest.json``: where a marker file comes from, what it lacks and what its columns mean.

Times stand here and not in the marker file, whose bytes depend on the inputs alone.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from s4c_hpc.core.errors import InputError, MissingDataError

FORMAT = 1
"""Version of the manifest's own structure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesEntry:
    """One file that went in."""

    path: str
    """Relative to the workspace."""
    grid: str
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One product that went in."""

    product: str
    sensor: str
    datetime: str
    """Acquisition, ISO 8601, UTC."""
    series: tuple[SeriesEntry, ...]
    note: str = ""
    """What is unusual about it: the mask that was asked for is not there, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One product of this tile and period that did not."""

    product: str
    datetime: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Provenance of one marker file."""

    site: str
    tile: str
    period: str
    set: str
    selection: Mapping[str, Any]
    """The set's definition: variables, statistics (``null`` means all), class counts."""
    task_id: str
    parcels_version: str
    n_parcels: int
    inputs: tuple[Input, ...]
    missing: tuple[Missing, ...]
    columns: Mapping[str, Mapping[str, str]]
    """Column -> variable, statistic, unit, date, sensor, formula ..."""
    software: Mapping[str, str]
    created: str
    """ISO 8601, UTC."""
    format: int = FORMAT

    def to_json(self) -> str:
        """Text of the file."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        # ``asdict`` of all would copy the texts of thousands of columns.
        values |= {name: [dataclasses.asdict(one) for one in values[name]] for name in ("inputs", "missing")}
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def software() -> dict[str, str]:
    """Versions of what decides the values."""
    packages = ("s4c-hpc", "numpy", "numba", "pyarrow", "shapely", "rasterio")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def manifest_path(marker_file: Path) -> Path:
    """The manifest beside a marker file."""
    return marker_file.with_suffix(".manifest.json")


def read_manifest(marker_file: Path) -> Manifest:
    """The manifest of a marker file.

    Raises
    ------
    MissingDataError, InputError
        If it is not there or is not a manifest of this format.
    """
    path = manifest_path(marker_file)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        inputs = tuple(
            Input(**{**i, "series": tuple(SeriesEntry(**s) for s in i["series"])}) for i in values.pop("inputs")
        )
        missing = tuple(Missing(**m) for m in values.pop("missing"))
        return Manifest(**values, inputs=inputs, missing=missing)
    except FileNotFoundError as error:
        raise MissingDataError("no such manifest", where=str(path), hint="'s4c run' writes it again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"not a manifest of format {FORMAT} ({error})", where=str(path), hint="delete it and run 's4c run'"
        ) from error
