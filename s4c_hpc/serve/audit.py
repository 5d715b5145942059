"""The audit log: a line a request, with who and what, and without anything that names a farmer.

A line holds the route (``/v1/sites/{site}/...``), not the address that was called; the names of parameters, not their
values. It is written before the answer leaves: what cannot be logged is not answered.
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

_TAIL_BYTES = 4 << 20
"""How far back the log is read for people; the file has the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A request."""

    when: str
    """ISO 8601, UTC."""
    who: str
    """Name of the token; empty without a valid one."""
    address: str
    method: str
    route: str
    """The pattern of the address; empty where none fits or nobody was let in."""
    site: str
    """Where the caller has a role; else empty."""
    parameters: tuple[str, ...]
    """Names only."""
    status: int
    ms: float


class AuditLog:
    """Appends to a file that only its owner reads; one that was moved away (logrotate) is begun again."""

    def __init__(self, path: Path) -> None:
        """Make sure that it can be written."""
        self.path = path
        self._lock = Lock()
        self._is_torn = False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = self._opened()

    def write(self, line: Line) -> None:
        """Append a line, in one piece.

        Raises
        ------
        OSError
            It is not in the log, or not all of it.
        """
        text = json.dumps({k: v for k, v in asdict(line).items() if v not in {"", ()}}, ensure_ascii=True) + "\n"
        with self._lock:
            if self._was_moved():
                opened = self._opened()  # before the old one is closed: its number must not become somebody else's
                os.close(self._descriptor)
                self._descriptor, self._is_torn = opened, False
            # After half of a line, which a disk leaves that is nearly full, a line of its own begins.
            written = b"\n" * self._is_torn + text.encode()
            n_bytes = os.write(self._descriptor, written)
            self._is_torn = n_bytes < len(written)
            if self._is_torn:
                raise OSError(errno.ENOSPC, "only a part was written", str(self.path))

    def tail(self, n: int, site: str) -> list[dict[str, object]]:
        """The last lines of a site, newest first."""
        with self.path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL_BYTES))
            lines: Sequence[bytes] = stream.read().splitlines()
        if size > _TAIL_BYTES:
            lines = lines[1:]
        found: deque[dict[str, object]] = deque(maxlen=n)
        for text in lines:
            try:
                line = json.loads(text)
            except ValueError:
                continue  # a disk that was full left half of it
            if isinstance(line, dict) and line.get("site") == site:
                found.append(line)
        return list(reversed(found))

    def close(self) -> None:
        """Nothing is written after this."""
        os.close(self._descriptor)

    def _opened(self) -> int:
        return os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)

    def _was_moved(self) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        ours = os.fstat(self._descriptor)
        return (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev)


def default_file() -> Path:
    """Where the log is when nothing else is said."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "s4c" / "serve-audit.jsonl"


def now() -> str:
    """This moment, as in the log."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
