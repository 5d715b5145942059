"""Pseudonyms: no byte of a workspace names anybody, and with the key everything is known again."""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import os
import stat
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow.parquet as pq
import pytest
from support.cli import s4c
from support.parcels import make_config, squares
from support.privacy import clear_in_files

from s4c_hpc.core.errors import ConfigError, ExitCode, InputError, S4cError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.parcels import identify, import_parcels, read_attributes
from s4c_hpc.parcels.identify import Identified
from s4c_hpc.parcels.pseudonyms import read_key

PHRASE = "0123456789abcdef0123456789abcdef"
"""A key."""
N = 30
IDS = [f"DEBYLI{i:08d}" for i in range(N)]
FARMS = [f"2764{i // 3:06d}" for i in range(N)]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return a_key(tmp_path / "parcels.key")


def a_key(path: Path, text: str = PHRASE) -> Path:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def config_of(key_file: Path | None, **keys: Any) -> Any:
    pseudonyms: dict[str, Any] = {} if key_file is None else {"pseudonyms": {"key_file": str(key_file)}}
    return make_config(id_columns=["flik", "part"], holding_columns=["farm"], crop_column="crop", **pseudonyms, **keys)


def declaration(root: Path, n: int = N, name: str = "a.gpkg", **columns: Any) -> Path:
    made = {"flik": IDS[:n], "part": range(n), "farm": FARMS[:n], "crop": ["115"] * n, "soil": [1.5] * n} | columns
    gpd.GeoDataFrame(made, geometry=list(squares(n)), crs="EPSG:32632").to_file(root / name, engine="pyogrio")
    return root / name


