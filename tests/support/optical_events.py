"""Optical series for tests of harvests and catch crops: the real fields, made seasons, and the rules in plain loops."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.cli import DEMO_DATA

from s4c_hpc.config.practices import OpticalEventRules
from s4c_hpc.practices.codes import NO_DAY
from s4c_hpc.practices.optical_events import OpticalCatchCrop, OpticalHarvest, optical_catch_crop, optical_harvest

Floats = NDArray[np.float64]
Days = NDArray[np.int64]
RULES = OpticalEventRules()
NOWHERE = int(NO_DAY)


def number(day: str) -> int:
    """Days since 1970."""
    return int(np.datetime64(day, "D").astype(np.int64))


@dataclass(frozen=True)
class Season:
    """Series of n parcels and the days between which the harvest may be."""

    day: Days
    ndvi: Floats
    ground: dict[str, Floats]
    first: Days
    last: Days

    def harvest(self, rules: OpticalEventRules = RULES) -> OpticalHarvest:
        return optical_harvest(self.day, self.ndvi, self.ground, self.first, self.last, rules)

    def catch_crop(self, since: Days, first: int, last: int, rules: OpticalEventRules = RULES) -> OpticalCatchCrop:
        n = len(self.ndvi)
        return optical_catch_crop(self.day, self.ndvi, since, np.full(n, first), np.full(n, last), rules)

    def of(self, rows: Any) -> Season:
        """Some of the parcels."""
        ground = {k: v[rows] for k, v in self.ground.items()}
        return Season(self.day, self.ndvi[rows], ground, self.first[rows], self.last[rows])

    def at(self, columns: Any) -> Season:
        """Some of the dates."""
        ground = {k: v[:, columns] for k, v in self.ground.items()}
        return replace(self, day=self.day[columns], ndvi=self.ndvi[:, columns], ground=ground)

    def only(self, *names: str) -> Season:
        """Some of the indices."""
        return replace(self, ground={name: self.ground[name] for name in names})


def freising() -> tuple[Season, list[dict[str, str]]]:
    """Means of the 18 fields of tum-freising-2018 as the chain makes them, and the rows of their truth."""
    with (DEMO_DATA / "events_truth.csv").open(encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    with (DEMO_DATA / "parcel_means.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    day = np.unique([number(row["day"]) for row in rows])
    names = ("ndvi", "bsi", "swir1", "ndti")
    values = {name: np.full((len(truth), len(day)), np.nan) for name in names}
    field = {row["parcel_id"]: i for i, row in enumerate(truth)}
    for row in rows:
        for name in names:
            values[name][field[row["parcel_id"]], np.searchsorted(day, number(row["day"]))] = float(row[name])
    n = len(truth)
    ndvi = values.pop("ndvi")
    return Season(day, ndvi, values, np.full(n, number("2018-06-01")), np.full(n, number("2018-08-31"))), truth


STAGES = {
    # NDVI, BSI, SWIR1, NDTI as the fields of Freising have them, rounded.
    "green": (0.80, -0.35, 0.15, 0.28),
    "ripe": (0.32, 0.06, 0.27, 0.20),
    "stubble": (0.25, 0.20, 0.37, 0.19),
    "tilled": (0.16, 0.20, 0.37, 0.10),
}
SPRING, RIPE, HARVEST, TILLED = 17700, 17790, 17806, 17820


def cereal(step: int = 5, n_days: int = 200) -> Season:
    """(1, d) A cereal with a look every ``step`` days: green from 17650, ripe at 17790, harvested after 17806, tilled
    at 17820."""
    day = np.arange(17650, 17650 + n_days, step, dtype=np.int64)
    marks = (day[0] - 1, 17770, RIPE, HARVEST, HARVEST + 0.5, TILLED - 1, TILLED, day[-1] + 1)
    stages = ("green", "green", "ripe", "ripe", "stubble", "stubble", "tilled", "tilled")
    values = [np.interp(day, marks, [STAGES[s][i] for s in stages])[None] for i in range(4)]
    ground = dict(zip(("bsi", "swir1", "ndti"), values[1:], strict=True))
    return Season(day, values[0], ground, np.array([17760]), np.array([17829]))


def made(seed: int, n: int = 20) -> Season:
    """Cereals of which some are harvested early, late or never, with noise, clouds, gaps and missing bands."""
    rng = np.random.default_rng(seed)
    one = cereal(int(rng.integers(3, 12)))
    shift = rng.integers(-40, 40, n)

    def drawn(matrix: Floats, noise: float) -> Floats:
        rows = [np.interp(one.day - s, one.day, matrix[0]) for s in shift]
        return np.stack(rows) + rng.normal(0, noise, (n, len(one.day)))

    ndvi = drawn(one.ndvi, 0.03)
    ground = {k: drawn(v, 0.03) for k, v in one.ground.items()}
    cloudy, shaded, gone = (rng.random(ndvi.shape) < share for share in (0.05, 0.05, 0.3))
    ndvi = np.where(cloudy, 0.1, ndvi)
    ground["bsi"] = np.where(cloudy, -0.1, ground["bsi"])
    ground["swir1"] = np.where(shaded, 0.5 * ground["swir1"], ground["swir1"])
    ndvi[gone] = np.nan
    for matrix in ground.values():
        matrix[rng.random(ndvi.shape) < 0.03] = np.nan
        matrix[rng.random(n) < 0.2] = np.nan
    day = np.sort(one.day + rng.integers(-1, 2, len(one.day)))
    first = 17740 + rng.integers(0, 40, n)
    return Season(day, ndvi, ground, first, first + rng.integers(20, 90, n))


def _clear(looks: list[dict[str, float]], rules: OpticalEventRules) -> list[dict[str, float]]:
    """Looks without dips of NDVI."""
    kept = []
    for i, look in enumerate(looks):
        if 0 < i < len(looks) - 1:
            a, b = looks[i - 1], looks[i + 1]
            depth = min(a["ndvi"], b["ndvi"]) - look["ndvi"]
            wait = b["day"] - look["day"]
            if (
                depth > rules.dip_depth
                and wait <= rules.dip_days
                and (b["ndvi"] - look["ndvi"]) / wait > rules.dip_rate
                and a["ndvi"] - b["ndvi"] < rules.dip_share * depth
            ):
                continue
        kept.append(look)
    return kept


def looks_of_parcel(day: Days, values: Mapping[str, Floats]) -> list[dict[str, float]]:
    """Looks with NDVI, one a day."""
    looks: list[dict[str, float]] = []
    for j, number_of_day in enumerate(day.tolist()):
        look = {"day": number_of_day, **{name: float(row[j]) for name, row in values.items()}}
        if math.isfinite(look["ndvi"]) and number_of_day not in {other["day"] for other in looks}:
            looks.append(look)
    return looks


def harvest_of_parcel(
    day: Days, values: Mapping[str, Floats], first: int, last: int, rules: OpticalEventRules
) -> tuple[int, int, float]:
    """Start, end and confidence of one parcel, from (d,) of ``ndvi`` and indices."""
    nothing = (NOWHERE, NOWHERE, 0.0)
    looks = looks_of_parcel(day, values)
    used = [
        name
        for name in ("bsi", "swir1")
        if name in values and sum(math.isfinite(look[name]) for look in looks) >= rules.min_values
    ]
    looks = _clear([look for look in looks if all(math.isfinite(look[name]) for name in used)], rules)
    if "swir1" in used:
        looks = [
            look
            for i, look in enumerate(looks)
            if not (
                0 < i < len(looks) - 1
                and looks[i + 1]["day"] - looks[i - 1]["day"] <= rules.shade_days
                and look["swir1"] < rules.shade_share * min(looks[i - 1]["swir1"], looks[i + 1]["swir1"])
            )
        ]
    looks = [look for look in looks if look["day"] >= first - rules.crop_days]
    falls = []
    for i, look in enumerate(looks):
        if i == 0 or look["day"] < first or looks[i - 1]["day"] > last or look["ndvi"] > rules.bare:
            continue
        if "bsi" in used and look["bsi"] <= rules.ground_bsi:
            continue
        falls.append((i, max(other["ndvi"] for other in looks[: i + 1]) - look["ndvi"]))
    if not falls:
        return nothing
    deepest = max(fall for _, fall in falls)
    ground = next(i for i, fall in falls if fall >= rules.bare_share * deepest)
    peak = max(range(ground + 1), key=lambda i: (looks[i]["ndvi"], -i))
    if looks[peak]["ndvi"] < rules.vegetation:
        return nothing
    rising = [name for name in used if looks[ground][name] - looks[peak][name] >= rules.min_rise]

    def way(i: int) -> float:
        parts = []
        for name in rising or ["ndvi"]:
            crop = looks[peak][name]
            parts.append(min(max((looks[i][name] - crop) / (looks[ground][name] - crop), 0.0), 1.0))
        return sum(parts) / len(parts)

    end = next(i for i in range(peak + 1, ground + 1) if way(i) >= rules.ground_share)
    if looks[end]["day"] < first:
        return nothing
    length = looks[end]["day"] - looks[end - 1]["day"]
    sure = min((looks[peak]["ndvi"] - looks[ground]["ndvi"]) / rules.full_change, 1.0)
    sure *= min(max((way(end) - way(end - 1)) / rules.full_step, 0.0), 1.0)
    sure *= 1.0 if "swir1" in rising else rules.without_swir1
    return int(looks[end - 1]["day"]), int(looks[end]["day"]), sure / (1 + length / rules.window_days)


def catch_crop_of_parcel(
    day: Days, ndvi: Floats, since: int, first: int, last: int, rules: OpticalEventRules
) -> tuple[int, int, float]:
    """Window and confidence of the catch crop of one parcel."""
    nothing = (NOWHERE, NOWHERE, 0.0)
    if since == NOWHERE:
        return nothing
    looks = [look for look in _clear(looks_of_parcel(day, {"ndvi": ndvi}), rules) if since <= look["day"] <= last]
    lowest, begin = math.inf, None
    low_before = math.inf
    for i, look in enumerate(looks):
        lowest = min(lowest, look["ndvi"])
        if look["ndvi"] < rules.vegetation or look["ndvi"] - lowest < rules.catch_rise:
            begin, low_before = i, lowest
    if begin is None or len(looks) - 1 - begin < rules.catch_looks:
        return nothing
    up = looks[begin + 1 :]
    rise = min((max(look["ndvi"] for look in up) - low_before) / rules.full_change, 1.0)
    share = min(max((up[-1]["day"] - max(up[0]["day"], first)) / max(last - first, 1), 0.0), 1.0)
    start, end = int(looks[begin]["day"]), int(up[0]["day"])
    return start, end, rise * share / (1 + (end - start) / rules.window_days)
