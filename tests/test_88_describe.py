"""``s4c markers describe``: what every column means, before a run and after it, from one source."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.cli import s4c
from support.report_workspace import freising_config, write_markers

from s4c_hpc.core.errors import NoInputsError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.mowing.contract import MowingHeader, event_schema, parcel_schema
from s4c_hpc.practices.product import product_schema
from s4c_hpc.report.describe import by_set, describe
from s4c_hpc.report.questions import QUESTIONS

TABLES = ("l4a", "l4b", "l4b-parcels", "l4c", "l4c-evidence")
NOTHING = MowingHeader(set="", period="", site="", tile="", parcels="", mode="", rules="", task="")


def test_every_column_of_every_contract_is_there_with_a_meaning() -> None:
    found = by_set(describe(None, None))
    assert tuple(found) == ("features", *TABLES)
    schemas = {
        "l4b": event_schema(NOTHING),
        "l4b-parcels": parcel_schema(NOTHING),
        "l4c": product_schema({}, tillage=True, improved=True),
    }
    for name, schema in schemas.items():
        assert {one.name for one in found[name]} == set(schema.names)
    assert not [one for one in describe(None, None) if not one.meaning]


def test_every_column_of_practices_has_the_rule_behind_it_and_codes_where_it_has_any() -> None:
    found = {one.name: one for one in describe(None, None, "l4c")}
    assert not [name for name, one in found.items() if not one.rule and name != "NewID"]
    assert found["C_INDEX"].codes["4"] == "STRONG"
    assert "weigh most" in found["H_W_START"].rule
    assert found["M7"].codes["-3"] == "NR: not relevant"


def test_dated_sets_are_families_before_a_run_and_after_it(tmp_path: Path) -> None:
    config = freising_config()
    workspace = Workspace(tmp_path)
    before = {one.name: one for one in describe(workspace, config, "mdb1")}
    assert before["{sensor}_ndvi_{statistic}__{date}"].rule == "(B08 - B04) / (B08 + B04)"
    assert "p25" in before["{sensor}_ndvi_{statistic}__{date}"].codes
    assert before["{sensor}_{grid}_n_{class}__{date}"].codes["cloud"] == "pixels that are cloud"
    columns = {"s2_ndvi_mean": np.ones(3, np.float32), "s2_10m_n_cloud": np.ones(3, np.int32)}
    write_markers(workspace, config, "FREISING", np.arange(3, dtype=np.int32), {"20180507": columns})
    after = {one.name: one for one in describe(workspace, config, "mdb1")}
    assert list(after) == ["NewID", "s2_ndvi_{statistic}__{date}", "s2_10m_n_{class}__{date}"]
    assert list(after["s2_ndvi_{statistic}__{date}"].codes) == ["mean"]


def test_a_set_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(NoInputsError, match=r"no marker set 'l5x'.*l4c-evidence"):
        describe(None, None, "l5x")


def test_questions_name_columns_that_there_are() -> None:
    found = by_set(describe(None, None))
    for one in QUESTIONS:
        assert set(one.sets) <= set(found)
        for name in one.sets:
            assert re.search(rf"\b{name}(:| has)", one.answer)
            assert any(column.name in one.answer for column in found[name])
    asked = [one.question for one in QUESTIONS]
    assert "Was fallow land mulched or mown?" in asked
    assert "Is the catch crop there?" in asked


def test_the_command_works_where_there_is_no_workspace(tmp_path: Path) -> None:
    plain = s4c("markers", "describe", "l4c", "-w", tmp_path)
    assert plain.returncode == 0, plain.stderr
    assert "C_INDEX" in plain.stdout
    assert "Was fallow land mulched or mown?" in plain.stdout
    assert "compl" not in plain.stdout
    rows = list(csv.DictReader(io.StringIO(s4c("markers", "describe", "--csv", "-w", tmp_path).stdout)))
    assert {row["set"] for row in rows} == {"features", *TABLES}
    document = json.loads(s4c("markers", "describe", "l4b", "--json", "-w", tmp_path).stdout)
    assert [one["column"] for one in document["columns"]][:4] == ["NewID", "event", "start", "end"]
    markdown = s4c("markers", "describe", "l4c", "--markdown", "-w", tmp_path).stdout
    assert markdown.startswith("## l4c\n\n| column |")
    assert "| `C_INDEX` |" in markdown
    assert s4c("markers", "describe", "nothing", "-w", tmp_path).returncode == 6
    assert s4c("markers", "describe", "--csv", "--json", "-w", tmp_path).returncode == 2
