"""Speed of the networks and of the angles that they need: million pixels a CPU second, in one process, one thread.

``python -m benchmarks.bench_biophysical`` prints JSON.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from s4c_hpc.catalog.angles import COSINES, Angles
from s4c_hpc.core.grid import Grid
from s4c_hpc.extract import Cells, RowRanges
from s4c_hpc.extract.cosines import CosineReader
from s4c_hpc.optical.biophysical import QUANTITIES, SETS, gives, network
from s4c_hpc.optical.network import Bands, Network, Outside

N_PIXELS: Final = 1 << 20
RUNS: Final = 5


def measure() -> dict[str, float]:
    """Median of a few runs of each function, in million pixels a CPU second."""
    rng = np.random.default_rng(1)
    found = {"angles of a pixel, all three": _speed(_read_angles())}
    for set_name in SETS:
        one = network(set_name, "lai")
        bands = {name: rng.uniform(0.05, 0.25, N_PIXELS) for name in one.names}
        variables = [network(set_name, name) for name in QUANTITIES if gives(set_name, name)]
        found[f"{set_name} lai"] = _speed(partial(one.evaluate, bands))
        found[f"{set_name} lai_outside"] = _speed(partial(Outside(one).evaluate, bands))
        found[f"{set_name} all {len(variables)} variables"] = _speed(partial(_all, variables, bands))
    return {name: round(speed, 2) for name, speed in found.items()}


def _all(variables: list[Network], bands: Bands) -> None:
    for variable in variables:
        variable.evaluate(bands)


def _read_angles() -> Callable[[], object]:
    """Reads of whole rows of a tile, a new range each time."""
    side = 10_980
    grid = Grid(crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, res_m=10.0, width=side, height=side)
    rows = np.arange(side, dtype=np.int32)
    cells = Cells(grid, rows, np.zeros(side, np.int32), np.full(side, side, np.int32))
    down, right = np.mgrid[:23, :23] / 10.0
    nodes = {"sun_zenith": 40 + down, "sun_azimuth": 150 + right, "view_zenith": 5 + right, "view_azimuth": 100 + down}
    reader = CosineReader(Angles(ulx=grid.ulx, uly=grid.uly, step_m=5000.0, **nodes), cells)

    def read() -> object:
        ranges = RowRanges.single(7 * side, 7 * side + N_PIXELS)
        return [reader.read(name, ranges) for name in COSINES]

    return read


def _speed(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(RUNS):
        before = time.process_time()
        work()
        seconds.append(time.process_time() - before)
    return N_PIXELS / statistics.median(seconds) / 1e6


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
