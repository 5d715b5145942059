"""Values of markers into PostGIS beside psql's copying of the same rows from CSV; sizes; queries over the files.

``python -m benchmarks.bench_export [--parcels N] [--runs N]`` prints JSON. A server of its own, on a socket, without
fsync; ours and peer in turn. Generated: square fields, seasons of NDVI and LAI with noise, a tenth of values unknown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import shapely

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.postgis import postgis

from s4c_hpc.config import Config
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.export import export_gpkg, export_postgis, export_season
from s4c_hpc.markers import open_sql
from s4c_hpc.parcels import import_parcels, latest_version, read_tiles

MONTHS, DAYS = range(3, 9), (2, 7, 12, 17, 22, 27)
VARIABLES = ("ndvi", "lai")
TABLE = "CREATE TABLE peer (export_id integer, position integer, newid integer, date date, value real)"


def workspace(root: Path, n: int) -> tuple[Workspace, Config]:
    """A workspace of one tile with marker files of six months."""
    i = np.arange(n)
    x, y = 640_000 + (i % 200) * 60.0, 5_330_000 + (i // 200) * 60.0
    frame = geopandas.GeoDataFrame({"id": [f"F{k}" for k in i]}, geometry=shapely.box(x, y, x + 50, y + 50), crs=32632)
    frame.to_file(root / "fields.gpkg")
    season = {"name": "bench", "season_start": "2018-03-01", "season_end": "2018-08-31"}
    parcels = {"file": str(root / "fields.gpkg"), "id_columns": ["id"]}
    config = Config.model_validate({"site": season, "parcels": parcels})
    made = Workspace(root)
    made.config.write_text("")
    import_parcels(None, made, config)
    version = latest_version(made)
    assert version is not None
    (tile,) = read_tiles(made, version)
    for month in MONTHS:
        _month(made, tile.tile.id, tile.n_parcels, month)
    return made, config


def _month(made: Workspace, tile: str, n: int, month: int) -> None:
    rng = np.random.default_rng(month)
    fields, columns = [pa.field("NewID", pa.int32(), nullable=False)], [pa.array(np.arange(1, n + 1, dtype=np.int32))]
    for day in DAYS:
        for variable in VARIABLES:
            said = {"variable": variable, "statistic": "mean", "unit": "1", "sensor": "s2", "grid": "10m"}
            name = f"s2_{variable}_mean__2018{month:02d}{day:02d}"
            fields.append(pa.field(name, pa.float32(), nullable=False, metadata=said))
            curve = 0.3 + 0.5 * np.sin((month - 3 + day / 30) / 6 * np.pi)
            values = (curve + rng.normal(0, 0.05, n) + rng.normal(0, 0.001, n)).astype(np.float32)
            values[rng.random(n) < 0.1] = np.nan
            columns.append(pa.array(values, from_pandas=False))
    schema = pa.schema(fields, metadata={"contract": "s4c-markers-1", "task": f"bench-{month}"})
    path = made.markers / "mdb1" / f"2018-{month:02d}" / f"bench_{tile}.arrow"
    path.parent.mkdir(parents=True)
    write_ipc(path, schema, pa.table(columns, schema=schema).to_batches(max_chunksize=1024))


def psql(address: str, *commands: str) -> str:
    words = [word for command in commands for word in ("-c", command)]
    return subprocess.run(["psql", "-Atq", *words, address], check=True, capture_output=True, text=True).stdout


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(n: int, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, postgis() as address:
        root = Path(folder)
        (root / "ws").mkdir()
        made, config = workspace(root / "ws", n)
        psql(address, "CREATE EXTENSION postgis")
        ours: list[float] = []
        peer: list[float] = []
        parcels: list[float] = []
        rows_csv = root / "rows.csv"
        load = (TABLE, f"\\copy peer FROM '{rows_csv}' CSV", "CREATE INDEX ON peer (newid)")
        for _ in range(runs):
            parcels.append(seconds(lambda: export_postgis(made, address, drop=True, sets=[])))
            ours.append(seconds(lambda: export_postgis(made, address)))
            psql(address, f"\\copy (SELECT * FROM s4c.marker_values) TO '{rows_csv}' CSV")
            peer.append(seconds(lambda: psql(address, *load)))
            psql(address, "DROP TABLE peer")
        rows = int(psql(address, "SELECT count(*) FROM s4c.marker_values"))
        again = seconds(lambda: export_postgis(made, address))
        partitions = "FROM pg_inherits WHERE inhparent = 's4c.marker_values'::regclass"
        in_database = int(psql(address, f"SELECT sum(pg_total_relation_size(inhrelid)) {partitions}"))
        written = {w.file: w for w in export_season(made, config, root / "season")}
        arrow = sum(p.stat().st_size for p in made.markers.glob("mdb1/*/*.arrow"))
        connection = open_sql(made)
        one = "SELECT * FROM mdb1_long WHERE NewID = 777 AND variable = 'ndvi'"
        month = "SELECT avg(value) FROM mdb1_long WHERE variable = 'ndvi' AND date >= '2018-08-01'"
        asked = {
            name: statistics.median(seconds(lambda q=q: connection.sql(q).fetchall()) for _ in range(5))  # type: ignore[misc]
            for name, q in (("one parcel", one), ("one month", month))
        }
        cells = n * len(MONTHS) * len(DAYS) * len(VARIABLES)
        gpkg = seconds(lambda: export_gpkg(made, root / "site.gpkg"))
        return {
            "parcels": n,
            "values": rows,
            "ours_s": ours,
            "peer_s": peer,
            "ours_rows_per_s": rows / statistics.median(ours),
            "peer_rows_per_s": rows / statistics.median(peer),
            "ratio": statistics.median(o / p for o, p in zip(ours, peer, strict=True)),
            "schema_and_parcels_s": statistics.median(parcels),
            "nothing_new_s": again,
            "bytes_per_value": {
                "database": in_database / rows,
                "arrow": arrow / cells,
                "parquet": written["mdb1.parquet"].n_bytes / cells,
                "csv": rows_csv.stat().st_size / rows,
            },
            "bytes_per_parcel": {
                "parcels.parquet": written["parcels.parquet"].n_bytes / n,
                "site.gpkg": (root / "site.gpkg").stat().st_size / n,
            },
            "sql_s": asked,
            "gpkg_s": gpkg,
            "load": os.getloadavg(),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parcels", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(measure(options.parcels, options.runs), indent=2))
