"""NDVI of bare ground, as compiled rules ask for it: the twin of ``loss.drop_limit`` for one parcel."""

from __future__ import annotations

import numpy as np

from s4c_hpc.core.jit import helper


@helper
def bare_limit(highest: float, lowest_drop: float, down: float, up: float, step: float) -> float:
    """NDVI up to which a drop is a loss, in thousandths: the reference's limit, of the looks so far.

    Parameters
    ----------
    highest : of all looks
    lowest_drop : lowest NDVI of the looks at which it dropped; NaN if it never did
    down, up, step : thresholds of the same names in ``PracticeRules``
    """
    if highest < down or lowest_drop < down:
        return down
    if np.isnan(lowest_drop):
        return up
    return float(step * np.ceil((lowest_drop - 1e-8) / step))
