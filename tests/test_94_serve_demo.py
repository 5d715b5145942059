"""The demo from its images to answers: nothing made by hand between what stages computed and what clients read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.report_workspace import FREISING, ROOT
from support.runs import InlineExecutor
from support.serving import Served, served

from s4c_hpc.catalog import scan
from s4c_hpc.config import load_config
from s4c_hpc.core.errors import ExitCode
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.execute import run
from s4c_hpc.parcels import import_parcels, read_attributes
from s4c_hpc.serve.results import KINDS
from s4c_hpc.serve.roles import Role

FEWER = {
    "bands": 'bands = ["B04", "B08", "B11"]',
    "indices": 'indices = ["ndvi", "bsi"]',
    "statistics": 'statistics = ["count", "mean"]',
}
MORE = """
[mowing]
enabled = true
[features]
sets = ["optical"]
optical = ["ndvi"]
[classify]
enabled = true
classes = "declared"
class_min_parcels = 3
sampling = "none"
folds = 2
trees = 20
lc = []
"""
SEASON = "/sites/freising/seasons/latest"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All stages of the demo, mowing (of cereals: their harvest looks alike) and crop types beside its practices."""
    root = tmp_path_factory.mktemp("demo")
    text = (ROOT / "configs" / "demo.toml").read_text().replace("${S4C_DEMO_DATA}", str(FREISING))
    text = re.sub(r"(?m)^(bands|indices|statistics) = \[.*$", lambda found: FEWER[found[1]], text)
    (root / "s4c.toml").write_text(text + MORE)
    workspace, config = Workspace(root), load_config(root / "s4c.toml").config
    import_parcels(None, workspace, config)
    scan(config, workspace)
    result = run(workspace, config, executor=InlineExecutor())
    assert result.exit_code is ExitCode.OK, result.status
    return workspace


@pytest.fixture(scope="module")
def service(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("service"), workspace, anonymous=Role.VIEWER) as one:
        yield one


def of_file(workspace: Workspace, name: str) -> pa.Table:
    """By NewID, as answers are; rows of a parcel in the order of the file."""
    (path,) = (workspace.markers / name).glob("*/*.arrow")
    found: pa.Table = pa.ipc.open_file(path).read_all()
    return found.take(pa.array(np.argsort(found["NewID"].to_numpy(), kind="stable")))


@pytest.mark.parametrize("kind", list(KINDS))
def test_results_are_those_of_the_files(service: Served, workspace: Workspace, kind: str) -> None:
    file = of_file(workspace, KINDS[kind][0])
    assert file.num_rows
    answer = service.get(f"{SEASON}/{kind}", None, format="arrow")
    found = pa.ipc.open_stream(answer.content).read_all()
    for name in file.column_names:
        assert found[name].to_pylist() == pytest.approx(file[name].to_pylist(), nan_ok=True, abs=0), name
    values = service.get(f"{SEASON}/{kind}", None).json()["values"]
    for field in file.schema:
        for said, held in zip(values[field.name], file[field.name].to_pylist(), strict=True):
            if isinstance(held, float):
                assert (said is None) if math.isnan(held) else np.float32(said) == np.float32(held)
            else:
                assert said == (None if held is None else str(held) if pa.types.is_date(field.type) else held)


def test_pages_of_two_parcels_hold_all_decisions_in_order(service: Served, workspace: Workspace) -> None:
    found: list[Any] = []
    after = -1
    with service.client() as client:
        address = f"{SEASON}/evidence?limit=2"
        while address:
            answer = client.get(address)
            page = answer.json()["values"]["NewID"]
            assert min(page) > after
            found, after = found + page, max(page)
            address = answer.links.get("next", {}).get("url", "")
    assert found == of_file(workspace, KINDS["evidence"][0])["NewID"].to_pylist()


def test_a_viewer_reads_no_id_of_the_declaration_in_what_was_computed(service: Served, workspace: Workspace) -> None:
    names = [name for name in read_attributes(workspace, "v0001", ["ori_id"])["ori_id"].to_pylist() if len(name) > 3]
    for number in (1, 7, 16):
        for what in ("", "/timeline", "/picture", "/versions", "/peers", "/series"):
            answer = service.get(f"{SEASON}/parcels/{number}{what}", None)
            assert answer.status_code == 200, answer.text
            assert not [name for name in names if name in answer.text], what
    for z, x, y in ((0, 0, 0), (8, 136, 88), (14, 8723, 5672)):
        tile = service.get(f"{SEASON}/tiles/{z}/{x}/{y}", None).content
        assert not [name for name in names if name.encode() in tile]


def test_words_and_numbers_of_a_season_agree(service: Served, workspace: Workspace) -> None:
    evidence = of_file(workspace, KINDS["evidence"][0]).to_pylist()
    (harvest,) = [row for row in evidence if row["NewID"] == 7 and row["decision"] == "harvest"]
    words = service.get(f"{SEASON}/parcels/7/timeline", None).json()
    (verdict,) = [one["verdict"] for one in words["decisions"] if one["verdict"].startswith("Harvest")]
    assert str(harvest["start"]) in verdict
    assert str(harvest["end"]) in verdict
    themes = {one["name"] for one in service.get(f"{SEASON}/map", None).json()["themes"]}
    assert {"crop", "class", "light", "harvest", "mowings"} <= themes
