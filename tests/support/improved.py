"""One parcel, or made ones, judged by the improved rules as a caller would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.practices import LOOSE, Parcel, random_season, single

from s4c_hpc.config.practices import OpticalEventRules, PracticeRules
from s4c_hpc.config.practices_improved import ImprovedRules
from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.codes import Status
from s4c_hpc.practices.days import day_number
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.enough import status_of
from s4c_hpc.practices.improved.decisions import SOURCES, Decisions
from s4c_hpc.practices.improved.judge import judge_improved
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.judge import Columns
from s4c_hpc.practices.weeks import Observations

WEIGHTS = ImprovedRules()
OPTICAL = OpticalEventRules()
UNTIL = 18992
"""Last day of 2021."""


@dataclass(frozen=True)
class Said:
    """What is said of one parcel."""

    columns: dict[str, Any]
    decisions: dict[str, dict[str, Any]]
    """By name: verdict, confidence, start, end, source, doubts, reason, values."""

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    @property
    def reason(self) -> str:
        """Of the harvest."""
        text: str = self.decisions["harvest"]["reason"]
        return text

    def markers(self, first: int = 1, last: int = 5) -> str:
        """As letters: T, F, - for NA, n for not relevant."""
        code = {1: "T", 0: "F", -1: "-", -2: "s", -3: "n"}
        return "".join(code[int(self.columns[f"M{i}"])] for i in range(first, last + 1))


def weights(**changes: Any) -> ImprovedRules:
    """The defaults, some of them changed."""
    return ImprovedRules.model_validate({**WEIGHTS.model_dump(), **changes})


def season_of(
    parcels: Sequence[Parcel], flags: Sequence[int] = (), ground: Mapping[str, Floats] | None = None
) -> Season:
    """Parcels become orbits of one: the first gives NDVI and one orbit, others an orbit each, two days later each.

    Parameters
    ----------
    flags : bits of ``Doubt`` of coherences of the first orbit
    """
    seen = [one.observed() for one in parcels]
    amplitude, a_orbit, a_order = _together([one.amplitude_day for one in seen])
    pairs, c_orbit, c_order = _together([one.coherence_day for one in seen])

    def joined(name: str, order: NDArray[np.int64]) -> Floats:
        values: Floats = np.concatenate([getattr(one, name) for one in seen], axis=1)[:, order]
        return values

    doubts = Doubts.none(1, pairs.size)
    doubts.flags[0, np.flatnonzero(c_orbit == 0)[: len(flags)]] = flags
    own = Observations(
        amplitude_day=amplitude,
        ratio_db=joined("ratio_db", a_order),
        vv_db=joined("vv_db", a_order),
        coherence_day=pairs,
        coherence=joined("coherence", c_order),
        coherence_rise=joined("coherence_rise", c_order),
        ndvi_day=seen[0].ndvi_day,
        ndvi=seen[0].ndvi,
    )
    return Season(seen=own, amplitude_orbit=a_orbit, coherence_orbit=c_orbit, doubts=doubts, ground=ground or {})


def said(
    *parcels: Parcel,
    rules: PracticeRules = LOOSE,
    improved: ImprovedRules = WEIGHTS,
    flags: Sequence[int] = (),
    ground: Mapping[str, Floats] | None = None,
) -> Said:
    """What is said of a parcel, one orbit each given."""
    season, declared = season_of(parcels, flags, ground), parcels[0].declared()
    status = status_of(season.seen, season.coherence_orbit, None, declared, rules)
    until = day_number(parcels[0].day("12-31"))
    columns, decisions = judge_improved(season, declared, rules, improved, OPTICAL, status, until)
    numbers = {name: values[0].item() for name, values in columns.items()}
    return Said({**single_days(columns), **numbers}, {one.decision: row(one) for one in decisions if one.row.size})


def row(one: Decisions, at: int = 0) -> dict[str, Any]:
    """A decision as plain values."""
    return {
        "verdict": str(one.verdict[at]),
        "confidence": float(one.confidence[at]),
        "start": int(one.start[at]),
        "end": int(one.end[at]),
        "source": SOURCES[one.source[at]],
        "doubts": int(one.doubts[at]),
        "reason": str(one.reason[at]),
        **{name: float(values[at]) for name, values in one.values.items()},
    }


def single_days(columns: Columns) -> dict[str, int]:
    """Columns of one parcel that are whole numbers."""
    return single({name: values for name, values in columns.items() if values.dtype.kind in "iu"})


def random_improved(n: int, seed: int, missing: float = 0.3) -> Season:
    """Seasons of n parcels with two orbits, and doubts as they come."""
    seen = random_season(n, seed, missing=missing)
    rng = np.random.default_rng(seed + 1)
    first = int(seen.amplitude_day[0])
    orbit = ((seen.amplitude_day - first) % 6 == 2).astype(np.int64)
    doubts = Doubts.none(n, orbit.size)
    doubts.flags[rng.random(doubts.flags.shape) < 0.1] = 1
    return Season(seen=seen, amplitude_orbit=orbit, coherence_orbit=orbit, doubts=doubts, ground={})


def judge_all(
    season: Season, declared: Declared, rules: PracticeRules = LOOSE, improved: ImprovedRules = WEIGHTS
) -> tuple[Columns, list[Decisions]]:
    """Columns and decisions of made parcels, none of which lacks anything."""
    status = np.full(len(season.seen.ndvi), Status.OK, np.int8)
    return judge_improved(season, declared, rules, improved, OPTICAL, status, UNTIL)


def _together(days: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Days of several orbits in order, the orbit of each, and where each was."""
    every = np.concatenate([one + 2 * i for i, one in enumerate(days)])
    orbit = np.repeat(np.arange(len(days)), [one.size for one in days])
    order = np.argsort(every, kind="stable")
    return every[order], orbit[order], order
