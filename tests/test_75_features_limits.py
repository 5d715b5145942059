"""A season of hundreds of products within the default limits of a process: open files, memory, mapped pages."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from support.features import ScenesOfASeason
from support.series import TILE, Scene, config

N_DATES = 300
OPEN_FILES = 256
"""Soft limit of some systems; that of most clusters is 1024."""
SETTINGS = {"features": {"sets": ["optical"], "optical": ["B04", "B08", "B11", "ndvi"]}}

SCRIPT = """
import datetime as dt, json, os, resource, sys
from pathlib import Path
import numpy as np
from support.features import ScenesOfASeason
from support.series import Scene, config
from s4c_hpc.execute.memory import MemoryPeak
from s4c_hpc.extract import Stack
from s4c_hpc.extract.bounds import Sizes
from s4c_hpc.features.stage_features import FeatureStage

root, limit, n_dates = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
settings = config(**json.loads(sys.argv[4]))
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
days = [dt.date(2018, 1, 1) + dt.timedelta(days=i) for i in range(n_dates)]
made = ScenesOfASeason([Scene(geometry=np.array([], dtype=object))] * n_dates, days, root, settings)

def mapped():
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssFile"))
    return int(line.split()[1]) * 1024

with MemoryPeak() as peak:
    season = made.features(root / "made.arrow", 10)
    n_open = len(os.listdir("/proc/self/fd"))
recipe = made.recipe()
params = {"n_dates": n_dates, "recipe": recipe.params(), "bands": list(recipe.bands), "res_m": 10.0}
asked = FeatureStage().resources(1e6, params, Sizes(boundary_m=1e5, width_m=1260.0)).mem_bytes

rows = np.arange(Stack(root / "000" / "stack_10m.arrow").n_rows, dtype=np.uint32)
season.release()
before = mapped()
first = season.observe(rows)
read = mapped()
season.release()
after = mapped()
again = season.observe(rows)
pairs = zip((*first.stored, first.valid), (*again.stored, again.valid), strict=True)
print(json.dumps({
    "open": n_open, "peak": peak.peak_bytes, "base": peak.base_bytes, "asked": asked,
    "before": before, "read": read, "after": after, "n_bytes": sum(one.nbytes for one in first.stored),
    "same": all(a.tobytes() == b.tobytes() for a, b in pairs), "n_valid": int(first.valid.sum()),
}))
"""


@pytest.fixture(scope="module")
def long_season(tmp_path_factory: pytest.TempPathFactory) -> ScenesOfASeason:
    """Three hundred products, of twelve scenes that come again; eight parcels that are a piece each."""
    outlines = [
        shapely.box(TILE.ulx + 50 + 40 * i, TILE.uly - 1150, TILE.ulx + 850 + 40 * i, TILE.uly - 50 - 10 * i)
        for i in range(8)
    ]
    geometry = np.array(outlines, dtype=object)

    scenes = [Scene(geometry=geometry, seed=seed) for seed in range(12)]
    days = [dt.date(2018, 1, 1) + dt.timedelta(days=i) for i in range(N_DATES)]
    made = ScenesOfASeason(
        [scenes[i % 12] for i in range(N_DATES)], days, tmp_path_factory.mktemp("long"), config(**SETTINGS)
    )
    made.write()
    return made


@pytest.fixture(scope="module", params=[30, N_DATES])
def told(long_season: ScenesOfASeason, request: pytest.FixtureRequest) -> dict[str, int]:
    """What a process of its own says that makes the features of the season, or of its first products."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            str(long_season.folder),
            str(OPEN_FILES),
            str(request.param),
            json.dumps(SETTINGS),
        ],
        env={"PYTHONPATH": str(Path(__file__).parent), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "n_dates": request.param}


def test_files_of_hundreds_of_products_are_not_kept_open(told: dict[str, int]) -> None:
    assert told["open"] < 20, "stacks stay mapped, and their files are closed"


def test_measured_memory_stays_within_what_was_asked(told: dict[str, int]) -> None:
    assert told["base"] < told["peak"] <= told["asked"]


def test_pages_that_were_read_are_let_go_and_come_back(told: dict[str, int]) -> None:
    mapped, left = told["read"] - told["before"], told["after"] - told["before"]
    assert mapped > 0.9 * told["n_bytes"], "something was measured"
    assert left < 0.1 * mapped
    assert told["same"]
    assert told["n_valid"] > 0
