"""How sure a decision is: independent strands of evidence become one number between 0 and 1.

``combined`` of weights w is 1 - (1 - w1)(1 - w2)...: what is left to doubt after each strand has taken its share. A
strand in doubt comes with a smaller weight. No weight is fitted, as there is too little truth to fit them to: a
confidence orders decisions and says what they stand on, it is no probability that was ever checked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.practices.codes import Codes, Index
from s4c_hpc.practices.decimals import Floats


def combined(*weights: Floats | float) -> Floats:
    """What strands say together; NaN is a strand that was not seen, and weighs nothing."""
    left: Floats = np.float64(1.0) - np.nan_to_num(np.asarray(weights[0], np.float64))
    for weight in weights[1:]:
        left = left * (1.0 - np.nan_to_num(np.asarray(weight, np.float64)))
    return 1.0 - left


def grade(confidence: Floats, improved: ImprovedRules) -> Codes:
    """(n,) C_INDEX of a confidence; NR of one that is NaN."""
    limits = (
        (improved.strong_confidence, Index.STRONG),
        (improved.moderate_confidence, Index.MODERATE),
        (improved.weak_confidence, Index.WEAK),
    )
    cases: list[NDArray[np.bool_]] = [np.isnan(confidence), *(confidence >= limit - 1e-9 for limit, _ in limits)]
    return np.select(cases, [Index.NR, *(one for _, one in limits)], Index.POOR).astype(np.int8)
