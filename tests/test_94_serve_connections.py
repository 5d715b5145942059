"""Clients that dawdle, and too many of them: the service goes on for the others."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.serving import SITE, Served, build_small, served

from s4c_hpc.core.workspace import Workspace
from s4c_hpc.serve.connections import Connection


class Hasty(Connection):
    """The same with less patience."""

    most = 10
    request_s = 0.6
    answer_s = 0.6


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return build_small(tmp_path_factory.mktemp("connections") / "ws").workspace


@pytest.fixture(scope="module")
def service(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("service"), workspace, protocol=Hasty) as one:
        yield one


def connected(service: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(service.url.rsplit(":", 1)[1])), timeout=10)


def seconds_until_closed(one: socket.socket) -> float:
    began = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        while one.recv(65_536):
            pass
    return time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", b"GET /v1/health HTTP/1.1\r\nHost: local", b"POST /v1/x HTTP/1.1\r\n"])
def test_a_request_that_does_not_come_is_not_waited_for(service: Served, sent: bytes) -> None:
    with connected(service) as one:
        one.sendall(sent)
        assert 0.3 < seconds_until_closed(one) < 5


def test_a_request_byte_by_byte_is_not_waited_for(service: Served) -> None:
    body = b'{"limit": 1}'
    head = (
        f"POST /v1/sites/{SITE}/collections/parcels/search HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {service.held['viewer']}\r\nContent-Length: 4000\r\n\r\n"
    )
    with connected(service) as one:
        one.sendall(head.encode() + body)
        stop = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.05):
                    one.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert seconds_until_closed(one) < 5
        finally:
            stop.set()
            thread.join(10)


def test_the_second_request_of_a_connection_is_not_waited_for_either(service: Served) -> None:
    with connected(service) as one:
        for pause in (
            0.8,
            0,
        ):  # longer than a request may take: between two of them it is uvicorn's patience that counts
            one.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b'"ok"}' not in answer:
                answer += one.recv(65_536)
            time.sleep(pause)
        one.sendall(b"GET /v1/hea")
        assert seconds_until_closed(one) < 5


def test_an_answer_that_nobody_takes_is_not_kept(service: Served) -> None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        one.settimeout(10)
        one.connect(("127.0.0.1", int(service.url.rsplit(":", 1)[1])))
        with contextlib.suppress(OSError):
            for _ in range(400):  # pipelined: 1.1 MB each
                one.sendall(b"GET /v1/view/maplibre-gl.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(2.5)
        taken = b""
        with contextlib.suppress(ConnectionResetError):
            while part := one.recv(1 << 20):
                taken += part
        assert len(taken) < 20 << 20, "hung up on"


def test_connections_beyond_the_limit_get_a_problem(service: Served) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(Hasty.most):
            stack.enter_context(connected(service))
        answer = httpx.get(f"{service.url}/v1/health", trust_env=False)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["detail"] == "there are too many connections"
    until = time.monotonic() + 5
    while httpx.get(f"{service.url}/v1/health", trust_env=False).status_code != 200:
        assert time.monotonic() < until, "free again when they are gone"


class Roomy(Connection):
    """As in earnest, but for the limit: both ends of each connection are files of this process."""

    most = 200


def test_hundreds_of_connections(workspace: Workspace, tmp_path: Path) -> None:
    """More than may be open: some are served, all get an answer, and afterwards all is as before."""
    with served(tmp_path, workspace, protocol=Roomy) as service, contextlib.ExitStack() as stack:
        many = [stack.enter_context(connected(service)) for _ in range(300)]
        for one in many:
            one.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        states = [one.recv(65_536)[9:12] for one in many]
        assert set(states) == {b"200", b"503"}
        assert states.count(b"200") == Roomy.most
        for one in many:
            one.close()
        time.sleep(0.2)
        assert service.get("/sites", "viewer").status_code == 200
        assert json.loads(service.audit.read_text().splitlines()[-1])["status"] == 200
