"""What radar features are made of: weeks, months, passes and polarisations, and what their columns are called.

As Sen4CAP's L4A (merge-sar.py), with these differences: weeks and months are those of the season, so a week that one
tile lacks is missing there and nowhere else; weeks are those of ISO 8601; gaps are filled up to a limit only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from s4c_hpc.config import Config
from s4c_hpc.features.contract import OBSERVED, PIXELS, Feature
from s4c_hpc.features.fill import longest_gap
from s4c_hpc.features.periods import Period, months, weeks
from s4c_hpc.optical.variable import DIMENSIONLESS

BACKSCATTER: Final = ("VV", "VH")
"""Bands of backscatter, linear power."""

COHERENCE: Final[Mapping[str, str]] = {"COHVV": "VV", "COHVH": "VH"}
"""Bands of coherence, 0 to 1, and their polarisation."""

RATIO: Final = "RATIO"

LOW: Final = 0.10
"""Share of weekly coherences of a month below its low quantile (Sen4CAP L4A calls it MIN)."""

MONTH_DAYS: Final = 30
"""Of a month, where the length of gaps is counted."""

_PASSES: Final[Mapping[str | None, str]] = {"ascending": "ASC", "descending": "DESC", None: "ANY"}

_SHORT: Final = {"mean": "MEAN", "stdev": "DEV"}


def pass_name(direction: str | None) -> str:
    """``ASC``, ``DESC``, or ``ANY`` where it is not known."""
    return _PASSES[direction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A quantity that has a value for each of some periods, and each pixel."""

    key: str
    """``asc_vv_bck``; what columns call their feature."""
    prefix: str
    """Of the columns' names, before the period: ``W``, ``M`` or ``S``."""
    middle: str
    """After it: ``ASC_VV_BCK``."""
    periods: tuple[Period, ...]
    long_name: str
    observed: str = ""
    """Pass and kind of the weeks that say what was observed, ``ASC_BCK``; empty for values over longer times."""

    def columns(self) -> Iterator[Feature]:
        """Means over the parcel for each period, then standard deviations."""
        for statistic, short in _SHORT.items():
            for period in self.periods:
                yield Feature(
                    name=f"XX_{_stamp(self.prefix, period)}_{self.middle}_{short}",
                    feature=self.key,
                    statistic=statistic,
                    first=period.first,
                    last=period.last,
                    unit=DIMENSIONLESS,
                    long_name=self.long_name,
                    source=f"weekly composites of {self.middle.replace('_', ' ')}",
                    observed=f"XX_{_stamp('W', period)}_{self.observed}_OBSERVED" if self.observed else "",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarRecipe:
    """How the radar features of a site are made."""

    weeks: tuple[Period, ...]
    seasons: tuple[Period, ...]
    """Of some months, for backscatter."""
    months: tuple[Period, ...]
    """For coherence."""
    whole: Period
    """The season."""
    backscatter: tuple[tuple[str, str], ...]
    """Pass and polarisation, sorted: what the site has anywhere."""
    coherence: tuple[tuple[str, str], ...]
    max_gap_days: int | None

    set: Final = "sar"

    @property
    def method(self) -> str:
        """In words."""
        gap = "any length" if self.max_gap_days is None else f"up to {self.max_gap_days} days"
        return (
            "per pixel mean of the values above 0 of each week; of weeks mean and coefficient of variation "
            "(backscatter, linear) or mean, 10 % quantile and standard deviation (coherence); then mean and standard "
            f"deviation of the parcel; gaps of {gap} filled linearly by index for each parcel, by the nearest one at "
            "the ends"
        )

    def params(self) -> dict[str, Any]:
        """Everything that decides the values, for the identity of a task."""
        return {
            "set": self.set,
            "season": [self.whole.first.isoformat(), self.whole.last.isoformat()],
            "seasons": [[p.first.isoformat(), p.last.isoformat()] for p in self.seasons],
            "backscatter": [list(pair) for pair in self.backscatter],
            "coherence": [list(pair) for pair in self.coherence],
            "max_gap_days": self.max_gap_days,
        }

    @property
    def ratios(self) -> tuple[str, ...]:
        """Passes that have both polarisations."""
        return tuple(p for p, pol in self.backscatter if pol == "VV" and (p, "VH") in self.backscatter)

    def weekly(self) -> tuple[Measure, ...]:
        """Values of weeks: backscatter, ratio, coherence."""
        found = [self._weekly(p, pol, "BCK", f"backscatter {pol}, {p}") for p, pol in self.backscatter]
        found += [self._weekly(p, RATIO, "BCK", f"ratio of backscatter VV / VH, {p}") for p in self.ratios]
        found += [self._weekly(p, pol, "COHE", f"coherence {pol}, {p}") for p, pol in self.coherence]
        return tuple(found)

    def of_seasons(self) -> tuple[Measure, ...]:
        """Mean, then coefficient of variation of the weeks of some months, for each weekly backscatter and ratio."""
        pairs = [*self.backscatter, *((p, RATIO) for p in self.ratios)]
        return tuple(
            Measure(
                key=f"{p}_{pol}_bck_{short}".lower(),
                prefix="M",
                middle=f"{p}_{pol}_BCK_{short}",
                periods=self.seasons,
                long_name=f"{words} of weekly backscatter {pol}, {p}",
            )
            for p, pol in pairs
            for short, words in (("MEAN", "Mean"), ("CVAR", "Coefficient of variation"))
        )

    def of_months(self) -> tuple[Measure, ...]:
        """Mean, then 10 % quantile of the weeks of a month, for each polarisation of coherence, passes together."""
        return tuple(
            Measure(
                key=f"{pol}_cohe_{short}".lower(),
                prefix="M",
                middle=f"{pol}_COHE_{short}",
                periods=self.months,
                long_name=f"{words} of weekly coherence {pol}",
            )
            for pol in self.polarisations
            for short, words in (("MEAN", "Mean"), ("MIN", "10 % quantile"))
        )

    def of_whole(self) -> tuple[Measure, ...]:
        """Standard deviation of all weeks, for each polarisation of coherence."""
        return tuple(
            Measure(
                key=f"{pol}_cohe_season".lower(),
                prefix="S",
                middle=f"{pol}_COHE",
                periods=(self.whole,),
                long_name=f"Standard deviation over the season of weekly coherence {pol}",
            )
            for pol in self.polarisations
        )

    @property
    def polarisations(self) -> tuple[str, ...]:
        """Of coherence."""
        return tuple(dict.fromkeys(pol for _, pol in self.coherence))

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Pass and kind of what is observed, ``ASC BCK``: the columns that tell are in this order."""
        found = [(p, "BCK") for p, _ in self.backscatter] + [(p, "COHE") for p, _ in self.coherence]
        return tuple(dict.fromkeys(found))

    def columns(self, sensor: str) -> list[Feature]:
        """Columns of a file, in order: pixels, what was observed, weeks, months, the season."""
        pixels = f"XX_{sensor}_pixels"
        found = [Feature(name=pixels, feature="", statistic=PIXELS, unit="pixel", long_name="Pixels of the parcel")]
        found += [
            Feature(
                name=f"XX_{_stamp('W', week)}_{p}_{kind}_OBSERVED",
                feature="",
                statistic=OBSERVED,
                first=week.first,
                last=week.last,
                unit=DIMENSIONLESS,
                long_name="Share of pixels that were observed, not interpolated",
            )
            for p, kind in self.sources
            for week in self.weeks
        ]
        for measure in (*self.weekly(), *self.of_seasons(), *self.of_months(), *self.of_whole()):
            found += measure.columns()
        return found

    def _weekly(self, p: str, pol: str, kind: str, long_name: str) -> Measure:
        return Measure(
            key=f"{p}_{pol}_{kind}".lower(),
            prefix="W",
            middle=f"{p}_{pol}_{kind}",
            periods=self.weeks,
            long_name=f"Weekly {long_name}",
            observed=f"{p}_{kind}",
        )


Pairs = Iterable[tuple[str, str]]
"""Pass and polarisation."""


def radar_recipe(config: Config, backscatter: Pairs, coherence: Pairs) -> RadarRecipe:
    """The recipe of a site that has these anywhere."""
    site, wanted = config.site, config.features
    start, end = site.season_start, site.season_end
    firsts = [week.first for week in weeks(start, end)]
    return RadarRecipe(
        weeks=weeks(start, end),
        seasons=_with_weeks(months(start, end, wanted.sar_months), firsts),
        months=_with_weeks(months(start, end, 1), firsts),
        whole=Period(start, end),
        # VV before VH, as in the reference.
        backscatter=tuple(sorted(set(backscatter), key=_order)),
        coherence=tuple(sorted(set(coherence), key=_order)),
        max_gap_days=wanted.max_gap_days,
    )


def _with_weeks(periods: Sequence[Period], firsts: Sequence[dt.date]) -> tuple[Period, ...]:
    """Those in which a week begins: others would be made of nothing."""
    return tuple(period for period in periods if any(period.first <= first <= period.last for first in firsts))


def _order(pair: tuple[str, str]) -> tuple[str, int]:
    return pair[0], BACKSCATTER.index(pair[1])


def longest(periods: Sequence[Period], max_gap_days: int | None) -> int | None:
    """Most empty weeks or months in a row that are filled; a month counts as ``MONTH_DAYS``."""
    days = max(period.n_days for period in periods)  # those at the ends may be cut
    return longest_gap(max_gap_days, 7 if days <= 7 else MONTH_DAYS * max(1, round(days / 30.4)))


def _stamp(prefix: str, period: Period) -> str:
    """``W201809``, ``M201803`` or ``S``."""
    return {"W": f"W{period.week}", "M": f"M{period.month}", "S": "S"}[prefix]
