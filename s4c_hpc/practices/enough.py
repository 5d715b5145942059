"""Whether enough was observed of a parcel to judge it. Source: the reference's TsaDataExtractor.cpp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import Codes, Practice, Status
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.weeks import Observations


def status_of(
    observed: Observations,
    orbit: NDArray[np.int64],
    s1_pixels: NDArray[np.int64] | None,
    declared: Declared,
    rules: PracticeRules,
) -> Codes:
    """(n,) what is missing, the first thing that is.

    Parameters
    ----------
    orbit : (c,) what tells orbits of ``observed.coherence`` apart
    s1_pixels : (n,) pixels of radar; not tested where this is not known
    """
    has_value = np.isfinite(observed.coherence)
    n_values = has_value.sum(axis=1)
    of_orbit = np.array([has_value[:, orbit == one].sum(axis=1) for one in np.unique(orbit)])
    most = of_orbit.max(axis=0) if of_orbit.size else np.zeros_like(n_values)
    has_amplitude = np.isfinite(observed.ratio_db).any(axis=1)
    needs_period = declared.practice != Practice.NA
    can_search = declared.practice == Practice.CATCH_CROP and rules.catch_crop_days is not None
    open_end = (declared.p_end < 0) & can_search
    without_period = (declared.p_start < 0) | ((declared.p_end < declared.p_start) & ~open_end)
    too_small = np.zeros(len(n_values), bool) if s1_pixels is None else s1_pixels < rules.min_s1_pixels
    return np.select(
        [
            ~declared.is_whole,
            too_small,
            ~has_amplitude | (n_values == 0),
            (n_values <= rules.min_coherence_values) | (most < rules.min_acquisitions),
            ~np.isfinite(observed.ndvi).any(axis=1),
            needs_period & without_period,
        ],
        [Status.NO_SEASON, Status.FEW_PIXELS, Status.NO_S1, Status.FEW_S1, Status.NO_S2, Status.NO_PERIOD],
        Status.OK,
    ).astype(np.int8)
