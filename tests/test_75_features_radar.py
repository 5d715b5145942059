"""Radar features from stacks, against weeks, months and parcels reckoned with NumPy and pandas alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats.mstats import mquantiles
from support.chain import Chain
from support.parcels import write_layer
from support.rasters import write_tif

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.grid import Tile
from s4c_hpc.core.stage import stage
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.features import FeatureFile, read_features
from s4c_hpc.features.over_weeks import low_quantile
from s4c_hpc.parcels import import_parcels

TILE = Tile(id="T", crs="EPSG:32632", ulx=600_000.0, uly=5_400_000.0, width_m=1200.0, height_m=800.0)
GRID = TILE.grid(20.0)
START, END = dt.date(2018, 3, 1), dt.date(2018, 6, 20)
STAGES = ("mask", "index", "gather", "features")
PASSES = {"ascending": "ASC", "descending": "DESC"}
MAX_GAP_DAYS = 14


def days(direction: str, kind: str) -> list[dt.date]:
    """Every six days, without four weeks of ascending and one of descending backscatter, and no coherence in May."""
    first = START + dt.timedelta(days=1 if direction == "ascending" else 4)
    every = [first + dt.timedelta(days=6 * i) for i in range(18)]
    if kind == "bck" and direction == "ascending":
        return [day for day in every if not dt.date(2018, 3, 26) <= day < dt.date(2018, 4, 23)]
    if kind == "bck":
        return [day for day in every if not dt.date(2018, 5, 14) <= day < dt.date(2018, 5, 21)]
    return [day for day in every if day.month != 5]


def pixels(direction: str, kind: str, day: dt.date) -> NDArray[np.float32]:
    """(n_layers, height, width): backscatter with places without data, below zero and unknown; coherence below 1."""
    rng = np.random.default_rng([day.toordinal(), len(direction), len(kind)])
    layers = 2 if kind == "bck" else 1
    shape = (layers, GRID.height, GRID.width)
    values = rng.gamma(4.0, 0.02, shape) if kind == "bck" else rng.uniform(0.05, 0.95, shape)
    spoilt = rng.random(shape)
    values[spoilt < 0.1] = 0.0
    values[(spoilt > 0.1) & (spoilt < 0.13)] = -0.01
    values[(spoilt > 0.13) & (spoilt < 0.16)] = np.nan
    return values.astype(np.float32)


def fields() -> list[shapely.Polygon]:
    return [shapely.box(600_053 + 180 * i, 5_399_403, 600_194 + 180 * i, 5_399_704 + 15 * i) for i in range(6)]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Config]:
    root = tmp_path_factory.mktemp("radar")
    write_layer(root / "parcels.gpkg", fields())
    sources = []
    for number, direction in enumerate(PASSES):
        for kind, bands in (("bck", {"VV": 1, "VH": 2}), ("cohe", {"COHVV": 1})):
            folder = root / f"{direction}-{kind}"
            folder.mkdir()
            for day in days(direction, kind):
                write_tif(folder / f"{kind}_{direction}_{day:%Y%m%d}.tif", pixels(direction, kind, day), GRID)
            sources.append(
                {
                    "kind": "geotiff",
                    "root": str(folder),
                    "pattern": f"{kind}_{direction}_{{datetime}}.tif",
                    "datetime_format": "%Y%m%d",
                    "sensor": "s1",
                    "tile": "T",
                    "bands": bands,
                    "scale": 1.0,
                    "relative_orbit": 88 + number,
                    "orbit_direction": direction,
                }
            )
    config = Config.model_validate(
        {
            "site": {"name": "site", "season_start": str(START), "season_end": str(END)},
            "sources": sources,
            "parcels": {"file": str(root / "parcels.gpkg"), "id_columns": ["id"]},
            "grid": {
                "tiles": [
                    {"id": "T", "crs": TILE.crs, "ulx": TILE.ulx, "uly": TILE.uly, "width_m": 1200, "height_m": 800}
                ]
            },
            "features": {"sets": ["sar"], "max_gap_days": MAX_GAP_DAYS},
        }
    )
    made = Chain(Workspace(root / "workspace"))
    scan(config, made.workspace)
    import_parcels(None, made.workspace, config)
    made.run(config, STAGES)
    return made, config


@pytest.fixture(scope="module")
def file(chain: tuple[Chain, Config]) -> FeatureFile:
    made, config = chain
    (task,) = made.plan(config, STAGES)["features"]
    return read_features(made.path(task.outputs[0]))


@pytest.fixture(scope="module")
def columns(file: FeatureFile) -> pd.DataFrame:
    """A row a parcel in the order of ``fields``."""
    table = pd.concat([batch.to_pandas() for batch in file.batches]).set_index("NewID")
    parcels = pd.read_parquet(file.path.parents[4] / "parcels/v0001/parcels.parquet", columns=["NewID", "ori_id"])
    ordered: pd.DataFrame = table.loc[parcels.sort_values("ori_id")["NewID"]].reset_index(drop=True)
    return ordered


def inside() -> Iterator[NDArray[np.bool_]]:
    """(height, width) pixels whose centre lies in a field, half a pixel from its edge or more."""
    x = TILE.ulx + 20 * (np.arange(GRID.width) + 0.5)
    y = TILE.uly - 20 * (np.arange(GRID.height) + 0.5)
    for field in fields():
        yield shapely.contains_xy(field.buffer(-10.0), *np.meshgrid(x, y))


def mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    return np.where(n > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(n, 1), np.nan)


def spread(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Population standard deviation of what is known."""
    return np.sqrt(mean([(one - mean(values)) ** 2 for one in values]))


