"""The stage: from a declaration, an imported table of radar and NDVI and a table of practices to the product."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pytest
from support.chain import Chain
from support.cli import s4c
from support.imports import ImportSpace
from support.practices import COHERENCE, FIRST, NDVI, RATIO

from s4c_hpc.config import Config
from s4c_hpc.core.errors import InputError, NoInputsError, TemporaryError
from s4c_hpc.core.plan_schema import PLAN_SCHEMA
from s4c_hpc.core.stage import PlanContext, stage
from s4c_hpc.core.task import Outcome, Task
from s4c_hpc.markers.manifest import read_manifest
from s4c_hpc.parcels import read_attributes
from s4c_hpc.practices.codes import Index, Practice, Status
from s4c_hpc.practices.export import read_product, write_reference_tables

NAME = "practices"
SITE = {"name": "test", "season_start": "2021-03-01", "season_end": "2021-12-31"}

RADAR = """
    name = "radar"
    sensor = "s1"
    form = "long"
    parcel = "id"
    date = "date"
    orbit_direction = "ascending"
    [variables.sigma0_vv]
    column = "vv"
    unit = "dB"
    [variables.sigma0_vh]
    column = "vh"
    unit = "dB"
    [variables.coherence_vv]
    column = "coherence"
"""

OPTICAL = """
    name = "optical"
    sensor = "s2"
    form = "long"
    parcel = "id"
    date = "date"
    [variables.ndvi]
    column = "ndvi"
    scale = 0.001
"""


def radar(names: list[str], n: int = 22) -> dict[str, Any]:
    """The golden parcel's radar under several names."""
    days = [FIRST + dt.timedelta(days=6 * k) for k in range(n)]
    coherence = [None, *COHERENCE[: n - 1]]
    return {
        "id": np.repeat(names, n),
        "date": pa.array(days * len(names)),
        "vv": [-10.0] * n * len(names),
        "vh": [-10.0 - ratio for ratio in RATIO[:n]] * len(names),
        "coherence": pa.array(coherence * len(names), pa.float64()),
    }


def optical(names: list[str]) -> dict[str, Any]:
    """Its NDVI."""
    days = [dt.date.fromisoformat(f"2021-{day}") for day in NDVI]
    return {
        "id": np.repeat(names, len(days)),
        "date": pa.array(days * len(names)),
        "ndvi": [*NDVI.values()] * len(names),
    }


def names(*numbers: int) -> list[str]:
    """Ids of fields."""
    return [f"F{i:03d}" for i in numbers]


class Space:
    """A workspace with fields F001 ... and what is asked of the stage."""

    def __init__(self, root: Path, n: int = 8, **practices: Any) -> None:
        self.space = ImportSpace(root, n=n)
        self.chain = Chain(self.space.workspace)
        self.root = root
        self.config = self.configured(**practices)

    def configured(self, **practices: Any) -> Config:
        """The configuration with these keys of [practices]."""
        values = self.space.config.model_dump(mode="json", exclude_defaults=True)
        return Config.model_validate(
            {**values, "site": SITE, "practices": {"enabled": True, "mode": "reference", **practices}}
        )

    def golden(self) -> Self:
        """Fields 1 to 5 are the golden parcel; 6 has no NDVI, 7 too little radar, 8 NDVI alone."""
        parts = [radar(names(1, 2, 3, 4, 5, 6)), radar(names(7), 10)]
        both = {key: pa.concat_arrays([pa.array(part[key]) for part in parts]) for key in parts[0]}
        self.space.bring(self.space.table(both, name="radar"), RADAR)
        self.space.bring(self.space.table(optical(names(1, 2, 3, 4, 5, 7, 8)), name="optical"), OPTICAL)
        return self

    def declare(self, text: str) -> Path:
        """A table of practices."""
        path = self.root / "practices.csv"
        header = "SEQ_ID;FIELD_ID;COUNTRY;YEAR;MAIN_CROP;VEG_START;H_START;H_END;PRACTICE;P_TYPE;P_START;P_END\n"
        path.write_text(header + text)
        return path

    def rows(self) -> list[Task]:
        """Tasks of the stage; of series there are none of our own."""
        return self.chain.plan(self.config, ["mask", "index", "gather", "stats", "compact", "series", NAME])[NAME]

    def run(self, task: Task) -> Outcome:
        """Run one of them."""
        return self.chain.run_task(stage(NAME), task, self.config)

    def made(self) -> dict[str, dict[str, int]]:
        """Columns of each field after a run of everything."""
        found: dict[str, dict[str, int]] = {}
        own = self.space.own_id()
        for task in self.rows():
            self.run(task)
            table = read(self.chain.path(task.outputs[0]))
            found |= {own[row["NewID"]]: row for row in table.to_pylist()}
        return found


