"""Numbers as people read them: thousands apart, bytes, durations, shares."""

from __future__ import annotations

import datetime as dt
import math

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
MISSING = "\N{EN DASH}"


def count(value: float) -> str:
    """A whole number with its thousands apart, e.g. ``12 345``."""
    return f"{round(value):,}".replace(",", NARROW_SPACE)


def plural(value: int, one: str, many: str | None = None) -> str:
    """``1 parcel``, ``2 parcels``."""
    return f"{count(value)} {one if value == 1 else many or f'{one}s'}"


def size(n_bytes: float) -> str:
    """Bytes in decimal units with three significant digits, e.g. ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(n_bytes) < 999.5 or unit == "TB":
            break
        n_bytes /= 1000
    return f"{_significant(n_bytes)}{NARROW_SPACE}{unit}"


def duration(seconds: float) -> str:
    """Seconds as ``0.42 s``, ``3 min 05 s``, ``2 h 10 min`` or ``3 d 4 h``."""
    if seconds < 59.95:
        return f"{_significant(seconds)}{NARROW_SPACE}s"
    whole = round(seconds)
    for unit, smaller, length, part in (("d", "h", 86_400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= length:
            return f"{whole // length}{NARROW_SPACE}{unit} {whole % length // part:02d}{NARROW_SPACE}{smaller}"
    raise AssertionError("unreachable: a minute or more fits a unit above")


def share(value: float | None) -> str:
    """A fraction as a percentage; ``<1 %`` and ``>99 %`` never round to nothing or all."""
    if value is None or not math.isfinite(value):
        return MISSING
    if 0 < value < 0.01:
        return f"<1{NARROW_SPACE}%"
    if 0.99 < value < 1:
        return f">99{NARROW_SPACE}%"
    return f"{round(value * 100)}{NARROW_SPACE}%"


def decimal(value: float | None, digits: int = 3) -> str:
    """A value with a fixed number of decimals; a dash where there is none."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def hectares(area_m2: float | None) -> str:
    """Square metres as hectares, e.g. ``12.83 ha``; a dash where there is no area."""
    if area_m2 is None or not math.isfinite(area_m2):
        return MISSING
    area_ha = area_m2 / 10_000
    text = count(area_ha) if area_ha >= 1000 else f"{area_ha:.2f}"
    return f"{text}{NARROW_SPACE}ha"


def distance(metres: float) -> str:
    """A round distance as ``500 m`` or ``2 km``."""
    return f"{metres / 1000:g}{NARROW_SPACE}km" if metres >= 1000 else f"{metres:g}{NARROW_SPACE}m"


def day(value: dt.date) -> str:
    """A day as ``2018-05-07``."""
    return value.strftime("%Y-%m-%d")


def minute(value: dt.datetime) -> str:
    """An instant as ``2018-05-07 10:26 UTC``."""
    return value.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _significant(value: float) -> str:
    if value == 0 or abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
