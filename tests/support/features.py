"""Seasons of generated scenes, and what is needed to make features of them without a workspace."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.series import TILE, Scene

from s4c_hpc.catalog import Product
from s4c_hpc.config import Config
from s4c_hpc.extract.farmland import read_mask
from s4c_hpc.extract.index import read_index
from s4c_hpc.features.contract import FeatureHeader, feature_schema
from s4c_hpc.features.optical import OpticalFeatures
from s4c_hpc.features.recipe import Recipe, recipe, set_variables
from s4c_hpc.features.season import Season
from s4c_hpc.features.stage_features import write_together


@dataclass(frozen=True)
class ScenesOfASeason:
    """Scenes of one tile and mask, a day each, and their stacks."""

    scenes: Sequence[Scene]
    days: Sequence[dt.date]
    folder: Path
    settings: Config

    def write(self) -> None:
        """Mask, indices and stacks; the geometry is that of the first scene."""
        self.scenes[0].write(self.folder / "first", self.settings)
        mask = read_mask(self.folder / "first" / "mask.arrow")
        for number, scene in enumerate(self.scenes):
            scene.write_stacks(self.folder / f"{number:03d}", mask)

    def products(self, bands: Sequence[str]) -> list[tuple[Product, list[Path]]]:
        """Each with its stacks; of those grids only that have one of some bands, or classes."""
        wanted = [number for number in ("10m", "20m", "60m") if number != "60m" or "B09" in bands]
        return [
            (
                replace(
                    scene.product,
                    id=f"S2A_{day:%Y%m%d}_{number}",
                    datetime=dt.datetime(day.year, day.month, day.day, 10, number % 60, tzinfo=dt.UTC),
                ),
                [self.folder / f"{number:03d}" / f"stack_{grid}.arrow" for grid in wanted],
            )
            for number, (scene, day) in enumerate(zip(self.scenes, self.days, strict=True))
        ]

    def season(self, bands: Sequence[str], res_m: float) -> Season:
        """All stacks, mapped."""
        mask = read_mask(self.folder / "first" / "mask.arrow")
        return Season(self.products(bands), mask, TILE.grid(res_m), bands, self.settings)

    def recipe(self, chosen: Any = "optical") -> Recipe:
        """Of a set."""
        return recipe(self.settings, chosen, set_variables(self.settings, chosen), self.days)

    def features(self, path: Path, res_m: float, chosen: Any = "optical") -> Season:
        """Write the features of a set; returns the season that they were made from."""
        index = read_index(self.folder / "first" / f"index_{res_m:g}m.arrow")
        made = self.recipe(chosen)
        season = self.season(made.bands, res_m)
        header = FeatureHeader(
            tile=TILE.id,
            set=chosen,
            sensor="s2",
            grid=f"{res_m:g}m",
            parcels="parcels:test",
            weighting=index.weighting,
            buffer_m=float(index.metadata["buffer_m"]),
            method=made.method,
            task="one",
        )
        made_of = OpticalFeatures(made, season, index.weighting)
        write_together(path, feature_schema(header, made.columns("s2")), index, made_of, season.release)
        return season


def weighted(values: NDArray[np.float64], weight: NDArray[np.float64], *, is_centre: bool) -> tuple[float, float]:
    """Mean and standard deviation of what is finite: of a sample of pixels, or of the area of a parcel."""
    there = np.isfinite(values) & (weight > 0)
    values, weight = values[there], weight[there]
    if not values.size:
        return np.nan, np.nan
    mean = float(np.average(values, weights=weight))
    if is_centre:
        return mean, float(values.std(ddof=1)) if values.size > 1 else np.nan
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
