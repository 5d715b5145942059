"""No parcel is judged by a model that saw it, or that saw another row of its field."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_78_classify_selection import declared

from s4c_hpc.classify.folds import fold_numbers
from s4c_hpc.classify.selection import select
from s4c_hpc.classify.stratum import Judged, Role, judge
from s4c_hpc.config.classify import Classify


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=80), st.integers(2, 6))
@settings(deadline=None, max_examples=60)
def test_rows_of_a_field_are_in_one_part_and_parts_are_even(rows: list[tuple[str, int]], n_folds: int) -> None:
    labels = np.array([name for name, _ in rows], object)
    groups = np.array([f"F{g}" if g else "" for _, g in rows], object)  # 0: a row without an id
    folds = fold_numbers(labels, groups, n_folds, seed=1)
    assert folds.min() >= 0
    assert folds.max() < n_folds
    for group in set(groups.tolist()) - {""}:
        assert len(set(folds[groups == group].tolist())) == 1
    if len(set(groups.tolist())) == len(rows):
        for name in "abc":
            counts = np.bincount(folds[labels == name], minlength=n_folds)
            assert counts.max() - counts.min() <= 1


def judged(groups: NDArray[np.object_] | None = None) -> tuple[Judged, NDArray[np.object_]]:
    """Parcels whose features are noise: only a model that saw a parcel knows its class."""
    n = 240
    rng = np.random.default_rng(3)
    labels = np.array([("1", "2")[int(i)] for i in rng.integers(0, 2, n)], object)
    ids = np.array([f"F{i}" for i in range(n)], object) if groups is None else groups
    parcels = declared(n, label=labels, ori_id=ids)
    values = rng.normal(size=(n, 6)).astype(np.float32)
    if groups is not None:
        _, number = np.unique(groups.astype(str), return_inverse=True)
        values = values[number]  # rows of a field look alike
        labels[:] = labels[number]
    config = Classify(class_min_parcels=3, trees=30, min_node=2, folds=4, smote_target=1)
    selection = select(parcels, np.ones(n, bool), None, None, config)
    return judge(values, parcels, selection, config), labels


def right(found: Judged, labels: NDArray[np.object_], chances: NDArray[np.float64], role: Role) -> float:
    rows = found.role == role.value
    predicted = np.array(found.classes, object)[chances[rows].argmax(axis=1)]
    return float((predicted == labels[rows]).mean())


def test_parcels_that_teach_are_not_judged_by_the_model_that_they_taught() -> None:
    found, labels = judged()
    assert sum(found.n_taught.values()) == (found.role == Role.TRAINING.value).sum() == 180
    assert right(found, labels, found.chances, Role.TRAINING) < 0.65, "noise cannot be told apart but by memory"
    assert right(found, labels, found.chances_cv, Role.TRAINING) < 0.65
    assert right(found, labels, found.chances, Role.VALIDATION) < 0.7


def test_the_model_itself_would_know_them() -> None:
    """The figures above are not those of a model that learns nothing: it knows by heart whom it saw."""
    n = 240
    rng = np.random.default_rng(3)
    labels = np.array([("1", "2")[int(i)] for i in rng.integers(0, 2, n)], object)
    values = rng.normal(size=(n, 6)).astype(np.float32)
    found, again = judged()
    assert labels.tolist() == again.tolist()
    rows = found.role == Role.TRAINING.value
    assert (found.model.predict(values[rows]) == labels[rows]).mean() > 0.95


def test_rows_of_one_field_do_not_tell_of_each_other() -> None:
    groups = np.array([f"F{i // 4}" for i in range(240)], object)
    found, labels = judged(groups)
    related = found.role == Role.RELATED.value
    assert related.any(), "rows of a field of which another row teaches"
    taught = set(groups[found.role == Role.TRAINING.value].tolist())
    assert not taught & set(groups[found.role == Role.VALIDATION.value].tolist())
    for role in (Role.TRAINING, Role.RELATED):
        assert right(found, labels, found.chances, role) < 0.7


def test_everyone_chosen_is_judged_by_a_fold_and_nobody_else_is() -> None:
    found, _ = judged()
    assert not np.isnan(found.chances_cv).any()
    assert np.allclose(found.chances.sum(axis=1), 1)
