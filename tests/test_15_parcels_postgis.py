"""Tables of PostGIS, read from a server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import shapely
from adbc_driver_postgresql import dbapi
from support.postgis import postgis

from s4c_hpc.core.errors import ExternalToolError, InputError, NoInputsError
from s4c_hpc.parcels.read import read_layer
from s4c_hpc.parcels.read_postgis import is_postgis, without_password

TABLES = """
CREATE EXTENSION postgis;
CREATE TABLE fields (id text, area numeric(10, 2), year integer, outline geometry(GeometryZ, 32632));
INSERT INTO fields VALUES
 ('a', 1.25, 2024, 'SRID=32632;POLYGON Z ((600000 5300000 1, 600100 5300000 1, 600100 5300100 1, 600000 5300000 1))'),
 ('b', NULL, NULL, NULL),
 ('Rübe', 3, 2023, 'SRID=32632;CURVEPOLYGON Z (CIRCULARSTRING Z (0 0 0, 100 100 0, 200 0 0, 100 -100 0, 0 0 0))');
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


def test_what_is_wrong_is_said(server: str) -> None:
    path = Path(f"PG:{server} password=secret")
    with pytest.raises(InputError, match="3 tables with a geometry") as several:
        read_layer(path)
    assert "secret" not in str(several.value)
    with pytest.raises(InputError, match="no table 'parcels'"):
        read_layer(path, "parcels")
    with pytest.raises(NoInputsError):
        read_layer(path, "old.fields")
    with pytest.raises(InputError, match="no coordinate reference system"):
        read_layer(path, "nowhere(shape)")
    with pytest.raises(InputError, match="no column 'crop'"):
        read_layer(path, "fields", ["crop"])
    with pytest.raises(ExternalToolError, match="no connection"):
        read_layer(Path("PG:host=/nowhere dbname=lpis password=secret"))