def read(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def test_nothing_is_planned_unless_asked_for(tmp_path: Path) -> None:
    space = Space(tmp_path, enabled=False).golden()
    context_rows = list(stage(NAME).tasks(_context(space)))
    assert context_rows == []


def test_harvest_of_imported_series(tmp_path: Path) -> None:
    found = Space(tmp_path, rules={"ndvi_up": 350}).golden().made()
    golden = found["F001"]
    # The whole season is searched, so that the last week is in it.
    assert (golden["STATUS"], golden["PRACTICE"], golden["H_WEEK"]) == (Status.OK, Practice.NA, 30)
    assert (golden["H_W_START"], golden["H_W_END"], golden["H_W_S1"]) == (20210726, 20210801, 20210726)
    assert [golden[name] for name in ("VEG_START", "H_START", "H_END")] == [20210301, 20210301, 20211231]
    assert golden["S1GAPS"] == 31
    assert golden == {**found["F005"], "NewID": golden["NewID"]}


def test_what_cannot_be_judged_is_a_row_with_a_reason(tmp_path: Path) -> None:
    space = Space(tmp_path, n=9).golden()
    found = space.made()
    status = {name: Status(row["STATUS"]) for name, row in found.items()}
    assert [status[f"F00{i}"] for i in (6, 7, 8, 9)] == [
        Status.NO_S2,
        Status.FEW_S1,
        Status.NO_S1,
        Status.NO_SERIES,
    ]
    assert all(row["C_INDEX"] == Index.NA and row["M1"] == -1 for name, row in found.items() if status[name])
    (task,) = space.rows()
    notes = space.run(task).notes
    assert "1 of 9 parcels not judged: no NDVI" in notes
    assert "1 of 9 parcels not judged: no series of this parcel" in notes


def test_pixels_are_those_of_any_acquisition(tmp_path: Path) -> None:
    space = Space(tmp_path, rules={"min_s1_pixels": 10})
    table = radar(names(1, 2, 3))
    table["n"] = [40] * 44 + [5] * 22
    # Field 2 was not seen on the last day, nor was field 3.
    seen = {key: [value for i, value in enumerate(list(column)) if i not in {43, 65}] for key, column in table.items()}
    seen["date"] = pa.array([one.as_py() for one in seen["date"]])
    seen["coherence"] = pa.array([one.as_py() for one in seen["coherence"]], pa.float64())
    text = RADAR.replace('orbit_direction = "ascending"', 'orbit_direction = "ascending"\n    count = "n"')
    space.space.bring(space.space.table(seen, name="radar"), text)
    space.space.bring(space.space.table(optical(names(1, 2, 3)), name="optical"), OPTICAL)
    made = space.made()
    assert [made[name]["S1PIX"] for name in names(1, 2, 3)] == [40, 40, 5]
    assert [made[name]["STATUS"] for name in names(1, 2, 3)] == [Status.OK, Status.OK, Status.FEW_PIXELS]


def test_a_practice_that_ends_before_it_begins_is_not_judged(tmp_path: Path) -> None:
    space = Space(tmp_path).golden()
    table = space.declare("1;F001;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;Fallow;;2021-08-30;2021-05-03\n")
    space.config = space.configured(table=str(table), country="ITA", rules={"coherence_level": 0.75})
    assert space.made()["F001"]["STATUS"] == Status.NO_PERIOD
    (task,) = space.rows()
    assert any("1 parcels have P_END before P_START" in note for note in space.run(task).notes)


def test_a_table_of_practices(tmp_path: Path) -> None:
    space = Space(tmp_path).golden()
    table = space.declare(
        "1;F001;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;Fallow;Own;2021-05-03;2021-08-30\n"
        "2;F002;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;NFC;;2021-05-03;2021-08-30\n"
        "3;F003;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;NA;;;\n"
        "4;F004;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;Fallow;;;\n"
        "5;F005;ITA;2021;X;2021-05-03;2021-07-32;2021-08-30;Sown;;2021-05-03;2021-08-30\n"
        "6;F003;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;Fallow;;2021-05-03;2021-08-30\n"
        "7;F006;ITA;2021;X;2021-05-03;2021-08-30;2021-07-05;NA;;;\n"
    )
    space.config = space.configured(table=str(table), country="ITA", rules={"coherence_level": 0.75})
    found = space.made()
    assert [found[f"F00{i}"]["PRACTICE"] for i in (1, 2, 3, 4, 5)] == [2, 3, 0, 2, 0]
    assert found["F006"]["STATUS"] == Status.NO_SEASON
    assert [found[f"F00{i}"]["STATUS"] for i in (1, 2, 3, 4, 5, 8)] == [
        Status.OK,
        Status.OK,
        Status.OK,
        Status.NO_PERIOD,
        Status.NO_SEASON,
        Status.NO_SEASON,
    ]
    assert found["F001"]["H_W_START"] == 20210726
    assert found["F001"]["C_INDEX"] == Index.MODERATE, "Italy's fallow land may be harvested after 31 March"
    assert found["F002"]["C_INDEX"] == Index.STRONG
    (task,) = space.rows()
    notes = space.run(task).notes
    assert any("a parcel that it has already" in note for note in notes)
    assert any("practice other than" in note for note in notes)
    assert any("1 values of H_START" in note for note in notes)
    assert any("2 of 8 parcels are not in the table" in note for note in notes)
    assert any("1 parcels have H_END before H_START" in note for note in notes)
    product = read_product(space.space.workspace, space.config, "l4c")
    paths = write_reference_tables(space.space.workspace, space.config, product, tmp_path / "out")
    assert [path.name.split("_")[2] for path in paths] == ["NA", "Fallow", "NFC"]
    fallow = [line.split(";") for line in paths[1].read_text().splitlines()]
    assert [line[1] for line in fallow[1:]] == ["F001", "F004"]
    row = dict(zip(fallow[0], fallow[1], strict=True))
    assert [row[name] for name in ("COUNTRY", "YEAR", "MAIN_CROP", "P_TYPE")] == ["ITA", "2021", "X", "Own"]
    assert (row["P_END"], row["C_INDEX"]) == ("2021-08-30", "MODERATE")
    table.write_text(table.read_text() + "\n")
    with pytest.raises(TemporaryError, match="has changed"):
        space.run(task)
    with pytest.raises(TemporaryError, match="has changed"):
        write_reference_tables(space.space.workspace, space.config, product, tmp_path / "out")


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ("", InputError, "has no rows"),
        (
            "1;F001;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;2;;2021-05-03;2021-08-30\n",
            InputError,
            "practice that is known",
        ),
        ("1;G001;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;NA;;;\n", NoInputsError, "none of the parcels"),
        ("1;F001;ITA;2016;X;2016-05-03;2016-07-05;2016-08-30;NA;;;\n", InputError, "expected between 2021-03-01 and"),
    ],
)
def test_a_table_of_which_nothing_can_be_used_ends_the_plan(
    tmp_path: Path, rows: str, error: type[Exception], said: str
) -> None:
    space = Space(tmp_path).golden()
    space.config = space.configured(table=str(space.declare(rows)))
    with pytest.raises(error, match=said):
        space.rows()


