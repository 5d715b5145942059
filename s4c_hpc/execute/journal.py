"""Append-only records of what happened: JSON lines, one writer a file.

A journal is the truth about its attempts. A process may be killed at any byte: a last line without its newline has
not happened, and a line that is not JSON (a file system's garbage after power loss) neither; the task it spoke of
runs again, and its outputs are found already there.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from s4c_hpc.core.ids import canonical_json

SYNC_INTERVAL_S = 1.0
"""A finished task whose record is lost is done twice: syncing each record would cost more than that."""


class Kind(StrEnum):
    """Why an attempt did not succeed."""

    INPUT = "input"
    """The input cannot be used: quarantined, not tried again until asked for."""
    TEMPORARY = "temporary"
    """Nothing is wrong with the task: tried again after a pause."""
    RESOURCE = "resource"
    """It needed more memory than it had asked for: tried again with more."""
    TIME = "time"
    """It needed more time than it had asked for: tried again with more."""
    INTERNAL = "internal"
    """Anything else, a bug: tried again all the same, as few times as the site says."""
    CANCELLED = "cancelled"
    """Stopped by its user; not counted."""
    LOST = "lost"
    """Its process is gone and left no word (killed, crash in native code)."""
    SCANCELLED = "scancelled"
    """Cancelled from outside, by an administrator say: counted, so that they need not do it for ever."""
    EVICTED = "evicted"
    """The scheduler took its place away (preemption, node failure): tried again; counted apart, as no fault of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A published file."""

    path: str
    """Relative to the workspace."""
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A task was taken up."""

    id: str
    attempt: str
    number: int
    """Which try of this task it is, from 1."""
    pid: int
    host: str
    t: float
    """Seconds since 1970, UTC; so in every event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task's outputs are published."""

    id: str
    attempt: str
    number: int
    outputs: tuple[Output, ...]
    n_rows: int
    absent: tuple[str, ...]
    rasters_opened: int
    twins: int
    cpu_s: float
    wall_s: float
    peak_anon_bytes: int
    base_anon_bytes: int
    max_rss_bytes: int
    t: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt ended without a result."""

    id: str
    attempt: str
    number: int
    kind: Kind
    what: str
    where: str | None = None
    hint: str | None = None
    stops_run: bool = False
    """Whether other tasks must fail in the same way (disk full)."""
    final: bool = False
    """Whether another try in the same run is pointless."""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_anon_bytes: int = 0
    base_anon_bytes: int = 0
    t: float = field(default_factory=time.time)

    @property
    def reason(self) -> str:
        """What, where and hint as one sentence."""
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.hint is None else f"{text}; {self.hint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An attempt's process has begun."""

    attempt: str
    host: str
    pid: int
    job: str | None = None
    """The scheduler's number of it, for people: numbers can be used again."""
    t: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """An attempt is over: told by its own process at its orderly end, else by the driver that found it gone."""

    attempt: str
    kind: Kind | None = None
    """Why it ended before its tasks did, if so."""
    what: str = ""
    t: float = field(default_factory=time.time)


TaskEvent = Begin | Done | Failed
Event = TaskEvent | Opened | Closed

_NAMES: dict[type[Event], str] = {
    Begin: "begin",
    Done: "done",
    Failed: "failed",
    Opened: "opened",
    Closed: "closed",
}
_TYPES = {name: kind for kind, name in _NAMES.items()}


class Journal:
    """Writer of one journal file, which must not exist yet."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        self._synced = time.monotonic()

    def write(self, event: Event) -> None:
        """Append an event; it survives this process at once, and the machine after the next sync."""
        line = canonical_json({"event": _NAMES[type(event)], **asdict(event)}) + "\n"
        data = line.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]
        if time.monotonic() - self._synced >= SYNC_INTERVAL_S:
            self.sync()

    def sync(self) -> None:
        """Make everything written so far durable."""
        os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close; harmless when closed already."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Events that begin at or after byte ``offset``, and the offset at which to read on.

    An unfinished last line is left for later; lines that are no events are passed over.
    """
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read()
    end = data.rfind(b"\n") + 1
    events = [event for line in data[:end].splitlines() if (event := _parse(line)) is not None]
    return events, offset + end


def _parse(line: bytes) -> Event | None:
    try:
        values: dict[str, Any] = json.loads(line)
        kind = _TYPES[values.pop("event")]
        if kind is Done:
            values["outputs"] = tuple(Output(**output) for output in values["outputs"])
            values["absent"], values["notes"] = tuple(values["absent"]), tuple(values["notes"])
        elif kind in {Failed, Closed} and values["kind"] is not None:
            values["kind"] = Kind(values["kind"])
        return kind(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
