"""Fallow land and nitrogen-fixing crops as countries judge them, on variants of the golden parcel."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from scipy import stats
from support.practices import LOOSE, RATIO, Parcel, random_season, rules

from s4c_hpc.config.practices import PracticeRules, rules_of
from s4c_hpc.practices.codes import NO_DAY, Index, Practice, Seen
from s4c_hpc.practices.days import as_yyyymmdd, day_number, iso_week, iso_year
from s4c_hpc.practices.slope import grows
from s4c_hpc.practices.weeks import calendar_of

PLAIN = Parcel()
LONG = PLAIN.but(ratio=[*RATIO, *[9.0] * 12], coherence=[*PLAIN.coherence, *[0.4] * 12])
"""To 17 November."""

FEW = {"min_acquisitions": 0, "min_coherence_values": 0}
HARVEST = 20210726
NA, NR, T, F = Seen.NA, Seen.NR, Seen.TRUE, Seen.FALSE


def fallow(parcel: Parcel, country: str, p_end: str = "08-30", p_type: str = "", p_start: str = "05-03") -> Parcel:
    return parcel.but(practice=Practice.FALLOW, country=country, p_type=p_type, p_start=p_start, p_end=p_end)


def crop(parcel: Parcel, country: str, p_start: str = "05-03", p_end: str = "08-30") -> Parcel:
    return parcel.but(practice=Practice.NFC, country=country, p_start=p_start, p_end=p_end)


CZECH_FALLOW = rules_of("Fallow", "CZE", FEW)
OWN = rules(practice_ndvi=350)
BARE = rules(practice_ndvi=400)


@pytest.mark.parametrize(
    ("parcel", "own", "index", "markers"),
    [
        pytest.param(fallow(PLAIN, "ESP"), BARE, Index.WEAK, {"M6": T}, id="black, harvested"),
        pytest.param(fallow(PLAIN, "ESP", p_end="07-12"), BARE, Index.MODERATE, {"M6": T}, id="black, harvested later"),
        pytest.param(fallow(PLAIN.capped(399), "ESP"), BARE, Index.STRONG, {"M6": F}, id="black and bare"),
        pytest.param(fallow(PLAIN.capped(400), "ESP"), BARE, Index.WEAK, {"M6": T}, id="just not bare"),
        pytest.param(fallow(PLAIN, "ESP", p_start="09-06", p_end="09-06"), BARE, Index.NR, {"M6": NR}, id="not begun"),
        pytest.param(fallow(PLAIN, "ESP", p_end="09-07"), BARE, Index.NR, {"M6": T}, id="not over, markers stay"),
        pytest.param(fallow(PLAIN, "CZE"), CZECH_FALLOW, Index.WEAK, {"M8": NR}, id="green, harvested"),
        pytest.param(fallow(PLAIN, "CZE", p_end="07-12"), CZECH_FALLOW, Index.STRONG, {"M8": F}, id="green, lost"),
        pytest.param(fallow(PLAIN.at_least(650), "CZE"), CZECH_FALLOW, Index.MODERATE, {"M8": T}, id="green, not lost"),
        pytest.param(fallow(PLAIN.capped(390), "CZE"), CZECH_FALLOW, Index.POOR, {"M6": F}, id="never green"),
        pytest.param(
            fallow(PLAIN, "LTU", p_type="PDJ"), LOOSE, Index.WEAK, {"M6": NR, "M10": T, "H_W_START": HARVEST}, id="PDJ"
        ),
        pytest.param(
            fallow(PLAIN.but(coherence=[0.75] * 21), "LTU", p_type="PDJ"),
            LOOSE,
            Index.STRONG,
            {"M10": F, "H_W_START": int(NO_DAY), "H_WEEK": int(NO_DAY)},
            id="PDJ, worked: no harvest is told",
        ),
        pytest.param(fallow(PLAIN, "LTU", p_type="PDZ"), LOOSE, Index.STRONG, {"M6": T, "M10": T}, id="PDZ"),
        pytest.param(fallow(PLAIN, "LTU", "07-12", "PDZ"), LOOSE, Index.MODERATE, {}, id="PDZ, harvested late"),
        pytest.param(fallow(PLAIN, "LTU", "07-19", "PDZ"), LOOSE, Index.STRONG, {}, id="PDZ, a week late"),
        pytest.param(fallow(LONG, "LTU", "09-20", "PDZ"), LOOSE, Index.STRONG, {}, id="PDZ, 56 days before"),
        pytest.param(fallow(LONG, "LTU", "09-27", "PDZ"), LOOSE, Index.MODERATE, {}, id="PDZ, 63 days before"),
        pytest.param(fallow(PLAIN.capped(324), "LTU", p_type="PDZ"), LOOSE, Index.WEAK, {"M6": F}, id="PDZ, bare"),
        pytest.param(crop(PLAIN, "LTU"), OWN, Index.STRONG, {"M6": T}, id="crop"),
        pytest.param(crop(PLAIN.at_least(400), "LTU"), OWN, Index.MODERATE, {}, id="crop, not harvested"),
        pytest.param(crop(PLAIN.capped(340), "LTU"), OWN, Index.WEAK, {"M6": F}, id="no crop"),
        pytest.param(crop(PLAIN.capped(340), "ESP"), OWN, Index.POOR, {"M6": F}, id="no crop in Spain"),
        pytest.param(crop(PLAIN.capped(340), "ITA_1"), OWN, Index.POOR, {"M6": F}, id="no crop in a part of Italy"),
        pytest.param(crop(PLAIN, "ROU", p_end="07-26"), OWN, Index.STRONG, {}, id="Romania, in the last week"),
        pytest.param(crop(PLAIN, "ROU", "08-11", "08-20"), OWN, Index.NR, {"M6": NA}, id="Romania, cloudy"),
        pytest.param(crop(PLAIN, "LTU", "08-11", "08-20"), OWN, Index.STRONG, {"M6": NA}, id="Lithuania, cloudy"),
        pytest.param(crop(PLAIN, "CZE"), OWN, Index.WEAK, {}, id="Czechia, harvested"),
        pytest.param(crop(PLAIN, "CZE", p_end="07-12"), OWN, Index.STRONG, {}, id="Czechia"),
        pytest.param(crop(PLAIN, "CZE", "08-01"), OWN, Index.MODERATE, {"M6": F}, id="Czechia, green before"),
        pytest.param(crop(PLAIN.capped(340), "CZE"), OWN, Index.POOR, {}, id="Czechia, never green"),
    ],
)
def test_index(parcel: Parcel, own: PracticeRules, index: Index, markers: dict[str, int]) -> None:
    found = parcel.judged(own)
    assert Index(found["C_INDEX"]) == index
    assert {name: found[name] for name in markers} == markers


def test_a_period_without_any_acquisition() -> None:
    found = crop(PLAIN.but(veg_start="05-03"), "LTU", "01-05", "01-20").judged(OWN)
    assert (found["M6"], found["C_INDEX"], found["P_S1GAPS"], found["C_QUALITY"]) == (NA, Index.STRONG, 1, 0)


def test_slopes_are_those_of_an_ordinary_regression() -> None:
    """Against SciPy's, week by week, over five weeks that are of one ISO year."""
    seen = random_season(12, 7, missing=0.6)
    limit = 0.02
    growing, known = grows(seen, limit)
    calendar = calendar_of(seen)
    found = 0
    for i in range(12):
        for column, week in enumerate(calendar):
            near = (seen.amplitude_day >= week - 14) & (seen.amplitude_day < week + 21) & np.isfinite(seen.ratio_db[i])
            days = seen.amplitude_day[near]
            if len(np.unique((days - calendar[0]) // 7)) < 3:
                assert not known[i, column]
                continue
            fit = stats.linregress(days, seen.ratio_db[i][near])
            assert known[i, column]
            assert growing[i, column] == (fit.slope >= limit and fit.pvalue < 0.05)
            found += bool(growing[i, column])
    assert found > 10


@pytest.mark.parametrize("first", [dt.date(2015, 12, 20), dt.date(2020, 12, 20), dt.date(2021, 12, 25)])
def test_days_are_those_of_the_calendar(first: dt.date) -> None:
    days = [first + dt.timedelta(days=i) for i in range(40)]
    numbers = np.array([day_number(day) for day in days], np.int64)
    assert iso_week(numbers).tolist() == [day.isocalendar().week for day in days]
    assert iso_year(numbers).tolist() == [day.isocalendar().year for day in days]
    assert as_yyyymmdd(numbers).tolist() == [int(f"{day:%Y%m%d}") for day in days]


def test_a_season_that_begins_in_week_one_begins_a_week_later() -> None:
    """4 January 2021 is in ISO week 1, as the reference has it."""
    parcel = PLAIN.but(veg_start="01-04").declared()
    assert parcel.first_week[0] == day_number(dt.date(2021, 1, 11))


class TestNumbersInTheRules:
    """Values just on either side of numbers that are no thresholds of a country."""

    @pytest.mark.parametrize(("p_start", "m10"), [("05-24", T), ("05-31", F)])
    def test_nine_weeks_in_a_row(self, p_start: str, m10: Seen) -> None:
        """Coherence is low until the week of 19 July."""
        assert fallow(PLAIN, "LTU", p_type="PDJ", p_start=p_start).judged()["M10"] == m10

    def test_gaps_count_from_35_days_before_the_harvest(self) -> None:
        """The weeks of 21 and 28 June are missing."""
        found = PLAIN.but(without=frozenset({9, 10})).judged()
        assert (found["H_W_START"], found["H_W_S1GAPS"], found["H_QUALITY"]) == (HARVEST, 2, 1)

    @pytest.mark.parametrize(("least", "week"), [(329, HARVEST), (330, int(NO_DAY))])
    def test_there_has_to_be_something_to_lose(self, least: int, week: int) -> None:
        assert PLAIN.judged(rules(ndvi_before_loss=least))["H_W_START"] == week

    @pytest.mark.parametrize(("ndvi", "start"), [(309, 20210802), (310, 20210726)])
    def test_bare_is_ten_thousandths_above_the_lowest(self, ndvi: int, start: int) -> None:
        """Where NDVI hardly changes, a third of its range is less than that."""
        parcel = LONG.capped(324, after="08-20").with_ndvi(d08_10=ndvi, d10_15=324)
        found = parcel.but(practice=Practice.CATCH_CROP, p_type="CatchCrop_1", p_start="08-31").judged()
        assert found["P_START"] == start
