"""``products.parquet``: products survive the way there and back, others can read it, equal content is equal bytes."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from random import Random

import geopandas
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from support.safe import DATA, REAL, Baseline, build_skeleton

from s4c_hpc.catalog import Band, Product, load_product, load_products, products_table, read_products
from s4c_hpc.catalog.discover import measure_folder
from s4c_hpc.catalog.footprint import outline
from s4c_hpc.catalog.index import Entry, write_entries
from s4c_hpc.catalog.safe_s2 import read_safe
from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.grid import Grid

REAL_PRODUCTS: tuple[Baseline, ...] = ("02.12", "02.14", "04.00", "05.09")

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32).map(float)
times = st.datetimes(dt.datetime(2015, 1, 1), dt.datetime(2035, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001 - the strategy adds the zone
grids = st.builds(
    Grid,
    crs=st.sampled_from(["EPSG:32632", "EPSG:32733", "EPSG:3035"]),
    ulx=st.floats(3e5, 7e5),
    uly=st.floats(4e6, 6e6),
    res_m=st.sampled_from([10.0, 20.0, 60.0]),
    width=st.integers(1, 10_980),
    height=st.integers(1, 10_980),
)


@st.composite
def products(draw: st.DrawFn) -> Product:
    def band(name: str) -> Band:
        return Band(
            name=name,
            path=f"/data/{draw(texts)}.jp2",
            index=draw(st.integers(1, 20)),
            grid=draw(grids),
            dtype=draw(st.sampled_from(["uint8", "uint16", "float32"])),
            scale=draw(numbers),
            offset=draw(numbers),
            nodata=draw(st.none() | numbers),
            saturated=draw(st.none() | numbers),
        )

    names = draw(st.sets(st.sampled_from(["B02", "B04", "B8A", "B11"])))
    return Product(
        id=draw(texts),
        source=draw(st.sampled_from(["sentinel2-l2a", "geotiff"])),
        sensor="s2",
        platform=draw(st.sampled_from(["", "sentinel-2a"])),
        tile=draw(st.sampled_from(["", "32UPU", "FREISING"])),
        datetime=draw(times),
        relative_orbit=draw(st.none() | st.integers(1, 143)),
        orbit_direction=draw(st.none() | st.just("descending")),
        baseline=draw(st.none() | st.just("05.09")),
        generation_time=draw(st.none() | times),
        size_bytes=draw(st.integers(0, 2**40)),
        datatake=draw(texts),
        bands=tuple(band(name) for name in sorted(names)),
        class_layers=tuple(band(name) for name in draw(st.sampled_from([(), ("SCL",), ("MG2_R1", "EDG_R1")]))),
        class_kind=draw(st.sampled_from(["scl", "declared", "maja"])),
        external_mask=draw(st.none() | st.just("FMASK").map(band)),
        class_table=draw(st.none() | st.dictionaries(st.integers(0, 255), st.sampled_from(["valid", "cloud"]))),
        cloud_cover=draw(st.none() | st.floats(0, 100)),
        revision=draw(st.just("") | texts),
        status=draw(st.sampled_from(["ok", "broken", "superseded"])),
        reason=draw(st.just("") | texts),
    )


def entry(product: Product) -> Entry:
    return Entry(product=product, native_id=product.id, path="/x", fingerprint="f")


def real_products(folder: Path) -> list[Product]:
    safes = [build_skeleton(folder, baseline) for baseline in REAL_PRODUCTS]
    return [read_safe(safe, measure_folder(safe)) for safe in safes]


@settings(max_examples=25)
@given(st.lists(products(), max_size=5, unique_by=lambda p: p.id), st.randoms())
def test_products_survive_and_order_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Product], random: Random
) -> None:
    path = tmp_path_factory.mktemp("index") / "products.parquet"
    write_entries(path, map(entry, rows))
    content = path.read_bytes()
    read = read_products(path)
    assert sorted(read, key=lambda p: p.id) == sorted(rows, key=lambda p: p.id)
    assert [p.key for p in sorted(read, key=lambda p: p.id)] == [p.key for p in sorted(rows, key=lambda p: p.id)]
    random.shuffle(rows)
    write_entries(path, map(entry, rows))
    assert path.read_bytes() == content


def test_geopandas_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "products.parquet"
    rows = real_products(tmp_path)
    write_entries(path, map(entry, [*rows, replace(rows[0], id="x", bands=(), class_layers=()).broken("why")]))
    frame = geopandas.read_parquet(path).set_index("id")
    assert frame.crs == "OGC:CRS84"
    assert frame.loc["x", "s4c:reason"] == "why"
    assert frame.loc["x"].geometry is None
    row = frame.loc[rows[3].id]
    assert row["grid:code"] == "MGRS-01WCP"
    assert row["assets"]["B04"]["raster:offset"] == pytest.approx(-0.1)
    assert list(row["assets"]["B04"]["proj:transform"]) == list(rows[3].bands[3].grid.transform)
    assert row["s2:processing_baseline"] == "05.09"
    # The covering of GeoParquet 1.1 lets a reader skip rows by a box.
    in_brazil = geopandas.read_parquet(path, bbox=(-55, -39, -50, -36))
    assert list(in_brazil["s2:mgrs_tile"]) == ["22HBD"]


def test_stac_columns_are_there(tmp_path: Path) -> None:
    path = tmp_path / "products.parquet"
    write_entries(path, map(entry, real_products(tmp_path)))
    table = products_table(path)
    required = {"type", "stac_version", "stac_extensions", "id", "geometry", "bbox", "links", "assets", "collection"}
    assert required <= set(table.column_names)
    assert set(table.column("type").to_pylist()) == {"Feature"}
    metadata = pq.read_schema(path).metadata
    geo = json.loads(metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon", "Polygon"]
    assert b"stac-geoparquet" in metadata


def test_an_index_of_nothing_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "products.parquet"
    write_entries(path, [])
    assert read_products(path) == []
    assert len(geopandas.read_parquet(path)) == 0


def test_products_of_a_tile_are_loaded_in_one_look(tmp_path: Path) -> None:
    path = tmp_path / "products.parquet"
    rows = real_products(tmp_path)
    write_entries(path, map(entry, rows))
    tile = rows[0].tile
    wanted = {p.id: p for p in rows if p.tile == tile}
    assert load_products(path, tile, wanted) == wanted
    assert load_products(path, tile, []) == {}
    with pytest.raises(InputError, match="holds no product nothing of tile"):
        load_products(path, tile, ["nothing"])


def test_one_product_is_loaded_by_its_id(tmp_path: Path) -> None:
    path = tmp_path / "products.parquet"
    rows = real_products(tmp_path)
    write_entries(path, map(entry, rows))
    assert [load_product(path, p.id) for p in rows] == rows
    changed = replace(rows[0], cloud_cover=1.5)
    write_entries(path, [entry(changed)])
    assert load_product(path, rows[0].id) == changed
    with pytest.raises(InputError, match="holds no product"):
        load_product(path, rows[1].id)


def test_a_missing_or_damaged_index_is_told(tmp_path: Path) -> None:
    path = tmp_path / "products.parquet"
    with pytest.raises(MissingDataError, match="s4c catalog scan"):
        read_products(path)
    with pytest.raises(MissingDataError, match="s4c catalog scan"):
        load_product(path, "x")
    path.write_bytes(b"PAR1 but not whole")
    with pytest.raises(InputError, match="not a whole Parquet file"):
        read_products(path)
    geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs=4326).to_parquet(path)
    with pytest.raises(InputError, match="is not a product index"):
        read_products(path)


@pytest.mark.parametrize("column", ["s4c:mean_angles", "s4c:external_mask_asset", "s4c:native_id", "assets"])
def test_an_index_of_another_version_is_told(tmp_path: Path, column: str) -> None:
    path = tmp_path / "products.parquet"
    write_entries(path, map(entry, real_products(tmp_path)))
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(InputError, match="the index was made by another version; run 's4c catalog scan'"):
        read_products(path)


@pytest.mark.parametrize("baseline", ["02.14", "05.09"])
def test_the_outline_is_that_of_an_independent_reader(tmp_path: Path, baseline: Baseline) -> None:
    """The other reader takes the outline of the data: the whole tile (05.09) or a part of it (02.14)."""
    item = json.loads((DATA / REAL[baseline] / "expected_output.json").read_text(encoding="utf-8"))
    safe = build_skeleton(tmp_path, baseline)
    geometry, bbox = outline(read_safe(safe, measure_folder(safe)).bands[0].grid)
    expected = shapely.geometry.shape(item["geometry"])
    assert shapely.is_valid(geometry)
    if baseline == "05.09":
        assert geometry.geom_type == expected.geom_type == "MultiPolygon"  # cut at the antimeridian
        assert bbox == pytest.approx(item["bbox"], abs=0.01)
        assert bbox[0] > bbox[2]
        assert shapely.hausdorff_distance(geometry, expected) < 0.01
    else:
        assert shapely.area(shapely.difference(expected, geometry)) < 1e-2 * expected.area


@given(grids)
def test_outlines_are_valid_and_hold_the_corners(grid: Grid) -> None:
    geometry, (west, south, east, north) = outline(grid)
    assert shapely.is_valid(geometry)
    assert shapely.is_ccw(shapely.get_exterior_ring(geometry))
    assert geometry.bounds == (west, south, east, north)
