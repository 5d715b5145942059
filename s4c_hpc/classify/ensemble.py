"""Two opinions on each parcel, pooled: extremely randomised trees, and discriminant analysis in a kernel space.

Trees judge features one at a time and are sure of the frequent classes; discriminant analysis weighs all dates
together by how they vary within a class, and so tells rare classes apart that share most of their season (pasture and
meadow). Where one is blind the other often sees.

Sources: Geurts, Ernst & Wehenkel 2006, doi 10.1007/s10994-006-6226-1 (extremely randomised trees); Baudat & Anouar
2000, doi 10.1162/089976600300014980 (discriminant analysis with kernels); Williams & Seeger 2001, NIPS 13 (Nystroem's
approximation); Ledoit & Wolf 2004, doi 10.1016/S0047-259X(03)00096-4 (shrunken covariance); Genest & Zidek 1986, doi
10.1214/ss/1177013825 (logarithmic opinion pool).
"""

from __future__ import annotations

from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.covariance import ledoit_wolf
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from s4c_hpc.classify.size import DISCRIMINANT_ROWS, FOREST_BYTES
from s4c_hpc.core.errors import InputError

Floats = NDArray[np.float64]

LANDMARKS: Final = 500
"""Rows that others are compared with, at most."""
ROWS_PER_LANDMARK: Final = 4
"""Rows a landmark at least: with as many landmarks as rows the discriminant learns the rows by heart (650 rows: half
a point of accuracy)."""
GAMMA: Final = 0.25
"""Of the Gaussian kernel, times the number of features: two parcels that differ by one standard deviation in every
feature have kernel 0.78."""
DISCRIMINANT_WEIGHT: Final = 0.25
"""Exponent of the discriminant's probabilities. Normal distributions fitted to few rows in many dimensions make it far
too sure; a vote of trees errs on the side of doubt. 1/8 to 1/2 pool about as well."""
FLOOR: Final = 2e-3
"""Added to probabilities before the logarithm: no tree voting for a class is about one vote in 500, not impossible."""
BLOCK_ROWS: Final = 1024
"""Rows that are judged together, always padded to this number, so that a parcel gets the same bits whoever stands
beside it."""


class CropEnsemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Geometric mean of extremely randomised trees and a kernel discriminant.

    Parameters
    ----------
    n_trees : trees of the forest
    min_node : nodes with fewer rows are not split
    seed : of the trees and of the choice of landmarks
    n_landmarks, discriminant_weight, max_rows, forest_bytes : as the constants of this module
    n_jobs : threads that grow trees; the model does not depend on it

    Attributes
    ----------
    classes_ : (n_classes,) labels, ascending
    feature_importances_ : (n_features,) of the trees, mean decrease of impurity, sum 1

    Notes
    -----
    Features may be NaN, also in all rows of a fit: each split of a tree has a side for such rows, the
    discriminant takes the median of the fit. Memory is bounded: trees by ``forest_bytes``, the discriminant by
    ``max_rows``, some 50 kB a row at 600 features.
    """

    def __init__(
        self,
        *,
        n_trees: int = 300,
        min_node: int = 2,
        seed: int = 0,
        n_landmarks: int = LANDMARKS,
        discriminant_weight: float = DISCRIMINANT_WEIGHT,
        max_rows: int = DISCRIMINANT_ROWS,
        forest_bytes: int = FOREST_BYTES,
        n_jobs: int | None = None,
    ) -> None:
        self.n_trees = n_trees
        self.min_node = min_node
        self.seed = seed
        self.n_landmarks = n_landmarks
        self.discriminant_weight = discriminant_weight
        self.max_rows = max_rows
        self.forest_bytes = forest_bytes
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803 - scikit-learn's name
        """Learn from features (n_rows, n_features), NaN where unknown, and labels (n_rows,).

        Raises
        ------
        InputError
            If there is one class only.
        ValueError
            If a feature is infinite, or nothing is left to learn from (scikit-learn's own words).
        """
        rows, labels = validate_data(self, X, y, dtype=np.float32, ensure_all_finite="allow-nan")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"one class only ({self.classes_[0]}), nothing to tell apart", hint="select at least two")
        with threadpool_limits(1, "blas"):  # first, so that its working memory is free again when the trees grow
            self._fit_discriminant(rows, codes)
        self.forest_ = ExtraTreesClassifier(
            self.n_trees,
            min_samples_split=max(2, self.min_node),
            max_leaf_nodes=self._most_leaves(len(rows)),
            random_state=self.seed,
            n_jobs=self.n_jobs,
        ).fit(rows, codes)
        self.forest_.set_params(n_jobs=None)  # no part of the model
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:  # noqa: N803
        """Probabilities (n_rows, n_classes); a row's do not depend on the other rows, bit for bit."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float32, ensure_all_finite="allow-nan", reset=False)
        pooled = np.log(self.forest_probabilities(rows) + FLOOR)
        with threadpool_limits(1, "blas"):  # sums in the same order whatever the cores
            pooled += self.discriminant_weight * np.log(self.discriminant_probabilities(rows) + FLOOR)
        return _shares(pooled)

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Most probable labels (n_rows,); the first of ``classes_`` where two are equal."""
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    @property
    def feature_importances_(self) -> Floats:
        """Mean decrease of impurity over the trees (n_features,); the discriminant has no such figure."""
        check_is_fitted(self)
        importances: Floats = self.forest_.feature_importances_
        return importances

    def __sklearn_tags__(self) -> Any:
        """Say that NaN is welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def forest_probabilities(self, rows: NDArray[np.float32]) -> Floats:
        """Mean vote of the trees (n_rows, n_classes).

        One tree after the other: scikit-learn's threads add them up in any order, which changes the last bits.
        """
        total = np.zeros((len(rows), len(self.classes_)))
        for tree in self.forest_.estimators_:
            total += tree.predict_proba(rows, check_input=False)
        return total / len(self.forest_.estimators_)

    def _most_leaves(self, n_rows: int) -> int | None:
        """Leaves that a tree may have within ``forest_bytes``; None if it has too few rows for so many."""
        node_bytes = 64 + 8 * len(self.classes_)
        most = self.forest_bytes // (2 * node_bytes * self.n_trees)
        return None if n_rows <= most else max(2, most)

    def _fit_discriminant(self, rows: NDArray[np.float32], codes: NDArray[np.intp]) -> None:
        rng = np.random.default_rng(self.seed)
        kept = _thinned(codes, self.max_rows, rng)
        rows, kept_codes = rows[kept], codes[kept]
        self.scaling_: Pipeline = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
        )
        scaled = self.scaling_.fit_transform(rows.astype(np.float64))
        n_landmarks = min(self.n_landmarks, -(-len(scaled) // ROWS_PER_LANDMARK))
        landmarks = np.sort(rng.choice(len(scaled), n_landmarks, replace=False))
        self.kernel_ = Nystroem(gamma=GAMMA / scaled.shape[1], n_components=n_landmarks, random_state=self.seed)
        self.kernel_.fit(scaled[landmarks])
        mapped = np.hstack([self.kernel_.transform(scaled), scaled])
        counts = np.bincount(kept_codes)
        means = np.eye(len(self.classes_))[kept_codes].T @ mapped / counts[:, None]
        mapped -= means[kept_codes]
        spread = np.sqrt(np.einsum("rf,rf->f", mapped, mapped) / len(mapped))
        spread[spread == 0] = 1.0
        mapped /= spread
        covariance, self.shrinkage_ = ledoit_wolf(mapped, assume_centered=True)
        means /= spread
        slopes = np.linalg.lstsq(covariance, means.T)[0]
        self.coef_: Floats = slopes / spread[:, None]
        priors = np.bincount(codes) / len(codes)
        self.intercept_: Floats = np.log(priors) - 0.5 * np.einsum("cf,fc->c", means, slopes)

    def discriminant_probabilities(self, rows: NDArray[np.float32]) -> Floats:
        """Posterior of the discriminant (n_rows, n_classes), before it is pooled; too sure of itself."""
        scores = np.empty((len(rows), len(self.classes_)))
        block = np.zeros((BLOCK_ROWS, rows.shape[1]))
        for first in range(0, len(rows), BLOCK_ROWS):
            part = rows[first : first + BLOCK_ROWS]
            block[: len(part)] = part
            scaled = self.scaling_.transform(block)
            mapped = np.hstack([self.kernel_.transform(scaled), scaled])
            scores[first : first + len(part)] = (mapped @ self.coef_ + self.intercept_)[: len(part)]
        return _shares(scores)


def make_ensemble(seed: int, n_trees: int = 300, min_node: int = 2) -> CropEnsemble:
    """Ensemble of this module, not fitted."""
    return CropEnsemble(n_trees=n_trees, min_node=min_node, seed=seed)


def _shares(logs: Floats) -> Floats:
    """Exponentials that sum to 1 over the classes, from logarithms (n_rows, n_classes)."""
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _thinned(codes: NDArray[np.intp], max_rows: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows to keep, ascending: all if they are few, else those of the largest classes are thinned first."""
    if len(codes) <= max_rows:
        return np.arange(len(codes))
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    rank_in_class = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[np.argsort(rank_in_class, kind="stable")[:max_rows]])
