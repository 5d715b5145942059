"""Small declarations for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from s4c_hpc.config import Config

FREISING = Path(__file__).parents[1] / "data" / "tum-freising-2018" / "parcels.gpkg"
"""18 fields, EPSG:32632."""
FREISING_TILE: dict[str, Any] = {
    "id": "FREISING",
    "crs": "EPSG:32632",
    "ulx": 697020,
    "uly": 5368660,
    "width_m": 5880,
    "height_m": 7180,
}


def make_config(*, tiles: Sequence[Mapping[str, Any]] = (), **parcels: Any) -> Config:
    """A configuration with the given tiles and keys of the section parcels."""
    return Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "parcels": {"id_columns": ["id"], **parcels},
            "grid": {"tiles": [dict(t) for t in tiles]},
        }
    )


def squares(n: int, *, side: float = 100.0, gap: float = 10.0, x0: float = 600_000, y0: float = 5_300_000) -> Any:
    """``n`` square fields in rows of ten, none touching another; (n,) polygons."""
    i = np.arange(n)
    x, y = x0 + (i % 10) * (side + gap), y0 + (i // 10) * (side + gap)
    return shapely.box(x, y, x + side, y + side)


def write_layer(
    path: Path,
    geometry: Sequence[Any] | NDArray[Any],
    *,
    crs: str | None = "EPSG:32632",
    columns: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write a layer in the format of the file's name; ``id`` counts from 1 unless columns are given."""
    columns = {"id": [f"F{i + 1:03d}" for i in range(len(geometry))]} if columns is None else columns
    frame = gpd.GeoDataFrame(dict(columns), geometry=list(geometry), crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path, engine="pyogrio", **options)
    return path
