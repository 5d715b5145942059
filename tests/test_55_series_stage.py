"""The stats stage: what its rows depend on, and that nothing after gather opens a raster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from support.chain import Chain
from support.series import TILE, parcels

from s4c_hpc.catalog import headers_read, opened, scan
from s4c_hpc.config import Config
from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError
from s4c_hpc.core.stage import stage
from s4c_hpc.core.task import Task
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.extract import read_index
from s4c_hpc.parcels import import_parcels
from s4c_hpc.series import read_series

STAGES = ("mask", "index", "gather", "stats")
POOR = "S2_20180701T102241Z"
"""The product that lacks bands: a question that it cannot answer concerns only the others."""
SETS = {"full": ("B02", "B03", "B04", "B08", "B11"), "poor": ("B04", "B08")}


def write_set(folder: Path, names: tuple[str, ...], stamp: str, res_m: int, seed: int) -> None:
    """A GeoTIFF with bands and a mask of classes 0, 1 and 2."""
    rng = np.random.default_rng(seed)
    grid = TILE.grid(res_m)
    pixels = rng.integers(1, 6000, (len(names) + 1, grid.height, grid.width)).astype(np.uint16)
    pixels[-1] = rng.choice([0, 1, 1, 1, 2], pixels[-1].shape)
    profile = {"driver": "GTiff", "count": len(pixels), "height": grid.height, "width": grid.width, "dtype": "uint16"}
    transform = rasterio.Affine(*grid.transform)
    folder.mkdir(parents=True, exist_ok=True)
    with rasterio.open(folder / f"S2_{stamp}.tif", "w", **profile, crs=grid.crs, transform=transform) as raster:
        raster.write(pixels)


def settings(root: Path, **sections: Any) -> Config:
    sources: list[dict[str, Any]] = [
        {
            "kind": "geotiff",
            "root": str(root / name),
            "pattern": "S2_{datetime}.tif",
            "tile": TILE.id,
            "bands": {band: i + 1 for i, band in enumerate(bands)},
            "mask_band": len(bands) + 1,
            "mask_classes": {0: "nodata", 1: "valid", 2: "cloud"},
        }
        for name, bands in SETS.items()
    ]
    tile = {name: getattr(TILE, name) for name in ("id", "crs", "ulx", "uly", "width_m", "height_m")}
    return Config.model_validate(
        {
            "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
            "sources": sources,
            "grid": {"tiles": [tile]},
            "parcels": {"file": str(root / "parcels.gpkg"), "id_columns": ["name"]},
            "variables": {"bands": ["B04", "B11"], "indices": ["ndvi", "ndwi_gao"]},
            **sections,
        }
    )


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Two acquisitions with all bands, one of them at 20 m, and one with two bands only; all stages done."""
    root = tmp_path_factory.mktemp("stats")
    write_set(root / "full", SETS["full"], "20180507T102648Z", 10, 1)
    write_set(root / "full", SETS["full"], "20180601T101021Z", 20, 2)
    write_set(root / "poor", SETS["poor"], POOR.removeprefix("S2_"), 10, 3)
    geometry = parcels()
    kept = [g is not None for g in geometry]
    frame = gpd.GeoDataFrame({"name": [f"p{i}" for i in range(sum(kept))]}, geometry=geometry[kept], crs=TILE.crs)
    frame.to_file(root / "parcels.gpkg")
    made = Chain(Workspace(root / "workspace"))
    made.workspace.root.mkdir()
    config = settings(root)
    scan(config, made.workspace)
    import_parcels(None, made.workspace, config)
    made.run(config, STAGES)
    return made


@pytest.fixture
def config(chain: Chain) -> Config:
    return settings(chain.workspace.root.parent)


def row_parcels(chain: Chain, config: Config) -> str:
    return chain.plan(config, ["mask"])["mask"][0].input_keys[0]


def other(chain: Chain, **sections: Any) -> Config:
    return settings(chain.workspace.root.parent, **sections)


def ids(rows: list[Task]) -> set[str]:
    return {row.id for row in rows}


def test_a_row_names_its_inputs_and_outputs(chain: Chain, config: Config) -> None:
    rows = chain.plan(config, STAGES)
    assert [row.subject for row in rows["stats"]] == [row.subject for row in rows["gather"]]
    gathered = {row.subject: row.id for row in rows["gather"]}
    indexed = {row.subject: row.id for row in rows["index"]}
    for row in rows["stats"]:
        grid = "20m" if "20180601" in row.subject else "10m"
        assert row.input_keys == (gathered[row.subject], indexed[grid])
        assert row.depends_on == (gathered[row.subject], rows["mask"][0].id, indexed[grid])
        stem = f"{row.subject.split('_')[1][:8]}_{row.subject}.{row.id.replace('-', '')[:12]}"
        assert row.outputs == (f"tiles/TEST/series/s2/{grid}/{stem}.arrow",)
        assert row.opens_imagery == 0
        assert all(chain.path(p).is_file() for p in chain.done[row.id].outputs)
        assert chain.done[row.id].rasters_opened == 0


