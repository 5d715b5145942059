"""Layouts at the command line: listed, used with the imported parcels, and explained where they lead to nothing."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import shapely
from support.cli import s4c, s4c_json
from support.safe import build_safe

CONFIG = """
[site]
name = "test"
season_start = 2018-06-01
season_end = 2018-06-30
[[sources]]
kind = "sentinel2-l2a"
root = "{root}"
layout = "{layout}"
[parcels]
file = "parcels.gpkg"
id_columns = ["id"]
"""


def workspace(tmp_path: Path, layout: str, root: Path) -> Path:
    folder = tmp_path / "ws"
    folder.mkdir(exist_ok=True)
    (folder / "s4c.toml").write_text(CONFIG.format(root=root, layout=layout))
    field = shapely.box(640_000, 5_350_000, 640_100, 5_350_100)  # on 32UPU and on no other tile
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[field], crs="EPSG:32632").to_file(folder / "parcels.gpkg")
    return folder


def test_layouts_are_listed_with_their_templates(tmp_path: Path) -> None:
    done = s4c("catalog", "layouts")
    assert done.returncode == 0
    assert "Sentinel-2/MSI/L2A_N0500/{year}/{month}/{day}/{product}.SAFE" in done.stdout
    assert "{lat_band}" in done.stderr
    rows = s4c_json("catalog", "layouts", workspace=tmp_path)
    names = {row["layout"] for row in rows}
    assert names >= {"creodias", "cdse", "code-de", "mundi", "onda", "sobloo", "wekeo", "plain"}


def test_a_scan_after_the_import_leaves_products_without_parcels_out(tmp_path: Path) -> None:
    day = tmp_path / "eodata" / "Sentinel-2" / "MSI" / "L2A" / "2018" / "06" / "15"
    safe = build_safe(day, baseline="02.14", tile="32UPU", epsg=32632, ulx=600_000, uly=5_400_000, size_m=600)
    needed = safe.rename(day / safe.name.replace("20210122T133229", "20180615T102021"))
    (day / needed.name.replace("T32UPU", "T32UQU")).mkdir()
    ws = workspace(tmp_path, "creodias", tmp_path / "eodata")
    done = s4c("catalog", "scan", workspace=ws)
    assert done.returncode == 0, done.stderr
    assert "import the parcels first, or name the tiles in sources.0.tiles" in done.stderr
    assert "2 found in 5 folders" in done.stderr
    assert s4c("parcels", "import", workspace=ws).returncode == 0
    done = s4c("catalog", "scan", workspace=ws)
    assert "tiles 32UPU in layout creodias" in done.stderr
    assert "1 found in 5 folders, 1 others left out" in done.stderr
    assert [row["tile"] for row in s4c_json("catalog", "list", workspace=ws)] == ["32UPU"]


def test_a_layout_that_leads_to_nothing_is_explained(tmp_path: Path) -> None:
    (tmp_path / "eodata" / "Sentinel-2" / "MSI" / "L2A" / "2017").mkdir(parents=True)
    done = s4c("catalog", "scan", workspace=workspace(tmp_path, "cdse", tmp_path / "eodata"))
    assert done.returncode == 6
    assert "there lie 2017" in done.stderr


def test_a_wrong_layout_is_found_by_check(tmp_path: Path) -> None:
    done = s4c("config", "check", workspace=workspace(tmp_path, "cdsee", tmp_path / "eodata"))
    assert done.returncode == 3
    assert "sources.0.layout: no layout is called 'cdsee'; did you mean 'cdse'?" in done.stderr


def test_a_layout_file_is_named_relative_to_the_configuration(tmp_path: Path) -> None:
    ws = workspace(tmp_path, "own.toml", tmp_path / "archive")
    (ws / "own.toml").write_text('[templates]\nsentinel2-l2a = "{tile}/{product}.SAFE"\n')
    (tmp_path / "archive" / "32UPU" / "S2A_MSIL2A_20180615T102021_N0208_R065_T32UPU_20180615T120000.SAFE").mkdir(
        parents=True
    )
    done = s4c("catalog", "scan", workspace=ws)
    assert "in layout own below" in done.stderr
    assert "1 found in 2 folders" in done.stderr
