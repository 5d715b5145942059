"""Mowing on real plots: our detector, the reference's, a plain fall of NDVI and the usual date, on the same folds.

``python -m benchmarks.bench_mowing --gmd DIR [--salms DIR] [--repeats N] [--first-seed S] [--fit]`` prints JSON.

Folds are over plots: all years of a plot are in one fold. Weights and thresholds, the usual date and the thresholds of
the plain rules are found on the other folds. The form of the detector (which terms, how long its windows) was chosen
on folds of seeds 0 to 5, 100 and 101 of the same plots; the figures are of seeds 200 on, and of regions left out as a
whole. The rate of ``dip_rate`` was set after a look at jrc-salms-signals, so that set is no independent test of it.

The truth of gmd-slovakia-mowing was read off images: nine of ten dates are those of a Sentinel-2 image of the region,
four of five a clear one of the plot (``dates_of_images``). So a rule that dates an event by the image after it has a
median error of 0 days, which says nothing of mowers; all rules are judged with events dated at the middle of their
windows, and once more at their ends. And what only radar could see cannot be in this truth.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyogrio
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from s4c_hpc.config.mowing import ImprovedRules, ReferenceRules
from s4c_hpc.mowing.compliance import day_of
from s4c_hpc.mowing.detector import detected, falls
from s4c_hpc.mowing.reference import Orbit, reference_windows
from s4c_hpc.mowing.windows import Windows
from s4c_hpc.series.looks import Floats, dips, looks_of, without
from s4c_hpc.validation.matching import Counts, counted, gain, intervals, scores

TOLERANCE: Final = 12.0
SEASON: Final = ("04-01", "10-31")
THRESHOLDS: Final = np.arange(0.1, 0.8, 0.05)
FALLS: Final = (0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.2)
Events = list[Floats]
"""(k, 2) windows of each plot."""


@dataclass(frozen=True)
class Group:
    """Plots of a region and year."""

    region: str
    year: int
    plots: list[str]
    days: Floats
    ndvi: Floats
    orbits: tuple[Orbit, ...]
    """VV and VH."""
    known: list[list[float]]

    @property
    def season(self) -> tuple[float, float]:
        """First and last day."""
        return day_of(SEASON[0], self.year), day_of(SEASON[1], self.year)


def gmd(folder: Path) -> tuple[list[Group], dict[str, Any]]:
    """Plots of which it is known whether and when they were mown; and what was found about the truth."""
    truth = pyogrio.read_dataframe(folder / "GMI_Long.gpkg", read_geometry=False)
    truth["day"] = pd.to_datetime(truth["date"])
    typo = truth["day"].notna() & (truth["day"].dt.year != truth["year"])
    wrong = set(zip(truth[typo]["PLOTID"], truth[typo]["year"], strict=True))
    groups, images, clear, by_chance = [], 0, 0, 0.0
    for (region, year), rows in truth.groupby(["id", "year"]):
        known: dict[str, list[float]] = {}
        for row in rows.itertuples():
            if (row.PLOTID, year) not in wrong:
                known.setdefault(row.PLOTID, []).extend([] if pd.isna(row.day) else [_number(row.day)])
        plots = sorted(known)
        optical = pd.read_csv(folder / f"S2/ts_{region}_GMI_S2_{region}_{year}.csv.gz").replace(-9999, np.nan)
        optical.loc[optical["mask"] != 1, "ndvi"] = np.nan
        radar = pd.read_csv(folder / f"COH/ts_{region}_GMI_COH_{year}.csv.gz").replace(-9999, np.nan)
        # The later image of a pair: lr_20210101-20210107_0.
        radar["Date"] = radar["system:index"].str.extract(r"-(\d{8})_")[0]
        days, ndvi = _matrix(optical, "ndvi", plots)
        orbits = tuple(Orbit(*_matrix(radar, band, plots)) for band in ("b1", "b2"))
        group = Group(str(region), int(year), plots, days, ndvi, orbits, [sorted(known[p]) for p in plots])
        groups.append(group)
        for values, dates in zip(ndvi, group.known, strict=True):
            images += int(np.isin(dates, days).sum())
            clear += int(np.isin(dates, days[np.isfinite(values)]).sum())
            summer = np.unique(days[(days > day_of("05-30", group.year)) & (days < day_of("10-01", group.year))])
            by_chance += len(dates) * summer.size / 123
    n = sum(len(dates) for group in groups for dates in group.known)
    about = {
        "plot_years": sum(len(group.plots) for group in groups),
        "plots": len({plot for group in groups for plot in group.plots}),
        "events": n,
        "plot_years_without": sum(not dates for group in groups for dates in group.known),
        "left_out_date_of_another_year": len(wrong),
        "dates_of_images": images / n,
        "dates_of_clear_images_of_the_plot": clear / n,
        "dates_of_images_by_chance": by_chance / n,
    }
    return groups, about


def _number(day: pd.Timestamp) -> float:
    return float((day.normalize() - pd.Timestamp(1970, 1, 1)).days)


def _matrix(rows: pd.DataFrame, column: str, plots: list[str]) -> tuple[Floats, Floats]:
    """Days (t,) and values (n, t); the mean of what is of one day."""
    wide = rows[rows["PLOTID"].isin(plots)].pivot_table(index="PLOTID", columns="Date", values=column, dropna=False)
    days = np.array([_number(day) for day in pd.to_datetime(wide.columns.astype(str))])
    order = np.argsort(days)
    return days[order], wide.reindex(plots).to_numpy()[:, order]


Rule = Callable[[list[Group], list[list[bool]]], list[Events]]
"""From groups and which plots of them may be learned from (one list a group) to the events of all plots."""


def usual_date(groups: list[Group], train: list[list[bool]]) -> list[Events]:
    """One event, at the median day of the year of the others."""
    known = [
        day - day_of("01-01", group.year)
        for group, own in zip(groups, train, strict=True)
        for dates, taken in zip(group.known, own, strict=True)
        if taken
        for day in dates
    ]
    usual = float(np.median(known))
    return [[np.full((1, 2), day_of("01-01", g.year) + usual) for _ in g.plots] for g in groups]


def plain(groups: list[Group], train: list[list[bool]], *, largest: bool) -> list[Events]:
    """All falls between two clear looks above a threshold, or the largest one of the season."""
    made = [[_plain(group, least, largest=largest) for group in groups] for least in FALLS]
    return max(made, key=lambda events: _f1(groups, events, train))


def _plain(group: Group, least: float, *, largest: bool) -> Events:
    found = []
    for values in group.ndvi:
        seen = np.isfinite(values)
        days, ndvi = group.days[seen], values[seen]
        windows = np.stack([days[:-1], days[1:]], axis=1)
        fall = np.where(_inside(windows, group), ndvi[:-1] - ndvi[1:], 0.0)
        keep = fall > least
        if largest and keep.any():
            keep = np.arange(fall.size) == fall.argmax()
        found.append(windows[keep])
    return found


def _inside(windows: Floats, group: Group) -> NDArray[np.bool_]:
    middle = windows.mean(axis=1)
    inside: NDArray[np.bool_] = (middle >= group.season[0]) & (middle <= group.season[1])
    return inside


def reference(groups: list[Group], train: list[list[bool]], *, s1: bool, s2: bool) -> list[Events]:  # noqa: ARG001
    """The reference with its defaults: nothing is learned. The plots are points; 10 pixels are assumed."""
    found = []
    for group in groups:
        ndvi = group.ndvi if s2 else np.full_like(group.ndvi, np.nan)
        orbits = group.orbits[1:] if s1 else ()
        pixels = np.full(len(group.plots), 10.0)
        windows = reference_windows(ndvi, group.days, orbits, pixels, group.season, ReferenceRules())
        found.append(_rows(windows))
    return found


def improved(groups: list[Group], train: list[list[bool]], *, s1: bool) -> list[Events]:
    """Ours, with weights and threshold of the training plots."""
    rules = fitted(groups, train, s1=s1)
    every = [_improved(group, rules, s1=s1) for group in groups]
    made = [[_confident(*one, least) for one in every] for least in THRESHOLDS]
    return max(made, key=lambda events: _f1(groups, events, train))


def _improved(group: Group, rules: ImprovedRules, *, s1: bool) -> tuple[Windows, NDArray[np.bool_]]:
    every = rules.model_copy(update={"min_confidence": float(THRESHOLDS[0])})
    made = detected(group.ndvi, group.days, group.orbits[:1] if s1 else (), group.season, every)
    return made.windows, made.windows.there


def _confident(windows: Windows, there: NDArray[np.bool_], least: float) -> Events:
    with np.errstate(invalid="ignore"):
        return _rows(windows, there & (windows.confidence >= least))


def _rows(windows: Windows, keep: NDArray[np.bool_] | None = None) -> Events:
    kept = windows.there if keep is None else keep
    both = np.stack([windows.start, windows.end], axis=2)
    return [own[there] for own, there in zip(both, kept, strict=True)]


def fitted(groups: list[Group], train: list[list[bool]], *, s1: bool) -> ImprovedRules:
    """Weights by logistic regression over falls.

    A fall whose window holds a known date, two days more on either side, is a mowing; others whose middle is within 25
    days of one are left out, for they may be the same; all else is none.
    """
    rules = ImprovedRules()
    terms, labels = [], []
    for group, own in zip(groups, train, strict=True):
        looks = looks_of(group.ndvi, group.days, rules.corrupted_th)
        looks = without(looks, dips(looks, rules))
        found = falls(looks, group.orbits[:1] if s1 else (), group.season, rules)
        values = np.stack(found.terms, axis=2)
        for i, dates in enumerate(group.known):
            if not own[i]:
                continue
            there = np.isfinite(found.start[i])
            start, end = found.start[i][there, None], found.end[i][there, None]
            known = np.array(dates).reshape(1, -1)
            hit = ((known >= start - 2) & (known <= end + 2)).any(axis=1)
            near = (np.abs((start + end) / 2 - known) <= 25).any(axis=1)
            terms.append(values[i][there][hit | ~near])
            labels.append(hit[hit | ~near])
    table, label = np.concatenate(terms), np.concatenate(labels)
    usual = np.nanmean(table[:, 2]), np.nanmean(table[:, 3]) if s1 else 0.0
    for column, value in zip((2, 3), usual, strict=True):
        table[:, column] = np.where(np.isfinite(table[:, column]), table[:, column], value)
    scaler = StandardScaler().fit(table)
    model = LogisticRegression(C=0.3).fit(scaler.transform(table), label)
    weights = model.coef_[0] / scaler.scale_
    return rules.model_copy(
        update={
            "intercept": float(model.intercept_[0] - weights @ scaler.mean_ + weights[3] * usual[1]),
            "fall_weight": float(weights[0]),
            "reference_weight": float(weights[1]),
            "regrowth_weight": float(weights[2]),
            "coherence_weight": float(weights[3]) if s1 else 0.0,
            "regrowth_usual": float(usual[0]),
            "coherence_usual": float(usual[1]),
        }
    )


def _f1(groups: list[Group], events: list[Events], use: list[list[bool]]) -> float:
    return scores(_counts(groups, events, use, end=False)).f1


def _counts(groups: list[Group], events: list[Events], use: list[list[bool]], *, end: bool) -> list[Counts]:
    return [
        counted(plot, list(found[:, 1] if end else found.mean(axis=1)), known, TOLERANCE)
        for group, own, mine in zip(groups, events, use, strict=True)
        for plot, found, known, taken in zip(group.plots, own, group.known, mine, strict=True)
        if taken
    ]


RULES: Final[Mapping[str, Rule]] = {
    "usual date": usual_date,
    "plain fall": partial(plain, largest=False),
    "largest fall": partial(plain, largest=True),
    "reference S1": partial(reference, s1=True, s2=False),
    "reference S2": partial(reference, s1=False, s2=True),
    "reference S1+S2": partial(reference, s1=True, s2=True),
    "improved S2": partial(improved, s1=False),
    "improved S1+S2": partial(improved, s1=True),
}


def judged(groups: list[Group], folds: Sequence[Mapping[str, int]]) -> dict[str, dict[bool, list[Counts]]]:
    """Counts of every rule over all repeats, dated at the middle (False) and at the end (True).

    Parameters
    ----------
    folds : fold of each plot (``region/plot``), a mapping a repeat
    """
    found: dict[str, dict[bool, list[Counts]]] = {name: {False: [], True: []} for name in RULES}
    for fold_of in folds:
        for fold in sorted(set(fold_of.values())):
            test = [[fold_of[f"{g.region}/{p}"] == fold for p in g.plots] for g in groups]
            train = [[not taken for taken in own] for own in test]
            for name, rule in RULES.items():
                events = rule(groups, train)
                for end in (False, True):
                    found[name][end] += _counts(groups, events, test, end=end)
    return found


def summary(counts: Mapping[str, Mapping[bool, list[Counts]]]) -> dict[str, Any]:
    """Scores, intervals and gains of every rule."""
    said: dict[str, Any] = {}
    for end in (False, True):
        own: dict[str, Any] = {}
        for name, of_rule in counts.items():
            one = of_rule[end]
            own[name] = {**dataclasses.asdict(scores(one)), "interval": intervals(one)}
            if name.startswith("improved"):
                others = ("usual date", "plain fall", "largest fall", "reference S2", "reference S1+S2", "improved S2")
                own[name]["gain"] = {o: gain(one, counts[o][end]) for o in others if o != name}
        said["dated at the end" if end else "dated at the middle"] = own
    return said


def salms(folder: Path) -> dict[str, Any]:
    """JRC's 17 mowings with the weights as they are shipped; the files do not mask clouds, but hold classes."""
    home = folder / "SALMS/inst/extdata"
    truth = pd.read_csv(home / "gtdir/FOIinfo.csv")
    truth["day"] = [_number(day) for day in pd.to_datetime(truth["Event_date"], format="%d/%m/%Y")]
    season = day_of(SEASON[0], 2020), day_of(SEASON[1], 2020)
    said: dict[str, Any] = {"events": len(truth)}
    for masked in (False, True):
        counts: dict[str, dict[bool, list[Counts]]] = {}
        for parcel in sorted(set(truth["ID"])):
            series = pd.read_csv(home / f"tsdir/{parcel}_s2_idx_ts.csv")
            series = series[series["band"] == "NDVI"].sort_values("date")
            if masked:
                series = series[series[[f"hist.{c}" for c in (3, 8, 9, 10, 11)]].sum(axis=1) == 0]
            days = np.array([_number(day) for day in pd.to_datetime(series["date"])])
            ndvi = series["MEAN"].to_numpy(np.float64)[None]
            orbits = _salms_coherence(home / f"tsdir/{parcel}_s1_coh6_ts.csv")
            group = Group("", 2020, [str(parcel)], days, ndvi, orbits, [truth[truth["ID"] == parcel]["day"].tolist()])
            pixels = np.array([15.0])
            rules = {
                "plain fall .15": _plain(group, 0.15, largest=False)[0],
                "reference S1+S2": _rows(reference_windows(ndvi, days, orbits[1:], pixels, season, ReferenceRules()))[
                    0
                ],
                "improved S2": _rows(detected(ndvi, days, (), season, ImprovedRules()).windows)[0],
                "improved S1+S2": _rows(detected(ndvi, days, orbits[:1], season, ImprovedRules()).windows)[0],
            }
            for name, windows in rules.items():
                for end in (False, True):
                    one = counted(
                        str(parcel), list(windows[:, 1] if end else windows.mean(axis=1)), group.known[0], TOLERANCE
                    )
                    counts.setdefault(name, {False: [], True: []})[end].append(one)
        said["clouds masked by class" if masked else "as in the files"] = {
            name: {
                "dated at the end" if end else "dated at the middle": {
                    **dataclasses.asdict(scores(of[end])),
                    "interval": intervals(of[end]),
                }
                for end in (False, True)
            }
            for name, of in counts.items()
        }
    return said


