"""What a mowing is worth whose rise of coherence is in doubt: less, never nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from s4c_hpc.config.mowing import ImprovedRules
from s4c_hpc.confounders.doubts import Doubt
from s4c_hpc.mowing.detector import Detected, detected
from s4c_hpc.mowing.reference import Orbit

RULES = ImprovedRules()
SEASON = (90.0, 300.0)
LOOKS = np.arange(60.0, 310.0, 5)
CUT = 172.0
"""Between the looks of days 170 and 175."""
PAIRS = np.arange(60.0, 310.0, 6)
AFTER = PAIRS[PAIRS > 175][1]
"""The first pair that lies behind the cut as a whole."""


def ndvi(n: int = 1) -> NDArray[np.float64]:
    """A cut that regrows in 40 days."""
    since = LOOKS - CUT
    return np.tile(np.where(since < 0, 0.85, np.minimum(0.85, 0.6 + 0.006 * since)), (n, 1))


def orbit(high: float, flags: int = 0, *, at: float = AFTER, rain_mm: float = np.nan, known: bool = True) -> Orbit:
    """Coherence of .3, and ``high`` from the pair of a day on, which is in doubt."""
    values = np.where((at <= PAIRS) & (at + 40 > PAIRS), high, 0.3)[None]
    if not known:
        return Orbit(PAIRS, values)
    there = (PAIRS - at == 0)[None]
    rain = np.where(there, rain_mm, 0.0).astype(np.float32)
    return Orbit(PAIRS, values, doubts=(there * flags).astype(np.uint8), rain_mm=rain)


def found(*orbits: Orbit, values: NDArray[np.float64] | None = None) -> Detected:
    return detected(ndvi() if values is None else values, LOOKS, orbits, SEASON, RULES)


def confidence(*orbits: Orbit) -> float:
    (only,) = found(*orbits).windows.confidence[0]
    return float(only)


WET, COMMON = int(Doubt.WET), int(Doubt.COMMON)


def test_a_rise_in_doubt_is_worth_as_much_as_none_was_seen() -> None:
    nothing, trusted, doubted = confidence(), confidence(orbit(0.6)), confidence(orbit(0.6, WET, rain_mm=12))
    assert nothing == pytest.approx(doubted)
    assert trusted > nothing + 0.01
    made = found(orbit(0.6, WET, rain_mm=12))
    assert made.doubts[0, 0] == WET
    assert made.rain_mm[0, 0] == 12
    assert made.evidence["coherence_after"][0, 0] > 0.5  # what was seen stands as it is
    assert made.evidence["coherence_rise"][0, 0] == RULES.coherence_usual


def test_of_two_orbits_the_one_that_is_in_no_doubt_keeps_its_credit() -> None:
    both, one, neither = (
        confidence(orbit(0.6, first), orbit(0.6, second)) for first, second in ((0, 0), (COMMON, 0), (COMMON, WET))
    )
    assert both > one > neither
    made = found(orbit(0.6, COMMON), orbit(0.6, 0))
    whole = found(orbit(0.6)).evidence["coherence_rise"][0, 0]
    assert made.evidence["coherence_rise"][0, 0] == pytest.approx((whole + RULES.coherence_usual) / 2)
    assert made.doubts[0, 0] == COMMON
    assert found(orbit(0.6, COMMON), orbit(0.6, WET)).doubts[0, 0] == COMMON | WET


def test_a_doubt_elsewhere_or_about_a_rise_that_gives_no_credit_changes_nothing() -> None:
    flagged = orbit(0.6)
    assert flagged.doubts is not None
    early = np.where(PAIRS < 150, WET, 0).astype(np.uint8)[None]
    assert confidence(replace(flagged, doubts=early)) == confidence(flagged)
    assert confidence(orbit(0.2, WET)) == confidence(orbit(0.2))  # coherence fell
    assert confidence(orbit(0.6, known=False)) == confidence(orbit(0.6))
    assert found(orbit(0.6, known=False)).doubts.tolist() == [[0]]


def test_an_event_is_kept_whose_confidence_is_less_than_what_is_reported() -> None:
    """Else rain would delete mowings."""
    bare = confidence()
    lower = np.log(0.4 / 0.6) - 0.1 - np.log(bare / (1 - bare))
    weak = RULES.model_copy(update={"intercept": RULES.intercept + lower})
    events = [detected(ndvi(), LOOKS, [orbit(0.75, flags)], SEASON, weak) for flags in (0, WET)]
    trusted, doubted = (made.windows.confidence[0].tolist() for made in events)
    assert len(trusted) == len(doubted) == 1
    assert doubted[0] < weak.min_confidence <= trusted[0]


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_doubts_never_add_confidence_and_never_lose_an_event(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.clip(ndvi(6) + rng.normal(0, 0.15, (6, LOOKS.size)), 0, 1)
    orbits = [
        Orbit(
            PAIRS,
            np.where(rng.random((6, PAIRS.size)) < 0.1, np.nan, rng.uniform(0.1, 0.7, (6, PAIRS.size))),
            doubts=rng.integers(0, 8, (6, PAIRS.size)).astype(np.uint8),
            rain_mm=np.zeros((6, PAIRS.size), np.float32),
        )
        for _ in range(2)
    ]
    doubted = found(*orbits, values=values)
    plain = found(*(Orbit(one.days, one.values) for one in orbits), values=values)
    np.testing.assert_array_equal(doubted.windows.start, plain.windows.start)
    there = plain.windows.there
    assert (doubted.windows.confidence[there] <= plain.windows.confidence[there] + 1e-12).all()
    unchanged = there & (doubted.doubts == 0)
    np.testing.assert_array_equal(doubted.windows.confidence[unchanged], plain.windows.confidence[unchanged])
    assert not doubted.doubts[~there].any()
