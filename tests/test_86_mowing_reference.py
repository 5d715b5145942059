"""The reference's mowing detectors against values that its own functions gave, and at the edges of their rules.

Oracle values: obtained by running the published L4B functions (Sen4CAP 6ab92556) on the inputs that are shown.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from pathlib import Path

import numpy as np
import pytest

from s4c_hpc.config.mowing import CropRule, Mowing, OpticalRules, RadarRules, ReferenceRules
from s4c_hpc.mowing.compliance import Compliance, compliance, day_of, days_since_1970
from s4c_hpc.mowing.reference import (
    Orbit,
    fused,
    joint_confidence,
    optical_windows,
    radar_windows,
    reference_windows,
)
from s4c_hpc.mowing.windows import FUSED, S1, S2, Windows, chosen, ends_within, spans_less, windows_of

Found = list[tuple[float, float, float]]
NONE = float("nan")
COHERENCE = (0.30, 0.31, 0.29, 0.30, 0.32, 0.30, 0.31, 0.55, 0.60, 0.58, 0.57, 0.59)
FIRST_PAIR = dt.date(2021, 5, 9)


def optical(ndvi: list[float], days: list[float], **rules: float) -> Found:
    """(start, end, confidence to 3 decimals) of one parcel."""
    return listed(optical_windows(np.array([ndvi]), np.array(days, float), OpticalRules(**rules)))


def radar(coherence: list[float], pixels: float, **rules: float) -> Found:
    days = days_since_1970([FIRST_PAIR + dt.timedelta(days=6 * i) for i in range(len(coherence))])
    return listed(radar_windows(Orbit(days, np.array([coherence])), np.array([pixels]), RadarRules(**rules)))


def listed(windows: Windows, row: int = 0) -> Found:
    there = windows.there[row]
    values = zip(windows.start[row][there], windows.end[row][there], windows.confidence[row][there], strict=True)
    return [(float(a), float(b), round(float(c), 3)) for a, b, c in values]


def some(*events: tuple[float, float, float], source: int = S2) -> Windows:
    table = np.array(events, float).reshape(-1, 3)
    return windows_of(table[None, :, 0], table[None, :, 1], table[None, :, 2], source)


@pytest.mark.parametrize(
    ("ndvi", "days", "expected"),
    [
        ([0.80, 0.70, 0.50, 0.52], [120, 130, 140, 150], [(130, 140, 0.574)]),
        ([0.80, 0.50, 0.52], [120, 130, 140], [(120, 130, 0.651)]),
        # A quick recovery is a cloud: the slope .067 is above .05 a day.
        ([0.80, 0.70, 0.50, 0.70], [120, 130, 140, 143], []),
        ([0.95, 0.75, 0.75], [120, 130, 140], []),
        ([0.50, 0.30, 0.31], [120, 130, 140], []),
        ([0.80, 0.50], [120, 130], []),
    ],
)
def test_falls_of_ndvi_as_the_reference_judges_them(ndvi: list[float], days: list[float], expected: Found) -> None:
    assert optical(ndvi, days) == expected


def test_a_fall_of_just_the_threshold_is_none() -> None:
    exact = float(np.float64(0.625) - np.float64(0.5))
    assert optical([0.625, 0.5, 0.5], [120, 130, 140], decreasing_abs_th=exact) == []
    assert len(optical([0.625, 0.5, 0.5], [120, 130, 140], decreasing_abs_th=exact - 1e-9)) == 1


def test_ndvi_below_a_tenth_is_no_look() -> None:
    assert optical([0.80, 0.05, 0.50, 0.52], [120, 125, 130, 140]) == optical([0.80, 0.50, 0.52], [120, 130, 140])
    assert optical([0.80, NONE, 0.50, 0.52], [120, 125, 130, 140]) == optical([0.80, 0.50, 0.52], [120, 130, 140])


def test_a_window_is_never_longer_than_thirty_days() -> None:
    assert optical([0.80, 0.50, 0.52], [60, 130, 140])[0][:2] == (100, 130)


@pytest.mark.parametrize(("pixels", "confidence"), [(20, 0.383), (50, 0.498), (200, 0.500)])
def test_a_jump_of_coherence_reports_the_pair_before(pixels: float, confidence: float) -> None:
    start, end = days_since_1970([dt.date(2021, 6, 8), dt.date(2021, 6, 14)])
    assert radar(list(COHERENCE), pixels) == [(start, end, confidence)]


def test_few_pixels_hide_a_jump_and_a_gap_hides_it_for_five_pairs() -> None:
    assert radar(list(COHERENCE), 10) == []
    gap = [*COHERENCE[:5], NONE, *COHERENCE[6:]]
    assert radar(gap, 50) == []


@pytest.mark.parametrize(("pixels", "jump"), [(1, 0.84), (10, 0.265), (50, 0.119), (100, 0.084), (400, 0.042)])
def test_the_jump_that_is_needed_where_the_least_variance_rules(pixels: float, jump: float) -> None:
    flat = [0.1] * 6
    assert radar([*flat[:-1], 0.1 + jump - 0.002], pixels) == []
    assert len(radar([*flat[:-1], 0.1 + jump + 0.002], pixels)) == 1


@pytest.mark.parametrize(
    ("first", "second", "expected"), [(0.574, 0.316, 0.737), (0.3, 0.3, 0.65), (0.5, 0.5, 0.75), (0.5, 0.0, 0.667)]
)
def test_joint_confidence(first: float, second: float, expected: float) -> None:
    assert joint_confidence(np.array(first), np.array(second)) == pytest.approx(expected, abs=5e-4)


def test_windows_that_overlap_become_one_of_the_more_confident() -> None:
    both = fused(some((130, 140, 0.574)), some((138, 144, 0.316), source=S1))
    assert listed(both) == [(130, 140, 0.737)]
    assert both.source.tolist() == [[FUSED]]


def test_windows_that_touch_stay_apart() -> None:
    both = fused(some((130, 140, 0.6)), some((140, 146, 0.3), source=S1))
    assert listed(both) == [(130, 140, 0.6), (140, 146, 0.3)]
    assert both.source.tolist() == [[S2, S1]]


def test_one_window_over_two_gives_two() -> None:
    assert len(listed(fused(some((130, 150, 0.6)), some((132, 138, 0.3), (144, 149, 0.2), source=S1)))) == 2


def test_coherence_with_coherence_never_passes_a_half() -> None:
    both = fused(some((130, 136, 0.45), source=S1), some((132, 138, 0.45), source=S1))
    assert listed(both) == [(130, 136, 0.5)]
    assert both.source.tolist() == [[S1]]


def test_the_most_confident_of_windows_in_conflict_is_kept() -> None:
    windows = some((100, 110, 0.6), (130, 140, 0.8), (160, 176, 0.7))
    assert chosen(windows, spans_less(45), 4).tolist() == [[1, 2, -1, -1]]  # 130 to 176 spans 46 days, 100 to 140 less
    assert chosen(windows, ends_within(28), 4).tolist() == [[0, 1, 2, -1]]
    assert chosen(windows, ends_within(28), 2).tolist() == [[1, 2]]


def test_optical_and_radar_together() -> None:
    days = days_since_1970([dt.date(2021, 5, 20) + dt.timedelta(days=10 * i) for i in range(4)])
    pairs = days_since_1970([FIRST_PAIR + dt.timedelta(days=6 * i) for i in range(len(COHERENCE))])
    ndvi = np.array([[0.80, 0.78, 0.50, 0.52]] * 2)
    coherence = np.array([COHERENCE, [NONE] * len(COHERENCE)])
    season = day_of("04-01", 2021), day_of("10-31", 2021)
    found = reference_windows(ndvi, days, [Orbit(pairs, coherence)], np.array([50.0, 50.0]), season, ReferenceRules())
    assert found.source[:, 0].tolist() == [FUSED, S2]
    assert found.confidence[0, 0] > found.confidence[1, 0]
    assert found.confidence.shape == (2, 1)


def test_no_data_gives_no_window() -> None:
    season = 0.0, 1e6
    found = reference_windows(np.full((3, 0), NONE), np.empty(0), [], np.ones(3), season, ReferenceRules())
    assert found.confidence.shape == (3, 0)


@pytest.mark.parametrize(
    ("events", "assessed", "crop", "rule", "code"),
    [
        ([(150, 160)], True, "GRA", 0, Compliance.MOWN),
        ([(250, 260)], True, "GRA", 0, Compliance.NOT_MOWN),
        ([], True, "GRA", 0, Compliance.NOT_MOWN),
        ([(150, 160)], False, "GRA", 0, Compliance.NOT_ASSESSED),
        ([(150, 160)], True, "WHEAT", 0, Compliance.NO_RULE),
        ([(150, 160), (250, 260)], True, "GRA", 0, Compliance.MOWN),
        ([(150, 160), (250, 260)], True, "GRA", 1, Compliance.MOWN_BOTH),
        ([(150, 160)], True, "GRA", 1, Compliance.MOWN),
        ([(250, 260)], True, "GRA", 1, Compliance.NOT_MOWN),
        # The last day of the period is 31 July, day 211 counted from 0.
        ([(211, 220)], True, "GRA", 0, Compliance.MOWN),
        ([(212, 220)], True, "GRA", 0, Compliance.NOT_MOWN),
    ],
)
def test_compliance(events: list[tuple[float, float]], assessed: bool, crop: str, rule: int, code: Compliance) -> None:
    begin = day_of("01-01", 2021)
    windows = some(*((begin + a, begin + b, 0.6) for a, b in events))
    rules = [CropRule.model_validate({"crops": ["GRA"], "periods": [["04-01", "07-31"]], "rule": rule})]
    assert compliance(windows, np.array([assessed]), [crop], rules, 2021).tolist() == [code]


@pytest.mark.parametrize(
    ("country", "expected"),
    [
        ("cze", (0.12, 0.05, 0.72, 0.4)),
        ("fra", (0.12, 0.05, 0.72, 0.4)),
        ("ltu", (0.12, 0.06, 0.75, 0.5)),
        ("nld", (0.12, 0.9, 0.75, 0.5)),
        ("esp", (0.15, 0.9, 0.75, 0.5)),
        ("rou", (0.15, 0.9, 0.75, 0.5)),
    ],
)
def test_thresholds_by_country(country: str, expected: tuple[float, ...]) -> None:
    path = Path(__file__).parents[1] / f"configs/mowing/{country}.toml"
    rules = Mowing.model_validate(tomllib.loads(path.read_text())["mowing"]).reference.optical
    own = (rules.decreasing_abs_th, rules.increasing_rate_th, rules.high_abs_th, rules.low_abs_th)
    assert own == expected