def test_ids_become_keyed_hashes(tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
    report = import_parcels(declaration(tmp_path), workspace, config_of(key_file))
    rows = read_attributes(workspace, report.version).to_pylist()

    def hashed(kind: str, text: str) -> str:
        return hmac.new(PHRASE.encode(), f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()[:32]

    assert {r["ori_id"] for r in rows} == {hashed("parcel", f"{i}-{n}") for n, i in enumerate(IDS)}
    assert {r["ori_hold"] for r in rows} == {hashed("holding", farm) for farm in FARMS}
    assert list(rows[0])[:4] == ["NewID", "ori_id", "ori_hold", "ori_crop"]
    assert {"soil", "crop"} <= set(rows[0])
    assert not {"flik", "part", "farm"} & set(rows[0])
    told = json.loads((report.path / "report.json").read_text())["pseudonyms"]
    assert told["columns_left_out"] == ["flik", "part", "farm"]
    assert PHRASE not in json.dumps(told)


def test_columns_that_repeat_ids_are_left_out(tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
    file = declaration(
        tmp_path,
        copy=IDS,
        inside=[f"https://portal/{i}" for i in IDS],
        neighbour=[*IDS[1:], ""],
        number=[int(farm) for farm in FARMS],
        crop_code=[100 + i % 3 for i in range(N)],
        owner=["Maria Huber"] * N,
        area=[float(i) for i in range(N)][::-1],
    )
    config = config_of(key_file).model_copy(deep=True)
    pseudonyms = config.parcels.pseudonyms.model_copy(update={"drop_columns": ("owner",)})
    config = config.model_copy(update={"parcels": config.parcels.model_copy(update={"pseudonyms": pseudonyms})})
    report = import_parcels(file, workspace, config)
    kept = read_attributes(workspace, report.version).column_names
    assert kept[-4:] == ["crop", "soil", "crop_code", "area"]
    assert any("copy, inside, neighbour, number, owner" in note for note in report.notes)
    assert clear_in_files(workspace.root, [*IDS, *FARMS, "Huber"]) == {}


def test_no_byte_of_a_workspace_holds_an_id(tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
    config = config_of(key_file, mode="update")
    for n in (N, N - 4, N - 2):
        import_parcels(declaration(tmp_path, n), workspace, config)
    assert len(list(workspace.parcels.iterdir())) == 3
    assert clear_in_files(workspace.root, [*IDS, *FARMS]) == {}
    # The search would find them.
    clear = Workspace(tmp_path / "clear")
    import_parcels(declaration(tmp_path), clear, config_of(None))
    assert any("parcels.parquet" in name for name in clear_in_files(clear.root, IDS))


def test_numbers_stay_with_the_key(tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
    import_parcels(declaration(tmp_path, 10), workspace, config_of(key_file))
    first = {r["ori_id"]: r["NewID"] for r in read_attributes(workspace, "v0001").to_pylist()}
    moved = a_key(tmp_path / "elsewhere.key")
    import_parcels(declaration(tmp_path, 12), workspace, config_of(moved))
    second = {r["ori_id"]: r["NewID"] for r in read_attributes(workspace, "v0002").to_pylist()}
    assert len(second) == 12
    assert first.items() <= second.items()
    other = Workspace(tmp_path / "other")
    import_parcels(declaration(tmp_path, 12), other, config_of(a_key(tmp_path / "b.key", PHRASE[::-1])))
    assert not {r["ori_id"] for r in read_attributes(other, "v0001").to_pylist()} & second.keys()


def test_another_key_or_none_is_refused(tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
    file = declaration(tmp_path)
    import_parcels(file, workspace, config_of(key_file))
    other = a_key(tmp_path / "b.key", PHRASE[::-1])
    with pytest.raises(ConfigError, match=r"parcels v0001: the key is not the one of these parcels \(fingerprint"):
        import_parcels(file, workspace, config_of(other, mode="update"))
    with pytest.raises(ConfigError, match="no key is configured"):
        import_parcels(file, workspace, config_of(None))
    clear = Workspace(tmp_path / "clear")
    import_parcels(file, clear, config_of(None))
    with pytest.raises(ConfigError, match="clear ids"):
        import_parcels(file, clear, config_of(key_file))


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"part": [0] * N, "flik": [IDS[0]] * 2 + IDS[2:]}, "1 ids occur more than once, in 2 of 30 rows: rows 1, 2"),
        ({"flik": [None, *IDS[1:]]}, "has no value in 1 of 30 rows: 1"),
        ({"farm": [None, *FARMS[1:]]}, "has no value in 1 of 30 rows: 1"),
    ],
)
def test_messages_name_rows(
    tmp_path: Path, workspace: Workspace, key_file: Path, columns: dict[str, Any], what: str
) -> None:
    with pytest.raises(InputError, match=what) as caught:
        import_parcels(declaration(tmp_path, **columns), workspace, config_of(key_file))
    text = f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"
    assert not any(name in text for name in (*IDS, *FARMS))


def test_what_a_reader_says_is_not_quoted(tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
    file = tmp_path / "a.geojson"
    file.write_text('{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"flik": DEBYLI}}]}')
    with pytest.raises(InputError, match="why is not shown") as caught:
        import_parcels(file, workspace, config_of(key_file))
    assert "DEBYLI" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


class TestKey:
    def test_a_key_of_the_environment(
        self, tmp_path: Path, workspace: Workspace, key_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = make_config(pseudonyms={"key_env": "PARCEL_KEY"}).parcels.pseudonyms
        of_file = make_config(pseudonyms={"key_file": key_file}).parcels.pseudonyms
        assert settings is not None
        assert of_file is not None
        with pytest.raises(ConfigError, match="environment variable PARCEL_KEY: is not set"):
            read_key(settings, workspace)
        monkeypatch.setenv("PARCEL_KEY", PHRASE)
        key = read_key(settings, workspace)
        assert key.fingerprint == read_key(of_file, workspace).fingerprint
        assert PHRASE not in repr(key)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
    def test_others_must_not_have_it(self, key_file: Path, workspace: Workspace, mode: int) -> None:
        key_file.chmod(mode)
        with pytest.raises(ConfigError, match=rf"mode {mode:04o}\); chmod 600"):
            self.read(key_file, workspace)

    def test_it_is_ones_own(self, key_file: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: key_file.stat().st_uid + 1)
        with pytest.raises(ConfigError, match="belongs to someone else"):
            self.read(key_file, workspace)

    def test_it_does_not_lie_in_the_workspace(self, tmp_path: Path, workspace: Workspace) -> None:
        workspace.root.mkdir()
        inside = a_key(workspace.root / "parcels.key")
        link = tmp_path / "link.key"
        link.symlink_to(inside)
        for path in (inside, link, workspace.root / "x" / ".." / "parcels.key"):
            with pytest.raises(ConfigError, match="lies in the workspace"):
                self.read(path, workspace)

    def test_it_is_long_enough_and_a_file(self, tmp_path: Path, workspace: Workspace) -> None:
        with pytest.raises(ConfigError, match="the key has 8 bytes, 16 are the least"):
            self.read(a_key(tmp_path / "short.key", "01234567"), workspace)
        with pytest.raises(ConfigError, match="No such file"):
            self.read(tmp_path / "none.key", workspace)
        os.mkfifo(tmp_path / "pipe", 0o600)
        with pytest.raises(ConfigError, match="not a file"):
            self.read(tmp_path / "pipe", workspace)

    @staticmethod
    def read(path: Path, workspace: Workspace) -> None:
        settings = make_config(pseudonyms={"key_file": path}).parcels.pseudonyms
        assert settings is not None
        read_key(settings, workspace)

    def test_one_of_both(self) -> None:
        for keys in ({}, {"key_file": "a", "key_env": "B"}):
            with pytest.raises(ValueError, match="name one of key_file and key_env"):
                make_config(pseudonyms=keys)


class TestIdentify:
    def test_everybody_is_known_again(self, tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
        config = config_of(key_file, file=declaration(tmp_path))
        import_parcels(None, workspace, config)
        out = tmp_path / "safe" / "who.csv"
        assert identify(workspace, config.parcels, out) == Identified(N, "")
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        assert [p.name for p in out.parent.iterdir()] == ["who.csv"]
        known = {r["NewID"]: (r["ori_id"], r["ori_hold"]) for r in read_attributes(workspace, "v0001").to_pylist()}
        with out.open() as stream:
            told = list(csv.DictReader(stream))
        for i, row in enumerate(told):
            assert known[int(row["NewID"])] == (row["ori_id"], row["ori_hold"])
            assert (row["clear_flik"], row["clear_part"], row["clear_farm"]) == (IDS[i], str(i), FARMS[i])
        assert clear_in_files(workspace.root, [*IDS, *FARMS]) == {}

    def test_parcels_of_several_files(self, tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
        base, late = (declaration(tmp_path, n, name) for n, name in ((N - 1, "base.gpkg"), (N, "late.gpkg")))
        for file, mode in ((base, "replace"), (late, "incremental")):
            import_parcels(file, workspace, config_of(key_file, mode=mode))
        changed = declaration(tmp_path, 1, "changed.gpkg", farm=["new"])
        parcels = config_of(key_file, file=base).parcels
        missing = "1 of 30 parcels of v0002 is not in base.gpkg; add --file late.gpkg"
        assert identify(workspace, parcels, tmp_path / "a.csv") == Identified(N - 1, missing)
        out = tmp_path / "b.csv"
        assert identify(workspace, parcels, out, files=[base, late, changed]) == Identified(N, "")
        with out.open() as stream:
            told = {row["clear_part"]: row for row in csv.DictReader(stream)}
        assert sorted(int(row["NewID"]) for row in told.values()) == list(range(1, N + 1))
        assert (told["0"]["clear_farm"], told["1"]["clear_farm"]) == ("new", FARMS[1])

    def test_where_it_must_not_be_and_with_another_key(
        self, tmp_path: Path, workspace: Workspace, key_file: Path
    ) -> None:
        config = config_of(key_file, file=declaration(tmp_path))
        import_parcels(None, workspace, config)
        out = tmp_path / "who.csv"
        with pytest.raises(ConfigError, match="would lie in the workspace"):
            identify(workspace, config.parcels, workspace.root / "who.csv")
        other = config_of(a_key(tmp_path / "b.key", PHRASE[::-1]), file=config.parcels.file)
        with pytest.raises(ConfigError, match="not the one of these parcels"):
            identify(workspace, other.parcels, out)
        with pytest.raises(ConfigError, match="no key is named"):
            identify(workspace, config_of(None, file=config.parcels.file).parcels, out)
        assert not out.exists()
        out.write_text("mine")
        with pytest.raises(S4cError, match="exists already"):
            identify(workspace, config.parcels, out)
        assert out.read_text() == "mine"


def test_holdings_without_pseudonyms_stand_beside_ids(tmp_path: Path, workspace: Workspace) -> None:
    report = import_parcels(declaration(tmp_path), workspace, config_of(None))
    table = pq.read_table(report.path / "parcels.parquet")
    assert sorted(table["ori_hold"].to_pylist()) == sorted(FARMS)
    assert {"flik", "farm"} <= set(table.column_names)


@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        ({"before": [f"{a};{b}" for a, b in zip(IDS[1:] + IDS[:1], IDS[2:] + IDS[:2], strict=True)]}, False),
        ({"note": [f"see {IDS[3]}, then phone", *["nothing"] * (N - 1)]}, False),
        ({"note": ["", *[f"see {i.lower()}-1" for i in IDS[1:]]]}, False),
        ({"shout": [f"X{i.lower()}" for i in IDS]}, False),
        ({"neighbour": [int(farm) for farm in [*FARMS[3:], *FARMS[:3]]]}, False),
        ({"note": ["DEBYLI", *["debyli 27"] * (N - 1)]}, True),
        ({"number": [27_640_000 + i for i in range(N)]}, True),
    ],
)
def test_ids_of_other_parcels(
    tmp_path: Path, workspace: Workspace, key_file: Path, columns: dict[str, Any], kept: bool
) -> None:
    report = import_parcels(declaration(tmp_path, **columns), workspace, config_of(key_file))
    (name,) = columns
    assert (name in read_attributes(workspace, report.version).column_names) is kept
    told = [*IDS, *FARMS, *(i.lower() for i in IDS)]
    assert clear_in_files(workspace.root, told) == {}


def test_ids_of_several_words(tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
    flik = [f"DE-{i % 3}/{i:03d}" for i in range(N)]
    note = [f"(de 1/004), {i}" for i in range(N)]
    told = declaration(tmp_path, flik=flik, part=[0] * N, place=["DE 1, DE 2"] * N, note=note)
    report = import_parcels(told, workspace, config_of(key_file))
    names = read_attributes(workspace, report.version).column_names
    assert ("place" in names, "note" in names) == (True, False)


def test_a_crop_column_that_gives_ids_away_is_refused(tmp_path: Path, workspace: Workspace, key_file: Path) -> None:
    file = declaration(tmp_path, kind=[f"{i} wheat" for i in IDS])
    config = config_of(key_file)
    for name in ("kind", "flik"):
        with pytest.raises(ConfigError, match=f"the crop column '{name}' would be kept, and it gives ids away"):
            import_parcels(file, workspace, config, crop_column=name)
    assert not workspace.parcels.exists()


def test_a_check_does_not_tell_ids_into_the_workspace(tmp_path: Path, key_file: Path) -> None:
    root = tmp_path / "site"
    assert s4c("init", root).returncode == 0
    parcels = f'[parcels]\nid_columns = ["flik"]\npseudonyms = {{ key_file = "{key_file}" }}\n'
    site = '[site]\nname = "a"\nseason_start = 2024-01-01\nseason_end = 2024-12-31\n'
    (root / "s4c.toml").write_text(site + parcels)
    file = declaration(tmp_path, flik=[IDS[0]] * 2 + IDS[2:])
    link = tmp_path / "link"
    link.symlink_to(root)
    for out in (root / "check", root / "a" / "b", link / "check"):
        done = s4c("parcels", "check", file, "-o", out, "--id-column", "flik")
        assert (done.returncode, "a check tells clear ids" in done.stderr) == (ExitCode.CONFIG, True), done.stderr
        assert not out.exists()
    with_config = s4c("parcels", "check", file, "-o", tmp_path / "out", "--config", root / "s4c.toml", "--no-pixels")
    assert with_config.returncode == ExitCode.INPUT
    assert clear_in_files(root, [*IDS, *FARMS]) == {}
    assert clear_in_files(tmp_path / "out", IDS).keys() == {"check.html", "check.json", "offenders.gpkg"}


def test_differences_and_lists_tell_no_id(tmp_path: Path, key_file: Path) -> None:
    workspace = Workspace(tmp_path / "site")
    assert s4c("init", workspace.root).returncode == 0
    for n in (N, N - 3):
        import_parcels(declaration(tmp_path, n), workspace, config_of(key_file))
    said = [s4c("parcels", *what, "-w", workspace.root) for what in (["diff"], ["diff", "--json"], ["list"], ["query"])]
    assert [done.returncode for done in said] == [ExitCode.PARTIAL, ExitCode.PARTIAL, 0, 0]
    assert not any(name in done.stdout + done.stderr for done in said for name in (*IDS, *FARMS))
