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


def make(name: str, tile: str, path: str, status: str = OK) -> Entry:
    product = Product(
        id=name,
        source="sentinel2-l2a",
        sensor="s2",
        platform="",
        tile=tile,
        datetime=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        baseline="05.09",
        size_bytes=1,
        datatake=name,
        status=status,
        reason="" if status == OK else "truncated",
    )
    return Entry(product=product, native_id=name, path=path, fingerprint="")


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    paths = draw(st.lists(st.integers(0, 99).map("/p{:02d}".format), max_size=10, unique=True))
    names, tiles = st.sampled_from(["A", "B"]), st.sampled_from(["32UPU", "33UUP", "A"])
    return [make(draw(names), draw(tiles), path, draw(st.sampled_from([OK, OK, BROKEN]))) for path in paths]


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
    usable = [(e.native_id, e.product.tile) for e in settled if e.product.status == OK]
    assert len(set(usable)) == len(usable)
    assert set(usable) == {(e.native_id, e.product.tile) for e in found if e.product.status == OK}
    for entry in settled:
        assert bool(entry.product.reason) == (entry.product.status != OK)


def test_three_copies_get_three_ids() -> None:
    first, second, third = settle([make("A", "32UPU", path) for path in ("/a", "/b", "/c")])
    assert [e.product.id for e in (first, second, third)] == ["A", "A.copy", "A.copy2"]
    assert [e.product.status for e in (first, second, third)] == [OK, SUPERSEDED, SUPERSEDED]
    assert third.product.reason == "another copy of A, which is at /a"
    assert replace(third.as_read(), id="A") == first.product
