"""A season as one folder: all sets, all facts, the parcels, for all or some of them."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.cli import s4c, s4c_json
from support.exports import MOWN, export_space, observations_of
from support.markers import MarkerSpace

from s4c_hpc.config import load_config
from s4c_hpc.core.errors import InputError, NoInputsError
from s4c_hpc.core.ipc import write_ipc
from s4c_hpc.export import export_season, whole_season
from s4c_hpc.export.whole_season import is_of_season
from s4c_hpc.markers import export_markers

FILES = {
    "parcels", "mdb1", "mdb1_columns", "crop_types", "mowing_events", "mowing_parcels", "practices",
    "practice_evidence",
}  # fmt: skip


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> MarkerSpace:
    return export_space(tmp_path_factory.mktemp("season"))


def values_in(table: pa.Table) -> dict[tuple[int, str], float]:
    ids = table["NewID"].to_pylist()
    return {
        (i, name): float(v)
        for name in table.column_names[1:]
        for i, v in zip(ids, table[name].to_pylist(), strict=True)
        if not math.isnan(v)
    }


def test_everything_is_there(space: MarkerSpace, tmp_path: Path) -> None:
    listed: list[dict[str, Any]] = s4c_json("export", "season", tmp_path / "out", workspace=space.root)
    assert {Path(f["file"]).stem for f in listed} == FILES
    for file in listed:
        path = tmp_path / "out" / file["file"]
        there = pq.read_metadata(path)
        assert (path.stat().st_size, there.num_rows) == (file["n_bytes"], file["n_rows"])
    assert values_in(pq.read_table(tmp_path / "out" / "mdb1.parquet")) == observations_of(space)
    assert len(geopandas.read_parquet(tmp_path / "out" / "parcels.parquet")) == 18
    field = pq.read_schema(tmp_path / "out" / "crop_types.parquet").field("light")
    assert field.metadata[b"long_name"].startswith(b"Check of the declaration"), "columns say what they mean"
    contents = json.loads((tmp_path / "out" / "season.json").read_text())
    assert (contents["site"], contents["season"]) == ("site", ["2018-01-01", "2018-12-31"])
    assert contents["files"] == listed
    sources = {s["file"]: s for s in contents["sources"]}
    assert set(sources) == {str(p.relative_to(space.root)) for p in space.workspace.markers.glob("*/*/*.arrow")}
    may = sources["markers/mdb1/2018-05/site_FREISING.arrow"]
    assert (may["products"], may["missing"], may["parcels_version"]) == (2, 0, "v0001")


def test_some_parcels(space: MarkerSpace, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("2\n7\n")
    done = s4c("export", "season", tmp_path / "out", "--ids", tmp_path / "ids.txt", "--format", "arrow",
               workspace=space.root)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in FILES - {"mdb1_columns", "parcels"}:
        table = pa.ipc.open_file(tmp_path / "out" / f"{name}.arrow").read_all()
        expected = [2] * len(MOWN[2]) if name == "mowing_events" else [2, 7]
        assert table["NewID"].to_pylist() == expected, name
    assert pq.read_table(tmp_path / "out" / "parcels.parquet")["NewID"].to_pylist() == [2, 7]


def test_a_folder_is_replaced_on_request_only(space: MarkerSpace, tmp_path: Path) -> None:
    config = load_config(space.workspace.config).config
    export_season(space.workspace, config, tmp_path / "out")
    with pytest.raises(InputError, match="exists already; replace it with --force"):
        export_season(space.workspace, config, tmp_path / "out")
    export_season(space.workspace, config, tmp_path / "out", ids=[1], force=True)
    assert pq.read_metadata(tmp_path / "out" / "mdb1.parquet").num_rows == 1
    (tmp_path / "theirs").mkdir()
    with pytest.raises(InputError, match="no export of a season"):
        export_season(space.workspace, config, tmp_path / "theirs", force=True)
    with pytest.raises(InputError, match="1 of 2 are no parcels: NewID 99"):
        export_season(space.workspace, config, tmp_path / "other", ids=[1, 99])
    assert {p.name for p in tmp_path.iterdir()} == {"out", "theirs"}, "nothing is left behind"


def test_a_folder_that_somebody_else_makes_meanwhile_stays(
    space: MarkerSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, real = load_config(space.workspace.config).config, export_markers

    def slow(*args: Any, **options: Any) -> Any:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "theirs").write_text("")
        return real(*args, **options)

    monkeypatch.setattr(whole_season, "export_markers", slow)
    with pytest.raises(InputError, match="out: cannot be written"):
        export_season(space.workspace, config, tmp_path / "out")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "theirs"]


def test_a_set_that_has_none_of_the_parcels_is_left_out(space: MarkerSpace, tmp_path: Path) -> None:
    """An import of a sample beside our own series: facts and other sets are still wanted."""
    (path,) = space.workspace.markers.glob("mdb1/2018-05/*.arrow")
    table = pa.ipc.open_file(path).read_all()
    few = space.workspace.markers / "few" / "2018-05" / path.name
    few.parent.mkdir(parents=True)
    write_ipc(few, table.schema, table.slice(0, 3).combine_chunks().to_batches())
    told: list[str] = []
    try:
        config = load_config(space.workspace.config).config
        written = export_season(space.workspace, config, tmp_path / "out", ids=[7], tell=told.append)
    finally:
        few.unlink()
    assert {Path(w.file).stem for w in written} == FILES
    assert told == ["1 of 1 parcels have no markers of set few: NewID 7"]


def test_numbers_that_are_no_parcels(space: MarkerSpace, tmp_path: Path) -> None:
    config = load_config(space.workspace.config).config
    with pytest.raises(InputError, match="not NewIDs, which are int32: 1000000000000"):
        export_season(space.workspace, config, tmp_path / "out", ids=[1, 10**12])


def test_another_season_is_left_out(space: MarkerSpace, tmp_path: Path) -> None:
    config = load_config(space.workspace.config, flags=["site.season_start=2019-01-01", "site.season_end=2019-12-31"])
    with pytest.raises(NoInputsError, match="nothing of the season 2019-01-01 to 2019-12-31"):
        export_season(space.workspace, config.config, tmp_path / "out")


@pytest.mark.parametrize(
    ("period", "belongs"),
    [
        ("2018", True), ("2017", False), ("2017-10", True), ("2017-09", False), ("2018-09", True), ("2018-10", False),
        ("2017-10-01_2018-09-30", True), ("2016-10-01_2017-09-30", False),
    ],
)  # fmt: skip
def test_a_season_over_new_year(period: str, belongs: bool) -> None:
    assert is_of_season(period, dt.date(2017, 10, 1), dt.date(2018, 9, 30)) is belongs
