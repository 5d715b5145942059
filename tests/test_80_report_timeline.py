"""One parcel's time line: what is drawn, where, and what is said about it."""

from __future__ import annotations

import datetime as dt
import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.config import Category
from s4c_hpc.report.sky import Sky
from s4c_hpc.report.timeline import Observation, OpticalStrip, ValueRange, timeline_svg
from s4c_hpc.report.timeline.optical import value_range

START, END = dt.date(2018, 3, 1), dt.date(2018, 9, 30)
SVG = "{http://www.w3.org/2000/svg}"


def draw(*observations: Observation, values: ValueRange | None = None) -> ET.Element:
    strip = OpticalStrip(observations=observations, variable="NDVI", values=values)
    svg = str(timeline_svg([strip], title="NDVI of <b>", start=START, end=END))
    return ET.fromstring(svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1))  # noqa: S314 - made here


def seen(day: dt.date, value: float = 0.5, sky: Sky = Sky.CLEAR) -> Observation:
    return Observation(day=day, sky=sky, value=value, low=value - 0.1, high=value + 0.1)


def of_class(svg: ET.Element, tag: str, name: str) -> list[ET.Element]:
    return [e for e in svg.iter(f"{SVG}{tag}") if e.get("class") == name]


def test_it_is_a_picture_with_a_name() -> None:
    svg = draw()
    assert svg.tag == f"{SVG}svg"
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "NDVI of <b>"


def test_within_html_it_needs_no_namespace() -> None:
    strip = OpticalStrip(observations=[], variable="NDVI")
    assert "xmlns" not in timeline_svg([strip], title="t", start=START, end=END)


@given(
    st.lists(
        st.tuples(st.dates(START, END), st.floats(-1, 1), st.sampled_from(Sky)), max_size=40, unique_by=lambda o: o[0]
    )
)
def test_every_date_is_there_with_its_value_and_within_the_picture(rows: list[tuple[dt.date, float, Sky]]) -> None:
    observations = [seen(*row) for row in sorted(rows)]
    svg = draw(*observations)
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    dates = of_class(svg, "g", "date")
    assert [d.get("data-day") for d in dates] == [o.day.isoformat() for o in observations]
    assert [float(d.get("data-value", "nan")) for d in dates] == pytest.approx(
        [o.value for o in observations], abs=1e-6
    )
    assert [d.get("data-sky") for d in dates] == [o.sky.name.lower() for o in observations]
    points = list(svg.iter(f"{SVG}circle"))
    assert len(points) == sum(o.sky in {Sky.CLEAR, Sky.PARTLY} for o in observations)
    across = [float(p.get("cx", "")) for p in points]
    assert across == sorted(across)
    assert all(0 <= x <= width for x in across)
    assert all(0 <= float(p.get("cy", "")) <= height for p in points)


def test_a_cloudy_date_has_a_sign_but_no_point() -> None:
    svg = draw(seen(dt.date(2018, 5, 1), sky=Sky.CLOUD))
    assert not list(svg.iter(f"{SVG}circle"))
    assert of_class(svg, "path", "sky cloud")


def test_a_long_gap_is_dashed_and_a_short_one_is_not() -> None:
    days = [dt.date(2018, 4, 1), dt.date(2018, 5, 1), dt.date(2018, 6, 1)]
    svg = draw(*(seen(d) for d in days))
    assert len(of_class(svg, "path", "line")) == 1
    assert len(of_class(svg, "path", "line gap")) == 1
    assert len(of_class(svg, "path", "spread")) == 1


def test_higher_values_are_higher_up_and_equal_steps_are_equal() -> None:
    svg = draw(*(seen(dt.date(2018, 4, day), value) for day, value in ((1, 0.0), (2, 0.5), (3, 1.0))))
    low, middle, high = (float(p.get("cy", "")) for p in svg.iter(f"{SVG}circle"))
    assert low > middle > high
    assert low - middle == pytest.approx(middle - high, abs=0.02)


def test_the_tooltip_says_all_that_is_known() -> None:
    observation = Observation(
        day=dt.date(2018, 5, 7),
        sky=Sky.PARTLY,
        value=0.8123,
        low=0.7,
        high=0.9,
        counts={Category.VALID: 1200, Category.CLOUD: 34, Category.SNOW: 0},
    )
    (title,) = (e.text for e in draw(observation).iter(f"{SVG}title"))
    expected = "2018-05-07: partly clear; NDVI 0.812 (p25 0.700, p75 0.900); pixels: valid 1\u202f200, cloud 34"
    assert title == expected


def test_a_date_without_a_value_says_so_by_having_none() -> None:
    (date,) = of_class(draw(Observation(day=START, sky=Sky.NODATA, value=math.nan)), "g", "date")
    assert date.get("data-value") is None


@given(st.lists(st.floats(-5, 5), min_size=1), st.sampled_from(["NDVI", "IRECI"]))
def test_the_value_axis_holds_every_value(values: list[float], variable: str) -> None:
    observations = [seen(START, v) for v in values]
    axis = value_range(observations, variable)
    assert axis.low < axis.high
    rounding = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - rounding <= v <= axis.high + rounding for o in observations for v in (o.low, o.value, o.high))
    if variable == "NDVI":
        assert axis.low <= 0
        assert axis.high >= 1


def test_without_values_there_is_still_an_axis() -> None:
    assert value_range([], "NDVI") == ValueRange(low=0.0, high=1.0)
