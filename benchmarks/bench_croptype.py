"""Crop types of two labelled data sets: the ensemble beside a plain random forest and other models, on the same folds.

``python -m benchmarks.bench_croptype --bavaria DIR [--cawa DIR] [--repeats N] [--first-seed S] [--nested N]`` prints
JSON.

Every model is fitted inside the fold, with whatever it scales, imputes or weighs. The ensemble's constants were
chosen on Bavaria's folds of seeds 100 to 104 and Central Asia's of 100 to 102; seeds 0 to 19 were kept for the
figures. Other folds are not other parcels, so a choice can still have been lucky with these: ``--nested`` chooses
again among all candidates inside each outer fold, by the log-loss of inner folds, and judges what comes of it.

Intervals of 95 %, since repeats of one data set are not independent: of parcels drawn with replacement, each with its
predictions in all repeats (the sample of parcels); and the corrected resampled t of Nadeau & Bengio 2003, doi
10.1023/A:1024068626366, over the folds (which training set, too).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyogrio
from numpy.typing import NDArray
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s4c_hpc.classify.ensemble import CropEnsemble

Maker = Callable[[int], Any]
"""Makes a model from a seed."""
BASELINE: Final = "forest"
ENSEMBLE: Final = "ensemble"
N_BOOTSTRAP: Final = 4000
MIN_PARCELS: Final = 8
"""Of a class, as in the data's README."""


@dataclass(frozen=True)
class Table:
    """Features (n_parcels, n_features) and labels (n_parcels,)."""

    features: NDArray[np.float64]
    labels: NDArray[np.str_]


def bavaria(folder: Path) -> Table:
    """Columns of the table as they are, one a date and variable."""
    rows = pd.read_csv(folder / "s2_l1c_parcel_means.csv")
    variables = [name for name in rows if str(name).endswith("_mean")]
    wide = rows.pivot_table(index="id", columns="Date", values=variables, sort=True)
    labels = rows.groupby("id")["NC"].first().loc[wide.index].astype(str)
    kept = labels.isin(_frequent(labels))
    return Table(wide[kept].to_numpy(), labels[kept].to_numpy(str))


def cawa(folder: Path) -> dict[str, Table]:
    """A table per region: NDVI series of the nine most frequent labels; parcels without any value are left out."""
    parcels = pyogrio.read_dataframe(folder / "parcels.gpkg", read_geometry=False).set_index("fid_")
    series = pd.read_csv(folder / "ndvi.csv").set_index("fid_").filter(regex="^ndvi_")
    top = parcels["label_1"].value_counts().index[:9]
    parcels = parcels[parcels["label_1"].isin(top) & series.loc[parcels.index].notna().any(axis=1).to_numpy()]
    tables = {}
    for region, group in parcels.groupby("region"):
        labels = group["label_1"][group["label_1"].isin(_frequent(group["label_1"]))]
        tables[str(region)] = Table(series.loc[labels.index].to_numpy(), labels.to_numpy(str))
    return tables


def candidates() -> dict[str, Maker]:
    """Model of a seed, by name; the baseline first."""
    scaled = (partial(SimpleImputer, keep_empty_features=True), StandardScaler)
    return {
        BASELINE: lambda seed: RandomForestClassifier(400, random_state=seed),
        "forest, balanced": lambda seed: RandomForestClassifier(
            400, random_state=seed, class_weight="balanced_subsample"
        ),
        "extra trees": lambda seed: ExtraTreesClassifier(400, random_state=seed),
        "shrunken discriminant": lambda _: make_pipeline(
            *(step() for step in scaled), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        ),
        "logistic regression": lambda _: make_pipeline(
            *(step() for step in scaled), LogisticRegression(C=0.1, max_iter=1000)
        ),
        ENSEMBLE: lambda seed: CropEnsemble(seed=seed),
        "ensemble, min node 10": lambda seed: CropEnsemble(seed=seed, min_node=10),
        "ensemble, weight 1/8": lambda seed: CropEnsemble(seed=seed, discriminant_weight=0.125),
        "ensemble, weight 1/2": lambda seed: CropEnsemble(seed=seed, discriminant_weight=0.5),
    }


@dataclass(frozen=True)
class Repeats:
    """Predicted codes (n_repeats, n_parcels), the fold that judged them and the mean log-loss."""

    predicted: NDArray[np.intp]
    folds: NDArray[np.intp]
    log_loss: float
    cpu_s: float
    """Of a fit and its prediction."""


