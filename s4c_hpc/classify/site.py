"""A whole site: strata judged one by one, their parcels put together, and every declaration checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.classify.lights import agreement, lights
from s4c_hpc.classify.matrix import Matrix, has_values, matched
from s4c_hpc.classify.metrics import Calibration, Metrics, calibration, measure
from s4c_hpc.classify.models import probabilities
from s4c_hpc.classify.saved import SavedModel
from s4c_hpc.classify.selection import Declared, Reason, Selection, Texts, class_order, require_classes, select
from s4c_hpc.classify.stratum import Judged, Role, judge
from s4c_hpc.config.classify import Classify
from s4c_hpc.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Classified:
    """What is known of each parcel in the end; rows by NewID."""

    declared: Declared
    reason: Texts
    role: Texts
    first: Texts
    """Predicted class; empty where there is none."""
    first_confidence: NDArray[np.float32]
    """Rounded to three decimals, as in the reference; NaN where there is none."""
    second: Texts
    second_confidence: NDArray[np.float32]
    by_fold: Texts
    """Class that the model of a fold predicts, for parcels that teach or validate; else empty."""
    by_fold_confidence: NDArray[np.float32]
    agreed: Texts
    light: Texts
    strata: tuple[Judged, ...]
    """Those that were taught here."""
    classes: tuple[str, ...]
    """Of any stratum."""
    small: dict[str, int]
    """Classes that were too small -> most parcels that could teach in a stratum."""
    s2_pixels: NDArray[np.float32] | None
    notes: tuple[str, ...]

    def is_checked(self, *, by_folds: bool) -> NDArray[np.bool_]:
        """(n,) whether a parcel counts in the accuracies of the cross-validation, or of the validation."""
        found = self.by_fold != "" if by_folds else self.role == Role.VALIDATION.value
        return np.asarray(found, np.bool_)

    def accuracy(self, *, by_folds: bool, weights: NDArray[np.float64] | None = None) -> tuple[Metrics, Calibration]:
        """Accuracy and calibration over parcels whose declaration counts.

        Parameters
        ----------
        by_folds : of the cross-validation, else of the parcels that validate
        weights : (n,) what parcels count by; those without a weight are left out
        """
        predicted, confidence = (
            (self.by_fold, self.by_fold_confidence) if by_folds else (self.first, self.first_confidence)
        )
        rows = self.is_checked(by_folds=by_folds)
        if weights is not None:
            rows = rows & (weights > 0)
        number = {name: i for i, name in enumerate(self.classes)}
        declared = np.array([number[c] for c in self.declared.label[rows]], np.intp)
        given = np.array([number[c] for c in predicted[rows]], np.intp)
        found = measure(declared, given, self.classes, None if weights is None else weights[rows])
        return found, calibration(confidence[rows], declared == given)


def classify(
    matrix: Matrix,
    declared: Declared,
    config: Classify,
    saved: SavedModel | None = None,
    seen: NDArray[np.bool_] | None = None,
) -> Classified:
    """Classify the parcels of a site.

    Parameters
    ----------
    matrix, declared : (n,) of the same parcels, by NewID
    saved : models that judge instead of new ones
    seen : (n,) parcels that taught those, see ``SavedModel.has_seen``: they validate nothing

    Raises
    ------
    InputError
        If no stratum has two classes that can be taught, or features of the saved model are missing or without values.
    """
    values = matrix.values if saved is None else matched(saved.features, matrix, "classify.model_file")
    has = has_values(values)
    if not has.any():
        raise InputError("no parcel has a value of a feature of the model", where="classify.model_file")
    out = _Rows(len(declared))
    strata: list[Judged] = []
    small: dict[str, int] = {}
    notes = _rules_not_applied(matrix, declared, config)
    seen = np.zeros(len(declared), np.bool_) if seen is None else seen
    refused: list[InputError] = []
    names = sorted(set(declared.stratum.tolist()))
    for name in names:
        rows = np.flatnonzero(declared.stratum == name)
        mine = declared.taken(rows)
        features = values if rows.size == len(declared) else values[rows]
        model = None if saved is None else saved.of(name)
        selection = select(
            mine,
            has[rows],
            None if matrix.s2_pixels is None else matrix.s2_pixels[rows],
            None if matrix.s1_pixels is None else matrix.s1_pixels[rows],
            config,
            None if saved is None or model is None else saved.classes[model],
        )
        small |= {c: max(n, small.get(c, 0)) for c, n in selection.small.items()}
        where = f"stratum {name}" if name else "parcels without a stratum" if len(names) > 1 else "all parcels"
        try:
            if saved is None:
                require_classes(selection, where, config)
                one = judge(features, mine, selection, config, name=name)
                strata.append(one)
                out.put(rows, selection, one.role, one.classes, one.chances, one.chances_cv)
            else:
                out.put(rows, selection, *_by_saved(saved, model, features, selection, seen[rows], config, where))
        except InputError as error:
            refused.append(error)
            notes.append(str(error))
            out.give_up(rows, selection)
    if len(refused) == len(names):
        raise refused[0]
    if saved is not None and (n_seen := int((out.role == Role.TRAINING.value).sum())):
        some = f"{n_seen} of {len(declared)} parcels taught the saved model: they do not count in accuracies"
        notes.append(f"{some}, and that it agrees with their declarations proves nothing")
    known = out.is_known
    agreed = agreement(declared.label, out.first, out.second, known)
    confidence = out.first_confidence
    classes = saved.classes.values() if saved is not None else [one.classes for one in strata]
    return Classified(
        declared=declared,
        reason=out.reason,
        role=out.role,
        first=out.first,
        first_confidence=confidence,
        second=out.second,
        second_confidence=out.second_confidence,
        by_fold=out.by_fold,
        by_fold_confidence=out.by_fold_confidence,
        agreed=agreed,
        light=lights(agreed, confidence, config.lights),
        strata=tuple(strata),
        classes=tuple(sorted({c for of_one in classes for c in of_one}, key=class_order)),
        small=dict(sorted(small.items(), key=lambda one: class_order(one[0]))),
        s2_pixels=matrix.s2_pixels,
        notes=tuple(notes),
    )


class _Rows:
    """Results of all parcels while strata come in."""

    def __init__(self, n: int) -> None:
        self.reason, self.role = (np.full(n, "", object) for _ in range(2))
        self.first, self.second, self.by_fold = (np.full(n, "", object) for _ in range(3))
        self.first_confidence, self.second_confidence, self.by_fold_confidence = (
            np.full(n, np.nan, np.float32) for _ in range(3)
        )
        self.is_known = np.zeros(n, np.bool_)

    def put(
        self,
        rows: NDArray[np.intp],
        selection: Selection,
        role: Texts,
        classes: tuple[str, ...],
        chances: NDArray[np.float64],
        by_fold: NDArray[np.float64],
    ) -> None:
        """What was found for some rows (m,)."""
        self.reason[rows], self.role[rows] = selection.reason, role
        # A parcel with a land cover that teaches nothing may still be declared as a class that the model knows.
        self.is_known[rows] = np.isin(selection.label.astype(str), classes)
        (first, sure), (second, less) = best_two(chances, classes)
        self.first[rows], self.first_confidence[rows] = first, sure
        self.second[rows], self.second_confidence[rows] = second, less
        self.by_fold[rows], self.by_fold_confidence[rows] = best_two(by_fold, classes)[0]

    def give_up(self, rows: NDArray[np.intp], selection: Selection) -> None:
        """Say of rows that no model judges them."""
        is_open = selection.is_classified
        self.reason[rows] = np.where(is_open, Reason.NO_MODEL.value, selection.reason)
        self.role[rows] = Role.NONE.value


def best_two(
    chances: NDArray[np.float64], classes: tuple[str, ...]
) -> tuple[tuple[Texts, NDArray[np.float32]], tuple[Texts, NDArray[np.float32]]]:
    """The most likely class of each row and its probability, and the second; of equals the first in order.

    Parameters
    ----------
    chances : (n, c); NaN for a row that nobody judged
    """
    known = ~np.isnan(chances[:, 0])
    order = np.argsort(-chances, axis=1, kind="stable")
    found = []
    for place in range(2):
        column = order[:, place]
        names = np.where(known, np.array(classes, object)[column], "").astype(object)
        sure = np.round(np.take_along_axis(chances, column[:, None], axis=1)[:, 0], 3).astype(np.float32)
        found.append((names, sure))
    return found[0], found[1]


def _by_saved(
    saved: SavedModel,
    model: str | None,
    values: NDArray[np.float32],
    selection: Selection,
    seen: NDArray[np.bool_],
    config: Classify,
    where: str,
) -> tuple[Texts, tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Judgement of a stratum by a model that was taught before: who is chosen and did not teach it validates."""
    if model is None:
        raise InputError("the saved model has none for it", where=where, hint="teach one with its parcels")
    classes = saved.classes[model]
    able = selection.is_classified
    chances = np.full((able.size, len(classes)), np.nan)
    chances[able] = probabilities(saved.models[model], values, able, classes, config.cores)
    role = np.where(able, Role.PREDICTED.value, Role.NONE.value).astype(object)
    role[selection.is_chosen] = Role.VALIDATION.value
    role[able & seen] = Role.TRAINING.value
    return role, classes, chances, np.full_like(chances, np.nan)


def _rules_not_applied(matrix: Matrix, declared: Declared, config: Classify) -> list[str]:
    """Sentences on rules that cannot be applied to these parcels."""
    notes = []
    if matrix.s2_pixels is None and max(config.min_s2_pixels, config.best_s2_pixels):
        notes.append("no feature file counts Sentinel-2 pixels: min_s2_pixels and best_s2_pixels are not applied")
    if matrix.s1_pixels is None and config.min_s1_pixels:
        notes.append("no feature file counts Sentinel-1 pixels: min_s1_pixels is not applied")
    if declared.land_cover is None and config.lc:
        notes.append("no land cover class (LC) is known of the crops: lc is not applied")
    if matrix.s2_pixels is None and config.weights == "pixels":
        notes.append("no feature file counts Sentinel-2 pixels: there is no table of accuracies by pixels")
    return notes
