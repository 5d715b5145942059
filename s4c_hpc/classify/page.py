"""The page of a classification: how good it is, what the model looked at, whom it does not believe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from s4c_hpc import __version__
from s4c_hpc.classify.importance import importance
from s4c_hpc.classify.lights import Agreement, Light, rule_text
from s4c_hpc.classify.matrix import Matrix
from s4c_hpc.classify.metrics import Calibration, Metrics, counts
from s4c_hpc.classify.outputs import settings, weights_of
from s4c_hpc.classify.plots import (
    LIGHTS,
    MAX_CLASSES,
    SIGNS,
    calibration_plot,
    confusion_plot,
    importance_bars,
    importance_season,
    lights_plot,
)
from s4c_hpc.classify.selection import WORDS, Reason, class_order
from s4c_hpc.classify.site import Classified
from s4c_hpc.classify.stratum import Role
from s4c_hpc.config import Config
from s4c_hpc.drawing.pages import asset, environment, style

MAX_DOUBTED = 50
"""Parcels of the table of doubted declarations."""
MAX_SMALL = 60
"""Classes that are too small which are named."""
_MAX_BARS = 20
_LEAST_CHECKED = 0.5
"""Share of the parcels that are checked below which the page asks for attention."""
_LEAST_ACCURACY = 0.7
"""Accuracy below which it does: confidences that make a light red begin there."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way of measuring accuracy."""

    title: str
    note: str
    by_folds: bool
    metrics: Metrics
    reliable: Calibration
    intervals: dict[str, tuple[float, float]]
    """Empty where parcels have weights."""
    confusion: Markup | None = None
    calibration: Markup | None = None


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class in numbers."""

    name: str
    code: str
    n: int
    """Parcels declared as it."""
    taught: int
    made_up: int
    validated: int
    producers: float
    users: float
    f1: float
    confused: str
    """What its parcels are taken for most often; empty if for nothing."""


@dataclass(frozen=True, kw_only=True)
class Doubted:
    """A parcel whose declaration is doubted."""

    new_id: int
    ori_id: str
    tile: str
    area_m2: float
    declared: str
    predicted: str
    confidence: float
    second: str
    second_confidence: float
    light: str
    note: str


def classification_html(
    found: Classified,
    matrix: Matrix,
    names: Mapping[str, str],
    config: Config,
    *,
    saved: str | None = None,
    missing: Sequence[str] = (),
) -> str:
    """The page as text; a function of what was found, without times.

    Parameters
    ----------
    names : class -> its name
    saved : whose model judged, if it was not taught here
    missing : sentences on features that were to be there and are not
    """
    measured = _measured(found, names, config)
    looked_at = importance(found, matrix, config.classify)
    by_name = list(looked_at.by_name.items())
    main = measured[0] if measured else None
    n_checked = int(main.metrics.n) if main else 0
    is_whole = not missing and Reason.NO_MODEL.value not in found.reason
    is_telling = main is not None and n_checked >= _LEAST_CHECKED * len(found.declared)
    light_counts = counts(found.light)
    reasons = {Reason(r): n for r, n in counts(found.reason).items() if r}
    return (
        environment("s4c_hpc.classify")
        .get_template("classification.html.j2")
        .render(
            version=__version__,
            style=Markup(style() + asset("s4c_hpc.classify", "classify.css")),  # noqa: S704 - our own files
            site=config.site,
            settings=_flat(settings(config.classify)),
            saved=saved,
            n=len(found.declared),
            n_classified=int((found.first != "").sum()),
            n_chosen=int(np.isin(found.reason.astype(str), [Reason.NONE.value]).sum()),
            n_features=len(matrix.keys),
            n_strata=len(found.strata),
            classes=_class_rows(found, measured[0] if measured else None, names),
            measured=measured,
            n_checked=n_checked,
            unchecked=_unchecked(found, main),
            is_good=is_whole and is_telling and main is not None and main.metrics.accuracy >= _LEAST_ACCURACY,
            bars=importance_bars(by_name[:_MAX_BARS]) if by_name else None,
            n_bars_more=max(0, len(by_name) - _MAX_BARS),
            season=importance_season(looked_at.by_date) if any(looked_at.by_date.values()) else None,
            how=looked_at.how,
            best=by_name[:3],
            reasons=[(r.value, WORDS[r], n) for r, n in sorted(reasons.items(), key=lambda one: -one[1])],
            small=[(label_of(c, names), n) for c, n in sorted(found.small.items(), key=lambda one: -one[1])],
            max_small=MAX_SMALL,
            max_classes=MAX_CLASSES,
            n_classes=len(found.classes),
            lights=[(light.value, SIGNS[light.value], light_counts.get(light.value, 0)) for light in LIGHTS],
            max_doubted=MAX_DOUBTED,
            rule=rule_text(config.classify.lights),
            lights_plot=_lights(found, names),
            doubted=_doubted(found, names),
            n_red=light_counts.get(Light.RED.value, 0),
            notes=(*found.notes, *(f"without {text}" for text in missing)),
        )
    )


def label_of(code: str, names: Mapping[str, str]) -> str:
    """A class as people know it: its name and its code."""
    name = names.get(code, "")
    return f"{name} ({code})" if name and name != code else code


def _measured(found: Classified, names: Mapping[str, str], config: Config) -> list[Measured]:
    """Accuracies that there are, the most telling first: parcels that validate are what the drawing has left."""
    ways = {
        True: (
            "Cross-validation",
            f"{config.classify.folds} models, each judging parcels that it did not see; fields are never divided",
        ),
        False: ("Validation", "parcels that taught nothing, judged by the model that is saved"),
    }
    if found.strata:
        title, note = ways[False]
        ways[False] = (title, f"{note}; another mix of classes than the site's, for more of large classes are left")
    measured = []
    for by_folds, (title, note) in ways.items():
        metrics, reliable = found.accuracy(by_folds=by_folds)
        if not metrics.n:
            continue
        measured.append(
            Measured(
                title=title,
                note=note,
                by_folds=by_folds,
                metrics=metrics,
                reliable=reliable,
                intervals=metrics.intervals(config.classify.seed),
                confusion=confusion_plot(metrics, names),
                calibration=calibration_plot(reliable),
            )
        )
        weights = weights_of(found, config.classify)
        if weights is not None:
            weighted, by_weight = found.accuracy(by_folds=by_folds, weights=weights)
            by = config.classify.weights
            measured.append(
                Measured(
                    title=f"{title}, by {by}",
                    by_folds=by_folds,
                    note=f"each parcel counts by its {by}",
                    metrics=weighted,
                    reliable=by_weight,
                    intervals={},
                )
            )
    return measured


def _unchecked(found: Classified, main: Measured | None) -> list[tuple[str, int]]:
    """Why parcels do not count in the accuracies of the headline, and how many, the most first."""
    by_folds = main.by_folds if main else bool(found.strata)
    rows = ~found.is_checked(by_folds=by_folds)
    why = np.array([WORDS[Reason(r)].split(":")[0] if r else "" for r in found.reason[rows].tolist()], object)
    why[why == ""] = "judged by no model that did not see them"
    why[(found.role[rows] == Role.TRAINING.value) & (not found.strata)] = "taught the saved model"
    return sorted(counts(why).items(), key=lambda one: (-one[1], one[0]))


def _class_rows(found: Classified, measured: Measured | None, names: Mapping[str, str]) -> list[ClassRow]:
    declared = counts(found.declared.label)
    validated = counts(found.declared.label[found.role == Role.VALIDATION.value])
    rows = []
    for i, code in enumerate(found.classes):
        confused = ""
        if measured is not None:
            others = measured.metrics.confusion[i].copy()
            others[i] = 0
            worst = int(others.argmax())
            if others[worst]:
                confused = f"{label_of(found.classes[worst], names)}: {int(others[worst])}"
        rows.append(
            ClassRow(
                name=names.get(code) or code,
                code=code,
                n=declared.get(code, 0),
                taught=sum(one.n_taught.get(code, 0) for one in found.strata),
                made_up=sum(one.n_made_up.get(code, 0) for one in found.strata),
                validated=validated.get(code, 0),
                producers=float(measured.metrics.producers[i]) if measured else np.nan,
                users=float(measured.metrics.users[i]) if measured else np.nan,
                f1=float(measured.metrics.f1[i]) if measured else np.nan,
                confused=confused,
            )
        )
    return rows


def _lights(found: Classified, names: Mapping[str, str]) -> Markup:
    order = [light.value for light in LIGHTS]
    of_class = {c: np.zeros(len(order), np.int64) for c in found.classes}
    pairs = zip(found.declared.label.tolist(), found.light.tolist(), strict=True)
    for label, light in pairs:
        if label in of_class:
            of_class[label][order.index(light)] += 1
    rows = sorted(of_class.items(), key=lambda one: (-int(one[1].sum()), class_order(one[0])))
    return lights_plot([((names.get(c) or c)[:22], n) for c, n in rows[:MAX_CLASSES]])


def _doubted(found: Classified, names: Mapping[str, str]) -> list[Doubted]:
    """Declarations that are believed least: red ones, the surest first, then others that do not agree."""
    confidence = np.nan_to_num(found.first_confidence, nan=-1.0)
    is_other = ~np.isin(found.agreed.astype(str), [Agreement.FIRST.value, Agreement.NONE.value])
    rows = np.flatnonzero(is_other)
    order = rows[np.lexsort((found.declared.new_id[rows], -confidence[rows]))][:MAX_DOUBTED]
    return [
        Doubted(
            new_id=int(found.declared.new_id[i]),
            ori_id=str(found.declared.ori_id[i]),
            tile=str(found.declared.tile[i]),
            area_m2=float(found.declared.area_m2[i]),
            declared=label_of(str(found.declared.label[i]), names),
            predicted=label_of(str(found.first[i]), names),
            confidence=float(found.first_confidence[i]),
            second=label_of(str(found.second[i]), names),
            second_confidence=float(found.second_confidence[i]),
            light=str(found.light[i]),
            note=str(found.reason[i]),
        )
        for i in order
    ]


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Settings as rows."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{before}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"{before}{key}", text))
    return rows
