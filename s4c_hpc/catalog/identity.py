"""Ids that tell products apart, and one processing of each acquisition: how rows are judged against each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from s4c_hpc.catalog.index import Entry
from s4c_hpc.catalog.model import BROKEN, OK, SUPERSEDED
from s4c_hpc.catalog.supersede import prefer_sources, supersede


def settle(entries: Iterable[Entry], kinds: Sequence[str] = ()) -> list[Entry]:
    """Entries with unique ids and with copies and older processings superseded.

    Depends on the set of entries only: not on their order, nor on what an earlier scan had made of them. An id depends
    on what the products of that name are, and not on where they lie, so that a moved archive keeps its ids.

    Parameters
    ----------
    kinds : of sources, by preference where several have the same acquisition; none is left out for that if not given
    """
    as_read = [replace(entry, product=entry.as_read()) for entry in entries]
    # Copies: a whole one before a broken one, the larger one before the smaller, then by path.
    ordered = sorted(as_read, key=lambda e: (e.native_id, e.product.status == BROKEN, -e.product.size_bytes, e.path))
    named: dict[str, dict[tuple[str, ...], list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in ordered:
        named[entry.native_id][_content(entry)].append(entry)
    taken = set(named)
    unique: list[Entry] = []
    for native_id, contents in named.items():
        for label, copies in zip(_labels(native_id, list(contents.values())), contents.values(), strict=True):
            first_id = label if label == native_id else _free(label, taken)
            unique += [_as_copy(copy, first_id, copies[0], taken) for copy in copies]
    judged = prefer_sources(supersede(entry.product for entry in unique), kinds)
    return [replace(entry, product=product) for entry, product in zip(unique, judged, strict=True)]


def _content(entry: Entry) -> tuple[str, ...]:
    """Equal for copies of one product.

    A product with a datatake has a name of its own, made by whoever processed it. Others are named by the site: copies
    are equal in size and content, and of a broken one it is not known what it would be a copy of.
    """
    product = entry.product
    where = (product.source, product.sensor, product.tile)
    if product.datatake:
        return where
    return (*where, str(product.size_bytes), product.revision, entry.path if product.status == BROKEN else "")


def _labels(native_id: str, groups: list[list[Entry]]) -> list[str]:
    """An id for each product of a name: the name if there is but one, else with sensor and tile, else with content."""
    if len(groups) == 1:
        return [native_id]
    products = [copies[0].product for copies in groups]
    labels = [f"{native_id}-{product.sensor}-{product.tile}" for product in products]
    n = Counter(labels)
    return [
        label if n[label] == 1 else f"{label}-{product.revision or product.source}"
        for label, product in zip(labels, products, strict=True)
    ]


def _as_copy(entry: Entry, first_id: str, first: Entry, taken: set[str]) -> Entry:
    """The entry with its id; superseded unless it is the first of the copies."""
    if entry is first:
        return replace(entry, product=replace(entry.product, id=first_id))
    copy = replace(entry.product, id=_free(f"{first_id}.copy", taken))
    if copy.status == OK:
        copy = replace(copy, status=SUPERSEDED, reason=f"another copy of {first_id}, which is at {first.path}")
    return replace(entry, product=copy)


def _free(wanted: str, taken: set[str]) -> str:
    """``wanted``, or with a number if it is taken; taken from now on."""
    number, candidate = 1, wanted
    while candidate in taken:
        number += 1
        candidate = f"{wanted}{number}"
    taken.add(candidate)
    return candidate
