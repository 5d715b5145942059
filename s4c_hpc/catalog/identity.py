"""Ids that tell products apart, and one processing of each acquisition: how rows are judged against each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from s4c_hpc.catalog.index import Entry
from s4c_hpc.catalog.model import BROKEN, OK, SUPERSEDED, Product
from s4c_hpc.catalog.supersede import supersede


def settle(entries: Iterable[Entry]) -> list[Entry]:
    """Entries with unique ids and with copies and older processings superseded.

    Depends on the set of entries only: not on their order, nor on what an earlier scan had made of them.
    """
    as_read = [replace(entry, product=entry.as_read()) for entry in entries]
    # A whole copy before a broken one, then by path.
    ordered = sorted(as_read, key=lambda e: (e.native_id, e.product.status == BROKEN, e.path))
    first: dict[str, Entry] = {}
    unique: list[Entry] = []
    for entry in ordered:
        taken = first.get(entry.native_id)
        product = entry.product if taken is None else _told_apart(entry.product, taken, set(first))
        first[product.id] = entry
        unique.append(replace(entry, product=product))
    judged = supersede(entry.product for entry in unique)
    return [replace(entry, product=product) for entry, product in zip(unique, judged, strict=True)]


def _told_apart(product: Product, taken: Entry, ids: set[str]) -> Product:
    """A product whose id is taken: a copy, or another acquisition with the same file name."""
    other = taken.product
    if (product.source, product.sensor, product.tile) != (other.source, other.sensor, other.tile):
        return replace(product, id=_free(f"{product.id}-{product.sensor}-{product.tile}", ids))
    copy = replace(product, id=_free(f"{product.id}.copy", ids))
    if copy.status == OK:
        copy = replace(copy, status=SUPERSEDED, reason=f"another copy of {other.id}, which is at {taken.path}")
    return copy


def _free(wanted: str, ids: set[str]) -> str:
    number, candidate = 1, wanted
    while candidate in ids:
        number += 1
        candidate = f"{wanted}{number}"
    return candidate
