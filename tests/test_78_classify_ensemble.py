"""The ensemble of trees and a kernel discriminant: same bits whatever runs it, NaN welcome, small classes and odd
columns harmless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

from s4c_hpc.classify.ensemble import CropEnsemble, make_ensemble
from s4c_hpc.classify.saved import TRUSTED
from s4c_hpc.core.errors import InputError


def season(n_rows: int = 400, *, missing: float = 0.0, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Crops with peaks on different days, over 24 dates; clover and meadow differ only in how two dates vary
    together."""
    rng = np.random.default_rng(seed)
    crops = np.array(["clover", "maize", "meadow", "wheat"])
    labels = rng.choice(crops, n_rows, p=[0.1, 0.3, 0.35, 0.25])
    peak = np.select([labels == "maize", labels == "wheat"], [17.0, 9.0], 13.0)
    days = np.arange(24.0)
    features = (
        np.exp(-(((days - peak[:, None]) / 5) ** 2))
        + rng.normal(0, 0.15, (n_rows, 24))
        + rng.normal(0, 0.3, (n_rows, 1))
    )
    features[:, 6] += np.where(labels == "clover", 0.4, 0.0)
    features[rng.random(features.shape) < missing] = np.nan
    return features.astype(np.float32), labels


def fitted(n_trees: int = 40, **options: Any) -> CropEnsemble:
    return CropEnsemble(n_trees=n_trees, **options).fit(*season(missing=0.1))


def test_a_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    unseen = season(seed=1)[0]
    first = fitted(seed=3).predict_proba(unseen)
    assert first.tobytes() == fitted(seed=3).predict_proba(unseen).tobytes()
    assert first.tobytes() != fitted(seed=4).predict_proba(unseen).tobytes()


def test_threads_change_nothing() -> None:
    unseen = season(seed=1)[0]
    one, two = fitted(n_jobs=1), fitted(n_jobs=2)
    assert one.predict_proba(unseen).tobytes() == two.predict_proba(unseen).tobytes()


def test_a_row_is_judged_the_same_alone_and_in_company() -> None:
    """Rows before and after would shift it into other registers of a matrix product, were blocks not padded."""
    model = fitted()
    unseen = season(3000, missing=0.1, seed=1)[0]
    together = model.predict_proba(unseen)
    assert model.predict_proba(unseen[::-1])[::-1].tobytes() == together.tobytes()
    for first, last in ((0, 1), (1023, 1026), (1500, 3000), (2999, 3000)):
        assert model.predict_proba(unseen[first:last]).tobytes() == together[first:last].tobytes()


def test_the_order_of_trees_does_not_come_from_threads() -> None:
    """The forest's own prediction adds trees up in threads; ours is its single-threaded sum."""
    model = fitted(n_jobs=2)
    unseen = season(seed=1)[0]
    total = sum(tree.predict_proba(unseen) for tree in model.forest_.estimators_) / 40
    assert np.array_equal(model.forest_probabilities(unseen), total)


def test_a_file_of_skops_gives_the_same_bits(tmp_path: Path) -> None:
    model = fitted()
    skops.io.dump(model, tmp_path / "model.skops")
    assert set(skops.io.get_untrusted_types(file=tmp_path / "model.skops")) <= TRUSTED
    again = skops.io.load(tmp_path / "model.skops", trusted=list(TRUSTED))
    unseen = season(missing=0.2, seed=1)[0]
    assert again.predict_proba(unseen).tobytes() == model.predict_proba(unseen).tobytes()
    assert list(again.classes_) == ["clover", "maize", "meadow", "wheat"]


def test_probabilities_sum_to_one_and_the_greatest_is_the_prediction() -> None:
    model = fitted()
    unseen = season(missing=0.1, seed=1)[0]
    shares = model.predict_proba(unseen)
    assert shares.shape == (400, 4)
    assert shares.min() > 0
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
    assert (model.predict(unseen) == model.classes_[shares.argmax(axis=1)]).all()


def test_it_beats_the_forest_where_dates_tell_classes_only_together() -> None:
    features, labels = season(600)
    ours, theirs = np.empty_like(labels), np.empty_like(labels)
    for train, test in StratifiedKFold(4, shuffle=True, random_state=0).split(features, labels):
        ours[test] = make_ensemble(0, 100).fit(features[train], labels[train]).predict(features[test])
        theirs[test] = (
            RandomForestClassifier(100, random_state=0).fit(features[train], labels[train]).predict(features[test])
        )
    assert f1_score(labels, ours, average="macro") > f1_score(labels, theirs, average="macro") + 0.05


