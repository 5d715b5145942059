"""The series of the demo's real imagery: compacted and raw are the same."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from support.chain import Chain
from support.cli import DEMO_DATA, s4c, s4c_json
from support.season import same

from s4c_hpc.catalog import scan
from s4c_hpc.cli.main import main
from s4c_hpc.config import Config, load_config
from s4c_hpc.core.stage import stage
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import import_parcels, read_attributes
from s4c_hpc.series import open_series, read_series, read_set

ROOT = Path(__file__).parents[1]
STAGES = ("mask", "index", "gather", "stats", "compact", "series")


def settings(workspace: Workspace) -> Config:
    return load_config(workspace.config, environment={"S4C_DEMO_DATA": str(DEMO_DATA)}).config


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The demo up to its series."""
    workspace = Workspace(tmp_path_factory.mktemp("series") / "s4c-demo")
    workspace.root.mkdir()
    workspace.config.write_text((ROOT / "configs" / "demo.toml").read_text())
    config = settings(workspace)
    scan(config, workspace)
    import_parcels(None, workspace, config)
    made = Chain(workspace)
    made.run(config, STAGES)
    return made


def test_compacted_is_raw_for_every_parcel_date_and_column(chain: Chain) -> None:
    columns: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted((chain.workspace.root / "tiles").rglob("series/s2/*/*.arrow")):
        file = read_series(path)
        columns[file.header.product] = {name: file.values(name) for name in ("NewID", *file.names)}
    assert len(columns) == 23
    series = open_series(chain.workspace)
    compared = 0
    for new_id in range(1, 19):
        (season,) = series.parcel(new_id)
        assert [a.product for a in season.acquisitions] == sorted(columns)
        raw = [{n: v[of["NewID"] == new_id] for n, v in of.items()} for _, of in sorted(columns.items())]
        for name in season.columns:
            assert same(season.values(name), np.concatenate([of[name] for of in raw]))
            compared += len(raw)
    assert compared == 18 * 23 * (8 + 16 * 8)
    assert len(read_set(chain.workspace, "FREISING").blocks) == 7


def test_the_same_bytes_again(chain: Chain) -> None:
    config = settings(chain.workspace)
    rows = chain.plan(config, STAGES)
    for name in ("compact", "series"):
        for task in rows[name]:
            before = [chain.path(p).read_bytes() for p in task.outputs]
            chain.run_task(stage(name), task, config)
            assert [chain.path(p).read_bytes() for p in task.outputs] == before
            size, most = chain.sizes(task)
            assert size <= most


def here(chain: Chain, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The ``s4c`` command in this process (its start takes longer than its work): exit code, output, talk."""
    old_arguments, old_mask = sys.argv, os.umask(0o027)
    sys.argv = ["s4c", *arguments, "--workspace", str(chain.workspace.root)]
    code = 0
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("S4C_DEMO_DATA", str(DEMO_DATA))
            main()
    except SystemExit as leave:
        code = int(leave.code or 0)
    finally:
        sys.argv = old_arguments
        os.umask(old_mask)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


class TestCommands:
    def test_list(self, chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
        _, printed, _ = here(chain, capsys, "series", "list", "--json")
        (row,) = json.loads(printed)
        assert (row["tile"], row["acquisitions"], row["months"], row["compacted"]) == ("FREISING", 23, 7, 7)
        assert (row["first"], row["last"]) == ("2018-02-13", "2018-08-27")

    def test_show_by_either_id(self, chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
        ids = read_attributes(chain.workspace, "v0001", ["NewID", "ori_id"]).to_pylist()
        own = next(r["ori_id"] for r in ids if r["NewID"] == 7)
        by_number = s4c_json("series", "show", "7", "--variable", "ndvi", workspace=chain.workspace.root)
        options = ["--own"] if own.isdecimal() else []
        _, printed, _ = here(chain, capsys, "series", "show", own, *options, "--variable", "ndvi", "--json")
        assert json.loads(printed) == by_number
        assert len(by_number["rows"]) == 23
        assert by_number["columns"]["ndvi_mean"]["unit"] == "1"
        assert by_number["filled"] is None

    def test_filled_values_stand_beside_the_observed_ones(
        self, chain: Chain, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ("--variable", "ndvi", "--fill", "linear", "--max-gap-days", "20")
        done = s4c("series", "show", "3", *options, "--csv", workspace=chain.workspace.root)
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert rows[0]["datetime"] == "2018-02-13T10:15:59Z"
        (season,) = open_series(chain.workspace).parcel(3)
        observed = [float(row["ndvi_mean"] or "nan") for row in rows]
        np.testing.assert_allclose(observed, season.values("ndvi_mean"), rtol=1e-6)
        assert all(row["ndvi_mean__linear_20d"] == row["ndvi_mean"] for row in rows if row["ndvi_mean"])
        _, printed, _ = here(chain, capsys, "series", "show", "3", *options, "--json")
        assert json.loads(printed)["filled"] == {"gap_fill": "linear", "max_gap_days": "20"}

    def test_a_plot_is_a_file_of_its_own(
        self, chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "ndvi.svg"
        code, printed, _ = here(chain, capsys, "series", "show", "3", "--variable", "ndvi", "--plot", str(out))
        assert (code, printed.strip()) == (0, str(out))
        svg = ET.fromstring(out.read_text())  # noqa: S314 - our own file
        assert svg.tag.endswith("svg")
        assert len([e for e in svg.iter() if e.get("class") == "date"]) == 23
        assert ".point" in out.read_text(), "it brings its colours"

    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            (["4711"], 4, "there is no parcel 4711"),
            (["nowhere"], 4, "no parcel has the id 'nowhere'"),
            (["3", "--variable", "lai"], 6, "no column is lai and mean; variables are b02"),
            (["3", "--plot", "x.svg"], 4, "a plot has room for one column, not for 16"),
            (["3", "--plot", "x.svg", "--fill", "linear"], 3, "a plot shows what was observed"),
            (["3", "--every-days", "5"], 3, "--every-days needs --fill linear"),
        ],
    )
    def test_what_is_not_there_is_named(
        self, chain: Chain, capsys: pytest.CaptureFixture[str], options: list[str], code: int, words: str
    ) -> None:
        found, _, said = here(chain, capsys, "series", "show", *options)
        assert found == code
        assert words in said

    def test_nothing_before_the_first_run(self, tmp_path: Path) -> None:
        s4c("init", tmp_path)
        assert s4c("series", "list", workspace=tmp_path).returncode == 6
