"""What was observed of parcels in a season, with orbits of radar told apart, and what is doubted of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.codes import Codes, Status
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

    @property
    def n_orbits(self) -> int:
        """Orbits there are numbers for."""
        return int(max(self.amplitude_orbit.max(initial=-1), self.coherence_orbit.max(initial=-1))) + 1

    def of(self, rows: NDArray[np.bool_]) -> Season:
        """Those of some parcels."""
        return Season(
            seen=self.seen.of(rows),
            amplitude_orbit=self.amplitude_orbit,
            coherence_orbit=self.coherence_orbit,
            doubts=self.doubts.of(rows),
        )

    def without_radar(self, rows: NDArray[np.bool_]) -> Season:
        """With no radar of some parcels: those of too few pixels."""
        if not rows.any():
            return self
        own = self.seen
        hidden = {
            name: np.where(rows[:, None], np.nan, getattr(own, name))
            for name in ("ratio_db", "vv_db", "coherence", "coherence_rise")
        }
        seen = Observations(
            amplitude_day=own.amplitude_day,
            coherence_day=own.coherence_day,
            ndvi_day=own.ndvi_day,
            ndvi=own.ndvi,
            **hidden,
        )
        return Season(
            seen=seen,
            amplitude_orbit=self.amplitude_orbit,
            coherence_orbit=self.coherence_orbit,
            doubts=self.doubts,
        )


UNJUDGED = (Status.NO_SERIES, Status.NO_SEASON)
"""What makes it impossible to look for a harvest; everything else leaves something to judge by."""


def can_be_judged(status: Codes) -> NDArray[np.bool_]:
    """(n,) whether a parcel is judged by what there is of it."""
    return ~np.isin(status, UNJUDGED)
