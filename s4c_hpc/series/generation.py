"""The pointer of a tile: which files are its series now, as one consistent set.

Files of a series never change, and files of several configurations lie side by side. What belongs together is said by
one small file a tile, which is replaced in one step: a reader has the old set or the new one, never some of each.
Compacted months are a second copy of the same values for reading by parcel; whoever finds one gone or made of other
files reads the series files themselves, so that the pointer stays right whatever is removed or made again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.workspace import Workspace, tile_dir
from s4c_hpc.series.contract import SeriesHeader

CONTRACT: Final = "s4c-series-set-1"
"""Changes when the meaning of the file's keys changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One product on one grid, and the files that hold its values."""

    product: str
    sensor: str
    platform: str
    datetime: dt.datetime
    """UTC."""
    relative_orbit: int | None
    orbit_direction: str | None
    grid: str
    layers: tuple[str, ...]
    """Series files, relative to the workspace; for a parcel that several have, the last one counts."""

    @classmethod
    def of(cls, header: SeriesHeader, *layers: str) -> Acquisition:
        """The acquisition of a series file with this header."""
        return cls(
            product=header.product,
            sensor=header.sensor,
            platform=header.platform,
            datetime=header.datetime.astimezone(dt.UTC),
            relative_orbit=header.relative_orbit,
            orbit_direction=header.orbit_direction,
            grid=header.grid,
            layers=layers,
        )

    @property
    def day(self) -> dt.date:
        """Acquisition day, UTC."""
        return self.datetime.date()

    @property
    def sort_key(self) -> tuple[Any, ...]:
        """Order of acquisitions wherever several stand together."""
        return self.sensor, self.grid, self.datetime, self.product

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**dataclasses.asdict(self), "datetime": self.datetime.isoformat(), "layers": list(self.layers)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Acquisition:
        """The inverse of ``to_json``."""
        time = dt.datetime.fromisoformat(values["datetime"])
        return cls(**{**values, "datetime": time, "layers": tuple(values["layers"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A month of one sensor and grid, compacted."""

    sensor: str
    grid: str
    month: str
    """``2018-05``."""
    path: str
    """Relative to the workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSet:
    """What the series of a tile are made of."""

    tile: str
    task: str
    """Id of the task that wrote the file."""
    acquisitions: tuple[Acquisition, ...]
    """By sensor, grid and time."""
    blocks: tuple[Block, ...] = ()
    """By sensor, grid and month; not every month has to have one."""
    missing: tuple[tuple[str, str], ...] = ()
    """Products that belong here and are not there, each with the reason."""
    parcels: str = ""
    """Key of the parcels that the tile has now, where files hold others, too, which count no more."""

    def to_json(self) -> str:
        """Text of the file; equal sets give equal text."""
        values = {
            "contract": CONTRACT,
            "tile": self.tile,
            "task": self.task,
            "acquisitions": [a.to_json() for a in sorted(self.acquisitions, key=lambda a: a.sort_key)],
            "blocks": [
                dataclasses.asdict(b) for b in sorted(self.blocks, key=lambda b: (b.sensor, b.grid, b.month, b.path))
            ],
            "missing": [{"product": product, "reason": reason} for product, reason in sorted(self.missing)],
            **({"parcels": self.parcels} if self.parcels else {}),
        }
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def pointer_path(tile: str) -> str:
    """Where the pointer of a tile is, relative to the workspace."""
    return f"{tile_dir(tile)}/series/current.json"


def read_set(workspace: Workspace, tile: str) -> SeriesSet:
    """The current series of a tile.

    Raises
    ------
    MissingDataError
        If the tile has none.
    InputError
        If the file is not a pointer of this contract.
    """
    return read_pointer(workspace.root / pointer_path(tile), tile, "run 's4c run'")


def read_pointer(path: Path, tile: str, hint: str) -> SeriesSet:
    """A pointer by its path.

    Parameters
    ----------
    hint : what makes it

    Raises
    ------
    MissingDataError, InputError
        As ``read_set``.
    """
    try:
        return _parsed(path)
    except FileNotFoundError as error:
        raise MissingDataError(f"tile {tile} has no series yet", where=str(path), hint=hint) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"not a list of series of contract {CONTRACT} ({error})", where=str(path), hint=f"delete it, {hint}"
        ) from error


def tiles_with_series(workspace: Workspace) -> list[str]:
    """Tiles that have a pointer, in order of their names."""
    return sorted(path.parts[-3] for path in workspace.root.glob(pointer_path("*")))


def _parsed(path: Path) -> SeriesSet:
    values = json.loads(path.read_text(encoding="utf-8"))
    if values["contract"] != CONTRACT:
        raise ValueError(f"it is of contract {values['contract']}")
    return SeriesSet(
        tile=values["tile"],
        task=values["task"],
        acquisitions=tuple(Acquisition.from_json(a) for a in values["acquisitions"]),
        blocks=tuple(Block(**b) for b in values["blocks"]),
        missing=tuple((m["product"], m["reason"]) for m in values["missing"]),
        parcels=values.get("parcels", ""),
    )