@pytest.mark.parametrize("weighting", ["centre", "coverage"])
@pytest.mark.parametrize("formula", ["B04", "+".join(["B04 * B11"] * 90)])
def test_no_task_writes_more_than_it_says(chain: Chain, tmp_path: Path, weighting: str, formula: str) -> None:
    """Small files on several grids, which descriptions make up most of, and a description that is long."""
    variables = {"bands": ["B04", "B11"], "indices": ["ndvi", "ndwi_gao"], "formulas": {"own": formula}}
    config = other(chain, extract={"weighting": weighting}, variables=variables)
    own = Chain(Workspace(tmp_path))
    scan(config, own.workspace)
    import_parcels(None, own.workspace, config)
    for name, rows in own.run(config, [*STAGES, "merge"]).items():
        for row in rows:
            written, promised = own.sizes(row)
            assert written <= promised <= (10 if name in {"mask", "index"} else 5) * written, (name, written, promised)


@pytest.mark.parametrize("weighting", ["centre", "coverage"])
def test_the_size_of_the_work_is_an_upper_bound(chain: Chain, weighting: str) -> None:
    extract = {"weighting": weighting, "buffer_m": {"10m": 0, "20m": 0, "60m": 0}}
    config = other(chain, extract=extract, variables={"bands": ["B04"], "indices": []})
    for row in chain.run(config, STAGES)["stats"]:
        index = read_index(chain.path(chain.done[row.depends_on[2]].outputs[0]))
        pixels = sum(int(b.run_length.sum()) + b.edge_row.size for b in index)
        assert 0 < pixels <= row.work / 2  # one band, one variable
        assert row.work / 2 < 5 * pixels


def test_planning_again_gives_the_same_rows(chain: Chain, config: Config) -> None:
    first, second = chain.plan(config, STAGES), chain.plan(config, STAGES)
    assert first == second
    chain.run(config, STAGES)
    assert chain.ran == []


@pytest.mark.parametrize(
    ("sections", "stages_that_run"),
    [
        ({"variables": {"bands": ["B04", "B11"], "indices": ["ndvi", "ndwi_gao", "bsi"]}}, {"stats"}),
        ({"variables": {"bands": ["B04"], "formulas": {"mine": "(B08 - B04) / B11"}}}, {"stats"}),
        ({"variables": {"bands": ["B04"], "indices": ["MNDWI"], "statistics": ["mean", "p90"]}}, {"stats"}),
        ({"validity": {"use": ["valid", "cloud"]}}, {"stats"}),
        ({"extract": {"buffer_m": {"10m": 1, "20m": 2, "60m": 3}}}, {"index", "stats"}),
        ({"extract": {"weighting": "coverage"}}, {"index", "stats"}),
    ],
    ids=["index", "formula", "catalogue", "validity", "buffer", "weighting"],
)
def test_a_new_question_opens_no_raster_and_uses_the_stacks_again(
    chain: Chain, config: Config, sections: dict[str, Any], stages_that_run: set[str]
) -> None:
    stacks = {p: p.stat().st_mtime_ns for p in chain.workspace.root.glob("tiles/*/stack/**/*.arrow")}
    before = opened(), headers_read()
    known = chain.plan(config, STAGES)
    asked = chain.run(other(chain, **sections), STAGES)
    assert (opened(), headers_read()) == before
    assert {task.stage for task in chain.ran} == stages_that_run
    assert ids(asked["gather"]) == ids(known["gather"])
    whole = ({row.id for row in rows["stats"] if row.subject != POOR} for rows in (asked, known))
    assert not set.intersection(*whole)
    assert {p: p.stat().st_mtime_ns for p in chain.workspace.root.glob("tiles/*/stack/**/*.arrow")} == stacks


@pytest.mark.parametrize(
    "sections",
    [
        {"markers": {"sets": [{"name": "small", "variables": ["ndvi"]}]}},
        {"execute": {"workers": 7}},
        {"validity": {"use": ["water", "valid"]}},
        {"validity": {"scl": {"3": "cloud"}}},
    ],
    ids=["marker set", "workers", "order", "class table of another source"],
)
def test_what_decides_no_number_changes_no_id(chain: Chain, config: Config, sections: dict[str, Any]) -> None:
    assert ids(chain.plan(other(chain, **sections), STAGES)["stats"]) == ids(chain.plan(config, STAGES)["stats"])