def test_labels_without_meaning_are_not_learnt() -> None:
    features, labels = season(600)
    shuffled = np.random.default_rng(5).permutation(labels)
    model = make_ensemble(0, 50).fit(features[:300], shuffled[:300])
    commonest = np.unique(shuffled, return_counts=True)[1].max() / 600
    assert (model.predict(features[300:]) == shuffled[300:]).mean() < commonest + 0.05


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_a_class_of_few_rows_is_a_class(n_rows: int) -> None:
    features, labels = season(200)
    odd = np.full((n_rows, 24), 2.0, np.float32) + np.arange(n_rows, dtype=np.float32)[:, None] / 100
    model = make_ensemble(0, 50).fit(np.vstack([features, odd]), np.append(labels, ["rape"] * n_rows))
    assert "rape" in model.classes_
    assert np.isfinite(model.predict_proba(features)).all()
    assert model.predict(odd[:1]) == ["rape"]


def test_columns_that_say_nothing_are_harmless() -> None:
    """All missing, constant, infinite in size but not in type, and twice the same."""
    features, labels = season()
    odd = np.column_stack([features, np.full(400, np.nan), np.full(400, 7.0), features[:, 0] * 1e30, features[:, 1]])
    model = make_ensemble(0, 50).fit(odd, labels)
    assert np.isfinite(model.predict_proba(odd)).all()
    assert (model.predict(odd) == labels).mean() > 0.95
    seen_late = odd.copy()
    seen_late[:, 24] = 1.0
    assert np.isfinite(model.predict_proba(seen_late)).all()


def test_a_row_without_any_value_gets_probabilities() -> None:
    assert np.isfinite(fitted().predict_proba(np.full((1, 24), np.nan))).all()


def test_missing_values_cost_little() -> None:
    unseen, labels = season(800, missing=0.1, seed=1)
    assert (fitted().predict(unseen) == labels).mean() > 0.8


def test_labels_may_be_numbers_and_come_back_as_such() -> None:
    features, labels = season()
    codes = np.where(labels == "maize", 400, 115)
    model = make_ensemble(0, 20).fit(features, codes)
    assert set(model.predict(features)) == {400, 115}


def test_thinned_classes_keep_the_priors_of_all_rows() -> None:
    """Features that say nothing leave the prior; 600 of 3000 rows are 150 of each class."""
    labels = season(3000)[1]
    noise = np.random.default_rng(0).normal(size=(3000, 24)).astype(np.float32)
    thin = CropEnsemble(n_trees=2, max_rows=600).fit(noise, labels)
    posterior = thin.discriminant_probabilities(noise).mean(axis=0)
    assert posterior == pytest.approx([0.1, 0.3, 0.35, 0.25], abs=0.05)


def test_thinning_costs_little() -> None:
    features, labels = season(3000)
    unseen, truth = season(2000, seed=1)
    thin, full = (CropEnsemble(n_trees=20, max_rows=rows).fit(features, labels) for rows in (600, 3000))
    assert (thin.predict(unseen) == truth).mean() > (full.predict(unseen) == truth).mean() - 0.03


def test_importance_finds_the_dates_that_matter() -> None:
    features, labels = season(800)
    importance = make_ensemble(0, 60).fit(np.hstack([features, features[::-1]]), labels).feature_importances_
    assert importance.sum() == pytest.approx(1)
    assert importance[:24].sum() > 0.7


def test_one_class_is_refused_with_its_name() -> None:
    features, _ = season(20)
    with pytest.raises(InputError, match=r"one class only \(maize\)"):
        make_ensemble(0, 5).fit(features, np.full(20, "maize"))


def test_other_columns_than_those_learnt_are_refused() -> None:
    with pytest.raises(ValueError, match="24 features"):
        fitted().predict(np.zeros((1, 23)))


def test_infinity_is_refused() -> None:
    features, labels = season(50)
    features[3, 3] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        make_ensemble(0, 5).fit(features, labels)


def test_trees_keep_within_their_memory() -> None:
    features, labels = season(3000)
    shuffled = np.random.default_rng(0).permutation(labels)  # noise grows the largest trees
    bound = 40 * 200 * 96
    model = CropEnsemble(n_trees=40, forest_bytes=bound).fit(features, shuffled)
    trees = [tree.tree_.__getstate__() for tree in model.forest_.estimators_]
    assert 0.9 * bound < sum(tree["nodes"].nbytes + tree["values"].nbytes for tree in trees) <= bound
