"""What a season lacks: small catalogs whose gaps are known, written down by hand."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.catalog import BROKEN, OK, SUPERSEDED
from s4c_hpc.catalog.absent import LATE, NEIGHBOURS, RHYTHM, adjacent
from s4c_hpc.catalog.acquisitions import Acquisition, Acquisitions, read_acquisitions
from s4c_hpc.catalog.index import Entry, write_entries
from s4c_hpc.catalog.model import UNKNOWN_TIME, Product
from s4c_hpc.catalog.pairs import pairs
from s4c_hpc.catalog.readiness import Readiness, months, readiness
from s4c_hpc.catalog.rhythm import rhythm_of
from s4c_hpc.core.errors import InputError, MissingDataError

START, END, LATER = dt.date(2018, 4, 1), dt.date(2018, 6, 30), dt.date(2018, 9, 1)
# Three tiles from west to east, each touching the next, and one far away.
BOUNDS = {
    "32UPU": (10.3, 48.6, 11.8, 49.6),
    "32UQU": (11.7, 48.6, 13.2, 49.6),
    "33UUP": (13.1, 47.7, 14.6, 49.6),
    "34UDU": (18.3, 48.6, 19.8, 49.6),
}
TILES = sorted(BOUNDS)


def day(text: str) -> dt.date:
    """``05-17`` of 2018."""
    return dt.date.fromisoformat(f"2018-{text}")


def every(period: int, first: str, last: str = "06-30") -> list[dt.date]:
    return [day(first) + dt.timedelta(days=k) for k in range(0, (day(last) - day(first)).days + 1, period)]


def row(tile: str, when: dt.date | None, orbit: int | None = 65, **other: str) -> Acquisition:
    mission = "sentinel-2a" if when is not None and (when.toordinal() // 5) % 2 else "sentinel-2b"
    values = {"sensor": "s2", "mission": mission, "datatake": f"{mission}-{when}-{orbit}", "status": OK, "reason": ""}
    return Acquisition(product=f"{tile}-{orbit}-{when}", tile=tile, orbit=orbit, day=when, **{**values, **other})


def rows(tiles: Iterable[str], days: Iterable[dt.date], orbit: int | None = 65) -> list[Acquisition]:
    days = list(days)
    return [row(tile, when, orbit) for tile in tiles for when in days]


def judge(
    found: Iterable[Acquisition], tiles: Iterable[str] = TILES, *, today: dt.date = LATER, start: dt.date = START
) -> Readiness:
    acquisitions = Acquisitions(rows=tuple(found), bounds=BOUNDS)
    return readiness(acquisitions, list(tiles), season_start=start, season_end=END, today=today)


def test_a_full_season_lacks_nothing() -> None:
    found = judge(rows(TILES, every(5, "04-02")))
    assert found.is_ready
    assert (found.empty, found.months_without, found.absent, found.unusable) == ((), {}, (), ())
    whole, of_orbit = found.coverage[:2]
    assert (whole.tile, whole.orbit, whole.n_days, whole.first, whole.last) == (
        "32UPU",
        None,
        18,
        day("04-02"),
        day("06-26"),
    )
    assert (of_orbit.orbit, of_orbit.revisit_days, of_orbit.longest_gap_days) == (65, 5, 5)


def test_a_tile_with_parcels_and_no_product_is_named() -> None:
    found = judge([*rows(["32UPU"], every(5, "04-02")), row("32UQU", day("04-02"), status=BROKEN)], TILES[:2])
    assert found.empty == ("32UQU",)
    assert found.months_without == {"32UQU": ("2018-04", "2018-05", "2018-06")}
    assert not found.is_ready


def test_a_month_without_acquisition_is_a_gap_of_that_length() -> None:
    april, june = every(5, "04-02", "04-28"), every(5, "06-01")
    found = judge(rows(["32UPU"], [*april, *june]), ["32UPU"])
    assert found.months_without == {"32UPU": ("2018-05",)}
    assert {line.longest_gap_days for line in found.coverage} == {(day("06-01") - day("04-27")).days}


def test_gaps_at_the_edges_of_the_season_count() -> None:
    (line, _) = judge(rows(["32UPU"], every(5, "05-06", "05-31")), ["32UPU"]).coverage
    assert line.longest_gap_days == (day("05-06") - day("03-31")).days
    assert line.months_without == ("2018-04", "2018-06")


def test_months_that_are_not_over_or_hardly_begun_are_not_missed() -> None:
    assert months(day("01-25"), day("05-08"), day("05-08")) == ["2018-02", "2018-03", "2018-04"]
    assert months(day("01-01"), day("12-31"), day("03-30")) == ["2018-01", "2018-02"]
    assert months(day("01-01"), day("03-30"), day("03-30")) == ["2018-01", "2018-02", "2018-03"]


def test_before_the_season_nothing_is_missed() -> None:
    found = judge([], today=START)
    assert found.is_ready
    assert found.until < found.first


def test_a_date_that_the_tiles_beside_it_have_is_missing() -> None:
    full = rows(TILES[:3], every(5, "04-02"))
    gone = [r for r in full if (r.tile, r.day) != ("32UQU", day("05-17"))]
    (one,) = judge(gone, TILES[:3]).absent
    assert (one.rule, one.sensor, one.orbit, one.tiles, one.days) == (
        NEIGHBOURS,
        "s2",
        65,
        ("32UQU",),
        (day("05-17"),),
    )


def test_tiles_without_parcels_are_witnesses_and_not_judged() -> None:
    full = rows(TILES[:2], every(5, "04-02"))
    gone = [r for r in full if r.day != day("05-17") or r.tile == "32UPU"]
    assert [one.tiles for one in judge(gone, ["32UQU"]).absent] == [("32UQU",)]
    assert judge(gone, ["32UPU"]).absent == ()


def test_a_broken_product_is_broken_and_not_missing() -> None:
    full = rows(TILES[:2], every(5, "04-02"))
    found = judge(
        [
            r._replace(status=BROKEN, reason="truncated") if (r.tile, r.day) == ("32UQU", day("05-17")) else r
            for r in full
        ],
        TILES[:2],
    )
    assert found.absent == ()
    assert [(r.tile, r.reason) for r in found.broken] == [("32UQU", "truncated")]


def test_no_alarm_where_neighbours_prove_nothing() -> None:
    """At the edge of the swath, far apart, at the end of a datatake, clear days only, orbits unknown."""
    dates = every(5, "04-02")
    edge = [*rows(["32UPU"], dates), *rows(["32UQU"], dates[::2])]
    assert judge(edge, TILES[:2]).absent == ()
    apart = [*rows(["32UPU"], dates), *rows(["34UDU"], [d for d in dates if d != day("05-17")])]
    assert judge(apart, ["32UPU", "34UDU"]).absent == ()
    # A datatake that ends within 32UQU: of its two companions the western one is seen only.
    end = [r for r in rows(TILES[:3], dates) if r.day != day("05-17") or r.tile == "32UPU"]
    assert judge(end, TILES[:3]).absent == ()
    clear = [r for r in rows(TILES[:3], dates) if Random(str(r.product)).random() < 0.5]
    assert judge(clear, TILES[:3]).absent == ()
    unknown = [r for r in rows(TILES[:2], dates, orbit=None) if r.day != day("05-17") or r.tile == "32UPU"]
    assert judge(unknown, TILES[:2]).absent == ()


def test_a_datatake_over_midnight_is_one_pass() -> None:
    dates = every(5, "04-02")
    later = [r._replace(day=r.day + dt.timedelta(days=1)) for r in rows(["32UQU"], dates) if r.day is not None]
    strips = [r._replace(datatake=f"{r.datatake}_S20180402T000003") for r in later]
    west = rows(["32UPU"], dates)
    assert judge([*west, *strips], TILES[:2]).absent == ()
    gone = [r for r in strips if r.day != day("05-18")]
    assert [(one.tiles, one.days) for one in judge([*west, *gone], TILES[:2]).absent] == [(("32UQU",), (day("05-17"),))]


def test_another_satellite_in_the_place_of_one_is_no_gap() -> None:
    taken = [
        r._replace(mission="sentinel-2c") if r.day == day("05-17") else r for r in rows(["32UPU"], every(5, "04-02"))
    ]
    assert judge(taken, ["32UPU"]).absent == ()


def test_a_pass_that_no_tile_has_was_due_by_the_rhythm() -> None:
    dates = [d for d in every(5, "04-02") if d != day("05-17")]
    (one,) = judge(rows(TILES[:3], dates), TILES[:2]).absent
    assert (one.rule, one.tiles, one.days) == (RHYTHM, ("32UPU", "32UQU"), (day("05-17"),))
    assert one.mission == row("", day("05-17")).mission


def test_passes_since_the_last_one_are_late_up_to_yesterday() -> None:
    found = judge(rows(["32UPU"], every(5, "04-02", "05-27")), ["32UPU"], today=day("06-11"))
    assert {one.rule for one in found.absent} == {LATE}
    assert sorted(d for one in found.absent for d in one.days) == [day("06-01"), day("06-06")]  # the 11th is today
    assert found.until == day("06-10")


def test_a_satellite_that_begins_is_lost_or_is_withdrawn_raises_no_alarm() -> None:
    first, second = every(10, "04-02"), every(10, "05-07")
    assert judge([row("32UPU", d, mission="sentinel-2a") for d in first], ["32UPU"]).absent == ()
    late_start = [
        *(row("32UPU", d, mission="sentinel-2a") for d in first),
        *(row("32UPU", d, mission="sentinel-2b") for d in second),
    ]
    assert judge(late_start, ["32UPU"]).absent == ()
    replaced = [
        *(row("32UPU", d, mission="sentinel-2a") for d in every(10, "04-02", "05-12")),
        *(row("32UPU", d, mission="sentinel-2c") for d in every(10, "05-22")),
    ]
    assert judge(replaced, ["32UPU"]).absent == ()
    lost = [
        *(row("32UPU", d, mission="sentinel-2a") for d in first),
        *(row("32UPU", d, mission="sentinel-2b") for d in every(10, "04-07", "05-07")),
    ]
    assert judge(lost, ["32UPU"]).absent == ()


def test_what_cannot_be_used_is_listed_with_its_reason_broken_first() -> None:
    found = judge(
        [
            *rows(["32UPU"], every(5, "04-02")),
            row("32UPU", day("04-02"), status=SUPERSEDED, reason="superseded by X"),
            row("", None, status=BROKEN, reason="no such file"),
            row("34UDU", day("04-02"), status=BROKEN, reason="on a tile without parcels"),
            row("32UPU", day("01-02"), status=BROKEN, reason="out of season"),
        ],
        ["32UPU"],
    )
    assert [r.reason for r in found.unusable] == ["no such file", "superseded by X"]
    assert [r.reason for r in found.broken] == ["no such file"]


def test_the_order_of_the_index_does_not_matter() -> None:
    full = [r for r in rows(TILES, every(5, "04-02")) if hash_free(r) % 9]
    shuffled = list(full)
    Random(1).shuffle(shuffled)
    assert judge(full) == judge(shuffled)


def hash_free(r: Acquisition) -> int:
    return sum(r.product.encode())


@given(
    st.lists(
        st.builds(
            row,
            st.sampled_from([*TILES, ""]),
            st.none() | st.integers(-20, 120).map(lambda n: START + dt.timedelta(days=n)),
            st.sampled_from([22, 65, None]),
            status=st.sampled_from([OK, OK, BROKEN, SUPERSEDED]),
            sensor=st.sampled_from(["s2", "s1"]),
        ),
        max_size=80,
    ),
    st.integers(-30, 150),
)
def test_whatever_the_index_holds_the_answer_is_consistent(found: list[Acquisition], today: int) -> None:
    now = START + dt.timedelta(days=today)
    answer = judge(found, today=now)
    there = {(r.sensor, r.tile, r.orbit, r.day) for r in found}
    usable = {(r.tile, r.day) for r in found if r.status == OK and r.day is not None and START <= r.day <= END}
    for one in answer.absent:
        assert one.tiles
        assert one.days
        assert set(one.tiles) <= set(TILES)
        assert all(START <= d <= min(END, now - dt.timedelta(days=1)) for d in one.days)
        assert not {(one.sensor, tile, one.orbit, d) for tile in one.tiles for d in one.days} & there
    for line in answer.coverage:
        if line.orbit is None:
            assert line.n_days <= len({d for tile, d in usable if tile == line.tile})
        assert line.first is not None
        assert line.last is not None
        assert line.first <= line.last
    for tile, without in answer.months_without.items():
        assert not {f"{d:%Y-%m}" for t, d in usable if t == tile} & set(without)
    if now > START:
        assert set(answer.empty) == set(TILES) - {tile for tile, _ in usable}


@given(st.sets(st.integers(1, 17), max_size=3))
def test_exactly_the_dates_that_were_taken_out_are_missing(numbers: set[int]) -> None:
    """Of one tile between two whole ones; up to three of eighteen are still too few to look like an edge."""
    dates = every(5, "04-02")
    lost = {dates[n] for n in numbers}
    found = judge([r for r in rows(TILES[:3], dates) if r.tile != "32UQU" or r.day not in lost], TILES[:3])
    assert {(tile, d) for one in found.absent for tile in one.tiles for d in one.days} == {("32UQU", d) for d in lost}


def test_tiles_touch_across_the_antimeridian() -> None:
    boxes = {"01WCT": (-179.9, 66.0, -177.0, 67.0), "60WWC": (177.0, 66.0, -179.8, 67.0), "32UPU": BOUNDS["32UPU"]}
    assert adjacent(boxes) == {"01WCT": {"60WWC"}, "60WWC": {"01WCT"}, "32UPU": set()}


@pytest.mark.parametrize(
    "days",
    [
        every(10, "04-02", "04-22"),  # too few
        [day("04-02"), day("04-05"), day("04-15"), day("04-19"), day("05-02")],  # no grid
        [d for i, d in enumerate(every(10, "04-02")) if i % 4 in {0, 1}],  # half of them there
    ],
)
def test_days_without_a_rhythm(days: list[dt.date]) -> None:
    assert rhythm_of(days) is None


# Sentinel-1: names of real products, with the relative orbit from their manifests.
MOROCCO = {
    "S1A_IW_SLC__1SDV_20230904T063730_20230904T063757_050174_0609E3_DAA1": 52,
    "S1A_IW_SLC__1SDV_20230916T063730_20230916T063757_050349_060FCD_6814": 52,
}
ROME = {"S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8": 168}


def passes(names: dict[str, int]) -> list[tuple[str, int, dt.date]]:
    found = []
    for name, orbit in names.items():
        parts = re.fullmatch(r"S1([A-D])_IW_\w{4}_1S\w\w_(\d{4})(\d\d)(\d\d)T.*", name)
        assert parts is not None
        when = dt.date(int(parts[2]), int(parts[3]), int(parts[4]))
        found.append((f"sentinel-1{parts[1].lower()}", orbit, when))
    return found


def year(missions: dict[str, str]) -> list[tuple[str, int, dt.date]]:
    return [(mission, 168, d) for mission, first in missions.items() for d in every(12, first)]


def season_pairs(rows: Iterable[tuple[str, int, dt.date]]) -> list[tuple[str, int, bool]]:
    return [(f"{p.day:%m-%d}", p.length_days, p.present) for p in pairs(rows, first=START, until=END)]


def test_a_real_pair_of_twelve_days() -> None:
    (pair,) = pairs(passes(MOROCCO), first=dt.date(2023, 1, 1), until=dt.date(2023, 12, 31))
    assert (pair.orbit, pair.day, pair.length_days, pair.present) == (52, dt.date(2023, 9, 16), 12, True)
    assert (pair.mission, pair.partner_mission, pair.partner_day) == (
        "sentinel-1a",
        "sentinel-1a",
        dt.date(2023, 9, 4),
    )
    assert pairs(passes(ROME), first=dt.date(2021, 1, 1), until=dt.date(2021, 12, 31)) == []


def test_one_satellite_makes_pairs_of_twelve_days_and_none_of_six_is_missed() -> None:
    found = season_pairs(year({"sentinel-1a": "04-02"}))
    assert found == [(f"{d:%m-%d}", 12, True) for d in every(12, "04-14")]


@pytest.mark.parametrize("other", ["sentinel-1b", "sentinel-1c", "sentinel-1d"])
def test_two_satellites_make_pairs_of_six_days(other: str) -> None:
    found = season_pairs(year({"sentinel-1a": "04-02", other: "04-08"}))
    dates = every(6, "04-02")
    assert found == [(f"{d:%m-%d}", n, True) for i, d in enumerate(dates) for n in (6, 12) if i * 6 >= n]


def test_a_missing_partner_is_named() -> None:
    all_of_them = year({"sentinel-1a": "04-02", "sentinel-1c": "04-08"})
    lost = ("sentinel-1c", 168, day("05-14"))
    missing = [
        (p.day, p.length_days, p.partner_mission, p.partner_day)
        for p in pairs([p for p in all_of_them if p != lost], first=START, until=END)
        if not p.present
    ]
    assert missing == [
        (day("05-20"), 6, "sentinel-1c", day("05-14")),
        (day("05-26"), 12, "sentinel-1c", day("05-14")),
    ]


def test_orbits_make_no_pairs_with_each_other() -> None:
    mixed = [(mission, 95 if mission.endswith("b") else 168, d) for mission, _, d in year({"sentinel-1b": "04-08"})]
    assert {p.orbit for p in pairs([*mixed, *year({"sentinel-1a": "04-02"})], first=START, until=END)} == {95, 168}
    assert all(n == 12 for _, n, _ in season_pairs([*mixed, *year({"sentinel-1a": "04-02"})]))


def test_radar_rows_of_the_index_are_paired() -> None:
    radar = [
        row("32UPU", d, 168, sensor="s1", mission=mission)
        for mission, _, d in year({"sentinel-1a": "04-02", "sentinel-1c": "04-08"})
        if d != day("05-14")
    ]
    found = judge([*radar, *rows(["32UPU"], every(5, "04-02"))], ["32UPU"])
    assert [(p.day, p.length_days) for p in found.missing_pairs] == [(day("05-20"), 6), (day("05-26"), 12)]
    assert [(one.rule, one.sensor, one.days) for one in found.absent] == [(RHYTHM, "s1", (day("05-14"),))]


def test_the_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    when = dt.datetime(2018, 5, 17, 23, 59, tzinfo=dt.UTC)
    product = Product(
        id="P1",
        source="sentinel2-l2a",
        sensor="s2",
        platform="sentinel-2a",
        tile="32UPU",
        datetime=when,
        relative_orbit=65,
        size_bytes=1,
        datatake="D",
    )
    lost = Product(
        id="P0",
        source="sentinel2-l2a",
        sensor="s2",
        platform="",
        tile="",
        datetime=UNKNOWN_TIME,
        size_bytes=0,
        datatake="",
        status=BROKEN,
        reason="no such file",
    )
    path = tmp_path / "products.parquet"
    write_entries(path, [Entry(product=p, native_id=p.id, path="", fingerprint="") for p in (product, lost)])
    found = read_acquisitions(path)
    assert found.rows == (
        Acquisition("P0", "s2", "", "", None, None, "", BROKEN, "no such file"),
        Acquisition("P1", "s2", "sentinel-2a", "32UPU", 65, dt.date(2018, 5, 17), "D", OK, ""),
    )
    assert found.bounds == {}  # neither has a band


def test_an_index_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="there is no product index"):
        read_acquisitions(tmp_path / "products.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(InputError, match="is not a product index"):
        read_acquisitions(tmp_path / "text.parquet")
    write_entries(tmp_path / "other.parquet", [])
    table = pq.read_table(tmp_path / "other.parquet").drop_columns(["s4c:tile"])
    pq.write_table(table, tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no column s4c:tile"):
        read_acquisitions(tmp_path / "other.parquet")
