"""What was observed of parcels in a season, with orbits of radar told apart, and what is doubted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import OpticalEventRules
from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.codes import Codes, Status
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.optical_events import clear_looks
from s4c_hpc.practices.weeks import Observations

Orbits = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """Of n parcels."""

    seen: Observations
    amplitude_orbit: Orbits
    """(t,) number of the orbit of each backscatter."""
    coherence_orbit: Orbits
    """(c,) number of the orbit of each coherence, counted as those of backscatter."""
    doubts: Doubts
    """(n, c) about changes of coherence."""
    ground: Mapping[str, Floats]
    """(n, d) what tells of bare ground at the looks at NDVI, by names of ``optical_events.GROUND``; may be empty."""

    @property
    def n_orbits(self) -> int:
        """Orbits there are numbers for."""
        return int(max(self.amplitude_orbit.max(initial=-1), self.coherence_orbit.max(initial=-1))) + 1

    def of(self, rows: NDArray[np.bool_]) -> Season:
        """Those of some parcels."""
        ground = {name: values[rows] for name, values in self.ground.items()}
        return replace(self, seen=self.seen.of(rows), doubts=self.doubts.of(rows), ground=ground)

    def without_radar(self, rows: NDArray[np.bool_]) -> Season:
        """With no radar of some parcels: those of too few pixels."""
        if not rows.any():
            return self
        names = ("ratio_db", "vv_db", "coherence", "coherence_rise")
        hidden = {name: np.where(rows[:, None], np.nan, getattr(self.seen, name)) for name in names}
        return replace(self, seen=replace(self.seen, **hidden))

    def without_clouds(self, rules: OpticalEventRules) -> Season:
        """Without looks that are probably clouds that were not masked."""
        seen = self.seen
        clear = clear_looks(seen.ndvi_day, seen.ndvi / 1000, rules)
        return replace(self, seen=replace(seen, ndvi=np.where(clear, seen.ndvi, np.nan)))


UNJUDGED = (Status.NO_SERIES, Status.NO_SEASON)
"""What makes it impossible to look for a harvest; everything else leaves something to judge by."""


def can_be_judged(status: Codes) -> NDArray[np.bool_]:
    """(n,) whether a parcel is judged by what there is of it."""
    return ~np.isin(status, UNJUDGED)
