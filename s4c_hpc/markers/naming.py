"""Native column names of marker files: ``<sensor>[_<orbit>]_<variable>_<statistic>__<day>``.

Class counts belong to a grid, not to a variable: ``s2_10m_n_valid__20180507``. The grid always stands in that
name, also where a sensor has one grid only, so that a second grid never renames the first.

Two acquisitions of one sensor (and orbit) over a tile on the same UTC day: **every** name of that day carries
the time, ``s2_ndvi_mean__20180507t102648``. The names are thus a function of the set of products, whatever
arrives first, and a plain name never changes its meaning: where a second overpass turns up later, the plain
name is gone and asking for it is an error that names the new ones, instead of a value from another overpass.

Products of one second (two sets of bands of one acquisition) share their names, which do not clash as long as no
column is in both; see ``inputs.without_twins``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from s4c_hpc.core.errors import InputError

STATISTIC_ORDER = ("count", "mean", "stdev", "min", "max", "median")
CLASS_COUNT_ORDER = ("total", "valid", "water", "cloud", "shadow", "snow", "saturated", "nodata")

_SENSOR = r"(?P<sensor>[A-Za-z0-9][A-Za-z0-9-]*)"
_ORBIT = r"(?:_(?P<orbit>[0-9]{3}[ad]))?"
_STAMP = r"__(?P<day>[0-9]{8})(?:t(?P<time>[0-9]{6}))?"
_STATISTIC = r"(?P<statistic>count|mean|stdev|min|max|median|p(?:100|[1-9]?[0-9]))"
_VALUE = re.compile(rf"{_SENSOR}{_ORBIT}_(?P<variable>[a-z][a-z0-9_]*)_{_STATISTIC}{_STAMP}")
# By name: a variable may be called "n", and its mean is no class count.
_CATEGORY = rf"n_(?P<category>{'|'.join(CLASS_COUNT_ORDER)})"
_COUNT = re.compile(rf"{_SENSOR}{_ORBIT}_(?P<grid>[0-9.]+m)_{_CATEGORY}{_STAMP}")
_SERIES_VALUE = re.compile(rf"(?P<variable>[a-z][a-z0-9_]*)_{_STATISTIC}")
_SERIES_COUNT = re.compile(_CATEGORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerName:
    """What a marker column holds, and thereby what it is called."""

    sensor: str
    """``s2``; letters, digits and hyphens."""
    orbit: str | None = None
    """Relative orbit and pass, ``088d`` or ``015a``, where values of different orbits must not be mixed (radar)."""
    variable: str | None = None
    """``ndvi``, ``b04``; none for a class count."""
    statistic: str
    """``mean``, ``p25`` ...; for a class count the category, ``valid``."""
    grid: str | None = None
    """``10m``; of class counts only."""
    day: dt.date
    """Acquisition day, UTC."""
    time: dt.time | None = None
    """Acquisition time to the second, UTC, where the sensor came twice that day."""

    @property
    def is_class_count(self) -> bool:
        """Whether the column counts pixels of a class."""
        return self.variable is None

    @property
    def stamp(self) -> str:
        """``20180507`` or ``20180507t102648``."""
        day = f"{self.day:%Y%m%d}"
        return day if self.time is None else f"{day}t{self.time:%H%M%S}"

    @property
    def series_column(self) -> str:
        """The column's name in its series file."""
        return f"n_{self.statistic}" if self.variable is None else f"{self.variable}_{self.statistic}"

    def __str__(self) -> str:
        orbit = "" if self.orbit is None else f"_{self.orbit}"
        grid = "" if self.grid is None else f"_{self.grid}"
        return f"{self.sensor}{orbit}{grid}_{self.series_column}__{self.stamp}"

    @property
    def sort_key(self) -> tuple[object, ...]:
        """Order of columns in a file: by acquisition, then counts, then variables, each in its usual order."""
        order = CLASS_COUNT_ORDER if self.is_class_count else STATISTIC_ORDER
        place = order.index(self.statistic) if self.statistic in order else len(order)
        # Percentiles sort as numbers, p5 before p25.
        rank = int(self.statistic[1:]) if re.fullmatch(r"p[0-9]+", self.statistic) else 0
        of_acquisition = (self.day, self.time or dt.time.min, self.sensor, self.orbit or "")
        return (*of_acquisition, self.grid is None, self.grid or "", self.variable or "", place, rank, self.statistic)


def parse_name(name: str) -> MarkerName:
    """The inverse of ``str(MarkerName)``.

    Raises
    ------
    InputError
        If ``name`` is not a native marker column's name.
    """
    found = _COUNT.fullmatch(name) or _VALUE.fullmatch(name)
    if found is None:
        raise InputError(
            "not the name of a marker column", where=repr(name), hint="they look like s2_ndvi_mean__20180507"
        )
    parts = found.groupdict()
    try:
        day = dt.datetime.strptime(parts["day"], "%Y%m%d").date()  # noqa: DTZ007 - a day
        time = dt.datetime.strptime(parts["time"], "%H%M%S").time() if parts["time"] else None  # noqa: DTZ007 - a time of day
    except ValueError as error:
        raise InputError(f"holds no real date ({error})", where=repr(name)) from error
    return MarkerName(
        sensor=parts["sensor"],
        orbit=parts["orbit"],
        variable=parts.get("variable"),
        statistic=parts.get("statistic") or parts["category"],
        grid=parts.get("grid"),
        day=day,
        time=time,
    )


def is_marker_name(name: str) -> bool:
    """Whether ``name`` has the form of a native marker column's name."""
    return (_COUNT.fullmatch(name) or _VALUE.fullmatch(name)) is not None


def parse_series_column(column: str) -> tuple[str | None, str]:
    """``(variable, statistic)`` of a series column; variable is ``None`` for a class count.

    Raises
    ------
    InputError
        If the column is neither.
    """
    if found := _SERIES_COUNT.fullmatch(column):
        return None, found["category"]
    if found := _SERIES_VALUE.fullmatch(column):
        return found["variable"], found["statistic"]
    raise InputError("neither a statistic nor a class count", where=f"series column {column!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One product over one tile, as far as names depend on it."""

    product: str
    sensor: str
    datetime: dt.datetime
    """UTC."""
    orbit: str | None = None

    @property
    def time(self) -> dt.time:
        """Acquisition time to the second, UTC."""
        return self.datetime.time().replace(microsecond=0)


def with_times(acquisitions: Iterable[Acquisition]) -> Mapping[str, dt.time | None]:
    """The time that a product's column names carry, by product id: ``None`` where the day says enough.

    Parameters
    ----------
    acquisitions : all products that are planned for a tile and period, those without a usable series as well:
        a quarantined product that becomes usable later must not rename what was there
    """
    days: dict[tuple[str, str | None, dt.date], dict[str, dt.time]] = defaultdict(dict)
    for one in acquisitions:
        days[one.sensor, one.orbit, one.datetime.date()][one.product] = one.time
    times: dict[str, dt.time | None] = {}
    for of_day in days.values():
        is_plain = len(set(of_day.values())) == 1
        times |= dict.fromkeys(of_day) if is_plain else of_day
    return times
