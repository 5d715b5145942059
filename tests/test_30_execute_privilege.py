"""Least privilege: what a run opens, writes and tells, and nothing more."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from support.cli import cli_environment
from support.privilege import SECRET, SECRET_NAME, Seen, holding, open_to_others
from support.runs import PATIENCE_S, Driver, probe_workspace, wait_for


def asks_for_certificate(address: tuple[str, int]) -> bool:
    """Whether a server speaks TLS, and refuses a client without a certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, timeout=5) as plain:  # one without TLS says nothing
        try:
            with context.wrap_socket(plain) as wrapped:
                wrapped.recv(1)  # with TLS 1.3 a client hears that it was refused when it reads
        except ssl.SSLError as error:
            return "CERTIFICATE_REQUIRED" in str(error)
        except TimeoutError:
            return False
    return False


def http_tells(address: tuple[str, int]) -> dict[str, int]:
    """What a plain HTTP server has to say: status of each page of dask that it knows."""
    found = {}
    for page in ("/", "/health", "/metrics", "/info", "/info/main/workers.html", "/json/counts.json", "/api/v1"):
        connection = http.client.HTTPConnection(*address, timeout=PATIENCE_S)
        connection.request("GET", page)
        found[page] = connection.getresponse().status
        connection.close()
    return {page: status for page, status in found.items() if status != http.HTTPStatus.NOT_FOUND}


def answers_plainly(address: tuple[str, int]) -> bool:
    """Whether a server says a word to a client that speaks no TLS: dask's greets at once."""
    with socket.create_connection(address, timeout=PATIENCE_S) as plain:
        plain.settimeout(2)
        with contextlib.suppress(OSError):
            return len(plain.recv(64)) > 0
    return False


def watched(family: Callable[[], list[psutil.Process]], until: threading.Event) -> Seen:
    """Look again and again in a thread of its own."""
    seen = Seen()

    def look() -> None:
        while not until.is_set():
            seen.look(family())
            time.sleep(0.05)

    threading.Thread(target=look, daemon=True).start()
    return seen


def test_a_local_run_listens_on_loopback_only_and_speaks_tls(
    tmp_path: Path, probes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_NAME, SECRET)
    workspace = probe_workspace(tmp_path / "ws", behaviour={"probe-mid 32UPU b": {"end": "sleep"}})
    over = threading.Event()
    with Driver(workspace, probes) as driver:
        seen = watched(driver.family, over)
        driver.wait_until_at_work(workspace)
        assert wait_for(lambda: len(driver.workers()) == 2 and len(seen.listening) >= 1)
        time.sleep(0.5)
        assert {ip for ip, _ in seen.listening} == {"127.0.0.1"}
        doors = sorted(seen.listening)
        with ThreadPoolExecutor(len(doors)) as callers:  # silence is waited for, at all doors at once
            assert not any(callers.map(answers_plainly, doors))
            asked = zip(doors, callers.map(asks_for_certificate, doors), strict=True)
        # dask cannot do without a plain HTTP port in each process: it knows no page.
        without_tls = [address for address, is_asked in asked if not is_asked]
        assert len(doors) > len(without_tls) > 0
        assert [http_tells(address) for address in without_tls] == [{}] * len(without_tls)
        driver.process.terminate()
        _, out, err = driver.finish()
        over.set()
    assert {ip for ip, _ in seen.listening} == {"127.0.0.1"}
    assert holding(tmp_path, SECRET) == []
    assert not [command for command in seen.commands if SECRET in command]
    assert seen.commands, "there was something to see"
    assert SECRET not in out + err


def test_what_the_command_line_writes_is_nobody_else_s_business(tmp_path: Path) -> None:
    """The demo, with an umask that lets everybody read."""
    workspace = tmp_path / "ws"
    seen = Seen()
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'umask 000; exec "$@"', "sh", sys.executable, "-m", "s4c_hpc.cli", "demo", "-w", workspace],
        env=cli_environment(None, **{SECRET_NAME: SECRET}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(process.pid)
            seen.look([own, *own.children(recursive=True)])
        time.sleep(0.1)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert {ip for ip, _ in seen.listening} <= {"127.0.0.1"}
    assert open_to_others(workspace) == []
    assert len([path for path in workspace.rglob("*") if path.is_file()]) > 100, "there was something to check"
    assert holding(workspace, SECRET) == []
    assert not [command for command in seen.commands if SECRET in command]
    assert SECRET not in out


def test_a_secret_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"..." + SECRET.encode())
    assert holding(tmp_path, SECRET) == [tmp_path / "x"]
    (tmp_path / "x").chmod(0o644)
    assert open_to_others(tmp_path)[-1] == f"-rw-r--r-- {tmp_path / 'x'}"
