"""Tables of PostGIS, read from a server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import shapely
from adbc_driver_postgresql import dbapi
from support.postgis import postgis

from s4c_hpc.config.secrets import without_password
from s4c_hpc.core.errors import ExternalToolError, InputError, NoInputsError
from s4c_hpc.parcels.read import read_layer
from s4c_hpc.parcels.read_postgis import is_postgis

TABLES = """
CREATE EXTENSION postgis;
CREATE TABLE fields (id text, area numeric(10, 2), year integer, outline geometry(GeometryZ, 32632));
INSERT INTO fields VALUES
 ('a', 1.25, 2024, 'SRID=32632;POLYGON Z ((600000 5300000 1, 600100 5300000 1, 600100 5300100 1, 600000 5300000 1))'),
 ('b', NULL, NULL, NULL),
 ('Rübe', 3, 2023, 'SRID=32632;CURVEPOLYGON Z (CIRCULARSTRING Z (0 0 0, 100 100 0, 200 0 0, 100 -100 0, 0 0 0))');
CREATE TYPE crop AS ENUM ('wheat', 'maize');
CREATE DOMAIN code AS integer;
CREATE TABLE typed (id text, crop crop, code code, other geometry(Point, 32632), outline geometry(Polygon, 32632));
INSERT INTO typed VALUES ('a', 'maize', 7, NULL, 'SRID=32632;POLYGON ((0 0, 9 0, 9 9, 0 0))');
CREATE MATERIALIZED VIEW seen AS SELECT id, crop, outline FROM typed;
CREATE TABLE unknown_system (id text, shape geometry(Polygon));
INSERT INTO unknown_system VALUES ('a', 'SRID=990001;POLYGON ((0 0, 1 0, 1 1, 0 0))');
CREATE SCHEMA old;
CREATE TABLE old.fields (id text, shape geometry(Polygon, 4326));
CREATE TABLE nowhere (id text, shape geometry(Polygon));
INSERT INTO nowhere VALUES ('a', 'POLYGON ((0 0, 1 0, 1 1, 0 0))');
"""


def test_a_connection_is_told_from_a_file() -> None:
    assert is_postgis(Path("PG:dbname=lpis"))
    assert not is_postgis(Path("PG/parcels.gpkg"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("PG:host=x password=secret dbname=y", "PG:host=x password=*** dbname=y"),
        ("PG:password = 'a b\\'c' host=x", "PG:password = *** host=x"),
        ("PG:postgresql://me:secret@host/db", "PG:postgresql://me:***@host/db"),
        (str(Path("PG:postgresql://me:secret@host/db")), "PG:postgresql:/me:***@host/db"),
        ("PG:host=x", "PG:host=x"),
        ("PG:password=my secret dbname=y", "PG:password=*** dbname=y"),
        ("PG:password=a\\ secret host=x", "PG:password=*** host=x"),
        ("PG:password='my secret host=x", "PG:password=***"),
        ("PG:password=se&cret host=x", "PG:password=*** host=x"),
        ("PG:postgresql://me:p@ss@host/db", "PG:postgresql://me:***@host/db"),
        (
            "PG:postgresql://host/db?password=secret&sslmode=require",
            "PG:postgresql://host/db?password=***&sslmode=require",
        ),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert without_password(text) == shown


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgis() as address:
        with dbapi.connect(address) as connection, connection.cursor() as cursor:
            for statement in filter(str.strip, TABLES.split(";\n")):
                cursor.execute(statement)
            connection.commit()
        yield address


def test_a_table_is_read(server: str) -> None:
    layer = read_layer(Path(f"PG:{server}"), "fields", ["id"])
    assert (layer.name, layer.crs.to_string()) == ("fields", "EPSG:32632")
    assert layer.attributes.to_pydict() == {
        "id": ["a", "b", "Rübe"],
        "area": ["1.25", None, "3.00"],
        "year": [2024, None, 2023],
    }
    assert layer.outlines.missing.tolist() == [False, True, False]
    assert not shapely.has_z(layer.geometry).any()
    assert shapely.area(layer.geometry[[0, 2]]).tolist() == pytest.approx([5000, 31_416], rel=2e-3)


def test_types_of_a_server_and_materialized_views(server: str) -> None:
    layer = read_layer(Path(f"PG:{server}"), "typed(outline)", ["id", "crop"])
    assert layer.attributes.to_pydict() == {"id": ["a"], "crop": ["maize"], "code": [7]}
    assert layer.notes == ("further geometries are left out: other",)
    assert read_layer(Path(f"PG:{server}"), "seen").attributes.to_pydict() == {"id": ["a"], "crop": ["maize"]}


def test_what_is_wrong_is_said(server: str) -> None:
    path = Path(f"PG:{server} password=secret")
    with pytest.raises(InputError, match="tables with a geometry") as several:
        read_layer(path)
    assert "secret" not in str(several.value)
    with pytest.raises(InputError, match="no table 'parcels'"):
        read_layer(path, "parcels")
    with pytest.raises(NoInputsError):
        read_layer(path, "old.fields")
    with pytest.raises(InputError, match="no coordinate reference system"):
        read_layer(path, "nowhere(shape)")
    with pytest.raises(InputError, match="does not know SRID 990001"):
        read_layer(path, "unknown_system")
    with pytest.raises(InputError, match="no column 'crop'"):
        read_layer(path, "fields", ["crop"])
    with pytest.raises(ExternalToolError, match="no connection"):
        read_layer(Path("PG:host=/nowhere dbname=lpis password=secret"))
    for address in ("host=x password=my secret", "postgresql://me:secret@host:a@b/x", "postgresql://me:se%zzcret@h/x"):
        with pytest.raises(ExternalToolError, match="no connection") as caught:
            read_layer(Path(f"PG:{address}"))
        assert "cret" not in f"{caught.value}{caught.value.__cause__}"
