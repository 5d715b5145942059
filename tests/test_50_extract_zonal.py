"""Statistics of any raster: equal to exactextract, to numpy, and to themselves however the raster is cut."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import exactextract
import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.polygons import TILE, centres, random_parcels, star
from support.rasters import write_tif

from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, NoInputsError
from s4c_hpc.core.rings import certainly_valid
from s4c_hpc.core.wkb import flat_coordinates
from s4c_hpc.extract import zonal as zonal_module
from s4c_hpc.extract import zonal_windows
from s4c_hpc.extract.polygons import usable_polygons
from s4c_hpc.extract.zonal import ZonalResult, zonal
from s4c_hpc.extract.zonal_outlines import read_outlines
from s4c_hpc.extract.zonal_output import check_output, write_table
from s4c_hpc.extract.zonal_raster import ZonalRequest
from s4c_hpc.extract.zonal_tally import Tally
from s4c_hpc.extract.zonal_windows import Pixels

GRID = TILE.grid(10.0)
STATISTICS = ("count", "mean", "stdev", "min", "max", "median", "p5", "p97.5")
DTYPES = ("uint8", "uint16", "int16", "float32", "float64", "int32")


def image(seed: int, dtype: str, n_layers: int = 1) -> NDArray[Any]:
    """Values of a narrow and a wide range side by side, with some of 0, the nodata value."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 30_000
    values = rng.uniform(0, min(top, 200), (n_layers, GRID.height, GRID.width))
    values[:, :, GRID.width // 2 :] = rng.uniform(0, min(top, 30_000), values[:, :, GRID.width // 2 :].shape)
    values[rng.uniform(size=values.shape) < 0.1] = 0
    return values.astype(dtype)


def parcels_file(path: Path, geometry: NDArray[np.object_], crs: str = GRID.crs) -> Path:
    gpd.GeoDataFrame({"id": np.arange(len(geometry))}, geometry=geometry, crs=GRID.crs).to_crs(crs).to_file(path)
    return path


def run(folder: Path, *rasters: str, parcels: str = "parcels.gpkg", **options: Any) -> ZonalResult:
    given: dict[str, Any] = {"statistics": STATISTICS, "ids": ("id",)} | options
    return zonal(ZonalRequest(rasters=[folder / name for name in rasters], parcels=folder / parcels, **given))


def of(result: ZonalResult, name: str, statistic: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = result.table[f"{name}_{statistic}"].to_numpy()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raster of every type, and parcels."""
    root = tmp_path_factory.mktemp("zonal")
    for dtype in DTYPES:
        write_tif(root / f"{dtype}.tif", image(1, dtype), GRID, nodata=0)
    parcels_file(root / "parcels.gpkg", random_parcels(3, 64))
    return root


def assert_like_exactextract(folder: Path, raster: str, geometry: NDArray[np.object_], is_whole: bool) -> None:
    ours = run(folder, raster)
    usable = usable_polygons(geometry)
    present = np.array([g is not None and not g.is_empty for g in usable])
    layer = gpd.GeoDataFrame({"id": np.flatnonzero(present)}, geometry=usable[present], crs=GRID.crs)
    operations = ["count", "mean", "stdev", "min", "max", "median", "quantile(q=0.05)", "quantile(q=0.975)"]
    table = exactextract.exact_extract(folder / raster, layer, operations, output="pandas")
    theirs = {name: table.iloc[:, i].to_numpy().astype(float) for i, name in enumerate(STATISTICS)}
    stem = Path(raster).stem
    np.testing.assert_array_equal(of(ours, stem, "count")[~present], 0)
    for statistic in STATISTICS:
        mine, other = of(ours, stem, statistic)[present], theirs[statistic]
        # Neither rounding nor exactextract's own float32 sums decide whether a pixel is touched at all.
        clear = theirs["count"] > 1e-5
        if is_whole and statistic in {"median", "p5", "p97.5"}:
            low, high = np.floor(mine - 1e-4), np.floor(mine + 1e-4)
            assert ((low <= other) & (other <= high))[clear & np.isfinite(mine)].all(), statistic
        else:
            np.testing.assert_allclose(mine[clear], other[clear], rtol=2e-5, atol=2e-4, err_msg=statistic)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**31), dtype=st.sampled_from(["uint16", "int16", "float64"]))
def test_coverage_equals_exactextract_on_random_polygons(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: str
) -> None:
    folder = tmp_path_factory.mktemp("random")
    write_tif(folder / "a.tif", image(seed, dtype), GRID, nodata=0)
    geometry = random_parcels(seed, 16)
    parcels_file(folder / "parcels.gpkg", geometry)
    assert_like_exactextract(folder, "a.tif", geometry, np.dtype(dtype).kind in "iu")


@pytest.mark.parametrize("dtype", DTYPES)
def test_centre_equals_numpy_for_every_type(folder: Path, dtype: str) -> None:
    found = run(folder, f"{dtype}.tif", weighting="centre")
    values = image(1, dtype)[0].astype(float)
    x, y = centres(GRID)
    for i, polygon in enumerate(usable_polygons(random_parcels(3, 64))):
        if polygon is None or i % 8 == 6:  # edges through centres: which side they count for is not shapely's rule
            continue
        inside = values[shapely.contains_xy(polygon, x, y) & (values != 0)]
        assert of(found, dtype, "count")[i] == inside.size
        if inside.size:
            for name, share in {"min": 0, "p5": 5, "median": 50, "p97.5": 97.5, "max": 100}.items():
                np.testing.assert_allclose(of(found, dtype, name)[i], np.percentile(inside, share), rtol=1e-12)
            np.testing.assert_allclose(of(found, dtype, "mean")[i], inside.mean(), rtol=1e-12)
        if inside.size > 1:
            np.testing.assert_allclose(of(found, dtype, "stdev")[i], inside.std(ddof=1), rtol=1e-9)


@pytest.mark.parametrize("weighting", ["coverage", "centre"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_how_the_raster_is_cut_does_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, weighting: str, dtype: str
) -> None:
    whole = run(folder, f"{dtype}.tif", weighting=weighting)
    write_tif(folder / "tiles.tif", image(1, dtype), GRID, nodata=0, tiled=True, blockxsize=16, blockysize=16)
    monkeypatch.setattr(zonal_windows, "WINDOW_ROWS", 16)
    monkeypatch.setattr(
        zonal_windows, "WINDOW_BYTES", 16 * 32 * 4
    )  # windows of two blocks: parcels lie in up to dozens
    cut = run(folder, "tiles.tif", weighting=weighting, threads=3)
    for statistic in STATISTICS:
        np.testing.assert_allclose(
            of(cut, "tiles", statistic), of(whole, dtype, statistic), rtol=1e-9, atol=1e-9, err_msg=statistic
        )


def test_only_blocks_with_parcels_are_decoded_and_the_right_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = image(4, "uint16")
    write_tif(tmp_path / "a.tif", values, GRID, tiled=True, blockxsize=16, blockysize=16)
    west, south, east, north = GRID.bounds
    corners = [
        shapely.box(x, y, x + 30, y + 20) for x, y in ((west, south), (west, north - 20), (east - 30, north - 20))
    ]
    parcels_file(tmp_path / "parcels.gpkg", np.array(corners, dtype=object))
    read: list[int] = []
    plain = zonal_windows.Pixels.column_ranges

    def watched(pixels: Any, block: int, columns: int) -> Any:
        ranges = list(plain(pixels, block, columns))
        read.append(sum(right - left for left, right in ranges))
        return ranges

    monkeypatch.setattr(zonal_windows.Pixels, "column_ranges", watched)
    monkeypatch.setattr(zonal_windows, "WINDOW_ROWS", 16)
    found = run(tmp_path, "a.tif", statistics=("mean", "count"))
    expected = [values[0, -2:, :3].mean(), values[0, :2, :3].mean(), values[0, :2, -3:].mean()]
    np.testing.assert_allclose(of(found, "a", "mean"), expected, rtol=1e-12)
    assert sorted(read) == [16, 24]  # of 120 columns and six rows of blocks; the last block of a row has 8 columns


def test_memory_follows_windows_and_not_the_raster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parcel over a tall raster: of a whole-number raster no more values wait than there are different ones."""
    from s4c_hpc.extract import zonal_tally  # noqa: PLC0415

    shape = {"driver": "GTiff", "width": 64, "height": 40_000, "count": 1, "dtype": "uint8", "crs": GRID.crs}
    rng = np.random.default_rng(0)
    values = rng.integers(1, 100, (1, 40_000, 64)).astype("uint8")
    with rasterio.open(
        tmp_path / "tall.tif", "w", transform=rasterio.Affine(10, 0, 0, 0, -10, 400_000), **shape
    ) as out:
        out.write(values)
    parcels_file(tmp_path / "parcels.gpkg", np.array([shapely.box(0, 0, 640, 400_000)], dtype=object))
    monkeypatch.setattr(zonal_tally, "_POOL", 1000)
    waiting, windows = [], []
    plain_settle, plain_pixels = zonal_tally.Tally._settle, zonal_windows.Placed.pixels

    def settle(tally: Any, window: int) -> None:
        plain_settle(tally, window)
        waiting.append(tally.n_waiting)

    def pixels(placed: Any, i: int, is_centre: bool) -> Any:
        found = plain_pixels(placed, i, is_centre)
        windows.append(int(found.n_pixels.sum()))
        return found

    monkeypatch.setattr(zonal_tally.Tally, "_settle", settle)
    monkeypatch.setattr(zonal_windows.Placed, "pixels", pixels)
    found = run(tmp_path, "tall.tif")
    np.testing.assert_allclose(of(found, "tall", "p5")[0], np.floor(np.percentile(values, 5)), atol=1)
    np.testing.assert_allclose(of(found, "tall", "mean")[0], values.mean(), rtol=1e-12)
    assert max(waiting) <= 1000 + 99
    assert max(windows) <= zonal_windows.WINDOW_ROWS * 64


def test_a_mask_decides_which_pixels_count(folder: Path) -> None:
    classes = np.random.default_rng(8).integers(0, 5, (1, GRID.height, GRID.width))
    for dtype in ("uint8", "int16"):
        write_tif(folder / f"mask_{dtype}.tif", classes.astype(dtype), GRID)
    write_tif(folder / "masked.tif", np.where(np.isin(classes, (2, 4)), image(1, "uint16"), 0), GRID, nodata=0)
    expected = run(folder, "masked.tif")
    for dtype in ("uint8", "int16"):
        for rule in ({"mask_valid": (2, 4)}, {"mask_invalid": (0, 1, 3)}):
            found = run(folder, "uint16.tif", masks=[folder / f"mask_{dtype}.tif"], **rule)
            for statistic in STATISTICS:
                np.testing.assert_array_equal(of(found, "uint16", statistic), of(expected, "masked", statistic))


def test_nodata_can_be_named_and_nan_never_counts(folder: Path) -> None:
    values = image(1, "float32")
    write_tif(folder / "nan.tif", np.where(values == 0, np.nan, values).astype("float32"), GRID)
    write_tif(folder / "low.tif", np.where(values == 0, -3.4e38, values).astype("float32"), GRID)
    plain = run(folder, "float32.tif")
    np.testing.assert_array_equal(of(run(folder, "nan.tif"), "nan", "p5"), of(plain, "float32", "p5"))
    np.testing.assert_array_equal(of(run(folder, "low.tif", nodata=-3.4e38), "low", "p5"), of(plain, "float32", "p5"))


def test_bands_and_files_name_the_columns(folder: Path) -> None:
    write_tif(folder / "two.tif", image(1, "uint16", 2), GRID, nodata=0, interleave="pixel")
    result = run(folder, "uint8.tif", "two.tif", statistics=("mean",))
    assert result.table.column_names == ["id", "uint8_mean", "two_b1_mean", "two_b2_mean"]
    second = run(folder, "two.tif", statistics=("mean",), bands=(2,))
    np.testing.assert_array_equal(of(second, "two_b2", "mean"), of(result, "two_b2", "mean"))
    for name in ("d1", "d2"):
        (folder / name).mkdir()
        write_tif(folder / name / "B04.tif", image(1, "uint16"), GRID)
    dates = run(folder, "d1/B04.tif", "d2/B04.tif", statistics=("mean",))
    assert dates.table.column_names == ["id", "d1_B04_mean", "d2_B04_mean"]


def test_the_buffer_is_the_buffered_parcel(folder: Path) -> None:
    parcels_file(folder / "shrunk.gpkg", usable_polygons(random_parcels(3, 64), 12.0))
    expected, found = run(folder, "uint16.tif", parcels="shrunk.gpkg"), run(folder, "uint16.tif", buffer=12.0)
    np.testing.assert_allclose(of(found, "uint16", "mean"), of(expected, "uint16", "mean"), rtol=1e-9)


@pytest.mark.parametrize("name", ["parcels.geojson", "parcels.shp", "parcels.parquet"])
def test_every_format_of_parcels_gives_the_same(folder: Path, name: str) -> None:
    layer = gpd.read_file(folder / "parcels.gpkg")
    layer.to_parquet(folder / name) if name.endswith("parquet") else layer.to_file(folder / name)
    expected, found = run(folder, "uint16.tif"), run(folder, "uint16.tif", parcels=name)
    np.testing.assert_allclose(of(found, "uint16", "mean"), of(expected, "uint16", "mean"), rtol=1e-6)
    np.testing.assert_array_equal(found.table["id"].to_numpy(), np.arange(64))


def test_parcels_of_another_crs_are_reprojected_and_it_is_said(folder: Path) -> None:
    parcels_file(folder / "degrees.gpkg", random_parcels(3, 64), "EPSG:4326")
    expected, found = run(folder, "uint16.tif"), run(folder, "uint16.tif", parcels="degrees.gpkg")
    np.testing.assert_allclose(of(found, "uint16", "count"), of(expected, "uint16", "count"), atol=1e-3)
    assert any("reprojected from WGS 84" in note for note in found.notes)


def test_invalid_geometries_are_repaired_and_it_is_said(folder: Path) -> None:
    x, y = GRID.ulx + 100, GRID.uly - 100
    bow_tie = shapely.Polygon([(x, y), (x + 100, y - 100), (x + 100, y), (x, y - 100)])
    parcels_file(folder / "bow.gpkg", np.array([bow_tie], dtype=object))
    found = run(folder, "uint16.tif", parcels="bow.gpkg", nodata=-1)
    np.testing.assert_allclose(of(found, "uint16", "count"), 50.0)  # two triangles of 25 pixels, not a difference of 0
    assert found.notes == ("1 invalid geometries were repaired",)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_the_short_way_through_a_geopackage_sees_what_geos_sees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tangled = [shapely.Polygon(rng.integers(0, 6, (int(rng.integers(3, 9)), 2))) for _ in range(40)]
    plain = [star(rng, 0.0, 0.0, 10.0, int(rng.integers(3, 30))) for _ in range(10)]
    geometry = np.array([*tangled, *plain, *random_parcels(seed, 16)], dtype=object)
    geometry = np.array([g for g in geometry if g is not None], dtype=object)
    for dimension in (2, 3):
        shaped = geometry if dimension == 2 else shapely.force_3d(geometry, 7.0)
        wkb = shapely.to_wkb(shaped, flavor="iso", output_dimension=dimension)
        stop = np.cumsum([len(w) for w in wkb])
        data = np.frombuffer(b"".join(wkb), np.uint8)
        xy, ring_offsets, _, offsets, known = flat_coordinates(data, np.r_[0, stop[:-1]], stop)
        assert known.all()
        np.testing.assert_array_equal(xy, shapely.get_coordinates(geometry))
        assert not (certainly_valid(xy, ring_offsets, offsets) & ~shapely.is_valid(geometry)).any()


def test_a_geometry_that_is_cut_off_is_not_understood() -> None:
    wkb = shapely.to_wkb(shapely.box(0, 0, 1, 1))
    for n in range(1, len(wkb)):
        *_, known = flat_coordinates(np.frombuffer(wkb[:n], np.uint8), np.array([0]), np.array([n]))
        assert not known[0]


def test_an_index_is_written_used_and_made_anew_when_it_does_not_fit(folder: Path) -> None:
    index = folder / "index.arrow"
    plain = run(folder, "uint16.tif")
    first = run(folder, "uint16.tif", index=index)
    before = index.stat().st_mtime_ns
    again = run(folder, "uint16.tif", "float32.tif", index=index)
    assert index.stat().st_mtime_ns == before
    for result in (first, again):
        for statistic in STATISTICS:
            np.testing.assert_array_equal(of(result, "uint16", statistic), of(plain, "uint16", statistic))
    assert again.table["id"].to_pylist() == list(range(64))
    other = run(folder, "uint16.tif", index=index, weighting="centre")
    assert index.stat().st_mtime_ns != before
    assert any("written anew" in note for note in other.notes)


def test_rasters_of_several_grids_need_no_index_and_get_none(folder: Path) -> None:
    coarse = TILE.grid(20.0)
    write_tif(folder / "coarse.tif", np.full((1, coarse.height, coarse.width), 7, "uint16"), coarse)
    found = run(folder, "uint16.tif", "coarse.tif")
    assert np.nanmax(of(found, "coarse", "max")) == 7
    with pytest.raises(InputError, match=r"another grid.*--index"):
        run(folder, "uint16.tif", "coarse.tif", index=folder / "two.arrow")


def test_what_cannot_be_done_is_said(folder: Path, tmp_path: Path) -> None:
    parcels_file(tmp_path / "far.gpkg", np.array([shapely.box(0, 0, 10, 10)], dtype=object))
    (tmp_path / "none.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    whole = (folder / "uint16.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tif").write_text("no raster")
    write_tif(tmp_path / "small.tif", np.ones((1, 5, 5), "uint8"), TILE.grid(192.0))
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (NoInputsError, "no raster", {"rasters": []}),
        (MissingDataError, "no such raster", {"rasters": [tmp_path / "gone.tif"]}),
        (MissingDataError, "no such parcel file", {"parcels": tmp_path / "gone.gpkg"}),
        (InputError, "text.tif: cannot be decoded", {"rasters": [tmp_path / "text.tif"]}),
        (InputError, "cut.tif: cannot be decoded", {"rasters": [folder / "int16.tif", tmp_path / "cut.tif"]}),
        (NoInputsError, "none of the parcels", {"parcels": tmp_path / "far.gpkg"}),
        (NoInputsError, "layer is empty", {"parcels": tmp_path / "none.geojson"}),
        (InputError, "no column 'crop'", {"ids": ("crop",)}),
        (InputError, "no layer 'x'", {"layer": "x"}),
        (InputError, "no band 2", {"bands": (2,)}),
        (ConfigError, "'p101' is not a statistic", {"statistics": ("p101",)}),
        (ConfigError, "'mode' is not a statistic", {"statistics": ("mode",)}),
        (ConfigError, "'foo' is not a weighting", {"weighting": "foo"}),
        (ConfigError, "0 threads", {"threads": 0}),
        (InputError, "not on the pixels", {"masks": [tmp_path / "small.tif"]}),
        (ConfigError, "2 masks for 1 rasters", {"masks": [tmp_path / "small.tif"] * 2}),
        (InputError, "named twice", {"rasters": [folder / "uint16.tif"] * 2}),
    ]
    for error, message, changed in cases:
        given: dict[str, Any] = {
            "rasters": [folder / "uint16.tif"],
            "parcels": folder / "parcels.gpkg",
            "ids": ("id",),
        } | changed
        with pytest.raises(error, match=message):
            zonal(ZonalRequest(**given))


def test_the_long_and_the_short_way_read_the_same_outlines(folder: Path) -> None:
    with rasterio.open(folder / "uint16.tif") as raster:
        short = read_outlines(folder / "parcels.gpkg", None, ("id",), raster.crs, 0.0)
        gpd.read_file(folder / "parcels.gpkg").to_parquet(folder / "same.parquet")
        long = read_outlines(folder / "same.parquet", None, ("id",), raster.crs, 0.0)
    np.testing.assert_array_equal(short.outlines.n_rings, long.outlines.n_rings)
    assert short.ids.to_pydict() == long.ids.to_pydict()


def test_what_is_read_is_never_replaced(folder: Path, tmp_path: Path) -> None:
    raster, parcels = folder / "uint16.tif", folder / "parcels.gpkg"
    linked = tmp_path / "linked.parquet"
    linked.symlink_to(parcels)
    plain = ZonalRequest(rasters=[raster], parcels=parcels)
    with pytest.raises(ConfigError, match="would replace"):
        check_output(linked, plain)
    both = tmp_path / "both.arrow"
    with pytest.raises(ConfigError, match="for the table and for the index"):
        check_output(both, replace(plain, index=both))
    foreign = tmp_path / "foreign.arrow"
    write_table(pa.table({"a": [1]}), foreign)
    (tmp_path / "notes.txt").write_text("mine")
    for index, error, message in (
        (raster, ConfigError, "would replace"),
        (parcels, ConfigError, "would replace"),
        (foreign, InputError, "not an index"),
        (tmp_path / "notes.txt", InputError, "not an index"),
    ):
        before = index.read_bytes()
        with pytest.raises(error, match=message):
            zonal(replace(plain, index=index))
        assert index.read_bytes() == before


def test_an_index_tells_what_is_off_the_raster_every_time(folder: Path, tmp_path: Path) -> None:
    near, far = shapely.box(GRID.ulx, GRID.uly - 50, GRID.ulx + 50, GRID.uly), shapely.box(0, 0, 10, 10)
    parcels_file(tmp_path / "some.gpkg", np.array([near, far], dtype=object))
    parcels_file(tmp_path / "none.gpkg", np.array([far], dtype=object))
    for _ in range(2):
        found = run(tmp_path, str(folder / "uint16.tif"), parcels="some.gpkg", index=tmp_path / "some.arrow")
        assert any("1 of 2 parcels have no pixel" in note for note in found.notes)
        with pytest.raises(NoInputsError, match="none of the parcels"):
            run(tmp_path, str(folder / "uint16.tif"), parcels="none.gpkg", index=tmp_path / "none.arrow")
        assert not (tmp_path / "none.arrow").exists()


def test_open_files_stay_below_the_limit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{i}.tif" for i in range(40)]
    for name in names:
        (tmp_path / name).write_bytes((folder / "uint8.tif").read_bytes())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(zonal_module, "SPARE_FILES", n_open + 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 50, hard))
    try:
        found = zonal(
            ZonalRequest(rasters=[tmp_path / n for n in names], parcels=folder / "parcels.gpkg", statistics=("mean",))
        )
        monkeypatch.setattr(zonal_module, "SPARE_FILES", -1000)
        with pytest.raises(ConfigError, match="no more files"):
            zonal(ZonalRequest(rasters=[tmp_path / n for n in names], parcels=folder / "parcels.gpkg"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(found.table.column_names) == 41


@pytest.mark.parametrize("kind", ["internal", "beside", "alpha"])
@pytest.mark.parametrize("scale", [0.5, -0.25])
def test_own_masks_and_scales_are_those_of_exactextract(tmp_path: Path, kind: str, scale: float) -> None:
    values, shown = image(2, "uint16"), np.random.default_rng(5).uniform(size=(GRID.height, GRID.width)) > 0.3
    layers = np.concatenate([values, (shown * 65535)[None].astype("uint16")]) if kind == "alpha" else values
    more = {"photometric": "MINISBLACK", "alpha": "YES"} if kind == "alpha" else {}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal"):
        write_tif(tmp_path / "a.tif", layers, GRID, **more)
        with rasterio.open(tmp_path / "a.tif", "r+") as raster:
            raster.scales, raster.offsets = (scale,) * raster.count, (7.0,) * raster.count
            if kind != "alpha":
                raster.write_mask(shown)
    assert (tmp_path / "a.tif.msk").exists() == (kind == "beside")
    geometry = random_parcels(3, 32)
    parcels_file(tmp_path / "parcels.gpkg", geometry)
    result = run(tmp_path, "a.tif", bands=(1,))
    usable = usable_polygons(geometry)
    present = np.array([g is not None and not g.is_empty for g in usable])
    layer = gpd.GeoDataFrame({"id": np.flatnonzero(present)}, geometry=usable[present], crs=GRID.crs)
    operations = ["count", "mean", "stdev", "min", "max", "median", "quantile(q=0.05)", "quantile(q=0.975)"]
    # The same in plain numbers: exactextract 0.3 leaves out the raster's own mask for some polygons.
    write_tif(tmp_path / "plain.tif", np.where(shown, values * scale + 7.0, np.nan), GRID)
    table = exactextract.exact_extract(tmp_path / "plain.tif", layer, operations, output="pandas")
    clear = table.iloc[:, 0].to_numpy() > 1e-5
    name = "a_b1" if kind == "alpha" else "a"
    for i, statistic in enumerate(STATISTICS):
        mine, other = of(result, name, statistic)[present], table.iloc[:, i].to_numpy().astype(float)
        np.testing.assert_allclose(mine[clear], other[clear], rtol=2e-5, atol=2e-4, err_msg=statistic)


def test_nodata_and_nan_of_a_mask_do_not_count(folder: Path) -> None:
    classes = np.random.default_rng(8).integers(0, 4, (1, GRID.height, GRID.width))
    write_tif(folder / "mask_plain.tif", np.where(classes == 3, 0, classes).astype("uint8"), GRID)
    write_tif(folder / "mask_tagged.tif", classes.astype("uint8"), GRID, nodata=3)
    write_tif(folder / "mask_nan.tif", np.where(classes == 3, np.nan, classes).astype("float32"), GRID)
    expected = of(run(folder, "uint16.tif", masks=[folder / "mask_plain.tif"]), "uint16", "count")
    for name in ("mask_tagged.tif", "mask_nan.tif"):
        found = of(run(folder, "uint16.tif", masks=[folder / name]), "uint16", "count")
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_whole_numbers_beyond_float64_are_refused(folder: Path, dtype: str) -> None:
    values = image(1, "uint16").astype(dtype)
    write_tif(folder / f"{dtype}.tif", values, GRID, nodata=0)
    expected, found = run(folder, "uint16.tif"), run(folder, f"{dtype}.tif")
    np.testing.assert_array_equal(of(found, dtype, "median"), of(expected, "uint16", "median"))
    write_tif(folder / f"{dtype}_far.tif", values + np.array(2**53 + 1, dtype), GRID)
    with pytest.raises(InputError, match="beyond 2"):
        run(folder, f"{dtype}_far.tif")


def test_waiting_values_are_copied_once_and_kept_short() -> None:
    n = 1000
    tally = Tally(1, np.array([0.5]), is_whole=False, is_centre=False, keeps="float32")
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (20, n)).astype("float32").astype(float)
    kept = []
    for window, part in enumerate(values):
        pixels = Pixels(
            np.zeros(1, np.int32), np.full(1, 19, np.int32), np.ones(1, np.bool_), np.ones(1, np.bool_),
            np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0, np.int32),
            np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0, np.float32),
        )  # fmt: skip
        moments = np.array([[n], [part.mean()], [part.var() * n], [part.min()], [part.max()]])
        tally.add(window, pixels, (moments, np.full((1, 1), np.nan), np.array([0, n]), part, np.ones(n)))
        kept.append([(id(chunk), chunk.value.dtype.itemsize) for chunks in tally._waiting.values() for chunk in chunks])
    assert kept[18][:18] == kept[17]  # what waited stays as it was
    assert {size for _, size in kept[18]} == {4}
    assert tally.n_waiting == 0
    np.testing.assert_allclose(tally.quantiles[0, 0], np.median(values), rtol=1e-6)
