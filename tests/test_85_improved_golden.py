"""The golden parcel by the improved rules: what differs from the reference, whose values stand beside, and why."""

from __future__ import annotations

import numpy as np
import pytest
import test_85_practices_oracle as reference
from support.improved import Said, said, weights
from support.practices import COHERENCE, LOOSE, Parcel, rules

from s4c_hpc.confounders.doubts import Doubt
from s4c_hpc.practices.codes import NO_DAY, Index, Practice, Seen, Status
from s4c_hpc.practices.days import as_yyyymmdd

PLAIN = reference.PLAIN
WET = PLAIN.but(coherence=[0.30, 0.31, 0.29, 0.30, 0.32, 0.30, 0.31, 0.12, *COHERENCE[8:]])
NONE = int(NO_DAY)


def window(found: Said) -> tuple[int, int]:
    """Days of the harvest."""
    return found["H_EVENT_START"], found["H_EVENT_END"]


class TestHarvest:
    """The cases of the reference's oracle."""

    def test_the_parcel_as_it_is(self) -> None:
        """Backscatter and NDVI change between 14 and 20 July; the pair whose coherence rises only ends on the 26th."""
        found, before = said(PLAIN), PLAIN.judged()
        assert (found["H_WEEK"], before["H_WEEK"]) == (29, 30)
        assert window(found) == (20210714, 20210720)
        assert found.markers() == "TTTTT", "those of the harvest"
        assert found.reason == "all markers"
        # 1 - (1 - .6)(1 - .35)(1 - .2)
        assert found["H_CONF"] == pytest.approx(0.792)
        assert found["H_SOURCE"] == 3
        assert [found[name] for name in ("S1GAPS", "H_S1GAPS", "H_W_S1GAPS")] == [31, 0, 0]
        assert found["L_WEEK"] == before["L_WEEK"]

    @pytest.mark.parametrize(
        ("parcel", "week", "confidence", "reason"),
        [
            pytest.param(reference.TWELVE_DAYS, 20210719, 0.792, "all markers", id="pairs 12 days apart: NO-HARVEST"),
            pytest.param(PLAIN.capped(350), NONE, 0.0, "no vegetation was seen", id="NDVI capped at 350: the same"),
            pytest.param(PLAIN.capped(351), 20210726, 0.792, "all markers", id="NDVI capped at 351: the same week"),
            pytest.param(
                PLAIN.at_least(350, after="07-08"),
                NONE,
                0.144,
                "NDVI shows that nothing was lost",
                id="never below 350 after 8 July: the same",
            ),
            pytest.param(PLAIN.at_least(349, after="07-08"), 20210719, 0.792, "all markers", id="never below 349"),
            pytest.param(
                PLAIN.but(ndvi={d: v for d, v in PLAIN.ndvi.items() if d <= "07-14"}),
                20210719,
                0.48,
                "radar alone, one orbit",
                id="no later NDVI: NO-HARVEST, now radar alone",
            ),
            pytest.param(reference.WITHOUT_FOUR, 20210719, 0.6, "NDVI alone", id="without four acquisitions"),
            pytest.param(
                PLAIN.but(coherence=[0.2] * 13 + [0.24] * 8),
                20210719,
                0.68,
                "NDVI and backscatter",
                id="coherence .20 to .24: says nothing",
            ),
            pytest.param(PLAIN.but(coherence=[0.2] * 13 + [0.3] * 8), 20210719, 0.764, "all markers", id=".20 to .30"),
        ],
    )
    def test_variants(self, parcel: Parcel, week: int, confidence: float, reason: str) -> None:
        found = said(parcel)
        assert (found["H_W_START"], found.reason) == (week, reason)
        assert found["H_CONF"] == pytest.approx(confidence, abs=1e-3)

    def test_a_week_between_markers_is_tolerated_and_no_more(self) -> None:
        """Backscatter grows a little on 20 July and coherence a week later; the reference has no week with both."""
        late = PLAIN.but(ratio=[8.0] * 13 + [8.14] * 9, coherence=[0.3] * 13 + [0.4] * 8)
        assert late.judged()["H_W_START"] == NONE
        found = said(late)
        assert (found.markers(), found.reason) == ("TTTTT", "all markers")
        strict = said(late, improved=weights(tolerance_weeks=0))
        assert strict.markers() == "TTFTT"

    def test_the_lowest_fields_have_a_marker_that_says_nothing(self) -> None:
        low = PLAIN.but(coherence=[0.2] * 13 + [0.24] * 8)
        assert low.judged()["M5"] == Seen.TRUE
        assert said(low)["M5"] == Seen.NA

    def test_markers_are_those_of_the_harvest_and_not_of_the_last_week(self) -> None:
        assert [PLAIN.judged()[f"M{i}"] for i in range(1, 6)] == [-1, 0, 0, 1, 1]
        assert said(PLAIN).markers() == "TTTTT"

    def test_a_rise_counts_for_less_over_more_days_and_never_for_nothing(self) -> None:
        six, twelve = (said(one).decisions["harvest"] for one in (PLAIN, reference.TWELVE_DAYS))
        assert (six["pair_days"], twelve["pair_days"]) == (6, 12)
        assert six["coherence_rise"] == pytest.approx(0.62 - 0.33)
        assert twelve["coherence_rise"] == pytest.approx((0.62 - 0.30) / np.sqrt(2), abs=1e-6)
        rate = said(reference.TWELVE_DAYS, improved=weights(pair_exponent=1)).decisions["harvest"]
        assert rate["coherence_rise"] == pytest.approx((0.62 - 0.30) / 2, abs=1e-6)

    def test_values_too_far_apart_are_not_compared(self) -> None:
        found = said(reference.TWELVE_DAYS, improved=weights(max_pair_days=6)).decisions["harvest"]
        assert np.isnan(found["coherence_rise"])
        assert found["reason"] == "NDVI alone"

    def test_a_missing_coherence_does_not_hide_the_next(self) -> None:
        """The rise is then one over 12 days, which the reference takes for none."""
        gap = PLAIN.but(coherence=[0.3] * 12 + [float("nan")] + [0.62] * 7 + [0.95])
        assert gap.judged()["H_W_START"] == NONE
        found = said(gap)
        assert found["H_W_START"] == 20210719
        assert found.decisions["harvest"]["pair_days"] == 12

    def test_a_wet_pair_is_no_event(self) -> None:
        """Coherence only comes back; the reference's marker is TRUE."""
        flat = WET.but(ratio=[8.0] * 22, coherence=[0.3] * 8 + [0.12] + [0.3] * 12, ndvi={})
        found = said(flat)
        assert found["H_CONF"] == 0
        assert found.decisions["harvest"]["verdict"] == "not found"

    def test_ndvi_of_weeks_without_radar_counts(self) -> None:
        """The reference loses the fall of NDVI when radar of these weeks is missing, and is a month late."""
        gap = PLAIN.but(without=frozenset(range(8, 19)))
        assert gap.judged()["H_W_START"] == 20210823
        found = said(gap)
        assert (found.reason, window(found)) == ("NDVI alone", (20210714, 20210722))

    def test_the_latest_ndvi_is_enough_by_itself(self) -> None:
        found = said(PLAIN.but(ratio=[], coherence=[]))
        assert (found["H_SOURCE"], found.decisions["harvest"]["source"]) == (1, "S2")
        assert found["H_CONF"] == pytest.approx(0.6)
        assert found.markers() == "TT---"

    def test_radar_is_enough_by_itself(self) -> None:
        found = said(PLAIN.but(ndvi={}))
        assert (found["H_SOURCE"], found.decisions["harvest"]["source"]) == (2, "S1")
        assert window(found) == (20210714, 20210720)
        assert found.markers() == "--TTT"
        assert found["H_CONF"] < said(PLAIN)["H_CONF"]

    def test_orbits_are_judged_apart_and_two_that_agree_are_strong(self) -> None:
        blind = PLAIN.but(ndvi={})
        one, two = said(blind), said(blind, blind)
        assert one["H_CONF"] == pytest.approx(0.48)
        # 1 - (.65 * .8) ** 2
        assert two["H_CONF"] == pytest.approx(0.7296)
        assert two.reason == "radar alone, two orbits or more"
        assert two.decisions["harvest"]["orbits"] == 2
        quiet = said(blind, blind.but(ratio=[12.0] * 22, coherence=[0.3] * 21))
        assert quiet["H_CONF"] == pytest.approx(0.48), "another level of another orbit is no event"

    def test_a_rise_in_doubt_counts_less_and_is_not_deleted(self) -> None:
        flags = [0] * 13 + [Doubt.WET | Doubt.COMMON] * 2
        sure, doubtful = said(PLAIN), said(PLAIN, flags=flags)
        # 1 - (1 - .6)(1 - .35 / 2)(1 - .2)
        assert doubtful["H_CONF"] == pytest.approx(0.736)
        assert doubtful["H_W_START"] == sure["H_W_START"]
        row = doubtful.decisions["harvest"]
        assert row["doubts"] == 5
        assert row["reason"] == "all markers; doubtful: rain, common rise"
        assert row["coherence_rise"] == sure.decisions["harvest"]["coherence_rise"]

    def test_radar_alone_of_one_orbit_in_doubt_is_no_harvest(self) -> None:
        found = said(PLAIN.but(ndvi={}), flags=[0] * 13 + [Doubt.RECOVERY] * 2)
        assert found.decisions["harvest"]["verdict"] == "not found"
        assert found["H_CONF"] == pytest.approx(0.34)
        assert "recovery after rain" in found.reason

    def test_evidence_are_the_values(self) -> None:
        row = said(PLAIN).decisions["harvest"]
        assert row["ndvi_before"] == pytest.approx(0.47)
        assert row["ndvi_after"] == pytest.approx(0.33)
        assert row["ndvi_limit"] == pytest.approx(0.438), "300 + 138, as in the reference"
        assert row["coherence_before"] == pytest.approx(0.33)
        assert row["coherence_after"] == pytest.approx(0.62)
        assert row["ratio_rise_db"] == pytest.approx(9.5 - 8.0, abs=1e-6)
        assert as_yyyymmdd(np.array([row["start"], row["end"]])).tolist() == [20210714, 20210720]


