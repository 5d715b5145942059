"""The GeoPackage with styles: what GDAL reads, what styles say, and what QGIS makes of them where it is installed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import geopandas
import pyogrio
import pytest
from support.cli import s4c
from support.exports import LIGHTS, MOWN, export_space
from support.markers import MarkerSpace

from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError, TemporaryError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.export import export_gpkg, geopackage, styles
from s4c_hpc.export.map_views import MOWING_MAP_COLUMNS, PARCEL_MAP_COLUMNS

QGIS_PYTHON = Path("/usr/bin/python3")
HAS_QGIS = shutil.which("qgis_process") is not None


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    return export_space(tmp_path_factory.mktemp("gpkg"))


@pytest.fixture(scope="module")
def package(space: MarkerSpace) -> Path:
    done = s4c("export", "gpkg", space.root / "out" / "site.gpkg", workspace=space.root)
    assert done.returncode == 0, done.stderr
    assert "18 parcels, 3 mowings" in done.stderr
    return space.root / "out" / "site.gpkg"


def style_rows(package: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(package) as connection:
        return connection.execute(
            "SELECT f_table_name, f_geometry_column, styleName, styleQML, useAsDefault FROM layer_styles"
        ).fetchall()


def test_layers(package: Path, space: MarkerSpace) -> None:
    assert dict(pyogrio.list_layers(package)) == {
        "parcels": "MultiPolygon", "mowings": "MultiPolygon", "layer_styles": None,
    }  # fmt: skip
    parcels = geopandas.read_file(package, layer="parcels").set_index("newid")
    assert ["newid", *parcels.columns] == list(PARCEL_MAP_COLUMNS)
    assert parcels.crs.to_epsg() == 32632
    delivered = geopandas.read_file(space.config.parcels.file).set_index("parcel_id").geometry
    for i in space.ids:
        row = parcels.loc[i]
        assert row.geometry.equals(delivered[row["ori_id"]])
        assert (row["light"], row["mowings"]) == (LIGHTS[i % 4], len(MOWN.get(i, [])))
    assert str(parcels.loc[2, "last_mowing"].date()) == "2018-06-10"
    mowings = geopandas.read_file(package, layer="mowings")
    assert list(mowings.columns) == list(MOWING_MAP_COLUMNS)
    assert mowings["id"].tolist() == [1, 2, 3]


def test_a_layer_has_one_style_to_begin_with(package: Path) -> None:
    rows = style_rows(package)
    assert [(layer, name) for layer, _, name, _, default in rows if default] == [
        ("parcels", "Check of declarations"),
        ("mowings", "Month of the mowing"),
    ]
    with sqlite3.connect(package) as connection:
        outlines = dict(connection.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchall())
    assert {(layer, column) for layer, column, *_ in rows} == set(outlines.items())


def test_styles_are_about_what_is_there(package: Path) -> None:
    """Every category has its symbol, every value of the layer its category, every name is for people."""
    for layer, _, name, qml, _ in style_rows(package):
        tree = ET.fromstring(qml)  # noqa: S314 - our own file
        renderer = tree.find("renderer-v2")
        assert renderer is not None
        symbols = {s.get("name") for s in renderer.iterfind("symbols/symbol")}
        categories = {c.get("value"): c for c in renderer.iterfind("categories/category")}
        assert {c.get("symbol") for c in categories.values()} == symbols
        assert all((c.get("label") or "").strip() for c in categories.values()), name
        column = str(renderer.get("attr")).removeprefix('month("').removesuffix('")')
        values = geopandas.read_file(package, layer=layer)[column].dropna()
        if column != renderer.get("attr"):
            values = values.dt.month
        assert len(values)
        known = {str(int(v)) if isinstance(v, float) else str(v) for v in values}
        assert known <= set(categories), name
        said = {a.get("field"): a.get("name") for a in tree.iterfind("aliases/alias")}
        assert said["newid"]


def test_awkward_names_are_escaped() -> None:
    style = styles.crops(['a"<&', "b"], {'a"<&': 'Rüben & "Kohl" <früh>'})
    renderer = ET.fromstring(styles.qml(style, PARCEL_MAP_COLUMNS)).find("renderer-v2")  # noqa: S314 - our own text
    assert renderer is not None
    (first, *_) = renderer.iterfind("categories/category")
    assert (first.get("value"), first.get("label")) == ('a"<&', 'Rüben & "Kohl" <früh>')


@pytest.mark.skipif(not HAS_QGIS, reason="QGIS is not installed; styles are parsed in any case")
def test_qgis_opens_it_with_its_styles(package: Path, space: MarkerSpace) -> None:
    script = Path(__file__).parent / "support" / "qgis_opens.py"
    done = subprocess.run(
        [QGIS_PYTHON, script, package, "parcels", "mowings"], capture_output=True, text=True, check=True,
        env={"XDG_RUNTIME_DIR": str(package.parent), "HOME": str(package.parent), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    parcels, mowings = found["parcels"], found["mowings"]
    assert (parcels["valid"], parcels["features"], parcels["crs"]) == (True, 18, "EPSG:32632")
    assert (parcels["renderer"], parcels["attribute"]) == ("categorizedSymbol", "light")
    labels = {c.value: c.label for c in styles.LIGHTS.categories}
    assert parcels["labels"] == {str(i): [labels[LIGHTS[i % 4]]] for i in space.ids}
    assert parcels["aliases"]["light"].startswith("Check of the declaration")
    assert mowings["labels"]["2"] == ["June"]


def test_without_facts_there_are_parcels(tmp_path: Path) -> None:
    space = MarkerSpace(tmp_path / "ws")
    space.workspace.config.write_text("")
    report = export_gpkg(space.workspace, tmp_path / "bare.gpkg")
    assert (report.n_parcels, report.n_mowings, report.styles) == (18, 0, ("Parcels",))
    assert geopandas.read_file(tmp_path / "bare.gpkg", layer="parcels")["light"].isna().all()


def test_a_full_disk_is_told(space: MarkerSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own error, while styles are written: a page limit stands for the disk."""

    def narrow(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA max_page_count = 1")  # as many as there are
        return connection

    monkeypatch.setattr(geopackage, "connect", narrow)
    with pytest.raises(TemporaryError, match="the disk is full"):
        export_gpkg(space.workspace, tmp_path / "full.gpkg")
    assert not list(tmp_path.iterdir())


def test_what_is_refused(space: MarkerSpace, package: Path, tmp_path: Path) -> None:
    before = package.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        export_gpkg(space.workspace, package)
    assert package.read_bytes() == before
    assert export_gpkg(space.workspace, package, force=True).n_parcels == 18
    with pytest.raises(ConfigError, match=r"\.gpkg"):
        export_gpkg(space.workspace, tmp_path / "site.shp")
    with pytest.raises(NoInputsError, match="no parcels"):
        export_gpkg(Workspace(tmp_path), tmp_path / "site.gpkg")
    assert not list(tmp_path.iterdir())
