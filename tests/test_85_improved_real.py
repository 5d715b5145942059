"""The improved rules on the cereal fields of Freising, 2018: 18 logged harvests, four fields whose catch crop is known.

There is no radar of these fields here, so this is what the rules make of optical series. Rules of optical events were
made with these fields in sight (benchmarks/README.md): that they find them is no independent proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.improved import OPTICAL, WEIGHTS
from support.optical_events import freising, number

from s4c_hpc.config.practices import PracticeRules
from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.codes import NO_DAY, Index, Practice, Status
from s4c_hpc.practices.decimals import Floats
from s4c_hpc.practices.declared import Declared
from s4c_hpc.practices.improved.decisions import Decisions
from s4c_hpc.practices.improved.judge import judge_improved
from s4c_hpc.practices.improved.season import Season
from s4c_hpc.practices.judge import Columns
from s4c_hpc.practices.weeks import Observations

WITH = ("Grafenfeld", "Krohberg", "Sieblerfeld")
WITHOUT = "Radarstation"
NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Judged:
    """The 18 fields."""

    truth: list[dict[str, str]]
    columns: Columns
    decisions: list[Decisions]

    def hits(self) -> int:
        """Windows that hold a day of the harvest as it was logged."""
        start, end = self.decisions[1].start, self.decisions[1].end
        days = [(number(row["harvest_first"]), number(row["harvest_last"])) for row in self.truth]
        return sum(int(s <= last and e >= first) for s, e, (first, last) in zip(start, end, days, strict=True))


def judged(
    *,
    with_ground: bool,
    practice: Practice = Practice.NA,
    period: tuple[str, str] | None = None,
    ground: dict[str, Floats] | None = None,
) -> Judged:
    """The fields by the default thresholds."""
    fields, truth = freising()
    n = len(truth)
    empty = np.empty((n, 0))
    seen = Observations(
        amplitude_day=NOTHING,
        ratio_db=empty,
        vv_db=empty,
        coherence_day=NOTHING,
        coherence=empty,
        coherence_rise=empty,
        ndvi_day=fields.day,
        ndvi=fields.ndvi * 1000,
    )
    season = Season(
        seen=seen,
        amplitude_orbit=NOTHING,
        coherence_orbit=NOTHING,
        doubts=Doubts.none(n, 0),
        ground=(ground or fields.ground) if with_ground else {},
    )

    def day(text: str | None) -> NDArray[Any]:
        return np.full(n, NO_DAY if text is None else number(text))

    p_start, p_end = period or (None, None)
    declared = Declared(
        practice=practice,
        country="",
        year=2018,
        veg_start=day("2018-03-01"),
        h_start=day("2018-06-01"),
        h_end=day("2018-08-31"),
        p_type=np.full(n, ""),
        p_start=day(p_start),
        p_end=day(p_end),
    )
    status = np.full(n, Status.NO_S1, np.int8)
    made = judge_improved(season, declared, PracticeRules(), WEIGHTS, OPTICAL, status, number("2018-12-31"))
    return Judged(truth, *made)


def test_windows_hold_the_logged_harvests() -> None:
    found = judged(with_ground=True)
    assert found.hits() == 18
    assert set(found.decisions[1].reason) == {"NDVI and bare ground, no radar"}
    assert (found.columns["H_SOURCE"] == 1).all()


def test_ndvi_alone_sees_ripening_and_is_less_sure() -> None:
    """Bare ground is needed for dates, or radar: NDVI falls when cereals ripen, weeks before they are harvested."""
    alone, with_ground = judged(with_ground=False), judged(with_ground=True)
    assert alone.hits() == 10
    assert (
        np.asarray(alone.columns["H_CONF"], np.float64) <= np.asarray(with_ground.columns["H_CONF"], np.float64) + 1e-6
    ).all()


def test_a_fall_of_ndvi_without_bare_ground_is_less_sure() -> None:
    """The same fields with BSI and SWIR1 of a crop all the season."""
    fields, _ = freising()
    green = {"bsi": np.full_like(fields.ndvi, -0.35), "swir1": np.full_like(fields.ndvi, 0.15)}
    alone, denied = judged(with_ground=False), judged(with_ground=True, ground=green)
    fell = alone.columns["H_SOURCE"] == 1
    assert fell.sum() > 10
    np.testing.assert_allclose(
        np.asarray(denied.columns["H_CONF"], np.float64)[fell], WEIGHTS.weight_optical * WEIGHTS.silent_share, rtol=1e-6
    )


def test_catch_crops() -> None:
    found = judged(with_ground=True, practice=Practice.CATCH_CROP, period=("2018-08-01", "2018-08-31"))
    index = {row["parcel_id"]: int(code) for row, code in zip(found.truth, found.columns["C_INDEX"], strict=True)}
    assert [index[name] for name in WITH] == [Index.MODERATE] * 3, "NDVI alone is never strong"
    assert index[WITHOUT] == Index.POOR