class TestMissing:
    """No parcel with anything to judge by is left out."""

    @pytest.mark.parametrize(
        ("parcel", "status", "verdict"),
        [
            pytest.param(PLAIN.but(ndvi={}), Status.NO_S2, "found", id="no S2"),
            pytest.param(PLAIN.but(ratio=[], coherence=[]), Status.NO_S1, "found", id="no S1"),
            pytest.param(
                PLAIN.but(ratio=[], coherence=[], ndvi={"05-05": 620}), Status.NO_S1, "undecided", id="one look in May"
            ),
        ],
    )
    def test_row_with_a_reason(self, parcel: Parcel, status: Status, verdict: str) -> None:
        found = said(parcel, rules=LOOSE)
        assert found.decisions["harvest"]["verdict"] == verdict
        assert found.reason

    def test_too_few_values_for_the_reference_are_used(self) -> None:
        found = said(PLAIN, rules=rules(min_coherence_values=30))
        assert found["H_CONF"] == pytest.approx(0.792)


LETTERS = {1: "T", 0: "F", -1: "-", -3: "n"}


class TestCatchCrop:
    """The reference's variants by the improved rules; its grade stands in the name."""

    @pytest.mark.parametrize(
        ("name", "period", "markers", "index"),
        [
            # The earliest period that the soil allows has bare ground; one from latest sowing on is whole.
            ("open", "0831-1025", "TTTTT", Index.STRONG),
            ("given", "0831-1025", "TTTTT", Index.STRONG),
            # One orbit alone is weak evidence.
            ("given, no NDVI after 25 August", "0831-1025", "---TT", Index.WEAK),
            ("given, NDVI 290 in October", "0831-1025", "TFFTT", Index.WEAK),
            ("given, backscatter grows", "0831-1025", "TTTFT", Index.MODERATE),
            # NDVI that was looked at and never shows a cover speaks against it.
            ("open, NDVI up to 324", "0831-1025", "FTTTT", Index.POOR),
            ("open, NDVI up to 325", "0831-1025", "TTTTT", Index.MODERATE),
            ("open, cloudy", "0831-1025", "---TT", Index.WEAK),
            ("open, data end on 18 September", "0831-1025", "T-TTT", Index.NR),
            ("open, sown before the harvest", "0720-0913", "TFFTF", Index.POOR),
            ("given, sown before the harvest", "0720-0913", "TFFTF", Index.POOR),
            ("green all year", "0831-1025", "TTTTT", Index.POOR),
        ],
    )
    def test_variants(self, name: str, period: str, markers: str, index: Index) -> None:
        (parcel,) = (case[1] for case in reference.CATCH_CROPS if case[0] == name)
        found = said(parcel)
        assert (found["P_START"], found["P_END"]) == tuple(20210000 + int(day) for day in period.split("-"))
        assert found.markers(6, 10) == markers
        assert found["C_INDEX"] == index
        row = found.decisions["catch-crop"]
        assert row["reason"]
        assert (row["verdict"] == "undecided") is (index == Index.NR)
        assert np.isnan(found["C_CONF"]) == (index == Index.NR)

    def test_two_orbits_without_ndvi_are_moderate(self) -> None:
        (parcel,) = (case[1] for case in reference.CATCH_CROPS if case[0].startswith("given, no NDVI"))
        found = said(parcel, parcel)
        assert found["C_INDEX"] == Index.MODERATE
        assert found.decisions["catch-crop"]["source"] == "S1"
        assert found.decisions["catch-crop"]["orbits"] == 2

    def test_a_common_rise_is_no_loss_of_cover(self) -> None:
        raised = list(reference.GIVEN.coherence)
        raised[24] = 0.65  # 30 September
        parcel = reference.GIVEN.but(coherence=raised)
        assert said(parcel)["M10"] == Seen.FALSE
        found = said(parcel, flags=[0] * 24 + [Doubt.COMMON])
        assert found["M10"] == Seen.TRUE
        assert found.decisions["catch-crop"]["doubts"] == Doubt.COMMON
        assert "common rise" in found.decisions["catch-crop"]["reason"]