def test_tables_go_into_a_folder(tmp_path: Path) -> None:
    space = Space(tmp_path).golden()
    space.made()
    product = read_product(space.space.workspace, space.config, "l4c")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        write_reference_tables(space.space.workspace, space.config, product, tmp_path / "file")


def test_the_file_says_what_its_columns_mean_and_has_the_same_bytes_again(tmp_path: Path) -> None:
    space = Space(tmp_path).golden()
    (task,) = space.rows()
    outcome = space.run(task)
    product, manifest = (space.chain.path(path) for path in task.outputs)
    assert task.outputs[0] == f"markers/l4c/2021/test_{task.tile}.arrow"
    before = product.read_bytes()
    size, most = space.chain.sizes(task)
    assert size <= most
    table = read(product)
    assert table.schema.names[0] == "NewID"
    assert table["NewID"].to_pylist() == sorted(table["NewID"].to_pylist())
    assert outcome.n_rows == table.num_rows == 8
    for field in table.schema:
        assert field.metadata[b"long_name"]
        assert not field.nullable
    codes = json.loads(table.schema.field("C_INDEX").metadata[b"codes"])
    assert codes[str(int(Index.STRONG))] == "STRONG"
    assert json.loads(table.schema.field("STATUS").metadata[b"codes"])["4"] == "no NDVI"
    said = read_manifest(product)
    assert (said.set, said.period, said.n_parcels, said.task_id) == ("l4c", "2021", 8, task.id)
    assert len(said.inputs) == 22 + 11
    assert manifest.is_file()
    space.run(task)
    assert product.read_bytes() == before


