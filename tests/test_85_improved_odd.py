"""Odd declarations and odd series by the improved rules: a wrong row costs its own parcel, and nothing is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.improved import OPTICAL, UNTIL, WEIGHTS, said, season_of
from support.practices import LOOSE, Parcel, rules

from s4c_hpc.confounders.doubts import Doubts
from s4c_hpc.practices.codes import NO_DAY, Index, Practice
from s4c_hpc.practices.improved.judge import judge_improved
from s4c_hpc.practices.improved.optical import weeks_of
from s4c_hpc.practices.improved.season import Season

GOLDEN = Parcel()


@pytest.mark.parametrize("catch_crop_from", [None, "07-15"])
def test_a_catch_crop_without_a_first_day_has_no_period(catch_crop_from: str | None) -> None:
    made = said(GOLDEN.but(practice=Practice.CATCH_CROP), rules=rules(catch_crop_from=catch_crop_from))
    assert (made["P_START"], made["P_END"], made["C_INDEX"]) == (NO_DAY, NO_DAY, Index.NA)
    assert made.decisions["catch-crop"]["reason"] == "the practice is declared without a period"


@pytest.mark.parametrize("kind", ["PDJ", "PDZ"])
def test_lithuania_does_not_judge_by_coherence_that_is_not_there(kind: str) -> None:
    own = GOLDEN.but(practice=Practice.FALLOW, p_type=kind, country="LTU", p_start="05-03", p_end="08-01")
    assert said(own)["C_INDEX"] > 0
    made = said(own.but(ratio=(), coherence=()))
    assert made["C_INDEX"] == Index.NR, "no coherence is no sign that the ground was worked"
    assert made.decisions["fallow"]["verdict"] == "undecided"
    assert made.decisions["fallow"]["reason"].startswith("too little radar in the period")


def test_29_february_is_1_march_in_other_years() -> None:
    declared = GOLDEN.declared()
    assert declared.day("02-29") == declared.day("03-01")
    assert replace(declared, year=2024).day("02-29") == replace(declared, year=2024).day("03-01") - 1
    assert declared.day("07-15") == 18823


def test_weeks_do_not_grow_with_what_is_declared() -> None:
    # 2921 instead of 2021 in one row of a table made weeks of nine centuries, for all parcels of its block.
    weeks = weeks_of(season_of([GOLDEN]), WEIGHTS)
    assert weeks.size < 30
    assert (np.diff(weeks) == 7).all()
    assert said(GOLDEN.but(h_end="12-31"))["H_W_START"] == said(GOLDEN)["H_W_START"]


def in_pieces(season: Season, other: float) -> Season:
    """Each pass comes as two pieces, of which the second one sees the field otherwise."""
    seen = season.seen
    twice = {
        name: np.repeat(getattr(seen, name), 2, axis=1) for name in ("ratio_db", "vv_db", "coherence", "coherence_rise")
    }
    twice["coherence"][:, 1::2] += other
    twice["ratio_db"][:, 1::2] += other
    days = {name: np.repeat(getattr(seen, name), 2) for name in ("amplitude_day", "coherence_day")}
    return replace(
        season,
        seen=replace(seen, **twice, **days),
        amplitude_orbit=np.repeat(season.amplitude_orbit, 2),
        coherence_orbit=np.repeat(season.coherence_orbit, 2),
        doubts=Doubts.none(1, 2 * seen.coherence_day.size),
    )


def judged(season: Season) -> dict[str, float]:
    """Columns of a parcel that is declared as the golden one, seen like this."""
    columns, _ = judge_improved(season, GOLDEN.declared(), LOOSE, WEIGHTS, OPTICAL, np.zeros(1, np.int8), UNTIL)
    return {name: values[0].item() for name, values in columns.items()}


def test_pieces_of_one_pass_are_no_change_between_them() -> None:
    season = season_of([GOLDEN.but(ratio=[8.0] * 22, coherence=[0.3] * 21)])
    assert judged(season)["H_CONF"] < 0.6
    assert judged(in_pieces(season, 0.2)) == pytest.approx(judged(season), nan_ok=True)


def test_a_piece_counts_where_the_other_one_has_not_seen_the_field() -> None:
    season = season_of([GOLDEN])
    halves = in_pieces(season, 0.0)
    halves.seen.coherence[:, 0::4] = np.nan
    halves.seen.coherence[:, 3::4] = np.nan
    assert judged(halves) == pytest.approx(judged(season), nan_ok=True)
