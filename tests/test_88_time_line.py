"""The time line of a parcel: every strip that there is, inside the picture, with signs that a legend explains."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4c_hpc.confounders.doubts import Doubt
from s4c_hpc.drawing.pages import plot_style
from s4c_hpc.report.decision import NAMES, Decision, Evidence, Period
from s4c_hpc.report.parcel_picture import parcel_svg, strips_of
from s4c_hpc.report.parcel_radar import Radar
from s4c_hpc.report.parcel_season import Optical, ParcelSeason
from s4c_hpc.report.sky import Sky
from s4c_hpc.report.timeline import DecisionStrip, Observation
from s4c_hpc.report.timeline.bars import place
from s4c_hpc.report.timeline.picture import axis_of
from s4c_hpc.report.timeline.radar import Measured
from s4c_hpc.report.timeline.strip import LEFT, LETTER, RIGHT

START, END = dt.date(2018, 1, 1), dt.date(2018, 12, 31)
SVG = "{http://www.w3.org/2000/svg}"
HARVEST = Decision(
    kind="harvest",
    verdict="found",
    start=dt.date(2018, 7, 1),
    end=dt.date(2018, 7, 13),
    confidence=0.82,
    source="S1+S2",
    reason="NDVI and coherence",
    evidence=(
        Evidence(name="ndvi_before", meaning="NDVI of the last look before", value=0.71, unit="1"),
        Evidence(name="ratio_rise_db", meaning="Growth of VV - VH", value=2.5, unit="dB"),
        Evidence(name="rain_mm", meaning="Most rain", value=math.nan, unit="mm"),
    ),
    thresholds=(Evidence(name="ndvi_up", meaning="a fall", value=350, unit="thousandths"),),
    origin="l4c-evidence",
)
SEASON = ParcelSeason(
    new_id=7,
    name="North <b>",
    crop="131",
    tile="32UPU",
    area_m2=12_340.0,
    start=START,
    end=END,
    variable="NDVI",
    optical=(
        Optical(
            name="s2 10m",
            observations=(
                Observation(day=dt.date(2018, 4, 1), sky=Sky.CLEAR, value=0.6, low=0.5, high=0.7),
                Observation(day=dt.date(2018, 4, 11), sky=Sky.CLOUD, value=math.nan),
                Observation(day=dt.date(2018, 6, 1), sky=Sky.PARTLY, value=0.8),
            ),
            knows_sky=True,
        ),
    ),
    ratio=(
        Radar(orbit="orbit 117, ascending", sensor="s1", measured=(Measured(dt.date(2018, 5, 1), 6.5),)),
        Radar(orbit="orbit 168, descending", sensor="s1", measured=(Measured(dt.date(2018, 5, 4), 7.5),)),
    ),
    coherence=(
        Radar(
            orbit="orbit 117, ascending",
            sensor="s1",
            measured=(
                Measured(dt.date(2018, 5, 1), 0.3),
                Measured(dt.date(2018, 5, 7), 0.7, Doubt.WET | Doubt.COMMON, 6.2),
            ),
        ),
    ),
    rain=((dt.date(2018, 5, 6), 6.2), (dt.date(2018, 5, 7), 0.0), (dt.date(2018, 5, 8), math.nan)),
    decisions=(HARVEST,),
    periods=(Period(kind="harvest", name="harvest expected", start=dt.date(2018, 6, 15), end=dt.date(2018, 8, 1)),),
    missing=("Catch crop: none is declared.",),
)


def drawn(season: ParcelSeason) -> ET.Element:
    return ET.fromstring(str(parcel_svg(season)))  # noqa: S314 - made here


def of_class(svg: ET.Element, name: str) -> list[ET.Element]:
    return [e for e in svg.iter() if name in e.get("class", "").split()]


def text_of(svg: ET.Element) -> str:
    shown = (e for e in svg.iter() if e.tag in {f"{SVG}text", f"{SVG}tspan"})
    return " ".join(" ".join((e.text or "") for e in shown).split())


def test_every_strip_is_there_from_what_was_said_to_what_was_seen() -> None:
    strips = [e.get("class", "").removeprefix("strip ") for e in of_class(drawn(SEASON), "strip")]
    assert strips == ["periods", "decisions", "optical", "ratio", "ratio", "coherence", "rain"]


@pytest.mark.parametrize(
    ("without", "strip"),
    [
        ("periods", "periods"),
        ("decisions", "decisions"),
        ("optical", "optical"),
        ("ratio", "ratio"),
        ("coherence", "coherence"),
        ("rain", "rain"),
    ],
)
def test_a_strip_without_data_is_left_out(without: str, strip: str) -> None:
    changes: dict[str, Any] = {without: ()}
    left = [e.get("class", "") for e in of_class(drawn(replace(SEASON, **changes)), "strip")]
    assert f"strip {strip}" not in left
    assert len(left) == (5 if without == "ratio" else 6)


def test_what_is_missing_is_said() -> None:
    text = text_of(drawn(SEASON))
    assert "Not shown" in text
    assert "Catch crop: none is declared." in text


def test_the_decision_is_a_bar_over_its_window_and_a_stripe_through_all_strips() -> None:
    svg = drawn(SEASON)
    (group,) = of_class(svg, "decision")
    assert (group.get("data-kind"), group.get("data-start"), group.get("data-end")) == (
        "harvest",
        "2018-07-01",
        "2018-07-13",
    )
    (bar,) = of_class(svg, "window")
    (shade,) = of_class(svg, "shade")
    axis = axis_of(START, END)
    begin, width = float(bar.get("x", "")), float(bar.get("width", ""))
    assert begin == pytest.approx(axis(dt.date(2018, 7, 1)) - axis.per_day / 2, abs=0.01)
    assert width == pytest.approx(13 * axis.per_day, abs=0.02)
    assert shade.get("x") == bar.get("x")
    rain = of_class(svg, "rain")[0]
    lowest = max(float(e.get("y1", "0")) for e in rain.iter(f"{SVG}line"))
    assert float(shade.get("y", "")) + float(shade.get("height", "")) >= lowest
    assert "Harvest · 82 % · S1+S2" in text_of(svg)


def test_the_words_name_values_thresholds_and_reason_and_nothing_that_was_not_seen() -> None:
    said = HARVEST.sentence()
    assert said == (
        "Harvest: found between 2018-07-01 and 2018-07-13, confidence 82\u202f%, seen by S1+S2. NDVI and coherence. "
        "Seen: NDVI of the last look before = 0.71; Growth of VV - VH = 2.5 dB. Thresholds: ndvi_up 350 thousandths."
    )
    svg = drawn(SEASON)
    description = next(svg.iter(f"{SVG}desc")).text or ""
    assert said in description
    assert "harvest expected: 2018-06-15 to 2018-08-01" in description
    assert "Rain: 6 mm in 2 days, most 6.2 mm on 2018-05-06" in description
    assert "changes that rain or all fields around explain: 2018-05-07" in description


def test_an_undecided_one_says_why_and_has_no_thresholds() -> None:
    one = replace(HARVEST, verdict="undecided", start=None, end=None, confidence=math.nan, source="", reason="no NDVI")
    assert one.sentence().startswith("Harvest: undecided. No NDVI. Seen:")
    assert "Thresholds" not in one.sentence()
    svg = drawn(replace(SEASON, decisions=(one,)))
    assert not of_class(svg, "window")
    assert not of_class(svg, "shade")
    assert of_class(svg, "ring")


def test_doubts_are_marked_at_the_pair_and_at_the_decision() -> None:
    svg = drawn(replace(SEASON, decisions=(replace(HARVEST, doubts=Doubt.WET),)))
    (pair,) = [e for e in svg.iter() if e.get("data-doubts")]
    assert (pair.get("data-day"), pair.get("data-doubts")) == ("2018-05-07", "5")
    assert "rain 6 mm" in "".join(pair.itertext())
    assert len(of_class(svg, "doubt")) == 2  # beside the name, and in the legend
    assert "doubt: rain" in text_of(svg)


def test_the_legend_explains_what_is_there_and_nothing_else() -> None:
    text = text_of(of_class(drawn(SEASON), "legend")[0])
    assert "cloudy" in text
    assert "snow" not in text
    assert "Doubt:" not in text
    bare = text_of(of_class(drawn(replace(SEASON, optical=(), decisions=(), coherence=())), "legend")[0])
    assert "cloudy" not in bare
    assert "Found" not in bare


def test_orbits_share_their_axis_so_that_they_can_be_compared() -> None:
    first, second = of_class(drawn(SEASON), "ratio")[:2]

    def ticks(strip: ET.Element) -> list[str]:
        return [e.text or "" for e in strip.iter(f"{SVG}text") if e.get("class") == "tick end"]

    assert ticks(first) == ticks(second)


def test_a_file_has_plain_colours_and_dark_ones_for_screens_only() -> None:
    light, both = str(parcel_svg(SEASON, dark=False)), str(parcel_svg(SEASON))
    assert "var(" not in both
    assert "prefers-color-scheme" not in light
    assert "@media screen and (prefers-color-scheme: dark)" in both
    assert "#00805f" in plot_style()


def test_names_of_people_are_escaped() -> None:
    assert "North <b>" not in str(parcel_svg(SEASON))
    assert next(drawn(SEASON).iter(f"{SVG}title")).text == "Parcel North <b>"


values = st.floats(-40, 40) | st.just(math.nan)
days = st.dates(dt.date(2017, 6, 1), dt.date(2019, 6, 30))
inside = st.dates(START, END)


@st.composite
def decisions(draw: Any) -> Decision:
    first, last = sorted([draw(days), draw(days)])
    has_window = draw(st.booleans())
    return Decision(
        kind=draw(st.sampled_from([*NAMES, "new-kind"])),
        verdict=draw(st.sampled_from(["found", "not found", "strong", "moderate", "weak", "poor", "undecided"])),
        start=first if has_window else None,
        end=last if has_window else None,
        confidence=draw(st.floats(0, 1) | st.just(math.nan)),
        source=draw(st.sampled_from(["", "S1", "S2", "S1+S2"])),
        doubts=Doubt(draw(st.integers(0, 7))),
        reason=draw(st.text(max_size=300).map(lambda t: "".join(c for c in t if c.isprintable()))),
    )


@st.composite
def seasons(draw: Any) -> ParcelSeason:
    def series(kind: Any) -> list[Any]:
        return sorted(draw(st.lists(kind, max_size=12, unique_by=lambda o: o.day)), key=lambda o: o.day)

    looks = st.builds(
        Observation, day=inside, sky=st.sampled_from(Sky), value=values, low=values, high=values, counts=st.just({})
    )
    measured = st.builds(Measured, inside, values, st.sampled_from(list(Doubt)), st.floats(0, 90) | st.just(math.nan))
    radar = [Radar(orbit=f"orbit {i}", sensor="s1", measured=tuple(series(measured))) for i in range(2)]
    return replace(
        SEASON,
        optical=(Optical(name="x", observations=tuple(series(looks)), knows_sky=draw(st.booleans())),),
        ratio=tuple(radar[: draw(st.integers(0, 2))]),
        coherence=tuple(radar[: draw(st.integers(0, 2))]),
        rain=tuple((d, draw(st.floats(0, 200) | st.just(math.nan))) for d in sorted(draw(st.sets(inside, max_size=4)))),
        decisions=tuple(draw(st.lists(decisions(), max_size=6))),
    )


@settings(max_examples=120, deadline=None)
@given(seasons())
def test_any_season_is_drawn_inside_the_picture(season: ParcelSeason) -> None:
    svg = drawn(season)
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    for e in svg.iter():
        for name, limit in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height), ("cy", height)):
            if (text := e.get(name)) is not None and e.tag != f"{SVG}tspan":
                assert -1 <= float(text) <= limit + 1, (e.tag, e.attrib)
        if e.tag == f"{SVG}rect":
            assert float(e.get("width", "")) >= 0
            assert float(e.get("height", "")) >= 0
            assert float(e.get("y", "")) + float(e.get("height", "")) <= height + 1
    assert "nan" not in "".join(p.get("d", "") for p in svg.iter(f"{SVG}path"))
    assert len(of_class(svg, "strip")) == len(strips_of(season))


@given(st.lists(st.tuples(days, days, st.integers(1, 160)), max_size=12))
def test_bars_and_their_names_never_cover_each_other(raw: list[tuple[dt.date, dt.date, int]]) -> None:
    bars = [(min(a, b), max(a, b), "x" * n) for a, b, n in raw]
    placed = place(bars, axis_of(START, END))
    rows: dict[int, list[tuple[float, float]]] = {}
    for one in placed:
        extent = min(one.begin, one.text_x), max(one.end, one.text_x + len(one.text) * LETTER)
        assert extent[0] >= LEFT - 0.01
        assert extent[1] <= RIGHT + 8
        assert all(extent[1] <= b or extent[0] >= e for b, e in rows.get(one.row, []))
        rows.setdefault(one.row, []).append(extent)


def test_decisions_stand_by_kind_and_those_without_a_window_last() -> None:
    many = [
        Decision(kind="tillage", verdict="not found"),
        replace(HARVEST, kind="mowing", start=dt.date(2018, 9, 1), end=dt.date(2018, 9, 3)),
        replace(HARVEST, kind="mowing", start=dt.date(2018, 5, 1), end=dt.date(2018, 5, 3)),
        HARVEST,
    ]
    kinds = [(d.kind, d.start) for d in DecisionStrip(decisions=many, axis=axis_of(START, END)).ordered]
    assert kinds == [
        ("harvest", HARVEST.start),
        ("mowing", dt.date(2018, 5, 1)),
        ("mowing", dt.date(2018, 9, 1)),
        ("tillage", None),
    ]


def test_rain_is_as_high_as_it_is() -> None:
    svg = drawn(replace(SEASON, rain=tuple((START + dt.timedelta(days=i), mm) for i, mm in enumerate([5.0, 10.0]))))
    low, high = (float(e.get("height", "")) for e in of_class(svg, "rain-bar"))
    assert high == pytest.approx(2 * low, abs=0.02)
    assert np.isfinite(low)
