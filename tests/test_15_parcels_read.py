"""Reading declarations: what works, and what every kind of bad file says."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from support.parcels import FREISING, make_config, squares, write_layer

from s4c_hpc.core.errors import ExitCode, InputError, MissingDataError, NoInputsError, S4cError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.parcels.read import read_layer


def refusal(file: Path, tmp_path: Path, **settings: Any) -> S4cError:
    """The error of an import that must fail without leaving anything behind."""
    workspace = Workspace(tmp_path / "workspace")
    with pytest.raises(S4cError) as caught:
        import_parcels(file, workspace, make_config(**settings))
    assert not workspace.parcels.exists()
    assert not (workspace.temporary.exists() and any(workspace.temporary.iterdir()))
    return caught.value


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a.fgb", "a.parquet", "a.gml"])
def test_formats_give_the_same_parcels(tmp_path: Path, name: str) -> None:
    crs = "EPSG:4326" if name == "a.geojson" else "EPSG:32632"
    polygons = gpd.GeoSeries(list(squares(12)), crs="EPSG:32632").to_crs(crs)
    file = write_layer(tmp_path / name, polygons.array, crs=crs)
    layer = read_layer(file)
    assert layer.file == name
    # FlatGeobuf keeps its features in the order of its index.
    names = layer.attributes.column("id").to_pylist()
    order = np.argsort(names)
    assert [names[i] for i in order] == [f"F{i + 1:03d}" for i in range(12)]
    found, expected = shapely.normalize(layer.geometry[order]), shapely.normalize(polygons.to_numpy())
    assert shapely.equals_exact(found, expected, tolerance=1e-6).all()


def test_zipped_shapefile(tmp_path: Path) -> None:
    write_layer(tmp_path / "fields.shp", squares(3), encoding="ISO-8859-1")
    with zipfile.ZipFile(tmp_path / "fields.zip", "w") as archive:
        for part in tmp_path.glob("fields.*"):
            if part.suffix != ".zip":
                archive.write(part, part.name)
    layer = read_layer(tmp_path / "fields.zip")
    assert (layer.name, len(layer.geometry)) == ("fields", 3)


def test_latin1_attributes(tmp_path: Path) -> None:
    columns = {"id": [1], "crop": ["Zuckerrübe"]}
    file = write_layer(tmp_path / "a.shp", squares(1), columns=columns, encoding="ISO-8859-1")
    assert read_layer(file).attributes.column("crop").to_pylist() == ["Zuckerrübe"]


def test_z_and_m_are_dropped(tmp_path: Path) -> None:
    file = write_layer(tmp_path / "a.gpkg", shapely.force_3d(squares(2), 412.0))
    geometry = read_layer(file).geometry
    assert not shapely.has_z(geometry).any()
    assert shapely.area(geometry).tolist() == [10_000, 10_000]


def test_curves_become_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('id,WKT\n1,"CURVEPOLYGON (CIRCULARSTRING (0 0, 100 100, 200 0, 100 -100, 0 0))"\n')
    virtual = tmp_path / "a.vrt"
    virtual.write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>{file}</SrcDataSource>'
        "<LayerSRS>EPSG:32632</LayerSRS><GeometryField encoding='WKT' field='WKT'/></OGRVRTLayer></OGRVRTDataSource>"
    )
    layer = read_layer(virtual)
    assert shapely.area(layer.geometry)[0] == pytest.approx(31_416, rel=2e-3)
    assert "curved" in layer.notes[0]


def test_null_geometry_and_gaps_stay_rows(tmp_path: Path) -> None:
    file = write_layer(
        tmp_path / "a.gpkg", [None, *squares(2)], columns={"id": [1, 2, 3], "n": pd.array([1, None, 3], dtype="Int64")}
    )
    layer = read_layer(file)
    assert shapely.is_missing(layer.geometry).tolist() == [True, False, False]
    assert layer.attributes.column("n").to_pylist() == [1, None, 3]


def test_the_only_layer_with_a_geometry_is_the_choice(tmp_path: Path) -> None:
    file = write_layer(tmp_path / "a.gpkg", squares(2), layer="fields")
    pyogrio.write_dataframe(pd.DataFrame({"code": [1]}), file, layer="codes", append=True)
    assert read_layer(file).name == "fields"
    with pytest.raises(InputError, match="no geometry"):
        read_layer(file, "codes")


def test_several_layers_need_a_choice(tmp_path: Path) -> None:
    file = write_layer(tmp_path / "a.gpkg", squares(2), layer="summer")
    write_layer(file, squares(3), layer="winter", append=True)
    error = refusal(file, tmp_path)
    assert (error.exit_code, "summer, winter" in error.what) == (ExitCode.INPUT, True)
    assert len(read_layer(file, "winter").geometry) == 3
    error = refusal(file, tmp_path, layer="sumer")
    assert "'summer'" in str(error.hint)


def test_missing_crs(tmp_path: Path) -> None:
    file = write_layer(tmp_path / "a.shp", squares(2), crs="EPSG:32632")
    file.with_suffix(".prj").unlink()
    error = refusal(file, tmp_path)
    assert isinstance(error, InputError)
    assert "no coordinate reference system" in error.what
    assert "a_srs" in str(error.hint)


def test_a_local_crs_is_no_crs(tmp_path: Path) -> None:
    file = tmp_path / "a.gpkg"
    # GDAL writes this when it knows nothing: an engineering CRS of its own invention.
    local = (
        'ENGCRS["Undefined Cartesian SRS",EDATUM[""],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],UNIT["metre",1]]'
    )
    write_layer(file, squares(2), crs=local)
    assert "no coordinate reference system" in refusal(file, tmp_path).what


def test_empty_layer(tmp_path: Path) -> None:
    file = tmp_path / "a.gpkg"
    empty = gpd.GeoDataFrame({"id": pd.Series([], dtype=str)}, geometry=[], crs="EPSG:32632")
    empty.to_file(file, engine="pyogrio", geometry_type="Polygon")
    error = refusal(file, tmp_path)
    assert isinstance(error, NoInputsError)
    assert error.exit_code == ExitCode.NO_INPUTS


def test_no_such_file_names_the_nearest(tmp_path: Path) -> None:
    write_layer(tmp_path / "parcels_2018.gpkg", squares(1))
    error = refusal(tmp_path / "parcels_2081.gpkg", tmp_path)
    assert isinstance(error, MissingDataError)
    assert "parcels_2018.gpkg" in str(error.hint)


def test_no_such_column_names_the_nearest(tmp_path: Path) -> None:
    error = refusal(FREISING, tmp_path, id_columns=["parcelid"])
    assert error.exit_code == ExitCode.INPUT
    assert "did you mean 'parcel_id'?" in str(error.hint)
    assert "flik" in str(error.hint)
    error = refusal(FREISING, tmp_path, id_columns=["parcel_id"], crop_column="Crop_Code")
    assert "did you mean 'crop_code'?" in str(error.hint)


def test_no_id_column_named_proposes_some(tmp_path: Path) -> None:
    error = refusal(FREISING, tmp_path, id_columns=[])
    assert "parcels.id_columns" in str(error.hint)
    assert "all values differ in parcel_id" in str(error.hint)


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp", "a.geojson", "a.fgb", "a.parquet"])
@pytest.mark.parametrize("keep", [0.0, 0.4])
def test_truncated_file(tmp_path: Path, name: str, keep: float) -> None:
    crs = "EPSG:4326" if name == "a.geojson" else "EPSG:32632"
    polygons = gpd.GeoSeries(list(shapely.segmentize(squares(50), 1)), crs="EPSG:32632").to_crs(crs)
    file = write_layer(tmp_path / name, polygons.array, crs=crs)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    # A shapefile keeps its attributes in another file: the geometries that are gone are gaps then.
    if name == "a.shp" and keep:
        layer = read_layer(file)
        assert shapely.is_missing(layer.geometry).any()
        return
    error = refusal(file, tmp_path)
    assert error.exit_code == ExitCode.INPUT
    assert str(file) in str(error.where)


def test_a_text_file_is_not_a_layer(tmp_path: Path) -> None:
    file = tmp_path / "parcels.gpkg"
    file.write_text("this is not a GeoPackage\n")
    assert "cannot be read" in refusal(file, tmp_path).what


def test_parquet_without_geometry(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [1]}), file)
    assert "GeoParquet" in str(refusal(file, tmp_path).hint)


def test_shapefile_without_its_companions(tmp_path: Path) -> None:
    write_layer(tmp_path / "a.shp", squares(2))
    shutil.copy(tmp_path / "a.dbf", tmp_path / "alone.dbf")
    assert refusal(tmp_path / "alone.dbf", tmp_path).exit_code == ExitCode.INPUT


def test_points_only(tmp_path: Path) -> None:
    file = write_layer(tmp_path / "a.gpkg", shapely.centroid(squares(2)))
    error = refusal(file, tmp_path)
    assert isinstance(error, NoInputsError)
    assert "a Point, not a polygon" in error.what


def test_nothing_lies_in_an_own_tile(tmp_path: Path) -> None:
    far = {"id": "FAR", "crs": "EPSG:32632", "ulx": 300_000, "uly": 6_000_000, "width_m": 1000, "height_m": 1000}
    error = refusal(write_layer(tmp_path / "a.gpkg", squares(2)), tmp_path, tiles=[far])
    assert isinstance(error, NoInputsError)
    assert "check the CRS" in str(error.hint)


def test_an_own_tile_needs_metres(tmp_path: Path) -> None:
    tile = {"id": "DEG", "crs": "EPSG:4326", "ulx": 11, "uly": 49, "width_m": 1, "height_m": 1}
    file = write_layer(tmp_path / "a.gpkg", squares(2))
    assert refusal(file, tmp_path, tiles=[tile]).exit_code == ExitCode.CONFIG
    assert refusal(file, tmp_path, tiles=[{**tile, "crs": "EPSG:nonsense"}]).exit_code == ExitCode.CONFIG


def test_no_file_named(tmp_path: Path) -> None:
    with pytest.raises(S4cError) as caught:
        import_parcels(None, Workspace(tmp_path), make_config())
    assert caught.value.exit_code == ExitCode.CONFIG


def test_further_geometries_are_told(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame({"id": ["a"], "label": gpd.GeoSeries([shapely.Point(0, 0)])}, geometry=list(squares(1)))
    frame["label"] = gpd.GeoSeries(frame["label"], crs="EPSG:32632")
    frame.set_crs("EPSG:32632").to_parquet(tmp_path / "a.parquet")
    layer = read_layer(tmp_path / "a.parquet")
    assert layer.attributes.column_names == ["id"]
    assert "further geometries are left out: label" in layer.notes
