"""What was observed of parcels in a season, with orbits of radar told apart, and what is doubted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import OpticalEventRules
from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.codes import Codes, Status
from s4c_hpc.practices.days import Days
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

    def one_a_pass(self) -> Season:
        """With one value of each orbit and day: of pieces of a pass the first that has seen a parcel counts."""
        seen = self.seen
        ratio_db = _first_of_a_pass(seen.ratio_db, seen.amplitude_day, self.amplitude_orbit)
        coherence = _first_of_a_pass(seen.coherence, seen.coherence_day, self.coherence_orbit)
        return replace(self, seen=replace(seen, ratio_db=ratio_db, coherence=coherence))

    def without_clouds(self, rules: OpticalEventRules) -> Season:
        """Without looks that are probably clouds that were not masked."""
        seen = self.seen
        clear = clear_looks(seen.ndvi_day, seen.ndvi / 1000, rules)
        return replace(self, seen=replace(seen, ndvi=np.where(clear, seen.ndvi, np.nan)))


def _first_of_a_pass(values: Floats, day: Days, orbit: Orbits) -> Floats:
    """(n, t) without values that stand beside another one of the same orbit and day."""
    out = values
    for j in np.flatnonzero(np.diff(day) == 0) + 1:
        same = np.flatnonzero((day[:j] == day[j]) & (orbit[:j] == orbit[j]))
        if same.size:
            out = out.copy() if out is values else out
            out[np.isfinite(out[:, same]).any(axis=1), j] = np.nan
    return out


UNJUDGED = (Status.NO_SERIES, Status.NO_SEASON)
"""What makes it impossible to look for a harvest; everything else leaves something to judge by."""


def can_be_judged(status: Codes) -> NDArray[np.bool_]:
    """(n,) whether a parcel is judged by what there is of it."""
    return ~np.isin(status, UNJUDGED)