def weekly(direction: str, kind: str, layer: int = 0) -> dict[dt.date, NDArray[np.float64]]:
    """First day of each week that was seen -> (height, width) mean of what is above 0; the season begins a Thursday."""
    groups: dict[dt.date, list[NDArray[np.float64]]] = {}
    for day in days(direction, kind):
        values = pixels(direction, kind, day)[layer].astype(float)
        monday = max(day - dt.timedelta(days=day.weekday()), START)
        groups.setdefault(monday, []).append(np.where(values > 0, values, np.nan))
    return {first: mean(every) for first, every in groups.items()}


def of_fields(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n_fields,) mean and sample standard deviation of the pixels that have a value."""
    chosen = [one[np.isfinite(one)] for one in (values[field] for field in inside())]
    return np.array([one.mean() for one in chosen]), np.array([one.std(ddof=1) for one in chosen])


def stamp(first: dt.date) -> str:
    year, week, _ = first.isocalendar()
    return f"W{year}{week:02d}"


def assert_columns(columns: pd.DataFrame, name: str, values: NDArray[np.float64]) -> None:
    """Mean and deviation of a feature; ``name`` has ``*`` where these stand."""
    for short, expected in zip(("MEAN", "DEV"), of_fields(values), strict=True):
        np.testing.assert_allclose(columns[name.replace("*", short)], expected, rtol=2e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("direction", list(PASSES))
def test_weeks_that_were_seen(columns: pd.DataFrame, direction: str) -> None:
    p = PASSES[direction]
    vv, vh, coherent = (weekly(direction, *what) for what in (("bck", 0), ("bck", 1), ("cohe", 0)))
    assert len(vv) > 10
    for first in vv:
        assert_columns(columns, f"XX_{stamp(first)}_{p}_VV_BCK_*", vv[first])
        assert_columns(columns, f"XX_{stamp(first)}_{p}_VH_BCK_*", vh[first])
        assert_columns(columns, f"XX_{stamp(first)}_{p}_RATIO_BCK_*", vv[first] / vh[first])
        assert columns[f"XX_{stamp(first)}_{p}_BCK_OBSERVED"].between(0.7, 1.0).all()
    for first in coherent:
        assert_columns(columns, f"XX_{stamp(first)}_{p}_VV_COHE_*", coherent[first])


def test_a_week_that_one_pass_lacks_is_missing_there_alone(columns: pd.DataFrame) -> None:
    """Four weeks are a gap of more than 14 days; no other pass loses anything for it."""
    for week in ("W201813", "W201814", "W201815", "W201816"):
        assert columns[f"XX_{week}_ASC_VV_BCK_MEAN"].isna().all()
        assert (columns[f"XX_{week}_ASC_BCK_OBSERVED"] == 0).all()
        assert columns[f"XX_{week}_DESC_VV_BCK_MEAN"].notna().all()
        assert columns[f"XX_{week}_ASC_VV_COHE_MEAN"].notna().all()


def test_a_short_gap_is_filled_between_its_neighbours(columns: pd.DataFrame) -> None:
    seen = weekly("descending", "bck")
    weeks = sorted({max(START, START - dt.timedelta(days=3) + dt.timedelta(days=7 * i)) for i in range(17)})
    alone = [i for i in range(1, 16) if weeks[i] not in seen and weeks[i - 1] in seen and weeks[i + 1] in seen]
    assert len(alone) == 1
    for i in alone:
        before, here, after = (columns[f"XX_{stamp(weeks[i + d])}_DESC_VV_BCK_MEAN"] for d in (-1, 0, 1))
        np.testing.assert_allclose(here, (before + after) / 2, rtol=1e-6)
        assert (columns[f"XX_{stamp(weeks[i])}_DESC_BCK_OBSERVED"] == 0).all()


@pytest.mark.parametrize(("month", "last"), [("201803", 4), ("201805", 6)])
@pytest.mark.parametrize("direction", list(PASSES))
def test_two_months_of_backscatter(columns: pd.DataFrame, direction: str, month: str, last: int) -> None:
    first = int(month[-2:])
    vv, vh = (
        [of for week, of in weekly(direction, "bck", layer).items() if first <= week.month <= last] for layer in (0, 1)
    )
    ratio = [a / b for a, b in zip(vv, vh, strict=True)]
    for pol, values in (("VV", vv), ("VH", vh), ("RATIO", ratio)):
        name = f"XX_M{month}_{PASSES[direction]}_{pol}_BCK"
        assert_columns(columns, f"{name}_MEAN_*", mean(values))
        assert_columns(columns, f"{name}_CVAR_*", spread(values) / mean(values))


def test_months_and_season_of_coherence_have_both_passes(columns: pd.DataFrame) -> None:
    both = [(week, of) for direction in PASSES for week, of in weekly(direction, "cohe").items()]
    for month in (3, 4):
        values = np.array([of for week, of in both if week.month == month])
        assert_columns(columns, f"XX_M2018{month:02d}_VV_COHE_MEAN_*", mean(list(values)))
        low = np.full(values.shape[1:], np.nan)
        for at in np.ndindex(low.shape):
            if (known := values[:, *at][np.isfinite(values[:, *at])]).size:
                low[at] = mquantiles(known, 0.1, alphap=0, betap=1)[0]
        assert_columns(columns, f"XX_M2018{month:02d}_VV_COHE_MIN_*", low)
    assert_columns(columns, "XX_S_VV_COHE_*", spread([of for _, of in both]))


def test_fmask_says_nothing_of_radar(chain: tuple[Chain, Config], file: FeatureFile, tmp_path: Path) -> None:
    """The mask that optical products are to have is none that radar could lack."""
    made, config = chain
    optical = {"kind": "sentinel2-l2a", "root": str(tmp_path), "fmask_root": str(tmp_path)}
    settings = config.model_dump(mode="json")
    other = Config.model_validate(
        {**settings, "sources": [*settings["sources"], optical], "validity": {"mask": "fmask"}}
    )
    (task,) = made.plan(other, STAGES)["features"]
    assert made.path(task.outputs[0]) == file.path, "no other task"
    before = file.path.read_bytes()
    made.run_task(stage("features"), task, other)
    assert file.path.read_bytes() == before


def test_columns_are_called_as_the_reference_calls_them(file: FeatureFile) -> None:
    names = [feature.name for feature in file.features]
    assert names[0] == "XX_s1_pixels"
    assert {
        "XX_W201809_ASC_VV_BCK_MEAN",
        "XX_W201809_DESC_RATIO_BCK_DEV",
        "XX_W201820_DESC_VV_COHE_MEAN",
        "XX_M201803_ASC_VV_BCK_MEAN_MEAN",
        "XX_M201803_ASC_VV_BCK_CVAR_DEV",
        "XX_M201804_VV_COHE_MIN_MEAN",
        "XX_S_VV_COHE_MEAN",
    } <= set(names)
    # 17 weeks of 6 backscatters and 2 coherences, 2 x 2 months of 6 x 2, 4 months of 2, a season; what was observed.
    assert sum(feature.is_feature for feature in file.features) == 2 * (17 * 8 + 2 * 12 + 4 * 2 + 1)
    assert len(names) == len(set(names)) == 1 + 17 * 4 + 2 * (17 * 8 + 2 * 12 + 4 * 2 + 1)


@given(
    arrays(np.float32, (13, 3), elements=st.one_of(st.just(np.nan), st.floats(0, 1, width=32))), st.floats(0.01, 0.99)
)
def test_a_quantile_is_that_of_type_4(values: NDArray[np.float32], share: float) -> None:
    found = np.empty(3, np.float32)
    low_quantile(values, share, found)
    for column, value in zip(values.T, found, strict=True):
        known = column[np.isfinite(column)].astype(float)
        expected = mquantiles(known, share, alphap=0, betap=1)[0] if known.size else np.nan
        np.testing.assert_allclose(value, expected, atol=1e-6)
