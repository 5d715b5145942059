"""What missing acquisitions do to marker files: which will not be written, and which will lack something."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from s4c_hpc.catalog.absent import LATE, RHYTHM, Absent
from s4c_hpc.catalog.readiness import Readiness, month_of
from s4c_hpc.markers.files import marker_stem

MAX_DAYS = 4
"""Days that a reason names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A tile and month whose marker files will not be what they should be: one in each set."""

    tile: str
    period: str
    """``YYYY-MM``."""
    files: tuple[str, ...]
    """Relative to the workspace, one a set."""
    exists: bool
    """``False``: the files will not be written at all; ``True``: they will be incomplete."""
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line for readers."""
        end = "incomplete" if self.exists else "will not exist"
        return f"{self.tile} {self.period}: {'; '.join(self.reasons)}: {', '.join(self.files)} {end}"


def blocked(found: Readiness, *, site: str, sets: Sequence[str]) -> list[Blocked]:
    """The marker files that suffer, by tile and month.

    Parameters
    ----------
    found : of the product index
    site : name of the site
    sets : names of the marker sets
    """
    gone = {(tile, month) for tile, without in found.months_without.items() for month in without}
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in found.broken:
        if row.tile and row.day is not None:
            reasons[row.tile, month_of(row.day)].append(f"{row.product} is broken: {row.reason}")
    for one in found.absent:
        for month, days in _by_month(one.days).items():
            text = why(one, days)
            for tile in one.tiles:
                reasons[tile, month].append(text)
    blocks = []
    for tile, period in sorted(gone | set(reasons)):
        exists = period in found.months_seen.get(tile, ())
        nothing = "no acquisition" if (tile, period) in gone else "no acquisition yet"
        blocks.append(
            Blocked(
                tile=tile,
                period=period,
                files=tuple(f"{marker_stem(name, period, site, tile)}.arrow" for name in sets),
                exists=exists,
                reasons=(*(() if exists else (nothing,)), *reasons[tile, period]),
            )
        )
    return blocks


def why(one: Absent, days: Sequence[dt.date]) -> str:
    """What is missing on ``days``, in a few words."""
    named = ", ".join(day.isoformat() for day in days[:MAX_DAYS])
    if len(days) > MAX_DAYS:
        named += f" and {len(days) - MAX_DAYS} more"
    where = f"{one.sensor} orbit {one.orbit}"
    if one.rule == LATE:
        return f"{where}: {one.mission} was due on {named}, late or still in the archive"
    if one.rule == RHYTHM:
        return f"{where}: {one.mission} was due on {named}, and no tile has it"
    return f"{where}: no product of {named}, which tiles beside it have"


def _by_month(days: Sequence[dt.date]) -> dict[str, list[dt.date]]:
    found: dict[str, list[dt.date]] = defaultdict(list)
    for day in days:
        found[month_of(day)].append(day)
    return found
