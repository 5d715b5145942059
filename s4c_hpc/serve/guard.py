"""The one door: every request passes it, whatever route it is for, and is refused here unless it may go on.

In this order: is the host one of ours, is the address of a sane length, who asks, are there too many, is the body
small enough. A route that is added later is behind the door without doing anything for it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from s4c_hpc.core.errors import S4cError
from s4c_hpc.serve import audit
from s4c_hpc.serve.limits import Buckets, Limits
from s4c_hpc.serve.problems import Problem, problem_of
from s4c_hpc.serve.roles import Caller

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
"""Name or address, port."""
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Of every answer; a route may set its own policy of contents (a page needs one)."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """What decides who is let in."""

    limits: Limits
    who: Callable[[str], Caller | None]
    """Who holds a token."""
    anonymous: Caller | None
    """Who somebody without a token is; ``None``: nobody."""
    audit: audit.AuditLog
    hosts: tuple[str, ...]
    """Names by which the service may be called, without port; ``*`` for all."""
    open_paths: tuple[str, ...]
    """Answered without a token; those that end in ``/`` with all below them."""
    is_tls: bool
    """Whether callers come by TLS, here or at a proxy."""


class Guard:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        """Buckets are full."""
        self._app, self._door = app, door
        limits = door.limits
        self._welcome = Buckets(limits.rate_per_s, limits.burst)
        self._refused = Buckets(limits.refused_per_s, limits.refused_burst)
        self._told = Buckets(limits.refused_per_s, limits.refused_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        began = time.perf_counter()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._write(scope, message["status"], began)
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if self._door.is_tls:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        try:
            await self._answer(scope, receive, sending)
        except _NotLogged:
            closed = Problem(503, "the audit log cannot be written", hint="tell the operator", headers=_HEADERS)
            await closed.response()(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        try:
            state["caller"] = self._let_in(scope)
            receiving = self._bounded(scope, receive)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        except S4cError as error:
            # The tokens cannot be read: what is wrong with them is nobody's business outside.
            await problem_of(_ClosedError(str(error))).response()(scope, receive, send)
        else:
            # HEAD is GET without the body, which the server leaves out.
            is_head = scope["method"] == "HEAD"
            await self._app({**scope, "method": "GET"} if is_head else scope, receiving, send)

    def _let_in(self, scope: Scope) -> Caller | None:
        """Who asks; ``None`` for what is open to all.

        Raises
        ------
        Problem
            The request is refused.
        """
        door, headers, address = self._door, Headers(scope=scope), _address(scope)
        host = _host_name(headers.get("host", ""))  # of which links are made, so it is read as strictly as they are
        if not host or ("*" not in door.hosts and host not in door.hosts):
            raise Problem(400, "this service is not called by this name", where="Host", hint="see --allowed-host")
        if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > door.limits.url_bytes:
            raise Problem(414, f"the address has more than {door.limits.url_bytes} bytes", hint="name fewer parcels")
        if _is_open(scope["path"], door.open_paths):
            self._count(self._welcome, address)
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        caller = door.who(token.strip()) if scheme.lower() == "bearer" else None
        if not headers.get("authorization"):
            caller = door.anonymous
        if caller is None:
            self._count(self._refused, address)
            raise Problem(
                401,
                "a valid token is needed",
                where="Authorization",
                hint="send 'Authorization: Bearer <token>'; 's4c serve token add' makes one",
                headers={"WWW-Authenticate": 'Bearer realm="s4c"'},
            )
        self._count(self._welcome, caller.key)
        return caller

    def _count(self, buckets: Buckets, key: str) -> None:
        wait = buckets.wait_s(key)
        if wait:
            seconds = str(math.ceil(wait))
            raise Problem(429, "too many requests", hint=f"wait {seconds} s", headers={"Retry-After": seconds})

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """``receive`` that refuses a body beyond the limit, whether its length is declared or not."""
        most = self._door.limits.body_bytes
        too_large = Problem(413, f"the body has more than {most} bytes", where="body", hint="take the files for more")
        declared = Headers(scope=scope).get("content-length", "")
        if declared and (not declared.isdecimal() or int(declared) > most):
            raise too_large
        n_bytes = 0

        async def receiving() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > most:
                raise too_large
            return message

        return receiving

    def _write(self, scope: Scope, status: int, began: float) -> None:
        # The application has said which route it is, its parameters, and the site if the caller has a role there.
        state = scope.get("state", {})
        caller: Caller | None = state.get("caller")
        names = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        declared = state.get("declared", frozenset())
        if status == 429 and self._told.wait_s(_address(scope)):
            return  # who is told to wait and does not could fill the disk
        line = audit.Line(
            when=audit.now(),
            who="" if caller is None else caller.name,
            address=_address(scope),
            method=scope["method"],
            route=state.get("route", ""),
            site=state.get("site", ""),
            # A name that no route declares may be a value that was mistyped.
            parameters=tuple(dict.fromkeys(name for name, _ in names if name in declared)),
            status=status,
            ms=round((time.perf_counter() - began) * 1e3, 2),
        )
        try:
            self._door.audit.write(line)
        except OSError as error:
            raise _NotLogged from error


class _ClosedError(S4cError):
    """The door cannot be opened for anybody."""


class _NotLogged(Exception):  # noqa: N818 - names the fact
    """What cannot be logged is not answered."""


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _host_name(host: str) -> str:
    found = _HOST.fullmatch(host.lower())
    return found[1] if found else ""


def _is_open(path: str, open_paths: tuple[str, ...]) -> bool:
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in open_paths)