def cross_validated(table: Table, model: Maker, seeds: range, n_folds: int) -> Repeats:
    """Out-of-fold predictions of stratified folds, one repeat a seed."""
    classes, codes = np.unique(table.labels, return_inverse=True)
    predicted = np.empty((len(seeds), len(codes)), np.intp)
    folds = np.empty_like(predicted)
    losses = []
    started = time.process_time()
    for repeat, seed in enumerate(seeds):
        shares = np.empty((len(codes), len(classes)))
        split = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(table.features, codes)
        for fold, (train, test) in enumerate(split):
            fitted = model(seed).fit(table.features[train], codes[train])
            shares[test] = fitted.predict_proba(table.features[test])
            folds[repeat, test] = fold
        predicted[repeat] = shares.argmax(axis=1)
        losses.append(_log_loss(codes, shares))
    cpu_s = (time.process_time() - started) / (len(seeds) * n_folds)
    return Repeats(predicted, folds, float(np.mean(losses)), cpu_s)


class Chosen:
    """The candidate that has the least log-loss over inner folds, fitted to all rows."""

    def __init__(self, models: Mapping[str, Maker], seed: int, chosen: list[str]) -> None:
        self.models, self.seed, self.chosen = models, seed, chosen

    def fit(self, features: NDArray[np.float64], codes: NDArray[np.intp]) -> Any:
        """Choose, then fit the chosen one, which is handed back."""
        inner = StratifiedKFold(4, shuffle=True, random_state=1000 + self.seed)
        losses = {
            name: _log_loss(
                codes, cross_val_predict(model(self.seed), features, codes, cv=inner, method="predict_proba")
            )
            for name, model in self.models.items()
        }
        best = min(losses, key=lambda name: losses[name])
        self.chosen.append(best)
        return self.models[best](self.seed).fit(features, codes)


def scores(table: Table, repeats: Repeats) -> dict[str, float]:
    """Mean over the repeats, with the spread of repeats."""
    codes = np.unique(table.labels, return_inverse=True)[1]
    accuracy = (repeats.predicted == codes).mean(axis=1)
    macro = np.array([f1_score(codes, row, average="macro") for row in repeats.predicted])
    return {
        "accuracy": accuracy.mean(),
        "accuracy_sd_of_repeats": accuracy.std(),
        "macro_f1": macro.mean(),
        "macro_f1_sd_of_repeats": macro.std(),
        "log_loss": repeats.log_loss,
        "cpu_s_a_fold": repeats.cpu_s,
    }


def gain(table: Table, model: Repeats, baseline: Repeats) -> dict[str, dict[str, Any]]:
    """Paired gain in accuracy and macro-F1 with both intervals."""
    codes = np.unique(table.labels, return_inverse=True)[1]
    ones = np.ones((1, len(codes)))
    drawn = np.random.default_rng(0).multinomial(len(codes), np.full(len(codes), 1 / len(codes)), N_BOOTSTRAP)
    found: dict[str, dict[str, Any]] = {}
    for name, score in {"accuracy": _accuracy, "macro_f1": _macro_f1}.items():

        def gains(weights: NDArray[Any], score: Callable[..., NDArray[np.float64]] = score) -> NDArray[np.float64]:
            pairs = zip(model.predicted, baseline.predicted, strict=True)
            of_repeats = [score(codes, ours, weights) - score(codes, theirs, weights) for ours, theirs in pairs]
            mean: NDArray[np.float64] = np.mean(of_repeats, axis=0)
            return mean

        by_fold = [
            score(codes[here], ours[here], ones[:, here])[0] - score(codes[here], theirs[here], ones[:, here])[0]
            for ours, theirs, folds in zip(model.predicted, baseline.predicted, model.folds, strict=True)
            for here in (folds == fold for fold in np.unique(folds))
        ]
        of_parcels = gains(drawn)
        found[name] = {
            "gain": gains(ones)[0],
            "interval_of_parcels": list(np.percentile(of_parcels, [2.5, 97.5])),
            "share_of_draws_above_0": (of_parcels > 0).mean(),
            "corrected_resampled_t": _corrected_t(np.array(by_fold), len(np.unique(model.folds))),
        }
    return found


