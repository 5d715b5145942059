"""Features of an imported series: which columns there are, and what they are made of, parcels of a block at a time.

Whatever has no pass is composed over periods of the season, as pixels are. Backscatter and coherence of passes make
weekly means and moments over months, named as in Sen4CAP's L4A.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import ConfigError
from s4c_hpc.features.contract import OBSERVED, Feature
from s4c_hpc.features.fill import fill, longest_gap
from s4c_hpc.features.parcel_maths import by_group, composite, deviation, low_quantile, mean, variation
from s4c_hpc.features.periods import Period, months, periods, place_of, weeks
from s4c_hpc.features.radar_recipe import LOW, MONTH_DAYS, RATIO, pass_name
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.series.imported import N_VALID, ImportedColumns
from s4c_hpc.series.radar_names import radar_name

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Radar:
    """What a variable of radar is."""

    variable: ImportedColumns
    polarisation: str
    """``VV``, ``VH``."""
    is_coherence: bool
    is_db: bool
    """Whether values are decibels, which become linear before anything is averaged."""


@dataclass(frozen=True, kw_only=True)
class SeriesRecipe:
    """What decides the features of an import: parameters of a task, as values."""

    name: str
    """Of the import."""
    sensor: str
    season_start: dt.date
    season_end: dt.date
    every_days: int
    max_gap_days: int | None
    sar_months: int
    variables: tuple[ImportedColumns, ...]
    has_count: bool
    passes: tuple[str, ...]

    def to_params(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "sensor": self.sensor,
            "season": [str(self.season_start), str(self.season_end)],
            "every_days": self.every_days,
            "max_gap_days": self.max_gap_days,
            **({"sar_months": self.sar_months} if self.radar else {}),
            "variables": [[v.name, list(v.statistics), v.unit, v.long_name] for v in self.variables],
            "has_count": self.has_count,
            "passes": list(self.passes),
        }

    @classmethod
    def from_params(cls, values: Mapping[str, Any]) -> SeriesRecipe:
        """The inverse of ``to_params``."""
        start, end = (dt.date.fromisoformat(day) for day in values["season"])
        return cls(
            name=values["name"],
            sensor=values["sensor"],
            season_start=start,
            season_end=end,
            every_days=values["every_days"],
            max_gap_days=values["max_gap_days"],
            sar_months=values.get("sar_months", 1),
            variables=tuple(
                ImportedColumns(name=name, statistics=tuple(statistics), unit=unit, long_name=long_name)
                for name, statistics, unit, long_name in values["variables"]
            ),
            has_count=values["has_count"],
            passes=tuple(values["passes"]),
        )

    @cached_property
    def radar(self) -> tuple[Radar, ...]:
        """Variables that are backscatter or coherence of a pass.

        Raises
        ------
        ConfigError
            If two are the same.
        """
        found: dict[tuple[str, bool], Radar] = {}
        for variable in self.variables if self.passes else ():
            if (name := radar_name(variable.name, variable.unit)) is None:
                continue
            one = Radar(
                variable=variable, polarisation=name.polarisation, is_coherence=name.is_coherence, is_db=name.is_db
            )
            key = one.polarisation, one.is_coherence
            if key in found:
                raise ConfigError(
                    f"{found[key].variable.name} and {variable.name} are both "
                    f"{'coherence' if one.is_coherence else 'backscatter'} {one.polarisation}",
                    where=f"import {self.name}",
                    hint="import one of them, or give it another name",
                )
            found[key] = one
        return tuple(found[key] for key in sorted(found, key=lambda key: (key[1], key[0] != "VV")))

    @property
    def others(self) -> tuple[ImportedColumns, ...]:
        """Variables that are composed over periods."""
        radar = {one.variable.name for one in self.radar}
        return tuple(variable for variable in self.variables if variable.name not in radar)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the series files that are read."""
        own = [f"{v.name}_{s}" for v in self.variables for s in v.statistics]
        return (*own, N_VALID) if self.has_count else tuple(own)

    @property
    def method(self) -> str:
        """In words, for people."""
        gaps = "any length" if self.max_gap_days is None else f"up to {self.max_gap_days} days"
        parts = []
        if self.others:
            parts.append(f"mean of the values in {self.every_days} days counted from {self.season_start}")
        if self.radar:
            parts.append(f"weekly means, moments of weekly means over {self.sar_months} months (coherence: 1)")
        weighted = self.has_count or any("count" in v.statistics for v in self.variables)
        weights = ", weighted by pixels" if weighted else ""
        return f"{'; '.join(parts)}{weights}; gaps of {gaps} filled linearly by period, nearest at the ends"


