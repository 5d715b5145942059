"""What optical features are made of: which functions of bands, at which dates, by which rule."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from s4c_hpc.config import Config
from s4c_hpc.config.features import FeaturePreset
from s4c_hpc.core.errors import ConfigError
from s4c_hpc.features.contract import OBSERVED, PIXELS, Feature
from s4c_hpc.features.fill import longest_gap
from s4c_hpc.features.periods import Period, periods
from s4c_hpc.optical import Variable, named_variables, parse
from s4c_hpc.optical.variable import DIMENSIONLESS

REFERENCE_STEP_DAYS: Final = 10
"""Days between two dates of the reference (``get_season_dates`` of Sen4CAP's L4A)."""

_UNLIMITED: Final = 1 << 20
"""Periods that no season has."""

_BANDS: Final = {"optical": ("B03", "B04", "B08", "B11"), "red-edge": ("B05", "B06", "B07", "B12")}
_INDICES: Final = {
    "ndvi": "(B08 - B04) / (B08 + B04)",
    "ndwi": "(B11 - B08) / (B11 + B08)",
    "brightness": "sqrt(B03 ** 2 + B04 ** 2 + B08 ** 2 + B11 ** 2)",
}
"""Of Sen4CAP's L4A (OpticalFeatures.cpp); its ndwi has the opposite sign of that of its L3B."""

_TEN_THOUSANDTHS: Final = "1e-4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the features of one set and sensor are made."""

    set: str
    variables: tuple[Variable, ...]
    periods: tuple[Period, ...]
    """Of composites; dates of interpolation are periods of a day."""
    interpolates: bool
    """Values at dates, in whole ten thousandths, as the reference makes them; else composites, gaps filled."""
    max_gap: int
    """Most empty periods in a row that are filled."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that are needed, sorted."""
        return tuple(sorted({name for variable in self.variables for name in variable.formula.names}))

    @property
    def method(self) -> str:
        """In words."""
        if self.interpolates:
            return (
                "per pixel linear between the nearest valid observations, nearest at the ends, in whole 1/10000; "
                "indices of these; then mean and standard deviation of the parcel (Sen4CAP L4A)"
            )
        gap = "gaps of any length" if self.max_gap >= _UNLIMITED else f"gaps of up to {self.max_gap} empty periods"
        return (
            f"per pixel mean of the valid observations of each period, {gap} filled linearly, by the nearest one at "
            "the ends; indices of these; then mean and standard deviation of the parcel"
        )

    def params(self) -> dict[str, Any]:
        """Everything that decides the values, for the identity of a task."""
        return {
            "set": self.set,
            "functions": [[v.name, v.formula.text] for v in self.variables],
            "periods": [[p.first.isoformat(), p.last.isoformat()] for p in self.periods],
            "interpolates": self.interpolates,
            "max_gap": self.max_gap,
        }

    def columns(self, sensor: str) -> list[Feature]:
        """Columns of a file: pixels, what was observed, then means, then standard deviations, as ``optical_block``."""
        seen = {p: f"{_stamp(p)}_{sensor}_observed{_suffix(self.set)}" for p in self.periods}
        found = [
            Feature(
                name=f"XX_{sensor}_pixels{_suffix(self.set)}",
                feature="",
                statistic=PIXELS,
                unit="pixel",
                long_name="Pixels of the parcel",
            )
        ]
        found += [
            Feature(
                name=seen[p],
                feature="",
                statistic=OBSERVED,
                first=p.first,
                last=p.last,
                unit=DIMENSIONLESS,
                long_name="Share of pixels that were observed, not interpolated",
            )
            for p in self.periods
        ]
        for statistic, short in (("mean", "mean"), ("stdev", "dev")):
            found += [
                Feature(
                    name=f"{_stamp(p)}_{sensor}_{short}_{short_name(v)}",
                    feature=short_name(v),
                    statistic=statistic,
                    first=p.first,
                    last=p.last,
                    unit=_TEN_THOUSANDTHS if self.interpolates and v.name not in {"ndvi", "ndwi"} else v.unit,
                    long_name=v.long_name,
                    source=v.formula.text,
                    observed=seen[p],
                )
                for p in self.periods
                for v in self.variables
            ]
        return found


def short_name(variable: Variable) -> str:
    """As the reference calls it: ``b3`` for ``b03``, ``b8a``, ``ndvi``."""
    name = variable.name
    return f"b{name[2:]}" if len(name) == 3 and name[:2] == "b0" else name


def set_variables(config: Config, chosen: str) -> tuple[Variable, ...]:
    """The functions that features of a set are made of.

    Raises
    ------
    ConfigError
        For a name that is no variable, and for a neural network: what it gives is not a function of composites.
    """
    if config.features.preset is FeaturePreset.REFERENCE:
        bands = [
            Variable(name.lower(), parse(name), DIMENSIONLESS, f"Surface reflectance in band {name}", "product")
            for name in _BANDS[chosen]
        ]
        indices = [
            Variable(name, parse(text), DIMENSIONLESS, f"{name} of Sen4CAP's L4A", "Sen4CAP L4A optical features")
            for name, text in (_INDICES if chosen == "optical" else {}).items()
        ]
        return (*bands, *indices)
    names = config.features.optical if chosen == "optical" else config.features.red_edge
    where = f"features.{chosen.replace('-', '_')}"
    if not names:
        raise ConfigError(
            "names no variable", where=where, hint="name bands or indices, or leave the set out of features.sets"
        )
    variables = named_variables(names, config.variables, where)
    called = [short_name(v) for v in variables]
    if len(set(called)) < len(called):
        raise ConfigError(
            f"two features would be called {next(name for name in called if called.count(name) > 1)!r}",
            where=where,
            hint="give your formula another name",
        )
    for variable in variables:
        if variable.by_platform:
            raise ConfigError(
                f"{variable.name!r} comes from a neural network, which features are not made of",
                where=where,
                hint="take its values as series ('s4c series show'), or bands and indices here",
            )
    return variables


def recipe(config: Config, chosen: str, variables: Sequence[Variable], acquired: Sequence[dt.date]) -> Recipe:
    """The recipe of a set.

    Parameters
    ----------
    variables : those of ``set_variables`` that the sensor has bands for
    acquired : days of all products of the sensor on the site; only the reference looks at them
    """
    wanted, site = config.features, config.site
    if wanted.preset is FeaturePreset.REFERENCE:
        first, last = min(acquired), max(acquired)
        steps = range(0, (last - first).days + 1, REFERENCE_STEP_DAYS)
        days = [first + dt.timedelta(days=step) for step in steps]
        return Recipe(
            set=chosen,
            variables=tuple(variables),
            periods=tuple(Period(day, day) for day in days),
            interpolates=True,
            max_gap=_UNLIMITED,
        )
    gap = longest_gap(wanted.max_gap_days, wanted.every_days)
    return Recipe(
        set=chosen,
        variables=tuple(variables),
        periods=periods(site.season_start, site.season_end, wanted.every_days),
        interpolates=False,
        max_gap=_UNLIMITED if gap is None else gap,
    )


def _stamp(period: Period) -> str:
    return f"XX_{period.first:%Y_%m_%d}"


def _suffix(chosen: str) -> str:
    """What tells columns of sets apart that are not features; features have names of their own."""
    return "" if chosen == "optical" else "_re"
