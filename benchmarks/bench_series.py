"""Reading generated series: one parcel, one date, one variable; compacting a month; the same by DuckDB and pyarrow.

``python -m benchmarks.bench_series [--parcels N] [--dates N] [--country N]`` prints JSON. One tile, 60 columns (8 class
counts, 13 variables with count, mean, stdev and median), an acquisition every five days.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from s4c_hpc.config import Config, Weighting
from s4c_hpc.core.atomic import write_text
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.optical import resolve
from s4c_hpc.series import ID, Acquisition, Block, Series, SeriesHeader, SeriesSet, open_series, series_schema
from s4c_hpc.series.compact import write_compact
from s4c_hpc.series.compact_file import CompactFile
from s4c_hpc.series.generation import pointer_path
from s4c_hpc.series.layers import open_layers
from s4c_hpc.series.locate import Locator

TILE = "32UPU"
BLOCK = 1024
STATISTICS = ("count", "mean", "stdev", "median")
CONFIG = Config.model_validate(
    {
        "site": {"name": "bench", "season_start": "2018-01-01", "season_end": "2018-12-31"},
        "variables": {"indices": ["ndvi", "ndwi_gao", "brightness"], "statistics": STATISTICS},
    }
)


def schema_of(when: dt.datetime) -> pa.Schema:
    header = SeriesHeader(
        product=f"S2_{when:%Y%m%dT%H%M%S}",
        product_key="",
        sensor="s2",
        platform="sentinel-2a",
        datetime=when,
        relative_orbit=22,
        orbit_direction="descending",
        tile=TILE,
        grid="10m",
        parcels="parcels:bench",
        weighting=Weighting.CENTRE,
        buffer_m=5.0,
        validity="{}",
        task="",
    )
    return series_schema(header, resolve(CONFIG.variables), STATISTICS, {})


def batches(schema: pa.Schema, ids: np.ndarray, seed: int) -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(seed)
    for start in range(0, ids.size, BLOCK):
        own = ids[start : start + BLOCK]
        columns = [own]
        for field in list(schema)[1:]:
            is_count = pa.types.is_integer(field.type)
            columns.append(rng.integers(0, 300, own.size, np.int32) if is_count else rng.random(own.size, np.float32))
        yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=schema)


def parcel_table(n: int, n_tiles: int) -> pa.Table:
    """The columns of a parcel version that are read here, in its order: by tile, then from north to south."""
    rng = np.random.default_rng(1)
    new_id = rng.permutation(np.arange(1, n + 1, dtype=np.int32))
    tile = np.arange(n) * n_tiles // n
    names = pa.array([TILE, *(f"T{i:04d}" for i in range(1, n_tiles))])
    return pa.table(
        {
            ID: new_id,
            "ori_id": pc.binary_join_element_wise("DE", pa.array(new_id).cast(pa.string()), "-"),
            "tile": pa.DictionaryArray.from_arrays(pa.array(tile.astype(np.int32)), names).cast(pa.string()),
        }
    )


def write_parcels(workspace: Workspace, table: pa.Table, n_tiles: int) -> None:
    """As a version is written: no row group holds two tiles."""
    folder = workspace.parcels / "v0001"
    folder.mkdir(parents=True)
    starts = [-(-i * table.num_rows // n_tiles) for i in range(n_tiles + 1)]
    with pq.ParquetWriter(folder / "parcels.parquet", table.schema) as writer:
        for start, stop in itertools.pairwise(starts):
            writer.write_table(table.slice(start, stop - start), row_group_size=BLOCK * 16)


def workspace_of(root: Path, n_parcels: int, n_dates: int) -> tuple[Workspace, list[Acquisition]]:
    """Series files of a season and a pointer that names them; nothing is compacted."""
    workspace = Workspace(root)
    workspace.config.write_text("")
    table = parcel_table(n_parcels, 1)
    write_parcels(workspace, table, 1)
    acquisitions = []
    first = dt.datetime(2018, 1, 3, 10, 26, 48, tzinfo=dt.UTC)
    for i in range(n_dates):
        when = first + dt.timedelta(days=5 * i)
        schema = schema_of(when)
        relative = f"tiles/{TILE}/series/s2/10m/{when:%Y%m%d}_S2.arrow"
        (root / relative).parent.mkdir(parents=True, exist_ok=True)
        write_ipc(root / relative, schema, batches(schema, table[ID].to_numpy(), i))
        acquisitions.append(Acquisition.of(open_layers([root / relative]).header, relative))
    point(workspace, acquisitions, [])
    return workspace, acquisitions


def point(workspace: Workspace, acquisitions: Sequence[Acquisition], blocks: Sequence[Block]) -> None:
    current = SeriesSet(tile=TILE, task="bench", acquisitions=tuple(acquisitions), blocks=tuple(blocks))
    write_text(workspace.root / pointer_path(TILE), current.to_json())


def compact(workspace: Workspace, acquisitions: Sequence[Acquisition]) -> tuple[list[Block], list[float]]:
    """Compact every month; the blocks, and the seconds that each took."""
    months: dict[str, list[Acquisition]] = defaultdict(list)
    for acquisition in acquisitions:
        months[f"{acquisition.day:%Y-%m}"].append(acquisition)
    blocks, seconds = [], []
    for month, own in months.items():
        relative = f"tiles/{TILE}/compact/s2/10m/{month}.arrow"
        (workspace.root / relative).parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        inputs = [(a, open_layers([workspace.root / p for p in a.layers])) for a in own]
        write_compact(workspace.root / relative, inputs, tile=TILE, month=month, task="bench")
        seconds.append(time.perf_counter() - started)
        blocks.append(Block(sensor="s2", grid="10m", month=month, path=relative))
    return blocks, seconds


def one_parcel(series: Series, new_id: int) -> float:
    """All values of a parcel, every one of them touched."""
    return float(sum(matrix.sum() for one in series.parcel(new_id) for matrix in one.matrices))


def list_columns(workspace: Workspace, blocks: Sequence[Block], folder: Path) -> list[Path]:
    """The other layout: a column of fixed-size lists for each statistic instead of one tensor."""
    paths = []
    for block in blocks:
        file = CompactFile(workspace.root / block.path)
        n = len(file.acquisitions)
        columns = [(kind, i, name) for kind, names in file.columns.items() for i, name in enumerate(names)]
        fields = [pa.field(name, pa.list_(pa.from_numpy_dtype(np.dtype(kind)), n)) for kind, _, name in columns]
        schema = pa.schema([pa.field(ID, pa.int32()), *fields])

        def rows(file: CompactFile = file, n: int = n, columns: Any = columns, schema: pa.Schema = schema) -> Any:
            for number in range(file.n_blocks):
                ids, tensors = file.block(number)
                by_kind = dict(zip(file.columns, tensors, strict=True))
                lists = [
                    pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(by_kind[k][:, i]).reshape(-1), n)
                    for k, i, _ in columns
                ]
                yield pa.RecordBatch.from_arrays([pa.array(ids), *lists], schema=schema)

        paths.append(folder / f"{block.month}.arrow")
        write_ipc(paths[-1], schema, rows())
    return paths


def one_parcel_of_lists(readers: Sequence[pa.ipc.RecordBatchFileReader], views: dict[Any, Any], row: int) -> float:
    number, at = divmod(row, BLOCK)
    total = 0.0
    for i, reader in enumerate(readers):
        if (i, number) not in views:
            batch = reader.get_batch(number)
            views[i, number] = [c.values.to_numpy().reshape(len(batch), -1) for c in batch.columns[1:]]
        total += float(np.stack([view[at] for view in views[i, number]]).sum())
    return total


def milliseconds(work: Callable[[], object], times: int) -> float:
    """Median of several calls."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return round(statistics.median(found) * 1e3, 4)


