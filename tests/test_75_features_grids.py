"""Features of bands of several grids and of parcels cut out exactly, against whole rasters, GEOS and NumPy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_features
from support.features import ScenesOfASeason, weighted
from support.polygons import coverage_of
from support.series import RES, TILE, Oracle, Scene, config, parcels

from s4c_hpc.catalog import Product
from s4c_hpc.config import Weighting
from s4c_hpc.config.features import FeaturePreset
from s4c_hpc.extract.index import read_index
from s4c_hpc.features import FeatureFile, read_features
from s4c_hpc.features.optical import OpticalFeatures
from s4c_hpc.features.pixels import block_features
from s4c_hpc.optical import usable_codes

DAYS = [dt.date(2018, 4, 3) + dt.timedelta(days=i) for i in (0, 2, 14, 14, 40, 95)]
SETTINGS: dict[str, dict[str, Any]] = {
    "site": {"season_start": "2018-04-01", "season_end": "2018-07-31"},
    "features": {
        "sets": ["optical", "red-edge"],
        "optical": ["B04", "B08", "B11", "B09", "ndvi", "ndwi_gao"],
        "red_edge": ["B05"],
        "max_gap_days": 30,
    },
}
N_PERIODS, MAX_EMPTY = 13, 3
GRIDS = {"optical": 10, "red-edge": 20}


@pytest.fixture(scope="module", params=["centre", "coverage"])
def season(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ScenesOfASeason:
    """Six scenes with offsets of their own, as a change of processing baseline brings them."""
    settings = config(
        **SETTINGS, extract={"weighting": request.param, "buffer_m": {"10m": 4.0, "20m": 2.0, "60m": 0.0}}
    )
    geometry = parcels()
    scenes = [Scene(geometry=geometry, seed=10 + i, offset=-0.1 * (i % 2)) for i in range(len(DAYS))]
    made = ScenesOfASeason(scenes, DAYS, tmp_path_factory.mktemp(request.param), settings)
    made.write()
    return made


def made(season: ScenesOfASeason, chosen: str) -> FeatureFile:
    path = season.folder / f"{chosen}.arrow"
    if not path.exists():
        season.features(path, GRIDS[chosen], chosen)
    return read_features(path)


def table(file: FeatureFile) -> dict[str, np.ndarray]:
    """(n_parcels,) of each column."""
    parts = [[column.to_numpy() for column in batch.columns[1:]] for batch in file.batches]
    return {
        one.name: np.concatenate(column) for one, column in zip(file.features, zip(*parts, strict=True), strict=True)
    }


def weights(season: ScenesOfASeason, res_m: int) -> np.ndarray:
    """(n_parcels, height, width) share of every pixel that is a parcel's."""
    scene, extract = season.scenes[0], season.settings.extract
    oracle = Oracle(scene, season.settings)
    if extract.weighting is Weighting.CENTRE:
        return np.stack(list(oracle.inside(res_m))).astype(float)
    inset = extract.buffer_m[f"{res_m}m"]
    shrunk = [None if g is None else g.buffer(-inset, quad_segs=8) for g in scene.geometry]
    return np.stack([coverage_of(g, TILE.grid(res_m)) for g in shrunk])


