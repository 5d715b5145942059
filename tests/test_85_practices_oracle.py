"""The rules of practices give what the reference's own programs gave for the same series.

The expected values were obtained by running the reference on a made parcel of 2021 (``support.practices``) and on
variants of it.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from support.practices import COHERENCE, LOOSE, RATIO, Parcel, rules

from s4c_hpc.practices.codes import NA_DAY, NO_DAY, Index, Practice, Seen
from s4c_hpc.practices.days import day_number, monday
from s4c_hpc.practices.harvest import Harvest, backscatter_loss, harvest
from s4c_hpc.practices.weeks import Weeks, weekly

NA, NR, T, F = Seen.NA, Seen.NR, Seen.TRUE, Seen.FALSE
NONE = int(NO_DAY)

PLAIN = Parcel()
TWELVE_DAYS = PLAIN.but(without=frozenset(range(1, 22, 2)))
WITHOUT_FOUR = PLAIN.but(without=frozenset({11, 12, 13, 14}))


def weeks_of(parcel: Parcel) -> tuple[Weeks, Harvest]:
    weeks = weekly(parcel.observed(), LOOSE.max_vv_db)
    return weeks, harvest(weeks, parcel.declared(), LOOSE)


def column(weeks: Weeks, day: str) -> int:
    """Column of the week that begins on a day of 2021."""
    (at,) = np.flatnonzero(weeks.monday[0] == day_number(dt.date.fromisoformat(f"2021-{day}")))
    return int(at)


class TestHarvest:
    """Harvest and markers of the golden parcel."""

    def test_the_parcel_as_it_is(self) -> None:
        found = PLAIN.judged()
        assert [found[f"M{i}"] for i in range(1, 6)] == [NA, F, F, T, T], "those of the last week, not of the harvest"
        assert (found["H_WEEK"], found["H_W_START"], found["H_W_END"]) == (30, 20210726, 20210801)
        assert (found["H_W_S1"], found["L_WEEK"]) == (20210726, 20210906)
        assert [found[name] for name in ("S1GAPS", "H_S1GAPS", "P_S1GAPS", "H_W_S1GAPS")] == [31, 0, 0, 0]
        assert (found["H_QUALITY"], found["C_INDEX"]) == (0, Index.NA)

    def test_limits_and_values_of_weeks(self) -> None:
        weeks, found = weeks_of(PLAIN)
        assert (found.limit[0], found.widened[0]) == (300, 138)
        at = column(weeks, "07-19")
        assert [one[0, at] for one in (found.m1, found.m2, found.m3, found.m4, found.m5)] == [T, T, T, T, F]
        assert weeks.coherence_rise[0, at] == 0.03
        at = column(weeks, "07-26")
        assert (weeks.amplitude_rise_db[0, at], weeks.coherence_rise[0, at]) == (1.05, 0.29)
        assert found.all_seen[0, at]
        loss = backscatter_loss(weeks, LOOSE)
        week_22, week_25 = column(weeks, "05-31"), column(weeks, "06-21")
        assert (weeks.amplitude_rise_db[0, week_22], loss[0, week_22]) == (0.13, True)
        assert (weeks.amplitude_rise_db[0, week_25], loss[0, week_25]) == (0.1, False)

    @pytest.mark.parametrize(
        ("parcel", "week", "week_s1"),
        [
            pytest.param(TWELVE_DAYS, NONE, 20210802, id="pairs 12 days apart"),
            pytest.param(PLAIN.capped(350), NONE, NONE, id="NDVI capped at 350"),
            pytest.param(PLAIN.capped(351), 20210726, 20210726, id="NDVI capped at 351"),
            pytest.param(PLAIN.at_least(350, after="07-08"), NONE, 20210726, id="never below 350 after 8 July"),
            pytest.param(PLAIN.at_least(349, after="07-08"), 20210726, 20210726, id="never below 349 after 8 July"),
            pytest.param(
                PLAIN.but(ndvi={d: v for d, v in PLAIN.ndvi.items() if d <= "07-14"}),
                NONE,
                20210726,
                id="no later NDVI",
            ),
            pytest.param(WITHOUT_FOUR, 20210726, 20210726, id="without four acquisitions"),
            pytest.param(PLAIN.but(coherence=[0.2] * 13 + [0.24] * 8), 20210719, 20210719, id="coherence .20 to .24"),
            pytest.param(PLAIN.but(coherence=[0.2] * 13 + [0.3] * 8), 20210726, 20210726, id="coherence .20 to .30"),
        ],
    )
    def test_variants(self, parcel: Parcel, week: int, week_s1: int) -> None:
        found = parcel.judged()
        assert (found["H_W_START"], found["H_W_S1"]) == (week, week_s1)

    def test_capped_at_351_is_the_same_in_every_column(self) -> None:
        assert PLAIN.capped(351).judged() == PLAIN.judged()

    def test_without_vegetation_markers_are_not_relevant(self) -> None:
        found = PLAIN.capped(350).judged()
        assert [found[f"M{i}"] for i in range(1, 6)] == [F, NR, NR, NR, NR]

    def test_gaps_make_the_harvest_doubtful(self) -> None:
        found = WITHOUT_FOUR.judged()
        assert [found[name] for name in ("S1GAPS", "H_S1GAPS", "H_W_S1GAPS", "H_QUALITY")] == [34, 2, 4, 1]

    def test_limit_of_presence_lies_between_before_and_after(self) -> None:
        weeks, found = weeks_of(PLAIN)
        present = found.m4[0][weeks.there[0]]
        highest = weeks.amplitude_max_db[0][weeks.there[0]]
        assert set(highest[present == T]) >= {9.4}
        assert 8.1 in set(highest[present == F])


class TestDefects:
    """What the reference gets wrong, and its mode repeats."""

    def test_one_satellite_has_no_growth_of_coherence_and_loses_ndvi(self) -> None:
        weeks, _ = weeks_of(TWELVE_DAYS)
        assert not weeks.coherence_rise[0][weeks.there[0]].any()
        mondays = set(weeks.monday[0][weeks.there[0]].tolist())
        assert all(b - a >= 7 for a, b in zip(sorted(mondays), sorted(mondays)[1:], strict=False))
        assert np.isfinite(weeks.ndvi[0]).sum() < len(TWELVE_DAYS.ndvi) - 1

    def test_low_coherence_makes_its_marker_void(self) -> None:
        weeks, found = weeks_of(PLAIN.but(coherence=[0.2] * 13 + [0.24] * 8))
        assert (found.m5[0][weeks.there[0]] == T).all()

    def test_a_wet_pair_raises_coherence_without_any_event(self) -> None:
        weeks, found = weeks_of(PLAIN.but(ratio=[8.0] * 22, coherence=[0.3] * 8 + [0.12] + [0.3] * 12))
        at = int(np.argmax(weeks.coherence_rise[0]))
        assert weeks.coherence_rise[0, at] == 0.18
        assert (found.m5[0, at], found.m2[0, at], found.m3[0, at]) == (T, F, F)
        assert found.week[0] == NONE


class TestTillage:
    """After the harvest of the golden parcel."""

    TILLED = PLAIN.but(coherence=[*COHERENCE[:18], 0.35, 0.33, 0.34])

    def test_coherence_falls(self) -> None:
        found = self.TILLED.judged(rules(tillage=True))
        assert (found["TL_WEEK"], found["TL_W_START"], found["TL_W_END"]) == (34, 20210823, 20210829)

    def test_green_first_is_no_tillage(self) -> None:
        found = self.TILLED.with_ndvi(d08_10=400).judged(rules(tillage=True))
        assert (found["TL_WEEK"], found["TL_W_START"]) == (NONE, NONE)

    def test_nothing_is_seen(self) -> None:
        assert PLAIN.judged(rules(tillage=True))["TL_W_START"] == NA_DAY

    def test_no_column_unless_asked_for(self) -> None:
        assert "TL_WEEK" not in PLAIN.judged()


LATER = [9.3, 9.1, 9.0, 8.8, 8.7, 8.6, 8.5, 8.5, 8.4, 8.4, 8.3, 8.3]
LONG_COHERENCE = [*COHERENCE[:16], 0.69, 0.70, 0.66, 0.60, 0.52, 0.45, 0.40, 0.38, 0.36, 0.35, 0.34, 0.35, 0.33, 0.34]
LONG_COHERENCE += [0.33, 0.35, 0.34]
AUTUMN = {"09-05": 380, "09-15": 450, "10-01": 550, "10-15": 600, "11-05": 560}

OPEN = PLAIN.but(
    ratio=[*RATIO, *LATER],
    coherence=LONG_COHERENCE,
    ndvi={**PLAIN.ndvi, **AUTUMN},
    practice=Practice.CATCH_CROP,
    p_type="CatchCrop_1",
    p_start="08-31",
)
GIVEN = OPEN.but(p_end="10-25")


def ndvi_of(keep: str | None = None, gap: tuple[str, str] = ("99", "00")) -> dict[str, int]:
    """NDVI of the long season, up to a day, without those between two days."""
    return {d: v for d, v in OPEN.ndvi.items() if (keep is None or d <= keep) and not gap[0] <= d <= gap[1]}


CATCH_CROPS = [
    ("open", OPEN, "0802-0926", "TTTTF", Index.MODERATE),
    ("given", GIVEN, "0831-1025", "TTTTT", Index.STRONG),
    ("given, no NDVI after 25 August", GIVEN.but(ndvi=ndvi_of(keep="08-25")), "0831-1025", "---TT", Index.MODERATE),
    ("given, NDVI 290 in October", GIVEN.with_ndvi(d10_15=290), "0831-1025", "TFFTT", Index.WEAK),
    (
        "given, backscatter grows",
        GIVEN.but(ratio=[*RATIO, *[8.5] * 4, 8.6, 8.9, 9.2, 9.5, *[9.8] * 4]),
        "0831-1025",
        "TTTFT",
        Index.MODERATE,
    ),
    ("open, NDVI up to 324", OPEN.capped(324, after="08-20"), "0802-0926", "FTTTF", Index.WEAK),
    ("open, NDVI up to 325", OPEN.capped(325, after="08-20"), "0802-0926", "TTTTF", Index.MODERATE),
    ("open, cloudy", OPEN.but(ndvi=ndvi_of(gap=("08-20", "11-01"))), "0802-0926", "---TF", Index.WEAK),
    (
        "open, data end on 18 September",
        OPEN.but(ratio=OPEN.ratio[:24], coherence=OPEN.coherence[:23], ndvi=ndvi_of(keep="09-18")),
        "0831-1025",
        "T-TTT",
        Index.NR,
    ),
    ("open, sown before the harvest", OPEN.but(p_start="07-20"), "0726-0919", "TTFTF", Index.WEAK),
    ("given, sown before the harvest", OPEN.but(p_start="07-20", p_end="09-13"), "0720-0913", "nnnnn", Index.POOR),
    (
        "green all year",
        OPEN.but(ratio=[8.0] * 34, coherence=[0.3] * 33, ndvi=dict.fromkeys(OPEN.ndvi, 700), p_end="10-25"),
        "0831-1025",
        "nnnnn",
        Index.POOR,
    ),
]


@pytest.mark.parametrize(
    ("parcel", "period", "markers", "index"), [case[1:] for case in CATCH_CROPS], ids=[c[0] for c in CATCH_CROPS]
)
def test_catch_crop(parcel: Parcel, period: str, markers: str, index: Index) -> None:
    found = parcel.judged()
    code = {1: "T", 0: "F", -1: "-", -3: "n"}
    assert (found["P_START"], found["P_END"]) == tuple(20210000 + int(day) for day in period.split("-"))
    assert "".join(code[found[f"M{i}"]] for i in range(6, 11)) == markers
    assert found["C_INDEX"] == index


class TestFallowAndNitrogenFixing:
    """Rules of countries on the golden parcel."""

    OWN = rules(practice_ndvi=400, practice_ndvi_up=None, practice_ndvi_down=None, loss_from="08-30")
    FALLOW = PLAIN.but(practice=Practice.FALLOW, country="ITA", p_start="05-03", p_end="08-30")
    NFC = PLAIN.but(practice=Practice.NFC, country="ROU", p_start="05-03", p_end="08-30")

    def test_fallow_in_italy_is_harvested(self) -> None:
        found = self.FALLOW.judged(self.OWN)
        assert (found["M6"], found["H_W_START"], found["C_INDEX"]) == (T, 20210726, Index.WEAK)

    def test_fallow_in_italy_is_bare(self) -> None:
        found = self.FALLOW.capped(390).judged(self.OWN)
        assert (found["M6"], found["C_INDEX"]) == (F, Index.STRONG)

    def test_nitrogen_fixing_in_romania_is_harvested_in_its_time(self) -> None:
        assert self.NFC.judged(rules(practice_ndvi=350))["C_INDEX"] == Index.WEAK

    def test_nitrogen_fixing_in_lithuania_is_harvested_after_its_time(self) -> None:
        lithuania = self.NFC.but(country="LTU", p_end="07-12")
        assert lithuania.judged(rules(practice_ndvi=350))["C_INDEX"] == Index.STRONG


class TestBoundariesOfWeeks:
    """A period from Tuesday 15 October 2019 to Monday 9 December."""

    PARCEL = Parcel(
        first=dt.date(2019, 4, 29),
        ratio=[8.0] * 14 + [9.5] * 27,
        coherence=[0.3] * 13 + [0.72] * 5 + [0.5] * 22,
        ndvi={"05-10": 700, "07-01": 600, "07-12": 500, "07-24": 280, "08-20": 250, "10-18": 400, "11-25": 500},
        h_start="07-08",
        h_end="08-26",
        practice=Practice.CATCH_CROP,
        p_start="10-15",
        p_end="12-09",
    )
    """Acquisitions to 25 December; the harvest is in July."""

    def high_on(self, day: dt.date) -> Parcel:
        """With coherence of a loss in the week of a day."""
        k = next(k for k in range(1, 41) if monday_of(self.PARCEL.first + dt.timedelta(6 * k)) == monday_of(day))
        coherence = list(self.PARCEL.coherence)
        coherence[k - 1] = 0.71
        return self.PARCEL.but(coherence=coherence)

    def test_it_is_strong(self) -> None:
        assert self.PARCEL.judged()["C_INDEX"] == Index.STRONG

    @pytest.mark.parametrize(("day", "counts"), [(dt.date(2019, 10, 21), False), (dt.date(2019, 10, 28), True)])
    def test_loss_of_coherence_counts_from_28_october(self, day: dt.date, counts: bool) -> None:
        assert (self.high_on(day).judged()["M10"] == F) is counts

    @pytest.mark.parametrize(("day", "counts"), [("10-30", False), ("11-05", True)])
    def test_ndvi_counts_from_4_november(self, day: str, counts: bool) -> None:
        low = self.PARCEL.but(ndvi={**self.PARCEL.ndvi, day: 290})
        assert (low.judged()["M7"] == F) is counts

    @pytest.mark.parametrize(
        ("n_weeks_short", "end", "decided"),
        [(1, "12-09", True), (2, "12-09", False), (1, "12-10", False), (0, "12-10", True)],
    )
    def test_undecided_until_the_week_of_the_last_day_begins(self, n_weeks_short: int, end: str, decided: bool) -> None:
        """The last coherence is of the week of Monday 16, 9 or 2 December."""
        last = monday_of(dt.date(2019, 12, 16)) - 7 * n_weeks_short
        n = sum(monday_of(self.PARCEL.first + dt.timedelta(6 * k)) <= last for k in range(41))
        short = self.PARCEL.but(ratio=self.PARCEL.ratio[:n], coherence=self.PARCEL.coherence[: n - 1], p_end=end)
        assert (short.judged()["C_INDEX"] != Index.NR) is decided


def monday_of(day: dt.date) -> int:
    return int(monday(day_number(day)))