def once(work: Callable[[], object]) -> float:
    return milliseconds(work, 1)


def peers(paths: Sequence[Path], new_id: int) -> dict[str, float]:
    """The same questions to the series files by pyarrow's dataset and by DuckDB over it."""
    season = ds.dataset([str(p) for p in paths], format="ipc")
    one = ds.field(ID) == new_id
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.register("season", season)
    where = f"SELECT * FROM season WHERE {ID} = {new_id}"  # noqa: S608 - a number of our own
    return {
        "pyarrow dataset, one parcel": milliseconds(lambda: season.to_table(filter=one), 3),
        "DuckDB, one parcel": milliseconds(lambda: connection.sql(where).to_arrow_table(), 3),
        "pyarrow dataset, one variable": milliseconds(lambda: season.to_table(columns=[ID, "ndvi_mean"]), 3),
        "DuckDB, one variable": milliseconds(
            lambda: connection.sql(f"SELECT {ID}, ndvi_mean FROM season").to_arrow_table(),  # noqa: S608
            3,
        ),
    }


def country(root: Path, n: int) -> dict[str, float]:
    """From a parcel to its place among ``n`` parcels of 150 tiles."""
    workspace = Workspace(root / "country")
    write_parcels(workspace, parcel_table(n, 150), 150)
    locator = Locator(workspace)
    found: dict[str, float] = {"parcels": n, "first, ms": once(lambda: locator.locate(n // 2))}
    found["further, ms"] = milliseconds(lambda: locator.locate(n // 3), 1000)
    found["by the declaration's id, ms"] = milliseconds(lambda: locator.new_id(f"DE-{n // 2}"), 3)
    return found


def measure(n_parcels: int, n_dates: int, n_country: int) -> dict[str, Any]:
    root = Path(tempfile.mkdtemp(prefix="s4c-bench-"))
    try:
        workspace, acquisitions = workspace_of(root, n_parcels, n_dates)
        rng = np.random.default_rng(7)
        some = rng.integers(1, n_parcels + 1, 300).tolist()
        figures: dict[str, Any] = {
            "parcels": n_parcels,
            "dates": n_dates,
            "columns": len(schema_of(acquisitions[0].datetime)) - 1,
        }
        raw = open_series(workspace)
        figures["not compacted: one parcel, first, ms"] = once(lambda: one_parcel(raw, 5))
        figures["not compacted: one parcel, same again, ms"] = milliseconds(lambda: one_parcel(raw, 5), 20)
        figures["not compacted: further parcels, ms"] = statistics.median(
            once(partial(one_parcel, raw, i)) for i in some[:40]
        )
        expected = [one_parcel(raw, i) for i in some[:40]]
        blocks, seconds = compact(workspace, acquisitions)
        point(workspace, acquisitions, blocks)
        figures["compacting a month, s"] = round(statistics.median(seconds), 3)
        figures["months"] = len(blocks)
        figures["bytes of series"] = sum((root / a.layers[0]).stat().st_size for a in acquisitions)
        figures["bytes compacted"] = sum((root / b.path).stat().st_size for b in blocks)
        series = open_series(workspace)
        figures["compacted: one parcel, first, ms"] = once(lambda: one_parcel(series, 5))
        figures["compacted: one parcel, same again, ms"] = milliseconds(lambda: one_parcel(series, 5), 1000)
        figures["compacted: one parcel, same again, not touched, ms"] = milliseconds(lambda: series.parcel(5), 1000)
        figures["compacted: further parcels, block not mapped yet, ms"] = round(
            statistics.median(once(partial(one_parcel, series, i)) for i in some[:20]), 4
        )
        for i in range(1, n_parcels + 1, 7):
            series.parcel(i)
        figures["compacted: further parcels, blocks mapped, ms"] = round(
            statistics.median(once(partial(one_parcel, series, i)) for i in some), 4
        )
        assert [one_parcel(series, i) for i in some[:40]] == expected
        day = acquisitions[n_dates // 2].day
        figures["one date, first, ms"] = once(lambda: open_series(workspace).date(day)[0].values("ndvi_mean").sum())
        series.date(day)
        figures["one date, mapped table, again, ms"] = milliseconds(lambda: series.date(day)[0].table(), 50)  # noqa: PLW0108
        figures["one variable, first, ms"] = once(lambda: list(open_series(workspace).variable("ndvi", "mean")))
        figures["one variable, again, ms"] = milliseconds(lambda: list(series.variable("ndvi", "mean")), 5)
        figures |= _lists(workspace, blocks, root, some)
        figures |= peers([root / a.layers[0] for a in acquisitions], 5)
        if n_country:
            figures["country"] = country(root, n_country)
        figures["load average"] = [round(x, 1) for x in os.getloadavg()]
        return figures
    finally:
        shutil.rmtree(root)


def _lists(workspace: Workspace, blocks: Sequence[Block], root: Path, some: Sequence[int]) -> dict[str, float]:
    folder = root / "lists"
    folder.mkdir()
    readers = [pa.ipc.open_file(pa.memory_map(str(p))) for p in list_columns(workspace, blocks, folder)]
    views: dict[Any, Any] = {}
    return {
        "lists a column: one parcel, same again, ms": milliseconds(lambda: one_parcel_of_lists(readers, views, 5), 300),
        "lists a column: further parcels, block not mapped yet, ms": statistics.median(
            once(partial(one_parcel_of_lists, readers, views, i)) for i in some[:20]
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parcels", type=int, default=50_000)
    parser.add_argument("--dates", type=int, default=60)
    parser.add_argument("--country", type=int, default=10_000_000, help="parcels of the lookup table; 0 leaves it out")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.parcels, arguments.dates, arguments.country), indent=1))


if __name__ == "__main__":
    main()
