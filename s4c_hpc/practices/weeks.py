"""Series of acquisitions become weeks: one column a week that a parcel really has, the same place for all its values.

A week is there only if it has backscatter and coherence; NDVI of other weeks is lost, as in the reference. Nothing is
smoothed or interpolated. Source of the formulas: the reference's TsaDataPreProcessor.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.practices.days import Days, monday
from s4c_hpc.practices.decimals import Flags, Floats, at_most, rounded

Places = NDArray[np.int64]

FAR = np.int64(2**40)
"""Monday of columns beyond the last week of a parcel."""

N_BEFORE = 3
"""Weeks before with which a week's backscatter is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What was observed of n parcels; NaN where there is nothing."""

    amplitude_day: Days
    """(t,) acquisitions of backscatter, ascending."""
    ratio_db: Floats
    """(n, t) VV - VH, in dB, where both are."""
    vv_db: Floats
    """(n, t)"""
    coherence_day: Days
    """(c,) later day of a pair, ascending."""
    coherence: Floats
    """(n, c) VV, 0 to 1."""
    coherence_rise: Floats
    """(n, c) against the pair before on the same orbit, see ``coherence_rise``."""
    ndvi_day: Days
    """(d,) ascending."""
    ndvi: Floats
    """(n, d), in thousandths."""

    def within(self, first: Days, last: Days, amplitude_beyond: int) -> Observations:
        """Those from a day to another of each parcel (n,), those of backscatter some days longer."""
        end = last + amplitude_beyond

        def cut(values: Floats, day: Days, until: Days) -> Floats:
            # Days outside the periods of all parcels need no column.
            near = near_of(day, until)
            inside = (day[near] >= first[:, None]) & (day[near] <= until[:, None])
            return np.where(inside, values[:, near], np.nan)

        def near_of(day: Days, until: Days) -> slice:
            return slice(int(np.searchsorted(day, first.min())), int(np.searchsorted(day, until.max(), "right")))

        return Observations(
            amplitude_day=self.amplitude_day[near_of(self.amplitude_day, end)],
            ratio_db=cut(self.ratio_db, self.amplitude_day, end),
            vv_db=cut(self.vv_db, self.amplitude_day, end),
            coherence_day=self.coherence_day[near_of(self.coherence_day, last)],
            coherence=cut(self.coherence, self.coherence_day, last),
            coherence_rise=cut(self.coherence_rise, self.coherence_day, last),
            ndvi_day=self.ndvi_day[near_of(self.ndvi_day, last)],
            ndvi=cut(self.ndvi, self.ndvi_day, last),
        )

    def of(self, rows: NDArray[np.bool_]) -> Observations:
        """Those of some parcels."""
        names = ("ratio_db", "vv_db", "coherence", "coherence_rise", "ndvi")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Weeks:
    """Weeks of n parcels, the first at the left; w columns, of which a parcel with fewer weeks uses the first."""

    monday: Days
    """(n, w) ``FAR`` in columns that are not used."""
    amplitude_rise_db: Floats
    """(n, w) mean ratio against the three weeks of backscatter before; 0 where it falls."""
    amplitude_max_db: Floats
    """(n, w) largest ratio, at least 0."""
    coherence: Floats
    """(n, w) largest."""
    coherence_rise: Floats
    """(n, w) largest."""
    ndvi: Floats
    """(n, w) mean, a whole number of thousandths; NaN in weeks without one."""
    ratio_mean_db: Floats
    """(n,) of weekly means."""
    ratio_stdev_db: Floats
    """(n,) sample standard deviation of weekly means."""
    coherence_max: Floats
    """(n,) of the whole series."""
    last_coherence: Days
    """(n,) Monday of the last week with coherence; -``FAR`` if there is none."""
    order: Places
    """(n, w) column of each week in the calendar."""
    calendar: Days
    """(m,) Mondays of all weeks, without a gap."""

    @property
    def there(self) -> Flags:
        """(n, w) columns that are used."""
        return self.monday < FAR

    @property
    def last(self) -> Days:
        """(n,) Monday of the last week; -``FAR`` if there is none."""
        latest: Days = np.where(self.there, self.monday, -FAR).max(axis=1, initial=-FAR)
        return latest


