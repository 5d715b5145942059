"""Harvest and catch crop by optical series alone, on real fields with dated harvests.

``python -m benchmarks.bench_harvest --workspace DEMO [--bavaria DIR] [--spain FILE] [--table FILE]`` prints JSON.
DEMO is what ``make demo`` makes: tum-freising-2018, 18 cereal fields. ``--table`` writes its series as a small table,
which is what the tests read.

A window is right if it contains a logged day of the harvest; strictly right if it contains all. The form of the rule
(which indices, their mean) and its constants were chosen with these fields in sight, so the figures are no independent
test: ``sensitivity`` says what each constant does, ``left_out`` what the one that matters is when it is chosen on the
other crop or the other fields, ``variants`` what the indices do alone and what other bands do.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from s4c_hpc.config.practices import OpticalEventRules
from s4c_hpc.practices.optical_events import OpticalHarvest, optical_catch_crop, optical_harvest
from s4c_hpc.series import open_series

Floats = NDArray[np.float64]
Days = NDArray[np.int64]

TRUTH: Final = Path(__file__).parents[1] / "tests" / "data" / "tum-freising-2018" / "events_truth.csv"
SEASON: Final = ("2018-06-01", "2018-08-31")
"""Days between which a harvest may be: the same for both crops, as a paying agency knows them."""
CATCH_CROP: Final = ("2018-08-01", "2018-08-31")
WITH: Final = ("Grafenfeld", "Krohberg", "Sieblerfeld")
WITHOUT: Final = ("Radarstation",)
CONSTANT: Final = {"Weizen": ("2018-07-14", "2018-08-02"), "Gerste": ("2018-06-20", "2018-07-09")}
SHARES: Final = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
CROPS: Final = {
    451: "meadow",
    453: "pasture",
    422: "clover-grass",
    115: "winter wheat",
    131: "winter barley",
    132: "spring barley",
    311: "winter rape",
    400: "maize",
}


@dataclass(frozen=True)
class Fields:
    """Series of n fields."""

    name: list[str]
    day: Days
    series: dict[str, Floats]
    """(n, d) of NDVI, indices of the ground and single bands."""

    def harvest(
        self,
        rules: OpticalEventRules,
        names: Iterable[str] = ("bsi", "swir1", "ndti"),
        season: tuple[str, str] = SEASON,
        swir1: str = "swir1",
    ) -> OpticalHarvest:
        """Harvests by some of the indices."""
        ground = {name: self.series[swir1 if name == "swir1" else name] for name in names}
        n = len(self.name)
        return optical_harvest(
            self.day, self.series["ndvi"], ground, np.full(n, number(season[0])), np.full(n, number(season[1])), rules
        )


@dataclass(frozen=True)
class Truth:
    """What is known of the same fields."""

    crop: NDArray[np.str_]
    first: Days
    last: Days

    def right(self, start: Days, end: Days) -> NDArray[np.bool_]:
        """(n,) windows with a logged day in them: a harvest on the day of the look before may be seen or not."""
        ok: NDArray[np.bool_] = (start >= 0) & (start <= self.last) & (end >= self.first)
        return ok

    def strictly(self, start: Days, end: Days) -> NDArray[np.bool_]:
        """(n,) windows with all logged days in them."""
        ok: NDArray[np.bool_] = (start >= 0) & (start <= self.first) & (end >= self.last)
        return ok


def number(day: str) -> int:
    """Days since 1970."""
    return int(np.datetime64(day, "D").astype(np.int64))


def day_of(number: float) -> str:
    """As people write it."""
    return str(np.datetime64(int(number), "D"))


def freising(workspace: Path) -> Fields:
    """Series of the demo's fields, in the order of the truth; NDTI is made of the means of its bands."""
    series = open_series(workspace)
    found: dict[str, Floats] = {}
    for name in ("ndvi", "bsi", "brightness", "b02", "b03", "b04", "b08", "b11", "b12"):
        one = next(iter(series.variable(name, "mean", sensor="s2")))
        found[name] = one.matrix.T.astype(np.float64)
    tables = sorted((workspace / "parcels").glob("v*/parcels.parquet"))
    ids = pd.read_parquet(tables[-1], columns=["NewID", "ori_id"]).set_index("ori_id")["NewID"]
    names = pd.read_csv(TRUTH)["parcel_id"].tolist()
    rows = [int(np.flatnonzero(one.new_id == ids[name])[0]) for name in names]
    values = {name: matrix[rows] for name, matrix in found.items()}
    values["swir1"] = values["b11"]
    values["ndti"] = (values["b11"] - values["b12"]) / (values["b11"] + values["b12"])
    return Fields(names, one.times.astype("datetime64[D]").astype(np.int64), values)


