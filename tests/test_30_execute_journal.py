"""Journals: whatever is cut off, what was said before it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4c_hpc.execute.journal import Begin, Done, Event, Failed, Journal, Kind, Output, read_events

BEGIN = Begin(id="t", attempt="000001-0000", number=1, pid=7, host="h", t=1.5)
DONE = Done(
    id="t",
    attempt="000001-0000",
    number=1,
    outputs=(Output(path="tiles/x/ä.arrow", bytes=3, sha256="ab"),),
    n_rows=4,
    absent=("u",),
    rasters_opened=2,
    twins=0,
    cpu_s=0.25,
    wall_s=0.5,
    peak_anon_bytes=10,
    base_anon_bytes=5,
    max_rss_bytes=20,
    t=2.5,
    notes=("without u",),
)
FAILED = Failed(id="t", attempt="000001-0000", number=1, kind=Kind.INPUT, what="bad", where="f", hint="fetch", t=3.0)
EVENTS: list[Event] = [BEGIN, DONE, FAILED]


def written(path: Path) -> bytes:
    with Journal(path) as journal:
        for event in EVENTS:
            journal.write(event)
    return path.read_bytes()


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    data = written(tmp_path / "j.jsonl")
    assert read_events(tmp_path / "j.jsonl") == (EVENTS, len(data))


def test_a_reader_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.write(BEGIN)
        first, offset = read_events(path)
        assert first == [BEGIN], "readable before it is closed"
        journal.write(DONE)
        assert read_events(path, offset)[0] == [DONE]
        assert read_events(path, read_events(path, offset)[1])[0] == []


def test_a_journal_cut_anywhere_holds_the_whole_lines_before_the_cut(tmp_path: Path) -> None:
    data = written(tmp_path / "j.jsonl")
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    cut = tmp_path / "cut.jsonl"
    for length in range(len(data) + 1):
        cut.write_bytes(data[:length])
        n_whole = sum(end <= length for end in ends)
        events, offset = read_events(cut)
        assert events == EVENTS[:n_whole]
        cut.write_bytes(data)
        assert events + read_events(cut, offset)[0] == EVENTS


@given(st.binary(max_size=60), st.integers(0, 3))
def test_garbage_between_lines_is_passed_over(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int) -> None:
    path = tmp_path_factory.mktemp("j") / "j.jsonl"
    lines = written(path).splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:at], junk.replace(b"\n", b"") + b"\n", *lines[at:]]))
    assert read_events(path)[0] == EVENTS


@pytest.mark.parametrize(
    "line", [b"null", b"[]", b"7", b'{"event":"done"}', b'{"event":"other"}', b"\x00" * 40, b'"x"']
)
def test_json_that_is_no_event_is_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "j.jsonl"
    data = written(path)
    path.write_bytes(line + b"\n" + data)
    assert read_events(path)[0] == EVENTS


def test_a_journal_has_one_writer(tmp_path: Path) -> None:
    written(tmp_path / "j.jsonl")
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "j.jsonl")


def test_a_failure_is_one_sentence() -> None:
    assert FAILED.reason == "f: bad; fetch"
    assert Failed(id="t", attempt="a", number=1, kind=Kind.LOST, what="gone").reason == "gone"
