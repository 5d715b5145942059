"""Crop code tables: what codes mean, and what a table does not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.parcels import make_config, squares, write_layer

from s4c_hpc.core.errors import InputError, MissingDataError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import ImportReport, import_parcels, read_attributes, read_tiles
from s4c_hpc.parcels.croptable import join, read_crop_table, read_hcat_table

LUT = """ori_crop;CTnum;CT;LC;CTnumL4A;CTL4A;Fallow
115;1;Winter wheat;1;11;Wheat;0
116;2;Spring wheat;1;11;Wheat;0
591;3;Fallow land;1;;;1
999;4;Never grown;1;14;None;0
"""
CROPS = ["115", "115", "116", "591", "591", "700", "700", "700", None]


def table(root: Path, text: str = LUT, encoding: str = "utf-8") -> Path:
    path = root / "lut.csv"
    path.write_bytes(text.encode(encoding))
    return path


def take(root: Path, workspace: Workspace, crops: list[str | None], **keys: Any) -> ImportReport:
    columns = {"id": [f"F{i}" for i in range(len(crops))], "crop": crops, "LC": ["mine"] * len(crops)}
    file = write_layer(root / "a.gpkg", squares(len(crops)), columns=columns)
    return import_parcels(file, workspace, make_config(crop_column="crop", **keys))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def test_codes_are_joined_as_attributes(tmp_path: Path, workspace: Workspace) -> None:
    report = take(tmp_path, workspace, CROPS, crop_table=table(tmp_path))
    rows = {r["ori_id"]: r for r in read_attributes(workspace, report.version).to_pylist()}
    names = ("CTnum", "CT", "LC", "CTnumL4A", "CTL4A", "Fallow", "src_LC")
    assert [rows["F0"][n] for n in names] == [1, "Winter wheat", 1, 11, "Wheat", 0, "mine"]
    assert [rows["F3"][n] for n in names] == [3, "Fallow land", 1, None, None, 1, "mine"]
    assert [rows["F5"][n] for n in names] == [None] * 6 + ["mine"]
    schema = read_attributes(workspace, report.version).schema
    assert (schema.field("CTnum").type, schema.field("CT").type) == (pa.int32(), pa.string())


def test_what_a_table_does_not_say_is_told(tmp_path: Path, workspace: Workspace) -> None:
    report = take(tmp_path, workspace, CROPS, crop_table=table(tmp_path))
    told = json.loads((report.path / "report.json").read_text())["crop_table"]["crop_table"]
    assert told == {
        "file": "lut.csv",
        "codes": 4,
        "unused": 1,
        "unknown": {"700": 3},
        "n_unknown": 1,
        "parcels_unknown": 3,
        "gaps": {"CTnumL4A": {"codes": ["591"], "parcels": 2}},
        "ambiguous": [],
    }
    assert "lut.csv does not have 1 of 4 crop codes: 700 (3 parcels)" in report.notes
    assert "lut.csv has no CTnumL4A for 2 parcels, of codes 591" in report.notes
    assert "1 parcels have no crop code" in report.notes


def test_another_table_is_another_version_and_the_same_work(tmp_path: Path, workspace: Workspace) -> None:
    take(tmp_path, workspace, ["115", "116"], crop_table=table(tmp_path))
    changed = table(tmp_path, LUT.replace("Spring wheat", "Summer wheat"))
    report = take(tmp_path, workspace, ["115", "116"], crop_table=changed)
    assert (report.version, report.diff["attributes_only"], report.diff["unchanged"]) == ("v0002", 1, 1)
    assert read_tiles(workspace, "v0001")[0].key == read_tiles(workspace, "v0002")[0].key
    # Parcels that are taken over from the version before get what the table says now.
    report = take(tmp_path, workspace, ["115"], crop_table=table(tmp_path), mode="incremental")
    rows = {r["ori_id"]: r["CT"] for r in read_attributes(workspace, report.version).to_pylist()}
    assert rows == {"F0": "Winter wheat", "F1": "Spring wheat"}
    report = take(tmp_path, workspace, ["115"], mode="incremental")
    assert "CT" not in read_attributes(workspace, report.version).column_names


def test_any_common_way_to_write_a_table(tmp_path: Path) -> None:
    for text, encoding in (
        (LUT, "utf-8-sig"),
        (LUT.replace(";", ","), "utf-8"),
        (LUT.replace(";", "\t").replace("\n", "\r\n"), "utf-8"),
        (LUT.replace("CTnumL4A", "ctnuml4a").replace("ori_crop", "ORI_CROP").replace("115;1;", " 115 ;1.0; "), "utf-8"),
        (LUT.replace("Winter wheat", '"Winter; wheat"').replace("Winter; wheat", "Winter wheat"), "utf-8"),
        (LUT + ";;;;;;\n", "utf-8"),
    ):
        found = read_crop_table(table(tmp_path, text, encoding))
        assert found.of(pa.array(["116", "115"]))["CT"].to_pylist() == ["Spring wheat", "Winter wheat"]
        assert found.of(pa.array(["591"]))["CTnumL4A"].to_pylist() == [None]
    found = read_crop_table(table(tmp_path, LUT.replace("Winter wheat", "Blé d'été"), "latin-1"))
    assert found.columns["CT"][0].as_py() == "Blé d'été"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("ori_crop;", "code;"), "there is no column ori_crop"),
        (("CTnum;CT;", "number;CT;"), "there is no column CTnum"),
        (("116;2", "115;2"), r"1 codes occur more than once: 115 \(2 times\)"),
        (("116;2", ";2"), "ori_crop is empty in line 3"),
        (("116;2;", "116;two;"), "CTnum is not a whole number in line 3; it is 'two' there"),
        (("116;2;", "116;2.5;"), "CTnum is not a whole number in line 3"),
        (("116;2;", "116;9999999999;"), "CTnum is not a whole number in line 3"),
        (("11;Wheat;0\n116", "11;Wheat;2\n116"), "Fallow is not 0 or 1 in line 2"),
        (("116;2;Spring wheat;", "116;2;"), "1 rows have another number of columns than the header, first in line 3"),
        (("CT;LC", "ctnum;LC"), "two columns have the same name"),
        ((LUT, ""), "there is no row"),
        ((LUT, "ori_crop;CTnum\n"), "there is no row"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, change: tuple[str, str], what: str) -> None:
    with pytest.raises(InputError, match=what):
        read_crop_table(table(tmp_path, LUT.replace(*change)))


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such table"):
        read_crop_table(tmp_path / "lut.csv")


def test_a_number_with_several_names(tmp_path: Path) -> None:
    found = read_crop_table(
        table(tmp_path, LUT.replace("116;2;Spring wheat;1;11;Wheat", "116;2;Spring wheat;1;11;Rye"))
    )
    notes = join(pa.array(["115"]), found, None).notes
    assert notes == ("lut.csv: CTnumL4A 11 has several names in CTL4A",)


class TestHcat:
    TEXT = (
        "original_code,original_name,HCAT3_name,HCAT3_code,HCAT2_name,HCAT2_code\n"
        "115,Weizen,winter_common_soft_wheat,3301010101,cereal,3301010000\n"
        ",Hafer,oats,3301010500,cereal,3301010000\n"
        "7,A,oats,3301010500,x,1\n7,B,rye,3301010300,x,1\n"
        "115,Winterweizen,winter_common_soft_wheat,3301010101,cereal,3301010000\n"
    )

    def test_the_newest_generation_by_code_or_name(self, tmp_path: Path) -> None:
        found = read_hcat_table(table(tmp_path, self.TEXT))
        said = found.of(pa.array(["Hafer", "115", "7", "8"]))
        assert said["HCAT_name"].to_pylist() == ["oats", "winter_common_soft_wheat", None, None]
        assert said["HCAT_code"].to_pylist() == ["3301010500", "3301010101", None, None]

    def test_together_with_a_table(self, tmp_path: Path, workspace: Workspace) -> None:
        hcat = tmp_path / "de.csv"
        hcat.write_text(self.TEXT)
        report = take(tmp_path, workspace, ["115", "116", "7"], crop_table=table(tmp_path), hcat_table=hcat)
        rows = {r["ori_crop"]: r for r in read_attributes(workspace, report.version).to_pylist()}
        assert (rows["115"]["CT"], rows["115"]["HCAT_code"]) == ("Winter wheat", "3301010101")
        assert (rows["116"]["CT"], rows["116"]["HCAT_code"]) == ("Spring wheat", None)
        told = json.loads((report.path / "report.json").read_text())["crop_table"]
        assert told["hcat_table"]["unknown"] == {"116": 1, "7": 1}
        assert told["columns"][-2:] == ["HCAT_code", "HCAT_name"]

    def test_another_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no table from crop codes to HCAT"):
            read_hcat_table(table(tmp_path))
