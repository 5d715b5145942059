"""Sampling regimes against their numbers, and SMOTE: how many, between whom, and never from parcels that validate."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_78_classify_selection import declared

from s4c_hpc.classify.sampling import TrainingSet, draw, n_taught, sizes, training_set
from s4c_hpc.classify.selection import select
from s4c_hpc.classify.stratum import judge
from s4c_hpc.config.classify import Classify

REFERENCE = Classify()
SMALL = frozenset({"a", "b", "small", "tiny", "alone"})


@pytest.mark.parametrize(
    ("n_best", "taught"),
    [
        (10_000, 2500),  # a quarter of a large class
        (4000, 1000),
        (3999, 1000),  # exactly the target between
        (1333, 1000),
        (1332, 999),  # three quarters of a small one
        (100, 75),
        (3, 2),
        (2, 1),  # one stays for validation
        (1, 1),
    ],
)
def test_as_many_parcels_of_a_class_teach_as_in_the_reference(n_best: int, taught: int) -> None:
    assert n_taught(n_best, REFERENCE) == taught


def test_without_sampling_all_that_can_teach_do() -> None:
    assert n_taught(10_000, Classify(sampling="none")) == 10_000


def test_rows_are_drawn_of_the_best_only_and_the_same_each_time() -> None:
    labels = np.array(["a"] * 400 + ["b"] * 100, object)
    best = np.arange(500) % 2 == 0
    wanted = sizes(labels, best, ("a", "b"), REFERENCE)
    rows = draw(labels, best, wanted, 42)
    assert wanted == {"a": 150, "b": 38}
    assert Counter(labels[rows].tolist()) == wanted
    assert best[rows].all()
    assert np.all(np.diff(rows) > 0)
    assert np.array_equal(rows, draw(labels, best, wanted, 42))
    assert not np.array_equal(rows, draw(labels, best, wanted, 43))


def test_who_is_drawn_of_a_class_does_not_depend_on_the_size_of_another() -> None:
    labels = np.array(["a"] * 40 + ["b"] * 40, object)
    of_a = draw(labels, np.ones(80, bool), {"a": 20, "b": 20}, 1)
    assert np.array_equal(of_a[:20], draw(labels, np.ones(80, bool), {"a": 20, "b": 3}, 1)[:20])


def random_rows(counts: dict[str, int], p: int = 4) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
    labels = np.array([name for name, n in counts.items() for _ in range(n)], object)
    return np.random.default_rng(7).normal(size=(labels.size, p)).astype(np.float32), labels


def test_smote_fills_small_classes_up_to_the_target_and_leaves_the_others() -> None:
    values, labels = random_rows({"large": 60, "small": 12, "tiny": 3, "alone": 1})
    found = training_set(values, labels, SMALL, Classify(smote_target=40))
    assert found.n_real == 76
    assert np.array_equal(found.values[:76], values)
    assert Counter(found.labels.tolist()) == {"large": 60, "small": 40, "tiny": 40, "alone": 1}


def test_made_up_rows_lie_between_two_rows_of_their_class() -> None:
    values, labels = random_rows({"a": 30, "b": 4})
    found = training_set(values, labels, SMALL, Classify(smote_target=30))
    mine = values[labels == "b"].astype(np.float64)
    for row in found.values[found.n_real :].astype(np.float64):
        assert any(_is_between(row, one, other) for one in mine for other in mine)


def _is_between(row: NDArray[Any], one: NDArray[Any], other: NDArray[Any]) -> bool:
    span = other - one
    share = float((row - one) @ span / (span @ span)) if span.any() else 0.0
    return -1e-6 <= share <= 1 + 1e-6 and bool(np.allclose(one + share * span, row, atol=1e-5))


def test_gaps_stay_in_parcels_and_are_filled_for_smote_from_parcels_that_teach() -> None:
    values, labels = random_rows({"a": 30, "b": 8})
    values[0, 0] = values[31, 1] = np.nan
    values[:, 3] = np.nan
    found = training_set(values, labels, SMALL, Classify(smote_target=30))
    assert np.array_equal(found.values[: found.n_real], values, equal_nan=True)
    patterns = {tuple(np.isnan(row)) for row in values[labels == "b"]}
    assert {tuple(np.isnan(row)) for row in found.values[found.n_real :]} <= patterns


def leaky(everything: NDArray[np.float32], every_label: NDArray[np.object_]) -> Any:
    """A training set that cheats: rows are made up between all parcels, whoever teaches."""

    def make(
        values: NDArray[np.float32], labels: NDArray[np.object_], small: frozenset[str], config: Classify
    ) -> TrainingSet:
        whole = training_set(everything, every_label, small, config)
        made_up = slice(whole.n_real, None)
        return TrainingSet(
            np.concatenate([values, whole.values[made_up]]),
            np.concatenate([labels, whole.labels[made_up]]),
            len(labels),
        )

    return make


def seen_by_models(make: Any = None) -> list[tuple[TrainingSet, NDArray[np.bool_]]]:
    """What each model of a run was fitted to, and which rows of the matrix stand in it or were mixed into it.

    Every parcel has a feature of its own, 1 for it and 0 for all others: whatever is mixed from it shows there.
    """
    n = 24
    parcels = declared(n, label=np.array([("1", "2")[i % 2] for i in range(n)], object))
    values = np.eye(n, dtype=np.float32)
    config = Classify(class_min_parcels=3, trees=2, folds=3, smote_target=30, smote_k=3)
    selection = select(parcels, np.ones(n, bool), None, None, config)
    kept: list[tuple[TrainingSet, NDArray[np.bool_]]] = []

    def watched(
        rows: NDArray[np.float32], labels: NDArray[np.object_], small: frozenset[str], settings: Classify
    ) -> TrainingSet:
        found: TrainingSet = (make(values, parcels.label) if make else training_set)(rows, labels, small, settings)
        kept.append((found, np.asarray(rows.any(axis=0), np.bool_)))
        return found

    judge(values, parcels, selection, config, training=watched)
    return kept


def leaks(runs: list[tuple[TrainingSet, NDArray[np.bool_]]]) -> bool:
    """Whether a row that was not to teach a model has left a trace in what it was fitted to."""
    return any((found.values != 0).any(axis=0)[~taught].any() for found, taught in runs)


def test_smote_never_mixes_in_a_parcel_that_the_model_is_to_judge() -> None:
    runs = seen_by_models()
    assert len(runs) == 4  # the model itself, and one a fold
    assert all(found.n_real < len(found.labels) for found, _ in runs), "something is made up in every one"
    assert all((~taught).any() for _, taught in runs)
    assert not leaks(runs)


def test_the_test_above_would_see_a_leak() -> None:
    assert leaks(seen_by_models(leaky))