def features(
    recipe: SeriesRecipe, acquisitions: Sequence[Acquisition], values: Mapping[str, Singles]
) -> Iterator[_Column]:
    """Columns of a feature file in order, each with its values.

    Parameters
    ----------
    acquisitions : (m,) of the season
    values : (m, n) of each of ``recipe.columns``

    Yields
    ------
    What a column is, and (n,) its values; NaN where there is none
    """
    yield from _composites(recipe, acquisitions, values)
    if recipe.radar:
        yield from _Sar(recipe, acquisitions, values).columns()


def described(recipe: SeriesRecipe) -> tuple[Feature, ...]:
    """Columns of a feature file, whatever was observed."""
    nothing = np.empty((0, 0), np.float32)
    return tuple(feature for feature, _ in features(recipe, (), dict.fromkeys(recipe.columns, nothing)))


_Column = tuple[Feature, Floats]


def _composites(
    recipe: SeriesRecipe, acquisitions: Sequence[Acquisition], values: Mapping[str, Singles]
) -> Iterator[_Column]:
    """``XX_2018_03_02_s2_mean_ndvi``: all means by date, then all deviations, then what was observed."""
    if not recipe.others:
        return
    found = periods(recipe.season_start, recipe.season_end, recipe.every_days)
    place = place_of([a.day for a in acquisitions], found)
    gap = longest_gap(recipe.max_gap_days, recipe.every_days)
    names = [f"XX_{period.first:%Y_%m_%d}_{recipe.sensor}" for period in found]
    seen = np.zeros((next(iter(values.values())).shape[1], len(found)), bool)
    for statistic, short in (("mean", "mean"), ("stdev", "dev")):
        having = [v for v in recipe.others if statistic in v.statistics]
        filled = []
        for variable in having:
            own = composite(values[f"{variable.name}_{statistic}"], _weights(variable, values), place, len(found))
            if statistic == "mean":
                seen |= np.isfinite(own)
            filled.append(fill(own, gap))
        for i, (name, period) in enumerate(zip(names, found, strict=True)):
            for variable, matrix in zip(having, filled, strict=True):
                feature = Feature(
                    name=f"{name}_{short}_{variable.name}",
                    feature=variable.name,
                    statistic=statistic,
                    first=period.first,
                    last=period.last,
                    unit=variable.unit,
                    long_name=f"{variable.long_name}, {statistic}",
                    source=f"imported as {recipe.name}",
                    observed=f"{name}_{OBSERVED}",
                )
                yield feature, matrix[:, i]
    for i, (name, period) in enumerate(zip(names, found, strict=True)):
        yield _observed(f"{name}_{OBSERVED}", period), seen[:, i].astype(np.float64)


def _weights(variable: ImportedColumns, values: Mapping[str, Singles]) -> Singles | None:
    """(m, n) pixels that values stand on, if the table tells."""
    return values.get(f"{variable.name}_count", values.get(N_VALID))


def _observed(name: str, period: Period) -> Feature:
    return Feature(
        name=name,
        feature="",
        statistic=OBSERVED,
        first=period.first,
        last=period.last,
        unit="1",
        long_name="Whether there is a value in the period: 1, or 0 where it was filled",
    )


