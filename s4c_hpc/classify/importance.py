"""What models looked at: by what is measured, and by when in the season."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from s4c_hpc.classify.matrix import Matrix
from s4c_hpc.classify.models import probabilities
from s4c_hpc.classify.site import Classified
from s4c_hpc.classify.stratum import Judged, Role
from s4c_hpc.config.classify import Classify

IMPURITY: Final = "share of what the trees learnt (mean decrease of impurity)"
SHUFFLING: Final = "share of the right predictions that are lost when it is shuffled among parcels"

_MAX_ROWS: Final = 2000
"""Parcels that are judged with shuffled features."""

_Group = TypeVar("_Group", bound=Hashable)


@dataclass(frozen=True)
class Importance:
    """Shares that sum to 1, over strata by the parcels that taught; empty if nothing is known."""

    how: str
    """What it is a share of."""
    by_name: Mapping[str, float]
    """``ndvi mean`` -> share, the largest first."""
    by_date: Mapping[dt.date, float]
    """First day of a period -> share."""


def importance(found: Classified, matrix: Matrix, config: Classify) -> Importance:
    """What the models of a site looked at.

    Notes
    -----
    Forests say so themselves. Of other models features are shuffled, all of a name or of a date at a time, for values
    of neighbouring dates stand in for each other (Breiman 2001, doi:10.1023/A:1010933404324). Parcels that validate are
    judged, or those that taught where there are none.
    """
    names = [f"{column.feature} {column.statistic}" for column in matrix.columns]
    dates = [column.first for column in matrix.columns]
    by_name: defaultdict[str, float] = defaultdict(float)
    by_date: defaultdict[dt.date, float] = defaultdict(float)
    whole = sum(sum(one.n_taught.values()) for one in found.strata)
    how = IMPURITY
    for one in found.strata:
        part = sum(one.n_taught.values()) / whole
        said = getattr(one.model, "feature_importances_", None)
        if said is not None:
            of_names, of_dates = _sums(names, said), _sums(dates, said)
        else:
            how = SHUFFLING
            rows = _judged_rows(found, one, config.seed)
            of_names = _losses(one, matrix.values[rows], found.declared.label[rows], names, config)
            of_dates = _losses(one, matrix.values[rows], found.declared.label[rows], dates, config)
        for name, value in of_names.items():
            by_name[name] += value * part
        for day, value in of_dates.items():
            if day is not None:
                by_date[day] += value * part
    ordered = sorted(by_name.items(), key=lambda item: (-item[1], item[0]))
    return Importance(how, dict(ordered), dict(sorted(by_date.items())))


def _sums(groups: Sequence[_Group], values: Any) -> dict[_Group, float]:
    found: dict[_Group, float] = {}
    for group, value in zip(groups, np.asarray(values, np.float64).tolist(), strict=True):
        found[group] = found.get(group, 0.0) + value
    return found


def _judged_rows(found: Classified, one: Judged, seed: int) -> NDArray[np.intp]:
    """Parcels of a stratum that validate, or else those that taught; some of them where there are many."""
    mine = found.declared.stratum == one.name
    rows = np.flatnonzero(mine & (found.role == Role.VALIDATION.value))
    if not rows.size:
        rows = np.flatnonzero(mine & (found.role == Role.TRAINING.value))
    return np.sort(np.random.default_rng(seed).permutation(rows)[:_MAX_ROWS])


def _losses(
    one: Judged, values: NDArray[np.float32], labels: NDArray[np.object_], groups: Sequence[_Group], config: Classify
) -> dict[_Group, float]:
    """Share of each group of columns in what accuracy loses; none where it loses nothing."""
    everyone = np.ones(len(values), np.bool_)
    classes = np.array(one.classes, object)

    def accuracy(shown: NDArray[np.float32]) -> float:
        chances = probabilities(one.model, shown, everyone, one.classes, config.cores)
        return float((classes[chances.argmax(axis=1)] == labels).mean())

    whole = accuracy(values)
    lost: dict[_Group, float] = {}
    for number, group in enumerate(dict.fromkeys(groups)):
        columns = np.array([i for i, name in enumerate(groups) if name == group], np.intp)
        order = np.random.default_rng([config.seed, number]).permutation(len(values))
        shuffled = values.copy()
        shuffled[:, columns] = values[np.ix_(order, columns)]
        lost[group] = max(0.0, whole - accuracy(shuffled))
    total = sum(lost.values())
    return {group: value / total for group, value in lost.items()} if total else {}
