"""Unique ids whatever is found where, and the same judgement in whatever order and after whatever earlier scan."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.catalog import BROKEN, OK, SUPERSEDED, Product
from s4c_hpc.catalog.identity import settle
from s4c_hpc.catalog.index import Entry


def make(name: str, tile: str, path: str, status: str = OK, sensor: str = "s2", revision: str = "") -> Entry:
    """A Sentinel-2 product, or with a revision one of a declared set, as its reader makes it."""
    product = Product(
        id=name,
        source="geotiff" if revision else "sentinel2-l2a",
        sensor=sensor,
        platform="",
        tile=tile,
        datetime=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        baseline=None if revision else "05.09",
        size_bytes=1,
        datatake="" if revision else name,
        revision="" if status == BROKEN else revision,
        status=status,
        reason="" if status == OK else "truncated",
    )
    return Entry(product=product, native_id=name, path=path, fingerprint="")


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    paths = draw(st.lists(st.integers(0, 99).map("/p{:02d}".format), max_size=10, unique=True))
    names, tiles = st.sampled_from(["A", "B"]), st.sampled_from(["32UPU", "33UUP", "A"])
    status, sensors, revisions = st.sampled_from([OK, OK, BROKEN]), st.sampled_from(["s2", "l8"]), st.sampled_from("12")
    return [
        make(draw(names), draw(tiles), path, draw(status))
        if draw(st.booleans())
        else make(draw(names), draw(tiles), path, draw(status), draw(sensors), draw(revisions))
        for path in paths
    ]


def what_it_is(entry: Entry) -> tuple[str, ...]:
    product = entry.product
    return (entry.native_id, product.source, product.sensor, product.tile, product.revision)


@given(entries(), st.randoms())
def test_neither_order_nor_an_earlier_judgement_matters(found: list[Entry], random: Random) -> None:
    settled = settle(found)
    shuffled = settle(found)  # what an index would hold of an earlier scan ...
    random.shuffle(shuffled)  # ... in another order
    assert settle(shuffled) == settled


@given(entries(), st.data())
def test_what_is_gone_leaves_no_trace(found: list[Entry], data: st.DataObject) -> None:
    kept = [entry for entry in settle(found) if data.draw(st.booleans())]
    paths = {entry.path for entry in kept}
    assert settle(kept) == settle([entry for entry in found if entry.path in paths])


@given(entries())
def test_ids_are_unique_and_one_of_each_acquisition_is_used(found: list[Entry]) -> None:
    settled = settle(found)
    ids = [entry.product.id for entry in settled]
    assert len(set(ids)) == len(ids) == len(found)
    usable = [what_it_is(e) for e in settled if e.product.status == OK]
    assert len(set(usable)) == len(usable)
    assert set(usable) == {what_it_is(e) for e in found if e.product.status == OK}
    for entry in settled:
        assert bool(entry.product.reason) == (entry.product.status != OK)


def test_three_copies_get_three_ids() -> None:
    first, second, third = settle([make("A", "32UPU", path) for path in ("/a", "/b", "/c")])
    assert [e.product.id for e in (first, second, third)] == ["A", "A.copy", "A.copy2"]
    assert [e.product.status for e in (first, second, third)] == [OK, SUPERSEDED, SUPERSEDED]
    assert third.product.reason == "another copy of A, which is at /a"
    assert replace(third.as_read(), id="A") == first.product


@given(entries(), st.randoms())
def test_the_key_of_what_is_used_does_not_depend_on_where_it_lies(found: list[Entry], random: Random) -> None:
    def keys(settled: list[Entry]) -> set[str]:
        return {e.product.key for e in settled if e.product.status == OK}

    paths = [entry.path for entry in found]
    random.shuffle(paths)
    assert keys(settle([replace(e, path=path) for e, path in zip(found, paths, strict=True)])) == keys(settle(found))


def test_equal_names_are_told_apart_by_sensor_tile_and_content() -> None:
    def ids(*found: Entry) -> list[str]:
        return [e.product.id for e in sorted(settle(found), key=lambda e: e.path) if e.product.status == OK]

    one = make("A", "T", "/1", revision="r1")
    assert ids(one, make("A", "U", "/2", revision="r1")) == ["A-s2-T", "A-s2-U"]
    assert ids(one, make("A", "T", "/2", sensor="l8", revision="r1")) == ["A-s2-T", "A-l8-T"]
    assert ids(one, make("A", "T", "/2", revision="r2")) == ["A-s2-T-r1", "A-s2-T-r2"]
    assert ids(one, make("A", "T", "/2", revision="r2"), make("A", "U", "/3", revision="r1")) == [
        "A-s2-T-r1",
        "A-s2-T-r2",
        "A-s2-U",
    ]
    assert ids(one, make("A", "T", "/2", revision="r1")) == ["A"]
    assert ids(one, make("A", "U", "/2", revision="r1"), make("A-s2-T", "T", "/3", revision="r9")) == [
        "A-s2-T2",
        "A-s2-U",
        "A-s2-T",
    ]