def weekly(seen: Observations, max_vv_db: float) -> Weeks:
    """Weeks of parcels.

    Parameters
    ----------
    max_vv_db : acquisitions with more VV than this do not enter mean and deviation of the ratio
    """
    calendar = calendar_of(seen)
    amplitude, n_amplitude = mean_of(seen.ratio_db, seen.amplitude_day, calendar)
    quiet = np.where(at_most(seen.vv_db, max_vv_db), seen.ratio_db, np.nan)
    steady, n_steady = mean_of(quiet, seen.amplitude_day, calendar)
    average, deviation = _moments(steady, n_steady > 0)
    highest = _max_of(seen.ratio_db, seen.amplitude_day, calendar, 0.0)
    coherence = _max_of(seen.coherence, seen.coherence_day, calendar, -np.inf)
    rise = _max_of(seen.coherence_rise, seen.coherence_day, calendar, 0.0)
    ndvi, _ = mean_of(seen.ndvi, seen.ndvi_day, calendar)
    has_coherence = np.isfinite(coherence)
    joined = (n_amplitude > 0) & has_coherence
    # Unused columns go to the right, the others keep their order.
    order = np.argsort(~joined, axis=1, kind="stable")[:, : max(int(joined.sum(axis=1).max(initial=0)), 1)]
    there = np.take_along_axis(joined, order, axis=1)

    def at(values: Floats) -> Floats:
        return np.where(there, np.take_along_axis(values, order, axis=1), np.nan)

    return Weeks(
        monday=np.where(there, calendar[order], FAR),
        amplitude_rise_db=at(_amplitude_rise(amplitude, n_amplitude > 0)),
        amplitude_max_db=at(highest),
        coherence=at(coherence),
        coherence_rise=at(rounded(rise, 3)),
        ndvi=at(rounded(ndvi)),
        ratio_mean_db=average,
        ratio_stdev_db=deviation,
        coherence_max=coherence.max(axis=1, initial=-np.inf),
        last_coherence=np.where(has_coherence, calendar, -FAR).max(axis=1, initial=-FAR),
        order=order,
        calendar=calendar,
    )


def coherence_rise(day: Days, orbit: NDArray[np.int64], coherence: Floats, max_days: int) -> Floats:
    """(n, c) growth against the value before on the same orbit; 0 if it fell, if there is none or it is too old.

    Parameters
    ----------
    day : (c,) ascending
    orbit : (c,) what tells orbits apart
    coherence : (n, c)
    max_days : a value before that is older does not count

    Notes
    -----
    With one satellite, pairs are 12 days apart and the reference, which says 6, finds no growth at all.
    """
    growth = np.full(coherence.shape, np.nan)
    for one in np.unique(orbit):
        last_value = np.full(coherence.shape[0], np.nan)
        last_day = np.full(coherence.shape[0], -FAR)
        for i in np.flatnonzero(orbit == one):
            value = coherence[:, i]
            is_near = day[i] - last_day <= max_days
            step = np.where(is_near, np.fmax(value - last_value, 0.0), 0.0)
            growth[:, i] = np.where(np.isnan(value), np.nan, step)
            last_day = np.where(np.isnan(value), last_day, day[i])
            last_value = np.where(np.isnan(value), last_value, value)
    return growth


def without_doubles(day: Days, values: Floats) -> Floats:
    """Values (n, t), those that stand there for the same day already taken out."""
    result = values.copy()
    for one in np.unique(day[1:][day[1:] == day[:-1]]):
        at = np.flatnonzero(day == one)
        for i, later in enumerate(at[1:], 1):
            is_double = (result[:, at[:i]] == result[:, [later]]).any(axis=1)
            result[is_double, later] = np.nan
    return result


def calendar_of(seen: Observations) -> Days:
    """(m,) Mondays of all weeks from the first acquisition to the last one."""
    days = np.concatenate([seen.amplitude_day, seen.coherence_day, seen.ndvi_day])
    if not days.size:
        return np.zeros(1, np.int64)
    return np.arange(monday(days.min()), monday(days.max()) + 1, 7, dtype=np.int64)


