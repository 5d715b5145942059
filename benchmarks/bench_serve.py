"""The service over a generated season: one parcel, a hundred, a box of a thousand; requests a second, memory, start.

``python -m benchmarks.bench_serve [--parcels N] [--dates N] [--seconds N]`` prints JSON. Fields of 70 m side by side on
tiles of UTM 32, an acquisition every five days with NDVI (mean, standard deviation) and class counts, compacted months,
and a row of crop types a parcel. ``s4c serve`` runs as a process of its own on loopback. Latencies are of one
connection that stays open, one request after the other, of parcels drawn at random; requests a second are by wrk (2
threads, 8 connections), or by as many threads of httpx if wrk is not installed. Everything fits the page cache, so
figures are warm; whoever asks also takes from the two cores.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import httpx
import numpy as np
import psutil
import pyarrow as pa
import shapely

from benchmarks.bench_series import batches
from s4c_hpc.classify.outputs import crop_schema
from s4c_hpc.config import Config, Weighting
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.optical import resolve
from s4c_hpc.parcels import import_parcels, read_attributes
from s4c_hpc.series import Acquisition, Block, SeriesHeader, SeriesSet, series_schema
from s4c_hpc.series.compact import write_compact
from s4c_hpc.series.generation import pointer_path
from s4c_hpc.series.layers import open_layers
from s4c_hpc.serve.roles import Role
from s4c_hpc.serve.tokens import TokenFile

SITE = "bench"
SIDE_M, ROW = 70.0, 500
STATISTICS = ("mean", "stdev")
FIRST = dt.datetime(2018, 1, 3, 10, 26, 48, tzinfo=dt.UTC)
LUA = """
local numbers = {}
math.randomseed(1)
request = function()
  local id = math.random(1, %d)
  return wrk.format("GET", "/v1/sites/bench/seasons/latest/parcels/" .. id .. "/series?variables=ndvi",
    { Authorization = "Bearer %s" })