def _accuracy(codes: NDArray[np.intp], predicted: NDArray[np.intp], weights: NDArray[Any]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = weights @ (predicted == codes) / weights.sum(axis=1)
    return shares


def _macro_f1(codes: NDArray[np.intp], predicted: NDArray[np.intp], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the classes that occur, (n_weights,) from weights (n_weights, n_parcels)."""
    true, said = (np.eye(max(codes.max(), predicted.max()) + 1)[of] for of in (codes, predicted))
    both = weights @ true + weights @ said
    f1 = np.divide(2 * (weights @ (true * said)), both, out=np.full(both.shape, np.nan), where=both > 0)
    mean: NDArray[np.float64] = np.nanmean(f1, axis=1)
    return mean


def _corrected_t(gains: NDArray[np.float64], n_folds: int) -> dict[str, Any]:
    """Interval and two-sided p of gains by fold; the variance is raised by the share of test to training rows."""
    n = len(gains)
    error = np.sqrt(gains.var(ddof=1) * (1 / n + 1 / (n_folds - 1)))
    half = stats.t.ppf(0.975, n - 1) * error
    mean = gains.mean()
    return {"mean": mean, "interval": [mean - half, mean + half], "p": 2 * stats.t.sf(abs(mean) / error, n - 1)}


def _log_loss(codes: NDArray[np.intp], shares: NDArray[np.float64]) -> float:
    """Mean log-loss; a probability of 0 counts as 1e-5, since a class without a vote is not infinitely wrong."""
    possible = np.clip(shares, 1e-5, 1)
    return float(log_loss(codes, possible / possible.sum(axis=1, keepdims=True)))


def _frequent(labels: pd.Series) -> pd.Index:
    counts = labels.value_counts()
    return counts.index[counts >= MIN_PARCELS]


def measure(table: Table, seeds: range, n_folds: int, n_nested: int) -> tuple[dict[str, Any], dict[str, Repeats]]:
    """Scores of every candidate and its gain over the baseline; the predictions beside."""
    models = candidates()
    runs = {name: cross_validated(table, model, seeds, n_folds) for name, model in models.items()}
    classes, counts = np.unique(table.labels, return_counts=True)
    found: dict[str, Any] = {
        "parcels": len(table.labels),
        "features": table.features.shape[1],
        "missing": float(np.isnan(table.features).mean()),
        "classes": {str(name): int(count) for name, count in zip(classes, counts, strict=True)},
        "folds": f"{len(seeds)} x {n_folds}, seeds {seeds[0]} to {seeds[-1]}",
        "models": {name: scores(table, run) for name, run in runs.items()},
        "gain_over_forest": {name: gain(table, run, runs[BASELINE]) for name, run in runs.items() if name != BASELINE},
    }
    if n_nested:
        chosen: list[str] = []
        nested = cross_validated(table, lambda seed: Chosen(models, seed, chosen), seeds[:n_nested], n_folds)
        theirs = runs[BASELINE]
        same = Repeats(theirs.predicted[:n_nested], theirs.folds[:n_nested], theirs.log_loss, theirs.cpu_s)
        found["chosen_inside_the_fold"] = {
            "repeats": n_nested,
            "chosen": {name: chosen.count(name) for name in models if name in chosen},
            "scores": scores(table, nested),
            "gain_over_forest": gain(table, nested, same),
        }
    return found, runs


def over_regions(tables: Mapping[str, Table], runs: Mapping[str, Mapping[str, Repeats]]) -> dict[str, Any]:
    """Gain over the parcels of all regions, each judged by its region's models; a class is a label in a region."""
    labels = np.concatenate([np.char.add(f"{region} ", table.labels) for region, table in tables.items()])
    classes = np.unique(labels)
    together = {}
    for name in candidates():
        parts = []
        for region, table in tables.items():
            own = np.char.add(f"{region} ", np.unique(table.labels))
            parts.append(np.searchsorted(classes, own)[runs[region][name].predicted])
        folds = np.hstack([runs[region][name].folds for region in tables])
        together[name] = Repeats(np.hstack(parts), folds, float("nan"), float("nan"))
    whole = Table(np.empty((len(labels), 0)), labels)
    return {name: gain(whole, run, together[BASELINE]) for name, run in together.items() if name != BASELINE}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, (float, np.floating)) else value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.bench_croptype", description="Measure; prints JSON.")
    parser.add_argument("--bavaria", type=Path, help="folder of bavaria-gsaa-2018")
    parser.add_argument("--cawa", type=Path, help="folder of cawa-central-asia")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--nested", type=int, default=0, help="repeats with the model chosen inside the fold")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.repeats)
    found: dict[str, Any] = {}
    if options.bavaria:
        found["bavaria"] = measure(bavaria(options.bavaria), seeds, 5, options.nested)[0]
    if options.cawa:
        tables = cawa(options.cawa)
        measured = {region: measure(table, seeds, 3, 0) for region, table in tables.items()}
        found |= {region: figures for region, (figures, _) in measured.items()}
        found["all_regions"] = over_regions(tables, {region: runs for region, (_, runs) in measured.items()})
    print(json.dumps(_rounded(found), indent=1))
