"""What the values of the reference's marker files mean, and which cannot be what their name says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import ConfigError, InputError, listing
from s4c_hpc.markers.compat_parse import SCALED_BY, ForeignColumn

RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "NDVI": (-1.0, 1.0),
    "NDWI": (-1.0, 1.0),
    "COHE": (0.0, 1.0),
    "L2A": (-1.0, 3.0),
    "BRIGHTNESS": (0.0, 5.0),
    "FAPAR": (-1.0, 2.0),
    "FCOVER": (-1.0, 2.0),
    "LAI": (-2.0, 30.0),
    "AMP": (-80.0, 40.0),
}
"""Type -> smallest and largest value in physical units: the definition's for indices and coherence; elsewhere generous,
so that only values with a factor (1000, 10000) lie outside."""

TOLERANCE: Final = 1e-5
"""Beyond a range, as a share of its width: values are float32."""

METHODS: Final[Mapping[str, str]] = {
    "count": "number of pixels",
    "mean": "arithmetic mean",
    "stdev": "sample standard deviation (n - 1)",
    "min": "smallest value",
    "max": "largest value",
    "median": "of the distinct values, one rank too high",
    "p25": "of the distinct values, one rank too high",
    "p75": "of the distinct values, one rank too high",
}
"""How the reference computes a statistic."""

PIXELS: Final = (
    "Sen4CAP: pixels whose centre is inside the parcel; value 0 counts as no data; parcels with at most one pixel, or "
    "with at most 10 % of their pixels valid, are left out"
)


@dataclass(frozen=True, slots=True)
class Scales:
    """Factors by type, as the user gave them."""

    factors: Mapping[str, float]

    @classmethod
    def parse(cls, texts: list[str]) -> Scales:
        """Read ``NDVI=0.0001``.

        Raises
        ------
        ConfigError
            If a text is no such factor, or the type has none.
        """
        factors: dict[str, float] = {}
        for text in texts:
            kind, _, number = text.partition("=")
            try:
                factor = float(number)
            except ValueError:
                factor = 0.0
            if kind not in SCALED_BY or not np.isfinite(factor) or factor <= 0 or kind in factors:
                raise ConfigError(
                    f"{text!r} is not a factor of a type, or the second one of it",
                    where="--scale",
                    hint=f"they look like NDVI=0.0001; types are {', '.join(SCALED_BY)}",
                )
            factors[kind] = factor
        return cls(factors)

    def of(self, column: ForeignColumn) -> float:
        """Factor of a column's values; counts have none."""
        return 1.0 if column.statistic == "count" else self.factors.get(column.kind, 1.0)


def physical(
    values: NDArray[np.float32], column: ForeignColumn, scales: Scales, *, where: str
) -> tuple[NDArray[np.float32], int]:
    """Values in physical units, NaN where there is none.

    Parameters
    ----------
    values : (n,) as stored
    where : file and column, for messages

    Returns
    -------
    (n,) float32, and how many zeros of ``min`` and ``max`` were taken out: the reference starts both at 0 when the
    first pixel of a parcel is not valid, and never counts a pixel of value 0, so that every 0 is a false one

    Raises
    ------
    InputError
        If a value cannot be what the name says: the factor it was stored with is never guessed.
    """
    factor = scales.of(column)
    made = values if factor == 1.0 else (values.astype(np.float64) * factor).astype(np.float32)
    n_false = 0
    if column.statistic in {"min", "max"}:
        false = made == 0
        n_false = int(false.sum())
        made = np.where(false, np.float32(np.nan), made) if n_false else made
    _check(made, column, factor, where)
    return made, n_false


def _check(values: NDArray[np.float32], column: ForeignColumn, factor: float, where: str) -> None:
    if column.statistic == "count":
        low, high = 0.0, float(np.iinfo(np.int32).max)
    else:
        low, high = RANGES[column.kind]
        if column.statistic == "stdev":
            low, high = 0.0, high - low
        elif column.variable == "vv_minus_vh_db":
            low, high = low - high, high - low
    slack = (high - low) * TOLERANCE
    wrong = ~np.isnan(values) & ~((values >= low - slack) & (values <= high + slack))
    if wrong.any():
        shown = [f"{v:g}" for v in values[wrong][:3]]
        scalable = column.kind in SCALED_BY and column.statistic != "count"
        hint = (
            f"if they were stored with a factor, say which: --scale {column.kind}=0.0001 divides by 10000"
            if scalable
            else "the file holds something else than its column names say"
        )
        used = "" if factor == 1.0 else f" after the factor {factor:g}"
        raise InputError(
            f"{int(wrong.sum())} values lie outside of {low:g} to {high:g}{used}: {listing(shown)}",
            where=where,
            hint=hint,
        )