end
"""


def make_workspace(root: Path, n_parcels: int, n_dates: int) -> Workspace:
    """Import fields, write series of their tiles as the stages would, compact months."""
    root.mkdir(parents=True)
    at = np.arange(n_parcels)
    x, y = 500_000 + (at % ROW) * SIDE_M, 5_300_000 + (at // ROW) * SIDE_M
    crops = np.array(["115", "131", "171", "601"])[at % 4]
    fields = gpd.GeoDataFrame(
        {"id": [f"F{i}" for i in at], "crop": crops},
        geometry=shapely.box(x, y, x + SIDE_M - 5, y + SIDE_M - 5),
        crs="EPSG:32632",
    )
    fields.to_parquet(root / "fields.parquet")
    values: dict[str, Any] = {
        "site": {"name": SITE, "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "parcels": {"file": str(root / "fields.parquet"), "id_columns": ["id"], "crop_column": "crop"},
        "variables": {"indices": ["ndvi"], "bands": [], "statistics": STATISTICS},
    }
    config = Config.model_validate(values)
    workspace = Workspace(root)
    import_parcels(None, workspace, config)
    workspace.config.write_text(
        f'[site]\nname = "{SITE}"\nseason_start = 2018-01-01\nseason_end = 2018-12-31\n', encoding="utf-8"
    )
    places = read_attributes(workspace, "v0001", ["NewID", "tile"])
    tiles = np.asarray(places["tile"].to_pylist(), dtype=object)
    ids = places["NewID"].to_numpy()
    for tile in sorted(set(tiles) - {""}):
        _write_tile(workspace, config, tile, ids[tiles == tile], n_dates)
    return workspace


def _write_tile(workspace: Workspace, config: Config, tile: str, ids: Any, n_dates: int) -> None:
    months: dict[str, list[Acquisition]] = defaultdict(list)
    for i in range(n_dates):
        when = FIRST + dt.timedelta(days=5 * i)
        header = SeriesHeader(
            product=f"S2A_MSIL2A_{when:%Y%m%dT%H%M%S}_T{tile}",
            product_key="",
            sensor="s2",
            platform="sentinel-2a",
            datetime=when,
            relative_orbit=22,
            orbit_direction="descending",
            tile=tile,
            grid="10m",
            parcels="parcels:bench",
            weighting=Weighting.CENTRE,
            buffer_m=5.0,
            validity="{}",
            task="",
        )
        schema = series_schema(header, resolve(config.variables), STATISTICS, {})
        relative = f"tiles/{tile}/series/s2/10m/{when:%Y%m%d}.arrow"
        (workspace.root / relative).parent.mkdir(parents=True, exist_ok=True)
        write_ipc(workspace.root / relative, schema, batches(schema, ids, i))
        months[f"{when:%Y-%m}"].append(Acquisition.of(header, relative))
    blocks = []
    for month, own in months.items():
        relative = f"tiles/{tile}/compact/s2/10m/{month}.arrow"
        (workspace.root / relative).parent.mkdir(parents=True, exist_ok=True)
        inputs = [(a, open_layers([workspace.root / p for p in a.layers])) for a in own]
        write_compact(workspace.root / relative, inputs, tile=tile, month=month, task="bench")
        blocks.append(Block(sensor="s2", grid="10m", month=month, path=relative))
    every = tuple(a for own in months.values() for a in own)
    pointer = SeriesSet(tile=tile, task="bench", acquisitions=every, blocks=tuple(blocks))
    write_text(workspace.root / pointer_path(tile), pointer.to_json())
    schema = crop_schema({"contract": "s4c-crops-1", "set": "l4a", "site": SITE, "tile": tile, "period": "2018"})
    ordered = np.sort(ids)
    columns: list[Any] = [pa.array(ordered)]
    for field in list(schema)[1:]:
        is_number = pa.types.is_floating(field.type)
        columns.append(pa.array(np.full(ids.size, 0.9, np.float32)) if is_number else pa.array(["115"] * ids.size))
    path = workspace.markers / "l4a" / "2018" / f"{SITE}_{tile}.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ipc(path, schema, pa.table(columns, schema=schema).to_batches(1024))


@contextmanager
def serving(root: Path, folder: Path) -> Iterator[tuple[str, str, psutil.Process, float]]:
    """``s4c serve``: its address, a token, its process, and the seconds until it listened."""
    tokens = TokenFile(folder / "tokens.json")
    token = tokens.add("bench", {SITE: Role.OPERATOR})
    command = [sys.executable, "-m", "s4c_hpc.cli", "serve", "-w", str(root), "--port", "0", "--rate", "1e9"]
    command += ["--burst", "1000000000", "--tokens", str(tokens.path), "--audit", str(folder / "audit.jsonl")]
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = next(m for line in process.stderr if (m := re.match(r"serving on (\S+)/v1 ", line)))
        yield found[1], token, psutil.Process(process.pid), time.perf_counter() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def latencies(process: psutil.Process, ask: Callable[[int], httpx.Response], n: int) -> dict[str, float]:
    """Milliseconds of requests one after the other, and of the service's cores for each."""
    found = []
    before = sum(process.cpu_times()[:2])
    for i in range(n):
        started = time.perf_counter()
        answer = ask(i)
        found.append((time.perf_counter() - started) * 1e3)
        answer.raise_for_status()
    cpu = (sum(process.cpu_times()[:2]) - before) * 1e3 / n
    half, most = np.percentile(found, [50, 99])
    return {
        "first": round(found[0], 2),
        "p50": round(half, 2),
        "p99": round(most, 2),
        "cpu": round(cpu, 2),
        "bytes": len(answer.content),
    }


def memory(process: psutil.Process) -> dict[str, int]:
    """MiB of its own, and with the pages of files that it has mapped."""
    info = process.memory_info()
    return {"own": (info.rss - info.shared) >> 20, "with mapped files": info.rss >> 20}


