"""Kernels: not loaded by those who only plan, and compiled beforehand for the types of a real run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = """
import importlib, json, pkgutil
from s4c_hpc.core.jit import Compiled
found = {}
home = importlib.import_module("s4c_hpc.%s")
for module in pkgutil.iter_modules(home.__path__):
    for name, value in vars(importlib.import_module(home.__name__ + "." + module.name)).items():
        if isinstance(value, Compiled) and "no_cpython_wrapper" not in value._options:
            found[value.__module__ + "." + name] = [str(s) for s in value.dispatcher.signatures]
print(json.dumps(found))
"""
"""Every kernel of a package, and the types that it was compiled for in this process."""

CHAIN = """
import datetime as dt, sys
from pathlib import Path
import geopandas as gpd
import shapely
from support.chain import Chain
from support.safe import build_safe
from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels

root = Path(sys.argv[1])
place = {"tile": "32UPU", "epsg": 32632, "ulx": 600_000, "uly": 5_400_000, "size_m": 1200}
build_safe(root / "archive", sensing=dt.datetime(2018, 6, 1, 10, tzinfo=dt.UTC), **place)
square = shapely.box(600_300, 5_399_400, 600_500, 5_399_700)
gpd.GeoDataFrame({"id": ["a"]}, geometry=[square], crs="EPSG:32632").to_file(root / "parcels.gpkg")
tile = {"id": "32UPU", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_400_000, "width_m": 1200, "height_m": 1200}
for weighting in ("centre", "coverage"):
    config = Config.model_validate({
        "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "sources": [{"kind": "sentinel2-l2a", "root": str(root / "archive")}],
        "grid": {"tiles": [tile]},
        "parcels": {"file": str(root / "parcels.gpkg"), "id_columns": ["id"]},
        "extract": {"weighting": weighting},
        "variables": {"bands": ["B04", "B05", "B09"], "indices": ["ndvi", "bsi"], "biophysical": ["lai"]},
        "features": {"sets": ["optical"], "preset": "default" if weighting == "centre" else "reference"},
    })
    chain = Chain(Workspace(root / weighting))
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    chain.run(config, ["mask", "index", "gather", "features", "stats"])
"""


def run(code: str, *arguments: str) -> str:
    environment = {"PYTHONPATH": str(Path(__file__).parent), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stages_are_known_without_loading_what_plans_do_without() -> None:
    heavy = "print([name for name in ('numba', 'llvmlite', 'scipy', 'sklearn') if name in sys.modules])"
    assert run(f"import sys; from s4c_hpc.core.stage import stages; stages(); {heavy}") == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("package", ["extract", "features"])
def test_what_is_warmed_is_all_that_a_run_needs(tmp_path: Path, package: str) -> None:
    kernels = KERNELS % package
    assert run(f"import runpy; runpy.run_module('s4c_hpc.{package}.warm', run_name='__main__')") == ""
    warmed = json.loads(run(f"from s4c_hpc.{package}.warm import main; main()\n{kernels}"))
    used = json.loads(run(CHAIN + kernels, str(tmp_path)))
    assert set(used) == set(warmed)
    assert all(warmed.values())
    assert [(name, types) for name, found in used.items() for types in found if types not in warmed[name]] == []
