"""A generated season as stacks, and the optical features of it.

usage: python -m benchmarks.l4a_season FOLDER SIDE DATES OUT

Stacks are written as gather writes them, without imagery: what is measured is what features cost once stacks are there.
Under mpiexec the ranks do the step together; every rank prints a line of JSON.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.generate import CRS, ULX, ULY, Size, parcels
from s4c_hpc.catalog import Band, Product
from s4c_hpc.config import Config
from s4c_hpc.config.model import Weighting
from s4c_hpc.core.grid import Grid, Tile
from s4c_hpc.extract.cells import Mask
from s4c_hpc.extract.farmland import farmland_mask, read_mask, write_mask
from s4c_hpc.extract.index import index_batches, read_index, write_index
from s4c_hpc.extract.stack import StackColumn, StackWriter
from s4c_hpc.features import warm
from s4c_hpc.features.contract import FeatureHeader, feature_schema
from s4c_hpc.features.optical import OpticalFeatures
from s4c_hpc.features.recipe import Recipe, recipe, set_variables
from s4c_hpc.features.season import Observations, Season
from s4c_hpc.features.stage_features import write_together
from s4c_hpc.parcels import BLOCK

HECTARES_A_PARCEL = 0.01 * 5490**2 / 48_000
"""The tile of the reference's figures: 48 000 parcels on 5490 x 5490 pixels (a quarter of its L tile)."""

BANDS = {"B03": 10.0, "B04": 10.0, "B08": 10.0, "B11": 20.0}
STEP_DAYS = 5


def config(n_dates: int) -> Config:
    """Periods of ten days over the time of the products: the grid of the reference's figures."""
    end = dt.date(2020, 1, 2) + dt.timedelta(days=STEP_DAYS * n_dates)
    site = {"name": "bench", "season_start": "2020-01-03", "season_end": str(end)}
    return Config.model_validate({"site": site, "features": {"sets": ["optical"]}})


def products(n_dates: int, tile: Tile) -> list[Product]:
    """One every five days; their class layer is the provider's own."""
    found = []
    for i in range(n_dates):
        time_ = dt.datetime(2020, 1, 3, 10, tzinfo=dt.UTC) + dt.timedelta(days=STEP_DAYS * i)
        layers = tuple(_band(name, tile.grid(res_m)) for name, res_m in BANDS.items())
        classes = (_band("MASK", tile.grid(10.0), "uint8"),)
        found.append(
            Product(
                id=f"P{i:03d}",
                source="geotiff",
                sensor="s2",
                platform="",
                tile=tile.id,
                datetime=time_,
                size_bytes=1,
                datatake="",
                class_kind="declared",
                class_table={1: "valid", 2: "cloud"},
                bands=layers,
                class_layers=classes,
            )
        )
    return found


