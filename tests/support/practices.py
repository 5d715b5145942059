"""The golden parcel of the practices rules, and one parcel's rules run as a caller would."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.practices.codes import NO_DAY, Practice, Status
from s4c_hpc.practices.days import day_number, day_numbers
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.judge import Columns, judge
from s4c_hpc.practices.weeks import Observations, coherence_rise

RATIO = [8.0, 8.1, 7.9, 8.0, 8.0, 8.1, 7.9, 8.0, 8.0, 8.1, 7.9, 8.0, 8.0, 9.5, 9.6, 9.5, 9.4, *[9.5] * 5]
COHERENCE = [0.30, 0.31, 0.29, 0.30, 0.32, 0.30, 0.31, 0.30, 0.29, 0.30, 0.31, 0.30, 0.33, 0.62, 0.70, 0.71, 0.69]
COHERENCE += [0.70, 0.72, 0.71, 0.70]
"""From the second acquisition on."""

NDVI = {
    "05-05": 620, "05-19": 780, "06-02": 850, "06-16": 820, "06-30": 700, "07-08": 560, "07-14": 470, "07-22": 330,
    "07-30": 280, "08-10": 250, "08-25": 300,
}  # fmt: skip
"""Thousandths, by day of 2021."""

FIRST = dt.date(2021, 5, 3)
LOOSE = PracticeRules(min_acquisitions=0, min_coherence_values=0)
"""The defaults, for as few acquisitions as there are."""


@dataclass(frozen=True)
class Parcel:
    """A parcel of 2021 with an acquisition of radar every six days of one orbit; VV is -10 dB."""

    ratio: Sequence[float] = tuple(RATIO)
    coherence: Sequence[float] = tuple(COHERENCE)
    ndvi: Mapping[str, int] = field(default_factory=lambda: dict(NDVI))
    without: frozenset[int] = frozenset()
    """Acquisitions that are missing."""
    veg_start: str = "05-03"
    h_start: str = "07-05"
    h_end: str = "08-30"
    practice: Practice = Practice.NA
    p_type: str = ""
    p_start: str | None = None
    p_end: str | None = None
    country: str = ""
    first: dt.date = FIRST
    """First acquisition of radar; its year is that of all days."""

    def but(self, **changes: Any) -> Parcel:
        """The same parcel with other values."""
        return replace(self, **changes)

    def with_ndvi(self, **changes: int) -> Parcel:
        """With other NDVI on days like ``d08_10``."""
        return self.but(ndvi={**self.ndvi, **{day[1:].replace("_", "-"): v for day, v in changes.items()}})

    def capped(self, most: int, after: str = "00-00") -> Parcel:
        """With no more NDVI than this after a day."""
        return self.but(ndvi={day: min(v, most) if day > after else v for day, v in self.ndvi.items()})

    def at_least(self, least: int, after: str = "00-00") -> Parcel:
        """With no less NDVI than this after a day."""
        return self.but(ndvi={day: max(v, least) if day > after else v for day, v in self.ndvi.items()})

    def observed(self, max_pair_days: int = 6) -> Observations:
        """As arrays of one parcel."""
        days = [self.first + dt.timedelta(days=6 * k) for k in range(len(self.ratio))]
        kept = [k for k in range(len(days)) if k not in self.without]
        pairs = [k for k in kept if k > 0]
        ndvi = sorted(self.ndvi.items())
        day = day_numbers([days[k] for k in pairs])
        coherence = np.array([[self.coherence[k - 1] for k in pairs]], np.float64)
        return Observations(
            amplitude_day=day_numbers([days[k] for k in kept]),
            ratio_db=np.array([[self.ratio[k] for k in kept]], np.float64),
            vv_db=np.full((1, len(kept)), -10.0),
            coherence_day=day,
            coherence=coherence,
            coherence_rise=coherence_rise(day, np.zeros(len(pairs), np.int64), coherence, max_pair_days),
            ndvi_day=day_numbers([self.day(text) for text, _ in ndvi]),
            ndvi=np.array([[value for _, value in ndvi]], np.float64).reshape(1, -1),
        )

    def declared(self) -> Declared:
        """As arrays of one parcel."""

        def one(text: str | None) -> Any:
            return np.array([NO_DAY if text is None else day_number(self.day(text))], np.int64)

        return Declared(
            practice=self.practice,
            country=self.country,
            year=self.first.year,
            veg_start=one(self.veg_start),
            h_start=one(self.h_start),
            h_end=one(self.h_end),
            p_type=np.array([self.p_type]),
            p_start=one(self.p_start),
            p_end=one(self.p_end),
        )

    def judged(self, rules: PracticeRules = LOOSE, until: str = "12-31") -> dict[str, int]:
        """The columns of the product."""
        status = np.array([Status.OK], np.int8)
        made = judge(self.observed(), self.declared(), rules, status, day_number(self.day(until)))
        return single(made)

    def day(self, text: str) -> dt.date:
        """``07-15`` of its year."""
        return dt.date.fromisoformat(f"{self.first.year}-{text}")


def single(columns: Columns) -> dict[str, int]:
    """Columns of one parcel as plain numbers."""
    return {name: int(values[0]) for name, values in columns.items()}


def rules(**changes: Any) -> PracticeRules:
    """The defaults, some of them changed."""
    return PracticeRules.model_validate({**LOOSE.model_dump(), **changes})


def random_season(n: int, seed: int, *, missing: float = 0.3, n_ndvi: int = 30) -> Observations:
    """Seasons of n parcels that look like those of fields, two orbits of radar, gaps as they come."""
    rng = np.random.default_rng(seed)
    first = day_number(dt.date(2021, 3, 1))
    radar = np.sort(np.concatenate([first + np.arange(0, 270, 6), first + 2 + np.arange(0, 270, 6)]))
    orbit = ((radar - first) % 6 == 2).astype(np.int64)
    optical = np.sort(first + rng.choice(270, n_ndvi, replace=False))
    event = first + rng.integers(60, 200, n)[:, None]

    def gaps(values: Any) -> Any:
        values[rng.random(values.shape) < missing] = np.nan
        return values

    after = radar >= event
    ratio = gaps(np.where(after, 9.5, 8.0) + rng.normal(0, 0.3, after.shape))
    coherence = gaps(np.clip(np.where(after & (radar < event + 60), 0.7, 0.3) + rng.normal(0, 0.05, after.shape), 0, 1))
    green = 250 + 550 * np.exp(-(((optical - event + 40) / 45.0) ** 2)) + rng.normal(0, 20, (n, n_ndvi))
    green += 300 * np.exp(-(((optical - event - 80) / 30.0) ** 2)) * (rng.random((n, 1)) < 0.5)
    day, at = np.unique(optical, return_index=True)
    return Observations(
        amplitude_day=radar,
        ratio_db=ratio,
        vv_db=np.where(rng.random(ratio.shape) < 0.02, -2.0, -10.0),
        coherence_day=radar,
        coherence=coherence,
        coherence_rise=coherence_rise(radar, orbit, coherence, 6),
        ndvi_day=day,
        ndvi=gaps(np.round(green)[:, at]),
    )


def random_declared(n: int, seed: int, practice: Practice, country: str) -> Declared:
    """Declarations of 2021, some without an end."""
    rng = np.random.default_rng(seed)
    year = day_number(dt.date(2021, 1, 1))
    start = year + rng.integers(150, 250, n)
    end = np.where(rng.random(n) < 0.5, start + rng.integers(20, 90, n), NO_DAY)
    kinds = np.array(["CatchCrop_1", "CatchCrop_3", "IS", "PDJ", "PDZ"])
    return Declared(
        practice=practice,
        country=country,
        year=2021,
        veg_start=year + rng.integers(60, 120, n),
        h_start=year + rng.integers(120, 180, n),
        h_end=year + rng.integers(200, 300, n),
        p_type=kinds[rng.integers(0, kinds.size, n)],
        p_start=start,
        p_end=end if practice == Practice.CATCH_CROP else start + rng.integers(20, 90, n),
    )
