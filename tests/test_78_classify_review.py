"""What a classification must not claim or learn: gaps, fields and parcels that a model has seen, forged models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_78_classify_selection import declared

from s4c_hpc.classify.sampling import TrainingSet, small_classes, training_set
from s4c_hpc.classify.selection import select
from s4c_hpc.classify.stratum import judge
from s4c_hpc.config.classify import Classify


def test_gaps_say_nothing_of_the_size_of_a_class() -> None:
    rng = np.random.default_rng(3)
    labels = np.array(["large"] * 400 + ["small"] * 40, object)
    values = rng.normal(size=(440, 10)).astype(np.float32)
    values[rng.uniform(size=values.shape) < 0.3] = np.nan
    config = Classify(smote_target=400)
    found = training_set(values, labels, frozenset({"small"}), config)
    rate = {name: np.isnan(found.values[found.labels == name]).mean() for name in ("large", "small")}
    assert (found.labels == "small").sum() == 400
    assert rate["small"] == pytest.approx(rate["large"], abs=0.05)
    again = training_set(values, labels, frozenset({"small"}), config)
    assert np.array_equal(found.values, again.values, equal_nan=True)


def test_what_is_made_up_follows_from_the_parcels_that_may_teach_in_folds_too() -> None:
    n = {"1": 21, "2": 19}  # of a class between large and small, and of a small one
    labels = np.array([name for name, k in n.items() for _ in range(k)], object)
    parcels = declared(40, label=labels)
    config = Classify(class_min_parcels=3, trees=2, folds=3, train_many=100, train_few=20, smote_target=19)
    values = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    selection = select(parcels, np.ones(40, bool), None, None, config)
    assert small_classes(labels, selection.is_best, ("1", "2"), config) == {"2"}
    kept: list[TrainingSet] = []

    def watched(*args: Any) -> TrainingSet:
        kept.append(training_set(*args))
        return kept[-1]

    judge(values, parcels, selection, config, training=watched)
    assert len(kept) == 4
    for one in kept:
        assert set(one.labels[one.n_real :].tolist()) == {"2"}
    assert min((one.labels[: one.n_real] == "1").sum() for one in kept) < 19, "a fold lends fewer than the target"


def test_a_small_class_is_not_filled_beyond_those_that_are_not_small() -> None:
    with pytest.raises(ValueError, match="smote_target is not smaller than train_few"):
        Classify(train_few=100, smote_target=100)
