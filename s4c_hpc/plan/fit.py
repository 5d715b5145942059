"""Lines through measurements that differ by factors: ``value = fixed + rate * work``, on logarithms. Pure.

For a given shape (the ratio of ``fixed`` to ``rate``) the best scale is a median of logarithms, so half of the values
may be arbitrarily wrong. Shapes lie on a grid that holds both ends, proportional and constant. Few measurements, or
measurements of about one size, do not tell one shape from another; so predictions are averaged over the shapes by how
likely each is (Laplace's distribution around its line), and where the shapes disagree, the interval is wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Z90: Final = 1.2815515655446004
"""Quantile 0.9 of the standard normal distribution: intervals hold four of five."""
N_SHAPES: Final = 64
"""Shapes between proportional and constant."""
N_SIZES: Final = 256
"""Sizes at which a model is tabulated; between them it is a power of the size."""
REFERENCES: Final = 8
"""Tasks that a reference line counts for, beside those measured here."""
DEFAULT_SPREAD: Final = 0.5
"""Standard deviation of log(value / line) assumed before much is measured: a factor of 1.6."""
ELSEWHERE: Final = 0.6
"""Standard deviation of the log of another machine's pace beside ours: processors, file systems, loads."""
ANOTHER_RUN: Final = 0.15
"""The same for this machine in another run, which no number of tasks of one run removes: others use the machine too."""
RUNS: Final = 2
"""Runs that ``ANOTHER_RUN`` counts for, beside those measured."""
SMALLEST: Final = 1e-9
"""Sizes are at least this, where their logarithm is taken."""
REACH: Final = 1e4
"""Sizes predicted are taken for at most this many times beyond those measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """``fixed + rate * work``; neither is negative, so that more work never takes less."""

    fixed: float
    rate: float

    def at(self, work: Floats) -> Floats:
        """Values for sizes ``work``; (n,)."""
        return self.fixed + self.rate * work


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A line measured elsewhere."""

    line: Line
    spread: float
    """Standard deviation of log(value / line)."""
    work_low: float
    """Smallest size that it was measured on."""
    work_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Predicted values by size, and how far values lie from them."""

    log_work: Floats
    """(N_SIZES,) ascending."""
    log_value: Floats
    """(N_SIZES,) never falling."""
    shape: Floats
    """(N_SIZES,) standard deviation of the log between likely shapes."""
    below: float
    """log(expected / quantile 0.1 of the values), positive."""
    above: float
    """log(quantile 0.9 of the values / expected), positive."""
    pace: float
    """Standard deviation of the log of the factor that all tasks have in common."""

    def predict(self, work: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Expected values, low and high quantiles (0.1, 0.9), and what of the spread all tasks share; (n,) each."""
        size = np.log(np.maximum(work, SMALLEST))
        value = np.exp(np.interp(size, self.log_work, self.log_value))
        common = np.hypot(self.pace, np.interp(size, self.log_work, self.shape))
        low = value * np.exp(-np.hypot(self.below, Z90 * common))
        high = value * np.exp(np.hypot(self.above, Z90 * common))
        return value, low, high, common


def fit_line(work: Floats, value: Floats) -> Line:
    """The line of the grid with the least sum of ``|log(value / line)|``; of equally good ones the most proportional.

    Parameters
    ----------
    work : (n,) sizes, not negative
    value : (n,) measurements, positive
    """
    shapes = _Shapes.of(work)
    scale, loss = shapes.fit(work, np.log(value))
    best = int(np.flatnonzero(loss <= loss.min() * (1 + 1e-9) + 1e-12)[0])
    factor = float(np.exp(scale[best]))
    return Line(fixed=factor * float(shapes.fixed[best]), rate=factor * float(shapes.rate[best]))


