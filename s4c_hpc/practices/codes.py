"""What the columns of the practices product may say: codes as small integers, each with its word.

The words are those of the reference's table, the numbers those of its third marker database (TRUE 1, FALSE 0, NA -1,
NA1 -2, NR -3).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int8]


class Seen(IntEnum):
    """Value of a marker."""

    TRUE = 1
    FALSE = 0
    NA = -1
    """Data that it needs are missing."""
    NA1 = -2
    """The parcel has too few pixels of radar."""
    NR = -3
    """Not relevant here."""


class Index(IntEnum):
    """How sure the practice is: ``C_INDEX``."""

    STRONG = 4
    MODERATE = 3
    WEAK = 2
    POOR = 1
    NA = -1
    NA1 = -2
    NR = -3


class Practice(IntEnum):
    """What is declared of a parcel."""

    NA = 0
    """Nothing but the crop: its harvest is looked for."""
    CATCH_CROP = 1
    FALLOW = 2
    NFC = 3
    """A nitrogen-fixing crop."""


PRACTICE_NAMES: Final[Mapping[str, Practice]] = {
    "NA": Practice.NA,
    "CatchCrop": Practice.CATCH_CROP,
    "Fallow": Practice.FALLOW,
    "NFC": Practice.NFC,
}
"""As tables of declared practices call them."""


class Status(IntEnum):
    """Whether there was enough to judge a parcel by, and what was missing."""

    OK = 0
    NO_SERIES = 1
    NO_S1 = 2
    FEW_S1 = 3
    NO_S2 = 4
    FEW_PIXELS = 5
    NO_PERIOD = 6
    NO_SEASON = 7


REASONS: Final[Mapping[Status, str]] = {
    Status.OK: "",
    Status.NO_SERIES: "no series of this parcel",
    Status.NO_S1: "no backscatter or no coherence",
    Status.FEW_S1: "fewer coherence values than the minimum",
    Status.NO_S2: "no NDVI",
    Status.FEW_PIXELS: "fewer pixels of radar than the minimum",
    Status.NO_PERIOD: "the practice is declared without a period, or with one that ends before it begins",
    Status.NO_SEASON: "the table of practices has no row of this parcel, or one with an unknown practice, or without "
    "season or harvest dates, or with a harvest that ends before it begins",
}

NO_DAY: Final = np.int64(-10001)
"""In place of a day that is not: the reference's NR, which it prints as NO-HARVEST or NO-TILLAGE."""

NA_DAY: Final = np.int64(-10000)
NA1_DAY: Final = np.int64(-10002)


def seen(values: NDArray[np.bool_], known: NDArray[np.bool_] | bool = True) -> Codes:
    """TRUE and FALSE as codes; NA where it is not known."""
    return np.where(known, values.astype(np.int8), np.int8(Seen.NA)).astype(np.int8)


def is_true(codes: Codes) -> NDArray[np.bool_]:
    """Where a marker is TRUE."""
    found: NDArray[np.bool_] = codes == Seen.TRUE
    return found


def all_true(codes: Codes, among: NDArray[np.bool_]) -> Codes:
    """(n,) TRUE if no known code of (n, w) among some is FALSE; NA if none is known there."""
    known = among & (codes != Seen.NA)
    return seen(~(known & (codes == Seen.FALSE)).any(axis=1), known.any(axis=1))
