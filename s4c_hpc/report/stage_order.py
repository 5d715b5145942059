"""The order of stages in the report."""

from __future__ import annotations

from collections.abc import Iterable

_CHAIN = (
    *("mask", "index", "gather", "stats", "compact", "series", "merge"),
    *("features", "series-features", "classify", "confounders", "practices", "mowing"),
)
"""Stages in the order in which a reader thinks of them; others follow by name."""


def in_order(stages: Iterable[str]) -> list[str]:
    """Stages as a reader thinks of them."""
    return sorted(stages, key=lambda stage: (_CHAIN.index(stage) if stage in _CHAIN else len(_CHAIN), stage))
