"""SQL over a whole workspace: views, what they mean, what they cannot reach, and how little they read."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from support.cli import s4c, s4c_json
from support.exports import MOWN, SEASON, export_space, observations_of
from support.markers import MarkerSpace

from s4c_hpc.core.errors import ConfigError, InputError, NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.markers import open_sql
from s4c_hpc.markers.relations import PARCEL_COLUMNS
from s4c_hpc.markers.result_files import write_result
from s4c_hpc.markers.workspace_sql import run_workspace_sql, views_of
from s4c_hpc.parcels.table import COLUMNS, HOLDING, STRATUM

VIEWS = {
    "parcels", "parcel_versions", "mdb1", "mdb1_long", "mdb1_columns", "crop_types", "mowing_events",
    "mowing_parcels", "practices", "practice_evidence",
}  # fmt: skip


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    return export_space(tmp_path_factory.mktemp("sql"))


@pytest.fixture(scope="module")
def connection(space: MarkerSpace) -> Iterator[Any]:
    opened = open_sql(space.root)
    yield opened
    opened.close()


def ask(space: MarkerSpace, sql: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run_workspace_sql(space.workspace, sql).read_all().to_pylist()
    return rows


def test_views(space: MarkerSpace) -> None:
    assert {view.name for view in views_of(space.workspace)} == VIEWS


def test_every_column_says_what_it_means(space: MarkerSpace, connection: Any) -> None:
    for view in views_of(space.workspace):
        said = view.columns()
        made = connection.view(view.name).columns
        assert {name.partition("__")[0] for name in made} == {name.partition("__")[0] for name in said}
        unsaid = {name for name, (_, meaning) in said.items() if not meaning.text}
        assert unsaid <= {"verdict", "start", "end", "confidence", "source", "doubts", "reason"}, view.name
    assert {f.name for f in (*COLUMNS, HOLDING, STRATUM)} <= set(PARCEL_COLUMNS)


def test_long_view_is_the_files(space: MarkerSpace) -> None:
    sql = """SELECT NewID, "column", value FROM mdb1_long
             JOIN mdb1_columns c USING (tile, sensor, date, datetime, variable, statistic)
             WHERE mdb1_long.grid IS NOT DISTINCT FROM c.grid"""
    rows = ask(space, sql)
    assert {(r["NewID"], r["column"]): r["value"] for r in rows} == observations_of(space)
    assert len(rows) == len(observations_of(space))


def test_wide_view_has_null_for_nan(space: MarkerSpace) -> None:
    values = {i: v for (i, name), v in observations_of(space).items() if name == "s2_ndvi_mean__20180507"}
    rows = ask(space, "SELECT NewID, tile, s2_ndvi_mean__20180507 AS v FROM mdb1 ORDER BY NewID")
    assert [(r["NewID"], r["tile"], r["v"]) for r in rows] == [(i, "FREISING", values.get(i)) for i in space.ids]
    assert len(values) < len(space.ids), "some are not known"


def test_facts_and_parcels_join(space: MarkerSpace) -> None:
    sql = """SELECT NewID, ori_id, light, mow_n, M1, verdict, c.period, m.period AS season FROM parcels
             JOIN crop_types c USING (NewID) JOIN mowing_parcels m USING (NewID) JOIN practices USING (NewID)
             JOIN practice_evidence USING (NewID) ORDER BY NewID"""
    rows = ask(space, sql)
    assert [r["NewID"] for r in rows] == space.ids
    assert [r["mow_n"] for r in rows] == [len(MOWN.get(i, [])) for i in space.ids]
    assert {(r["period"], r["season"], r["M1"]) for r in rows} == {("2018", SEASON, -3)}
    days = ask(space, "SELECT NewID, date FROM mowing_events ORDER BY ALL")
    assert [(r["NewID"], str(r["date"])) for r in days] == [(i, d) for i, of in MOWN.items() for d in of]


def test_outlines_are_wkb(space: MarkerSpace) -> None:
    rows = ask(space, "SELECT ori_id, geometry FROM parcels")
    delivered = geopandas.read_file(space.config.parcels.file).set_index("parcel_id").geometry
    for row in rows:
        assert shapely.from_wkb(row["geometry"]).equals_exact(delivered[row["ori_id"]], 1e-6)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
        "SELECT * FROM glob('/*')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "COPY parcels TO '{folder}/out.parquet'",
        "EXPORT DATABASE '{folder}/all'",
        "ATTACH '{folder}/new.db'",
        "INSTALL httpfs",
        "LOAD spatial",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET enable_external_access",
        "PRAGMA enable_external_access = true",
        "SELECT * FROM secret_table",
        "SELECT 1; COPY (SELECT 1) TO '{folder}/out.csv'",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "CREATE MACRO f() AS TABLE SELECT * FROM read_text('/etc/passwd'); FROM f()",
        "CREATE TABLE t AS FROM parcels; COPY t TO '{folder}/out.csv'",
        "IMPORT DATABASE '/tmp'",
        "PRAGMA profiling_output = '{folder}/profile.json'",
        "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
    ],
)
def test_nothing_else_is_reached(space: MarkerSpace, tmp_path: Path, sql: str) -> None:
    secret_table = pa.table({"a": [1]})
    assert secret_table.num_rows
    with pytest.raises(InputError, match="cannot be run"):
        ask(space, sql.format(folder=tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_scientist_brings_own_tables_but_no_file(connection: Any, space: MarkerSpace) -> None:
    connection.register("mine", pa.table({"NewID": [3], "visited": [True]}))
    assert connection.sql("SELECT ori_id, visited FROM parcels JOIN mine USING (NewID)").fetchall()[0][1]
    with pytest.raises(duckdb.Error):
        connection.read_parquet(str(space.root / "parcels" / "v0001" / "parcels.parquet")).fetchall()


def test_workspace_files_are_as_before(space: MarkerSpace) -> None:
    path = space.marker("2018-05")
    before = path.read_bytes()
    with pytest.raises(InputError):
        ask(space, "DELETE FROM mdb1")
    assert path.read_bytes() == before


def resident(path: Path) -> int:
    """Bytes of a mapped file that this process has touched."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0] and ":" not in line.split(" ", 1)[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


