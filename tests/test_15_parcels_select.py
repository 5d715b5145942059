"""Looking parcels up: by list, attribute, rectangle and polygon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
from support.parcels import make_config, squares, write_layer

from s4c_hpc.cli.selection import ids_and_own_ids
from s4c_hpc.core.errors import ConfigError, InputError, MissingDataError, S4cError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import Selection, import_parcels, read_id_file, select

N = 40
OTHER_SYSTEM = "EPSG:25833"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("select")
    found = Workspace(root / "workspace")
    columns = {"id": [f"F{i + 1:03d}" for i in range(N)], "crop": ["115", "116"] * (N // 2), "it's": range(N)}
    file = write_layer(root / "a.gpkg", squares(N), columns=columns)
    import_parcels(file, found, make_config(crop_column="crop"))
    fewer = write_layer(root / "b.gpkg", squares(N)[:-1], columns={k: list(v)[:-1] for k, v in columns.items()})
    import_parcels(fewer, found, make_config(crop_column="crop", mode="update"))
    return found


def chosen(workspace: Workspace, version: str = "v0002", **conditions: Any) -> list[int]:
    return [int(i) for i in select(workspace, version, Selection(**conditions))]


def box(first: int, last: int, margin: float) -> tuple[float, float, float, float]:
    """A rectangle around fields of one row, or a bit smaller."""
    bounds = shapely.total_bounds(squares(N)[first : last + 1])
    x0, y0, x1, y1 = bounds.tolist()
    return x0 - margin, y0 - margin, x1 + margin, y1 + margin


def test_everything_but_what_was_deleted(workspace: Workspace) -> None:
    assert Selection().is_everything
    assert chosen(workspace) == list(range(1, N))
    assert chosen(workspace, deleted=True) == list(range(1, N + 1))
    assert chosen(workspace, where="is_deleted", deleted=True) == [N]
    assert chosen(workspace, "v0001") == list(range(1, N + 1))


def test_a_version_that_is_not_there(workspace: Workspace) -> None:
    with pytest.raises(MissingDataError, match="there is no parcel version v0009; versions are v0001, v0002"):
        chosen(workspace, "v0009")


@pytest.mark.parametrize("expression", ["Area_meters", "ori_crop", "1", "NewID > 1, NewID", "NULL"])
def test_what_is_neither_true_nor_false_is_no_condition(workspace: Workspace, expression: str) -> None:
    with pytest.raises(InputError, match=f"where: ('{expression}' is no condition|cannot be evaluated)"):
        chosen(workspace, where=expression)


def test_by_ids_of_either_kind(workspace: Workspace) -> None:
    assert chosen(workspace, ids=[7, 3, 3]) == [3, 7]
    assert chosen(workspace, ids=[7], ori_ids=["F012", "F001"]) == [1, 7, 12]
    with pytest.raises(InputError, match="1 of 2 NewIDs are not in the parcels: 4711"):
        chosen(workspace, ids=[1, 4711])
    with pytest.raises(InputError, match=r"1 of 2 ids are not in the parcels: F999; ids are those"):
        chosen(workspace, ori_ids=["F001", "F999"])


def test_by_attributes(workspace: Workspace) -> None:
    assert chosen(workspace, where="ori_crop = '115' AND NewID <= 6") == [1, 3, 5]
    assert chosen(workspace, where='"it\'s" BETWEEN 4 AND 5') == [5, 6]
    assert chosen(workspace, where="ori_id LIKE 'F00%' OR Area_meters > 1e6") == list(range(1, 10))
    assert chosen(workspace, where="false") == []


@pytest.mark.parametrize(
    "expression",
    [
        "no_such_column = 1",
        "NewID =",
        "true; DROP TABLE parcels",
        "NewID IN (SELECT NewID FROM read_parquet('/etc/passwd'))",
        "EXISTS (SELECT * FROM read_text('/etc/passwd'))",
        "EXISTS (SELECT * FROM chosen)",
        "(SELECT 1 FROM glob('*')) = 1",
        "true) UNION SELECT 1 WHERE (true",
    ],
)
def test_an_expression_that_is_none_or_wants_too_much(workspace: Workspace, expression: str) -> None:
    with pytest.raises(InputError, match="where: cannot be evaluated"):
        chosen(workspace, where=expression)


def test_by_rectangle(workspace: Workspace) -> None:
    metres = "EPSG:32632"
    assert chosen(workspace, box=box(2, 4, 0), box_crs=metres) == [3, 4, 5]
    assert chosen(workspace, box=box(2, 4, 5), box_crs=metres) == [3, 4, 5]
    assert chosen(workspace, box=box(2, 4, 20), box_crs=metres) == [2, 3, 4, 5, 6, 12, 13, 14, 15, 16]
    assert chosen(workspace, box=(0, 0, 1, 1), box_crs=metres) == []
    corners = gpd.GeoSeries([shapely.box(*box(2, 4, -30))], crs=metres)
    for other in ("EPSG:4326", OTHER_SYSTEM):
        moved = tuple(corners.to_crs(other).total_bounds)
        assert chosen(workspace, box=moved, box_crs=other) == [3, 4, 5]


@pytest.mark.parametrize(
    ("conditions", "what"),
    [
        ({"box": (2, 2, 1, 3)}, "no rectangle"),
        ({"box": (1, 3, 2, 2)}, "no rectangle"),
        ({"box": (600_000, 5_300_000, 600_001, 5_300_001)}, "are no degrees; name the reference system"),
        ({"box": (1, 1, 2, 2), "box_crs": "EPSG:0"}, "'EPSG:0' is not a coordinate reference system"),
    ],
)
def test_a_rectangle_that_is_none(workspace: Workspace, conditions: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        chosen(workspace, **conditions)


def test_by_polygon_of_a_file(workspace: Workspace, tmp_path: Path) -> None:
    corner = shapely.Polygon([(600_000, 5_300_000), (600_300, 5_300_000), (600_000, 5_300_300)])
    hole = shapely.box(*box(20, 20, -10))
    file = write_layer(tmp_path / "area.gpkg", [corner, hole])
    assert chosen(workspace, polygon=file) == [1, 2, 3, 11, 12, 21]
    gpd.read_file(file).to_crs("EPSG:4326").to_file(tmp_path / "area.geojson")
    assert chosen(workspace, polygon=tmp_path / "area.geojson") == [1, 2, 3, 11, 12, 21]
    lines = write_layer(tmp_path / "lines.gpkg", [shapely.LineString([(0, 0), (1, 1)])])
    with pytest.raises(InputError, match="there is no polygon"):
        chosen(workspace, polygon=lines)
    with pytest.raises(MissingDataError):
        chosen(workspace, polygon=tmp_path / "none.gpkg")


def test_conditions_add_up(workspace: Workspace) -> None:
    row: dict[str, Any] = {"box": box(0, 9, -1), "box_crs": "EPSG:32632"}
    assert chosen(workspace, where="ori_crop = '115'", ids=[1, 2, 3, 13], **row) == [1, 3]


@pytest.mark.parametrize(
    ("text", "numbers", "names"),
    [
        ("3\n\n 1 \n", [3, 1], None),
        ("NewID\n3\n", [3], None),
        ("ori_id\n3\n", None, ["3"]),
        ("\ufeffori_id,crop\nA,1\nB,2\n", None, ["A", "B"]),
        ("name,NewID\nA,5\n", [5], None),
        ("A\n2\n", None, ["A", "2"]),
    ],
)
def test_files_of_ids(tmp_path: Path, text: str, numbers: list[int] | None, names: list[str] | None) -> None:
    (tmp_path / "ids.txt").write_text(text, encoding="utf-8")
    assert read_id_file(tmp_path / "ids.txt") == (numbers, names)


@pytest.mark.parametrize(("text", "what"), [("", "no id"), ("ori_id\n", "no id"), ("NewID\nA\n", "not NewIDs.*: A")])
def test_files_without_ids(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(S4cError, match=what):
        read_id_file(tmp_path / "ids.txt")
    with pytest.raises(MissingDataError, match="no such file"):
        read_id_file(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("text", "id_columns", "expected"),
    [
        ("Code\n3\n7\n", ["code"], (None, ["3", "7"])),
        ("crop;x,code\nA,7\n", ["code"], (None, ["7"])),
        ("NewID,code\n3,A\n", ["code"], ([3], None)),
        ("code\n3\n", ["code", "year"], (None, ["code", "3"])),
    ],
)
def test_the_id_column_of_the_declaration_is_a_header(
    tmp_path: Path, text: str, id_columns: list[str], expected: Any
) -> None:
    (tmp_path / "ids.csv").write_text(text)
    assert read_id_file(tmp_path / "ids.csv", id_columns) == expected


def test_lists_on_the_command_line_know_the_id_column(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "ids.csv"
    file.write_text("id\nF007\n")
    assert ids_and_own_ids(str(file), None, workspace) == (None, ["F007"])
    assert ids_and_own_ids(None, str(file), workspace) == (None, ["F007"])
    with pytest.raises(InputError, match=r"--ids: no file abc\.csv, and no NewID; use --parcels for your own ids"):
        ids_and_own_ids("abc.csv", None)
    with pytest.raises(InputError, match="--ids: no NewIDs, which are numbers: 1,F007"):
        ids_and_own_ids("1,F007", None)


def test_files_of_own_ids(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("ori_id\n007\n\n 12 \n")
    assert ids_and_own_ids(None, str(file)) == (None, ["007", "12"])
    with pytest.raises(MissingDataError, match="no such file of ids"):
        ids_and_own_ids(None, "@" + str(tmp_path / "none.txt"))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        ids_and_own_ids(None, str(file))
    file.write_text("\n")
    with pytest.raises(InputError, match="no id in the file"):
        ids_and_own_ids(None, str(file))
    file.write_text("--5\n+-3\n")
    assert read_id_file(file) == (None, ["--5", "+-3"])
