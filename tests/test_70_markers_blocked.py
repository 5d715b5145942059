"""What missing acquisitions do to marker files: the right files, by name, and why."""

from __future__ import annotations

import datetime as dt

from s4c_hpc.catalog import BROKEN, OK
from s4c_hpc.catalog.acquisitions import Acquisition, Acquisitions
from s4c_hpc.catalog.readiness import Readiness, readiness
from s4c_hpc.markers.blocked import blocked

START, END = dt.date(2018, 4, 1), dt.date(2018, 6, 30)
BOUNDS = {"32UPU": (10.3, 48.6, 11.8, 49.6), "32UQU": (11.7, 48.6, 13.2, 49.6)}
PASSES = [dt.date(2018, 4, 2) + dt.timedelta(days=5 * k) for k in range(18)]


def row(tile: str, day: dt.date, status: str = OK, reason: str = "") -> Acquisition:
    mission = "sentinel-2a" if (day.toordinal() // 5) % 2 else "sentinel-2b"
    return Acquisition(f"{tile}-{day:%m%d}", "s2", mission, tile, 65, day, f"{mission}-{day}", status, reason)


def judge(rows: list[Acquisition], today: dt.date = dt.date(2019, 1, 1)) -> Readiness:
    index = Acquisitions(rows=tuple(rows), bounds=BOUNDS)
    return readiness(index, list(BOUNDS), season_start=START, season_end=END, today=today)


def texts(found: Readiness, sets: tuple[str, ...] = ("mdb1",)) -> list[str]:
    return [one.text for one in blocked(found, site="demo", sets=sets)]


def test_nothing_missing_blocks_nothing() -> None:
    assert texts(judge([row(tile, day) for tile in BOUNDS for day in PASSES])) == []


def test_a_month_without_acquisition_has_no_files_of_any_set() -> None:
    april_june = [day for day in PASSES if day.month != 5]
    found = judge([row("32UPU", day) for day in april_june] + [row("32UQU", day) for day in april_june])
    assert texts(found, ("mdb1", "wide")) == [
        f"{tile} 2018-05: no acquisition; "
        "s2 orbit 65: sentinel-2a was due on 2018-05-02, 2018-05-12, 2018-05-22, and no tile has it; "
        "s2 orbit 65: sentinel-2b was due on 2018-05-07, 2018-05-17, 2018-05-27, and no tile has it: "
        f"markers/mdb1/2018-05/demo_{tile}.arrow, markers/wide/2018-05/demo_{tile}.arrow will not exist"
        for tile in BOUNDS
    ]


def test_a_missing_date_makes_the_month_incomplete() -> None:
    gone = dt.date(2018, 5, 17)
    found = judge([row(tile, day) for tile in BOUNDS for day in PASSES if (tile, day) != ("32UQU", gone)])
    (text,) = texts(found)
    assert text == (
        "32UQU 2018-05: s2 orbit 65: no product of 2018-05-17, which tiles beside it have: "
        "markers/mdb1/2018-05/demo_32UQU.arrow incomplete"
    )


def test_a_month_of_broken_products_only_has_no_file_and_says_why() -> None:
    rows = [
        row(tile, day, BROKEN, "truncated") if (tile, day.month) == ("32UQU", 6) else row(tile, day)
        for tile in BOUNDS
        for day in PASSES
    ]
    (one,) = blocked(judge(rows), site="demo", sets=["mdb1"])
    assert (one.tile, one.period, one.exists) == ("32UQU", "2018-06", False)
    assert one.reasons[:2] == ("no acquisition", "32UQU-0601 is broken: truncated")
    assert len(one.reasons) == 7


def test_late_passes_are_told_month_by_month() -> None:
    rows = [row(tile, day) for tile in BOUNDS for day in PASSES if day < dt.date(2018, 5, 20)]
    found = {(one.tile, one.period): one for one in blocked(judge(rows), site="demo", sets=["mdb1"])}
    assert set(found) == {(tile, month) for tile in BOUNDS for month in ("2018-05", "2018-06")}
    may, june = found["32UPU", "2018-05"], found["32UPU", "2018-06"]
    assert (may.exists, june.exists) == (True, False)
    assert "2018-05-22" in " ".join(may.reasons)
    assert june.reasons[0] == "no acquisition"
    assert all("late or still in the archive" in reason for reason in (*may.reasons, *june.reasons[1:]))


def test_a_tile_without_products_has_no_files_at_all() -> None:
    found = blocked(judge([row("32UPU", day) for day in PASSES]), site="demo", sets=["mdb1"])
    assert [(one.tile, one.period, one.exists) for one in found] == [
        ("32UQU", month, False) for month in ("2018-04", "2018-05", "2018-06")
    ]