class TestOtherPractices:
    """Grades are those of the reference on its golden cases; confidences follow that of the harvest."""

    OWN = reference.TestFallowAndNitrogenFixing

    def test_fallow_land(self) -> None:
        harvested, bare = (
            said(self.OWN.FALLOW, rules=self.OWN.OWN),
            said(self.OWN.FALLOW.capped(390), rules=self.OWN.OWN),
        )
        assert (harvested["C_INDEX"], bare["C_INDEX"]) == (Index.WEAK, Index.STRONG)
        # Weak .4 with the harvest, moderate .6 without it.
        assert harvested["C_CONF"] == pytest.approx(0.792 * 0.4 + 0.208 * 0.6)
        assert harvested.decisions["fallow"]["reason"] == "vegetation in the period; harvested in the period"

    def test_a_doubtful_harvest_weighs_less_against_fallow_land(self) -> None:
        own = self.OWN.FALLOW.but(p_end="08-22")
        sure = said(own, rules=self.OWN.OWN)
        doubtful = said(own, rules=self.OWN.OWN, flags=[0] * 13 + [Doubt.WET] * 2)
        assert sure["H_CONF"] > doubtful["H_CONF"]
        assert sure["C_CONF"] < doubtful["C_CONF"]

    @pytest.mark.parametrize(
        ("country", "p_end", "index"), [("ROU", "08-30", Index.WEAK), ("LTU", "07-12", Index.STRONG)]
    )
    def test_nitrogen_fixing(self, country: str, p_end: str, index: Index) -> None:
        found = said(self.OWN.NFC.but(country=country, p_end=p_end), rules=rules(practice_ndvi=350))
        assert found["C_INDEX"] == index

    def test_strong_needs_more_than_one_source(self) -> None:
        alone = self.OWN.NFC.but(country="LTU", p_end="07-12", ratio=[], coherence=[])
        found = said(alone, rules=rules(practice_ndvi=350))
        assert found["C_INDEX"] == Index.MODERATE
        assert found.decisions["nitrogen-fixing"]["source"] == "S2"

    def test_nothing_but_the_harvest(self) -> None:
        found = said(PLAIN)
        assert (found["C_INDEX"], found.markers(6, 10)) == (Index.NA, "nnnnn")
        assert list(found.decisions) == ["harvest"]

    def test_a_practice_without_period_leaves_the_harvest(self) -> None:
        found = said(PLAIN.but(practice=Practice.FALLOW))
        assert found["H_WEEK"] == 29
        row = found.decisions["fallow"]
        assert (row["verdict"], row["reason"]) == ("undecided", "the practice is declared without a period")
        assert found["C_INDEX"] == Index.NA


