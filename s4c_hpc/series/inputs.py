"""What rules about events have to go by, tile by tile: NDVI, backscatter and coherence, our own and imported."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from s4c_hpc.config import Config
from s4c_hpc.core.errors import NoInputsError, listing
from s4c_hpc.core.ipc import open_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.optical.catalogue import resolve
from s4c_hpc.series.generation import Acquisition, pointer_path, read_set
from s4c_hpc.series.imported import Imported, imported_set, imports_of
from s4c_hpc.series.radar_names import radar_name

LONG_GAP_DAYS: Final = 30
"""NDVI that is further apart than this says little of when something happened."""

PAIR_DAYS: Final = 6
"""Pairs of two satellites; those of one are twice as long and see less."""


class Kind(StrEnum):
    """What is observed."""

    NDVI = "NDVI"
    BACKSCATTER = "backscatter"
    COHERENCE = "coherence"


_WITHOUT: Final[Mapping[Kind, str]] = {
    Kind.NDVI: "only radar tells of events",
    Kind.BACKSCATTER: "a harvest is told without it",
    Kind.COHERENCE: "nothing confirms what NDVI shows",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInput:
    """One kind of observation of a tile in the season."""

    tile: str
    kind: Kind
    days: int
    """On which the tile was seen and that are processed."""
    first: dt.date | None
    last: dt.date | None
    longest_gap_days: int
    """Between two of these days, and to the ends of the season as far as it has come."""
    orbits: tuple[str, ...]
    """Relative orbits, else passes; none of optical series."""
    pair_days: tuple[int, ...]
    """Days between coherences of one orbit that occur, the most frequent first."""
    waiting: int
    """Days that the product index has of a sensor that gave this kind, and that are not processed."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is weak about it."""
        if not self.days:
            waiting = f"; {self.waiting} dates are not processed yet" if self.waiting else ""
            return (f"no {self.kind}: {_WITHOUT[self.kind]}{waiting}",)
        said = []
        if self.kind is Kind.NDVI and self.longest_gap_days > LONG_GAP_DAYS:
            said.append(f"no NDVI for {self.longest_gap_days} days: what happens then has no date")
        if self.kind is Kind.COHERENCE and self.pair_days and min(self.pair_days) > PAIR_DAYS:
            said.append(f"coherence over {min(self.pair_days)} days only: it sees less than that over {PAIR_DAYS}")
        if self.kind is Kind.COHERENCE and len(self.orbits) == 1:
            said.append("coherence of one orbit only: nothing confirms it but NDVI")
        if self.waiting:
            said.append(f"{self.waiting} dates are not processed yet")
        return tuple(said)


def require_any(
    config: Config, imports: Iterable[Imported], ndvi: str, *, is_own: bool, radar_alone: bool, where: str
) -> None:
    """Refuse to judge by nothing.

    Parameters
    ----------
    ndvi : name of the variable
    is_own : whether there are series of our own
    radar_alone : whether radar is enough
    where : key of the configuration that asks for rules

    Raises
    ------
    NoInputsError
        If neither NDVI nor radar, where that is enough, is computed or was imported.
    """
    names = {variable.name for one in imports for variable in one.variables}
    if is_own:
        names |= {variable.name for variable in resolve(config.variables)}
    if ndvi in names or (radar_alone and any(radar_name(name, "") for name in names)):
        return
    raise NoInputsError(
        f"there is nothing to judge by: no variable is {ndvi!r}" + (", and none is of radar" if radar_alone else ""),
        where=where,
        hint=f"there are {listing(sorted(names), 20)}; add {ndvi!r} to variables.indices, or import it",
    )


def rule_inputs(
    workspace: Workspace,
    tiles: Iterable[str],
    ndvi: str,
    first: dt.date,
    until: dt.date,
    indexed: Mapping[tuple[str, str], int],
) -> tuple[RuleInput, ...]:
    """What the series of tiles hold.

    Parameters
    ----------
    ndvi : name of the variable
    first, until : the season, as far as it has come
    indexed : days on which the product index has usable products, by tile and sensor

    Returns
    -------
    A row a tile and kind, also where there is nothing.
    """
    imports = imports_of(workspace)
    found = []
    for tile in sorted(tiles):
        own = read_set(workspace, tile).acquisitions if (workspace.root / pointer_path(tile)).is_file() else ()
        others = [a for one in imports if tile in one.tiles for a in imported_set(workspace, one, tile).acquisitions]
        kinds: dict[Kind, list[Acquisition]] = defaultdict(list)
        for acquisition in (*own, *others):
            if first <= acquisition.day <= until:
                for kind in _kinds(workspace, acquisition, ndvi):
                    kinds[kind].append(acquisition)
        left = _waiting(own, tile, indexed)
        found += [_input(tile, kind, kinds[kind], first, until, left) for kind in Kind]
    return tuple(found)


def _waiting(own: Sequence[Acquisition], tile: str, indexed: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Days of each sensor that are not processed."""
    done = Counter(sensor for sensor, _ in {(a.sensor, a.day) for a in own})
    return {sensor: max(n - done[sensor], 0) for (at, sensor), n in indexed.items() if at == tile}


def _kinds(workspace: Workspace, acquisition: Acquisition, ndvi: str) -> Iterator[Kind]:
    with open_ipc(workspace.root / acquisition.layers[0]) as reader:
        names = [name.removesuffix("_mean") for name in reader.schema.names if name.endswith("_mean")]
    if ndvi in names:
        yield Kind.NDVI
    radar = [found for name in names if (found := radar_name(name, "")) is not None]
    if any(not one.is_coherence for one in radar):
        yield Kind.BACKSCATTER
    if any(one.is_coherence for one in radar):
        yield Kind.COHERENCE


def _input(
    tile: str, kind: Kind, seen: Sequence[Acquisition], first: dt.date, until: dt.date, left: Mapping[str, int]
) -> RuleInput:
    days = sorted({a.day for a in seen})
    edges = sorted({first - dt.timedelta(days=1), *days, until + dt.timedelta(days=1)})
    by_orbit: dict[str, set[dt.date]] = defaultdict(set)
    for one in seen:
        orbit = one.relative_orbit if one.relative_orbit is not None else one.orbit_direction
        if orbit is not None:
            by_orbit[str(orbit)].add(one.day)
    steps = Counter((b - a).days for there in by_orbit.values() for a, b in pairwise(sorted(there)))
    is_radar = kind is not Kind.NDVI
    sensors = {a.sensor for a in seen} or {s for s in left if (s == "s1") == is_radar}
    return RuleInput(
        tile=tile,
        kind=kind,
        days=len(days),
        first=days[0] if days else None,
        last=days[-1] if days else None,
        longest_gap_days=max((b - a).days for a, b in pairwise(edges)) if len(edges) > 1 else 0,
        orbits=tuple(sorted(by_orbit)) if is_radar else (),
        pair_days=tuple(n for n, _ in steps.most_common(3)) if kind is Kind.COHERENCE else (),
        waiting=sum(left.get(sensor, 0) for sensor in sensors),
    )
