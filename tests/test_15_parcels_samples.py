"""Declarations as agencies deliver them: the real files of ``tests/data/lpis-samples``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.parcels import make_config

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels
from s4c_hpc.parcels.read import read_layer

SAMPLES = Path(__file__).parent / "data" / "lpis-samples"
EXPECTED = {
    "at": ("EPSG:31287", 100, ["INSPIRE_ID"], {"33"}),
    "bg": ("EPSG:32635", 100, ["PHBIDENT"], {"34", "35"}),
    "cz": ("EPSG:4258", 100, ["ZAKRES_ID"], {"33", "34"}),
    "dk": ("EPSG:25832", 100, ["Marknr", "IMK_areal", "Journalnr"], {"32", "33"}),
    "ie": ("EPSG:4258", 100, ["localId"], {"29", "30"}),
    "se": ("EPSG:3006", 10, ["skiftesbet"], {"33", "34"}),
    "sk": ("EPSG:5514", 100, ["ZKODKD", "PARCELA", "Shape_Leng"], {"33", "34"}),
}
"""CRS, features, columns that identify a parcel, UTM zones of the country."""


def sample(country: str) -> Path:
    (file,) = (SAMPLES / country).iterdir()
    return file


@pytest.mark.parametrize("country", EXPECTED)
def test_a_national_file_imports(tmp_path: Path, country: str) -> None:
    crs, n, ids, zones = EXPECTED[country]
    layer = read_layer(sample(country), columns=ids)
    assert (layer.crs.to_string(), len(layer.outlines)) == (crs, n)
    assert not layer.unreadable.any()
    workspace = Workspace(tmp_path)
    report = import_parcels(sample(country), workspace, make_config(id_columns=ids))
    assert (report.n_parcels, report.n_usable) == (n, n)
    # A wrong axis order, unit or zone would put them on tiles of another country.
    assert {tile[:2] for tile in report.tiles} <= zones


def test_letters_of_shapefiles_without_a_code_page() -> None:
    crops = read_layer(sample("dk")).attributes.column("Afgroede").to_pylist()
    assert "Græs og kløvergræs uden norm, under 50 % kløver (omdrift)" in crops


def test_nothing_is_written_beside_the_file(tmp_path: Path) -> None:
    file = tmp_path / "fields.gml"
    shutil.unpack_archive(sample("ie"), tmp_path)
    (tmp_path / "GSAA_2024.gml").rename(file)
    read_layer(file)
    assert [path.name for path in tmp_path.iterdir()] == ["fields.gml"]
