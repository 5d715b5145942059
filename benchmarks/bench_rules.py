"""Parcels judged per CPU second by the rules of practices in both modes, reading left out, and memory of a block.

``python -m benchmarks.bench_rules [--parcels N]`` prints JSON. Made seasons of nine months: radar every six days on two
orbits, 40 dates of NDVI, some values missing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from s4c_hpc.config import mowing as mowing_rules
from s4c_hpc.config.practices import OpticalEventRules, PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.mowing.detector import detected
from s4c_hpc.mowing.reference import Orbit
from s4c_hpc.practices.codes import NO_DAY, Practice, Status
from s4c_hpc.practices.days import Days, day_number
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.judge import judge_improved
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.judge import judge
from s4c_hpc.practices.weeks import Observations, coherence_rise

BLOCK: Final = 1024
"""Parcels judged at a time."""

FIRST: Final = day_number(dt.date(2021, 3, 1))
LENGTH: Final = 270


def season(n: int, seed: int) -> Observations:
    """Observations of n parcels, each with an event at which backscatter and coherence rise and NDVI falls."""
    rng = np.random.default_rng(seed)
    radar = np.sort(np.concatenate([FIRST + np.arange(0, LENGTH, 6), FIRST + 2 + np.arange(0, LENGTH, 6)]))
    orbit = ((radar - FIRST) % 6 == 2).astype(np.int64)
    optical = np.linspace(FIRST, FIRST + LENGTH - 1, 40).astype(np.int64)
    event = FIRST + rng.integers(60, 200, n)[:, None]
    ratio = np.where(radar >= event, 9.5, 8.0) + rng.normal(0, 0.3, (n, radar.size))
    coherence = np.clip(np.where(radar >= event, 0.7, 0.3) + rng.normal(0, 0.05, ratio.shape), 0, 1)
    ndvi = 250 + 550 * np.exp(-(((optical - event + 40) / 45.0) ** 2)) + rng.normal(0, 20, (n, optical.size))
    for values, share in ((ratio, 0.1), (coherence, 0.1), (ndvi, 0.5)):
        values[rng.random(values.shape) < share] = np.nan
    return Observations(
        amplitude_day=radar,
        ratio_db=ratio,
        vv_db=np.full(ratio.shape, -10.0),
        coherence_day=radar,
        coherence=coherence,
        coherence_rise=coherence_rise(radar, orbit, coherence, 6),
        ndvi_day=optical,
        ndvi=np.round(ndvi),
    )


def declarations(n: int, practice: Practice, country: str) -> Declared:
    """Every parcel the same."""

    def all_of(day: int | np.int64) -> Days:
        return np.full(n, day, np.int64)

    return Declared(
        practice=practice,
        country=country,
        year=2021,
        veg_start=all_of(FIRST),
        h_start=all_of(FIRST + 60),
        h_end=all_of(FIRST + 220),
        p_type=np.full(n, ""),
        p_start=all_of(FIRST + 160),
        p_end=all_of(NO_DAY if practice == Practice.CATCH_CROP else FIRST + 220),
    )


def judged_by(mode: str, seen: Observations, declared: Declared) -> Callable[[], object]:
    """What judges a block in a mode."""
    status, until = np.full(BLOCK, Status.OK, np.int8), FIRST + 300
    rules = PracticeRules(tillage=True)
    orbit = ((seen.coherence_day - FIRST) % 6 == 2).astype(np.int64)
    if mode == "reference":

        def by_markers() -> object:
            coherence_rise(seen.coherence_day, orbit, seen.coherence, rules.max_pair_days)
            return judge(seen, declared, rules, status, until)

        return by_markers
    season = Season(
        seen=seen,
        amplitude_orbit=orbit,
        coherence_orbit=orbit,
        doubts=Doubts.none(BLOCK, orbit.size),
        ground={},
    )
    weights, optical = ImprovedRules(), OpticalEventRules()
    return lambda: judge_improved(season, declared, rules, weights, optical, status, until)


def measure(mode: str, n: int, practice: Practice, country: str) -> dict[str, Any]:
    """Figures of one practice."""
    run = judged_by(mode, season(BLOCK, 1), declarations(BLOCK, practice, country))
    run()
    started = time.process_time()
    rounds = max(n // BLOCK, 1)
    for _ in range(rounds):
        run()
    seconds = time.process_time() - started
    speed = round(rounds * BLOCK / seconds)
    return {"mode": mode, "practice": practice.name, "country": country, "parcels_per_cpu_s": speed}


def measure_mowing(n: int) -> float:
    """Parcels a CPU second of our detector, on the NDVI and coherence of the same seasons."""
    seen = season(BLOCK, 1)
    days = seen.coherence_day.astype(np.float64)
    orbits = [
        Orbit(days[seen.coherence_day % 6 == phase], seen.coherence[:, seen.coherence_day % 6 == phase])
        for phase in np.unique(seen.coherence_day % 6)
    ]
    ndvi, when = seen.ndvi / 1000, seen.ndvi_day.astype(np.float64)
    bounds = float(FIRST + 30), float(FIRST + LENGTH - 30)

    def run() -> None:
        detected(ndvi, when, orbits, bounds, mowing_rules.ImprovedRules())

    run()
    started = time.process_time()
    rounds = max(n // BLOCK, 1)
    for _ in range(rounds):
        run()
    return rounds * BLOCK / (time.process_time() - started)


def together(found: list[dict[str, Any]], mowing: float) -> dict[str, int]:
    """Parcels a CPU second, by practice, that are judged by the improved rules and searched for mowings."""
    return {
        one["practice"]: round(1 / (1 / one["parcels_per_cpu_s"] + 1 / mowing))
        for one in found
        if one["mode"] == "improved"
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parcels", type=int, default=50 * BLOCK)
    n = parser.parse_args().parcels
    cases = [(Practice.NA, ""), (Practice.CATCH_CROP, "NLD"), (Practice.FALLOW, "CZE"), (Practice.NFC, "ROU")]
    found = [measure(mode, n, *case) for mode in ("reference", "improved") for case in cases]
    mowing = measure_mowing(n)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = {"block": BLOCK, "peak_mib": round(peak), "rules": found}
    print(json.dumps({**said, "mowing": round(mowing), "together": together(found, mowing)}, indent=1))


if __name__ == "__main__":
    main()
