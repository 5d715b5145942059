"""Limits that the optical and the coherence markers have in common, of harvest, practices and tillage."""

from __future__ import annotations

import numpy as np

from s4c_hpc.practices.decimals import Flags, Floats, at_least, below, rounded
from s4c_hpc.practices.weeks import Weeks


def drop_limit(ndvi: Floats, dropped: Flags, *, down: float, up: float, step: int) -> Floats:
    """(n, w) NDVI below which vegetation is lost, as it is known in each week from all weeks before and this one.

    Parameters
    ----------
    ndvi : (n, w) of weeks that count, NaN in others
    dropped : (n, w) weeks in which NDVI fell below ``up``
    """
    lowest = np.minimum.accumulate(np.where(dropped, ndvi, np.inf), axis=1)
    highest = np.fmax.accumulate(np.where(np.isnan(ndvi), -np.inf, ndvi), axis=1)
    is_bare = below(highest, down) & np.isfinite(highest) | below(lowest, down)
    with np.errstate(invalid="ignore"):
        stepped = step * np.ceil((lowest - 1e-8) / step)
    return np.where(is_bare, down, np.where(np.isfinite(lowest), stepped, up))


def coherence_marker(weeks: Weeks, rise: float, level: float) -> Flags:
    """(n, w) whether coherence grows or is high.

    A parcel that never reaches the level has one of its own, its highest value less ``rise``. Where coherence varies
    by less than that, every week is marked: a defect of the reference that is kept here.
    """
    own = np.where(below(weeks.coherence_max, level), weeks.coherence_max - rise, level)
    return (at_least(weeks.coherence_rise, rise) | at_least(weeks.coherence, own[:, None])) & weeks.there


def buffer(highest: Floats, limit: Floats, divisor: float) -> Floats:
    """(n,) how far above the limit NDVI may be."""
    return np.fmax(rounded((highest - limit) / divisor), 0.0)