def test_identity_is_inputs_and_thresholds(tmp_path: Path) -> None:
    space = Space(tmp_path).golden()
    (first,) = space.rows()
    assert [row.id for row in space.rows()] == [first.id]
    space.config = space.configured(rules={"ndvi_up": 351})
    assert [row.id for row in space.rows()] != [first.id]
    space.config = space.configured()
    space.space.bring(space.space.table(radar(names(1)), name="radar"), RADAR)
    assert [row.id for row in space.rows()] != [first.id]


def test_no_series_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoInputsError, match="no tile with parcels has series"):
        list(stage(NAME).tasks(_context(Space(tmp_path))))


def test_a_tile_without_series_is_no_success(tmp_path: Path) -> None:
    space = Space(tmp_path, n=30)
    tile = min(_tiles(space).values())
    near = [name for name, own in _tiles(space).items() if own == tile]
    space.space.bring(space.space.table(optical(near), name="optical"), OPTICAL)
    rows = {task.tile: task for task in space.rows()}
    assert len(rows) == 2
    assert space.run(rows.pop(tile)).notes == ("15 of 15 parcels not judged: no backscatter or no coherence",)
    with pytest.raises(InputError, match="has no series"):
        space.run(*rows.values())


def test_from_the_command_line(tmp_path: Path) -> None:
    space = Space(tmp_path).golden()
    site = "\n".join(f'{key} = "{value}"' if key == "name" else f"{key} = {value}" for key, value in SITE.items())
    (tmp_path / "s4c.toml").write_text(
        f'[site]\n{site}\n[parcels]\nfile = "fields.gpkg"\nid_columns = ["id"]\n'
        '[practices]\nenabled = true\nmode = "reference"\n'
    )
    done = s4c("run", workspace=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("markers/l4c/2021/*.arrow")
    assert (read(path)["H_WEEK"].to_numpy() == 30).sum() == 5
    listed = s4c("markers", "list", workspace=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "l4c" in listed.stdout
    assert "up to date" in s4c("run", workspace=tmp_path).stderr
    written = s4c("practices", "export", tmp_path / "l4c", workspace=tmp_path)
    assert written.returncode == 0, written.stderr
    (table,) = (tmp_path / "l4c").glob("*.csv")
    assert table.name == "Sen4CAP_L4C_NA_ALL_2021_CSV.csv"
    header, *lines = table.read_text().splitlines()
    assert len(lines) == 8
    columns = header.split(";")
    assert columns[:2] == ["FIELD_ID", "ORIG_ID"]
    rows = {line.split(";")[1]: dict(zip(columns, line.split(";"), strict=True)) for line in lines}
    golden = rows["F001"]
    assert [golden[name] for name in ("H_WEEK", "H_W_START", "H_W_END", "H_W_S1")] == [
        "30",
        "2021-07-26",
        "2021-08-01",
        "2021-07-26",
    ]
    assert [golden[f"M{i}"] for i in range(1, 6)] == ["TRUE", "FALSE", "FALSE", "TRUE", "TRUE"]
    assert (golden["C_INDEX"], golden["M6"], golden["P_START"], golden["H_QUALITY"]) == ("NA", "NR", "", "")
    assert (rows["F006"]["H_WEEK"], rows["F006"]["M1"], rows["F006"]["S1GAPS"]) == ("NA", "NA", "NA")
    done = s4c("practices", "export", tmp_path / "mdb3.arrow", "--format", "mdb3", workspace=tmp_path)
    assert done.returncode == 0, done.stderr
    mdb3 = read(tmp_path / "mdb3.arrow")
    assert mdb3.schema.names == ["NewID", *(f"20210906_M{i}" for i in range(1, 6))]
    own = space.space.own_id()
    codes = {own[row["NewID"]]: [row[f"20210906_M{i}"] for i in range(1, 6)] for row in mdb3.to_pylist()}
    assert codes["F001"] == [1, 0, 0, 1, 1]
    assert codes["F006"] == [-1] * 5


def _tiles(space: Space) -> dict[str, str]:
    table = read_attributes(space.space.workspace, "v0001", ["ori_id", "tile"])
    return dict(zip(table["ori_id"].to_pylist(), table["tile"].to_pylist(), strict=True))


def _context(space: Space) -> PlanContext:
    return PlanContext(space.space.workspace, space.config, {"series": PLAN_SCHEMA.empty_table()})
