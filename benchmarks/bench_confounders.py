"""Fields around on real mowings, and what the comparison costs.

``python -m benchmarks.bench_confounders [--salms DIR] [--gmd DIR] [--parcels N --acquisitions N]`` prints JSON.

Of jrc-salms-signals: which mowings have a rise of weekly coherence of at least t in their weeks 0 to +4 (hits, of 17),
and which parcel-weeks with a rise lie outside of any such window (false): as it is, less what others have in common,
and in no doubt. Of gmd-slovakia-mowing the same with pairs of one orbit and windows of 30 days. Speed: made-up
parcels, one process, CPU seconds.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
from numpy.typing import NDArray
from pyproj import Transformer

from s4c_hpc.config.confounders import Confounders
from s4c_hpc.confounders.peers import Peers
from s4c_hpc.confounders.read import batch_of, schema_of
from s4c_hpc.confounders.rules import Passes, Steps, doubts_of_block, rain_at, standing_out, steps_of
from s4c_hpc.confounders.warm import main as warm
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.parcels import BLOCK
from s4c_hpc.series.generation import Acquisition
from s4c_hpc.weather import Rain

Flags = NDArray[np.bool_]

THRESHOLDS = (0.05, 0.10, 0.15)
WEEKS = range(14, 45)
"""Of salms: those of the season."""
AFTER = 5
"""Weeks that count for an event, that of the event and four more."""


def counted(rises: Flags, windows: list[tuple[int, Flags]], own: Flags) -> dict[str, int]:
    """Events with a rise in their window, and rises outside of every window.

    Parameters
    ----------
    rises : (n, c)
    windows : parcel and (c,) columns that count, of each event
    own : (c,) columns of the season, outside of which no rise is false (a window may go on behind its end)
    """
    inside = np.zeros(rises.shape, bool)
    for parcel, window in windows:
        inside[parcel] |= window
    return {
        "hits": sum(bool(rises[parcel, window].any()) for parcel, window in windows),
        "false": int((rises & ~inside)[:, own].sum()),
        "events": len(windows),
        "others": int((~inside)[:, own].sum()),
    }


def table(
    steps: Steps,
    passes: Passes,
    peers: NDArray[np.int64],
    windows: list[tuple[int, Flags]],
    own: Flags,
    judged: NDArray[np.int64],
) -> dict[str, Any]:
    """Hits and false rises by threshold and test.

    Parameters
    ----------
    own : (c,) columns that are judged
    judged : rows of the parcels that are; all are compared with
    """
    n, rules = len(steps), Confounders()
    found = doubts_of_block(steps, slice(0, n), peers, rain_at(None, n, passes, rules.wet_mm), passes, rules)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # a first column without any step
        of_all = np.nanmedian(steps, axis=0)
    z = standing_out(steps, found.common, found.spread, rules.min_spread)
    place = {row: i for i, row in enumerate(judged.tolist())}
    placed = [(place[parcel], window) for parcel, window in windows]
    said: dict[str, Any] = {"variance_in_common": _share(steps[:, own], of_all[own])}
    for t in THRESHOLDS:
        raw = steps >= t
        tests: dict[str, Flags] = {
            "as it is": raw,
            "less the median of all": (steps - of_all) >= t,
            "less the median around": (steps - found.common) >= t,
            "both as it is and less the median around": raw & ((steps - found.common) >= t),
            **{f"as it is, and z >= {least:g}": raw & (z >= least) for least in (0.5, 1.0, 1.5, 2.0)},
            "as it is, in no doubt": raw & (found.flags == 0),
        }
        said[f"t = {t:.2f}"] = {name: counted(rises[judged], placed, own) for name, rises in tests.items()}
    return said


def _share(steps: Steps, common: NDArray[np.floating]) -> float:
    """Share of the variance of steps that goes with their median."""
    known = np.isfinite(steps)
    left = (steps - common)[known]
    return float(1 - left.var() / steps[known].var())


def salms(folder: Path, column: str) -> dict[str, Any]:
    """JRC's ten parcels; where they lie is not given, so that each is compared with the nine others.

    Parameters
    ----------
    column : statistic of the pixels of a parcel
    """
    home = folder / "SALMS/inst/extdata"
    truth = pd.read_csv(home / "gtdir/FOIinfo.csv")
    weeks = pd.to_datetime(truth["Event_date"], format="%d/%m/%Y").dt.isocalendar().week.to_numpy().astype(int)
    parcels = sorted(set(truth["ID"]))
    rows = []
    for parcel in parcels:
        series = pd.read_csv(home / f"tsdir/{parcel}_s1_coh6_ts.csv")
        own = series[series["band"] == "s1_coh6_VV"].set_index("week")[column]
        rows.append(own.reindex(range(1, 54)).to_numpy(np.float64))
    values = np.stack(rows)
    passes = Passes(orbit=np.zeros(53, np.int64), day=7 * np.arange(53, dtype=np.int64))
    week = np.arange(1, 54)
    windows = [
        (parcels.index(parcel), (week >= event) & (week < event + AFTER))
        for parcel, event in zip(truth["ID"], weeks, strict=True)
    ]
    n = len(parcels)
    peers = Peers(np.zeros((n, 2)), np.full(n, "grass"), 5000, 64).of(0, n)
    return table(steps_of(values, passes), passes, peers, windows, np.isin(week, WEEKS), np.arange(n))


def gmd(folder: Path) -> dict[str, Any]:
    """Plots of three regions and years, single pixels; pairs of one orbit, 6 days in 2021 and 12 after."""
    truth = pyogrio.read_dataframe(folder / "GMI_Long.gpkg", read_geometry=False)
    truth["day"] = pd.to_datetime(truth["date"])
    common: dict[str, float] = {}
    totals: dict[str, dict[str, dict[str, int]]] = {}
    for (region, year), rows in truth.groupby(["id", "year"]):
        radar = pd.read_csv(folder / f"COH/ts_{region}_GMI_COH_{year}.csv.gz").replace(-9999, np.nan)
        radar["later"] = pd.to_datetime(radar["system:index"].str.extract(r"-(\d{8})_")[0])
        wide = radar.pivot_table(index="PLOTID", columns="later", values="b1", dropna=False)
        plots, later = wide.index.tolist(), pd.DatetimeIndex(wide.columns)
        places = radar.drop_duplicates("PLOTID").set_index("PLOTID").loc[plots]
        xy = Transformer.from_crs(4326, 32634, always_xy=True).transform(places["Longitude"], places["Latitude"])
        day = np.array([number(one) for one in later])
        passes = Passes(orbit=np.zeros(day.size, np.int64), day=day)
        peers = Peers(np.stack(xy, axis=1), np.full(len(plots), "grass"), 5000, 64).of(0, len(plots))
        events = [
            (plots.index(row.PLOTID), number(row.day))
            for row in rows.itertuples()
            if row.PLOTID in plots and pd.notna(row.day) and row.day.year == year
        ]
        windows = [(parcel, (day > event) & (day <= event + 30)) for parcel, event in events]
        season = (later.month >= 4) & (later.month <= 10)
        judged = np.flatnonzero(np.isin(plots, rows["PLOTID"].unique()))
        made = table(steps_of(wide.to_numpy(), passes), passes, peers, windows, season, judged)
        common[f"{region} {year}"] = made.pop("variance_in_common")
        for t, tests in made.items():
            for name, one in tests.items():
                into = totals.setdefault(t, {}).setdefault(name, dict.fromkeys(one, 0))
                for key, value in one.items():
                    into[key] += value
    return {"variance_in_common": common, **totals}


def number(day: pd.Timestamp) -> int:
    """Days since 1970."""
    return int((day.normalize() - pd.Timestamp(1970, 1, 1)).days)


def speed(n_parcels: int, n_acquisitions: int) -> dict[str, Any]:
    """Made-up fields of six crops, five to the square kilometre, three orbits, rain of cells of a quarter degree."""
    rng = np.random.default_rng(0)
    side = 1000 * (n_parcels / 5) ** 0.5
    # Rows of a tile go from north to south in blocks, so that neighbours are near each other in memory.
    xy = rng.uniform(0, side, (n_parcels, 2))
    xy = xy[np.lexsort((xy[:, 0], np.floor(xy[:, 1] / (side / (n_parcels / BLOCK) ** 0.5))))]
    crop = rng.choice(list("abcdef"), n_parcels, p=[0.4, 0.2, 0.2, 0.1, 0.06, 0.04])
    orbit = np.sort(np.arange(n_acquisitions) % 3)
    day = np.concatenate([6 * np.arange(int((orbit == o).sum())) + o for o in range(3)]).astype(np.int64)
    passes = Passes(orbit=orbit.astype(np.int64), day=day)
    values = rng.uniform(0.1, 0.7, (n_parcels, n_acquisitions)).astype(np.float32)
    values[rng.random(values.shape, np.float32) < 0.1] = np.nan
    wet = np.where(rng.random((BLOCK, day.max() + 30)) < 0.1, 8, 0).astype(np.float32)
    acquisitions = [_acquisition(i) for i in range(n_acquisitions)]
    schema = schema_of(acquisitions, [str(one) for one in orbit], {})
    rules = Confounders()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = resident("VmRSS"), time.process_time()
    steps = steps_of(values, passes)
    fields = Peers(xy, crop, rules.distance_m, rules.max_peers)
    around = []

    def blocks() -> Iterator[pa.RecordBatch]:
        for first in range(0, n_parcels, BLOCK):
            rows = slice(first, min(first + BLOCK, n_parcels))
            n = rows.stop - first
            peers = fields.of(first, rows.stop)
            around.append(float((peers >= 0).sum(axis=1).mean()))
            rain = rain_at(Rain(np.arange(-10, wet.shape[1] - 10), wet[:n]), n, passes, rules.wet_mm)
            yield batch_of(
                schema, np.arange(n, dtype=np.int32), doubts_of_block(steps, rows, peers, rain, passes, rules)
            )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write_ipc(path, schema, blocks())
        size = path.stat().st_size
    return {
        "parcels": n_parcels,
        "acquisitions": n_acquisitions,
        "fields_around": sum(around) / len(around),
        "cpu_s": time.process_time() - start,
        "values_bytes": values.nbytes,
        "peak_beyond_values_bytes": resident("VmHWM") - before,
        "file_bytes": size,
    }


def resident(which: str) -> int:
    """Bytes of memory of this process, now (VmRSS) or at most (VmHWM)."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(which)]
    return int(line.split()[1]) * 1024


def _acquisition(i: int) -> Acquisition:
    return Acquisition(
        product=f"P{i}",
        sensor="s1",
        platform="",
        datetime=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        relative_orbit=None,
        orbit_direction=None,
        grid="20m",
        layers=(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench_confounders", description="Fields around; prints JSON.")
    parser.add_argument("--salms", type=Path, help="folder jrc-salms-signals")
    parser.add_argument("--gmd", type=Path, help="folder gmd-slovakia-mowing")
    parser.add_argument("--parcels", type=int, help="measure the cost with so many")
    parser.add_argument("--acquisitions", type=int, default=120)
    options = parser.parse_args()
    said: dict[str, Any] = {}
    if options.salms:
        said["salms"] = {column: salms(options.salms, column) for column in ("MEAN", "P50")}
    if options.gmd:
        said["gmd"] = gmd(options.gmd)
    if options.parcels:
        warm()
        said["speed"] = speed(options.parcels, options.acquisitions)
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