def prepare(folder: Path, side: int, n_dates: int) -> Path:
    """Mask, index and stacks, made once; returns their folder."""
    home = folder / f"l4a-{side}-{n_dates}"
    if (home / "whole").exists():
        return home
    home.mkdir(parents=True, exist_ok=True)
    tile = _tile(side)
    declared = parcels(Size(side, round(48_000 * (side / 5490) ** 2)))
    ordered = declared.iloc[np.argsort(-declared.bounds["maxy"].to_numpy(), kind="stable")]
    geometry = np.array(ordered.geometry, dtype=object)
    write_mask(home / "mask", farmland_mask(geometry, tile, 20.0))
    mask = read_mask(home / "mask")
    new_id = np.arange(1, geometry.size + 1, dtype=np.int32)
    block = (np.arange(geometry.size) // BLOCK).astype(np.int32)
    about = {"grid": "10m", "weighting": "centre", "buffer_m": "5.0", "parcels": "parcels:bench"}
    write_index(
        home / "index",
        index_batches(new_id, block, geometry, mask.cells(tile.grid(10.0)), Weighting.CENTRE, 5.0),
        about,
    )
    for product in products(n_dates, tile):
        for res_m in (10.0, 20.0):
            _write_stack(home / f"{product.id}.{res_m:g}m", product, mask.cells(tile.grid(res_m)).n_cells, res_m)
    (home / "whole").touch()
    return home


def step(home: Path, side: int, n_dates: int, out: Path, comm: Any = None) -> dict[str, float]:
    """Do the step, this process its share; seconds of it."""
    mask, index = read_mask(home / "mask"), read_index(home / "index")
    tile = _tile(side)
    given = products(n_dates, tile)
    settings = config(n_dates)
    made = recipe(settings, "optical", set_variables(settings, "optical"), [p.datetime.date() for p in given])
    cpu, wall = time.process_time(), time.perf_counter()
    season = _Timed(
        [(p, [home / f"{p.id}.{g}" for g in ("10m", "20m")]) for p in given], mask, tile.grid(10.0), made, settings
    )
    header = FeatureHeader(
        tile=tile.id, set="optical", sensor="s2", grid="10m", parcels="parcels:bench",
        weighting=Weighting.CENTRE, buffer_m=5.0, method=made.method, task="bench",
    )  # fmt: skip
    features = OpticalFeatures(made, season, Weighting.CENTRE)
    write_together(out, feature_schema(header, made.columns("s2")), index, features, season.release, comm)
    pixels = sum(int(index.block(i).n_pixels.sum()) for i in range(index.n_blocks))
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "reading_cpu_s": season.reading_s,
        "parcel_pixels": pixels,
        "parcels": index.n_parcels,
    }


class _Timed(Season):
    """Says what reading took."""

    def __init__(self, given: Any, mask: Mask, grid: Grid, made: Recipe, settings: Config) -> None:
        super().__init__(given, mask, grid, made.bands, settings)
        self.reading_s = 0.0

    def observe(self, rows: NDArray[np.uint32]) -> Observations:
        began = time.process_time()
        found = super().observe(rows)
        self.reading_s += time.process_time() - began
        return found


def _tile(side: int) -> Tile:
    return Tile(id="BENCH", crs=CRS, ulx=ULX, uly=ULY, width_m=side * 10.0, height_m=side * 10.0)


def _band(name: str, grid: Grid, dtype: str = "uint16") -> Band:
    return Band(name=name, path=f"/{name}", index=1, grid=grid, dtype=dtype, scale=1e-4, offset=0.0, nodata=0.0)


def _write_stack(path: Path, product: Product, n_cells: int, res_m: float) -> None:
    """Smooth values with noise; classes of clouds in runs of 64 pixels, half of them cloudy."""
    rng = np.random.default_rng([int(product.id[1:]), int(res_m)])
    names = [name for name, res in BANDS.items() if res == res_m]
    classes = StackColumn(name="class", dtype="uint8")
    columns = [*(StackColumn(name=n, dtype="uint16", scale=1e-4, nodata=0.0) for n in names), classes]
    about = {"class_kind": "declared" if res_m == 10.0 else "none", "grid": f"{res_m:g}m"}
    with StackWriter(path, columns, about) as writer:
        values: dict[str, NDArray[Any]] = {}
        base = np.repeat(rng.integers(500, 4000, n_cells // 64 + 1).astype(np.uint16), 64)[:n_cells]
        for name in names:
            values[name] = base + rng.integers(0, 255, n_cells, dtype=np.uint8)
        cloudy = np.repeat(rng.integers(1, 3, n_cells // 64 + 1).astype(np.uint8), 64)[:n_cells]
        values["class"] = cloudy if res_m == 10.0 else np.zeros(n_cells, np.uint8)
        writer.append(values)


def main() -> None:
    """Do the step alone, or with the ranks of mpiexec."""
    folder, side, n_dates, out = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    comm = importlib.import_module("mpi4py.MPI").COMM_WORLD if "PMI_RANK" in os.environ else None
    home = folder / f"l4a-{side}-{n_dates}"
    warm.main()  # the compiler's library and machine code are loaded: what every program pays once, half a second
    if comm is not None:
        comm.Barrier()
    print(json.dumps(step(home, side, n_dates, out, comm)), flush=True)


if __name__ == "__main__":
    main()
