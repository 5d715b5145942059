"""Accuracies against scikit-learn, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from s4c_hpc.classify.metrics import calibration, measure, wilson

NAMES = ("a", "b", "c", "d")
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0.1, 9)), min_size=2, max_size=60)


@given(PAIRS)
@settings(deadline=None, max_examples=80)
def test_metrics_are_those_of_scikit_learn(rows: list[tuple[int, int, float]]) -> None:
    declared, predicted = (np.array([row[i] for row in rows], np.intp) for i in range(2))
    weights = np.array([row[2] for row in rows])
    for w in (None, weights):
        found = measure(declared, predicted, NAMES, w)
        keys = {"sample_weight": w}
        assert found.confusion == pytest.approx(
            oracle.confusion_matrix(declared, predicted, labels=range(4), sample_weight=w)
        )
        assert found.accuracy == pytest.approx(oracle.accuracy_score(declared, predicted, **keys))
        there = sorted(set(declared.tolist()))
        f1 = oracle.f1_score(declared, predicted, labels=there, average="macro", zero_division=0, **keys)
        assert found.macro_f1 == pytest.approx(f1)
        precision, recall, _, _ = oracle.precision_recall_fscore_support(
            declared, predicted, labels=range(4), zero_division=np.nan, **keys
        )
        assert found.users == pytest.approx(precision, nan_ok=True)
        assert found.producers == pytest.approx(recall, nan_ok=True)
        if len({*declared.tolist(), *predicted.tolist()}) > 1:
            assert found.kappa == pytest.approx(oracle.cohen_kappa_score(declared, predicted, **keys), abs=1e-9)


def test_kappa_of_one_class_is_not_known() -> None:
    assert np.isnan(measure(np.zeros(5, np.intp), np.zeros(5, np.intp), NAMES).kappa)


def test_calibration_is_that_of_scikit_learn_and_its_error_by_hand() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, 500)
    is_right = rng.uniform(0, 1, 500) < confidence**2
    found = calibration(confidence, is_right)
    share, mean = calibration_curve(is_right, confidence, n_bins=10)
    there = found.n > 0
    assert found.correct[there] == pytest.approx(share)
    assert found.confidence[there] == pytest.approx(mean)
    number = np.minimum((confidence * 10).astype(int), 9)
    by_hand = sum(
        abs(confidence[number == i].sum() - is_right[number == i].sum()) / 500 for i in range(10) if (number == i).any()
    )
    assert found.ece == pytest.approx(by_hand)


def test_full_confidence_belongs_to_the_last_bin() -> None:
    found = calibration(np.array([1.0, 0.0]), np.array([True, False]))
    assert (found.n[9], found.n[0]) == (1, 1)
    assert found.ece == 0


def test_intervals_hold_the_number_and_shrink_with_parcels() -> None:
    rng = np.random.default_rng(1)
    widths = []
    for n in (50, 5000):
        declared = rng.integers(0, 4, n).astype(np.intp)
        predicted = np.where(rng.uniform(size=n) < 0.8, declared, rng.integers(0, 4, n)).astype(np.intp)
        found = measure(declared, predicted, NAMES)
        spans = found.intervals(seed=2)
        assert spans == found.intervals(seed=2)
        for key, (low, high) in spans.items():
            assert low < getattr(found, key) < high
        widths.append(spans["kappa"][1] - spans["kappa"][0])
    assert widths[1] < widths[0] / 5


def test_wilson_is_that_of_the_literature() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I, 81/263
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
