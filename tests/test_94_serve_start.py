"""Starting and ending the service: what it refuses, what it says, TLS, and the document of its routes."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.certificates import certificate
from support.cli import cli_environment, s4c
from support.serving import SITE, build_small, served

from s4c_hpc.core.errors import ConfigError
from s4c_hpc.core.workspace import Workspace
from s4c_hpc.serve.app import build_api
from s4c_hpc.serve.roles import Role
from s4c_hpc.serve.run import Options, application, check_exposure
from s4c_hpc.serve.sites import open_sites
from s4c_hpc.serve.tokens import TokenFile

GOLDEN = Path(__file__).parent / "data" / "serve" / "openapi.json"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return build_small(tmp_path_factory.mktemp("start") / "ws").workspace


@contextlib.contextmanager
def started(*arguments: str | Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """``s4c serve`` as a process, its address, and the lines before; ended by its handle."""
    process = subprocess.Popen(
        [sys.executable, "-m", "s4c_hpc.cli", "serve", "--port", "0", *map(str, arguments)],
        env=cli_environment(None, **environment),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines: list[str] = []
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.match(r"serving on (\S+)/v1 ", line):
                yield process, found[1], lines
                return
            lines.append(line)
        raise AssertionError("".join(lines))
    finally:
        process.kill()
        process.wait(30)
        if process.stderr is not None:
            process.stderr.close()


def test_a_session_on_ones_own_machine(workspace: Workspace, tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}
    with started("-w", workspace.root, **home) as (process, url, lines):
        (line,) = lines
        token = line.rsplit(" ", 1)[1].strip()
        assert process.stderr is not None
        assert process.stderr.readline() == f"map: {url}/v1/view/#token={token}\n"
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.get("/v1/sites").status_code == 401
            answer = client.get("/v1/sites", headers={"Authorization": f"Bearer {token}"}).json()
        assert [(one["site"], one["role"]) for one in answer["sites"]] == [(SITE, "admin")]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, "Ctrl-C is how it ends"
    assert not (tmp_path / "config").exists(), "this token is in no file"
    log = (tmp_path / "state" / "s4c" / "serve-audit.jsonl").read_text()
    assert [json.loads(line)["status"] for line in log.splitlines()] == [401, 200]
    assert token not in log


def test_an_anonymous_viewer_is_no_more_than_that(workspace: Workspace, tmp_path: Path) -> None:
    with served(tmp_path, workspace, anonymous=Role.VIEWER) as service:
        assert service.get(f"/sites/{SITE}", None).json()["role"] == "viewer"
        assert service.get(f"/sites/{SITE}/audit", None).status_code == 403
        assert service.get(f"/sites/{SITE}/audit", "admin").status_code == 200
        with service.client() as client:
            assert client.get("/sites", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_port_that_is_taken(workspace: Workspace, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        files = ("--tokens", tmp_path / "t.json", "--audit", tmp_path / "a.jsonl")
        done = s4c("serve", "-w", workspace.root, "--port", str(port), *files)
    assert done.returncode == 3
    assert f"s4c serve: cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "token" not in done.stderr


@pytest.mark.parametrize(
    ("has_tokens", "options", "said"),
    [
        (True, {"host": "0.0.0.0", "behind_proxy": True}, "to its name only"),  # noqa: S104
        (False, {"host": "0.0.0.0", "hosts": ("farm.example",)}, "nobody has a valid token"),  # noqa: S104
        (True, {"host": "0.0.0.0", "hosts": ("farm.example",)}, "unencrypted"),  # noqa: S104
        (True, {"host": "::", "hosts": ("farm.example",)}, "unencrypted"),
        (True, {"host": "192.0.2.1"}, "unencrypted"),
        (True, {"host": "example.org"}, "unencrypted"),
        (False, {"behind_proxy": True}, "nobody has a valid token"),
        (True, {"behind_proxy": True, "anonymous": Role.VIEWER}, "this machine alone"),
        (True, {"host": "192.0.2.1", "anonymous": Role.VIEWER, "behind_proxy": True}, "this machine alone"),
        (True, {"tls_cert": Path("c.pem")}, "belong together"),
        (True, {"cors_origins": ("*",)}, "all pages"),
        (True, {"cors_origins": ("https://maps.example/",)}, "no origin"),
        (True, {"cors_origins": ("null",)}, "no origin"),
        (True, {"behind_proxy": True, "proxy_addresses": "*"}, "any address"),
        (False, {}, None),
        (False, {"host": "localhost", "anonymous": Role.ADMIN}, None),
        (False, {"host": "::1"}, None),
        (False, {"host": "127.8.0.1"}, None),
        (True, {"host": "0.0.0.0", "behind_proxy": True, "hosts": ("farm.example",)}, None),  # noqa: S104
    ],
)
def test_it_is_open_to_others_with_tokens_and_encryption_only(
    has_tokens: bool, options: dict[str, Any], said: str | None
) -> None:
    chosen = Options(workspaces=[], **options)
    if said is None:
        check_exposure(chosen, has_tokens=has_tokens)
        return
    with pytest.raises(ConfigError, match=said):
        check_exposure(chosen, has_tokens=has_tokens)


def test_files_do_not_go_into_workspaces(workspace: Workspace, tmp_path: Path) -> None:
    for option in ("tokens", "audit"):
        files: dict[str, Any] = {"tokens": tmp_path / "t.json", "audit": tmp_path / "a.jsonl"}
        files[option] = workspace.root / "x.json"
        with pytest.raises(ConfigError, match=r"in a workspace|in the workspace"):
            application(Options(workspaces=[workspace.root], **files))
    assert not list(workspace.root.glob("x.json*"))
    with pytest.raises(ConfigError, match="audit log cannot be written"):
        application(Options(workspaces=[workspace.root], tokens=tmp_path / "t.json", audit=tmp_path))


def test_tokens_that_are_over_do_not_open_the_door(workspace: Workspace, tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "t.json")
    file.add("anna", {SITE: Role.VIEWER})
    file.revoke("anna")
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    file.add("berta", {SITE: Role.VIEWER}, soon)
    time.sleep(1.1)
    files: dict[str, Any] = {"tokens": file.path, "audit": tmp_path / "a.jsonl"}
    with pytest.raises(ConfigError, match="nobody has a valid token"):
        application(Options(workspaces=[workspace.root], behind_proxy=True, **files))


def test_tls(workspace: Workspace, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with served(tmp_path, workspace, tls_cert=cert, tls_key=key) as service:
        trusted = ssl.create_default_context(cafile=str(cert))
        with service.client("viewer", verify=trusted) as client:
            answer = client.get("/sites")
        assert answer.status_code == 200
        assert "max-age" in answer.headers["strict-transport-security"]
        assert answer.json()["sites"][0]["links"][0]["href"].startswith("https://")
    for broken in (tmp_path / "none.pem", tmp_path / "broken.pem", key):
        if broken.name == "broken.pem":
            broken.write_text("garbage")
        with pytest.raises(ConfigError, match="cannot be used"):
            check_exposure(Options(workspaces=[], tls_cert=broken, tls_key=key), has_tokens=True)
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read the key"):
        check_exposure(Options(workspaces=[], tls_cert=cert, tls_key=key), has_tokens=True)


def test_a_proxy_is_believed_where_it_is_said_to_be(workspace: Workspace, tmp_path: Path) -> None:
    told = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    for behind, address in ((True, "192.0.2.7"), (False, "127.0.0.1")):
        folder = tmp_path / str(behind)
        folder.mkdir()
        with served(folder, workspace, behind_proxy=behind) as service, service.client("viewer") as client:
            assert client.get("/sites", headers=told).status_code == 200
            assert json.loads(service.audit.read_text().splitlines()[-1])["address"] == address


def test_two_workspaces_of_one_season(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two workspaces are of site site"):
        open_sites([workspace.root, build_small(tmp_path / "again").workspace.root])


def test_the_document_of_the_routes_is_what_it_was() -> None:
    """Whoever writes programs against it relies on it: change the copy with ``s4c serve openapi``, and on purpose."""
    made = build_api().openapi()
    made["info"]["version"] = "0"
    assert made == json.loads(GOLDEN.read_text())


def test_routes_say_what_they_need_and_what_may_go_wrong() -> None:
    paths = build_api().openapi()["paths"]
    assert len(paths) > 15
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation["summary"], path
            assert {"400", "401", "429", "500"} <= set(operation["responses"])
            assert ("security" in operation) is (path != "/v1/health")
            assert method == "get" or path.endswith("/search")
            for parameter in operation.get("parameters", ()):
                named = parameter["in"] == "path" or "description" in parameter or parameter["name"] == "limit"
                assert named, (path, parameter["name"])