def truth() -> Truth:
    """Logged days of harvest."""
    table = pd.read_csv(TRUTH)
    first, last = (np.array([number(d) for d in table[f"harvest_{end}"]], np.int64) for end in ("first", "last"))
    return Truth(table["crop"].to_numpy(str), first, last)


def scored(found: OpticalHarvest, known: Truth, among: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Counts and lengths of windows."""
    rows = np.ones(len(known.crop), bool) if among is None else among
    length = (found.end - found.start)[found.found & rows]
    return {
        "right": int((known.right(found.start, found.end) & rows).sum()),
        "strictly": int((known.strictly(found.start, found.end) & rows).sum()),
        "of": int(rows.sum()),
        "days_min_median_max": [float(f(length)) for f in (np.min, np.median, np.max)] if length.size else None,
    }


def by_field(fields: Fields, known: Truth, found: OpticalHarvest) -> list[dict[str, Any]]:
    """A row a field."""
    right = known.right(found.start, found.end)
    return [
        {
            "field": name,
            "crop": str(known.crop[i]),
            "logged": sorted({day_of(known.first[i]), day_of(known.last[i])}),
            "window": [day_of(found.start[i]), day_of(found.end[i])] if found.found[i] else None,
            "right": bool(right[i]),
            "confidence": round(float(found.confidence[i]), 2),
            **{k: round(float(v[i]), 2) for k, v in found.evidence.items() if np.isfinite(v[i])},
        }
        for i, name in enumerate(fields.name)
    ]


def constant_windows(known: Truth) -> dict[str, Any]:
    """A window a crop, set by hand."""
    windows = np.array([[number(day) for day in CONSTANT[crop]] for crop in known.crop])
    right = known.right(windows[:, 0], windows[:, 1])
    return {
        "right": int(right.sum()),
        "strictly": int(known.strictly(windows[:, 0], windows[:, 1]).sum()),
        "of": len(right),
        "days": {crop: number(b) - number(a) for crop, (a, b) in CONSTANT.items()},
    }


def looks_around(fields: Fields, known: Truth) -> list[float]:
    """Shortest, median and longest time between the looks around the logged days, masked as the chain masks them."""
    lengths = []
    for i, ndvi in enumerate(fields.series["ndvi"]):
        days = fields.day[np.isfinite(ndvi)]
        lengths.append(days[days >= known.last[i]].min() - days[days <= known.first[i]].max())
    return [float(f(lengths)) for f in (np.min, np.median, np.max)]


def variants(fields: Fields, known: Truth, rules: OpticalEventRules) -> dict[str, Any]:
    """Fewer indices, and other bands in place of SWIR1."""
    cases: dict[str, tuple[tuple[str, ...], str]] = {
        "bsi and swir1": (("bsi", "swir1"), "swir1"),
        "swir1 alone": (("swir1",), "swir1"),
        "bsi alone": (("bsi",), "swir1"),
        "ndvi alone": ((), "swir1"),
        "bsi and swir2 (B12)": (("bsi", "swir1"), "b12"),
        "bsi and red (B04)": (("bsi", "swir1"), "b04"),
        "bsi and brightness": (("bsi", "swir1"), "brightness"),
    }
    out = {}
    for name, (names, swir1) in cases.items():
        found = fields.harvest(rules, names, swir1=swir1)
        wrong = ~known.right(found.start, found.end)
        out[name] = {
            **scored(found, known),
            "median_confidence": round(float(np.median(found.confidence)), 2),
            "not_right": {
                fields.name[i]: [day_of(found.start[i]), day_of(found.end[i])] if found.found[i] else None
                for i in np.flatnonzero(wrong)
            },
        }
    return out


def sensitivity(fields: Fields, known: Truth, rules: OpticalEventRules) -> dict[str, Any]:
    """Right windows and catch crops with each constant a quarter down and up; a zero is moved by .05, a count by 1."""
    out: dict[str, Any] = {"shipped": _both(fields, known, rules)}
    for name in OpticalEventRules.model_fields:
        value = getattr(rules, name)
        if OpticalEventRules.model_fields[name].annotation is int:
            steps: tuple[float, float] = (value - 1, value + 1)
        elif value == 0:
            steps = (-0.05, 0.05)
        else:
            steps = (0.75 * value, min(1.25 * value, 1.0 if _is_share(name) else np.inf))
        changed = [rules.model_copy(update={name: step}) for step in steps]
        out[name] = {f"{getattr(one, name):g}": _both(fields, known, one) for one in changed}
    return out


def two_shares(fields: Fields, known: Truth, rules: OpticalEventRules) -> dict[str, list[int]]:
    """Right windows by ``bare_share``, a figure for each ``ground_share`` of ``SHARES``."""
    out = {}
    for bare in (0.8, 0.85, 0.9, 0.95, 1.0):
        changed = [rules.model_copy(update={"bare_share": bare, "ground_share": share}) for share in SHARES]
        out[f"{bare:g}"] = [scored(fields.harvest(one), known)["right"] for one in changed]
    return out


def _is_share(name: str) -> bool:
    return any(getattr(limit, "le", None) == 1 for limit in OpticalEventRules.model_fields[name].metadata)


def _both(fields: Fields, known: Truth, rules: OpticalEventRules) -> dict[str, int]:
    found = fields.harvest(rules)
    right = int(known.right(found.start, found.end).sum())
    crops = catch_crops(fields, found, rules)
    return {"right": right, "strictly": scored(found, known)["strictly"], "catch_crops": crops["right"]}


def left_out(fields: Fields, known: Truth, rules: OpticalEventRules) -> dict[str, Any]:
    """``ground_share`` chosen on other fields: the middle of the shares that are best there."""
    right = {}
    for share in SHARES:
        found = fields.harvest(rules.model_copy(update={"ground_share": share}))
        right[share] = known.right(found.start, found.end)

    def chosen(rows: NDArray[np.bool_]) -> float:
        counts = {share: int(r[rows].sum()) for share, r in right.items()}
        best = [share for share, count in counts.items() if count == max(counts.values())]
        return best[len(best) // 2]

    out: dict[str, Any] = {}
    for crop in np.unique(known.crop):
        own = known.crop == crop
        share = chosen(~own)
        out[str(crop)] = {"share": share, "right": int(right[share][own].sum()), "of": int(own.sum())}
    n = len(known.crop)
    shares = [chosen(np.arange(n) != i) for i in range(n)]
    hits = sum(bool(right[share][i]) for i, share in enumerate(shares))
    out["each field"] = {"shares": sorted(set(shares)), "right": hits, "of": n}
    return out


def disturbed(fields: Fields, known: Truth, rules: OpticalEventRules) -> dict[str, Any]:
    """Right windows without one of the dates since June, and with normal noise on all values (means of 50 draws)."""
    out: dict[str, Any] = {}
    for j in np.flatnonzero(fields.day >= number(SEASON[0])):
        fewer = {name: np.delete(matrix, j, axis=1) for name, matrix in fields.series.items()}
        found = replace(fields, day=np.delete(fields.day, j), series=fewer).harvest(rules)
        out[f"without {day_of(fields.day[j])}"] = scored(found, known)["right"]
    for noise in (0.01, 0.02, 0.03):
        rng = np.random.default_rng(0)
        right = []
        for _ in range(50):
            noisy = {name: matrix + rng.normal(0, noise, matrix.shape) for name, matrix in fields.series.items()}
            right.append(scored(replace(fields, series=noisy).harvest(rules), known)["right"])
        out[f"noise of {noise:g}"] = [float(np.mean(right)), min(right)]
    return out


def catch_crops(fields: Fields, found: OpticalHarvest, rules: OpticalEventRules) -> dict[str, Any]:
    """Fields with and without one, and what is said of those of which nothing is known."""
    n = len(fields.name)
    first, last = (np.full(n, number(day)) for day in CATCH_CROP)
    seen = optical_catch_crop(fields.day, fields.series["ndvi"], found.end, first, last, rules)
    row = {name: i for i, name in enumerate(fields.name)}
    right = sum(bool(seen.found[row[f]]) for f in WITH) + sum(not seen.found[row[f]] for f in WITHOUT)
    return {
        "right": right,
        "of": len(WITH) + len(WITHOUT),
        "found": {
            fields.name[i]: {
                "up": [day_of(seen.start[i]), day_of(seen.end[i])],
                "confidence": round(float(seen.confidence[i]), 2),
                "ndvi_highest": round(float(seen.evidence["ndvi_highest"][i]), 2),
            }
            for i in np.flatnonzero(seen.found)
        },
    }


def bavaria(folder: Path, rules: OpticalEventRules) -> dict[str, Any]:
    """Windows by declared crop: no truth, reflectance at the top of the atmosphere, 14 half-month steps."""
    table = pd.read_csv(folder / "s2_l1c_parcel_means.csv")
    blue, red, nir, swir1, swir2 = (table[f"{b}_mean"] / 1e4 for b in ("B2", "B4", "B8", "B11", "B12"))
    table["day"] = [number(day) for day in table["Date"]]
    columns = {
        "ndvi": (nir - red) / (nir + red),
        "bsi": ((swir1 + red) - (nir + blue)) / ((swir1 + red) + (nir + blue)),
        "swir1": swir1,
        "ndti": (swir1 - swir2) / (swir1 + swir2),
    }
    values = {k: table.assign(v=v).pivot_table(index="id", columns="day", values="v") for k, v in columns.items()}
    codes = table.groupby("id")["NC"].first().to_numpy()
    fields = Fields(
        [str(i) for i in values["ndvi"].index],
        values["ndvi"].columns.to_numpy(np.int64),
        {k: v.to_numpy(np.float64) for k, v in values.items()},
    )
    out = {}
    for label, names in (("bsi and swir1", ("bsi", "swir1")), ("ndvi alone", ())):
        found = fields.harvest(rules, names, ("2018-06-15", "2018-08-31"))
        out[label] = {name: _of_crop(found, codes == code) for code, name in CROPS.items()}
    return out


def _of_crop(found: OpticalHarvest, own: NDArray[np.bool_]) -> dict[str, Any]:
    there = own & found.found
    row: dict[str, Any] = {"parcels": int(own.sum()), "found": int(there.sum())}
    if there.any():
        row["median_window"] = [day_of(np.median(days[there])) for days in (found.start, found.end)]
        row["confidence_median_max"] = [round(float(f(found.confidence[there])), 2) for f in (np.median, np.max)]
    return row


def spain(path: Path, rules: OpticalEventRules) -> dict[str, Any]:
    """One field near Valladolid without SWIR: what NDVI alone says."""
    bands = {}
    for band in ("B04", "B08", "SCL"):
        with rasterio.open(f"netcdf:{path}:{band}") as layer:
            bands[band] = layer.read().astype(np.float64)
            times = json.loads("[" + layer.tags()["NETCDF_DIM_t_VALUES"].strip("{}") + "]")
            unit = layer.tags()["t#units"]
    day = number(unit.split()[-1][:10]) + np.array(times, np.int64)
    red, nir, clear = bands["B04"], bands["B08"], np.isin(bands["SCL"], (4, 5, 6, 7))
    with np.errstate(invalid="ignore", divide="ignore"):
        pixels = np.where(clear & (nir + red > 0), (nir - red) / (nir + red), np.nan)
    share = np.isfinite(pixels).mean(axis=(1, 2))
    ndvi = np.array([np.nanmean(p) if s > 0.5 else np.nan for p, s in zip(pixels, share, strict=True)])
    fields = Fields(["valladolid"], day, {"ndvi": ndvi[None]})
    found = fields.harvest(rules, (), ("2019-05-15", "2019-10-31"))
    return {
        "window": [day_of(found.start[0]), day_of(found.end[0])] if found.found[0] else None,
        "confidence": round(float(found.confidence[0]), 2),
        "ndvi": {day_of(d): round(float(v), 2) for d, v in zip(day, ndvi, strict=True) if np.isfinite(v)},
    }


def speed(fields: Fields, rules: OpticalEventRules, n: int = 200 * 1024, block: int = 1024) -> dict[str, Any]:
    """Parcels a CPU second at 40 dates, a third of the looks missing; series made from those of the fields."""
    rng = np.random.default_rng(0)
    day = np.sort(rng.choice(np.arange(fields.day[0], fields.day[-1]), 40, replace=False)).astype(np.int64)
    rows, hole = rng.integers(0, len(fields.name), block), rng.random((block, 40)) < 1 / 3

    def drawn(matrix: Floats) -> Floats:
        smooth = [np.interp(day, fields.day[np.isfinite(m)], m[np.isfinite(m)]) for m in matrix]
        return np.where(hole, np.nan, np.stack(smooth)[rows] + rng.normal(0, 0.01, (block, 40)))

    values = {name: drawn(fields.series[name]) for name in ("ndvi", "bsi", "swir1", "ndti")}
    many = Fields([""] * block, day, values)
    first, last = (np.full(block, number(d)) for d in CATCH_CROP)

    def rate(work: Callable[[], Any]) -> int:
        work()
        started = time.process_time()
        for _ in range(n // block):
            work()
        return round(n / (time.process_time() - started))

    found = many.harvest(rules)
    return {
        "block": block,
        "harvest_parcels_per_cpu_s": rate(lambda: many.harvest(rules)),
        "catch_crop_parcels_per_cpu_s": rate(
            lambda: optical_catch_crop(day, values["ndvi"], found.end, first, last, rules)
        ),
    }


def write_table(fields: Fields, path: Path) -> None:
    """A row a field and day that has NDVI."""
    names = ("ndvi", "bsi", "swir1", "ndti")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["parcel_id", "day", *names])
        for i, name in enumerate(fields.name):
            for j in np.flatnonzero(np.isfinite(fields.series["ndvi"][i])):
                row = [f"{fields.series[k][i, j]:.4f}" for k in names]
                writer.writerow([name, day_of(fields.day[j]), *row])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--bavaria", type=Path)
    parser.add_argument("--spain", type=Path)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    rules, fields, known = OpticalEventRules(), freising(args.workspace), truth()
    if args.table:
        write_table(fields, args.table)
    found = fields.harvest(rules)
    out: Mapping[str, Any] = {
        "harvest": scored(found, known),
        "by_crop": {str(c): scored(found, known, known.crop == c) for c in np.unique(known.crop)},
        "constant_windows": constant_windows(known),
        "looks_around_logged_days": looks_around(fields, known),
        "catch_crops": catch_crops(fields, found, rules),
        "variants": variants(fields, known, rules),
        "sensitivity": sensitivity(fields, known, rules),
        "two_shares": {"ground_share": SHARES, **two_shares(fields, known, rules)},
        "disturbed": disturbed(fields, known, rules),
        "left_out": left_out(fields, known, rules),
        "bavaria": bavaria(args.bavaria, rules) if args.bavaria else None,
        "spain": spain(args.spain, rules) if args.spain else None,
        "speed": speed(fields, rules),
        "fields": by_field(fields, known, found),
    }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