class TestMowing:
    """Fallow land that is cut, and stays covered."""

    FALLOW = PLAIN.but(
        ratio=[8.0] * 22,
        coherence=[0.3] * 11 + [0.42] + [0.3] * 9,
        ndvi={"05-05": 620, "06-02": 800, "06-24": 780, "07-08": 470, "07-24": 560, "08-10": 700, "08-25": 720},
        practice=Practice.FALLOW,
        p_start="05-03",
        p_end="08-30",
    )

    def test_ndvi_falls_and_grows_again(self) -> None:
        found = said(self.FALLOW)
        assert (found["MOW_START"], found["MOW_END"]) == (20210624, 20210708)
        row = found.decisions["mowing"]
        assert (row["verdict"], row["source"]) == ("found", "S1+S2")
        assert row["reason"] == "NDVI falls and grows again, not bare; coherence rises"
        # 1 - (1 - .6)(1 - .35 / 2)
        assert found["MOW_CONF"] == pytest.approx(0.67)

    def test_turned_ground_is_no_mowing(self) -> None:
        found = said(self.FALLOW.with_ndvi(d07_08=200))
        assert found.decisions["mowing"]["verdict"] == "not found"
        assert found["MOW_START"] == NONE

    def test_what_does_not_grow_again_is_no_mowing(self) -> None:
        dry = self.FALLOW.capped(470, after="07-01")
        assert said(dry).decisions["mowing"]["reason"] == "no fall of NDVI that grows again"

    def test_ndvi_alone_is_less_sure(self) -> None:
        found = said(self.FALLOW.but(ratio=[], coherence=[]))
        assert found["MOW_CONF"] == pytest.approx(0.6)
        assert found.decisions["mowing"]["source"] == "S2"

    def test_without_ndvi_it_is_undecided(self) -> None:
        found = said(self.FALLOW.but(ndvi={}))
        assert found.decisions["mowing"]["verdict"] == "undecided"
        assert np.isnan(found["MOW_CONF"])


