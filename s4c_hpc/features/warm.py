"""Compile the kernels of features beforehand: ``python -m s4c_hpc.features.warm``; see ``extract.warm``."""

from __future__ import annotations

from typing import Final

import numpy as np

from s4c_hpc.features.moments import moments, shares
from s4c_hpc.features.over_weeks import low_quantile, mean_and_variation
from s4c_hpc.features.temporal import bridge, composite, count_observations, interpolate_whole

_STORED: Final = ("uint16", "int16", "float32")
"""Types of imagery that are met."""

_FLAG: Final = True
"""Any: kernels take no keywords."""


def main() -> None:
    """Run every kernel once, on a pixel with two dates."""
    valid, counts = np.ones((2, 1), np.uint8), np.empty((2, 1), np.uint8)
    place = np.arange(2, dtype=np.int64)
    one = np.ones(2, np.float32)
    share, filled = np.empty((2, 1), np.float32), np.empty((2, 1), np.float32)
    count_observations(valid, place, counts)
    bridge(counts, 1, share)
    for dtype in _STORED:
        stored = np.ones((2, 1), dtype)
        composite(stored, valid, one, one, place, counts, share, filled)
        interpolate_whole(stored, valid, one, one, place, place, filled)
    members = np.array([0, 1], np.int64), np.zeros(2, np.int64), np.empty(0)
    out = np.empty((2, 2, 1), np.float32)
    for values in (filled, filled.astype(np.float64)):
        moments(values, members, _FLAG, out)
    shares(counts, members, share)
    mean_and_variation(filled, filled[0], filled[1], _FLAG)
    low_quantile(filled, 0.1, filled[0])


if __name__ == "__main__":
    main()
