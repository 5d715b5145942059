"""One stratum: a model, and a judgement of each parcel by a model that did not see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.classify.folds import fold_numbers
from s4c_hpc.classify.models import fit, make_model, probabilities
from s4c_hpc.classify.sampling import Matrix, TrainingSet, draw, sizes, small_classes, training_set
from s4c_hpc.classify.selection import Declared, Selection
from s4c_hpc.config.classify import Classify

Teach = Callable[[Matrix, NDArray[np.object_], frozenset[str], Classify], TrainingSet]
"""What makes a training set, as ``training_set`` does."""


class Role(StrEnum):
    """What a parcel is to the model of its stratum, and who judges it."""

    TRAINING = "training"
    """Teaches; judged by the model of a fold that did not see it."""
    VALIDATION = "validation"
    """Chosen, but not drawn; judged by the model itself."""
    RELATED = "related"
    """Not drawn, chosen or not, but a row of the same field was; judged by the model of a fold, and no validation."""
    PREDICTED = "predicted"
    """Not chosen; judged by the model itself."""
    NONE = "none"
    """Not classified."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What is known of the parcels of a stratum when its model has been made."""

    name: str
    """Of the stratum; empty for parcels without one."""
    classes: tuple[str, ...]
    model: Any
    """Fitted to the parcels that teach; it is what is saved."""
    role: NDArray[np.object_]
    """(n,) ``Role``"""
    chances: NDArray[np.float64]
    """(n, c) probability of each class by the model that judges the parcel; NaN where none does."""
    chances_cv: NDArray[np.float64]
    """(n, c) by the model of the fold that holds the parcel; NaN for parcels that are not chosen."""
    n_taught: dict[str, int]
    n_made_up: dict[str, int]
    """By class."""


def judge(
    values: Matrix,
    declared: Declared,
    selection: Selection,
    config: Classify,
    *,
    name: str = "",
    training: Teach = training_set,
) -> Judged:
    """Teach a model and judge every parcel that can be judged.

    Parameters
    ----------
    values : (n, p) features, NaN where missing; parcels by NewID
    declared, selection : (n,) of the same parcels
    training : makes the training set from parcels that teach, and from nothing else

    Notes
    -----
    Parcels are drawn again within the rest of each fold, as many as teach the model itself where there are so many: the
    models of the folds are as good as it is, and what they judge can stand beside what it judges.
    """
    classes = selection.classes
    labels, chosen = declared.label, selection.is_chosen
    wanted = sizes(labels, selection.is_best, classes, config)
    small = small_classes(labels, selection.is_best, classes, config)
    drawn = draw(labels, selection.is_best, wanted, config.seed)
    model, taught = _taught(values, labels, drawn, config, config.seed, small, training)
    by_model = selection.is_classified
    chances = np.full((len(declared), len(classes)), np.nan)
    chances[by_model] = probabilities(model, values, by_model, classes, config.cores)
    folds = np.full(len(declared), -1, np.int64)
    folds[chosen] = fold_numbers(labels[chosen], declared.ori_id[chosen], config.folds, config.seed)
    judged_in = np.where(by_model, _folds_of_fields(folds, declared.ori_id, drawn), folds)
    by_fold = np.full_like(chances, np.nan)
    for number in range(config.folds):
        left_out = judged_in == number
        rows = draw(labels, selection.is_best & ~left_out, wanted, config.seed)
        if left_out.any() and rows.size:
            one, _ = _taught(values, labels, rows, config, config.seed + 1 + number, small, training)
            by_fold[left_out] = probabilities(one, values, left_out, classes, config.cores)
            del one  # a forest may be larger than what it was taught with: two at a time are enough
    role = np.where(by_model, Role.PREDICTED.value, Role.NONE.value).astype(object)
    role[chosen] = Role.VALIDATION.value
    ids = declared.ori_id.astype(str)
    role[by_model & (ids != "") & np.isin(ids, ids[drawn])] = Role.RELATED.value
    role[drawn] = Role.TRAINING.value
    seen = np.isin(role.astype(str), [Role.TRAINING.value, Role.RELATED.value])
    chances[seen] = by_fold[seen]
    by_fold[~chosen] = np.nan
    real, made_up = taught.labels[: taught.n_real], taught.labels[taught.n_real :]
    return Judged(
        name=name,
        classes=classes,
        model=model,
        role=role,
        chances=chances,
        chances_cv=by_fold,
        n_taught={c: int((real == c).sum()) for c in classes},
        n_made_up={c: int((made_up == c).sum()) for c in classes},
    )


def _folds_of_fields(
    folds: NDArray[np.int64], ori_id: NDArray[np.object_], drawn: NDArray[np.intp]
) -> NDArray[np.int64]:
    """(n,) number of the fold of each row; a row that is in none has that of its field, if the field teaches."""
    fold_of = {own: fold for own, fold in zip(ori_id[drawn], folds[drawn], strict=True) if own}
    return np.array([fold_of.get(own, -1) if fold < 0 else fold for own, fold in zip(ori_id, folds, strict=True)])


def _taught(
    values: Matrix,
    labels: NDArray[np.object_],
    rows: NDArray[np.intp],
    config: Classify,
    seed: int,
    small: frozenset[str],
    training: Teach,
) -> tuple[Any, TrainingSet]:
    """A model fitted to some rows, and what it was fitted to."""
    found = training(values[rows], labels[rows], small, config)
    return fit(make_model(config, seed % 2**32), found.values, found.labels, config.cores), found