@pytest.mark.parametrize("chosen", ["optical", "red-edge"])
def test_features_equal_those_of_whole_rasters(season: ScenesOfASeason, chosen: str) -> None:
    res_m, recipe, settings = GRIDS[chosen], season.recipe(chosen), season.settings
    oracles = [Oracle(scene, settings) for scene in season.scenes]
    physical = {band: np.stack([o.physical(band, res_m) for o in oracles]) for band in recipe.bands}
    usable = np.stack([usable_codes(settings.validity)[o.categories(res_m)] for o in oracles])
    valid = usable & np.all([np.isfinite(cube) for cube in physical.values()], axis=0)
    shape = physical[recipe.bands[0]].shape[1:]
    of = np.array([(day - dt.date(2018, 4, 1)).days // 10 for day in DAYS])
    bands = {
        name: reference_features.composites(
            np.nan_to_num(cube).reshape(len(DAYS), -1), valid.reshape(len(DAYS), -1), of, N_PERIODS, MAX_EMPTY
        )
        for name, cube in physical.items()
    }
    seen = np.stack([np.any(valid[of == k], axis=0) for k in range(N_PERIODS)])
    found = table(made(season, chosen))
    is_centre = settings.extract.weighting is Weighting.CENTRE
    suffix = "" if chosen == "optical" else "_re"
    shares = weights(season, res_m)
    n_compared = 0
    for row, share in enumerate(shares):
        flat = share.ravel()
        np.testing.assert_allclose(found[f"XX_s2_pixels{suffix}"][row], flat.sum(), rtol=1e-5, atol=1e-4)
        for k, period in enumerate(recipe.periods):
            stem = f"XX_{period.first:%Y_%m_%d}_s2"
            observed = (seen[k].ravel() * flat).sum() / flat.sum() if flat.sum() > 1e-6 else np.nan
            np.testing.assert_allclose(found[f"{stem}_observed{suffix}"][row], observed, rtol=1e-4, atol=1e-5)
            for variable in recipe.variables:
                values = variable.formula.evaluate({n: bands[n][k] for n in variable.formula.names})
                assert values.shape == (shape[0] * shape[1],)
                mean, stdev = weighted(values, flat, is_centre=is_centre)
                name = variable.name if variable.name[1:2] != "0" else f"b{variable.name[2:]}"
                # A ratio of reflectances about 0 magnifies what single precision leaves out.
                loose = variable.name.startswith("nd")
                rtol, atol = (2e-3, 2e-3) if loose else (2e-5, 3e-6)
                for short, value in (("mean", mean), ("dev", stdev)):
                    column = f"{stem}_{short}_{name}"
                    np.testing.assert_allclose(found[column][row], value, rtol, atol, err_msg=f"{row} {column}")
                n_compared += np.isfinite(mean)
    assert n_compared > 25 * 6 * len(recipe.variables)
    assert bool(((shares > 0) & (shares < 1)).any()) == (not is_centre)
    assert {RES[band] for band in recipe.bands} == ({10, 20, 60} if chosen == "optical" else {20})


def test_the_preset_of_the_reference_on_mixed_grids(season: ScenesOfASeason, tmp_path: Path) -> None:
    """Offsets make reflectances negative, two products share a day, and a band is coarser than the others."""
    features = season.settings.features.model_copy(update={"preset": FeaturePreset.REFERENCE})
    settings = season.settings.model_copy(update={"features": features})
    theirs = ScenesOfASeason(season.scenes, season.days, season.folder, settings)
    theirs.features(tmp_path / "reference.arrow", 10)
    found = table(read_features(tmp_path / "reference.arrow"))
    oracles = [Oracle(scene, settings) for scene in season.scenes]
    shares = weights(season, 10).reshape(len(season.scenes[0].geometry), -1)
    inside = shares.any(axis=0)
    physical = {
        name: np.stack([o.physical(f"B{int(name[1:]):02d}", 10).ravel()[inside] for o in oracles])
        for name in reference_features.OPTICAL
    }
    usable = np.stack([usable_codes(settings.validity)[o.categories(10)].ravel()[inside] for o in oracles])
    valid = usable & np.all([np.isfinite(cube) for cube in physical.values()], axis=0)
    at = [DAYS[0] + dt.timedelta(days=10 * i) for i in range(10)]
    b = {
        name: reference_features.interpolated(np.rint(np.nan_to_num(cube) * 1e4).astype(np.int64), valid, DAYS, at)
        for name, cube in physical.items()
    }
    assert min(np.nanmin(cube) for cube in b.values()) < -500, "the test has what it is about"
    b |= reference_features.indices(b, reference_features.INDEX_NAMES["reference"])
    is_centre = settings.extract.weighting is Weighting.CENTRE
    for row, share in enumerate(shares[:, inside]):
        for k, day in enumerate(at):
            for name, cube in b.items():
                for short, value in zip(("mean", "dev"), weighted(cube[k], share, is_centre=is_centre), strict=True):
                    column = f"XX_{day:%Y_%m_%d}_s2_{short}_{name}"
                    np.testing.assert_allclose(found[column][row], value, 1e-6, 1e-6, err_msg=f"{row} {column}")


def test_how_a_block_is_cut_into_pieces_shows_nowhere(season: ScenesOfASeason) -> None:
    recipe = season.recipe()
    index = read_index(season.folder / "first" / "index_10m.arrow")
    features = OpticalFeatures(recipe, season.season(recipe.bands, 10), index.weighting)
    assert index.n_blocks == 3
    for number in range(index.n_blocks):
        block = index.block(number)
        whole, cut = (np.empty((features.n_columns, block.n_parcels), np.float32) for _ in range(2))
        block_features(block, features, whole)
        block_features(block, features, cut, piece_pixels=50)
        assert whole.tobytes() == cut.tobytes()
        batch = made(season, "optical").batches[number]
        assert whole.tobytes() == b"".join(column.to_numpy().tobytes() for column in batch.columns[1:])


@dataclass(frozen=True)
class Turned(ScenesOfASeason):
    """The last product first."""

    def products(self, bands: Sequence[str]) -> list[tuple[Product, list[Path]]]:
        return super().products(bands)[::-1]


@pytest.mark.parametrize("preset", ["default", "reference"])
def test_the_order_in_which_products_are_given_shows_nowhere(
    season: ScenesOfASeason, tmp_path: Path, preset: str
) -> None:
    """Of the two products of one day the reference takes the later one."""
    features = season.settings.features.model_copy(update={"preset": FeaturePreset(preset)})
    settings = season.settings.model_copy(update={"features": features})
    for kind in (ScenesOfASeason, Turned):
        kind(season.scenes, season.days, season.folder, settings).features(tmp_path / f"{kind.__name__}.arrow", 10)
    assert (tmp_path / "Turned.arrow").read_bytes() == (tmp_path / "ScenesOfASeason.arrow").read_bytes()
