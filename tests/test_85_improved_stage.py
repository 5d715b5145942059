"""The stage in its default mode: what is imported becomes the product and its evidence, whatever is missing."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.cli import s4c
from support.practices import COHERENCE, FIRST, NDVI, RATIO
from test_85_practices_stage import OPTICAL, RADAR, SITE, Space, _context, names, optical, read

from s4c_hpc.config import Config
from s4c_hpc.core.errors import NoInputsError
from s4c_hpc.core.stage import stage
from s4c_hpc.practices.codes import Index, Status
from s4c_hpc.practices.product import product_schema

NAME = "practices"

BOTH_PASSES = RADAR.replace('orbit_direction = "ascending"', 'pass_column = "pass"')

WITH_GROUND = """
    name = "optical"
    sensor = "s2"
    form = "long"
    parcel = "id"
    date = "date"
    [variables.ndvi]
    column = "ndvi"
    [variables.bsi]
    column = "bsi"
    [variables.b11]
    column = "b11"
"""


class Improved(Space):
    """In the default mode."""

    def configured(self, **practices: Any) -> Config:
        values = self.space.config.model_dump(mode="json", exclude_defaults=True)
        return Config.model_validate({**values, "site": SITE, "practices": {"enabled": True, **practices}})

    def said(self) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]]]:
        """Rows of the product and of the evidence, by field."""
        rows = self.made()
        own = self.space.own_id()
        found: dict[str, list[dict[str, Any]]] = {}
        for task in self.rows():
            for row in read(self.chain.path(task.outputs[2])).to_pylist():
                found.setdefault(own[row["NewID"]], []).append(row)
        return rows, found


def every(days: int, fields: list[str], shift: int = 0, direction: str | None = None) -> dict[str, Any]:
    """The golden parcel's radar, an acquisition every so many days."""
    k = np.arange(0, 22, days // 6)
    dates = [FIRST + dt.timedelta(days=int(6 * i + shift)) for i in k]
    made = {
        "id": np.repeat(fields, k.size),
        "date": pa.array(dates * len(fields)),
        "vv": [-10.0] * k.size * len(fields),
        "vh": [-10.0 - RATIO[i] for i in k] * len(fields),
        "coherence": pa.array([COHERENCE[i - 1] if i else None for i in k] * len(fields), pa.float64()),
    }
    return made if direction is None else {**made, "pass": [direction] * k.size * len(fields)}


def below(*parts: dict[str, Any]) -> dict[str, Any]:
    """Tables below each other."""
    return {key: pa.concat_arrays([pa.array(part[key]) for part in parts]) for key in parts[0]}


def test_it_is_the_default(tmp_path: Path) -> None:
    assert Improved(tmp_path).config.practices.mode == "improved"


def test_each_parcel_is_judged_by_what_there_is(tmp_path: Path) -> None:
    """F006 has no NDVI, F007 ten acquisitions in spring, F008 no radar, F009 nothing."""
    rows, evidence = Improved(tmp_path, n=9).golden().said()
    assert [rows[f"F00{i}"]["STATUS"] for i in (1, 6, 7, 8, 9)] == [
        Status.OK,
        Status.NO_S2,
        Status.FEW_S1,
        Status.NO_S1,
        Status.NO_SERIES,
    ]
    assert [rows[f"F00{i}"]["H_W_START"] for i in (1, 6, 7, 8, 9)] == [20210719, 20210719, 20210719, 20210719, -10000]
    assert [rows[f"F00{i}"]["H_SOURCE"] for i in (1, 6, 7, 8, 9)] == [3, 2, 1, 1, 0]
    assert sorted(evidence) == [f"F00{i}" for i in range(1, 10)]
    reasons = {name: own[0]["reason"] for name, own in evidence.items()}
    assert reasons["F001"] == "all markers"
    assert reasons["F006"] == "radar alone, one orbit"
    assert reasons["F007"] == "NDVI alone"
    assert reasons["F008"] == "NDVI alone"
    assert reasons["F009"] == "no series of this parcel"
    assert evidence["F009"][0]["verdict"] == "undecided"
    assert np.isnan(evidence["F009"][0]["confidence"])
    assert evidence["F009"][0]["start"] is None
    confidence = [rows[f"F00{i}"]["H_CONF"] for i in (1, 8, 6)]
    assert confidence == sorted(confidence, reverse=True)
    assert confidence[0] == pytest.approx(0.792)


def test_notes_say_what_was_missing(tmp_path: Path) -> None:
    space = Improved(tmp_path, n=9).golden()
    (task,) = space.rows()
    notes = space.run(task).notes
    assert "1 of 9 parcels judged by what there is: no NDVI" in notes
    assert "1 of 9 parcels not judged: no series of this parcel" in notes


@pytest.mark.parametrize(
    ("tables", "mapping", "week", "confidence", "reason"),
    [
        pytest.param([every(6, names(1))], RADAR, 20210719, 0.48, "radar alone, one orbit", id="no S2"),
        pytest.param([every(12, names(1))], RADAR, 20210719, 0.48, "radar alone, one orbit", id="pairs of 12 days"),
        pytest.param(
            [every(6, names(1), 0, "ascending"), every(6, names(1), 2, "descending")],
            BOTH_PASSES,
            20210719,
            0.7296,
            "radar alone, two orbits or more",
            id="two passes",
        ),
        pytest.param(
            [every(36, names(1))],
            RADAR,
            None,
            0.0,
            "no NDVI and no radar to compare when it may be harvested",
            id="long gaps",
        ),
    ],
)
def test_radar_alone(
    tmp_path: Path, tables: list[dict[str, Any]], mapping: str, week: int | None, confidence: float, reason: str
) -> None:
    space = Improved(tmp_path, n=2)
    space.space.bring(space.space.table(below(*tables), name="radar"), mapping)
    rows, evidence = space.said()
    own, row = rows["F001"], evidence["F001"][0]
    assert own["STATUS"] in {Status.NO_S2, Status.FEW_S1}
    assert row["reason"] == reason
    if week is None:
        assert own["H_W_START"] == -10000
        assert row["verdict"] == "undecided"
        assert np.isnan(own["H_CONF"])
        return
    assert own["H_W_START"] == own["H_W_S1"] == week
    assert own["H_CONF"] == pytest.approx(confidence, abs=1e-4)
    assert (row["source"], row["verdict"]) == ("S1", "found")
    assert row["start"] < row["end"]


def test_ndvi_alone(tmp_path: Path) -> None:
    space = Improved(tmp_path, n=2)
    space.space.bring(space.space.table(optical(names(1)), name="optical"), OPTICAL)
    rows, evidence = space.said()
    assert (rows["F001"]["STATUS"], rows["F001"]["H_SOURCE"], rows["F001"]["H_W_S1"]) == (Status.NO_S1, 1, -10001)
    row = evidence["F001"][0]
    assert (row["start"], row["end"]) == (dt.date(2021, 7, 14), dt.date(2021, 7, 22))
    assert (row["reason"], row["source"]) == ("NDVI alone", "S2")


def test_bare_ground_dates_a_harvest_that_ndvi_sees_too_early(tmp_path: Path) -> None:
    """The crop ripens by 22 July, and is cut after 10 August."""
    space = Improved(tmp_path, n=2)
    days = [dt.date.fromisoformat(f"2021-{day}") for day in NDVI]
    green = [*[*NDVI.values()][:7], 340, 330, 320, 250]
    ripe = [-0.35] * 5 + [-0.1, -0.05, 0.05, 0.06, 0.06, 0.2]
    bright = [0.15] * 5 + [0.22, 0.24, 0.27, 0.27, 0.27, 0.37]
    table = {
        "id": names(1) * 11,
        "date": pa.array(days),
        "ndvi": [v / 1000 for v in green],
        "bsi": ripe,
        "b11": bright,
    }
    space.space.bring(space.space.table(table, name="optical"), WITH_GROUND)
    rows, evidence = space.said()
    assert (rows["F001"]["H_EVENT_START"], rows["F001"]["H_EVENT_END"]) == (20210810, 20210825)
    harvest = evidence["F001"][0]
    assert harvest["reason"] == "NDVI and bare ground, no radar"
    looks = {name: harvest[name] for name in ("bsi_before", "bsi_after", "swir1_before", "swir1_after")}
    assert looks == pytest.approx({"bsi_before": 0.06, "bsi_after": 0.2, "swir1_before": 0.27, "swir1_after": 0.37})


def test_a_table_of_practices(tmp_path: Path) -> None:
    space = Improved(tmp_path).golden()
    table = space.declare(
        "1;F001;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;Fallow;Own;2021-05-03;2021-08-30\n"
        "2;F002;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;NFC;;2021-05-03;2021-08-30\n"
        "3;F003;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;NA;;;\n"
        "4;F004;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;Fallow;;;\n"
        "5;F005;ITA;2021;X;2021-05-03;2021-07-32;2021-08-30;NFC;;2021-05-03;2021-08-30\n"
        "6;F006;ITA;2021;X;2021-05-03;2021-07-05;2021-08-30;CatchCrop;;2021-08-31;2021-10-25\n"
    )
    space.config = space.configured(table=str(table), country="ITA", rules={"tillage": True})
    rows, evidence = space.said()
    assert [[row["decision"] for row in evidence[f"F00{i}"]] for i in (1, 2, 3, 5)] == [
        ["harvest", "fallow", "mowing", "tillage"],
        ["harvest", "nitrogen-fixing", "tillage"],
        ["harvest", "tillage"],
        ["harvest"],
    ]
    fallow = evidence["F001"][1]
    assert (fallow["start"], fallow["end"]) == (dt.date(2021, 5, 3), dt.date(2021, 8, 30))
    assert fallow["verdict"] == Index(rows["F001"]["C_INDEX"]).name.lower()
    assert rows["F001"]["C_CONF"] == pytest.approx(fallow["confidence"])
    assert (rows["F004"]["STATUS"], rows["F004"]["H_WEEK"]) == (Status.NO_PERIOD, 29)
    assert evidence["F004"][1]["verdict"] == "undecided"
    assert evidence["F005"][0]["reason"].startswith("the table of practices has no row")
    crop = evidence["F006"][1]
    assert (crop["decision"], crop["verdict"]) == ("catch-crop", "undecided")
    assert crop["reason"] == "the period is not over"


def test_files_say_what_they_hold_and_have_the_same_bytes_again(tmp_path: Path) -> None:
    space = Improved(tmp_path, rules={"ndvi_up": 355}).golden()
    (task,) = space.rows()
    space.run(task)
    product, manifest, evidence = (space.chain.path(path) for path in task.outputs)
    assert task.outputs[2] == f"markers/l4c-evidence/2021/test_{task.tile}.arrow"
    before = product.read_bytes(), evidence.read_bytes()
    size, most = space.chain.sizes(task)
    assert size <= most
    table = read(evidence)
    ids = table["NewID"].to_pylist()
    assert ids == sorted(ids)
    assert set(ids) == set(read(product)["NewID"].to_pylist())
    assert table.schema.names[:9] == [
        *("NewID", "decision", "verdict", "start", "end", "confidence", "source", "doubts", "reason")
    ]
    assert [str(kind) for kind in table.schema.types[:9]] == [
        *("int32", "string", "string", "date32[day]", "date32[day]", "float", "string", "uint8", "string")
    ]
    for field in table.schema:
        assert field.metadata[b"long_name"]
        assert field.nullable == (field.name in {"start", "end"})
    for field in list(table.schema)[9:]:
        assert (str(field.type), b"unit" in field.metadata) == ("float", True)
    said = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    thresholds = json.loads(said["thresholds"])
    assert thresholds["rules"]["NA"]["ndvi_up"] == 355
    assert thresholds["improved"]["tolerance_weeks"] == 1
    assert (said["set"], said["mode"], said["task"]) == ("l4c-evidence", "improved", task.id)
    assert manifest.is_file()
    space.run(task)
    assert (product.read_bytes(), evidence.read_bytes()) == before


def test_columns_of_the_reference_stay_and_others_follow(tmp_path: Path) -> None:
    space = Improved(tmp_path).golden()
    (task,) = space.rows()
    space.run(task)
    schema = read(space.chain.path(task.outputs[0])).schema
    old = product_schema({}, tillage=False).names
    assert schema.names[: len(old)] == old
    assert schema.names[len(old) :] == [
        *("H_CONF", "H_SOURCE", "H_EVENT_START", "H_EVENT_END", "C_CONF", "C_SOURCE"),
        *("MOW_START", "MOW_END", "MOW_CONF"),
    ]
    for field in schema:
        assert field.metadata[b"long_name"]
    assert b"harvest" in schema.field("M1").metadata[b"long_name"]


def test_weights_are_part_of_the_identity_of_this_mode_alone(tmp_path: Path) -> None:
    space = Improved(tmp_path).golden()
    (first,) = space.rows()
    space.config = space.configured(improved={"weight_optical": 0.5})
    (second,) = space.rows()
    assert first.id != second.id
    space.config = space.configured(mode="reference")
    (reference,) = space.rows()
    assert len(reference.outputs) == 2
    space.config = space.configured(mode="reference", improved={"weight_optical": 0.5})
    assert space.rows()[0].id == reference.id


def test_a_harvest_that_nobody_could_see_is_not_denied(tmp_path: Path) -> None:
    """Dates of another year than the images: NA, as the evidence says undecided."""
    space = Improved(tmp_path, n=9).golden()
    table = space.declare(
        "1;F001;;2021;X;2016-05-03;2016-07-05;2016-08-30;NA;;;\n2;F002;;2021;X;2021-05-03;2021-07-05;2021-08-30;NA;;;\n"
    )
    space.config = space.configured(table=str(table), mode="improved")
    rows, evidence = space.said()
    assert evidence["F001"][0]["verdict"] == "undecided"
    assert {rows["F001"][name] for name in ("H_WEEK", "H_W_START", "H_W_END", "H_EVENT_START")} == {-10000}


def test_nothing_at_all_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(NoInputsError, match="no tile with parcels has series"):
        list(stage(NAME).tasks(_context(Improved(tmp_path))))


def test_a_wrong_weight_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weight_optical"):
        Improved(tmp_path).configured(improved={"weight_optical": 1.5})


def test_from_the_command_line(tmp_path: Path) -> None:
    Improved(tmp_path).golden()
    site = "\n".join(f'{key} = "{value}"' if key == "name" else f"{key} = {value}" for key, value in SITE.items())
    (tmp_path / "s4c.toml").write_text(
        f'[site]\n{site}\n[parcels]\nfile = "fields.gpkg"\nid_columns = ["id"]\n[practices]\nenabled = true\n'
    )
    done = s4c("run", workspace=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("markers/l4c/2021/*.arrow")
    (evidence,) = tmp_path.glob("markers/l4c-evidence/2021/*.arrow")
    assert (read(path)["H_WEEK"].to_numpy() == 29).sum() == 8
    assert read(evidence).num_rows == 8
    listed = s4c("markers", "list", workspace=tmp_path)
    assert "manifest" not in listed.stdout, "evidence has none of its own"
    assert listed.returncode == 0, listed.stderr
    assert "up to date" in s4c("run", workspace=tmp_path).stderr
    written = s4c("practices", "export", tmp_path / "l4c", workspace=tmp_path)
    assert written.returncode == 0, written.stderr
    (table,) = (tmp_path / "l4c").glob("*.csv")
    header, *lines = table.read_text().splitlines()
    rows = [dict(zip(header.split(";"), line.split(";"), strict=True)) for line in lines]
    golden = next(row for row in rows if row["ORIG_ID"] == "F001")
    assert [golden[name] for name in ("H_WEEK", "H_W_START", "H_W_S1", "M5", "C_INDEX")] == [
        *("29", "2021-07-19", "2021-07-19", "TRUE", "NA")
    ]
    done = s4c("practices", "export", tmp_path / "mdb3.arrow", "--format", "mdb3", workspace=tmp_path)
    assert done.returncode == 0, done.stderr
    # In reference mode there is no evidence, and what lay there goes.
    text = (tmp_path / "s4c.toml").read_text()
    (tmp_path / "s4c.toml").write_text(text + 'mode = "reference"\n')
    assert s4c("run", workspace=tmp_path).returncode == 0
    assert not list(tmp_path.glob("markers/l4c-evidence/2021/*.arrow"))
