"""Which processing of an acquisition counts: properties of the pure rule."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.catalog import BROKEN, OK, SUPERSEDED, Product, supersede
from s4c_hpc.catalog.supersede import baseline_number

EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def make(number: int, datatake: str, tile: str, baseline: str | None, hours: int | None, status: str = OK) -> Product:
    return Product(
        id=f"P{number}",
        source="sentinel2-l2a",
        sensor="s2",
        platform="sentinel-2a",
        tile=tile,
        datetime=EPOCH,
        baseline=baseline,
        generation_time=None if hours is None else EPOCH + dt.timedelta(hours=hours),
        size_bytes=1,
        datatake=datatake,
        status=status,
        reason="" if status == OK else "truncated",
    )


@st.composite
def products(draw: st.DrawFn) -> list[Product]:
    n = draw(st.integers(0, 12))
    return [
        make(
            number,
            draw(st.sampled_from(["D1", "D2"])),
            draw(st.sampled_from(["32UPU", "33UUP"])),
            draw(st.sampled_from([None, "02.12", "04.00", "05.09", "05.10", "05.11"])),
            draw(st.sampled_from([None, 1, 2, 3])),
            draw(st.sampled_from([OK, OK, OK, BROKEN])),
        )
        for number in range(n)
    ]


def newness(product: Product) -> tuple[tuple[int, ...], float, str]:
    time = -1.0 if product.generation_time is None else product.generation_time.timestamp()
    return (baseline_number(product.baseline), time, product.id)


@given(products(), st.randoms())
def test_the_result_does_not_depend_on_the_order(rows: list[Product], random: Random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    by_id = {p.id: p for p in supersede(shuffled)}
    assert supersede(rows) == [by_id[p.id] for p in rows]


@given(products())
def test_exactly_the_newest_usable_of_each_acquisition_stays(rows: list[Product]) -> None:
    judged = supersede(rows)
    for key in {(p.datatake, p.tile) for p in rows}:
        group = [p for p in judged if (p.datatake, p.tile) == key]
        usable = [p for p in group if p.status == OK]
        candidates = [p for p in rows if (p.datatake, p.tile) == key and p.status == OK]
        assert [p.id for p in usable] == ([max(candidates, key=newness).id] if candidates else [])
        for loser in group:
            if loser.status == SUPERSEDED:
                assert f"superseded by {usable[0].id} " in loser.reason


@given(products())
def test_only_status_and_reason_change_and_broken_rows_stay(rows: list[Product]) -> None:
    for before, after in zip(rows, supersede(rows), strict=True):
        assert replace(after, status=before.status, reason=before.reason) == before
        if before.status == BROKEN:
            assert after == before


@given(products())
def test_judging_twice_changes_nothing(rows: list[Product]) -> None:
    once = supersede(rows)
    assert supersede(once) == once


def test_baselines_compare_as_numbers() -> None:
    old, new = make(1, "D", "32UPU", "05.09", 5), make(2, "D", "32UPU", "05.10", 1)
    assert [p.status for p in supersede([old, new])] == [SUPERSEDED, OK]
    assert supersede([old, new])[0].reason == "superseded by P2 (baseline 05.10 instead of 05.09)"


def test_the_later_generation_wins_within_a_baseline() -> None:
    old, new = make(2, "D", "32UPU", "05.09", 1), make(1, "D", "32UPU", "05.09", 5)
    assert supersede([old, new])[0].reason == "superseded by P1 (generated later)"


def test_other_tiles_datatakes_and_sources_are_left_alone() -> None:
    one = make(1, "D", "32UPU", "02.12", 1)
    others = [
        replace(one, id="P2", tile="33UUP"),
        replace(one, id="P3", datatake="E"),
        replace(one, id="P4", source="x"),
        replace(one, id="P5", sensor="x"),
    ]
    assert all(p.status == OK for p in supersede([one, *others]))


def test_what_tells_no_datatake_is_left_alone() -> None:
    products = [make(number, "", "32UPU", None, None) for number in (1, 2)]
    assert supersede(products) == products


@pytest.mark.parametrize(("text", "number"), [("05.09", (5, 9)), ("99.99", (99, 99)), (None, ()), ("", ())])
def test_baseline_numbers(text: str | None, number: tuple[int, ...]) -> None:
    assert baseline_number(text) == number
