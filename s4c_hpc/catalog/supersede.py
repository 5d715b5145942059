"""Which of several processings of one acquisition counts."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import replace

from s4c_hpc.catalog.model import OK, SUPERSEDED, Product

_EARLIEST = dt.datetime.min.replace(tzinfo=dt.UTC)


def supersede(products: Iterable[Product]) -> list[Product]:
    """The same products in the same order, with all but one processing of each acquisition superseded.

    Of the products of one source and sensor that share datatake and tile, the one with the newest processing baseline
    stays, then the one generated last, then the last id. Broken products neither win nor lose: a good old
    processing serves as long as the new one cannot be read. Products whose source tells no datatake are left alone.
    The result does not depend on the order.
    """
    rows = list(products)
    winners: dict[tuple[str, ...], Product] = {}
    for product in rows:
        if _competes(product):
            current = winners.get(_acquisition(product))
            if current is None or _newness(product) > _newness(current):
                winners[_acquisition(product)] = product
    return [_judged(p, winners[_acquisition(p)]) if _competes(p) else p for p in rows]


def baseline_number(baseline: str | None) -> tuple[int, ...]:
    """``05.09`` as ``(5, 9)``; empty, and so the oldest, where there is none."""
    return tuple(int(part) for part in re.findall(r"\d+", baseline or ""))


def _competes(product: Product) -> bool:
    return product.status == OK and product.datatake != ""


def _acquisition(product: Product) -> tuple[str, ...]:
    return (product.source, product.sensor, product.tile, product.datatake)


def _newness(product: Product) -> tuple[tuple[int, ...], dt.datetime, str]:
    return (baseline_number(product.baseline), product.generation_time or _EARLIEST, product.id)


def _judged(product: Product, winner: Product) -> Product:
    if winner.id == product.id:
        return product
    if baseline_number(winner.baseline) > baseline_number(product.baseline):
        why = f"baseline {winner.baseline} instead of {product.baseline or 'none'}"
    else:
        why = "generated later" if winner.generation_time != product.generation_time else "the same processing"
    return replace(product, status=SUPERSEDED, reason=f"superseded by {winner.id} ({why})")
