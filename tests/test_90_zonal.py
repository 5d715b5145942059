"""``s4c zonal`` as a user runs it: formats of the table, options, exit codes, and what it does not load."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from support.cli import s4c
from support.polygons import TILE
from support.rasters import write_tif

GRID = TILE.grid(10.0)
X, Y = GRID.ulx, GRID.uly


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates, row numbers and the same plus 1000; a field of six rows, and one off the raster."""
    root = tmp_path_factory.mktemp("zonal")
    rows = np.broadcast_to(np.arange(GRID.height)[:, None], (GRID.height, GRID.width))
    for name, more in (("d1", 0), ("d2", 1000)):
        write_tif(root / f"{name}.tif", (rows + more)[None].astype("uint16"), GRID)
    fields = [shapely.box(X + 20, Y - 80, X + 60, Y - 20), shapely.box(X - 90, Y, X - 50, Y + 40)]
    frame = gpd.GeoDataFrame({"code": ["a", "b"]}, geometry=fields, crs=GRID.crs)
    frame.to_file(root / "fields.gpkg")
    return root


def test_tables_of_all_formats_say_the_same(folder: Path) -> None:
    for ending in ("arrow", "parquet", "csv"):
        files: list[str | Path] = [
            folder / "d1.tif",
            folder / "d2.tif",
            folder / "fields.gpkg",
            "-o",
            folder / f"out.{ending}",
        ]
        done = s4c("zonal", *files, "--id", "code", "--statistics", "count,mean,median,p25")
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert "1 of 2 parcels have no pixel of the raster" in done.stderr
    names = [f"{date}_{name}" for date in ("d1", "d2") for name in ("count", "mean", "median", "p25")]
    arrow = pa.ipc.open_file(pa.memory_map(str(folder / "out.arrow"))).read_all()
    parquet = pq.read_table(folder / "out.parquet")
    for table in (arrow, parquet):
        assert table.column_names == ["code", *names]
        assert table["code"].to_pylist() == ["a", "b"]
        first, second = table.select(names).to_pylist()
        # Rows 2 to 7, four pixels each. The first quartile of the weights lies between the rows 3 and 4.
        found = [first[name] for name in names]
        np.testing.assert_allclose(found, [24, 4.5, 4.5, 3.25, 24, 1004.5, 1004.5, 1003.25], rtol=1e-12)
        assert second["d1_count"] == 0
        assert np.isnan(second["d1_mean"])
    with (folder / "out.csv").open() as stream:
        lines = list(csv.reader(stream))
    assert lines[0] == ["code", *names]
    assert lines[2][:3] == ["b", "0", ""]


def test_an_unknown_ending_and_a_bad_list_are_refused_before_anything_is_read(folder: Path) -> None:
    raster, parcels = folder / "gone.tif", folder / "fields.gpkg"
    done = s4c("zonal", raster, parcels, "-o", folder / "out.xlsx")
    assert (done.returncode, "use .arrow, .parquet or .csv" in done.stderr) == (4, True), done.stderr
    done = s4c("zonal", raster, parcels, "-o", folder / "x.csv", "--mask-valid", "4,x")
    assert (done.returncode, "--mask-valid" in done.stderr) == (3, True), done.stderr
    done = s4c("zonal", parcels, "-o", folder / "x.csv")
    assert done.returncode == 2
    done = s4c("zonal", raster, parcels, "-o", folder / "x.csv")
    assert (done.returncode, "gone.tif: no such raster" in done.stderr) == (4, True), done.stderr


def test_the_table_never_replaces_the_parcels(folder: Path) -> None:
    parcels = folder / "fields.parquet"
    gpd.read_file(folder / "fields.gpkg").to_parquet(parcels)
    before = parcels.read_bytes()
    done = s4c("zonal", folder / "d1.tif", parcels, "-o", parcels)
    assert (done.returncode, "would replace" in done.stderr) == (3, True), done.stderr
    assert parcels.read_bytes() == before


def test_what_takes_long_to_load_stays_out(folder: Path) -> None:
    """Start-up is most of what a small raster costs."""
    code = (
        "import sys; from pathlib import Path; from s4c_hpc.extract.zonal import *\n"
        "from s4c_hpc.extract.zonal_output import write_table\n"
        "from s4c_hpc.extract.zonal_raster import ZonalRequest\n"
        "root = Path(sys.argv[1])\n"
        "result = zonal(ZonalRequest(rasters=[root / 'd1.tif'], parcels=root / 'fields.gpkg', ids=('code',)))\n"
        "write_table(result.table, root / 'light.arrow')\n"
        "print([n for n in ('pandas', 'geopandas', 'pyogrio', 'pyproj', 'dask', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ,
    )
    assert done.stdout == "[]\n", done.stderr