def learn(
    work: Floats,
    value: Floats,
    reference: Reference | None = None,
    *,
    least: int = 1,
    run: npt.NDArray[np.int64] | None = None,
) -> Model | None:
    """What the measurements tell, together with a line measured elsewhere.

    The reference is brought to the pace measured here and then stands beside the measurements as ``REFERENCES`` tasks
    over its own range of sizes: it tells the shape while the sizes here are few or all alike, and fades with more.

    Parameters
    ----------
    work, value : (n,) measurements made here; ``n`` may be 0
    least : measurements below which, without a reference, nothing is known
    run : (n,) number of the run that each was made in; one run by default

    Returns
    -------
    ``None`` if there is nothing to learn from
    """
    n = len(work)
    if reference is None and n < max(least, 1):
        return None
    logs = np.log(value)
    all_work, all_logs = work, logs
    spread = DEFAULT_SPREAD
    if reference is not None:
        spread = reference.spread
        pace = np.median(logs - np.log(reference.line.at(work))) * n / (n + 1) if n else 0.0
        sizes = np.geomspace(max(reference.work_low, SMALLEST), max(reference.work_high, SMALLEST), REFERENCES)
        all_work = np.r_[work, sizes]
        all_logs = np.r_[logs, np.log(reference.line.at(sizes)) + pace]
    shapes = _Shapes.of(all_work)
    scale, loss = shapes.fit(all_work, all_logs)
    best = int(loss.argmin())
    below = above = Z90 * spread
    between_runs = ANOTHER_RUN
    if n:
        residual = logs - scale[best] - shapes.log_at(work)[best]
        residual, between_runs = _without_paces(residual, np.zeros(n, dtype=np.int64) if run is None else run)
        # With few residuals their outer quantiles say little: they are averaged with what was assumed.
        below, above = (
            float(np.sqrt((REFERENCES * (Z90 * spread) ** 2 + n * max(quantile, 0.0) ** 2) / (REFERENCES + n)))
            for quantile in (-np.quantile(residual, 0.1), np.quantile(residual, 0.9))
        )
    noise = (below + above) / (2 * Z90)
    likely = np.exp(-(loss - loss.min()) * np.sqrt(2.0) / noise)
    likely /= likely.sum()
    known = np.maximum(all_work, SMALLEST)
    sizes = np.geomspace(known.min() / REACH, known.max() * REACH, N_SIZES)
    curves = scale[:, None] + shapes.log_at(sizes)
    expected = likely @ curves
    return Model(
        log_work=np.log(sizes),
        log_value=expected,
        shape=np.sqrt(np.maximum(likely @ (curves - expected) ** 2, 0.0)),
        below=below,
        above=above,
        pace=float(np.hypot(1.0 / np.sqrt(1.0 / ELSEWHERE**2 + n / noise**2), between_runs)),
    )


def _without_paces(residual: Floats, run: npt.NDArray[np.int64]) -> tuple[Floats, float]:
    """Residuals around the pace of their run, and the standard deviation between the paces of runs."""
    codes, number, count = np.unique(run, return_inverse=True, return_counts=True)
    if len(codes) < 2:
        return residual, ANOTHER_RUN
    paces = np.asarray([np.median(residual[number == i]) for i in range(len(codes))])
    spread = float(np.sqrt((RUNS * ANOTHER_RUN**2 + (paces**2).sum()) / (RUNS + len(codes))))
    return residual - (paces * count / (count + 1.0))[number], spread  # a run of one task has no pace to speak of


@dataclass(frozen=True, slots=True)
class _Shapes:
    """Lines ``fixed + rate * work`` that are 1 at the largest size, from proportional to constant; (n_shapes,) each."""

    fixed: Floats
    rate: Floats

    @classmethod
    def of(cls, work: Floats) -> _Shapes:
        largest = max(float(work.max()), SMALLEST)
        smallest = max(float(work.min()), 1e-6 * largest)
        ratio = np.geomspace(1e-2 * smallest, 1e2 * largest, N_SHAPES)
        return cls(np.r_[0.0, ratio / (ratio + largest), 1.0], np.r_[1.0, 1.0 / (ratio / largest + 1.0), 0.0] / largest)

    def log_at(self, work: Floats) -> Floats:
        """Logs of values at sizes ``work``; (n_shapes, n)."""
        return np.asarray(np.log(np.maximum(self.fixed[:, None] + self.rate[:, None] * work, 1e-30)))

    def fit(self, work: Floats, logs: Floats) -> tuple[Floats, Floats]:
        """Log of the best scale of each shape, and the sum of absolute residuals that is left; (n_shapes,) each."""
        residual = logs - self.log_at(work)
        scale = np.median(residual, axis=1)
        return scale, np.abs(residual - scale[:, None]).sum(axis=1)