def _salms_coherence(path: Path) -> tuple[Orbit, ...]:
    rows = pd.read_csv(path)
    found = []
    for band in ("s1_coh6_VV", "s1_coh6_VH"):
        own = rows[rows["band"] == band].assign(day=lambda r: pd.to_datetime(r["date"].str[:8])).sort_values("day")
        found.append(Orbit(np.array([_number(d) for d in own["day"]]), own["MEAN"].to_numpy(np.float64)[None]))
    return tuple(found)


def random_folds(groups: list[Group], seed: int, n: int = 5) -> dict[str, int]:
    """Fold of each plot."""
    plots = sorted({f"{g.region}/{p}" for g in groups for p in g.plots})
    return dict(zip(plots, (np.random.default_rng(seed).permutation(len(plots)) % n).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_mowing", description="Judge detectors of mowing; prints JSON.")
    parser.add_argument("--gmd", type=Path, required=True, help="folder gmd-slovakia-mowing")
    parser.add_argument("--salms", type=Path, help="folder jrc-salms-signals")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--fit", action="store_true", help="print the weights of all plots and leave")
    options = parser.parse_args()
    groups, about = gmd(options.gmd)
    if options.fit:
        every = [[True] * len(group.plots) for group in groups]
        rules = fitted(groups, every, s1=True)
        made = [_improved(group, rules, s1=True) for group in groups]
        best = max(THRESHOLDS, key=lambda least: _f1(groups, [_confident(*one, least) for one in made], every))
        print(json.dumps(rules.model_copy(update={"min_confidence": float(best)}).model_dump(), indent=2))
        return
    seeds = range(options.first_seed, options.first_seed + options.repeats)
    regions = sorted({group.region for group in groups})
    by_region = {f"{g.region}/{p}": regions.index(g.region) for g in groups for p in g.plots}
    said = {
        "truth": about,
        "folds over plots": summary(judged(groups, [random_folds(groups, seed) for seed in seeds])),
        "regions left out": summary(judged(groups, [by_region])),
    }
    if options.salms:
        said["jrc-salms"] = salms(options.salms)
    print(json.dumps(said, indent=2))


if __name__ == "__main__":
    main()