def test_white_space_in_a_formula_changes_no_id(chain: Chain) -> None:
    texts = "(B08-B04)/B08", " ( (B08 -  B04) ) / B08 "
    first, second = (
        chain.plan(other(chain, variables={"bands": [], "indices": [], "formulas": {"mine": text}}), STAGES)
        for text in texts
    )
    assert ids(first["stats"]) == ids(second["stats"])


def test_a_declared_class_that_changes_its_meaning_opens_no_raster(chain: Chain, config: Config) -> None:
    sources = [{**s.model_dump(), "mask_classes": {0: "nodata", 1: "valid", 2: "snow"}} for s in config.sources]
    changed = other(chain, sources=sources)
    known = chain.plan(config, STAGES)
    before = opened()
    scan(changed, chain.workspace)
    try:
        rows = chain.run(changed, STAGES)
        assert opened() == before
        assert {task.stage for task in chain.ran} == {"stats"}
        assert ids(rows["gather"]) == ids(known["gather"])
        table = read_series(chain.path(rows["stats"][0].outputs[0]))
        assert table.values("n_snow").sum() > 0
        assert table.values("n_cloud").sum() == 0
    finally:
        scan(config, chain.workspace)
        chain.run(config, STAGES)


def test_a_product_without_a_band_has_no_column_and_a_note(chain: Chain, config: Config) -> None:
    rows = {row.subject: row for row in chain.plan(config, STAGES)["stats"]}
    poor, full = rows[POOR], rows["S2_20180507T102648Z"]
    assert chain.done[poor.id].notes == (
        "no b11: the product has no band B11",
        "no ndwi_gao: the product has no band B11",
    )
    assert chain.done[full.id].notes == ()
    variables = [
        {name.rpartition("_")[0] for name in read_series(chain.path(row.outputs[0])).names if name.endswith("_mean")}
        for row in (poor, full)
    ]
    assert variables == [{"b04", "ndvi"}, {"b04", "b11", "ndvi", "ndwi_gao"}]


def test_a_product_that_has_the_bands_of_no_variable_has_no_row(chain: Chain) -> None:
    rows = chain.plan(other(chain, variables={"bands": ["B11"], "indices": []}), STAGES)["stats"]
    assert [row.subject for row in rows] == ["S2_20180507T102648Z", "S2_20180601T101021Z"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"bands": ["B4"], "indices": []}, r"'b4' needs band B4, which no product.*did you mean B0"),
        ({"bands": ["B04"], "indices": ["ndvii"]}, "no index is called 'ndvii'"),
        ({"formulas": {"mine": "B08 -"}}, r"variables\.formulas\.mine: this is not a formula, at column 6"),
    ],
    ids=["wrong band name", "unknown index", "bad formula"],
)
def test_what_cannot_be_computed_is_refused_when_planning(
    chain: Chain, variables: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        chain.plan(other(chain, variables=variables), STAGES)


def test_the_same_row_writes_the_same_bytes(chain: Chain, config: Config) -> None:
    row = chain.plan(config, STAGES)["stats"][0]
    path = chain.path(row.outputs[0])
    first = path.read_bytes()
    path.unlink()
    chain.run_task(stage("stats"), row, config)
    assert path.read_bytes() == first
    chain.run_task(stage("stats"), row, config)
    assert chain.twins_discarded == 1


def test_the_series_says_where_it_comes_from(chain: Chain, config: Config) -> None:
    row = chain.plan(config, STAGES)["stats"][0]
    header = read_series(chain.path(row.outputs[0])).header
    assert (header.task, header.tile, header.product) == (row.id, "TEST", row.subject)
    assert header.parcels == row_parcels(chain, config)
    assert header.validity == '{"classes":{"0":"nodata","1":"valid","2":"cloud"},"use":["valid","water"]}'


def test_a_damaged_or_lost_stack_is_told(chain: Chain, config: Config) -> None:
    rows = chain.plan(config, STAGES)
    row = rows["stats"][1]
    stack = chain.path(chain.done[row.depends_on[0]].outputs[0])
    whole = stack.read_bytes()
    try:
        stack.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="not a whole Arrow file"):
            chain.run_task(stage("stats"), row, config)
        stack.unlink()
        with pytest.raises(MissingDataError, match="no such file"):
            chain.run_task(stage("stats"), row, config)
    finally:
        stack.write_bytes(whole)
