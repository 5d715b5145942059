"""Features as a matrix, and what they are called in another year: what is measured, and when in the season."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.core.errors import InputError, listing
from s4c_hpc.features import Feature, FeatureTable, collect, read_features
from s4c_hpc.features.contract import PIXELS

_TOLERANCE_DAYS = 5
"""How far apart two periods of different years may begin and still be the same one; of long ones it is half of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a feature is, whatever the year."""

    feature: str
    """``ndvi``"""
    statistic: str
    """``mean``"""
    day: int | None = None
    """First day of its period, counted from the start of the season; ``None`` for a feature without a period."""
    days: int = 0
    """Length of the period."""
    number: int = 0
    """Tells features apart that agree in all this: those of two imported tables."""

    def __str__(self) -> str:
        period = "" if self.day is None else f" day {self.day:+d}, {self.days} d"
        return f"{self.feature} {self.statistic}{period}{f' #{self.number + 1}' if self.number else ''}"


@dataclass(frozen=True, eq=False)
class Matrix:
    """Features of parcels, as models see them."""

    keys: tuple[Key, ...]
    """(p,)"""
    columns: tuple[Feature, ...]
    """(p,)"""
    values: NDArray[np.float32]
    """(n, p); NaN where missing."""
    s2_pixels: NDArray[np.float32] | None
    """(n,) Sentinel-2 pixels of each parcel, NaN for none; ``None``: nobody counted any."""
    s1_pixels: NDArray[np.float32] | None


def read_matrix(
    files: Sequence[Path], only: NDArray[np.int32], season_start: dt.date, tiles: Sequence[str] | None = None
) -> Matrix:
    """The features of parcels.

    Parameters
    ----------
    files : feature files; layers behind those that they lie over
    only : (n,) parcels
    tiles : (n,) tile of each, where parcels may have been on another one before

    Raises
    ------
    InputError
        If there is no file, no feature, or not one value.
    """
    if not files:
        raise InputError("there are no features", where="[features]", hint="set features.sets, then 's4c run'")
    table = collect(files, only, tiles)
    sensors = _pixel_columns(files)
    s2, s1 = (_pixels(table, sensors.get(sensor, ())) for sensor in ("s2", "s1"))
    used = [i for i, c in enumerate(table.columns) if c.is_feature and not np.isnan(table.values[:, i]).all()]
    if not used:
        raise InputError(
            f"not one of {only.size} parcels has a value of a feature",
            where=listing([str(path) for path in files], 3),
            hint="were the features made for other parcels? 's4c status' says which tasks failed",
        )
    chosen = table.chosen(used)
    return Matrix(keys_of(chosen.columns, season_start), chosen.columns, chosen.values, s2, s1)


def keys_of(columns: Iterable[Feature], season_start: dt.date) -> tuple[Key, ...]:
    """What features are, whatever the year, in the same order."""
    seen: Counter[Key] = Counter()
    keys = []
    for one in columns:
        last = one.last or one.first
        key = Key(
            feature=one.feature,
            statistic=one.statistic,
            day=None if one.first is None else (one.first - season_start).days,
            days=0 if one.first is None or last is None else (last - one.first).days + 1,
        )
        keys.append(dataclasses.replace(key, number=seen[key]))
        seen[key] += 1
    return tuple(keys)


def matched(wanted: Sequence[Key], matrix: Matrix, where: str) -> NDArray[np.float32]:
    """(n, q) the features that a model was taught with, out of those of another year or place.

    A feature is the one of the same name, statistic and length of period that begins nearest, at most five days away,
    or half of a longer period; each counts once.

    Raises
    ------
    InputError
        Lists the features that are missing.
    """
    free: dict[tuple[Any, ...], list[int]] = {}
    for i, key in enumerate(matrix.keys):
        free.setdefault((key.feature, key.statistic, key.days, key.number, key.day is None), []).append(i)
    chosen, missing = [], []
    for key in wanted:
        candidates = free.get((key.feature, key.statistic, key.days, key.number, key.day is None), [])
        best = min(candidates, key=lambda i: _apart(matrix.keys[i], key), default=None)
        if best is None or _apart(matrix.keys[best], key) > max(_TOLERANCE_DAYS, key.days // 2):
            missing.append(str(key))
        else:
            candidates.remove(best)
            chosen.append(best)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(wanted)} features of the model are not there: {listing(missing)}",
            where=where,
            hint="make them with the settings that the model was taught with: 's4c classify model FILE' shows it",
        )
    return matrix.values[:, chosen]


def has_values(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n,) whether any value of a row (n, p) is known: of features of a saved model, those that ``matched`` chose."""
    found = np.zeros(len(values), np.bool_)
    for column in values.T:  # one at a time: a matrix of flags would be a quarter as large as the values
        found |= ~np.isnan(column)
    return found


def _apart(one: Key, other: Key) -> int:
    """Days between the beginnings of two periods."""
    return abs((one.day or 0) - (other.day or 0))


def _pixel_columns(files: Iterable[Path]) -> Mapping[str, Sequence[str]]:
    """Names of columns that count pixels, by sensor; those of the red-edge bands count larger ones."""
    found: dict[str, dict[str, None]] = {}
    for path in files:
        file = read_features(path)
        if file.header.set != "red-edge":
            names = [f.name for f in file.features if f.statistic == PIXELS]
            found.setdefault(file.header.sensor, {}).update(dict.fromkeys(names))
    return {sensor: tuple(names) for sensor, names in found.items()}


def _pixels(table: FeatureTable, names: Sequence[str]) -> NDArray[np.float32] | None:
    rows = [i for i, column in enumerate(table.columns) if column.name in names]
    if not rows:
        return None
    # Of several columns the one that knows most: fmax passes over NaN.
    most: NDArray[np.float32] = np.fmax.reduce(table.values[:, rows], axis=1)
    return most