def load(url: str, token: str, n_parcels: int, seconds: int, folder: Path) -> dict[str, Any]:
    """Requests a second of single parcels."""
    if shutil.which("wrk"):
        script = folder / "one.lua"
        script.write_text(LUA % (n_parcels, token))
        command = ["wrk", "-t2", "-c8", f"-d{seconds}s", "--latency", "-s", str(script), url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        wrong = re.search(r"Non-2xx.*: (\d+)", text)
        return {
            "tool": "wrk -t2 -c8",
            "requests/s": float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0]),
            "p50": re.findall(r"(?m)^\s+50%\s+(\S+)$", text)[0],
            "p99": re.findall(r"(?m)^\s+99%\s+(\S+)$", text)[0],
            "refused": int(wrong[1]) if wrong else 0,
        }
    until, counts = time.monotonic() + seconds, [0] * 8

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
            while time.monotonic() < until:
                parcel = rng.integers(1, n_parcels + 1)
                client.get(f"/v1/sites/{SITE}/seasons/latest/parcels/{parcel}/series?variables=ndvi").raise_for_status()
                counts[number] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"tool": "8 threads of httpx", "requests/s": round(sum(counts) / seconds, 1)}


def measure(root: Path, n_parcels: int, seconds: int) -> dict[str, Any]:
    """All figures of one service."""
    rng = np.random.default_rng(1)
    season, items = f"/v1/sites/{SITE}/seasons/latest", f"/v1/sites/{SITE}/collections/parcels/items"
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, serving(root, Path(name)) as (url, token, process, start_s):
        result["start until it listens, s"] = round(start_s, 2)
        result["memory at start, MiB"] = memory(process)
        headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:

            def one(_: int) -> httpx.Response:
                return client.get(f"{season}/parcels/{rng.integers(1, n_parcels + 1)}/series?variables=ndvi")

            def hundred(form: str) -> httpx.Response:
                ids = ",".join(map(str, rng.choice(n_parcels, 100, replace=False) + 1))
                return client.get(f"{season}/series?variables=ndvi&format={form}&ids={ids}")

            def box(_: int) -> httpx.Response:
                corner = rng.uniform([9.02, 47.87], [9.40, 47.95])
                side = (33 * SIDE_M / 75_000, 31 * SIDE_M / 111_200)  # about a thousand fields
                text = ",".join(f"{v:.6f}" for v in (*corner, *(corner + side)))
                return client.get(f"{items}?bbox={text}&limit=5000")

            result["health, ms"] = latencies(process, lambda _: client.get("/v1/health"), 300)
            result["one parcel, ms"] = latencies(process, one, 1000)
            result["all about one parcel, ms"] = latencies(
                process, lambda _: client.get(f"{season}/parcels/{rng.integers(1, n_parcels + 1)}"), 100
            )
            result["100 parcels as JSON, ms"] = latencies(process, lambda _: hundred("json"), 20)
            result["100 parcels as Arrow, ms"] = latencies(process, lambda _: hundred("arrow"), 20)
            result["box, ms"] = latencies(process, box, 20)
            result["box, parcels"] = box(0).json()["numberMatched"]
            result["peers of one parcel, ms"] = latencies(
                process,
                lambda _: client.get(f"{season}/parcels/{rng.integers(1, n_parcels + 1)}/peers?distance_m=500"),
                30,
            )
            condition = {"filter": "ori_crop = '115' AND Area_meters > 4e3", "limit": "100"}
            result["a condition, first page, ms"] = latencies(
                process,
                lambda i: client.get(items, params={**condition, "filter": f"{condition['filter']} AND NewID > {i}"}),
                10,
            )
        result["requests of one parcel"] = load(url, token, n_parcels, seconds, Path(name))
        result["memory at the end, MiB"] = memory(process)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parcels", type=int, default=200_000)
    parser.add_argument("--dates", type=int, default=73)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s4c-bench"))  # noqa: S108 - where the others keep theirs
    chosen = parser.parse_args()
    root = chosen.folder / f"serve-{chosen.parcels}-{chosen.dates}"
    if not (root / "s4c.toml").exists():
        shutil.rmtree(root, ignore_errors=True)
        make_workspace(root, chosen.parcels, chosen.dates)
    figures = measure(root, chosen.parcels, chosen.seconds)
    print(
        json.dumps(
            {"parcels": chosen.parcels, "dates": chosen.dates, "load average": os.getloadavg(), **figures}, indent=1
        )
    )


if __name__ == "__main__":
    main()
