"""A workspace in a real PostGIS: what is there is what the files hold, nothing is copied twice, nothing half."""

from __future__ import annotations

import datetime as dt
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import shapely
from adbc_driver_postgresql import dbapi
from support.cli import cli_environment, s4c
from support.exports import MOWN, export_space, observations_of, write_crops
from support.markers import MarkerSpace
from support.parcels import make_config as parcels_config
from support.parcels import squares, write_layer
from support.postgis import postgis, rows, run

from s4c_hpc.config import ImportMode
from s4c_hpc.core.errors import ConfigError, ExternalToolError, InputError, NoInputsError, TemporaryError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.export import export_postgis
from s4c_hpc.export.contract import tables
from s4c_hpc.export.map_views import PARCEL_MAP_COLUMNS
from s4c_hpc.export.page import PAGE, schema_page
from s4c_hpc.export.sources import last_day
from s4c_hpc.export.views import database_views
from s4c_hpc.parcels import import_parcels


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgis() as address:
        run(address, "CREATE EXTENSION postgis", "CREATE ROLE reader LOGIN", "CREATE ROLE writer LOGIN")
        yield address


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    return export_space(tmp_path_factory.mktemp("postgis"))


@pytest.fixture(scope="module")
def exported(server: str, space: MarkerSpace) -> str:
    """A server with the workspace in the schema s4c."""
    report = export_postgis(space.workspace, server)
    assert (report.unchanged, report.removed) == (0, ())
    return server


def psql(address: str, sql: str) -> str:
    done = subprocess.run(["psql", "-Atqc", sql, address], capture_output=True, text=True, check=True)
    return done.stdout


