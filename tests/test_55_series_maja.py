"""Products of MAJA through the whole chain, in one process: masks that count, FMask over them, and wider clouds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import shapely
from numpy.typing import NDArray
from support.chain import Chain
from support.muscate import build_muscate, write_fmask
from support.rasters import write_tif

from s4c_hpc.catalog import scan
from s4c_hpc.config import Config
from s4c_hpc.core.grid import Grid
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.extract import Stack
from s4c_hpc.markers import read_manifest
from s4c_hpc.parcels import import_parcels
from s4c_hpc.series import read_series

ULX, ULY, SIZE_M = 600_000, 5_400_000, 1200
TIME = dt.datetime(2018, 7, 10, 10, 45, 40, 458_000, tzinfo=dt.UTC)
STAGES = ["mask", "index", "gather", "stats"]
FIELD = np.s_[40:60, 40:60]
"""The only parcel, in pixels of 10 m."""
FIELD_20M = np.s_[20:30, 20:30]

Flags = NDArray[np.uint8]
Masks = dict[str, Flags]


@pytest.fixture
def dn() -> dict[str, NDArray[np.int16]]:
    rng = np.random.default_rng(7)
    sizes = {"B4": 120, "B8": 120, "B11": 60}
    return {name: rng.integers(300, 4000, (n, n)).astype(np.int16) for name, n in sizes.items()}


def clear() -> Masks:
    """No flag anywhere."""
    return {
        f"{mask}_{g}": np.zeros((n, n), np.uint8)
        for mask in ("MG2", "EDG", "SAT")
        for g, n in (("R1", 120), ("R2", 60))
    }


def settings(tmp_path: Path, **sections: Mapping[str, Any]) -> Config:
    tile = {"id": "32UPU", "crs": "EPSG:32632", "ulx": ULX, "uly": ULY, "width_m": SIZE_M, "height_m": SIZE_M}
    values: dict[str, Any] = {
        "site": {"name": "test", "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "sources": [
            {"kind": "maja", "root": str(tmp_path / "archive"), "fmask_root": str(tmp_path / "fmask")},
        ],
        "grid": {"tiles": [tile]},
        "parcels": {"file": str(tmp_path / "parcels.gpkg"), "id_columns": ["id"]},
        "extract": {"buffer_m": {"10m": 0, "20m": 0, "60m": 0}},
        "variables": {"bands": ["B04", "B11"], "indices": ["ndvi", "ndwi_gao"]},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return Config.model_validate(values)


def prepared(tmp_path: Path, config: Config) -> Chain:
    """A workspace with one parcel; the archive is there."""
    (tmp_path / "fmask").mkdir(exist_ok=True)
    square = shapely.box(ULX + 400, ULY - 600, ULX + 600, ULY - 400)
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[square], crs="EPSG:32632").to_file(tmp_path / "parcels.gpkg")
    chain = Chain(Workspace(tmp_path / "ws"))
    scan(config, chain.workspace)
    import_parcels(None, chain.workspace, config)
    return chain


def values(chain: Chain, config: Config, grid: str = "10m") -> dict[str, float]:
    """Series values of the only parcel and product."""
    (task,) = chain.run(config, STAGES)["stats"]
    (path,) = [output for output in task.outputs if f"/{grid}/" in output]
    series = read_series(chain.path(path))
    return {name: float(series.values(name)[0]) for name in series.names}


def counts(found: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in found.items() if name.startswith("n_") and value}


def test_every_mask_counts_and_none_enters_the_statistics(tmp_path: Path, dn: dict[str, NDArray[np.int16]]) -> None:
    """The reference opens the mask of its L3B products when it extracts markers, and never applies it."""
    masks = clear()
    mg2, rows = masks["MG2_R1"], 40
    mg2[rows, 40:60] = 0b10  # cloud
    mg2[rows + 1, 40:60] = 0b1010  # cloud and shadow
    mg2[rows + 2, 40:60] = 0b1000  # shadow
    mg2[rows + 3, 40:60] = 0b1  # water
    mg2[rows + 4, 40:60] = 0b100  # snow
    masks["EDG_R1"][rows + 5, 40:60] = 1
    masks["SAT_R1"][rows + 6, 40:60] = [1, 2, 4, 8] * 5  # one band each
    dn["B4"][40:42, 40:60] = 20_000  # a cloud is bright: it would show in the mean
    dn["B4"][50, 40:45] = -10_000
    build_muscate(tmp_path / "archive", time=TIME, dn=dn, masks=masks)
    config = settings(tmp_path)
    chain = prepared(tmp_path, config)
    found = values(chain, config)
    assert counts(found) == {
        "n_total": 400,
        "n_valid": 260,
        "n_cloud": 40,
        "n_shadow": 20,
        "n_water": 20,
        "n_snow": 20,
        "n_nodata": 20,
        "n_saturated": 20,
    }
    red = dn["B4"][FIELD] * 1e-4
    used = np.ones((20, 20), bool)
    used[[0, 1, 2, 4, 5, 6]] = False  # water is counted as water and used
    used[10, :5] = False
    assert found["b04_count"] == used.sum()
    assert found["b04_mean"] == pytest.approx(red[used].mean(), rel=1e-6)
    infrared = dn["B8"][FIELD] * 1e-4
    assert found["ndvi_mean"] == pytest.approx(((infrared - red) / (infrared + red))[used].mean(), rel=1e-6)
    # The same classes, another rule: no imagery is needed for that.
    everything = settings(tmp_path, validity={"use": ["valid", "water", "cloud", "shadow", "snow", "saturated"]})
    found = values(chain, everything)
    assert [task.stage for task in chain.ran] == ["stats"]
    assert found["b04_count"] == 400 - 20 - 5
    assert found["b04_mean"] > 0.3


def test_each_grid_has_its_own_masks(tmp_path: Path, dn: dict[str, NDArray[np.int16]]) -> None:
    masks = clear()
    masks["MG2_R1"][40, 40:60] = 0b10
    masks["MG2_R2"][20:22, 20:30] = 0b10
    masks["SAT_R2"][22, 20:30] = 0b010000  # B11
    build_muscate(tmp_path / "archive", time=TIME, dn=dn, masks=masks)
    config = settings(tmp_path)
    chain = prepared(tmp_path, config)
    assert counts(values(chain, config, "20m")) == {"n_total": 100, "n_valid": 70, "n_cloud": 20, "n_saturated": 10}
    # A pixel of 10 m whose B11 is saturated is saturated, too: an index may use both.
    fine = values(chain, config, "10m")
    assert counts(fine) == {"n_total": 400, "n_valid": 340, "n_cloud": 20, "n_saturated": 40}
    (task,) = chain.run(config, STAGES)["gather"]
    assert task.opens_imagery == chain.done[task.id].rasters_opened == 10 + 6
    for output in task.outputs:
        stack = Stack(chain.path(output))
        assert (stack.metadata["class_kind"], list(stack.bands)[-1]) == ("maja", "class")


def test_markers_of_maja_are_those_of_any_sentinel2(tmp_path: Path, dn: dict[str, NDArray[np.int16]]) -> None:
    build_muscate(tmp_path / "archive", time=TIME, dn=dn)
    config = settings(tmp_path)
    chain = prepared(tmp_path, config)
    (task,) = chain.run(config, [*STAGES, "merge"])["merge"]
    table = pa.ipc.open_file(chain.path(task.outputs[0])).read_all()
    assert table["s2_ndvi_count__20180710"].to_pylist() == [400]
    assert table["s2_20m_n_valid__20180710"].to_pylist() == [100]
    mean = (dn["B11"][FIELD_20M] * 1e-4).mean()
    assert table["s2_b11_mean__20180710"].to_pylist() == [pytest.approx(mean, rel=1e-6)]
    (entry,) = read_manifest(chain.path(task.outputs[0])).inputs
    assert (entry.product, entry.note) == ("SENTINEL2A_20180710-104540-458_L2A_T32UPU_C_V1-0", "")


class TestFmask:
    """FMask calls the northern half of the field cloud, MAJA the western half."""

    @pytest.fixture
    def archive(self, tmp_path: Path, dn: dict[str, NDArray[np.int16]]) -> Path:
        masks = clear()
        masks["MG2_R1"][:, :50] = 0b10
        build_muscate(tmp_path / "archive", time=TIME, dn=dn, masks=masks)
        return tmp_path

    def write_mask(self, folder: Path) -> None:
        clouds = np.zeros((60, 60), np.uint8)
        clouds[:25], clouds[29] = 4, 255
        path = folder / "fmask" / "L1C_T32UPU_A015929_20180710T104540_Fmask4.tif"
        write_fmask(path, clouds, epsg=32632, ulx=ULX, uly=ULY, res_m=20)

    def test_which_mask_counts_is_decided_after_decoding(self, archive: Path) -> None:
        self.write_mask(archive)
        config = settings(archive)
        chain = prepared(archive, config)
        assert counts(values(chain, config)) == {"n_total": 400, "n_valid": 200, "n_cloud": 200}
        (gather,) = chain.run(config, STAGES)["gather"]
        assert chain.done[gather.id].rasters_opened == 10 + 6 + 1
        alone = values(chain, settings(archive, validity={"mask": "fmask"}))
        assert counts(alone) == {"n_total": 400, "n_valid": 160, "n_cloud": 200, "n_nodata": 40}
        assert [task.stage for task in chain.ran] == ["stats"]
        both = values(chain, settings(archive, validity={"mask": "both"}))
        assert counts(both) == {"n_total": 400, "n_valid": 80, "n_cloud": 300, "n_nodata": 20}
        assert [task.stage for task in chain.ran] == ["stats"]
        snow = settings(archive, validity={"mask": "fmask", "fmask": {4: "snow"}})
        assert counts(values(chain, snow))["n_snow"] == 200

    @pytest.mark.parametrize(
        ("mask", "expected", "note"),
        [
            (
                "fmask",
                {"n_total": 400, "n_nodata": 400},
                "no FMask, which validity.mask asks for: all pixels are nodata",
            ),
            (
                "both",
                {"n_total": 400, "n_valid": 200, "n_cloud": 200},
                "no FMask: the product's own mask alone was used",
            ),
        ],
    )
    def test_without_the_mask_that_is_asked_for(
        self, archive: Path, mask: str, expected: dict[str, int], note: str
    ) -> None:
        config = settings(archive, validity={"mask": mask})
        chain = prepared(archive, config)
        assert counts(values(chain, config)) == expected
        rows = chain.run(config, [*STAGES, "merge"])
        assert chain.done[rows["stats"][0].id].notes == (note,)
        (entry,) = read_manifest(chain.path(rows["merge"][0].outputs[0])).inputs
        assert entry.note == note
        # When it arrives, the product is gathered again, and what was said is taken back.
        self.write_mask(archive)
        scan(config, chain.workspace)
        rows = chain.run(config, [*STAGES, "merge"])
        assert [task.stage for task in chain.ran] == ["gather", "stats", "merge"]
        (entry,) = read_manifest(chain.path(rows["merge"][0].outputs[0])).inputs
        assert entry.note == ""


class TestWiderMasks:
    @pytest.mark.parametrize("blocks", [None, 16, 32])
    def test_a_cloud_beside_farmland_reaches_into_it(
        self, tmp_path: Path, dn: dict[str, NDArray[np.int16]], blocks: int | None
    ) -> None:
        masks = clear()
        masks["MG2_R1"][30:34, 20:90] = 0b10  # 60 m north of the field, beyond the ring that the farmland mask keeps
        masks["MG2_R1"][45, 64:68] = 0b1000
        masks["MG2_R1"][52:54, 50:52] = 0b1
        build_muscate(tmp_path / "archive", time=TIME, dn=dn, masks=masks, blocks=blocks)
        plain = settings(tmp_path, extract={"buffer_m": {"10m": 0, "20m": 0}, "mask_ring_m": 0})
        wide = settings(
            tmp_path,
            extract={
                "buffer_m": {"10m": 0, "20m": 0},
                "mask_ring_m": 0,
                "dilate_m": {"cloud": 100, "shadow": 70},
            },
        )
        chain = prepared(tmp_path, plain)
        assert counts(values(chain, plain)) == {"n_total": 400, "n_valid": 396, "n_water": 4}
        found = values(chain, wide)
        assert sorted({task.stage for task in chain.ran}) == ["gather", "stats"]
        rows, columns = np.indices((120, 120))
        expected = np.full((120, 120), "valid", dtype=object)
        expected[52:54, 50:52] = "water"
        for flag, radius, name in ((0b1000, 7, "shadow"), (0b10, 10, "cloud")):
            for r, c in np.argwhere(masks["MG2_R1"] == flag):
                expected[np.hypot(rows - r, columns - c) <= radius] = name
        names, n = np.unique(expected[FIELD].astype(str), return_counts=True)
        assert counts(found) == {
            "n_total": 400,
            **{f"n_{k}": v for k, v in zip(names.tolist(), n.tolist(), strict=True)},
        }
        (task,) = chain.run(wide, STAGES)["gather"]
        assert task.opens_imagery == chain.done[task.id].rasters_opened == 16
        assert chain.done[task.id].notes == ()

    def test_masks_of_fmask_are_widened_on_their_own_grid(
        self, tmp_path: Path, dn: dict[str, NDArray[np.int16]]
    ) -> None:
        build_muscate(tmp_path / "archive", time=TIME, dn=dn, masks=clear())
        clouds = np.zeros((60, 60), np.uint8)
        clouds[24] = 4  # the row of pixels of 20 m above the field
        path = tmp_path / "fmask" / "L1C_T32UPU_A015929_20180710T104540_Fmask4.tif"
        write_fmask(path, clouds, epsg=32632, ulx=ULX, uly=ULY, res_m=20)
        plain = settings(tmp_path, validity={"mask": "fmask"})
        chain = prepared(tmp_path, plain)
        before = counts(values(chain, plain)).get("n_cloud", 0)
        wide = settings(
            tmp_path,
            validity={"mask": "fmask"},
            extract={"buffer_m": {"10m": 0, "20m": 0}, "dilate_m": {"cloud": 40}},
        )
        assert counts(values(chain, wide))["n_cloud"] > before

    def test_a_width_of_zero_is_no_other_task(self, tmp_path: Path, dn: dict[str, NDArray[np.int16]]) -> None:
        build_muscate(tmp_path / "archive", time=TIME, dn=dn)
        plain = settings(tmp_path)
        zero = settings(tmp_path, extract={"dilate_m": {"cloud": 0}})
        chain = prepared(tmp_path, plain)
        ids = [task.id for task in chain.plan(plain, STAGES)["gather"]]
        assert [task.id for task in chain.plan(zero, STAGES)["gather"]] == ids
        wider = settings(tmp_path, extract={"dilate_m": {"snow": 20}})
        assert [task.id for task in chain.plan(wider, STAGES)["gather"]] != ids
        # What counts as snow decides what is widened; a table without that says nothing new.
        other = settings(tmp_path, extract={"dilate_m": {"snow": 20}}, validity={"maja": {3: "valid"}})
        assert len({task.id for c in (plain, wider, other) for task in chain.plan(c, STAGES)["gather"]}) == 2

    def test_classes_in_the_file_of_the_bands_are_decoded_twice_and_that_is_said(self, tmp_path: Path) -> None:
        layers = np.full((2, 120, 120), 2000, np.uint16)
        layers[1] = 1
        layers[1, 30:34, 20:90] = 2
        grid = Grid(crs="EPSG:32632", ulx=ULX, uly=ULY, res_m=10, width=120, height=120)
        (tmp_path / "archive").mkdir()
        write_tif(tmp_path / "archive" / "S2_20180710T104021Z.tif", layers, grid)
        source = {
            "kind": "geotiff",
            "root": str(tmp_path / "archive"),
            "pattern": "S2_{datetime}.tif",
            "tile": "32UPU",
            "bands": {"B04": 1},
            "mask_band": 2,
            "mask_classes": {"1": "valid", "2": "cloud"},
        }
        config = settings(tmp_path, extract={"dilate_m": {"cloud": 80}}, variables={"bands": ["B04"], "indices": []})
        config = Config.model_validate({**config.model_dump(mode="json"), "sources": [source]})
        chain = prepared(tmp_path, config)
        assert counts(values(chain, config)) == {"n_total": 400, "n_valid": 360, "n_cloud": 40}
        (task,) = chain.run(config, STAGES)["gather"]
        assert chain.done[task.id].notes == (
            "decoded twice, since it is widened and lies in the file of the bands: MASK",
        )
