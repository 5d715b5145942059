"""What a variable of radar is called: backscatter or coherence, which polarisation, decibels or not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_RADAR: Final = re.compile(
    r"^(?:(sigma0|gamma0|coherence|cohe?)_?)?(vv|vh)(?:_(sigma0|gamma0|coherence|cohe?))?(?:_(lin|db))?$"
)


@dataclass(frozen=True, slots=True)
class RadarName:
    """What the name of a variable says."""

    polarisation: str
    """``VV``, ``VH``."""
    is_coherence: bool
    is_db: bool
    """Whether values are decibels."""


def radar_name(name: str, unit: str) -> RadarName | None:
    """What a variable of radar is; ``None`` if its name is not that of one."""
    if (match := _RADAR.match(name)) is None:
        return None
    before, polarisation, after, scale = match.groups()
    return RadarName(
        polarisation=polarisation.upper(),
        is_coherence=(before or after or "").startswith("coh"),
        is_db=scale == "db" or unit.lower() == "db",
    )
