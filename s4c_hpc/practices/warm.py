"""Compile the kernels of the improved rules beforehand: ``python -m s4c_hpc.practices.warm``; see ``extract.warm``."""

from __future__ import annotations

from typing import Final

import numpy as np

from s4c_hpc.config.practices import OpticalEventRules, PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.codes import Practice, Status
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.judge import judge_improved
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.weeks import Observations

_DAY: Final = np.array([18700, 18706], np.int64)


def main() -> None:
    """Judge a parcel with two dates of everything."""
    one, orbit = np.full((1, 2), 0.5), np.zeros(2, np.int64)
    seen = Observations(
        amplitude_day=_DAY,
        ratio_db=one,
        vv_db=-one,
        coherence_day=_DAY,
        coherence=one,
        coherence_rise=one,
        ndvi_day=_DAY,
        ndvi=1000 * one,
    )
    season = Season(seen=seen, amplitude_orbit=orbit, coherence_orbit=orbit, doubts=Doubts.none(1, 2), ground={})
    first, last = _DAY[:1], _DAY[1:]
    for practice in (Practice.CATCH_CROP, Practice.FALLOW):
        declared = Declared(
            practice=practice,
            country="",
            year=2021,
            veg_start=first,
            h_start=first,
            h_end=last,
            p_type=np.array([""]),
            p_start=first,
            p_end=last,
        )
        status, rules = np.full(1, Status.OK, np.int8), PracticeRules(tillage=True)
        judge_improved(season, declared, rules, ImprovedRules(), OpticalEventRules(), status, int(last[0]))


if __name__ == "__main__":
    main()