def test_a_month_and_a_parcel_do_not_read_all(tmp_path: Path) -> None:
    """By pages that are mapped, not by time: a year of a large tile, of which one column and one month are asked."""
    space = MarkerSpace(tmp_path / "ws")
    space.workspace.config.write_text("")
    n, months = 60_000, ("03", "04", "05", "06")
    paths = [_large(space, f"2018-{m}", n) for m in months]
    sizes = [p.stat().st_size for p in paths]
    for sql, most in (
        ("SELECT avg(value) FROM big_long WHERE variable = 'v1' AND date BETWEEN '2018-05-01' AND '2018-05-31'", 0.45),
        ("SELECT * FROM big_long WHERE NewID = 31000 AND variable = 'v2'", 0.45),
    ):
        connection = open_sql(space.workspace, names={"big_long"}.__contains__)
        opened = [resident(p) for p in paths]
        assert connection.sql(sql).fetchall()
        touched = [(resident(p) - o) / s for p, o, s in zip(paths, opened, sizes, strict=True)]
        connection.close()
        assert max(touched) < most, (sql, touched)
        if "date" in sql:
            assert touched[0] == touched[1] == touched[3] == 0, "other months were read"


def _large(space: MarkerSpace, period: str, n: int) -> Path:
    day = period.replace("-", "")
    fields = [pa.field("NewID", pa.int32(), nullable=False)]
    for k in range(10):
        said = {"variable": f"v{k}", "statistic": "mean", "unit": "1", "sensor": "s2", "grid": "10m"}
        fields.append(pa.field(f"s2_v{k}_mean__{day}07", pa.float32(), nullable=False, metadata=said))
    schema = pa.schema(fields, metadata={"contract": "s4c-markers-1", "task": period})
    values = np.linspace(0, 1, n, dtype=np.float32)
    table = pa.table([np.arange(1, n + 1, dtype=np.int32), *[values] * 10], schema=schema)
    path = space.workspace.markers / "big" / period / "site_FREISING.arrow"
    path.parent.mkdir(parents=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(table, max_chunksize=32 * 1024)
    return path


SQL = "SELECT NewID, light, CT_conf_2 FROM crop_types WHERE NewID < 4 ORDER BY NewID"


def test_files_of_results(space: MarkerSpace, tmp_path: Path) -> None:
    for end in ("arrow", "parquet", "csv", "json"):
        assert write_result(run_workspace_sql(space.workspace, SQL), tmp_path / f"out.{end}") == 3
    arrow = pa.ipc.open_file(tmp_path / "out.arrow").read_all()
    assert arrow == pq.read_table(tmp_path / "out.parquet")
    assert arrow["light"].to_pylist() == ["yellow", "red", "grey"]
    assert [row["CT_conf_2"] for row in json.loads((tmp_path / "out.json").read_text())][2] is None
    assert (tmp_path / "out.csv").read_text().splitlines()[3] == '3,"grey",'
    with pytest.raises(InputError, match="--force"):
        write_result(run_workspace_sql(space.workspace, SQL), tmp_path / "out.csv")
    with pytest.raises(ConfigError, match=r"known are \.csv, \.json, \.arrow, \.parquet"):
        write_result(run_workspace_sql(space.workspace, SQL), tmp_path / "out.xlsx")
    with pytest.raises(InputError, match="cannot be run"):
        write_result(run_workspace_sql(space.workspace, "SELECT ori_id::INTEGER FROM parcels"), tmp_path / "late.csv")
    assert not (tmp_path / "late.csv").exists()


def test_results_are_of_types_that_others_know(space: MarkerSpace, tmp_path: Path) -> None:
    """DuckDB's sums are of 128 bits, which elsewhere are decimals or texts, and no file holds its intervals."""
    sql = """SELECT sum(mow_n) AS n, INTERVAL 3 DAYS AS span, 1.25 AS share, [1.5, 'NaN'::DOUBLE] AS pair
             FROM mowing_parcels"""
    for end in ("arrow", "parquet", "csv", "json"):
        assert write_result(run_workspace_sql(space.workspace, sql), tmp_path / f"out.{end}") == 1
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert row == {"n": 3, "span": "3 days", "share": 1.25, "pair": [1.5, None]}
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert (schema.field("n").type, schema.field("span").type) == (pa.int64(), pa.string())
    assert s4c_json("markers", "sql", sql, workspace=space.root) == [row]
    with pytest.raises(InputError, match="sparse_union"):
        write_result(run_workspace_sql(space.workspace, "SELECT union_value(a := 1) AS u"), tmp_path / "union.parquet")


def test_columns_have_names_of_their_own(space: MarkerSpace) -> None:
    """Else a file would have them twice, and no reader could tell them apart."""
    with pytest.raises(InputError, match="two columns are called NewID; name them apart with AS"):
        ask(space, "SELECT p.NewID, m.NewID FROM parcels p, mdb1 m")


def test_show_tables_names_all_views(space: MarkerSpace) -> None:
    assert {row["name"] for row in ask(space, "SHOW TABLES")} >= VIEWS


def test_an_interrupt_ends_a_query(space: MarkerSpace) -> None:
    """One that would go on for minutes, inside of which no Python runs."""
    timer = threading.Timer(0.7, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
    begin = time.monotonic()
    # As a command has it: whoever imports dask-jobqueue in this process gets another one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(space, "SELECT count(*) FROM range(3_000_000_000) t(i) WHERE i % 7 = 3")
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begin < 15


class TestCommand:
    def test_what_is_printed_and_written(self, space: MarkerSpace, tmp_path: Path) -> None:
        printed = s4c("markers", "sql", SQL, workspace=space.root)
        assert printed.returncode == 0, printed.stderr
        assert printed.stdout.splitlines()[1].split() == ["1", "yellow", "0.1"]
        csv = s4c("markers", "sql", SQL, "--format", "csv", workspace=space.root)
        assert csv.stdout.splitlines()[3] == '3,"grey",'
        rows = s4c_json("markers", "sql", SQL, workspace=space.root)
        assert rows[2] == {"NewID": 3, "light": "grey", "CT_conf_2": None}
        done = s4c("markers", "sql", SQL, "-o", tmp_path / "out.parquet", workspace=space.root)
        assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "out.parquet")), done.stderr
        assert pq.read_table(tmp_path / "out.parquet")["NewID"].to_pylist() == [1, 2, 3]

    def test_list(self, space: MarkerSpace) -> None:
        shown = s4c("markers", "sql", "--list", workspace=space.root)
        assert shown.returncode == 0, shown.stderr
        for expected in ("mowing_events: Mowings, one row each", "s2_ndvi_mean__*", "Check of the declaration"):
            assert expected in shown.stdout
        listed = s4c_json("markers", "sql", "--list", workspace=space.root)
        assert {view["view"] for view in listed} == VIEWS

    def test_a_list_of_parcels_is_joined(self, space: MarkerSpace, tmp_path: Path) -> None:
        """SQL reaches no file, so that lists come as options; a query that forgets them would be about all parcels."""
        (tmp_path / "sample.txt").write_text("2\n7\n9\n")
        sample = ("--ids", tmp_path / "sample.txt", "--where", "NewID > 5")
        sql = "SELECT NewID, light FROM crop_types JOIN chosen USING (NewID) ORDER BY ALL"
        rows = s4c_json("markers", "sql", sql, *sample, workspace=space.root)
        assert [row["NewID"] for row in rows] == [7, 9]
        all_ = s4c("markers", "sql", "SELECT NewID FROM crop_types", *sample, workspace=space.root)
        assert (all_.returncode, "add JOIN chosen USING (NewID)" in all_.stderr) == (4, True)

    def test_mistakes_are_told(self, space: MarkerSpace, tmp_path: Path) -> None:
        wrong = s4c("markers", "sql", "SELECT * FROM nothing", workspace=space.root)
        assert (wrong.returncode, "views are" in wrong.stderr, "crop_types" in wrong.stderr) == (4, True, True)
        assert s4c("markers", "sql", workspace=space.root).returncode == 2
        empty = Workspace(tmp_path)
        empty.config.write_text("")
        with pytest.raises(NoInputsError, match="nothing to ask"):
            open_sql(empty)

    def test_a_table_at_the_terminal_ends(self, space: MarkerSpace) -> None:
        shown = s4c("markers", "sql", "SELECT range AS i FROM range(150)", workspace=space.root)
        assert (len(shown.stdout.splitlines()), "first 100 rows" in shown.stderr) == (101, True)