class _Sar:
    """Weekly values of a block and what is made of them."""

    def __init__(
        self, recipe: SeriesRecipe, acquisitions: Sequence[Acquisition], values: Mapping[str, Singles]
    ) -> None:
        self.recipe = recipe
        self.weeks = weeks(recipe.season_start, recipe.season_end)
        week = place_of([a.day for a in acquisitions], self.weeks)
        self.week_gap = longest_gap(recipe.max_gap_days, 7)
        passed = np.array([a.orbit_direction or "" for a in acquisitions], dtype="U10")
        self.backscatter: dict[tuple[str, str], Floats] = {}
        self.coherence: dict[tuple[str, str], Floats] = {}
        self.deviations: dict[tuple[str, str, bool], Floats] = {}
        for radar in recipe.radar:
            for one in recipe.passes:
                place = np.where(passed == one, week, -1)
                self._add(radar, one, place, values)
        for one in recipe.passes:
            if {(one, "VV"), (one, "VH")} <= set(self.backscatter):
                with np.errstate(invalid="ignore"):
                    self.backscatter[one, RATIO] = self.backscatter[one, "VV"] / self.backscatter[one, "VH"]

    def columns(self) -> Iterator[_Column]:
        """In the order weeks, months, season; then what was observed."""
        for key, values in self.backscatter.items():
            yield from self._weekly(*key, values, is_coherence=False)
        for key, values in self.coherence.items():
            yield from self._weekly(*key, values, is_coherence=True)
        yield from self._months()
        for one in self.recipe.passes:
            every = [v for own in (self.backscatter, self.coherence) for (at, _), v in own.items() if at == one]
            seen = np.logical_or.reduce([np.isfinite(values) for values in every])
            for i, week in enumerate(self.weeks):
                yield _observed(f"XX_W{week.week}_{pass_name(one)}_{OBSERVED}", week), seen[:, i].astype(np.float64)

    def _add(self, radar: Radar, one: str, place: NDArray[np.int64], values: Mapping[str, Singles]) -> None:
        stored = values[f"{radar.variable.name}_mean"]
        with np.errstate(over="ignore", invalid="ignore"):
            linear = 10.0 ** (stored / np.float32(10)) if radar.is_db else stored
            # 0 stands for no data, as in the reference.
            linear = np.where(linear > 0, linear, np.float32(np.nan)).astype(np.float32)
        weights, n = _weights(radar.variable, values), len(self.weeks)
        target = self.coherence if radar.is_coherence else self.backscatter
        target[one, radar.polarisation] = composite(linear, weights, place, n)
        if "stdev" in radar.variable.statistics and not radar.is_db:
            own = composite(values[f"{radar.variable.name}_stdev"], weights, place, n)
            self.deviations[one, radar.polarisation, radar.is_coherence] = own

    def _weekly(self, one: str, polarisation: str, values: Floats, *, is_coherence: bool) -> Iterator[_Column]:
        kind = "COHE" if is_coherence else "BCK"
        matrices = [("MEAN", "mean", values)]
        if (deviations := self.deviations.get((one, polarisation, is_coherence))) is not None:
            matrices.append(("DEV", "stdev", deviations))
        for suffix, statistic, matrix in matrices:
            filled = fill(matrix, self.week_gap)
            for i, week in enumerate(self.weeks):
                yield (
                    self._feature(
                        f"XX_W{week.week}_{pass_name(one)}_{polarisation}_{kind}_{suffix}",
                        f"{pass_name(one)}_{polarisation}_{kind}",
                        week,
                        statistic=statistic,
                        long_name=f"Weekly mean of {kind} {polarisation}, {one}",
                        observed=f"XX_W{week.week}_{pass_name(one)}_{OBSERVED}",
                    ),
                    filled[:, i],
                )

    def _months(self) -> Iterator[_Column]:
        start, end = self.recipe.season_start, self.recipe.season_end
        several, single = months(start, end, self.recipe.sar_months), months(start, end, 1)
        for (one, polarisation), values in self.backscatter.items():
            for suffix, moment in (("MEAN", mean), ("CVAR", variation)):
                name = f"{pass_name(one)}_{polarisation}_BCK_{suffix}"
                yield from self._moments(values, several, self.recipe.sar_months, name, moment)
        pooled: dict[str, list[Floats]] = {}
        for (_, polarisation), values in self.coherence.items():
            pooled.setdefault(polarisation, []).append(values)
        for polarisation, parts in pooled.items():
            values = np.concatenate(parts, axis=1)
            for suffix, moment in (("MEAN", mean), ("MIN", _low)):
                yield from self._moments(values, single, 1, f"{polarisation}_COHE_{suffix}", moment)
            season = Period(start, end)
            name = f"{polarisation}_COHE"
            long_name = f"Standard deviation of weekly coherence {polarisation} over the season"
            yield self._feature(f"XX_S_{name}_MEAN", f"S_{name}", season, long_name=long_name), deviation(values)

    def _moments(
        self, values: Floats, parts: Sequence[Period], n_months: int, name: str, moment: Any
    ) -> Iterator[_Column]:
        """A moment of the weeks that begin in each period; ``values`` may be those of several passes side by side."""
        place = np.tile(place_of([week.first for week in self.weeks], parts), values.shape[1] // len(self.weeks))
        matrix = np.stack([moment(by_group(values, place, i)) for i in range(len(parts))], axis=1)
        filled = fill(matrix, longest_gap(self.recipe.max_gap_days, MONTH_DAYS * n_months))
        for i, part in enumerate(parts):
            long_name = f"{name.replace('_', ' ')} of weekly values"
            yield self._feature(f"XX_M{part.month}_{name}_MEAN", name, part, long_name=long_name), filled[:, i]

    def _feature(
        self, name: str, what: str, period: Period, *, statistic: str = "mean", long_name: str = "", observed: str = ""
    ) -> Feature:
        return Feature(
            name=name,
            feature=what.lower(),
            statistic=statistic,
            first=period.first,
            last=period.last,
            unit="1",
            long_name=long_name,
            source=f"imported as {self.recipe.name}",
            observed=observed,
        )


def _low(values: Floats) -> Floats:
    return low_quantile(values, LOW)
