"""``python -m benchmarks.parcels_counts [FOLDER]``: the counts that the READMEs of real data sets state, counted again.

The folder is ``../shared/data``. Ours are the counts of the check; pairs are counted above the threshold that the
README states, touching ones are pairs that come within a micrometre of each other, in the UTM zone of their middle.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from benchmarks.parcels_samples import DATA
from s4c_hpc.config.model import Parcels
from s4c_hpc.core.mgrs import utm_crs, zone_at
from s4c_hpc.parcels.check import Check, check
from s4c_hpc.parcels.projection import is_metric, reproject
from s4c_hpc.parcels.read import read_layer


@dataclass(frozen=True)
class Stated:
    """What a README says of a file."""

    file: str
    features: int | None = None
    invalid: int | None = None
    pairs: int | None = None
    """Overlapping pairs above ``pair_min_m2``."""
    pair_min_m2: float = 1.0
    largest_m2: float | None = None
    touching: int | None = None
    multipart: int | None = None
    below_half_ha: int | None = None


STATED = (
    Stated("cawa-central-asia/parcels.gpkg", features=5616, pair_min_m2=50),
    Stated("azerbaijan-fields/test_area_crops.geojson", features=103, pairs=1, largest_m2=45_000),
    Stated(
        "azerbaijan-fields/test_area_lulc.geojson",
        features=1704, invalid=5, pairs=101, largest_m2=50_000, below_half_ha=1488,
    ),
    Stated("bavaria-gsaa-2018/Test_area.shp", features=301, invalid=0, pairs=1, largest_m2=27, touching=224),
    Stated("rpg-france-lyon/rpg_193.gpkg", features=193, pairs=4, largest_m2=11.5),
    Stated(
        "swiss-bavaria-fields/ZH_Polygons_2020_ESCH_EPSG32632.shp",
        features=281, invalid=2, multipart=24, below_half_ha=146,
    ),
    Stated("swiss-bavaria-fields/BY_Polygons_Canola_2019_EPSG32632.shp", features=18),
    Stated("tum-freising-2018/parcels.gpkg", features=18),
    Stated("tum-freising-2018/lpis_tum_2017.gpkg", features=149),
)  # fmt: skip


def counted(path: Path, pair_min_m2: float) -> dict[str, float]:
    """The same counts of a file."""
    source = read_layer(path)
    found = check(source, Parcels(sliver_min_area_m2=0, sliver_min_width_m=0, sliver_max_shape_index=0))
    areas = found.overlaps.pair_area_m2
    return {
        "features": found.n,
        "invalid": next(f.n for f in found.findings if f.name == "repaired"),
        "pairs": int((areas > pair_min_m2).sum()),
        "largest_m2": float(areas.max(initial=0.0)),
        "touching": _touching(found),
        "multipart": int((shapely.get_num_geometries(source.geometry) > 1).sum()),
        "below_half_ha": int((found.area_m2 < 5000).sum()),
    }


def _touching(found: Check) -> int:
    """Pairs that come within a micrometre of each other; those that overlap are among them."""
    rows = np.flatnonzero(~found.outlines.missing)
    geometry = found.outlines[rows]
    if not is_metric(found.crs):
        (west, south, east, north) = shapely.total_bounds(geometry)
        zone = zone_at((west + east) / 2, (south + north) / 2)
        geometry = reproject(geometry, found.crs, utm_crs(zone, south=south < 0))
    i, j = shapely.STRtree(geometry).query(geometry, predicate="dwithin", distance=1e-6)
    return int((i < j).sum())


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(prog="benchmarks.parcels_counts", description="Counts of READMEs, counted again.")
    parser.add_argument("folder", nargs="?", type=Path, default=DATA)
    folder = parser.parse_args().folder
    if not folder.is_dir():
        sys.exit(f"skipped: there is no folder {folder}; the data sets are not part of this repository")
    print("| file | what | stated | counted |\n|---|---|---|---|")
    for stated in STATED:
        ours = counted(folder / stated.file, stated.pair_min_m2)
        for name, value in ours.items():
            said = getattr(stated, name)
            what = f"pairs above {stated.pair_min_m2:g} m2" if name == "pairs" else name
            print(f"| {stated.file} | {what} | {'-' if said is None else f'{said:g}'} | {value:.6g} |")


if __name__ == "__main__":
    main()
