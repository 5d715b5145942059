"""How many parcels of a class teach, and what SMOTE adds to small classes: the sampling regimes of Sen4CAP's L4A."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from s4c_hpc.config.classify import Classify

Rows = NDArray[np.intp]
Labels = NDArray[np.object_]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a model is fitted to."""

    values: Matrix
    """(n + m, p): n parcels, NaN where a value is missing, then m that SMOTE made up."""
    labels: Labels
    """(n + m,)"""
    n_real: int


def n_taught(n_best: int, config: Classify) -> int:
    """How many of the parcels of a class that may teach do.

    Notes
    -----
    Source: Sen4CAP, crop_type.R (sample-ratio-h from pa-train-h on, smote-target between, sample-ratio-l below
    pa-train-l). At least one parcel of a class stays for validation, and at least one teaches.
    """
    if config.sampling == "none":
        return n_best
    if n_best >= config.train_many:
        wanted = round(config.ratio_many * n_best)
    elif n_best >= config.train_few:
        wanted = config.smote_target
    else:
        wanted = round(config.ratio_few * n_best)
    return max(1, min(wanted, n_best - 1))


def sizes(labels: Labels, is_best: NDArray[np.bool_], classes: tuple[str, ...], config: Classify) -> dict[str, int]:
    """How many parcels of each class teach."""
    return {name: n_taught(int((is_best & (labels == name)).sum()), config) for name in classes}


def is_small(n_best: int, config: Classify) -> bool:
    """Whether SMOTE adds to a class of which so many parcels may teach."""
    return config.sampling == "reference" and n_best < config.train_few


def small_classes(
    labels: Labels, is_best: NDArray[np.bool_], classes: tuple[str, ...], config: Classify
) -> frozenset[str]:
    """Classes that SMOTE adds to, in the model of a stratum as in those of its folds."""
    return frozenset(name for name in classes if is_small(int((is_best & (labels == name)).sum()), config))


def draw(labels: Labels, is_free: NDArray[np.bool_], wanted: dict[str, int], seed: int) -> Rows:
    """Rows that teach, ascending.

    Parameters
    ----------
    labels : (n,) class of each parcel, parcels in a fixed order
    is_free : (n,) whether a parcel may be drawn
    wanted : most rows of each class
    """
    taken = []
    for number, (name, n) in enumerate(wanted.items()):
        rows = np.flatnonzero(is_free & (labels == name))
        # A generator a class: the size of one does not change who is drawn of another.
        taken.append(np.random.default_rng([seed, number]).permutation(rows)[:n])
    return np.sort(np.concatenate(taken)).astype(np.intp)


def training_set(values: Matrix, labels: Labels, small: frozenset[str], config: Classify) -> TrainingSet:
    """Parcels that teach, and those that SMOTE makes up between them: of no other parcel is anything known here.

    Parameters
    ----------
    values : (n, p) features of the parcels that teach, NaN where missing
    labels : (n,)
    small : classes that are filled, see ``small_classes``: how many parcels teach does not tell, for a class between
        large and small may lend a fold fewer

    Notes
    -----
    SMOTE cannot do with gaps: it sees the median of the parcels that teach in their place; the parcels themselves keep
    their gaps, for the model to deal with. What is made up then gets the gaps of a parcel of its class that teaches:
    without any, a model would learn that a gap means a large class. A class of no more parcels than ``smote_k`` has
    fewer neighbours, a single
    parcel none: nothing is made up then. All classes go into one call, or one for each number of neighbours.
    """
    names, counts = np.unique(labels.astype(str), return_counts=True)
    neighbours_of = {
        str(name): min(config.smote_k, int(n) - 1)
        for name, n in zip(names, counts, strict=True)
        if str(name) in small and 2 <= n < config.smote_target
    }
    if not neighbours_of:
        return TrainingSet(values, labels, len(labels))
    is_gap = np.isnan(values)
    filled = with_medians(values, medians(values))
    parts, made = [values], [labels]
    for k in sorted(set(neighbours_of.values())):
        wanted = {name: config.smote_target for name, neighbours in neighbours_of.items() if neighbours == k}
        new, new_labels = _smote(filled, labels, wanted, k, config.seed)
        parts.append(_with_gaps(new, new_labels, is_gap, labels, config.seed))
        made.append(new_labels)
    return TrainingSet(np.concatenate(parts), np.concatenate(made), len(labels))


def medians(values: Matrix) -> NDArray[np.float32]:
    """(p,) median of each feature; 0 for one that no parcel has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a feature that no parcel of a fold has
        found = np.nanmedian(values, axis=0)
    return np.nan_to_num(found, nan=0.0).astype(np.float32)


def with_medians(values: Matrix, middle: NDArray[np.float32]) -> Matrix:
    """Values with the given one in the place of each gap."""
    return np.where(np.isnan(values), middle, values)


def _with_gaps(made_up: Matrix, made_labels: Labels, is_gap: NDArray[np.bool_], labels: Labels, seed: int) -> Matrix:
    """Made-up rows (m, p), each with the gaps of a row of its class that is drawn of ``is_gap`` (n, p)."""
    if not is_gap.any():
        return made_up
    for number, name in enumerate(np.unique(made_labels.astype(str))):
        mine = np.flatnonzero(made_labels == name)
        like = np.random.default_rng([seed, number]).choice(np.flatnonzero(labels == name), mine.size)
        made_up[mine] = np.where(is_gap[like], np.float32(np.nan), made_up[mine])
    return made_up


def _smote(filled: Matrix, labels: Labels, wanted: dict[str, int], k: int, seed: int) -> tuple[Matrix, Labels]:
    """Made-up rows and their labels."""
    from imblearn.over_sampling import SMOTE  # noqa: PLC0415 - heavy, and not needed to plan

    # One thread: the order of sums decides which of two equally near neighbours comes first.
    with threadpool_limits(limits=1):
        sampler = SMOTE(sampling_strategy=wanted, k_neighbors=k, random_state=seed)
        values, made = sampler.fit_resample(filled, labels.astype(str))
    n = len(labels)
    return np.asarray(values[n:], np.float32), np.asarray(made[n:], object)
