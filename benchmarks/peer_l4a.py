"""Peers of the feature kernel, on the same numbers and by the same definition: bottleneck, xarray, eo-learn.

usage: PYTHON peer_l4a.py NAME IN.npz OUT.npz   (prints CPU seconds; PYTHON needs eo-learn, xarray, bottleneck, dask)

Given are observations of pixels; wanted are weekly means, gaps filled linearly by index, the nearest at the ends, then
mean and population standard deviation of parcels. What compiles itself (numba in eo-learn) is called once beforehand.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def weekly(x: Any, valid: Any, week: Any, n_weeks: int) -> Any:
    """(n_weeks, n_bands, n) means of the valid dates, NaN without one; x is (n_dates, n_bands, n)."""
    total = np.zeros((n_weeks, *x.shape[1:]), np.float32)
    count = np.zeros((n_weeks, 1, x.shape[2]), np.float32)
    for t in range(x.shape[0]):
        total[week[t]] += np.where(valid[t], x[t], 0)
        count[week[t], 0] += valid[t]
    with np.errstate(all="ignore"):
        return total / count


def by_bottleneck(x: Any, valid: Any, week: Any, n_weeks: int) -> Any:
    import bottleneck as bn

    y = weekly(x, valid, week, n_weeks)
    place = np.arange(n_weeks, dtype=np.float32)[:, None, None]
    seen = ~np.isnan(y)
    before, after = bn.push(y, axis=0), bn.push(y[::-1], axis=0)[::-1]
    first = bn.push(np.where(seen, place, np.nan), axis=0)
    last = bn.push(np.where(seen, place, np.nan)[::-1], axis=0)[::-1]
    with np.errstate(all="ignore"):
        share = (place - first) / (last - first)
    filled = np.where(seen, y, before + (after - before) * share)
    return np.where(np.isnan(filled), np.where(np.isnan(before), after, before), filled)


def by_xarray(x: Any, valid: Any, week: Any, n_weeks: int) -> Any:
    import dask
    import xarray as xr

    dask.config.set(scheduler="synchronous")
    arrays = xr.DataArray(x, dims=("t", "b", "p")).chunk({"p": 16384})
    seen = xr.DataArray(valid, dims=("t", "p")).chunk({"p": 16384})
    means = arrays.where(seen).astype("f4").groupby(xr.DataArray(week, dims="t", name="w")).mean()
    means = means.reindex(w=np.arange(n_weeks)).chunk({"w": -1})
    return means.interpolate_na("w", method="linear").ffill("w").bfill("w").transpose("w", "b", "p").values


def by_eolearn(x: Any, valid: Any, week: Any, n_weeks: int) -> Any:
    from eolearn.core import EOPatch, FeatureType
    from eolearn.features.extra.interpolation import LinearInterpolationTask
    from sentinelhub import CRS, BBox

    y = weekly(x, valid, week, n_weeks)  # it interpolates between dates: weeks are the dates, seen ones valid
    times = [dt.datetime(2024, 1, 1) + dt.timedelta(weeks=i) for i in range(n_weeks)]  # noqa: DTZ001 - as it wants them
    patch = EOPatch(bbox=BBox((0, 0, 1, 1), CRS.WGS84), timestamps=times)
    patch.data["X"] = np.moveaxis(np.nan_to_num(y), 1, 2)[:, None]
    patch.mask["V"] = ~np.isnan(y[:, :1, :]).transpose(0, 2, 1)[:, None]
    task = LinearInterpolationTask(
        (FeatureType.DATA, "X"),
        mask_feature=(FeatureType.MASK, "V"),
        resample_range=(str(times[0].date()), str((times[-1] + dt.timedelta(days=1)).date()), 7),
        bounds_error=False,
    )
    out = np.moveaxis(task.execute(patch).data["X"][:n_weeks, 0], 2, 1)
    # Nothing beyond the first and the last: the nearest, as the others do.
    return ends_filled(out)


def ends_filled(values: Any) -> Any:
    seen = np.isfinite(values)
    n = values.shape[0]
    first, last = np.argmax(seen, axis=0), n - 1 - np.argmax(seen[::-1], axis=0)
    place = np.clip(np.arange(n)[:, None, None], first[None], last[None])
    return np.take_along_axis(values, place, 0)


def of_parcels(filled: Any, size: int) -> tuple[Any, Any]:
    """Mean and standard deviation of runs of ``size`` pixels."""
    runs = filled.reshape(*filled.shape[:2], -1, size).astype(np.float64)
    return runs.mean(axis=3), runs.std(axis=3)


PEERS: dict[str, Callable[..., Any]] = {"bottleneck": by_bottleneck, "xarray": by_xarray, "eo-learn": by_eolearn}

if __name__ == "__main__":
    name, source, target = sys.argv[1:]
    given = np.load(source)
    x, valid, week, n_weeks, size = given["x"], given["valid"], given["week"], int(given["n_weeks"]), int(given["size"])
    small = slice(0, 4 * size)
    PEERS[name](x[:, :, small], valid[:, small], week, n_weeks)
    began = time.process_time()
    mean, spread = of_parcels(PEERS[name](x, valid, week, n_weeks), size)
    cpu_s = time.process_time() - began
    np.savez(target, mean=mean, spread=spread)
    print(json.dumps({"cpu_s": cpu_s}))
