"""Connections as uvicorn has them, with an end to patience.

uvicorn waits for ever for a request that does not come, or comes byte by byte, and for a client that does not take its
answer; so whoever opens enough connections, which needs no token, would shut the service for all others.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from s4c_hpc.serve.problems import Problem

_UNFINISHED: Final = (h11.IDLE, h11.SEND_BODY)
"""What h11 calls a client of which more is to come."""


class Connection(H11Protocol):
    """A connection that is given up when the other side is too slow."""

    most: ClassVar[int] = 500
    """Connections at the same time; what others ask is answered with 503. Below the usual limit of 1024 open files."""
    request_s: ClassVar[float] = 20.0
    """From the first byte (or the connection) to the end of a request."""
    answer_s: ClassVar[float] = 20.0
    """In which some of an answer that waits has to be taken ..."""
    answer_bytes: ClassVar[int] = 65_536
    """... at least so much: 3 kB/s."""

    _patience: asyncio.TimerHandle | None = None
    _reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, but not for ever."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self.app = _busy
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting until the request is whole."""
        super().data_received(data)
        if self.conn.their_state not in _UNFINISHED:
            self._stop_waiting()
        elif self._patience is None:
            self._wait()

    def pause_writing(self) -> None:
        """The client is slower than we are."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._reader is not None:
            self._reader.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Close; what the client has not taken by then, it will not take."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.answer_s, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_waiting()
        super().connection_lost(exc)
        if self._reader is not None:
            self._reader.cancel()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.request_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _watch_reader(self, before: int | None = None) -> None:
        left = self.transport.get_write_buffer_size()
        if before is not None and left > before - self.answer_bytes:
            self.transport.abort()
        else:
            self._reader = self.loop.call_later(self.answer_s, self._watch_reader, left)


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Retry-After": "5", "Connection": "close", "Cache-Control": "no-store"}
    problem = Problem(503, "there are too many connections", hint="close some, or wait", headers=headers)
    await problem.response()(scope, receive, send)
