"""What the sky was like over a parcel on a date: from pixel counts to one of seven states, each with a sign.

A state has a shape of its own, so that it can be told without colour; ``style.css`` gives the colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from s4c_hpc.config import Category
from s4c_hpc.drawing.svg import element, number

CATEGORIES: tuple[Category, ...] = (
    Category.VALID,
    Category.WATER,
    Category.SHADOW,
    Category.SNOW,
    Category.CLOUD,
    Category.SATURATED,
    Category.NODATA,
)
"""Pixel categories in the order in which they are stacked in plots, from the usable to the missing."""

CLEAR_SHARE = 0.9
"""From this share of usable pixels on a date counts as clear for a parcel."""

PARTLY_SHARE = 0.1
"""Below this share a date is named after what covers the parcel, and no value is drawn."""


class Sky(IntEnum):
    """State of a parcel on an acquisition date."""

    CLEAR = 0
    PARTLY = 1
    CLOUD = 2
    SHADOW = 3
    SNOW = 4
    SATURATED = 5
    NODATA = 6

    @property
    def label(self) -> str:
        """Name in the legend."""
        return _LABELS[self]

    @property
    def explanation(self) -> str:
        """What the sign means, as a sentence part for the legend."""
        return _EXPLANATIONS[self]


_LABELS = {
    Sky.CLEAR: "clear",
    Sky.PARTLY: "partly clear",
    Sky.CLOUD: "cloudy",
    Sky.SHADOW: "shadow",
    Sky.SNOW: "snow",
    Sky.SATURATED: "saturated",
    Sky.NODATA: "no data",
}

_EXPLANATIONS = {
    Sky.CLEAR: f"{CLEAR_SHARE:.0%} or more of the parcel's pixels are usable".replace("%", " %"),
    Sky.PARTLY: f"{PARTLY_SHARE:.0%} to {CLEAR_SHARE:.0%} are usable; the value comes from those".replace("%", " %"),
    Sky.CLOUD: "hardly a pixel usable, mostly cloud",
    Sky.SHADOW: "hardly a pixel usable, mostly cloud shadow",
    Sky.SNOW: "hardly a pixel usable, mostly snow",
    Sky.SATURATED: "hardly a pixel usable, mostly saturated",
    Sky.NODATA: "no image over the parcel on this date, or no pixel inside it",
}

_STATE_OF_CATEGORY = {
    Category.VALID: Sky.CLEAR,
    Category.WATER: Sky.CLEAR,
    Category.CLOUD: Sky.CLOUD,
    Category.SHADOW: Sky.SHADOW,
    Category.SNOW: Sky.SNOW,
    Category.SATURATED: Sky.SATURATED,
    Category.NODATA: Sky.NODATA,
}


def usable_columns(use: Sequence[Category]) -> NDArray[np.bool_]:
    """(n_categories,) whether pixels of a category enter the statistics, in the order of ``CATEGORIES``."""
    return np.array([category in use for category in CATEGORIES])


def usable_share(counts: NDArray[Any], usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of pixels that enter the statistics; NaN where a parcel has no pixel at all.

    Parameters
    ----------
    counts : (..., n_categories) pixels (or summed coverage), in the order of ``CATEGORIES``
    usable : (n_categories,) from ``usable_columns``
    """
    total = counts.sum(axis=-1, dtype=np.float64)
    good = counts[..., usable].sum(axis=-1, dtype=np.float64)
    share = np.full(total.shape, np.nan)
    np.divide(good, total, out=share, where=total > 0)
    return share


def sky_states(counts: NDArray[Any], usable: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """State codes of ``Sky``.

    Parameters
    ----------
    counts : (..., n_categories) pixels (or summed coverage), in the order of ``CATEGORIES``
    usable : (n_categories,) from ``usable_columns``

    Notes
    -----
    Below ``PARTLY_SHARE`` the most frequent category that is not usable gives the name; of equals, the first.
    """
    share = usable_share(counts, usable)
    codes = np.array([_STATE_OF_CATEGORY[c] if not u else -1 for c, u in zip(CATEGORIES, usable, strict=True)])
    blocked = np.where(usable, -1.0, counts).argmax(axis=-1)
    # A configuration may use cloudy pixels too; then nothing blocks and the date is clear or has no data.
    states = np.where(codes[blocked] >= 0, codes[blocked], Sky.NODATA)
    states = np.where(share >= PARTLY_SHARE, Sky.PARTLY, states)
    states = np.where(share >= CLEAR_SHARE, Sky.CLEAR, states)
    result: NDArray[np.uint8] = np.where(np.isnan(share), Sky.NODATA, states).astype(np.uint8)
    return result


def sign(state: Sky, x: float = 0.0, y: float = 0.0) -> Markup:
    """The sign of a state, some 9 units wide, centred on ``(x, y)``."""
    return element("path", d=f"M{number(x)} {number(y)}{_SIGNS[state]}", class_=f"sky {state.name.lower()}")


_SIGNS = {
    # Relative path data from the centre: the same text at every place compresses well and needs no <defs>.
    Sky.CLEAR: "m-4 0a4 4 0 1 1 8 0a4 4 0 1 1-8 0z",
    Sky.PARTLY: "m-3.6 0a3.6 3.6 0 1 1 7.2 0a3.6 3.6 0 1 1-7.2 0zm0 0a3.6 3.6 0 1 0 7.2 0z",
    Sky.CLOUD: "m-3.4 3.2a2.4 2.4 0 0 1-.2-4.8a3.3 3.3 0 0 1 6.3-.6a2.7 2.7 0 0 1 .9 5.4z",
    Sky.SHADOW: "m0-4.4l4.4 4.4l-4.4 4.4l-4.4-4.4z",
    Sky.SNOW: "m0-4.4v8.8m-3.8-6.6l7.6 4.4m0-4.4l-7.6 4.4",
    Sky.SATURATED: "m0-4.4l4.4 7.8h-8.8z",
    Sky.NODATA: "m-3.2-3.2l6.4 6.4m0-6.4l-6.4 6.4",
}
