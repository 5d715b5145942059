"""How good a classification is: accuracies, their intervals, and whether confidences can be believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_Z = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
_DRAWS = 2000
"""Confusion matrices that are drawn for an interval."""
N_BINS = 10
"""Bins of confidence."""


@dataclass(frozen=True, eq=False)
class Metrics:
    """What a confusion matrix says."""

    classes: tuple[str, ...]
    confusion: Floats
    """(c, c) parcels, or their weight: declared class by row, predicted one by column."""

    @property
    def n(self) -> float:
        """Parcels, or their weight."""
        return float(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share whose predicted class is the declared one."""
        return _ratio(np.trace(self.confusion), self.n)

    @property
    def kappa(self) -> float:
        """Agreement beyond that of chance (Cohen 1960, doi:10.1177/001316446002000104)."""
        return float(_kappa(self.confusion[None])[0])

    @property
    def macro_f1(self) -> float:
        """Mean of F1 over the declared classes."""
        return float(_macro_f1(self.confusion[None])[0])

    @property
    def users(self) -> Floats:
        """(c,) user's accuracy (precision): of those predicted as a class, the share declared as it; NaN for none."""
        return _shares(np.diagonal(self.confusion), self.confusion.sum(axis=0))

    @property
    def producers(self) -> Floats:
        """(c,) producer's accuracy (recall): of those declared as a class, the share predicted as it."""
        return _shares(np.diagonal(self.confusion), self.confusion.sum(axis=1))

    @property
    def f1(self) -> Floats:
        """(c,) F1 of each class; NaN for one that is neither declared nor predicted."""
        found: Floats = _f1(self.confusion[None])[0]
        return found

    def intervals(self, seed: int) -> dict[str, tuple[float, float]]:
        """95 % intervals, for counts: of accuracy Wilson's, of the others from matrices drawn at random.

        Notes
        -----
        Wilson 1927, doi:10.1080/01621459.1927.10502953; percentiles of a multinomial bootstrap for the others. Cells
        of declared classes get 1 / c^2 more (c declared classes), Perks' prior of a Dirichlet distribution: where every
        parcel is right, matrices without an error alone would be drawn otherwise, and the interval would have no width.
        """
        if not self.n:
            return {}
        there = self.confusion.sum(axis=1) > 0
        smooth = self.confusion + np.outer(there, there) / there.sum() ** 2
        draws = np.random.default_rng(seed).multinomial(int(self.n), (smooth / smooth.sum()).ravel(), _DRAWS)
        matrices = draws.reshape(_DRAWS, *self.confusion.shape).astype(np.float64)
        return {
            "accuracy": wilson(float(np.trace(self.confusion)), self.n),
            "kappa": _middle(_kappa(matrices)),
            "macro_f1": _middle(_macro_f1(matrices)),
        }

    def to_json(self, seed: int | None = None) -> dict[str, Any]:
        """Numbers for a file; with intervals if there is a seed to draw them with."""
        found: dict[str, Any] = {"n": _round(self.n)}
        found |= {"accuracy": _round(self.accuracy), "kappa": _round(self.kappa), "macro_f1": _round(self.macro_f1)}
        if seed is not None:
            spans = self.intervals(seed)
            found["interval_95"] = {key: [_round(low), _round(high)] for key, (low, high) in spans.items()}
        found["classes"] = {
            name: {
                "n": _round(self.confusion[i].sum()),
                "users_accuracy": _round(self.users[i]),
                "producers_accuracy": _round(self.producers[i]),
                "f1": _round(self.f1[i]),
            }
            for i, name in enumerate(self.classes)
        }
        return found


def measure(
    declared: NDArray[np.intp], predicted: NDArray[np.intp], classes: tuple[str, ...], weights: Floats | None = None
) -> Metrics:
    """Metrics of predictions.

    Parameters
    ----------
    declared, predicted : (n,) numbers of classes
    weights : (n,) what each parcel counts by; 1 when not given
    """
    c = len(classes)
    flat = np.bincount(declared * c + predicted, weights=weights, minlength=c * c)
    return Metrics(classes, flat.reshape(c, c).astype(np.float64))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Whether predictions of a confidence are right as often as it says."""

    edges: Floats
    """(b + 1,) of the bins of confidence."""
    n: NDArray[np.int64]
    """(b,) predictions in each bin."""
    confidence: Floats
    """(b,) their mean confidence; NaN for none."""
    correct: Floats
    """(b,) share of them that is right; NaN for none."""

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of confidence and share, by predictions.

        Notes
        -----
        Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; bins of equal width.
        """
        gaps = np.nan_to_num(np.abs(self.confidence - self.correct))
        return _ratio(float((gaps * self.n).sum()), float(self.n.sum()))

    def to_json(self) -> dict[str, Any]:
        """Numbers for a file."""
        bins = [
            {"from": _round(low), "to": _round(high), "n": int(n), "confidence": _round(mean), "correct": _round(share)}
            for low, high, n, mean, share in zip(
                self.edges[:-1], self.edges[1:], self.n, self.confidence, self.correct, strict=True
            )
        ]
        return {"expected_calibration_error": _round(self.ece), "bins": bins}


def calibration(
    confidence: NDArray[np.floating[Any]], is_right: NDArray[np.bool_], n_bins: int = N_BINS
) -> Calibration:
    """Reliability of confidences (n,) in bins of equal width; 1 belongs to the last one."""
    edges = np.arange(n_bins + 1) / n_bins
    # What is 0.7 in a file is a little less as float32, and linspace(0, 1, 11) has a little more.
    confidence = np.round(confidence.astype(np.float64), 6)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, n_bins - 1)
    n = np.bincount(place, minlength=n_bins)
    return Calibration(
        edges=edges,
        n=n,
        confidence=_shares(np.bincount(place, weights=confidence, minlength=n_bins), n),
        correct=_shares(np.bincount(place, weights=is_right, minlength=n_bins), n),
    )


def wilson(hits: float, n: float) -> tuple[float, float]:
    """95 % interval of a share."""
    share, square = hits / n, _Z**2 / n
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt(share * (1 - share) / n + square / (4 * n))
    return middle - half, middle + half


def _kappa(matrices: Floats) -> Floats:
    """(m,) of (m, c, c); NaN where chance alone would be right always."""
    n = matrices.sum(axis=(1, 2))
    seen = _shares(np.trace(matrices, axis1=1, axis2=2), n)
    chance = _shares((matrices.sum(axis=1) * matrices.sum(axis=2)).sum(axis=1), n**2)
    return _shares(seen - chance, 1 - chance)


def _f1(matrices: Floats) -> Floats:
    """(m, c) of (m, c, c)."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    return _shares(2 * right, matrices.sum(axis=1) + matrices.sum(axis=2))


def _macro_f1(matrices: Floats) -> Floats:
    """(m,) over classes that are declared."""
    is_declared = matrices.sum(axis=2) > 0
    return _shares(np.where(is_declared, _f1(matrices), 0).sum(axis=1), is_declared.sum(axis=1))


def _middle(values: Floats) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not known.size:
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _shares(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    out: Floats = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=out, where=np.asarray(whole) > 0)
    return out


def _ratio(part: float, whole: float) -> float:
    return float(part) / whole if whole else math.nan


def _round(value: float) -> float | None:
    """Six decimals are more than any of these has; JSON has no NaN."""
    return None if math.isnan(value) else round(float(value), 6)


def counts(values: NDArray[np.object_]) -> Mapping[str, int]:
    """How often each text occurs, by text."""
    names, n = np.unique(values.astype(str), return_counts=True)
    return dict(zip(names.tolist(), n.tolist(), strict=True))
