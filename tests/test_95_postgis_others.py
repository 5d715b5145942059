"""A database that others use as well: their schemas, their parcels, their columns; what is not ours stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.exports import export_space, write_facts
from support.markers import TILE, MarkerSpace
from support.parcels import make_config, squares, write_layer
from support.postgis import postgis, rows, run

from s4c_hpc.core.errors import InputError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.export import export_postgis
from s4c_hpc.markers import open_sql
from s4c_hpc.parcels import import_parcels


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """PostGIS lives in a schema of its own, which no search path names."""
    with postgis() as address:
        run(address, "CREATE SCHEMA gis", "CREATE EXTENSION postgis SCHEMA gis")
        yield address


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    return export_space(tmp_path_factory.mktemp("others"))


@pytest.fixture
def facts(space: MarkerSpace) -> Iterator[Any]:
    """Writes a file of facts that is gone after the test."""
    written: list[Path] = []

    def write(folder: str, **columns: pa.DataType) -> Path:
        fields = [pa.field("NewID", pa.int32(), nullable=False), *(pa.field(n, k) for n, k in columns.items())]
        schema = pa.schema(fields, metadata={"contract": "s4c-facts-1", "task": folder})
        written.append(write_facts(space, folder, "2018", schema, [{"NewID": i} for i in (1, 2)]))
        return written[-1]

    yield write
    for path in written:
        path.unlink()


def declared(root: Path, **columns: Any) -> Workspace:
    """A workspace of three parcels with these columns."""
    root.mkdir()
    layer = write_layer(root / "fields.parquet", squares(3), columns={"id": ["a'b", 'c"d', "ü€"], **columns})
    made = Workspace(root)
    made.config.write_text("")
    import_parcels(None, made, make_config(file=str(layer)))
    return made


class TestWorkspaces:
    def test_another_workspace_does_not_take_the_place_of_ours(
        self, server: str, space: MarkerSpace, tmp_path: Path
    ) -> None:
        """Files of all workspaces have the same names: without a look at the parcels, all of ours would be removed."""
        export_postgis(space.workspace, server, schema="ours")
        before = rows(server, "SELECT * FROM ours.exports ORDER BY name")
        other = declared(tmp_path / "ws")
        with pytest.raises(InputError, match=r"another workspace; choose another with --schema"):
            export_postgis(other, server, schema="ours")
        assert rows(server, "SELECT * FROM ours.exports ORDER BY name") == before
        assert export_postgis(other, server, schema="ours", drop=True).exported == ("parcels/v0001",)

    def test_files_of_a_site_that_was_called_otherwise(self, space: MarkerSpace, server: str) -> None:
        """Each parcel would be on the map twice."""
        (path,) = space.workspace.markers.glob("l4a/*/*.arrow")
        twin = path.with_name(f"before_{TILE}.arrow")
        twin.write_bytes(path.read_bytes())
        try:
            with pytest.raises(InputError, match="markers of 2 sites: before, site"):
                export_postgis(space.workspace, server, schema="sites")
            with pytest.raises(InputError, match="markers of 2 sites"):
                open_sql(space.workspace)
        finally:
            twin.unlink()


class TestList:
    def test_a_file_that_is_struck_from_the_list_is_exported_once(self, server: str, space: MarkerSpace) -> None:
        """As the page says; its rows are still there, and must not be twice."""
        tables = ("crop_types", "marker_values", "marker_columns", "parcel_versions", "acquisitions")
        sql = f"SELECT {', '.join(f'(SELECT count(*) FROM struck.{name})' for name in tables)}"
        export_postgis(space.workspace, server, schema="struck")
        before = rows(server, sql)
        run(server, "DELETE FROM struck.exports WHERE name ~ 'l4a|2018-05|v0001'")
        again = export_postgis(space.workspace, server, schema="struck")
        assert (len(again.exported), rows(server, sql)) == (3, before)


class TestWhatIsNotOurs:
    def test_tables_of_other_schemas_are_not_dropped(self, server: str, space: MarkerSpace) -> None:
        """Of a table or view of ours that somebody has removed, there may be a namesake elsewhere."""
        export_postgis(space.workspace, server, schema="holes")
        run(
            server, "DROP TABLE holes.practices CASCADE", "CREATE TABLE public.practices (theirs integer)",
            "CREATE VIEW public.mowing_map AS SELECT 1 AS theirs", "DROP VIEW holes.mowing_map",
        )  # fmt: skip
        with pytest.raises(InputError, match=r"tables are missing: practices; export anew with --drop"):
            export_postgis(space.workspace, server, schema="holes")
        export_postgis(space.workspace, server, schema="holes", drop=True)
        assert rows(server, "SELECT count(*) FROM public.practices, public.mowing_map") == [(0,)]
        assert rows(server, "SELECT count(*) FROM holes.practices") == [(18,)]

    def test_a_view_that_was_removed_comes_back(self, server: str, space: MarkerSpace) -> None:
        export_postgis(space.workspace, server, schema="views")
        run(server, "DROP VIEW views.parcel_map")
        export_postgis(space.workspace, server, schema="views")
        assert rows(server, "SELECT count(*) FROM views.parcel_map") == [(18,)]

    @pytest.mark.parametrize("folder", ["exports", "parcels", "markers", "crop_types"])
    def test_a_set_that_is_called_like_a_table_of_ours(
        self, server: str, space: MarkerSpace, facts: Any, folder: str
    ) -> None:
        facts(folder, found=pa.int32())
        export_postgis(space.workspace, server, schema="named")
        assert rows(server, f"SELECT newid, found FROM named.set_{folder} ORDER BY 1") == [(1, 0), (2, 0)]
        with open_sql(space.workspace) as connection:
            assert connection.sql(f"SELECT count(*) FROM set_{folder}").fetchall() == [(2,)]
            assert connection.sql("SELECT count(*) FROM parcels").fetchall() == [(18,)]


class TestColumns:
    def test_names_of_the_declaration_are_its_own(self, server: str, tmp_path: Path) -> None:
        theirs = {"version": "x", "attributes": "y", "Export_ID": 7, "STRATUM": 2.5, "block": 9, "nul": "a\0b"}
        made = declared(tmp_path / "ws", **{name: [value] * 3 for name, value in theirs.items()})
        export_postgis(made, server, schema="columns")
        found = rows(
            server, "SELECT ori_id, version, stratum, block, attributes - 'id' FROM columns.parcels ORDER BY newid"
        )
        assert [own for own, *_ in found] == ["a'b", 'c"d', "ü€"]
        assert {(version, stratum) for _, version, stratum, *_ in found} == {("v0001", None)}
        expected = '{"nul": "ab", "STRATUM": 2.5, "version": "x", "Export_ID": 7, "src_block": 9, "attributes": "y"}'
        assert {said for *_, said in found} == {expected}
        with open_sql(made) as connection:
            sql = "SELECT DISTINCT version, src_version FROM parcel_versions"
            assert connection.sql(sql).fetchall() == [("v0001", "x")]

    def test_a_column_of_another_type(self, server: str, space: MarkerSpace) -> None:
        export_postgis(space.workspace, server, schema="types")
        (path,) = space.workspace.markers.glob("l4a/*/*.arrow")
        before = path.read_bytes()
        table = pa.ipc.open_file(path).read_all()
        place = table.column_names.index("CT_conf_1")
        wide = table.set_column(place, "CT_conf_1", table["CT_conf_1"].cast(pa.float64()))
        write_ipc(path, wide.schema, wide.to_batches())
        try:
            with pytest.raises(InputError, match="ct_conf_1 is double precision in the file, and real in the database"):
                export_postgis(space.workspace, server, schema="types")
        finally:
            path.write_bytes(before)
        assert rows(server, "SELECT count(*) FROM types.crop_types") == [(18,)], "as it was"

    def test_a_table_that_an_earlier_release_has_made_narrower(self, server: str, space: MarkerSpace) -> None:
        export_postgis(space.workspace, server, schema="narrow")
        run(
            server, "ALTER TABLE narrow.mowing_events DROP COLUMN doubts", "DELETE FROM narrow.mowing_events",
            "DELETE FROM narrow.exports WHERE relation = 'mowing_events'",
        )  # fmt: skip
        export_postgis(space.workspace, server, schema="narrow")
        assert rows(server, "SELECT count(doubts) FROM narrow.mowing_events") == [(3,)]

    def test_names_that_a_database_takes_for_one(self, server: str, space: MarkerSpace, facts: Any) -> None:
        facts("mine", Ab=pa.int32(), aB=pa.int32(), tile=pa.string())
        with pytest.raises(InputError, match="table mine: columns would have the same name: ab, tile"):
            export_postgis(space.workspace, server, schema="clash")

    def test_what_the_server_says_is_short(self, server: str, space: MarkerSpace, facts: Any) -> None:
        facts("wide", **{f"c{i}": pa.int32() for i in range(1700)})
        with pytest.raises(Exception, match=r"refused \(tables can have at most 1600 columns\)"):
            export_postgis(space.workspace, server, schema="wide")