class TestTillage:
    """After the harvest of the golden parcel; weeks are those of the reference."""

    OWN = rules(tillage=True)
    TILLED = reference.TestTillage.TILLED

    def test_coherence_falls(self) -> None:
        found = said(self.TILLED, rules=self.OWN)
        assert (found["TL_WEEK"], found["TL_W_START"], found["TL_W_END"]) == (34, 20210823, 20210829)
        # 1 - (1 - .35)(1 - .25)
        assert found["TL_CONF"] == pytest.approx(0.5125)

    def test_green_first_is_no_tillage(self) -> None:
        found = said(self.TILLED.with_ndvi(d08_10=400), rules=self.OWN)
        assert (found["TL_WEEK"], found["TL_CONF"]) == (NONE, 0)
        assert found.decisions["tillage"]["reason"] == "new vegetation came first"

    def test_nothing_is_seen(self) -> None:
        """The reference has NA here, as if data were missing."""
        found = said(PLAIN, rules=self.OWN)
        assert (found["TL_W_START"], found["TL_CONF"]) == (NONE, 0)
        assert found.decisions["tillage"]["verdict"] == "not found"

    def test_a_fall_that_is_made_good_or_in_doubt_says_less(self) -> None:
        back = said(PLAIN.but(coherence=[*COHERENCE[:18], 0.35, 0.71, 0.70]), rules=self.OWN)
        wet = said(self.TILLED, rules=self.OWN, flags=[0] * 18 + [Doubt.WET])
        for found in (back, wet):
            assert found["TL_CONF"] == pytest.approx(1 - (1 - 0.175) * 0.75)
        assert "rain" in wet.decisions["tillage"]["reason"]
