"""The stages mask, index and gather on real imagery and on SAFE products: rows, identity, files, errors."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from support.chain import Chain
from support.rasters import noise, write_tif
from support.safe import build_safe, corrupt_band, image_path, truncate

from s4c_hpc.catalog import headers_read, opened, scan
from s4c_hpc.config import Config, load_config
from s4c_hpc.core.errors import ExitCode, InputError, NoInputsError
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.ids import short
from s4c_hpc.core.stage import stage
from s4c_hpc.core.task import Task
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.extract import Stack, bounds, read_index, read_mask
from s4c_hpc.parcels import import_parcels

DATA = Path(__file__).parent / "data" / "tum-freising-2018"
DEMO = Path(__file__).parents[1] / "configs" / "demo.toml"
STAGES = ("mask", "index", "gather")
SEASON = {"season_start": "2018-01-01", "season_end": "2018-12-31"}


def demo_config(*flags: str) -> Config:
    return load_config(DEMO, environment={"S4C_DEMO_DATA": str(DATA)}, flags=flags).config


def new_chain(root: Path, config: Config) -> Chain:
    chain = Chain(Workspace(root))
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    return chain


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, dict[str, list[Task]]]:
    """Three dates of the demo, planned and run."""
    config = demo_config('site.season_end="2018-03-08"')
    chain = new_chain(tmp_path_factory.mktemp("demo"), config)
    return chain, chain.run(config, STAGES)


def ids(rows: Mapping[str, list[Task]], name: str) -> list[str]:
    return [task.id for task in rows[name]]


def test_rows_name_tile_grid_and_product_and_files_carry_the_id(demo: tuple[Chain, dict[str, list[Task]]]) -> None:
    chain, rows = demo
    (mask,), (index,) = rows["mask"], rows["index"]
    assert (mask.tile, mask.subject, mask.outputs) == (
        "FREISING",
        "mask",
        (f"tiles/FREISING/mask/{short(mask.id)}.arrow",),
    )
    assert (index.subject, index.outputs) == (
        "10m",
        (f"tiles/FREISING/index/10m/v0001_5m_centre.{short(index.id)}.arrow",),
    )
    assert [task.subject for task in rows["gather"]] == [
        "S2_L2A_20180213T101559Z",
        "S2_L2A_20180228T101021Z",
        "S2_L2A_20180308T102241Z",
    ]
    first = rows["gather"][0]
    assert first.outputs == (f"tiles/FREISING/stack/s2/10m/20180213_S2_L2A_20180213T101559Z.{short(first.id)}.arrow",)
    assert mask.input_keys[0].startswith("parcels:")
    assert index.input_keys == (mask.input_keys[0], mask.id)
    assert first.input_keys[0].startswith("product:S2_L2A_20180213T101559Z|")
    assert first.input_keys[1] == mask.id
    assert (mask.depends_on, index.depends_on, first.depends_on) == ((), (mask.id,), (mask.id,))
    for task in (*rows["mask"], *rows["index"], *rows["gather"]):
        assert all(chain.path(output).is_file() for output in task.outputs)
        assert task.work > 0
        assert task.resources.mem_bytes > 0


def test_paths_of_imagery_and_workspace_do_not_enter_identity(
    demo: tuple[Chain, dict[str, list[Task]]], tmp_path: Path
) -> None:
    shutil.copytree(DATA, tmp_path / "moved")
    config = load_config(DEMO, environment={"S4C_DEMO_DATA": str(tmp_path / "moved")}).config
    other = new_chain(tmp_path / "ws", config).plan(config, STAGES)
    chain, _ = demo
    here = chain.plan(demo_config(), STAGES)
    assert {name: ids(other, name) for name in STAGES} == {name: ids(here, name) for name in STAGES}
    assert all(str(tmp_path) not in task.params for tasks in other.values() for task in tasks)


def test_real_pixels_arrive_in_the_stack(demo: tuple[Chain, dict[str, list[Task]]]) -> None:
    chain, rows = demo
    cells = read_mask(chain.path(rows["mask"][0].outputs[0])).cells(
        Grid(crs="EPSG:32632", ulx=697020, uly=5368660, res_m=10, width=588, height=718)
    )
    row = np.repeat(cells.row, cells.c1 - cells.c0)
    column = np.concatenate([np.arange(a, b) for a, b in zip(cells.c0, cells.c1, strict=True)])
    inside = (row < 718) & (column < 588)
    for task in rows["gather"]:
        stack = Stack(chain.path(task.outputs[0]))
        assert stack.n_rows == cells.n_cells == chain.done[task.id].n_rows
        with rasterio.open(DATA / "images" / f"{task.subject}.tif") as raster:
            for number, band in enumerate(raster.descriptions, 1):
                name = "class" if band == "MASK" else band
                found = stack.read(name, 0, stack.n_rows)
                pixels = raster.read(number)[row[inside], column[inside]]
                assert np.array_equal(found[inside], pixels)
                assert (found[~inside] == (255 if name == "class" else 0)).all()
        assert set(stack.bands) == {*(n for n in raster.descriptions if n != "MASK"), "class"}
        assert stack.bands["class"].dtype == "uint8"
        assert (stack.bands["class"].nodata, stack.metadata["class_kind"]) == (255, "declared")
        assert stack.metadata["datetime"].startswith(f"{task.outputs[0].split('/')[-1][:4]}-")
        assert (stack.metadata["mask"], stack.metadata["grid"]) == (rows["mask"][0].id, "10m")


@pytest.mark.parametrize("flags", [(), ('extract.weighting="coverage"', "extract.mask_ring_m=0")])
def test_no_task_writes_more_than_it_says(tmp_path: Path, flags: tuple[str, ...]) -> None:
    config = demo_config('site.season_end="2018-03-08"', *flags)
    chain = new_chain(tmp_path, config)
    for name, tasks in chain.run(config, [*STAGES, "stats", "merge"]).items():
        for task in tasks:
            written, promised = chain.sizes(task)
            assert written <= promised <= (10 if name in {"mask", "index"} else 5) * written, (name, written, promised)


def test_each_file_is_opened_once_and_index_opens_none(demo: tuple[Chain, dict[str, list[Task]]]) -> None:
    chain, rows = demo
    assert [task.opens_imagery for task in rows["gather"]] == [1, 1, 1]
    assert [chain.done[task.id].rasters_opened for task in rows["gather"]] == [1, 1, 1]
    assert [task.opens_imagery for name in ("mask", "index") for task in rows[name]] == [0, 0]


def test_the_index_has_every_parcel_and_their_pixels(demo: tuple[Chain, dict[str, list[Task]]]) -> None:
    chain, rows = demo
    index = read_index(chain.path(rows["index"][0].outputs[0]))
    frame = gpd.read_file(DATA / "parcels.gpkg")
    inner = frame.buffer(-5.0)
    assert index.n_parcels == len(frame) == 18
    n_pixels = sum(int(block.run_length.sum()) for block in index)
    assert n_pixels == pytest.approx(inner.area.sum() / 100, rel=0.01)
    assert index.metadata["weighting"] == "centre"


def test_running_again_elsewhere_gives_the_same_bytes(
    demo: tuple[Chain, dict[str, list[Task]]], tmp_path: Path
) -> None:
    chain, rows = demo
    config = demo_config('site.season_end="2018-03-08"')
    again = new_chain(tmp_path, config)
    other = again.run(config, STAGES)
    for name in STAGES:
        for a, b in zip(rows[name], other[name], strict=True):
            assert a.outputs == b.outputs
            for path in a.outputs:
                assert chain.path(path).read_bytes() == again.path(path).read_bytes()


def test_an_attempt_that_comes_second_is_counted_and_discarded(demo: tuple[Chain, dict[str, list[Task]]]) -> None:
    chain, rows = demo
    chain.run_task(stage("gather"), rows["gather"][0], demo_config())
    assert chain.twins_discarded == 1


@pytest.mark.parametrize(
    ("flag", "changed"),
    [
        ("extract.buffer_m.10m=0.0", {"index"}),
        ("extract.weighting=coverage", {"index"}),
        ("extract.mask_ring_m=100.0", {"mask", "index", "gather"}),
        ('variables.indices=["evi"]', set()),
        ('validity.use=["valid"]', set()),
        ("sources.0.mask_classes.2=valid", set()),
        ("sources.0.mask_classes.254=snow", set()),
        ("sources.0.scale=0.001", {"gather"}),
    ],
)
def test_what_a_changed_setting_changes(
    demo: tuple[Chain, dict[str, list[Task]]], tmp_path: Path, flag: str, changed: set[str]
) -> None:
    """Validity, variables, buffer and weighting cost no imagery."""
    before = demo[0].plan(demo_config(), STAGES)
    text = DEMO.read_text()
    match flag.partition("=")[0]:
        case "sources.0.mask_classes.2":
            text = text.replace('2 = "cloud"', '2 = "valid"')
        case "sources.0.mask_classes.254":
            text = text.replace('2 = "cloud"', '2 = "cloud", 254 = "snow"')
        case "sources.0.scale":
            text = text.replace("scale = 1e-4", "scale = 1e-3")
        case "extract.buffer_m.10m":
            text = text.replace("10m = 5", "10m = 0")
        case _:
            pass
    (tmp_path / "s4c.toml").write_text(text)
    flags = () if text != DEMO.read_text() else (flag,)
    config = load_config(tmp_path / "s4c.toml", environment={"S4C_DEMO_DATA": str(DATA)}, flags=flags).config
    after = new_chain(tmp_path / "ws", config).plan(config, STAGES)
    assert {name for name in STAGES if ids(before, name) != ids(after, name)} == changed


# --- products of several files and grids -------------------------------------------------------------------------

TILE: dict[str, Any] = {"id": "32UPU", "crs": "EPSG:32632", "ulx": 600_000, "uly": 5_400_000}
SIZE_M = 1200


def safe_config(root: Path, **sections: Any) -> Config:
    return Config.model_validate(
        {
            "site": {"name": "test", **SEASON},
            "sources": [{"kind": "sentinel2-l2a", "root": str(root / "archive")}],
            "grid": {"tiles": [{**TILE, "width_m": SIZE_M, "height_m": SIZE_M}]},
            "parcels": {"file": str(root / "parcels.gpkg"), "id_columns": ["id"]},
            **sections,
        }
    )


def write_parcels(root: Path, *, offset_m: float = 300.0) -> None:
    x, y = TILE["ulx"] + offset_m, TILE["uly"] - offset_m
    fields = [shapely.box(x, y - 200, x + 150, y), shapely.box(x + 200, y - 333, x + 415, y - 44)]
    gpd.GeoDataFrame({"id": ["a", "b"]}, geometry=fields, crs="EPSG:32632").to_file(root / "parcels.gpkg")


def write_safe(root: Path, day: int) -> Path:
    sensing = dt.datetime(2018, 6, day, 10, 20, tzinfo=dt.UTC)
    return build_safe(
        root / "archive",
        baseline="02.14",
        sensing=sensing,
        tile="32UPU",
        epsg=32632,
        ulx=600_000,
        uly=5_400_000,
        size_m=SIZE_M,
        seed=day,
    )


@pytest.fixture
def safe(tmp_path: Path) -> tuple[Path, Config]:
    write_parcels(tmp_path)
    return write_safe(tmp_path, 1), safe_config(tmp_path)


def test_a_safe_product_becomes_a_stack_per_grid(safe: tuple[Path, Config], tmp_path: Path) -> None:
    folder, config = safe
    chain = new_chain(tmp_path / "ws", config)
    headers = headers_read()
    before = opened()
    rows = chain.run(config, STAGES)
    (task,) = rows["gather"]
    assert [Path(output).parent.name for output in task.outputs] == ["10m", "20m", "60m"]
    assert [task.subject for task in rows["index"]] == ["10m", "20m", "60m"]
    # 12 bands and the scene classification; headers are the catalog's affair.
    assert opened() - before == task.opens_imagery == chain.done[task.id].rasters_opened == 13
    assert headers_read() == headers
    mask = read_mask(chain.path(rows["mask"][0].outputs[0]))
    for output in task.outputs:
        stack = Stack(chain.path(output))
        res_m = int(stack.metadata["grid"].removesuffix("m"))
        cells = mask.cells(Grid(crs="EPSG:32632", ulx=600_000, uly=5_400_000, res_m=res_m, width=1, height=1))
        row = np.repeat(cells.row, cells.c1 - cells.c0)
        column = np.concatenate([np.arange(a, b) for a, b in zip(cells.c0, cells.c1, strict=True)])
        assert stack.metadata["class_kind"] == ("scl" if res_m == 20 else "none")
        for name in stack.bands:
            if name == "class" and res_m != 20:
                assert not stack.read(name, 0, stack.n_rows).any()
                continue
            with rasterio.open(image_path(folder, "SCL" if name == "class" else name)) as raster:
                assert np.array_equal(stack.read(name, 0, stack.n_rows), raster.read(1)[row, column])
    assert chain.done[task.id].n_rows == sum(mask.cells(_grid(res_m)).n_cells for res_m in (10, 20, 60))


def _grid(res_m: float) -> Grid:
    return Grid(crs="EPSG:32632", ulx=600_000, uly=5_400_000, res_m=res_m, width=1, height=1)


@pytest.mark.parametrize("damage", [corrupt_band, lambda folder, band: truncate(image_path(folder, band), 0.6)])
def test_a_damaged_band_is_told_with_its_file_and_leaves_no_output(
    safe: tuple[Path, Config], tmp_path: Path, damage: Any
) -> None:
    folder, config = safe
    write_safe(tmp_path, 2)
    damage(folder, "B8A")
    chain = new_chain(tmp_path / "ws", config)
    bad, good = chain.plan(config, STAGES)["gather"]
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        chain.run(config, STAGES)
    assert caught.value.where == str(image_path(folder, "B8A"))
    assert not list((tmp_path / "ws" / "tmp").glob("*/*"))
    # 10 m was whole and is published; what counts is that nothing half-written has a name.
    assert not chain.path(bad.outputs[1]).exists()
    # Other work goes on.
    shutil.rmtree(folder)
    scan(config, chain.workspace)
    assert [task.id for task in chain.run(config, STAGES)["gather"]] == [good.id]


def test_a_product_on_a_foreign_grid_is_bad_input_not_a_broken_plan(safe: tuple[Path, Config], tmp_path: Path) -> None:
    _, config = safe
    grid = dataclasses.replace(_grid(30.0), width=40, height=40)
    (tmp_path / "tif").mkdir()
    write_tif(tmp_path / "tif" / "L_20180701T100000Z.tif", noise(1, 2, grid), grid)
    source = {
        "kind": "geotiff",
        "root": str(tmp_path / "tif"),
        "pattern": "L_{datetime}.tif",
        "sensor": "l8",
        "tile": "32UPU",
        "bands": {"B04": 1, "B05": 2},
    }
    config = Config.model_validate({**config.model_dump(), "sources": [*config.model_dump()["sources"], source]})
    chain = new_chain(tmp_path / "ws", config)
    rows = chain.plan(config, STAGES)
    assert [task.subject for task in rows["index"]] == ["10m", "20m", "60m"]
    assert not [task for task in rows["gather"] if task.subject.startswith("L_")]


def test_a_product_without_classes_has_stacks_that_say_so(tmp_path: Path) -> None:
    grid = dataclasses.replace(_grid(10.0), width=120, height=120)
    (tmp_path / "tif").mkdir()
    write_tif(tmp_path / "tif" / "L_20180701T100000Z.tif", noise(1, 1, grid), grid)
    write_parcels(tmp_path)
    source = {
        "kind": "geotiff",
        "root": str(tmp_path / "tif"),
        "pattern": "L_{datetime}.tif",
        "tile": "32UPU",
        "bands": {"B04": 1},
    }
    config = safe_config(tmp_path, sources=[source])
    chain = new_chain(tmp_path / "ws", config)
    (task,) = chain.run(config, STAGES)["gather"]
    stack = Stack(chain.path(task.outputs[0]))
    assert (list(stack.bands), stack.metadata["class_kind"]) == (["B04", "class"], "none")
    assert not stack.read("class", 0, stack.n_rows).any()
    assert json.loads(task.params)["grids"]["10m"][0]["name"] == "B04"


def test_the_default_buffer_of_a_grid_is_half_a_pixel(safe: tuple[Path, Config], tmp_path: Path) -> None:
    _, config = safe
    chain = new_chain(tmp_path / "ws", config)
    narrow = safe_config(tmp_path, extract={"buffer_m": {"20m": 1.5}, "weighting": "coverage"})
    names = [Path(task.outputs[0]).name.split(".a")[0] for task in chain.plan(narrow, STAGES)["index"]]
    assert [name.rsplit(".", 1)[0] for name in names] == [
        "v0001_5m_coverage",
        "v0001_1.5m_coverage",
        "v0001_30m_coverage",
    ]


def test_what_a_task_needs_follows_from_its_row_alone(safe: tuple[Path, Config], tmp_path: Path) -> None:
    """With less known than when it was planned: never below what the row asks for."""
    _, config = safe
    for name, tasks in new_chain(tmp_path / "ws", config).plan(config, (*STAGES, "stats")).items():
        for task in tasks:
            again = stage(name).resources(task.work, json.loads(task.params))
            assert again.mem_bytes >= task.resources.mem_bytes
            assert again.walltime_s == task.resources.walltime_s


def test_how_tall_blocks_may_be_is_no_part_of_identity(
    safe: tuple[Path, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config = safe
    chain = new_chain(tmp_path / "ws", config)
    (before,) = chain.plan(config, STAGES)["gather"]
    monkeypatch.setattr(bounds, "_BLOCK_ROWS", {"sentinel2-l2a": 2048})
    (after,) = chain.plan(config, STAGES)["gather"]
    assert (after.id, after.params) == (before.id, before.params)
    assert after.resources.mem_bytes > before.resources.mem_bytes


def test_blocks_taller_than_the_source_promises_are_refused(
    safe: tuple[Path, Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config = safe
    chain = new_chain(tmp_path / "ws", config)
    monkeypatch.setattr(bounds, "_BLOCK_ROWS", {"sentinel2-l2a": 8})
    with pytest.raises(InputError, match=r"blocks of \d+ rows; 8 at most"):
        chain.run(config, STAGES)


# --- another declaration -----------------------------------------------------------------------------------------


def declare(root: Path, crop: str, **place: float) -> None:
    write_parcels(root, **place)
    gpd.read_file(root / "parcels.gpkg").assign(crop=crop).to_file(root / "parcels.gpkg")


def test_another_crop_code_makes_no_work_and_another_outline_does(tmp_path: Path) -> None:
    write_safe(tmp_path, 1)
    declare(tmp_path, "wheat")
    parcels = {"file": str(tmp_path / "parcels.gpkg"), "id_columns": ["id"], "crop_column": "crop"}
    config = safe_config(tmp_path, parcels=parcels)
    chain = new_chain(tmp_path / "ws", config)
    names = (*STAGES, "stats", "merge")
    first = chain.run(config, names)
    declare(tmp_path, "barley")
    assert import_parcels(None, chain.workspace, config).version == "v0002"
    assert chain.run(config, names) == first
    assert chain.ran == []
    # What is made later of the same parcels comes from the version that had them first.
    wider = safe_config(tmp_path, parcels=parcels, extract={"buffer_m": {"10m": 1}})
    chain.run(wider, names)
    assert [Path(task.outputs[0]).name[:5] for task in chain.ran if task.stage == "index"] == ["v0001"]
    declare(tmp_path, "barley", offset_m=310.0)
    assert import_parcels(None, chain.workspace, config).version == "v0003"
    moved = chain.run(config, names)
    # Ten metres further the farmland mask holds it still, and so no imagery is read.
    from_imagery = ("mask", "gather")
    assert all(ids(moved, name) == ids(first, name) for name in from_imagery)
    assert all(not set(ids(moved, name)) & set(ids(first, name)) for name in names if name not in from_imagery)
    assert {Path(task.outputs[0]).name[:5] for task in moved["index"]} == {"v0003"}


# --- nothing to do -----------------------------------------------------------------------------------------------


def test_no_parcels_is_told(safe: tuple[Path, Config], tmp_path: Path) -> None:
    _, config = safe
    chain = Chain(Workspace(tmp_path / "ws"))
    scan(config, chain.workspace)
    with pytest.raises(NoInputsError, match="there are no parcels") as caught:
        chain.plan(config, STAGES)
    assert caught.value.where == str(tmp_path / "ws" / "parcels")
    assert caught.value.exit_code is ExitCode.NO_INPUTS


def test_no_product_is_told_with_what_there_is_instead(safe: tuple[Path, Config], tmp_path: Path) -> None:
    folder, config = safe
    broken = write_safe(tmp_path, 9)
    next(broken.glob("GRANULE/*/MTD_TL.xml")).write_text("<cut")
    chain = new_chain(tmp_path / "ws", config)
    late = safe_config(tmp_path, site={"name": "t", "season_start": "2019-01-01", "season_end": "2019-12-31"})
    with pytest.raises(NoInputsError) as caught:
        chain.plan(late, STAGES)
    assert "no product on tile 32UPU from 2019-01-01 to 2019-12-31; of 2 in the catalog" in caught.value.what
    assert "1 broken, 1 out of season" in caught.value.what
    assert caught.value.where == str(chain.workspace.catalog)
    # The last day of a season counts.
    on_the_day = safe_config(tmp_path, site={"name": "t", "season_start": "2018-06-01", "season_end": "2018-06-01"})
    assert len(chain.plan(on_the_day, STAGES)["gather"]) == 1
    shutil.rmtree(folder)
    shutil.rmtree(broken)
    scan(config, chain.workspace)
    with pytest.raises(NoInputsError, match="of 0 in the catalog: it is empty"):
        chain.plan(config, STAGES)
