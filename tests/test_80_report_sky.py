"""From pixel counts to the state of the sky."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.config import Category
from s4c_hpc.report.sky import CATEGORIES, Sky, sky_states, usable_columns, usable_share

COUNTS = st.lists(st.integers(0, 50), min_size=len(CATEGORIES), max_size=len(CATEGORIES))
DEFAULT = (Category.VALID, Category.WATER)


def plain_state(counts: dict[Category, int], use: tuple[Category, ...]) -> Sky:
    """The rule of the legend, one parcel at a time."""
    total = sum(counts.values())
    if total == 0:
        return Sky.NODATA
    share = sum(counts[c] for c in use) / total
    if share >= 0.9:
        return Sky.CLEAR
    if share >= 0.1:
        return Sky.PARTLY
    blocked = {c: n for c, n in counts.items() if c not in use}
    worst = max(blocked, key=lambda c: blocked[c])
    names = {Category.CLOUD: Sky.CLOUD, Category.SHADOW: Sky.SHADOW, Category.SNOW: Sky.SNOW}
    names |= {Category.SATURATED: Sky.SATURATED, Category.NODATA: Sky.NODATA}
    return names.get(worst, Sky.CLEAR)


@given(st.lists(COUNTS, min_size=1, max_size=20), st.sets(st.sampled_from(list(Category))))
def test_states_follow_the_rule(rows: list[list[int]], more: set[Category]) -> None:
    use = (Category.VALID, Category.WATER, *sorted(more - {Category.NODATA, *DEFAULT}))
    states = sky_states(np.array(rows), usable_columns(use))
    assert [Sky(s) for s in states] == [plain_state(dict(zip(CATEGORIES, r, strict=True)), use) for r in rows]


def test_every_category_is_stacked_once() -> None:
    assert sorted(CATEGORIES) == sorted(Category)


def test_a_share_of_nothing_is_unknown() -> None:
    share = usable_share(np.zeros((2, len(CATEGORIES))), usable_columns(DEFAULT))
    assert np.isnan(share).all()


def test_summed_coverage_counts_like_pixels() -> None:
    counts = np.zeros(len(CATEGORIES))
    counts[CATEGORIES.index(Category.VALID)], counts[CATEGORIES.index(Category.CLOUD)] = 2.7, 0.3
    assert usable_share(counts, usable_columns(DEFAULT)) == pytest.approx(0.9)


def test_every_state_has_a_name_and_an_explanation() -> None:
    assert len({s.label for s in Sky}) == len(Sky)
    assert all(s.explanation for s in Sky)
