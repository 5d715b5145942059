"""Tokens, limits and the audit log as such; the command that makes tokens."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.cli import cli_environment
from typer.testing import CliRunner, Result

from s4c_hpc.cli.main import app
from s4c_hpc.core.errors import ConfigError, InputError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.serve.audit import AuditLog, Line, now
from s4c_hpc.serve.limits import Buckets
from s4c_hpc.serve.problems import public
from s4c_hpc.serve.roles import Caller, Role, visible
from s4c_hpc.serve.tokens import TokenFile


def test_a_token_is_kept_as_its_hash_alone_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "secrets" / "tokens.json")
    token = file.add("anna", {"tum": Role.VIEWER})
    text = file.path.read_text()
    assert token not in text
    secret = token.split("_", 2)[2]
    assert secret not in text
    assert hashlib.sha256(token.encode()).hexdigest() in text
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    found = file.caller(token)
    assert found is not None
    assert (found.name, found.role_at("tum"), found.role_at("elsewhere")) == ("anna", Role.VIEWER, None)
    assert len(secret) == 43, "256 bits, six a character"


def test_tokens_are_never_the_same(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    made = {file.add(f"n{i}", {"*": Role.ADMIN}) for i in range(20)}
    assert len({token.split("_", 2)[2] for token in made}) == 20


@pytest.mark.parametrize(
    "wrong", ["", "s4c", "s4c_", "s4c__", "s4c_{id}_", "s4c_{id}_{secret}x", "x4c_{id}_{secret}", "{secret}"]
)
def test_a_token_is_taken_whole_or_not_at_all(tmp_path: Path, wrong: str) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    _, number, secret = file.add("anna", {"tum": Role.VIEWER}).split("_", 2)
    assert file.caller(f"s4c_{number}_{secret}") is not None
    assert file.caller(wrong.format(id=number, secret=secret)) is None
    assert file.caller("s4c_" + number + "_\udcff") is None, "what is no text in any encoding"


def test_a_name_has_one_token_until_it_is_revoked(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    first = file.add("anna", {"tum": Role.VIEWER})
    with pytest.raises(InputError, match="revoke it first"):
        file.add("anna", {"tum": Role.ADMIN})
    file.revoke("anna")
    second = file.add("anna", {"tum": Role.ADMIN})
    assert file.caller(first) is None
    assert file.caller(second) is not None
    with pytest.raises(InputError, match="valid are those of anna"):
        file.revoke("berta")


def test_another_process_that_adds_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    code = (
        "import sys; from pathlib import Path; from s4c_hpc.serve.tokens import TokenFile; "
        "from s4c_hpc.serve.roles import Role\n"
        "for i in range(10): TokenFile(Path(sys.argv[1])).add(f'{sys.argv[2]}{i}', {'*': Role.VIEWER})"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("a", "b")]
    file = TokenFile(path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda i: file.add(f"c{i}", {"*": Role.VIEWER}), range(10)))
    assert [other.wait(60) for other in others] == [0, 0]
    assert len(file.entries()) == 30


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    token = file.add("anna", {"tum": Role.VIEWER})
    file.path.chmod(mode)
    with pytest.raises(ConfigError, match="others may read or write"):
        file.caller(token)


def test_a_file_in_the_workspace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ws")
    for folder in ("ws", "link"):
        with pytest.raises(ConfigError, match="in the workspace"):
            TokenFile(tmp_path / folder / "tokens.json", [Workspace(tmp_path / "ws")])


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"s4c-tokens-1": [{"name": "a"}]}', '{"s4c-tokens-2": []}'])
def test_a_damaged_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a file of tokens"):
        TokenFile(path).caller("s4c_x_y")


@pytest.mark.parametrize(
    "wrong", [{"expires": "2027-01-31"}, {"expires": 5}, {"sha256": 5}, {"sha256": "ä"}, {"name": None}]
)
def test_a_file_that_was_edited_lets_nobody_in_and_says_so(tmp_path: Path, wrong: dict[str, object]) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    token = file.add("anna", {"tum": Role.VIEWER})
    (values,) = json.loads(file.path.read_text())["s4c-tokens-1"]
    file.path.write_text(json.dumps({"s4c-tokens-1": [values | wrong]}))
    with pytest.raises(ConfigError, match="not a file of tokens"):
        TokenFile(file.path).caller(token)


def test_tokens_that_nobody_could_use_are_not_made(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    for name, roles, expires in (
        ("a", {"": Role.VIEWER}, None),
        (" ", {"tum": Role.VIEWER}, None),
        ("a\x1b[2J", {"tum": Role.VIEWER}, None),
        ("a", {"tum": Role.VIEWER}, past),
    ):
        with pytest.raises(InputError):
            file.add(name, roles, expires)
    assert not file.entries()


def test_roles_include_those_below() -> None:
    assert [[role.may(needed) for needed in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    names = ["NewID", "ori_id", "ori_hold", "ori_crop", "stratum", "src_tile", "Farmer", "newid"]
    assert visible(names, Role.VIEWER) == ["NewID", "ori_crop", "stratum"]
    assert visible(names, Role.OPERATOR) == names
    caller = Caller("a", {"*": Role.ADMIN, "tum": Role.VIEWER}, "k")
    assert (caller.role_at("tum"), caller.role_at("else")) == (Role.VIEWER, Role.ADMIN), "what is named counts first"


def test_buckets_fill_with_time() -> None:
    time = 0.0
    buckets = Buckets(2.0, 3, keys_max=2, clock=lambda: time)
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    time = 0.5
    assert [buckets.wait_s("a"), buckets.wait_s("a") > 0] == [0, True]
    time = 100.0
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5], "no fuller than full"
    assert [buckets.wait_s(key) for key in ("b", "c")] == [0, 0]
    assert buckets.wait_s("a") == 0, "forgotten, because two others came since"


def line(i: int) -> Line:
    return Line(when=now(), who="a", address="", method="GET", route="/", site="tum", parameters=(), status=200, ms=i)


def test_the_log_goes_on_when_it_was_moved_away(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.write(line(1))
    log.path.rename(tmp_path / "audit.1")
    log.write(line(2))
    with log.path.open("a") as stream:
        stream.write('{"half of a li')
    assert [one["ms"] for one in log.tail(10, "tum")] == [2]
    assert json.loads((tmp_path / "audit.1").read_text())["ms"] == 1
    assert log.tail(10, "other") == []
    log.close()


def test_a_log_that_cannot_be_opened_again_keeps_its_hands_off_other_files(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "logs" / "audit.jsonl")
    log.write(line(1))
    (tmp_path / "logs").rename(tmp_path / "old")
    with pytest.raises(FileNotFoundError):
        log.write(line(2))
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)  # takes the first number that is free
    (tmp_path / "logs").mkdir()
    log.write(line(3))
    os.write(other, b"still ours")
    os.close(other)
    assert (tmp_path / "other").read_text() == "still ours"
    assert [one["ms"] for one in log.tail(10, "tum")] == [3]
    log.close()


def test_half_of_a_line_is_no_line_and_spoils_no_other(tmp_path: Path) -> None:
    """What a disk leaves that is nearly full: here a limit on the size of files."""
    log = AuditLog(tmp_path / "audit.jsonl")
    log.write(line(1))
    size = log.path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        with pytest.raises(OSError, match="part"):
            log.write(line(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert log.path.stat().st_size == size + 10
    log.write(line(3))
    assert [one["ms"] for one in log.tail(10, "tum")] == [3, 1]
    log.close()


def test_the_log_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        AuditLog(tmp_path / "audit.jsonl")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/data/ws/parcels/v0001/parcels.parquet: cannot be read", "parcels.parquet: cannot be read"),
        ("no such file '/a/b c'", "no such file 'b c'"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("n / m and 1/2", "n / m and 1/2"),
    ],
)
def test_sentences_lose_their_paths(text: str, said: str) -> None:
    assert public(text) == said


def told(*arguments: str | Path) -> Result:
    """``s4c serve token ...`` in this process."""
    return CliRunner().invoke(app, ["serve", "token", *map(str, arguments)], catch_exceptions=False)


def test_tokens_by_command(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    sites = ("--site", "tum", "--site", "bav=operator")
    added = told("add", "anna", "--role", "viewer", *sites, "--expires", "90d", "--tokens", path)
    found = TokenFile(path).caller(added.stdout.strip())
    assert found is not None
    assert dict(found.roles) == {"tum": Role.VIEWER, "bav": Role.OPERATOR}
    listed = told("list", "--json", "--tokens", path)
    (row,) = json.loads(listed.stdout)
    assert (row["name"], row["state"], row["roles"]) == ("anna", "valid", "tum=viewer, bav=operator")
    left = dt.datetime.fromisoformat(row["expires"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=89) < left <= dt.timedelta(days=90)
    assert added.stdout.strip() not in listed.stdout
    assert "revoked" in told("revoke", "anna", "--tokens", path).stderr
    assert TokenFile(path).caller(added.stdout.strip()) is None
    for wrong in (["--role", "king", "--site", "tum"], ["--role", "admin", "--site", "tum", "--expires", "soon"]):
        with pytest.raises(ConfigError, match=r"king|soon"):
            told("add", "b", *wrong, "--tokens", path)


def test_tokens_lie_in_the_home_of_who_makes_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "s4c_hpc.cli", "serve", "token", "add", "a", "--role", "admin", "--site", "*"],
        env={**cli_environment(None), "XDG_CONFIG_HOME": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    assert done.stdout
    assert (tmp_path / "s4c" / "tokens.json").stat().st_mode & 0o777 == 0o600
