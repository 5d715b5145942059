"""Numbers in words, and the small drawing helpers."""

from __future__ import annotations

import datetime as dt
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.drawing import text
from s4c_hpc.drawing.svg import element, nice_ticks, number, spread
from s4c_hpc.report.time_axis import TimeAxis


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (12_345_678, "12.3 MB"), (999_999, "1.00 MB"), (5e15, "5000 TB")],
)
def test_sizes(value: float, expected: str) -> None:
    assert text.size(value).replace("\u202f", " ") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.0421, "0.04 s"),
        (12.34, "12.3 s"),
        (59.97, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (273_600, "3 d 04 h"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert text.duration(seconds).replace("\u202f", " ") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0 %"), (1e-4, "<1 %"), (0.5, "50 %"), (0.9999, ">99 %"), (1.0, "100 %"), (math.nan, "–"), (None, "–")],
)
def test_shares_never_round_to_nothing_or_all(value: float | None, expected: str) -> None:
    assert text.share(value).replace("\u202f", " ") == expected


def test_areas_and_counts() -> None:
    assert text.hectares(128_301.43).replace("\u202f", " ") == "12.83 ha"
    assert text.hectares(2.16e7).replace("\u202f", " ") == "2 160 ha"
    assert text.hectares(None) == text.hectares(math.nan) == "–"
    assert text.plural(1, "parcel") == "1 parcel"
    assert text.plural(0, "parcel") == "0 parcels"


def test_instants_are_told_in_utc() -> None:
    berlin = dt.timezone(dt.timedelta(hours=2))
    assert text.minute(dt.datetime(2018, 5, 7, 12, 26, tzinfo=berlin)) == "2018-05-07 10:26 UTC"


@given(st.text(), st.text())
def test_elements_escape_everything(inner: str, value: str) -> None:
    made = element("text", inner, data_name=value)
    assert made.count("<") == made.count(">") == (2 if inner else 1)
    assert made.count('"') == 2


@given(st.floats(-1e6, 1e6))
def test_numbers_are_short_and_close(value: float) -> None:
    assert abs(float(number(value)) - value) <= 0.005 + 1e-9
    assert not number(value).endswith(("0.", ".")), number(value)
    assert number(value) != "-0"


@given(st.floats(-1e3, 1e3), st.floats(0.01, 1e3))
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    assert 2 <= len(ticks) <= 8
    assert all(low - width * 1e-6 <= t <= low + width * (1 + 1e-6) for t in ticks)


@given(st.integers(0, 500), st.integers(0, 60))
def test_a_spread_is_even_and_keeps_both_ends(n: int, wanted: int) -> None:
    chosen = spread(n, wanted)
    assert len(chosen) == min(n, wanted)
    assert chosen == sorted(set(chosen))
    if len(chosen) >= 2:
        assert (chosen[0], chosen[-1]) == (0, n - 1)
        gaps = [b - a for a, b in itertools.pairwise(chosen)]
        assert max(gaps) - min(gaps) <= 1


@given(st.dates(dt.date(2000, 1, 1), dt.date(2040, 1, 1)), st.integers(0, 500))
def test_the_time_axis_is_covered_by_its_months(start: dt.date, days: int) -> None:
    axis = TimeAxis(start, start + dt.timedelta(days=days), 40, 940)
    months = axis.months()
    assert months[0][1] == 40
    assert months[-1][2] == pytest.approx(940)
    assert all(a[2] == pytest.approx(b[1]) for a, b in itertools.pairwise(months))
    assert 40 < axis(start) <= axis(axis.end) < 940