@contextmanager
def held_up(address: str, space: MarkerSpace, schema: str) -> Iterator[subprocess.Popen[bytes]]:
    """An export that waits inside of a file's transaction, because somebody holds its table."""
    with dbapi.connect(address) as holder, holder.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {schema}.mowing_events IN EXCLUSIVE MODE")
        process = subprocess.Popen(
            [sys.executable, "-m", "s4c_hpc.cli", "export", "postgis", address, "--schema", schema],
            env=cli_environment(space.root), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        locks = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{schema}.mowing_events'::regclass"
        try:
            wait_for(address, locks, 1)
            yield process
        finally:
            process.kill()
            process.wait()
            holder.rollback()


def wait_for(address: str, sql: str, value: int) -> None:
    """Ask until the answer is this one, half a minute at most."""
    deadline = time.monotonic() + 30
    while rows(address, sql) != [(value,)]:
        assert time.monotonic() < deadline, sql
        time.sleep(0.05)


class TestRoundTrip:
    def test_values_are_the_files(self, exported: str, space: MarkerSpace) -> None:
        found = rows(
            exported,
            'SELECT v.newid, c."column", v.value, v.date, c.date FROM s4c.marker_values v '
            "JOIN s4c.marker_columns c USING (export_id, position)",
        )
        assert {(i, name): value for i, name, value, _, _ in found} == observations_of(space)
        assert len(found) == len(observations_of(space))
        assert all(day == said for *_, day, said in found)

    def test_the_long_view_says_what_values_are(self, exported: str, space: MarkerSpace) -> None:
        sql = """SELECT newid, value FROM s4c.markers WHERE date = '2018-05-07' AND variable = 'ndvi'
                 AND statistic = 'mean' AND marker_set = 'mdb1' AND sensor = 's2' AND unit = '1'"""
        expected = {i: v for (i, name), v in observations_of(space).items() if name == "s2_ndvi_mean__20180507"}
        assert dict(rows(exported, sql)) == expected

    def test_parcels(self, exported: str, space: MarkerSpace) -> None:
        delivered = geopandas.read_file(space.config.parcels.file).set_index("parcel_id")
        found = rows(
            exported, "SELECT ori_id, ST_AsBinary(geometry), ST_SRID(geometry), ST_IsValid(geometry), "
            "attributes->>'crop_name', area_meters FROM s4c.parcels"
        )  # fmt: skip
        assert {f[0] for f in found} == set(delivered.index)
        for own, wkb, srid, is_valid, crop, area in found:
            outline = delivered.geometry[own]
            assert (srid, is_valid) == (32632, True)
            assert shapely.from_wkb(wkb).equals(outline)
            assert area == pytest.approx(outline.area, rel=1e-3)
            assert crop == delivered["crop_name"][own] if "crop_name" in delivered else crop is None

    def test_facts(self, exported: str, space: MarkerSpace) -> None:
        for folder, relation in (("l4a", "crop_types"), ("l4b", "mowing_events"), ("l4c", "practices")):
            (path,) = space.workspace.markers.glob(f"{folder}/*/*.arrow")
            table = pa.ipc.open_file(path).read_all()
            names = ", ".join(f'"{n.lower()}"' for n in table.column_names)
            found = rows(exported, f"SELECT {names} FROM s4c.{relation}")
            expected = [
                tuple(None if isinstance(v, float) and np.isnan(v) else v for v in row.values())
                for row in table.to_pylist()
            ]
            assert sorted(found, key=str) == sorted(expected, key=str), relation
        assert rows(exported, "SELECT count(*), count(ct_conf_2) FROM s4c.crop_types") == [(18, 17)], "NULL for NaN"

    def test_columns_beyond_the_contract_come_along(self, server: str, tmp_path: Path) -> None:
        space = export_space(tmp_path / "ws")
        (path,) = space.workspace.markers.glob("l4a/*/*.arrow")
        table = pa.ipc.open_file(path).read_all()
        said = {"long_name": "Chance of a catch crop", "unit": "1", "codes": '{"-1": "not looked for"}'}
        field = pa.field("catchCrop", pa.float32(), metadata=said)
        made = table.append_column(field, pa.array(np.linspace(0, 1, 18, dtype=np.float32)))
        write_ipc(path, made.schema, made.to_batches())
        export_postgis(space.workspace, server, schema="beyond")
        assert rows(server, "SELECT count(*), max(catchcrop) FROM beyond.crop_types") == [(18, 1.0)]
        comment = "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attname = 'catchcrop'"
        assert rows(server, comment) == [("Chance of a catch crop (-1 not looked for)",)]

    def test_geopandas_reads_the_map(self, exported: str, space: MarkerSpace) -> None:
        records = rows(exported, "SELECT *, ST_AsBinary(geometry) FROM s4c.parcel_map ORDER BY newid")
        names = [*PARCEL_MAP_COLUMNS, "wkb"]
        frame = geopandas.GeoDataFrame([dict(zip(names, r, strict=True)) for r in records])
        frame["geometry"] = geopandas.GeoSeries.from_wkb(frame.pop("wkb"), crs=32632)
        frame = frame.set_index("newid")
        assert frame.index.is_unique
        assert list(frame.index) == space.ids
        assert frame["light"].to_dict() == {i: ("green", "yellow", "red", "grey")[i % 4] for i in space.ids}
        assert frame["mowings"].to_dict() == {i: len(MOWN.get(i, [])) for i in space.ids}
        assert str(frame["last_mowing"][1]) == "2018-07-01"
        assert (frame["mowing_rule"][1], frame["mowing_rule"][9]) == ("mown", "no rule")
        assert (frame["practice"][1], frame["practice_verdict"][1]) == ("catch crop", "moderate")
        assert (str(frame["harvest_from"][1]), str(frame["harvest_to"][1])) == ("2018-07-17", "2018-07-21")
        assert frame["harvest_from"][2] is None
        assert frame["practice_status"][6] == "no series of this parcel"

    def test_weeks_of_the_rules_where_there_is_no_evidence(self, server: str, tmp_path: Path) -> None:
        space = export_space(tmp_path / "ws")
        for path in space.workspace.markers.glob("l4c-evidence/*/*"):
            path.unlink()
        export_postgis(space.workspace, server, schema="weeks")
        found = rows(server, "SELECT harvest_from, harvest_to FROM weeks.parcel_map WHERE newid < 3 ORDER BY newid")
        assert found == [(dt.date(2018, 7, 16), dt.date(2018, 7, 22)), (None, None)]


def test_every_table_and_column_has_a_comment(exported: str) -> None:
    sql = """SELECT c.relname || coalesce('.' || a.attname, '') FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 's4c'
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
             AND (coalesce(obj_description(c.oid), '') = '' OR coalesce(col_description(c.oid, a.attnum), '') = '')"""
    assert rows(exported, sql) == []
    light = rows(exported, "SELECT col_description('s4c.crop_types'::regclass, 13)")
    assert light == [("Check of the declaration: green, yellow, red, grey",)]


def test_the_database_is_the_one_that_is_described(exported: str) -> None:
    sql = """SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 's4c'
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"""
    there = set(rows(exported, sql))
    long = {"timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone"}
    said = {(t.name, c.name, long.get(c.kind, c.kind)) for t in tables() for c in t.of_srid(32632).columns}
    assert {(t, c, kind.replace("(MultiPolygon,32632)", "(MultiPolygon, 32632)")) for t, c, kind in there} == said
    views = """SELECT table_name::text, column_name::text FROM information_schema.columns
               WHERE table_schema = 's4c' AND table_name IN (SELECT viewname FROM pg_views WHERE schemaname = 's4c')"""
    assert set(rows(exported, views)) == {(v.name, name) for v in database_views() for name in v.columns}


def test_a_day_and_a_parcel_read_little(exported: str) -> None:
    by_day = psql(exported, "EXPLAIN SELECT * FROM s4c.markers WHERE date = '2018-06-03'")
    assert by_day.count("Scan on marker_values") == 1, by_day
    assert "marker_values" in psql(exported, "SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'marker_values_%'")


class TestOutlines:
    """Reference systems, outlines that are not there, parcels that are gone."""

    def declared(self, root: Path, crs: str, geometry: list[Any]) -> Workspace:
        root.mkdir()
        layer = write_layer(root / "fields.gpkg", geometry, crs=crs)
        made = Workspace(root)
        made.config.write_text("")
        import_parcels(None, made, parcels_config(file=str(layer)))
        return made

    def test_degrees(self, server: str, tmp_path: Path) -> None:
        box = shapely.box(11.0, 48.0, 11.001, 48.001)
        export_postgis(self.declared(tmp_path / "ws", "EPSG:4326", [box]), server, schema="degrees")
        found = rows(server, "SELECT ST_SRID(geometry), ST_AsBinary(geometry) FROM degrees.parcels")
        assert [(srid, shapely.from_wkb(wkb).equals(box)) for srid, wkb in found] == [(4326, True)]
        registered = "SELECT srid, type FROM geometry_columns WHERE f_table_schema = 'degrees' ORDER BY f_table_name"
        assert set(rows(server, registered)) == {(4326, "MULTIPOLYGON")}, "of views, too, so that QGIS knows"

    def test_a_system_without_number_becomes_that_of_the_tile(self, server: str, tmp_path: Path) -> None:
        box = shapely.box(0, 0, 100, 100)
        crs = "+proj=laea +lat_0=48 +lon_0=11 +datum=WGS84 +units=m"
        export_postgis(self.declared(tmp_path / "ws", crs, [box]), server, schema="own_system")
        ((srid, wkb),) = rows(server, "SELECT ST_SRID(geometry), ST_AsBinary(geometry) FROM own_system.parcels")
        expected = geopandas.GeoSeries([box], crs=crs).to_crs(32632).iloc[0]
        assert srid == 32632
        assert shapely.from_wkb(wkb).hausdorff_distance(expected) < 0.01

    def test_none_and_holes_and_parts(self, server: str, tmp_path: Path) -> None:
        one, two = (shapely.box(x, 5_300_000, x + 100, 5_300_100) for x in (600_000, 600_500))
        holed = one.difference(one.buffer(-30))
        shapes = [None, holed, shapely.MultiPolygon([one.buffer(-40), two])]
        export_postgis(self.declared(tmp_path / "ws", "EPSG:32632", shapes), server, schema="shapes")
        found = dict(rows(server, "SELECT ori_id, ST_AsBinary(geometry) FROM shapes.parcels"))
        assert found.pop("F001") is None
        for own, shape in zip(("F002", "F003"), shapes[1:], strict=True):
            assert shapely.from_wkb(found[own]).equals(shape)

    def test_a_parcel_that_is_gone_is_on_no_map(self, server: str, tmp_path: Path) -> None:
        boxes = list(squares(3))
        made = self.declared(tmp_path / "ws", "EPSG:32632", boxes)
        update = write_layer(tmp_path / "update.gpkg", boxes[:2])
        import_parcels(update, made, parcels_config(file=str(update)), mode=ImportMode.UPDATE)
        export_postgis(made, server, schema="updated")
        assert rows(server, "SELECT newid, is_deleted FROM updated.parcels ORDER BY 1") == [
            (1, False),
            (2, False),
            (3, True),
        ]
        assert rows(server, "SELECT newid FROM updated.parcel_map ORDER BY 1") == [(1,), (2,)]


class TestAgain:
    @pytest.fixture
    def mine(self, tmp_path: Path) -> MarkerSpace:
        return export_space(tmp_path / "ws")

    def test_a_second_export_does_nothing(self, exported: str, space: MarkerSpace) -> None:
        before = rows(exported, "SELECT * FROM s4c.exports ORDER BY name")
        report = export_postgis(space.workspace, exported)
        assert (report.exported, report.removed, report.n_rows, report.unchanged) == ((), (), 0, len(before))
        assert rows(exported, "SELECT * FROM s4c.exports ORDER BY name") == before

    def test_only_what_has_changed(self, server: str, mine: MarkerSpace) -> None:
        export_postgis(mine.workspace, server, schema="changes")
        write_crops(mine, task="crops-2", confidence=0.25)
        mine.acquire("20180618T101329", grids=("10m", "20m"))
        mine.merge()
        report = export_postgis(mine.workspace, server, schema="changes")
        assert sorted(report.exported) == [
            "markers/l4a/2018/site_FREISING.arrow",
            "markers/mdb1/2018-06/site_FREISING.arrow",
        ]
        assert rows(server, "SELECT count(*), min(ct_conf_1) FROM changes.crop_types") == [(18, np.float32(0.26))]
        assert rows(server, "SELECT count(*) FROM changes.markers") == [(len(observations_of(mine)),)]

    def test_what_is_gone_goes(self, server: str, mine: MarkerSpace) -> None:
        export_postgis(mine.workspace, server, schema="gone")
        mine.marker("2018-05").unlink()
        report = export_postgis(mine.workspace, server, schema="gone")
        assert report.removed == ("markers/mdb1/2018-05/site_FREISING.arrow",)
        assert rows(server, "SELECT count(*) FROM gone.markers") == [(len(observations_of(mine)),)]
        assert rows(server, "SELECT min(date) FROM gone.marker_columns") == [(dt.date(2018, 6, 3),)]

    def test_versions_of_parcels(self, server: str, mine: MarkerSpace, tmp_path: Path) -> None:
        export_postgis(mine.workspace, server, schema="versions")
        layer = geopandas.read_file(mine.config.parcels.file)
        layer["crop_code"] = "999"
        layer.to_file(tmp_path / "parcels.gpkg")
        import_parcels(tmp_path / "parcels.gpkg", mine.workspace, mine.config)
        report = export_postgis(mine.workspace, server, schema="versions")
        assert (report.exported, report.removed) == (("parcels/v0002",), ("parcels/v0001",))
        assert rows(server, "SELECT DISTINCT version, ori_crop FROM versions.parcel_map JOIN versions.parcels "
                    "USING (newid, ori_crop)") == [("v0002", "999")]  # fmt: skip
        assert export_postgis(mine.workspace, server, schema="versions", all_versions=True).exported == (
            "parcels/v0001",
        )
        assert rows(server, "SELECT count(*) FROM versions.parcel_versions") == [(36,)]
        assert rows(server, "SELECT count(*) FROM versions.parcel_map") == [(18,)]

    def test_sets_columns_and_days(self, server: str, mine: MarkerSpace) -> None:
        some = export_postgis(
            mine.workspace,
            server,
            schema="chosen",
            sets=["mdb1"],
            since=dt.date(2018, 6, 1),
            columns=["s2_ndvi_mean__*"],
        )
        assert some.exported == ("parcels/v0001", "markers/mdb1/2018-06/site_FREISING.arrow")
        assert rows(server, "SELECT DISTINCT variable, statistic FROM chosen.markers") == [("ndvi", "mean")]
        export_postgis(mine.workspace, server, schema="chosen", columns=["s2_ndvi_*"])
        assert {s for (s,) in rows(server, "SELECT DISTINCT statistic FROM chosen.markers")} == {"mean", "count", "p25"}

    def test_drop(self, server: str, mine: MarkerSpace) -> None:
        export_postgis(mine.workspace, server, schema="dropped")
        run(server, "CREATE VIEW public.theirs AS SELECT * FROM dropped.crop_types")
        with pytest.raises(ExternalToolError, match="depend"):
            export_postgis(mine.workspace, server, schema="dropped", drop=True)
        assert rows(server, "SELECT count(*) FROM public.theirs") == [(18,)], "as it was"
        run(server, "DROP VIEW public.theirs")
        assert len(export_postgis(mine.workspace, server, schema="dropped", drop=True).exported) == 8


class TestTrouble:
    def test_a_killed_export_leaves_whole_files(self, server: str, space: MarkerSpace) -> None:
        """Killed inside of a COPY that another session holds up: nothing of that file is there."""
        export_postgis(space.workspace, server, schema="killed", sets=["l4a"])
        with held_up(server, space, "killed") as process:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        wait_for(server, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", 0)
        done = {n for (n,) in rows(server, "SELECT name FROM killed.exports")}
        assert "markers/l4a/2018/site_FREISING.arrow" in done
        assert rows(server, "SELECT count(*) FROM killed.mowing_events") == [(0,)]
        report = export_postgis(space.workspace, server, schema="killed")
        assert set(report.exported).isdisjoint(done)
        assert rows(server, "SELECT count(*) FROM killed.markers") == [(len(observations_of(space)),)]
        assert rows(server, "SELECT count(*) FROM killed.mowing_events") == [(3,)]

    def test_a_server_that_goes_away(self, server: str, space: MarkerSpace) -> None:
        export_postgis(space.workspace, server, schema="ended", sets=["l4a"])
        with held_up(server, space, "ended") as process:
            waiting = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'ended.mowing_events'::regclass"
            rows(server, f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS waiting")
            _, said = process.communicate(timeout=60)
        assert process.returncode == 75, said
        assert b"the server gave up" in said
        assert b"run again" in said

    def test_two_at_a_time(self, exported: str, space: MarkerSpace) -> None:
        with dbapi.connect(exported) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtext('s4c s4c'), 954)")
            cursor.fetchall()
            with pytest.raises(TemporaryError, match="another export is at work"):
                export_postgis(space.workspace, exported)

    def test_tables_of_others_are_left_alone(self, server: str, space: MarkerSpace) -> None:
        run(server, "CREATE SCHEMA theirs", "CREATE TABLE theirs.exports (id integer)")
        for drop in (False, True):
            with pytest.raises(InputError, match=r"not ours: exports; choose another with --schema"):
                export_postgis(space.workspace, server, schema="theirs", drop=drop)
        with pytest.raises(InputError, match="not ours"):
            export_postgis(space.workspace, server, schema="public")
        assert rows(server, "SELECT count(*) FROM theirs.exports") == [(0,)]
        with pytest.raises(ConfigError, match="cannot be the name"):
            export_postgis(space.workspace, server, schema="pg_catalog")

    def test_tables_of_another_release(self, server: str, space: MarkerSpace) -> None:
        export_postgis(space.workspace, server, schema="older", sets=["l4a"])
        run(server, "COMMENT ON TABLE older.exports IS 'Made by s4c export postgis, s4c-postgis-0. Old'")
        with pytest.raises(InputError, match=r"another release .*--drop"):
            export_postgis(space.workspace, server, schema="older")
        export_postgis(space.workspace, server, schema="older", sets=["l4a"], drop=True)

    def test_a_role_without_privileges(self, server: str, space: MarkerSpace) -> None:
        as_reader = server.replace("user=s4c", "user=reader")
        with pytest.raises(ExternalToolError, match=r"schema nope: the server does not allow it .*permission denied"):
            export_postgis(space.workspace, as_reader, schema="nope")

    def test_no_postgis(self, server: str, space: MarkerSpace) -> None:
        subprocess.run(["psql", "-qc", "CREATE DATABASE bare", server], check=True)
        with pytest.raises(ExternalToolError, match=r"no PostGIS.*CREATE EXTENSION postgis"):
            export_postgis(space.workspace, server.replace("dbname=lpis", "dbname=bare"))

    def test_no_server_and_no_password_in_what_is_said(self, space: MarkerSpace) -> None:
        dsn = "postgresql://me:geheim@127.0.0.1:9/lpis"
        done = s4c("export", "postgis", dsn, workspace=space.root)
        assert done.returncode == 8
        assert "postgresql://me:***@127.0.0.1:9/lpis: no connection" in done.stderr
        assert "geheim" not in done.stderr + done.stdout
        assert "list of processes" in done.stderr

    def test_a_password_file_is_used(self, server: str, space: MarkerSpace, tmp_path: Path) -> None:
        """The server trusts everybody, so that only the way of the name is tested: nothing stands in the arguments."""
        service = tmp_path / "service.conf"
        parts = dict(word.split("=", 1) for word in server.split())
        service.write_text("[farms]\n" + "".join(f"{k}={v}\n" for k, v in parts.items()) + "password=geheim\n")
        done = s4c("export", "postgis", "service=farms", "--schema", "named", "--marker-set", "l4a",
                   workspace=space.root, PGSERVICEFILE=str(service))  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "geheim" not in done.stderr + done.stdout
        again = s4c("export", "postgis", "--schema", "named", "--marker-set", "l4a",
                    workspace=space.root, PGSERVICEFILE=str(service), S4C_POSTGIS="service=farms")  # fmt: skip
        assert (again.returncode, "up to date" in again.stderr) == (0, True), again.stderr

    def test_nothing_to_export(self, server: str, space: MarkerSpace, tmp_path: Path) -> None:
        empty = Workspace(tmp_path)
        empty.config.write_text("")
        with pytest.raises(NoInputsError, match="no parcels"):
            export_postgis(empty, server)
        with pytest.raises(NoInputsError, match="no marker set nothing"):
            export_postgis(space.workspace, server, sets=["nothing"])
        with pytest.raises(NoInputsError, match="no marker column matches s2_nvdi"):
            export_postgis(space.workspace, server, columns=["s2_nvdi*"])
        assert s4c("export", "postgis", server, workspace=empty.root).returncode == 6


@pytest.mark.parametrize(
    ("period", "last"),
    [
        ("2018-02", dt.date(2018, 2, 28)),
        ("2018-12", dt.date(2018, 12, 31)),
        ("2018", dt.date(2018, 12, 31)),
        ("2018-03-01_2018-10-31", dt.date(2018, 10, 31)),
        ("whole", dt.date.max),
    ],
)
def test_last_days(period: str, last: dt.date) -> None:
    assert last_day(period) == last


def test_the_page_is_the_contract(server: str, space: MarkerSpace) -> None:
    """Its privileges are given as they stand there: a writer writes, a reader reads and does no more."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == schema_page(), "python -m s4c_hpc.export.page > s4c_hpc/export/SCHEMA.md"
    (statements,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    subprocess.run(["psql", "-qc", "CREATE DATABASE documented", server], check=True)
    documented = server.replace("dbname=lpis", "dbname=documented")
    subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements, documented], check=True)
    export_postgis(space.workspace, documented.replace("user=s4c", "user=s4c_writer"))
    as_reader = documented.replace("user=s4c", "user=s4c_reader")
    assert rows(as_reader, "SELECT count(*) FROM s4c.markers") == [(len(observations_of(space)),)]
    with pytest.raises(dbapi.Error, match="permission denied"):
        run(as_reader, "DELETE FROM s4c.crop_types")
