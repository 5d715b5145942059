"""Which of several processings of one acquisition counts."""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from s4c_hpc.catalog.model import OK, SUPERSEDED, Product

_ONE_PASS = dt.timedelta(minutes=50)
"""A satellite is back over a tile after 100 minutes at the earliest; a datatake begins half an hour before at most."""

_TIERS = {"RT": 1, "T2": 2, "T1": 3}
"""Of Landsat: real time, then what could be located less well and well."""

_EARLIEST = dt.datetime.min.replace(tzinfo=dt.UTC)


def supersede(products: Iterable[Product]) -> list[Product]:
    """The same products in the same order, with all but one processing of each acquisition superseded.

    Of the products of one source and sensor that share datatake and tile, the one with the newest processing baseline
    stays (of Landsat's, tier 1 before tier 2 before real time), then the one generated last, then the last id. Broken
    products neither win nor lose: a good old processing serves as long as the new one cannot be read. Products whose
    source tells no datatake are left alone. The result does not depend on the order.
    """
    rows = list(products)
    winners: dict[tuple[str, ...], Product] = {}
    for product in rows:
        if _competes(product):
            current = winners.get(_acquisition(product))
            if current is None or _newness(product) > _newness(current):
                winners[_acquisition(product)] = product
    return [_judged(p, winners[_acquisition(p)]) if _competes(p) else p for p in rows]


def prefer_sources(products: Iterable[Product], kinds: Sequence[str]) -> list[Product]:
    """The same products in the same order, each acquisition kept from one kind of source only.

    Sen2Cor and MAJA make products of the same acquisition, with other times in their metadata: that of the datatake,
    or that of the tile. Counted twice it would be two columns of one day.

    Parameters
    ----------
    kinds : of sources, the preferred one first; of others none is left out
    """
    rows = list(products)
    seen: dict[tuple[str, ...], list[tuple[int, Product]]] = defaultdict(list)
    for product in rows:
        if product.status == OK and product.platform and product.source in kinds:
            seen[_sight(product)].append((kinds.index(product.source), product))
    return [_twice(product, seen[_sight(product)], kinds) if product.status == OK else product for product in rows]


def baseline_number(baseline: str | None) -> tuple[int, ...]:
    """``05.09`` as ``(5, 9)``; empty, and so the oldest, where there is none."""
    return tuple(int(part) for part in re.findall(r"\d+", baseline or ""))


def _sight(product: Product) -> tuple[str, ...]:
    return (product.sensor, product.platform, product.tile)


def _twice(product: Product, seen: Sequence[tuple[int, Product]], kinds: Sequence[str]) -> Product:
    """Superseded if a preferred source has the same acquisition."""
    rank = kinds.index(product.source) if product.source in kinds else 0
    better = [
        (other_rank, other.id)
        for other_rank, other in seen
        if other_rank < rank and abs(other.datetime - product.datetime) < _ONE_PASS
    ]
    if not better:
        return product
    first, other_id = min(better)
    reason = f"superseded by {other_id} (the same acquisition from {kinds[first]}, which [[sources]] names first)"
    return replace(product, status=SUPERSEDED, reason=reason)


def _competes(product: Product) -> bool:
    return product.status == OK and product.datatake != ""


def _acquisition(product: Product) -> tuple[str, ...]:
    return (product.source, product.sensor, product.tile, product.datatake)


def _processing(product: Product) -> tuple[int, tuple[int, ...]]:
    """Rank of a processing: the tier of Landsat's (its baselines are called ``02-T1``), then the baseline's number."""
    number, _, tier = (product.baseline or "").partition("-")
    return _TIERS.get(tier, 0), baseline_number(number)


def _newness(product: Product) -> tuple[tuple[int, tuple[int, ...]], dt.datetime, str]:
    return (_processing(product), product.generation_time or _EARLIEST, product.id)


def _judged(product: Product, winner: Product) -> Product:
    if winner.id == product.id:
        return product
    if _processing(winner) > _processing(product):
        why = f"baseline {winner.baseline} instead of {product.baseline or 'none'}"
    else:
        why = "generated later" if winner.generation_time != product.generation_time else "the same processing"
    return replace(product, status=SUPERSEDED, reason=f"superseded by {winner.id} ({why})")