def sums_of(values: Floats, day: Days, calendar: Days) -> Floats:
    """(n, m) sums by week of values (n, t) without NaN."""
    result = np.zeros((values.shape[0], calendar.size))
    if day.size:
        week, first = np.unique((monday(day) - calendar[0]) // 7, return_index=True)
        result[:, week] = np.add.reduceat(values, first, axis=1)
    return result


def mean_of(values: Floats, day: Days, calendar: Days) -> tuple[Floats, Floats]:
    """(n, m) means by week and what each is made of; NaN where there is nothing."""
    finite = np.isfinite(values)
    n = sums_of(finite.astype(np.float64), day, calendar)
    total = sums_of(np.where(finite, values, 0.0), day, calendar)
    with np.errstate(invalid="ignore"):
        return total / n, n


def before(values: Floats, valid: Flags) -> Floats:
    """(n, w) the last valid value left of each column; NaN where there is none."""
    at = np.maximum.accumulate(np.where(valid, np.arange(values.shape[1]), -1), axis=1)
    at = np.concatenate([np.full((len(at), 1), -1), at[:, :-1]], axis=1)
    return np.where(at >= 0, np.take_along_axis(values, np.maximum(at, 0), axis=1), np.nan)


def from_here(values: Floats, valid: Flags) -> Floats:
    """(n, w) the first valid value in each column or right of it; NaN where there is none."""
    w = values.shape[1]
    at = np.minimum.accumulate(np.where(valid, np.arange(w), w)[:, ::-1], axis=1)[:, ::-1]
    return np.where(at < w, np.take_along_axis(values, np.minimum(at, w - 1), axis=1), np.nan)


def first_monday(weeks: Weeks, wanted: Flags) -> Days:
    """(n,) Monday of the first week that is wanted (n, w); ``FAR`` if none is."""
    earliest: Days = np.where(wanted, weeks.monday, FAR).min(axis=1, initial=FAR)
    return earliest


def last_monday(weeks: Weeks, wanted: Flags) -> Days:
    """(n,) Monday of the last week that is wanted (n, w); -``FAR`` if none is."""
    latest: Days = np.where(wanted & weeks.there, weeks.monday, -FAR).max(axis=1, initial=-FAR)
    return latest


def _max_of(values: Floats, day: Days, calendar: Days, least: float) -> Floats:
    """(n, m) largest by week, at least something."""
    result = np.full((values.shape[0], calendar.size), least)
    if day.size:
        week, first = np.unique((monday(day) - calendar[0]) // 7, return_index=True)
        filled = np.where(np.isnan(values), least, values)
        result[:, week] = np.maximum(np.maximum.reduceat(filled, first, axis=1), least)
    return result


def _moments(values: Floats, valid: Flags) -> tuple[Floats, Floats]:
    """(n,) mean and sample standard deviation of what is valid in (n, m)."""
    n = valid.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        average = np.where(valid, values, 0.0).sum(axis=1) / n
        spread = np.where(valid, values - average[:, None], 0.0)
        deviation = np.sqrt((spread**2).sum(axis=1) / np.maximum(n - 1, 0))
    return average, np.where(n > 1, deviation, 0.0)


def _amplitude_rise(mean_db: Floats, there: Flags) -> Floats:
    """(n, m) against the mean of the three weeks before that are there; 0 in the first three, and where it falls."""
    order = np.argsort(~there, axis=1, kind="stable")
    own = np.take_along_axis(mean_db, order, axis=1)
    rise = np.zeros(own.shape)
    if own.shape[1] > N_BEFORE:
        earlier = (own[:, :-3] + own[:, 1:-2] + own[:, 2:-1]) / N_BEFORE
        rise[:, N_BEFORE:] = rounded(np.fmax(own[:, N_BEFORE:] - earlier, 0.0), 2)
    result = np.zeros(own.shape)
    np.put_along_axis(result, order, rise, axis=1)
    return result
