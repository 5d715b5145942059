"""Names of quantiles."""

from __future__ import annotations


def quantile_of(statistic: str) -> float | None:
    """The quantile (0 ... 1) that a statistic's name asks for: ``median``, ``p0`` to ``p100``; ``None`` for others."""
    if statistic == "median":
        return 0.5
    digits = statistic.removeprefix("p")
    return int(digits) / 100 if digits != statistic and digits.isdigit() and int(digits) <= 100 else None
